// Whom the agent shares the node with, what an earlier installation left, and what the cluster's objects say.
#include <algorithm>

#include "app/agent/preflight/findings.h"
#include "datapath/devices.h"

namespace axo::preflight {

namespace {

struct OtherCni {
    const char* prefix;  // of a device's name
    const char* who;
};
constexpr OtherCni kOtherDevices[] = {
    {"flannel", "Flannel"},
    {"cali", "Calico"},
    {"vxlan.calico", "Calico"},
    {"tunl0", "Calico (IPIP)"},
    {"weave", "Weave"},
    {"antrea-gw", "Antrea"},
    {"genev_sys", "Antrea or OVN"},
    {"ovn-k8s", "OVN-Kubernetes"},
    {"kube-bridge", "kube-router"},
    {"kube-ipvs", "kube-proxy (IPVS)"},
    {"cni0", "the bridge plugin"},
};
constexpr OtherCni kCiliumDevices[] = {
    {"cilium_wg", "Cilium's WireGuard"},
    {"cilium_ipip", "Cilium's IPIP"},
    {"cilium_tunl", "Cilium's IPIP"},
    {"cilium_health", "Cilium's health endpoint"},
};
constexpr const char* kOurChains[] = {"CILIUM_POST_nat", "CILIUM_PRE_raw", "CILIUM_OUTPUT_raw", "CILIUM_OUTPUT_nat"};

bool replaces_kube_proxy(const Config& config) {
    return config.services.replacement == KubeProxyReplacement::kTrue;
}

std::string join(const auto& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
    return text;
}

void check_cni_files(const Config& config, const NodeView& view, Findings& findings) {
    findings.checked("cni-config");
    std::vector<std::string> others;
    std::string ours;
    for (const CniFileView& file : view.cni_files) {
        if (!file.parses) {
            findings.warning("cni-config", file.name + " is not JSON: container runtimes skip it or stop at it",
                             "correct or remove it");
        } else if (std::ranges::find(file.plugins, "cilium-cni") != file.plugins.end()) {
            ours = file.name;
        } else {
            others.push_back(file.name + " (" + join(file.plugins) + ")");
        }
    }
    if (others.empty()) return;
    const std::string first = view.cni_files.front().name;
    if (config.cni_exclusive && !config.cni_conf_dir.empty()) {
        findings.warning("cni-config",
                         "other CNI configuration: " + join(others) +
                             "; cni-exclusive=true renames it to *.cilium_bak once the agent is ready, until then pods "
                             "get their network from " +
                             first,
                         "uninstall the other CNI first; pods that it made keep its network until they are made anew");
        return;
    }
    const std::string own_name = ours.empty() ? "05-cilium.conflist" : ours;
    const bool loses = first < own_name;
    const std::string what = "two CNI configurations in one directory: " + join(others) + " beside " + own_name +
                             "; container runtimes take the first by name, " + (loses ? first : own_name);
    const std::string way_out = "remove the other one, or set cni-exclusive=true with write-cni-conf-when-ready";
    if (loses) {
        findings.error("cni-config", what, way_out);
    } else {
        findings.warning("cni-config", what, way_out);
    }
}

void check_chains(const Config& config, const NodeView& view, Findings& findings) {
    findings.checked("netfilter");
    if (!view.iptables_problem.empty() && config.masquerade.install_rules && !config.masquerade.bpf &&
        (config.masquerade.ipv4 || config.masquerade.ipv6))
        findings.error(
            "netfilter", "masquerading by netfilter needs iptables: " + view.iptables_problem,
            "install iptables and its kernel modules (nf_tables or ip_tables, xt_MASQUERADE, xt_comment), or "
            "enable-bpf-masquerade=true");
    std::set<std::string> kube_proxy;
    std::map<std::string, std::set<std::string>> others;
    for (const auto& [table, names] : view.chains) {
        for (const std::string& name : names) {
            // KUBE-KUBELET-CANARY, KUBE-FIREWALL and KUBE-MARK-* are kubelet's.
            if (name == "KUBE-SERVICES" || name == "KUBE-NODEPORTS" || name.starts_with("KUBE-SVC-"))
                kube_proxy.insert(table);
            for (const auto& [prefix, who] : {std::pair{"FLANNEL-", "Flannel"}, std::pair{"cali-", "Calico"},
                                              std::pair{"WEAVE", "Weave"}, std::pair{"ANTREA-", "Antrea"}}) {
                if (name.starts_with(prefix)) others[who].insert(table);
            }
        }
    }
    if (!kube_proxy.empty() && replaces_kube_proxy(config))
        findings.warning("kube-proxy",
                         "chains of a kube-proxy (KUBE-SERVICES …) in " + join(kube_proxy) +
                             " beside kube-proxy-replacement=true: where both translate, its rules still cost, and may "
                             "send packets elsewhere",
                         "remove kube-proxy (kubectl -n kube-system delete ds kube-proxy), then on every node: "
                         "iptables-save | grep -v KUBE | iptables-restore (and ip6tables)");
    for (const auto& [who, tables] : others)
        findings.warning("other-cni", std::string("chains of ") + who + " in " + join(tables),
                         std::string("uninstall ") + who + " and remove its chains (iptables-save shows them)");
}

}  // namespace

void check_neighbours(const Config& config, const NodeView& view, Findings& findings) {
    check_cni_files(config, view, findings);
    findings.checked("other-cni");
    std::map<std::string, std::set<std::string>> devices;
    for (const Link& link : view.network.links) {
        for (const OtherCni& other : kOtherDevices) {
            if (link.name.starts_with(other.prefix)) {
                devices[other.who].insert(link.name);
                break;
            }
        }
    }
    for (const auto& [who, names] : devices) {
        const bool ipvs = who.starts_with("kube-proxy");
        if (ipvs && !replaces_kube_proxy(config)) continue;
        findings.warning(ipvs ? "kube-proxy" : "other-cni", "devices of " + who + ": " + join(names),
                         ipvs ? "remove kube-proxy, then: ip link del kube-ipvs0; ipvsadm --clear"
                              : "uninstall it; devices of pods go with their pods, the others by ip link del");
    }
    check_chains(config, view, findings);
}

void check_leftovers(const Config& config, const NodeView& view, Findings& findings) {
    (void)config;
    findings.checked("leftovers");
    const std::string cleanup = "axoneme cleanup (on the node, without a running agent)";
    if (!view.bpf_owner_problem.empty()) findings.error("leftovers", view.bpf_owner_problem, cleanup);
    for (const auto& [map, difference] : view.map_differences)
        findings.info("leftovers", "map " + map + " has another layout (" + difference +
                                       "): the agent replaces it, entries that fit are taken over");
    if (!view.foreign_maps.empty())
        findings.warning("leftovers",
                         std::to_string(view.foreign_maps.size()) + " pinned maps of Cilium or of another version (" +
                             view.foreign_maps.front() + (view.foreign_maps.size() > 1 ? ", …" : "") +
                             "): they keep their memory",
                         "cilium-dbg post-uninstall-cleanup -f with the version that made them, or remove the files "
                         "once nothing runs with them");
    if (!view.tc_filters.empty())
        findings.warning(
            "leftovers",
            "programs of another datapath at devices: " + join(view.tc_filters) + "; packets would pass both",
            "tc filter del dev <device> <ingress|egress>; or cilium-dbg post-uninstall-cleanup -f");
    for (const Link& link : view.network.links) {
        for (const OtherCni& device : kCiliumDevices) {
            if (link.name.starts_with(device.prefix))
                findings.warning("leftovers", "device " + link.name + " of " + device.who, "ip link del " + link.name);
        }
    }
    for (const auto& [table, names] : view.chains) {
        std::vector<std::string> foreign;
        for (const std::string& name : names) {
            const bool cilium = name.starts_with("CILIUM_") || name.starts_with("OLD_CILIUM_");
            if (cilium && std::ranges::find(kOurChains, name) == std::end(kOurChains)) foreign.push_back(name);
        }
        if (!foreign.empty())
            findings.warning("leftovers", "chains of Cilium in " + table + ": " + join(foreign),
                             "iptables-save | grep -v CILIUM_ | iptables-restore (and ip6tables)");
    }
}

namespace {

// CIDRs below a policy's rules, whatever its kind: cidr, fromCIDR, toCIDR, except is left out.
void collect_cidrs(const Json& json, std::vector<Prefix>& found) {
    const auto add = [&found](const Json& text) {
        if (!text.is_string()) return;
        if (const auto prefix = Prefix::parse(text.get<std::string>())) found.push_back(*prefix);
    };
    if (json.is_array()) {
        for (const Json& item : json) collect_cidrs(item, found);
    }
    if (!json.is_object()) return;
    for (const auto& [key, value] : json.items()) {
        if (key == "cidr") {
            add(value);
        } else if (key == "fromCIDR" || key == "toCIDR") {
            for (const Json& text : value.is_array() ? value : Json::array()) add(text);
        } else {
            collect_cidrs(value, found);
        }
    }
}

void check_cidr_policies(const Config& config, const NodeView& view, Findings& findings) {
    findings.checked("cidr-policies");
    const std::vector<Prefix> pods = cluster_pod_cidrs(config, view);
    std::vector<IpAddress> nodes;
    for (const Json& node : view.store->cilium_nodes) {
        const auto path = "/spec/addresses"_json_pointer;
        if (!node.contains(path) || !node[path].is_array()) continue;
        for (const Json& address : node[path]) {
            if (const auto ip = IpAddress::parse(text_at(address, "/ip"_json_pointer))) nodes.push_back(*ip);
        }
    }
    for (const Json& policy : view.store->policies) {
        std::vector<Prefix> cidrs;
        for (const char* part : {"spec", "specs"}) {
            if (policy.contains(part)) collect_cidrs(policy[part], cidrs);
        }
        const std::string space = text_at(policy, "/metadata/namespace"_json_pointer);
        const std::string name = text_at(policy, "/kind"_json_pointer) + " " + (space.empty() ? "" : space + "/") +
                                 text_at(policy, "/metadata/name"_json_pointer);
        for (const Prefix& cidr : cidrs) {
            if (cidr.length() == 0) continue;  // "everywhere" means the world, and is written so
            const bool over_pods = std::ranges::any_of(pods, [&](const Prefix& range) { return range.contains(cidr); });
            const bool over_nodes = std::ranges::any_of(nodes, [&](const IpAddress& ip) { return cidr.contains(ip); });
            if (!over_pods && !over_nodes) continue;
            findings.warning("cidr-policies",
                             name + " names " + cidr.to_string() + ", which is " +
                                 (over_pods ? "inside the pod CIDRs" : "where nodes are") +
                                 ": CIDR rules match only what is outside of the cluster",
                             over_pods ? "select pods by labels (fromEndpoints, toEndpoints, podSelector)"
                                       : "name nodes by entities (host, remote-node) or by fromNodes, toNodes");
        }
    }
}

// CiliumNodes of an installation before: whoever follows them has routes and tunnels to where nobody is.
void check_stale_objects(const NodeView& view, Findings& findings) {
    if (view.store->nodes.empty()) return;  // a store without Nodes
    findings.checked("stale-objects");
    const auto name_of = [](const Json& object) { return text_at(object, "/metadata/name"_json_pointer); };
    std::map<std::string, std::string> owners;  // of pod CIDRs
    for (const Json& cilium_node : view.store->cilium_nodes) {
        const std::string name = name_of(cilium_node);
        if (std::ranges::find(view.store->nodes, name, name_of) == view.store->nodes.end())
            findings.warning("stale-objects", "CiliumNode " + name + " has no Node: other nodes have routes to it",
                             "kubectl delete ciliumnode " + name + ", or wait for the operator (nodes-gc-interval)");
        const auto cidrs = "/spec/ipam/podCIDRs"_json_pointer;
        if (!cilium_node.contains(cidrs) || !cilium_node[cidrs].is_array()) continue;
        for (const Json& cidr : cilium_node[cidrs]) {
            if (!cidr.is_string()) continue;
            const auto [owner, first] = owners.emplace(cidr.get<std::string>(), name);
            if (!first)
                findings.error(
                    "stale-objects",
                    "pod CIDR " + owner->first + " is both CiliumNode " + owner->second + "'s and " + name + "'s",
                    "delete the CiliumNode of the two that is not in use; its agent makes it anew");
        }
    }
}

}  // namespace

void check_store(const Config& config, const NodeView& view, Findings& findings) {
    if (!view.store) return;
    findings.checked("store");
    const StoreView& store = *view.store;
    if (!store.problem.empty()) {
        findings.error("store", "object store " + store.address + ": " + store.problem,
                       store.address.starts_with("dir:")
                           ? "make the directory, or name another one: object-store=dir:/path"
                           : "the API server's address (k8s-api-server, k8sServiceHost and k8sServicePort in the "
                             "chart), its network and these credentials");
        return;
    }
    if (store.slow) {
        // No error: an agent waits for a busy API server, and a container that gives up only comes back later.
        findings.warning("store",
                         "object store " + store.address + " answers, but slowly: its objects were not looked at",
                         "a longer --timeout; the agent itself waits as long as it takes");
    }
    findings.checked("clock");
    if (store.clock_ahead_s && std::abs(*store.clock_ahead_s) > 30)
        findings.error("clock",
                       "this node's clock is " + std::to_string(std::abs(*store.clock_ahead_s)) + " s " +
                           (*store.clock_ahead_s > 0 ? "ahead of" : "behind") +
                           " the API server's: certificates and tokens may count as not valid yet or any more",
                       "set it by NTP (timedatectl set-ntp true, chronyc makestep)");
    if (store.slow) return;
    check_cidr_policies(config, view, findings);
    check_stale_objects(view, findings);
}

std::vector<std::string> Findings::passed() const {
    std::vector<std::string> names;
    for (const std::string& check : checks_) {
        const auto spoiled = [&check](const Finding& finding) {
            return finding.check == check && finding.severity != Severity::kInfo;
        };
        if (std::ranges::none_of(findings_, spoiled) && std::ranges::find(names, check) == names.end())
            names.push_back(check);
    }
    return names;
}

std::size_t Findings::count(Severity severity) const {
    return static_cast<std::size_t>(std::ranges::count(findings_, severity, &Finding::severity));
}

Findings check_node(const Config& config, const NodeView& view) {
    Findings findings;
    for (const auto check :
         {check_machine, check_memory, check_network, check_addresses, check_neighbours, check_leftovers, check_store})
        check(config, view, findings);
    return findings;
}

}  // namespace axo::preflight
