#include "app/agent/service_plan.h"

namespace axo {

namespace {

std::string join(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : "; ") + part;
    return text;
}

}  // namespace

Result<ServicePlan> plan_services(const Config& config, const KernelFeatures& features) {
    const ServiceConfig& wanted = config.services;
    const bool all =
        wanted.replacement == KubeProxyReplacement::kTrue || wanted.replacement == KubeProxyReplacement::kProbe;
    const bool probe = wanted.replacement == KubeProxyReplacement::kProbe;
    ServicePlan plan;
    plan.mode = wanted.name();
    plan.mode[0] = static_cast<char>(plan.mode[0] - 'a' + 'A');
    plan.programs = config.datapath.services;
    plan.node_port = all || wanted.node_port.value_or(false);
    plan.external_ips = all || wanted.external_ips.value_or(false);
    plan.host_port = all || wanted.host_port.value_or(false);
    plan.socket_lb = all || wanted.socket_lb.value_or(false);
    plan.session_affinity = wanted.replacement != KubeProxyReplacement::kPartial ||
                            wanted.session_affinity.value_or(false) || !wanted.session_affinity.has_value();

    // What the kernel lacks is told all at once.
    std::vector<std::string> missing;
    if (plan.socket_lb && !features.socket_lb)
        missing.emplace_back("programs at the sockets of a cgroup (5.8, CONFIG_CGROUP_BPF), for services at sockets");
    const bool native_xdp = plan.programs.acceleration == XdpAcceleration::kNative ||
                            plan.programs.acceleration == XdpAcceleration::kGeneric;
    if (native_xdp && !features.xdp) missing.emplace_back("XDP links (5.9), for bpf-lb-acceleration");
    if (plan.programs.xdp_prefilter && !features.xdp) missing.emplace_back("XDP links (5.9), for enable-xdp-prefilter");
    if (!missing.empty() && !probe) {
        return fail(Code::kFailedPrecondition,
                    "kube-proxy-replacement=" + wanted.name() + ": kernel " + features.release + " has no " +
                        join(missing) +
                        "; use kube-proxy-replacement=probe for what this kernel can, with a kube-proxy for the rest");
    }
    if (!features.socket_lb) plan.socket_lb = false;
    if (!features.xdp) {
        plan.programs.acceleration = XdpAcceleration::kDisabled;
        plan.programs.xdp_prefilter = false;
    }

    const auto reason = [&plan](std::string what, bool on, std::string why) {
        plan.reasons.push_back({std::move(what), on ? "BPF" : "kube-proxy", std::move(why)});
    };
    const std::string given = "kube-proxy-replacement=" + wanted.name();
    reason("Services of pods", true, "ClusterIPs are translated at pods' devices in every mode");
    reason("Services at sockets", plan.socket_lb,
           !plan.socket_lb
               ? (all ? "the kernel has no programs at the sockets of a cgroup (5.8)" : given + ", bpf-lb-sock=false")
           : plan.programs.sockets.host_only ? "of the node only: bpf-lb-sock-hostns-only=true"
                                             : "of the node and its pods");
    reason("Services from outside", plan.node_port,
           given + (all              ? ""
                    : plan.node_port ? ", enable-node-port=true"
                                     : ", enable-node-port=false"));

    plan.programs.pods = true;
    plan.programs.node_port = plan.node_port;
    plan.programs.sockets.enabled = plan.socket_lb;
    plan.programs.sockets.bind_protection = plan.programs.sockets.bind_protection && plan.node_port;
    return plan;
}

}  // namespace axo
