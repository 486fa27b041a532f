#include "hubble/text/flow_words.h"

#include <flow/flow.pb.h>

#include <algorithm>
#include <array>

#include "bpf/api/drop_reason.h"

namespace axo {
namespace {

struct NamedType {
    std::string_view name;
    MonitorType type;
};
constexpr NamedType kTypes[] = {
    {"drop", MonitorType::kDrop},
    {"debug", MonitorType::kDebug},
    {"capture", MonitorType::kCapture},
    {"trace", MonitorType::kTrace},
    {"l7", MonitorType::kL7},
    {"policy-verdict", MonitorType::kPolicyVerdict},
    {"trace-sock", MonitorType::kTraceSock},
    {"agent", MonitorType::kAgent},
};
constexpr std::string_view kPoints[] = {"to-endpoint",   "to-proxy",   "to-host",     "to-stack",   "to-overlay",
                                        "from-endpoint", "from-proxy", "from-host",   "from-stack", "from-overlay",
                                        "from-network",  "to-network", "from-crypto", "to-crypto"};
constexpr std::string_view kMatches[] = {"none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only"};
constexpr std::string_view kIdentities[] = {"unknown", "host",       "world",       "unmanaged",
                                            "health",  "init",       "remote-node", "kube-apiserver",
                                            "ingress", "world-ipv4", "world-ipv6"};

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

std::string_view sock_point(flow::SocketTranslationPoint point) {
    switch (point) {
        case flow::SOCK_XLATE_POINT_PRE_DIRECTION_FWD: return "pre-xlate-fwd";
        case flow::SOCK_XLATE_POINT_POST_DIRECTION_FWD: return "post-xlate-fwd";
        case flow::SOCK_XLATE_POINT_PRE_DIRECTION_REV: return "pre-xlate-rev";
        case flow::SOCK_XLATE_POINT_POST_DIRECTION_REV: return "post-xlate-rev";
        default: return "SOCK_XLATE_POINT_UNKNOWN";
    }
}

// "L3-L4" …
std::string_view policy_match_name(std::uint32_t match) {
    return match < std::size(kMatches) ? kMatches[match] : "unknown";
}

}  // namespace

std::optional<int> monitor_type(std::string_view name) {
    const auto* found = std::ranges::find(kTypes, name, &NamedType::name);
    if (found == std::end(kTypes)) return std::nullopt;
    return static_cast<int>(found->type);
}

std::string_view trace_point_name(int sub_type) {
    return sub_type >= 0 && sub_type < static_cast<int>(std::size(kPoints)) ? kPoints[sub_type] : "";
}

std::optional<int> trace_point(std::string_view name) {
    const auto* found = std::ranges::find(kPoints, name);
    if (found == std::end(kPoints)) return std::nullopt;
    return static_cast<int>(found - std::begin(kPoints));
}

std::string drop_reason_text(int reason) {
    switch (reason) {
#define X(name, number, text) \
    case number: return text;
        AXO_REASONS(X)
#undef X
        default: return std::to_string(reason);
    }
}

std::string flow_type_text(const flow::Flow& flow) {
    if (flow.has_l7()) {
        const flow::Layer7& l7 = flow.l7();
        const std::string type = lower(flow::L7FlowType_Name(l7.type()));
        switch (l7.record_case()) {
            case flow::Layer7::kHttp: return "http-" + type;
            case flow::Layer7::kDns: return "dns-" + type + " " + l7.dns().observation_source();
            case flow::Layer7::kKafka: return "kafka-" + type;
            default: return "l7-" + type;
        }
    }
    const int sub_type = flow.event_type().sub_type();
    switch (static_cast<MonitorType>(flow.event_type().type())) {
        case MonitorType::kTrace: {
            const std::string_view point = trace_point_name(sub_type);
            return point.empty() ? std::to_string(sub_type) : std::string(point);
        }
        case MonitorType::kDrop: return drop_reason_text(sub_type);
        case MonitorType::kPolicyVerdict:
            return "policy-verdict:" + std::string(policy_match_name(flow.policy_match_type())) + " " +
                   flow::TrafficDirection_Name(flow.traffic_direction());
        case MonitorType::kCapture: return flow::DebugCapturePoint_Name(flow.debug_capture_point());
        case MonitorType::kTraceSock: return std::string(sock_point(flow.sock_xlate_point()));
        default: return "UNKNOWN";
    }
}

std::string_view reserved_identity(std::uint32_t identity) {
    return identity < std::size(kIdentities) ? kIdentities[identity] : "";
}

std::optional<std::uint32_t> reserved_identity_number(std::string_view name) {
    const auto* found = std::ranges::find(kIdentities, name);
    if (found == std::end(kIdentities)) return std::nullopt;
    return static_cast<std::uint32_t>(found - std::begin(kIdentities));
}

}  // namespace axo
