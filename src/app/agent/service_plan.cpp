#include "app/agent/service_plan.h"

namespace axo {

namespace {

std::vector<std::string> missing_for_sockets(const KernelFeatures& features) {
    std::vector<std::string> missing;
    for (const KernelFeatures::Missing& feature : features.missing()) {
        if (feature.needed_for.starts_with("services at sockets") && feature.required)
            missing.push_back(feature.feature + " (kernel " + feature.kernel + ")");
    }
    return missing;
}

std::string join(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
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

    const std::vector<std::string> missing =
        plan.socket_lb ? missing_for_sockets(features) : std::vector<std::string>{};
    if (!missing.empty() && !probe) {
        return fail(Code::kFailedPrecondition,
                    (all ? "kube-proxy-replacement=true" : "bpf-lb-sock=true") + std::string(": kernel ") +
                        features.release + " has no " + join(missing) +
                        ", which services at sockets need; use kube-proxy-replacement=probe for what this kernel can, "
                        "with a kube-proxy for the rest");
    }
    const auto reason = [&plan](std::string what, bool on, std::string why) {
        plan.reasons.push_back({std::move(what), on ? "BPF" : "kube-proxy", std::move(why)});
    };
    if (!missing.empty()) plan.socket_lb = false;
    reason("Services of pods", true, "ClusterIPs are translated at pods' devices in every mode");
    reason("Services at sockets", plan.socket_lb,
           !missing.empty() ? "the kernel has no " + join(missing)
           : plan.socket_lb ? (plan.programs.sockets.host_only ? "of the node only: bpf-lb-sock-hostns-only=true"
                                                               : "of the node and its pods")
                            : "bpf-lb-sock=false");
    reason("Services from outside", plan.node_port,
           plan.node_port ? "kube-proxy-replacement=" + wanted.name()
                          : "kube-proxy-replacement=" + wanted.name() + ", enable-node-port=false");

    plan.programs.pods = true;
    plan.programs.node_port = plan.node_port;
    plan.programs.sockets.enabled = plan.socket_lb;
    plan.programs.sockets.bind_protection = plan.programs.sockets.bind_protection && plan.node_port;
    return plan;
}

}  // namespace axo
