#include "app/cli/health_text.h"

#include "app/cli/output/tab_writer.h"
#include "base/duration.h"

namespace axo::cli {
namespace {

bool reachable(const Json& probe) {
    return probe.is_object() && text(probe, "status").empty();
}

void print_probe(const char* title, const Json& probe, TabWriter& w) {
    const std::string status = text(probe, "status");
    w << std::string("      ") + title + ":\t" +
             (status.empty() ? "OK, RTT=" + duration_text(std::chrono::nanoseconds(number(probe, "latency")))
                             : status) +
             "\t(Last probed: " + text(probe, "lastProbed") + ")\n";
}

void print_paths(const char* what, const Json& paths, bool verbose, TabWriter& w) {
    std::vector<const Json*> list;
    if (const Json& primary = field(paths, "primary-address"); primary.is_object()) list.push_back(&primary);
    if (const Json& secondary = field(paths, "secondary-addresses"); verbose && secondary.is_array()) {
        for (const Json& path : secondary) list.push_back(&path);
    }
    for (const Json* path : list) {
        w << std::string("    ") + what + " connectivity to " + text(*path, "ip") + ":\n";
        if (const Json& icmp = field(*path, "icmp"); icmp.is_object()) print_probe("ICMP to stack", icmp, w);
        if (const Json& http = field(*path, "http"); http.is_object()) print_probe("HTTP to agent", http, w);
    }
}

std::string ratio(const Json& path) {
    if (!path.is_object()) return "0/0";
    return reachable(field(path, "icmp")) && reachable(field(path, "http")) ? "1/1" : "0/1";
}

}  // namespace

std::string health_text(const Json& health, bool succinct, bool verbose) {
    const std::string self = text(health, "local.name");
    const std::string own_cluster = self.substr(0, self.rfind('/') + 1);
    TabWriter w;
    w << "Probe time:\t" + text(health, "timestamp") + "\n";
    w << (succinct ? "Name\tIP\tNode\tEndpoints\n" : "Nodes:\n");
    const Json& nodes = field(health, "nodes");
    if (!nodes.is_array()) return w.str();
    std::vector<const Json*> rows;
    for (const Json& node : nodes) rows.push_back(&node);
    // This node first, then by name.
    std::sort(rows.begin(), rows.end(), [&](const Json* a, const Json* b) {
        const std::string left = text(*a, "name");
        const std::string right = text(*b, "name");
        return std::pair(left != self, left) < std::pair(right != self, right);
    });
    for (const Json* node : rows) {
        std::string name = text(*node, "name");
        const char* local = name == self ? " (localhost)" : "";
        if (!own_cluster.empty() && name.starts_with(own_cluster)) name.erase(0, own_cluster.size());
        if (succinct) {
            w << "  " + name + local + "\t" + text(*node, "host.primary-address.ip") + "\t" +
                     ratio(field(*node, "host.primary-address")) + "\t" +
                     ratio(field(*node, "health-endpoint.primary-address")) + "\n";
            continue;
        }
        w << "  " + name + local + ":\n";
        print_paths("Host", field(*node, "host"), verbose, w);
        print_paths("Endpoint", field(*node, "health-endpoint"), verbose, w);
    }
    return w.str();
}

}  // namespace axo::cli
