// What Cilium's status does not know: our datapath's start, reconcilers, decisions, memory and node health.
#include <algorithm>

#include "app/cli/output/tab_writer.h"
#include "app/cli/status_text.h"
#include "base/duration.h"

namespace axo::cli {
namespace {

std::string count(const Json& object, const char* key) {
    return std::to_string(number(object, key));
}

void print_datapath(const Json& datapath, TabWriter& w) {
    if (!datapath.is_object()) return;
    w << "Datapath:\n";
    w << "  Programs:\t" + text(datapath, "programs") + "\n";
    w << "  Maps:\t" + count(datapath, "maps-created") + " created, " + count(datapath, "maps-adopted") + " adopted\n";
    w << "  Links:\t" + count(datapath, "links-attached") + " attached, " + count(datapath, "links-updated") +
             " updated, " + count(datapath, "links-adopted") + " adopted\n";
    w << "  Devices:\t" + count(datapath, "devices-created") + " created\n";
}

void print_decisions(const Json& reasons, TabWriter& w) {
    if (!reasons.is_array() || reasons.empty()) return;
    w << "Decisions:\n";
    TabWriter table(0, 3);
    table << "  What\tChoice\tReason\n";
    for (const Json& r : reasons)
        table << "  " + text(r, "what") + "\t" + text(r, "choice") + "\t" + text(r, "reason") + "\n";
    w << table.str();
}

void print_reconcilers(const Json& reconcilers, TabWriter& w) {
    if (!reconcilers.is_array() || reconcilers.empty()) return;
    w << "Reconcilers:\n";
    TabWriter table(0, 3);
    table << "  Name\tUnchanged at start\tAdded\tUpdated\tRemoved\tFailed\n";
    for (const Json& r : reconcilers) {
        table << "  " + text(r, "name") + "\t" + count(r, "unchanged-at-start") + "\t" + count(r, "added") + "\t" +
                     count(r, "updated") + "\t" + count(r, "removed") + "\t" + count(r, "failed") + "\n";
    }
    w << table.str();
    for (const Json& r : reconcilers) {
        const Json& errors = field(r, "errors");
        if (!errors.is_array()) continue;
        for (const Json& error : errors)
            w << "  " + text(r, "name") + " " + text(error, "object") + ": " + text(error, "message") + "\n";
    }
}

void print_memory(const Json& maps, TabWriter& w) {
    if (!maps.is_array() || maps.empty()) return;
    std::uint64_t total = 0;
    TabWriter table(0, 3);
    table << "  Name\tMemory\tEntries\tMax\n";
    for (const Json& map : maps) {
        const auto bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(number(map, "bytes"), 0));
        total += bytes;
        table << "  " + text(map, "name") + "\t" + human_bytes(bytes) + "\t" + count(map, "entries") + "\t" +
                     count(map, "max-entries") + "\n";
    }
    w << "BPF map memory:\t" + human_bytes(total) + " in " + std::to_string(maps.size()) + " maps\n" + table.str();
}

// What runs in XDP on each native device.
void print_xdp(const Json& services, TabWriter& w) {
    const Json& devices = field(services, "xdp");
    if (!devices.is_array() || devices.empty()) return;
    w << "XDP:\n";
    TabWriter table(0, 3);
    table << "  Device\tMode\tForwards\tReason\n";
    for (const Json& device : devices) {
        table << "  " + text(device, "device") + "\t" + text(device, "mode") + "\t" +
                     (flag(device, "forwards") ? "yes" : "no") + "\t" + text(device, "note") + "\n";
    }
    w << table.str();
    if (const Json& prefilter = field(services, "prefilter"); prefilter.is_object())
        w << "XDP prefilter:\t" + count(prefilter, "prefixes") + " CIDRs, revision " + count(prefilter, "revision") +
                 "\n";
}

std::string probe(const Json& result) {
    if (!result.is_object()) return "-";
    const std::string status = text(result, "status");
    if (!status.empty() && status != "OK") return status;
    return duration_text(std::chrono::nanoseconds(number(result, "latency-ns")));
}

void print_node_health(const Json& nodes, TabWriter& w) {
    if (!nodes.is_array() || nodes.empty()) return;
    w << "Node health:\n";
    TabWriter table(0, 3);
    table << "  Node\tIP\tICMP to node\tHTTP to agent\tHealth endpoint\tICMP\tHTTP\tLast probed\n";
    for (const Json& node : nodes) {
        table << "  " + text(node, "name") + "\t" + text(node, "ip") + "\t" + probe(field(node, "host-icmp")) + "\t" +
                     probe(field(node, "host-http")) + "\t" + text(node, "endpoint-ip") + "\t" +
                     probe(field(node, "endpoint-icmp")) + "\t" + probe(field(node, "endpoint-http")) + "\t" +
                     text(node, "last-probed") + "\n";
    }
    w << table.str();
}

void print_rejected(const Json& list, const char* title, const char* where, TabWriter& w) {
    if (!list.is_array() || list.empty()) return;
    w << std::string(title) + ":\n";
    for (const Json& entry : list) {
        const std::string message = text(entry, "message");
        w << "  " + text(entry, where) + ": " +
                 (message.empty()
                      ? "needed for " + text(entry, "needed-for") + " (kernel " + text(entry, "kernel") + ")"
                      : message) +
                 "\n";
    }
}

// What is wrong with objects stands among the rejected ones already.
Json service_problems(const Json& axoneme) {
    const Json& rejected = field(axoneme, "rejected-objects");
    Json others = Json::array();
    for (const Json& problem : field(axoneme, "services.problems")) {
        const auto same = [&](const Json& entry) { return text(entry, "where") == text(problem, "where"); };
        if (std::none_of(rejected.begin(), rejected.end(), same)) others.push_back(problem);
    }
    return others;
}

// A probe that was made and answered; one that was not made (no health endpoint) is null and says nothing.
bool answered(const Json& result) {
    return result.is_object() && (text(result, "status").empty() || text(result, "status") == "OK");
}

std::string ratio(const Json& node, const char* icmp, const char* http) {
    if (!field(node, icmp).is_object() && !field(node, http).is_object()) return "0/0";
    const bool good = (!field(node, icmp).is_object() || answered(field(node, icmp))) &&
                      (!field(node, http).is_object() || answered(field(node, http)));
    return good ? "1/1" : "0/1";
}

}  // namespace

std::string cluster_health_text(const Json& status, bool all_nodes) {
    const Json& nodes = field(status, "axoneme.node-health");
    if (!nodes.is_array()) return {};
    const std::string self = text(status, "cluster.self");
    const std::string own_cluster = self.substr(0, self.rfind('/') + 1);
    std::size_t reachable = 0;
    std::string probed;
    std::string lines;
    for (const Json& node : nodes) {
        const std::string host = ratio(node, "host-icmp", "host-http");
        const std::string endpoint = ratio(node, "endpoint-icmp", "endpoint-http");
        const bool good = host != "0/1" && endpoint != "0/1";
        if (good) ++reachable;
        probed = std::max(probed, text(node, "last-probed"));
        if (good && !all_nodes) continue;
        std::string name = text(node, "name");
        const bool local = flag(node, "local") || name == self;
        if (!own_cluster.empty() && name.starts_with(own_cluster)) name.erase(0, own_cluster.size());
        lines += "  " + name + (local ? " (localhost)" : "") + "\t" + text(node, "ip") + "\t" + host + "\t" + endpoint +
                 "\n";
    }
    std::string out = "Cluster health:\t" + std::to_string(reachable) + "/" + std::to_string(nodes.size()) +
                      " reachable\t(" + probed + ")";
    if (const std::int64_t interval = number(status, "axoneme.health-probe-interval-ns"); interval > 0)
        out += "\t(Probe interval: " + duration_text(std::chrono::nanoseconds(interval)) + ")";
    out += "\n";
    if (!lines.empty()) out += "Name\tIP\tNode\tEndpoints\n" + lines;
    return out;
}

std::string axoneme_status_text(const Json& axoneme, bool all_nodes) {
    TabWriter w;
    print_datapath(field(axoneme, "datapath"), w);
    if (!field(axoneme, "start-ms").is_null()) {
        w << "Start:\t" + count(axoneme, "start-ms") + " ms to healthy, " + count(axoneme, "datapath-ready-ms") +
                 " ms to datapath ready\n";
    }
    print_decisions(field(axoneme, "datapath.reasons"), w);
    print_reconcilers(field(axoneme, "reconcilers"), w);
    print_xdp(field(axoneme, "services"), w);
    print_memory(field(axoneme, "maps"), w);
    if (all_nodes) print_node_health(field(axoneme, "node-health"), w);
    if (const Json& events = field(axoneme, "events"); events.is_object())
        w << "Events:\t" + count(events, "seen") + " seen, " + count(events, "lost") + " lost\n";
    print_rejected(field(axoneme, "missing-kernel-features"), "Missing kernel features", "feature", w);
    print_rejected(field(axoneme, "unrouted-nodes"), "Nodes without a route", "node", w);
    print_rejected(field(axoneme, "rejected-objects"), "Rejected objects", "where", w);
    print_rejected(service_problems(axoneme), "Problems of services", "where", w);
    print_rejected(field(axoneme, "rejected-state"), "Rejected state", "path", w);
    return w.str();
}

}  // namespace axo::cli
