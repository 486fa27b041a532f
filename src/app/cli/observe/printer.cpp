#include "app/cli/observe/printer.h"

#include <array>

#include "app/cli/output/format.h"
#include "hubble/text/explain.h"
#include "hubble/text/flow_words.h"
#include "hubble/text/proto_json.h"

namespace axo::cli {
namespace {

constexpr const char* kRed = "\x1b[31m";
constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kMagenta = "\x1b[35m";
constexpr const char* kCyan = "\x1b[36m";
constexpr const char* kReset = "\x1b[0m";

std::string join_host(const std::string& host, const std::string& port) {
    return host.find(':') == std::string::npos ? host + ":" + port : "[" + host + "]:" + port;
}

std::uint32_t port_of(const flow::Layer4& l4, bool source) {
    if (l4.has_tcp()) return source ? l4.tcp().source_port() : l4.tcp().destination_port();
    if (l4.has_udp()) return source ? l4.udp().source_port() : l4.udp().destination_port();
    if (l4.has_sctp()) return source ? l4.sctp().source_port() : l4.sctp().destination_port();
    return 0;
}

std::string in_namespace(const std::string& ns, const std::string& name) {
    return ns.empty() ? name : ns + "/" + name;
}

std::string policies(const google::protobuf::RepeatedPtrField<flow::Policy>& list) {
    std::string out;
    for (const flow::Policy& policy : list) {
        if (!out.empty()) out += ", ";
        out += policy.name();
        if (!policy.kind().empty()) out += " (" + policy.kind() + ")";
    }
    return out;
}

// Names up to a length, at least one; how many are left out.
std::string names_text(const google::protobuf::RepeatedPtrField<std::string>& names) {
    constexpr std::size_t kLimit = 50;
    std::string out;
    std::size_t length = 0;
    for (int i = 0; i < names.size(); ++i) {
        length += names[i].size() + 2;
        if (length > kLimit && i > 0) return out + " (and " + std::to_string(names.size() - i) + " more)";
        if (i > 0) out += ", ";
        out += names[i];
    }
    return out;
}

std::string quoted(const std::string& text) {
    return Json(text).dump();
}

}  // namespace

std::string safe(const std::string& text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if (c == '\x1b')
            out += "^[";
        else if (c == '\r')
            out += "\\r";
        else
            out += c;
    }
    return out;
}

Result<ObserveOutput> parse_observe_output(const std::string& name) {
    static constexpr std::pair<const char*, ObserveOutput> kNames[] = {
        {"compact", ObserveOutput::kCompact}, {"dict", ObserveOutput::kDict},   {"json", ObserveOutput::kJson},
        {"JSON", ObserveOutput::kJson},       {"jsonpb", ObserveOutput::kJson}, {"tab", ObserveOutput::kTable},
        {"table", ObserveOutput::kTable}};
    for (const auto& [known, output] : kNames)
        if (name == known) return output;
    return fail(Code::kInvalidArgument, "invalid output format: " + name);
}

std::string grouped(std::uint64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, ",");
    }
    return digits;
}

std::string FlowPrinter::paint(const char* colour, const std::string& text) const {
    return options_.colour && options_.output != ObserveOutput::kTable ? colour + text + kReset : text;
}

std::string FlowPrinter::time(const google::protobuf::Timestamp& time, bool present) const {
    return present ? format_layout(options_.time, time.seconds(), time.nanos()) : "N/A";
}

std::string FlowPrinter::verdict(const flow::Flow& flow) const {
    const bool policy = flow.event_type().type() == static_cast<int>(MonitorType::kPolicyVerdict);
    std::string text = flow::Verdict_Name(flow.verdict());
    if (text.empty()) text = std::to_string(flow.verdict());
    const char* colour = nullptr;
    switch (flow.verdict()) {
        case flow::FORWARDED:
        case flow::REDIRECTED:
            if (policy) text = "ALLOWED";
            colour = kGreen;
            break;
        case flow::DROPPED:
        case flow::ERROR:
            if (policy) text = "DENIED";
            colour = kRed;
            break;
        case flow::AUDIT:
            if (policy) text = "AUDITED";
            colour = kYellow;
            break;
        case flow::TRACED:
        case flow::TRANSLATED: colour = kYellow; break;
        default: return text;
    }
    if (policy && options_.policy_names) {
        const bool egress = flow.traffic_direction() == flow::EGRESS;
        const bool allowed = flow.verdict() == flow::FORWARDED || flow.verdict() == flow::REDIRECTED;
        const std::string names = policies(allowed  ? egress ? flow.egress_allowed_by() : flow.ingress_allowed_by()
                                            : egress ? flow.egress_denied_by()
                                                    : flow.ingress_denied_by());
        if (!names.empty()) text += " BY " + safe(names);
    }
    return paint(colour, text);
}

std::string FlowPrinter::identity(std::uint32_t number) const {
    const std::string_view name = reserved_identity(number);
    return paint(kMagenta, name.empty() ? "(ID:" + std::to_string(number) + ")" : "(" + std::string(name) + ")");
}

std::string FlowPrinter::host(const flow::Flow& flow, bool source) const {
    if (!flow.has_ip()) {
        if (!flow.has_ethernet()) return "";
        return paint(kCyan, safe(source ? flow.ethernet().source() : flow.ethernet().destination()));
    }
    const flow::Endpoint& end = source ? flow.source() : flow.destination();
    const flow::Service& service = source ? flow.source_service() : flow.destination_service();
    const bool has_service = source ? flow.has_source_service() : flow.has_destination_service();
    const auto& names = source ? flow.source_names() : flow.destination_names();
    // A service's namespace counts before the endpoint's, as in Hubble.
    const std::string& ns = has_service ? service.namespace_() : end.namespace_();
    std::string host = source ? flow.ip().source() : flow.ip().destination();
    if (options_.translate_ips) {
        if (!end.pod_name().empty())
            host = in_namespace(ns, end.pod_name());
        else if (!service.name().empty())
            host = in_namespace(ns, service.name());
        else if (!names.empty())
            host = join({names.begin(), names.end()}, ",");
    }
    host = safe(host);
    if (const std::uint32_t port = port_of(flow.l4(), source); port != 0)
        host = join_host(host, paint(kYellow, std::to_string(port)));
    return paint(kCyan, host);
}

std::string FlowPrinter::summary(const flow::Flow& flow) const {
    std::string out;
    if (flow.ip_trace_id().trace_id() != 0)
        out += "IP Trace ID: " + std::to_string(flow.ip_trace_id().trace_id()) + "; ";
    out += safe(flow.summary());
    if (flow.auth_type() != flow::DISABLED)
        out += "; " +
               paint(flow.auth_type() == flow::TEST_ALWAYS_FAIL ? kRed : kGreen, flow::AuthType_Name(flow.auth_type()));
    return out;
}

std::string FlowPrinter::dict(const std::vector<std::pair<std::string, std::string>>& fields, std::size_t width) {
    std::string out;
    if (lines_ != 0) out += "------------\n";
    for (const auto& [key, value] : fields)
        out += std::string(width - std::min(width, key.size()), ' ') + key + ": " + value + "\n";
    return out;
}

void FlowPrinter::table(const std::vector<std::string>& head, const std::vector<std::string>& cells) {
    if (lines_ == 0) table_.row(head);
    table_.row(cells);
}

std::string FlowPrinter::explanation(const flow::Flow& flow) {
    const auto why = explain_drop(flow);
    if (!why) return {};
    std::string out = "    why: " + safe(why->sentence) + "\n";
    if (why->policy.empty()) return out;
    if (!explained_.insert(why->policy).second) return out + "    allowed by: the policy shown above\n";
    out += "    allowed by:\n";
    std::size_t from = 0;
    while (from < why->policy.size()) {
        const std::size_t end = std::min(why->policy.find('\n', from), why->policy.size());
        out += "      " + safe(why->policy.substr(from, end - from)) + "\n";
        from = end + 1;
    }
    return out;
}

std::string FlowPrinter::flow_text(const observer::GetFlowsResponse& response) {
    const flow::Flow& flow = response.flow();
    const std::string when = time(flow.time(), flow.has_time());
    std::string source = host(flow, true), destination = host(flow, false);
    const std::string type = safe(flow_type_text(flow));
    const std::string node = safe(flow.node_name());
    std::string out;
    switch (options_.output) {
        case ObserveOutput::kJson: return proto_json(response) + "\n";
        case ObserveOutput::kJsonLegacy: return proto_json(flow) + "\n";
        case ObserveOutput::kTable: {
            std::vector<std::string> head{"TIMESTAMP"}, cells{when};
            if (options_.node_name) {
                head.emplace_back("NODE");
                cells.push_back(node);
            }
            head.insert(head.end(), {"SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"});
            cells.insert(cells.end(), {source, destination, type, verdict(flow), summary(flow)});
            table(head, cells);
            break;
        }
        case ObserveOutput::kDict: {
            std::vector<std::pair<std::string, std::string>> fields{{"TIMESTAMP", when}};
            if (options_.node_name) fields.emplace_back("NODE", node);
            fields.insert(fields.end(), {{"SOURCE", source},
                                         {"DESTINATION", destination},
                                         {"TYPE", type},
                                         {"VERDICT", verdict(flow)},
                                         {"SUMMARY", summary(flow)}});
            out = dict(fields, 11);
            break;
        }
        case ObserveOutput::kCompact: {
            std::string from_identity = identity(flow.source().identity());
            std::string to_identity = identity(flow.destination().identity());
            const char* arrow = "->";
            if (!flow.has_is_reply()) {
                arrow = "<>";
            } else if (flow.is_reply().value()) {
                std::swap(source, destination);
                std::swap(from_identity, to_identity);
                arrow = "<-";
            }
            out = when + (options_.node_name ? " [" + node + "]" : "") + ": " + source + " " + from_identity + " " +
                  arrow + " " + destination + " " + to_identity + " " + type + " " + verdict(flow) + " (" +
                  summary(flow) + ")\n";
            break;
        }
    }
    if (options_.explain && options_.output != ObserveOutput::kTable) out += explanation(flow);
    ++lines_;
    return out;
}

std::string FlowPrinter::lost_text(const observer::GetFlowsResponse& response) {
    const flow::LostEvent& lost = response.lost_events();
    const std::string source = flow::LostEventSource_Name(lost.source());
    const std::string cpu = std::to_string(lost.cpu().value());
    const std::string count = std::to_string(lost.num_events_lost());
    const std::string summary = "CPU(" + cpu + ") - " + count;
    std::string out;
    switch (options_.output) {
        case ObserveOutput::kJson: return proto_json(response) + "\n";
        case ObserveOutput::kJsonLegacy: return proto_json(lost) + "\n";
        case ObserveOutput::kTable: {
            std::vector<std::string> head{"TIMESTAMP"}, cells{""};
            if (options_.node_name) {
                head.emplace_back("NODE");
                cells.emplace_back();
            }
            head.insert(head.end(), {"SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"});
            cells.insert(cells.end(), {source, "", "EVENTS LOST", "", summary});
            table(head, cells);
            break;
        }
        case ObserveOutput::kDict: {
            std::vector<std::pair<std::string, std::string>> fields{{"TIMESTAMP", ""}};
            if (options_.node_name) fields.emplace_back("NODE", "");
            fields.insert(fields.end(),
                          {{"SOURCE", source}, {"TYPE", "EVENTS LOST"}, {"VERDICT", ""}, {"SUMMARY", summary}});
            out = dict(fields, 11);
            break;
        }
        case ObserveOutput::kCompact: out = "EVENTS LOST: " + source + " CPU(" + cpu + ") " + count + "\n"; break;
    }
    ++lines_;
    return out;
}

std::string FlowPrinter::node_text(const observer::GetFlowsResponse& response) {
    const relay::NodeStatusEvent& event = response.node_status();
    const relay::NodeState state = event.state_change();
    if (!options_.debug && state != relay::NODE_ERROR && state != relay::NODE_UNAVAILABLE) return {};
    const std::string names = safe(names_text(event.node_names()));
    const std::string when = time(response.time(), response.has_time());
    if (options_.output == ObserveOutput::kJson || options_.output == ObserveOutput::kJsonLegacy)
        return options_.output == ObserveOutput::kJson ? proto_json(response) + "\n" : "";
    if (options_.output == ObserveOutput::kDict) {
        const std::string out = dict({{"TIMESTAMP", when},
                                      {"STATE", relay::NodeState_Name(state)},
                                      {"NODES", names},
                                      {"MESSAGE", event.message().empty() ? "N/A" : safe(quoted(event.message()))}},
                                     11);
        if (lines_ == 0) ++lines_;
        return out;
    }
    const std::string count = std::to_string(event.node_names_size());
    const std::string prefix = when + " [" + safe(response.node_name()) + "]: ";
    switch (state) {
        case relay::NODE_CONNECTED: return prefix + "Receiving flows from " + count + " nodes: " + names + "\n";
        case relay::NODE_UNAVAILABLE: return prefix + count + " nodes are unavailable: " + names + "\n";
        case relay::NODE_GONE: return prefix + count + " nodes removed from cluster: " + names + "\n";
        case relay::NODE_ERROR:
            return prefix + "Error " + safe(quoted(event.message())) + " on " + count + " nodes: " + names + "\n";
        default: return prefix + "unknown node status event: " + safe(event.ShortDebugString()) + "\n";
    }
}

FlowPrinter::Text FlowPrinter::print(const observer::GetFlowsResponse& response) {
    switch (response.response_types_case()) {
        case observer::GetFlowsResponse::kFlow: return {.out = flow_text(response), .err = ""};
        case observer::GetFlowsResponse::kLostEvents: return {.out = lost_text(response), .err = ""};
        case observer::GetFlowsResponse::kNodeStatus:
            return {.out = "", .err = options_.silent_errors ? "" : node_text(response)};
        default: return {};
    }
}

std::string FlowPrinter::finish() {
    return options_.output == ObserveOutput::kTable ? table_.str() : "";
}

}  // namespace axo::cli
