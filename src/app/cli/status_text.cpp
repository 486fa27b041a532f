#include "app/cli/status_text.h"

#include <cstdio>

#include "app/cli/output/tab_writer.h"
#include "base/duration.h"

namespace axo::cli {
namespace {

std::string printf_text(const char* format, double value) {
    char buffer[64];
    std::snprintf(buffer, sizeof(buffer), format, value);
    return buffer;
}

const char* enabled(bool on) {
    return on ? "Enabled" : "Disabled";
}

bool is_unhealthy(const Json& component) {
    const std::string state = text(component, "state");
    return state == "Warning" || state == "Failure";
}

std::string kube_proxy_devices(const Json& replacement) {
    std::vector<std::string> devices;
    const Json& list = field(replacement, "deviceList");
    if (!list.is_array()) return {};
    for (const Json& device : list) {
        std::string entry = text(device, "name");
        for (const std::string& ip : texts(device, "ip")) entry += " " + ip;
        if (text(device, "name") == text(replacement, "directRoutingDevice")) entry += " (Direct Routing)";
        devices.push_back(entry);
    }
    return join(devices, ", ");
}

void print_kubernetes(const Json& status, TabWriter& w) {
    if (const Json& kubernetes = field(status, "kubernetes"); kubernetes.is_object()) {
        w << "Kubernetes:\t" + text(kubernetes, "state") + "\t" + text(kubernetes, "msg") + "\n";
        if (text(kubernetes, "state") != "Disabled") {
            std::vector<std::string> versions = texts(kubernetes, "k8s-api-versions");
            std::sort(versions.begin(), versions.end());
            w << "Kubernetes APIs:\t[\"" + join(versions, "\", \"") + "\"]\n";
        }
    }
    if (const Json& replacement = field(status, "kube-proxy-replacement"); replacement.is_object()) {
        const std::string devices = text(replacement, "mode") == "False" ? "" : kube_proxy_devices(replacement);
        w << "KubeProxyReplacement:\t" + text(replacement, "mode") + "\t" +
                 (devices.empty() ? "" : "[" + devices + "]") + "\n";
    }
    if (const Json& firewall = field(status, "host-firewall"); firewall.is_object()) {
        w << "Host firewall:\t" + text(firewall, "mode");
        if (text(firewall, "mode") != "Disabled") w << "\t[" + join(texts(firewall, "devices"), ", ") + "]";
        w << "\n";
    }
    if (const Json& srv6 = field(status, "srv6"); srv6.is_object()) {
        w << std::string("SRv6:\t") + enabled(flag(srv6, "enabled"));
        if (flag(srv6, "enabled")) w << "\t[encap-mode: " + text(srv6, "srv6EncapMode") + "]";
        w << "\n";
    }
}

void print_agent(const Json& status, const StatusDetails& details, TabWriter& w) {
    if (const Json& chaining = field(status, "cni-chaining"); chaining.is_object())
        w << "CNI Chaining:\t" + text(chaining, "mode") + "\n";
    if (const Json& file = field(status, "cni-file"); file.is_object())
        w << "CNI Config file:\t" + text(file, "msg") + "\n";
    if (const Json& cilium = field(status, "cilium"); cilium.is_object()) {
        w << "Cilium:\t" + text(cilium, "state") + "   " + text(cilium, "msg") + "\n";
    }
    if (const Json& stale = field(status, "stale"); stale.is_object() && !stale.empty()) {
        std::vector<std::string> probes;
        for (const auto& [probe, since] : stale.items())
            probes.push_back("\"" + probe + "\" since " +
                             (since.is_string() ? since.get<std::string>() : since.dump()));
        std::sort(probes.begin(), probes.end());
        w << "Stale status:\t" + join(probes, ", ") + "\n";
    }
    if (const Json& monitor = field(status, "nodeMonitor"); monitor.is_object()) {
        w << "NodeMonitor:\tListening for events on " + text(monitor, "cpus") + " CPUs with " +
                 text(monitor, "npages") + "x" + text(monitor, "pagesize") + " of shared memory\n";
        if (number(monitor, "lost") != 0 || number(monitor, "unknown") != 0) {
            w << "\t" + std::to_string(number(monitor, "lost")) + " events lost, " +
                     std::to_string(number(monitor, "unknown")) + " unknown notifications\n";
        }
    } else {
        w << "NodeMonitor:\tDisabled\n";
    }
    if (const Json& health = field(status, "cluster.ciliumHealth"); health.is_object()) {
        w << "Cilium health daemon:\t" + text(health, "state") + "\t" + text(health, "msg") + "\n";
    }
    if (const Json& ipam = field(status, "ipam"); ipam.is_object()) {
        w << "IPAM:\t" + text(ipam, "status") + "\n";
        if (details.addresses) {
            w << "Allocated addresses:\n";
            std::vector<std::string> lines;
            if (const Json& allocations = field(ipam, "allocations"); allocations.is_object()) {
                for (const auto& [ip, owner] : allocations.items())
                    lines.push_back("  " + ip + " (" + (owner.is_string() ? owner.get<std::string>() : "") + ")\n");
            }
            std::sort(lines.begin(), lines.end());
            for (const std::string& line : lines) w << line;
        }
    }
}

void print_cluster_mesh(const Json& mesh, const StatusDetails& details, std::int64_t now, TabWriter& w) {
    const Json& clusters = field(mesh, "clusters");
    if (!clusters.is_array()) return;
    const auto ready =
        std::count_if(clusters.begin(), clusters.end(), [](const Json& cluster) { return flag(cluster, "ready"); });
    w << "ClusterMesh:\t" + std::to_string(ready) + "/" + std::to_string(clusters.size()) + " remote clusters ready\n";
    for (const Json& cluster : clusters) {
        if (!details.clusters && flag(cluster, "ready")) continue;
        w << "   " + text(cluster, "name") + ": " + (flag(cluster, "ready") ? "ready" : "not-ready") + ", " +
                 std::to_string(number(cluster, "num-nodes")) + " nodes, " +
                 std::to_string(number(cluster, "num-endpoints")) + " endpoints, " +
                 std::to_string(number(cluster, "num-identities")) + " identities, " +
                 std::to_string(number(cluster, "num-shared-services")) + " services, " +
                 std::to_string(number(cluster, "num-service-exports")) + " MCS-API service exports, " +
                 std::to_string(number(cluster, "num-failures")) +
                 " reconnections (last: " + time_since(text(cluster, "last-failure"), now) + ")\n   └  " +
                 text(cluster, "status") + "\n";
    }
}

void print_big_tcp(const Json& status, const char* key, const char* title, TabWriter& w) {
    const Json& big = field(status, key);
    if (!big.is_object()) return;
    w << std::string(title) + ":\t" + enabled(flag(big, "enabled"));
    if (flag(big, "enabled")) {
        const auto gro = std::to_string(number(big, "maxGRO"));
        const auto gso = std::to_string(number(big, "maxGSO"));
        w << "\t[" + (gro == gso ? gso : gro + ", " + gso) + "]";
    }
    w << "\n";
}

std::string masquerading_text(const Json& status, const Json& masquerading) {
    const bool v4 = flag(masquerading, "enabledProtocols.ipv4");
    const bool v6 = flag(masquerading, "enabledProtocols.ipv6");
    if (!v4 && !v6) return "Disabled";
    const std::string families = "[IPv4: " + std::string(enabled(v4)) + ", IPv6: " + enabled(v6) + "]";
    if (text(masquerading, "mode") != "BPF") return "IPTables " + families;
    std::string out = flag(masquerading, "ip-masq-agent") ? "BPF (ip-masq-agent)" : "BPF";
    if (const Json& devices = field(status, "kube-proxy-replacement.deviceList"); devices.is_array()) {
        std::vector<std::string> names;
        for (const Json& device : devices) names.push_back(text(device, "name"));
        const std::string exclusion =
            join({text(masquerading, "snat-exclusion-cidr-v4"), text(masquerading, "snat-exclusion-cidr-v6")}, " ");
        out += "\t[" + join(names, ", ") + "]\t" +
               (exclusion.ends_with(' ') ? exclusion.substr(0, exclusion.size() - 1) : exclusion);
    }
    return out + " " + families;
}

void print_datapath(const Json& status, const StatusDetails& details, TabWriter& w) {
    print_big_tcp(status, "ipv4-big-tcp", "IPv4 BIG TCP", w);
    print_big_tcp(status, "ipv6-big-tcp", "IPv6 BIG TCP", w);
    if (const Json& bandwidth = field(status, "bandwidth-manager"); bandwidth.is_object()) {
        std::string control = text(bandwidth, "congestionControl");
        std::transform(control.begin(), control.end(), control.begin(),
                       [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        w << "BandwidthManager:\t" +
                 (flag(bandwidth, "enabled")
                      ? "EDT with BPF [" + control + "] [" + join(texts(bandwidth, "devices"), ", ") + "]"
                      : "Disabled") +
                 "\n";
    }
    if (const Json& routing = field(status, "routing"); routing.is_object()) {
        std::string network = text(routing, "inter-host-routing-mode");
        if (network == "Tunnel") network += " [" + text(routing, "tunnel-protocol") + "]";
        w << "Routing:\tNetwork: " + network + "\tHost: " + text(routing, "intra-host-routing-mode") + "\n";
    }
    if (const std::string mode = text(status, "attach-mode"); !mode.empty())
        w << std::string("Attach Mode:\t") + (mode == "tcx" ? "TCX" : "Legacy TC") + "\n";
    if (const std::string mode = text(status, "datapath-mode"); !mode.empty()) w << "Device Mode:\t" + mode + "\n";
    if (const Json& masquerading = field(status, "masquerading"); masquerading.is_object()) {
        w << "Masquerading:\t" + masquerading_text(status, masquerading) + "\n";
    }
    if (const Json& clock = field(status, "clock-source"); clock.is_object() && details.clock_source) {
        w << "Clock Source for BPF:\t" + text(clock, "mode") +
                 (text(clock, "mode") == "jiffies" ? "\t[" + text(clock, "hertz") + " Hz]" : "") + "\n";
    }
}

void print_controllers(const Json& controllers, const StatusDetails& details, std::int64_t now, TabWriter& w) {
    if (!controllers.is_array()) return;
    std::vector<std::string> rows;
    std::size_t failing = 0;
    for (const Json& controller : controllers) {
        const Json& state = field(controller, "status");
        if (!state.is_object()) continue;
        const std::int64_t failures = number(state, "consecutive-failure-count");
        if (failures > 0) ++failing;
        if (failures == 0 && !details.controllers) continue;
        const std::string message = text(state, "last-failure-msg");
        rows.push_back("  " + text(controller, "name") + "\t" + time_since(text(state, "last-success-timestamp"), now) +
                       "\t" + time_since(text(state, "last-failure-timestamp"), now) + "\t" + std::to_string(failures) +
                       "\t" + (message.empty() ? "no error" : message) + "\t\n");
    }
    w << "Controller Status:\t" + std::to_string(controllers.size() - failing) + "/" +
             std::to_string(controllers.size()) + " healthy\n";
    if (rows.empty()) return;
    std::sort(rows.begin(), rows.end());
    TabWriter table(0, 3);
    table << "  Name\tLast success\tLast error\tCount\tMessage\n";
    for (const std::string& row : rows) table << row;
    w << table.str();
}

void print_proxy_and_identities(const Json& status, const StatusDetails& details, TabWriter& w) {
    if (const Json& proxy = field(status, "proxy"); proxy.is_object()) {
        w << "Proxy Status:\tOK, ip " + text(proxy, "ip") + ", " + std::to_string(number(proxy, "total-redirects")) +
                 " redirects active on ports " + text(proxy, "port-range") +
                 ", Envoy: " + text(proxy, "envoy-deployment-mode") + "\n";
        if (const Json& redirects = field(proxy, "redirects");
            details.redirects && redirects.is_array() && !redirects.empty()) {
            TabWriter table(0, 3);
            table << "  Protocol\tRedirect\tProxy Port\n";
            for (const Json& r : redirects)
                table << "  " + text(r, "proxy") + "\t" + text(r, "name") + "\t" + text(r, "proxy-port") + "\n";
            w << table.str();
        }
    } else {
        w << "Proxy Status:\tNo managed proxy redirect\n";
    }
    const Json& range = field(status, "identity-range");
    w << "Global Identity Range:\t" +
             (range.is_object() ? "min " + text(range, "min-identity") + ", max " + text(range, "max-identity")
                                : std::string("Unknown")) +
             "\n";
    const Json& hubble = field(status, "hubble");
    if (!hubble.is_object()) return;
    w << "Hubble:\t" + text(hubble, "state") + (text(hubble, "msg").empty() ? "" : " " + text(hubble, "msg"));
    if (const Json& observer = field(hubble, "observer"); observer.is_object()) {
        std::vector<std::string> parts;
        const auto current = static_cast<double>(number(observer, "current-flows"));
        if (const auto max = static_cast<double>(number(observer, "max-flows")); max > 0) {
            parts.push_back("Current/Max Flows: " + printf_text("%.0f", current) + "/" + printf_text("%.0f", max) +
                            " (" + printf_text("%.2f", current / max * 100) + "%)");
        }
        if (const auto uptime = parse_duration(text(observer, "uptime")); uptime && uptime->count() > 0) {
            const auto seconds = std::chrono::duration<double>(*uptime).count();
            parts.push_back("Flows/s: " +
                            printf_text("%.2f", static_cast<double>(number(observer, "seen-flows")) / seconds));
        }
        w << "\t" + join(parts, ", ");
    }
    if (const Json& metrics = field(status, "hubble-metrics"); metrics.is_object())
        w << "\tMetrics: " + text(metrics, "state");
    w << "\n";
}

void print_kube_proxy_details(const Json& status, TabWriter& w) {
    const Json& replacement = field(status, "kube-proxy-replacement");
    if (!replacement.is_object() || !field(status, "kubernetes").is_object()) return;
    const Json& features = field(replacement, "features");
    if (!features.is_object()) return;
    const Json& node_port = field(features, "nodePort");
    const bool has_node_port = flag(node_port, "enabled");
    w << "KubeProxyReplacement Details:\n";
    TabWriter table(0, 3);
    table << "  Status:\t" + text(replacement, "mode") + "\n";
    table << std::string("  Socket LB:\t") + enabled(flag(features, "socketLB.enabled")) + "\n";
    table << std::string("  Socket LB Tracing:\t") + enabled(flag(features, "socketLBTracing.enabled")) + "\n";
    table << std::string("  Socket LB Coverage:\t") +
                 (flag(features, "bpfSocketLBHostnsOnly") ? "Hostns-only" : "Full") + "\n";
    if (const std::string devices = kube_proxy_devices(replacement); !devices.empty())
        table << "  Devices:\t" + devices + "\n";
    if (has_node_port) {
        const std::string mode = text(node_port, "mode");
        table << "  Mode:\t" + mode + "\n";
        if (mode == "DSR" || mode == "Hybrid") table << "    DSR Dispatch Mode:\t" + text(node_port, "dsrMode") + "\n";
        const std::string selection = text(node_port, "algorithm");
        table << "  Backend Selection:\t" + selection +
                     (selection == "Maglev" ? " (Table Size: " + text(node_port, "lutSize") + ")" : "") + "\n";
    }
    table << std::string("  Session Affinity:\t") + enabled(flag(features, "sessionAffinity.enabled")) + "\n";
    table << std::string("  NAT46/64 Support:\t") + enabled(flag(features, "nat46X64.enabled")) + "\n";
    if (has_node_port) table << "  XDP Acceleration:\t" + text(node_port, "acceleration") + "\n";
    table << "  Services:\n  - ClusterIP:\tEnabled\n";
    table << "  - NodePort:\t" +
                 (has_node_port
                      ? "Enabled (Range: " + text(node_port, "portMin") + "-" + text(node_port, "portMax") + ")"
                      : std::string("Disabled")) +
                 " \n";
    table << std::string("  - LoadBalancer:\t") + enabled(has_node_port) + " \n";
    table << std::string("  - externalIPs:\t") + enabled(flag(features, "externalIPs.enabled")) + " \n";
    table << std::string("  - HostPort:\t") + enabled(flag(features, "hostPort.enabled")) + "\n";
    if (const auto annotations = texts(features, "annotations"); !annotations.empty()) {
        table << "  Annotations:\n";
        for (const std::string& annotation : annotations) table << "  - " + annotation + "\n";
    }
    w << table.str();
}

void print_maps_and_encryption(const Json& status, const StatusDetails& details, TabWriter& w) {
    if (const Json& maps = field(status, "bpf-maps"); details.maps && maps.is_object()) {
        const Json& ratio = field(maps, "dynamic-size-ratio");
        const double value = ratio.is_number() ? ratio.get<double>() : 0;
        w << "BPF Maps:\tdynamic sizing: " +
                 (value > 0 && value <= 1 ? "on (ratio: " + printf_text("%f", value) + ")" : std::string("off")) + "\n";
        TabWriter table(0, 3);
        table << "  Name\tSize\n";
        if (const Json& list = field(maps, "maps"); list.is_array()) {
            for (const Json& map : list) table << "  " + text(map, "name") + "\t" + text(map, "size") + "\n";
        }
        w << table.str();
    }
    const Json& encryption = field(status, "encryption");
    if (!encryption.is_object()) return;
    std::string detail = text(encryption, "msg");
    if (const Json& wireguard = field(encryption, "wireguard"); detail.empty() && wireguard.is_object()) {
        std::vector<std::string> interfaces;
        if (const Json& list = field(wireguard, "interfaces"); list.is_array()) {
            for (const Json& i : list) {
                interfaces.push_back(text(i, "name") + " (Pubkey: " + text(i, "public-key") +
                                     ", Port: " + text(i, "listen-port") + ", Peers: " + text(i, "peer-count") + ")");
            }
        }
        detail = "[NodeEncryption: " + text(wireguard, "node-encryption") + ", " + join(interfaces, ", ") + "]";
    }
    w << "Encryption:\t" + text(encryption, "mode") + "\t" + detail + "\n";
}

void print_modules(const Json& status, TabWriter& w) {
    const Json& reconcilers = field(status, "axoneme.reconcilers");
    if (!reconcilers.is_array()) return;
    const auto degraded =
        std::count_if(reconcilers.begin(), reconcilers.end(), [](const Json& r) { return number(r, "failed") != 0; });
    w << "Modules Health:\tStopped(0) Degraded(" + std::to_string(degraded) + ") OK(" +
             std::to_string(static_cast<std::ptrdiff_t>(reconcilers.size()) - degraded) + ")\n";
}

}  // namespace

std::string status_text(const Json& status, const StatusDetails& details, std::int64_t now) {
    TabWriter w;
    for (const auto& [key, title] :
         {std::pair{"kvstore", "KVStore"}, std::pair{"container-runtime", "ContainerRuntime"}}) {
        if (const Json& component = field(status, key); component.is_object()) {
            w << std::string(title) + ":\t" + text(component, "state") + "\t" + text(component, "msg") + "\n";
        }
    }
    print_kubernetes(status, w);
    print_agent(status, details, w);
    if (const Json& mesh = field(status, "cluster-mesh"); mesh.is_object()) print_cluster_mesh(mesh, details, now, w);
    print_datapath(status, details, w);
    print_controllers(field(status, "controllers"), details, now, w);
    print_proxy_and_identities(status, details, w);
    if (details.kube_proxy) print_kube_proxy_details(status, w);
    print_maps_and_encryption(status, details, w);
    w << cluster_health_text(status, details.nodes);
    print_modules(status, w);
    std::string out = w.str();
    if (const Json& axoneme = field(status, "axoneme"); details.axoneme && axoneme.is_object())
        out += axoneme_status_text(axoneme, details.nodes);
    return out;
}

std::string status_brief(const Json& status) {
    static constexpr std::pair<const char*, const char*> kComponents[] = {{"kvstore", "kvstore"},
                                                                          {"container-runtime", "container runtime"},
                                                                          {"kubernetes", "kubernetes"},
                                                                          {"cilium", "cilium"},
                                                                          {"cluster.ciliumHealth", "cilium-health"}};
    for (const auto& [key, name] : kComponents) {
        const Json& component = field(status, key);
        if (is_unhealthy(component)) return "error in " + std::string(name) + ": " + text(component, "msg");
    }
    if (const Json& controllers = field(status, "controllers"); controllers.is_array()) {
        for (const Json& controller : controllers) {
            const std::string message = text(controller, "status.last-failure-msg");
            if (number(controller, "status.consecutive-failure-count") > 0)
                return "error in controller " + text(controller, "name") + ": " + message;
        }
    }
    return "OK";
}

bool status_is_healthy(const Json& status) {
    const Json& cilium = field(status, "cilium");
    const std::string state = text(cilium, "state");
    return !cilium.is_object() || state == "Ok" || state == "Disabled";
}

}  // namespace axo::cli
