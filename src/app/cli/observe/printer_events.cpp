// The printer's part for what is no flow: agent events, debug events, the server's status.
#include <algorithm>
#include <array>

#include "app/cli/observe/printer.h"
#include "app/cli/output/format.h"
#include "base/duration.h"
#include "hubble/text/proto_json.h"

namespace axo::cli {
namespace {

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& list) {
    return "[" + join({list.begin(), list.end()}, ",") + "]";
}

std::string address(const flow::ServiceUpsertNotificationAddr& address) {
    const bool v6 = address.ip().find(':') != std::string::npos;
    return (v6 ? "[" + address.ip() + "]" : address.ip()) + ":" + std::to_string(address.port());
}

std::string ipcache_details(const flow::IPCacheNotification& i) {
    std::string out = "cidr: " + i.cidr() + ", identity: " + std::to_string(i.identity());
    if (i.has_old_identity()) out += ", old identity: " + std::to_string(i.old_identity().value());
    if (!i.host_ip().empty()) out += ", host ip: " + i.host_ip();
    if (!i.old_host_ip().empty()) out += ", old host ip: " + i.old_host_ip();
    return out + ", encrypt key: " + std::to_string(i.encrypt_key());
}

std::string service_details(const flow::ServiceUpsertNotification& s) {
    std::string out = "id: " + std::to_string(s.id());
    if (s.has_frontend_address()) out += ", frontend: " + address(s.frontend_address());
    std::vector<std::string> backends;
    for (const auto& backend : s.backend_addresses()) backends.push_back(address(backend));
    if (!backends.empty()) out += ", backends: [" + join(backends, ",") + "]";
    if (!s.type().empty()) out += ", type: " + s.type();
    if (!s.traffic_policy().empty()) out += ", traffic policy: " + s.traffic_policy();
    if (!s.namespace_().empty()) out += ", namespace: " + s.namespace_();
    if (!s.name().empty()) out += ", name: " + s.name();
    return out;
}

std::string details(const flow::AgentEvent& e, TimeLayout layout) {
    switch (e.notification_case()) {
        case flow::AgentEvent::kUnknown:
            return "type: " + e.unknown().type() + ", notification: " + e.unknown().notification();
        case flow::AgentEvent::kAgentStart:
            return "start time: " +
                   format_layout(layout, e.agent_start().time().seconds(), e.agent_start().time().nanos());
        case flow::AgentEvent::kPolicyUpdate:
            return "labels: " + joined(e.policy_update().labels()) +
                   ", revision: " + std::to_string(e.policy_update().revision()) +
                   ", count: " + std::to_string(e.policy_update().rule_count());
        case flow::AgentEvent::kEndpointRegenerate: {
            const auto& r = e.endpoint_regenerate();
            return "id: " + std::to_string(r.id()) + ", labels: " + joined(r.labels()) +
                   (r.error().empty() ? "" : ", error: " + r.error());
        }
        case flow::AgentEvent::kEndpointUpdate: {
            const auto& u = e.endpoint_update();
            return "id: " + std::to_string(u.id()) + (u.namespace_().empty() ? "" : ", namespace: " + u.namespace_()) +
                   (u.pod_name().empty() ? "" : ", pod name: " + u.pod_name());
        }
        case flow::AgentEvent::kIpcacheUpdate: return ipcache_details(e.ipcache_update());
        case flow::AgentEvent::kServiceUpsert: return service_details(e.service_upsert());
        case flow::AgentEvent::kServiceDelete: return "id: " + std::to_string(e.service_delete().id());
        default: return "UNKNOWN";
    }
}

std::string hex(bool present, std::uint32_t value) {
    if (!present) return "N/A";
    std::array<char, 16> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "0x%x", value);
    return buffer.data();
}

std::string short_endpoint(const flow::DebugEvent& event) {
    if (!event.has_source()) return "N/A";
    const flow::Endpoint& end = event.source();
    const std::string id = "ID: " + std::to_string(end.id());
    if (!end.namespace_().empty() && !end.pod_name().empty())
        return end.namespace_() + "/" + end.pod_name() + " (" + id + ")";
    if (end.labels_size() == 1 && end.labels(0).starts_with("reserved:")) return end.labels(0) + " (" + id + ")";
    return id;
}

std::string fixed2(double value) {
    std::array<char, 64> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.2f", value);
    return buffer.data();
}

std::string uptime(std::uint64_t ns) {
    return ns > INT64_MAX ? std::to_string(ns) + "ns"
                          : duration_text(std::chrono::nanoseconds(static_cast<std::int64_t>(ns)));
}

}  // namespace

FlowPrinter::Text FlowPrinter::print(const observer::GetAgentEventsResponse& response) {
    const flow::AgentEvent& event = response.agent_event();
    const std::string when = time(response.time(), response.has_time());
    const std::string type = flow::AgentEventType_Name(event.type());
    const std::string text = safe(details(event, options_.time)), node = safe(response.node_name());
    Text out;
    switch (options_.output) {
        case ObserveOutput::kJson: out.out = proto_json(response) + "\n"; break;
        case ObserveOutput::kJsonLegacy: out.out = proto_json(event) + "\n"; break;
        case ObserveOutput::kTable:
            options_.node_name ? table({"TIMESTAMP", "NODE", "TYPE", "DETAILS"}, {when, node, type, text})
                               : table({"TIMESTAMP", "TYPE", "DETAILS"}, {when, type, text});
            break;
        case ObserveOutput::kDict: {
            std::vector<std::pair<std::string, std::string>> fields{{"TIMESTAMP", when}};
            if (options_.node_name) fields.emplace_back("NODE", node);
            fields.insert(fields.end(), {{"TYPE", type}, {"DETAILS", text}});
            out.out = dict(fields, 11);
            break;
        }
        case ObserveOutput::kCompact:
            out.out = when + (options_.node_name ? " [" + node + "]" : "") + ": " + type + " (" + text + ")\n";
            break;
    }
    ++lines_;
    return out;
}

FlowPrinter::Text FlowPrinter::print(const observer::GetDebugEventsResponse& response) {
    const flow::DebugEvent& event = response.debug_event();
    const std::string when = time(response.time(), response.has_time());
    const std::string type = flow::DebugEventType_Name(event.type());
    const std::string node = safe(response.node_name()), message = safe(event.message());
    const std::string from = safe(short_endpoint(event)), mark = hex(event.has_hash(), event.hash().value());
    std::string cpu = "N/A";
    if (event.has_cpu()) cpu = (event.cpu().value() < 10 ? "0" : "") + std::to_string(event.cpu().value());
    Text out;
    switch (options_.output) {
        case ObserveOutput::kJson: out.out = proto_json(response) + "\n"; break;
        case ObserveOutput::kJsonLegacy: out.out = proto_json(event) + "\n"; break;
        case ObserveOutput::kTable: {
            // An empty column stands behind FROM, as in Hubble.
            std::vector<std::string> head{"TIMESTAMP"}, cells{when};
            if (options_.node_name) {
                head.emplace_back("NODE");
                cells.push_back(node);
            }
            head.insert(head.end(), {"FROM", "", "TYPE", "CPU/MARK", "MESSAGE"});
            cells.insert(cells.end(), {from, "", type, cpu + " " + mark, message});
            table(head, cells);
            break;
        }
        case ObserveOutput::kDict: {
            std::vector<std::pair<std::string, std::string>> fields{{"TIMESTAMP", when}};
            if (options_.node_name) fields.emplace_back("NODE", node);
            fields.insert(fields.end(),
                          {{"TYPE", type}, {"FROM", from}, {"MARK", mark}, {"CPU", cpu}, {"MESSAGE", message}});
            out.out = dict(fields, 11);
            break;
        }
        case ObserveOutput::kCompact:
            out.out = when + (options_.node_name ? " [" + node + "]" : "") + ": " + from + " " + type +
                      " MARK: " + mark + " CPU: " + cpu + " (" + message + ")\n";
            break;
    }
    ++lines_;
    return out;
}

std::string FlowPrinter::print(const observer::ServerStatusResponse& s) {
    const std::string connected = s.has_num_connected_nodes() ? std::to_string(s.num_connected_nodes().value()) : "N/A";
    const std::string unavailable =
        s.has_num_unavailable_nodes() ? std::to_string(s.num_unavailable_nodes().value()) : "N/A";
    std::string rate = s.flows_rate() > 0 ? fixed2(s.flows_rate()) : "N/A";
    switch (options_.output) {
        case ObserveOutput::kJson:
        case ObserveOutput::kJsonLegacy: return proto_json(s) + "\n";
        case ObserveOutput::kTable: {
            TabWriter table;
            table.row({"NUM FLOWS", "MAX FLOWS", "SEEN FLOWS", "FLOWS PER SECOND", "UPTIME", "NUM CONNECTED NODES",
                       "NUM UNAVAILABLE NODES", "VERSION"});
            table.row({grouped(s.num_flows()), grouped(s.max_flows()), grouped(s.seen_flows()), rate,
                       uptime(s.uptime_ns()), connected, unavailable, safe(s.version())});
            return table.str();
        }
        case ObserveOutput::kDict:
            return dict({{"NUM FLOWS", grouped(s.num_flows())},
                         {"MAX FLOWS", grouped(s.max_flows())},
                         {"SEEN FLOWS", grouped(s.seen_flows())},
                         {"FLOWS PER SECOND", rate},
                         {"UPTIME", uptime(s.uptime_ns())},
                         {"NUM CONNECTED NODES", connected},
                         {"NUM UNAVAIL. NODES", unavailable},
                         {"VERSION", safe(s.version())}},
                        19);
        case ObserveOutput::kCompact: break;
    }
    std::string out = "Current/Max Flows: " + grouped(s.num_flows()) + "/" + grouped(s.max_flows());
    if (s.max_flows() > 0)
        out += " (" + fixed2(static_cast<double>(s.num_flows()) / static_cast<double>(s.max_flows()) * 100) + "%)";
    if (rate == "N/A" && s.uptime_ns() > 0)
        rate = fixed2(static_cast<double>(s.seen_flows()) / (static_cast<double>(s.uptime_ns()) / 1e9));
    out += "\nFlows/s: " + rate + "\n";
    const std::uint32_t up = s.num_connected_nodes().value(), down = s.num_unavailable_nodes().value();
    if (s.has_num_connected_nodes()) {
        out += "Connected Nodes: " + std::to_string(up);
        if (s.has_num_unavailable_nodes()) out += "/" + std::to_string(up + down);
        out += "\n";
    }
    if (down == 0) return out;
    out += "Unavailable Nodes: " + std::to_string(down) + "\n";
    std::vector<std::string> names(s.unavailable_nodes().begin(), s.unavailable_nodes().end());
    std::ranges::sort(names);
    if (!names.empty() && down > names.size())
        names.push_back("and " + std::to_string(down - names.size()) + " more...");
    for (const std::string& name : names) out += "  - " + safe(name) + "\n";
    return out;
}

}  // namespace axo::cli
