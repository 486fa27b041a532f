#include "features/monitor/cilium_wire.h"

#include <arpa/inet.h>

#include <algorithm>

#include "bpf/api/drop_reason.h"
#include "bpf/api/policy.h"
#include "features/monitor/gob.h"
#include "features/monitor/packet_headers.h"

namespace axo::cilium_wire {

namespace {

constexpr std::int64_t kSample = 9, kLost = 2;  // Payload.Type
constexpr std::uint8_t kAgentEvent = 130;       // Data's first byte; the datapath's are ours, too

constexpr gob::Field kPayload[] = {
    {"Data", gob::Kind::kBytes}, {"CPU", gob::Kind::kInt}, {"Lost", gob::Kind::kUint}, {"Type", gob::Kind::kInt}};
constexpr gob::Field kNotice[] = {{"Type", gob::Kind::kUint}, {"Text", gob::Kind::kString}};

// Cilium's structs, by its names.
struct CaptureHeader {
    std::uint8_t type, subtype;
    std::uint16_t source;  // the endpoint whose event it is
    std::uint32_t hash, len_orig;
    std::uint16_t len_cap;
    std::uint8_t version, ext_version;
};
struct DropNotify {
    CaptureHeader header;
    std::uint32_t src_label, dst_label, dst_id;
    std::uint16_t line;
    std::uint8_t file;
    std::int8_t ext_error;
    std::uint32_t ifindex;
    std::uint8_t flags, pad[3];
    std::uint64_t ip_trace_id;
};
struct TraceNotify {
    CaptureHeader header;
    std::uint32_t src_label, dst_label;
    std::uint16_t dst_id;
    std::uint8_t reason, flags;
    std::uint32_t ifindex;
    std::uint8_t orig_ip[16];
    std::uint64_t ip_trace_id;
};
struct PolicyVerdictNotify {
    CaptureHeader header;
    std::uint32_t remote_label;
    std::int32_t verdict;  // below 0: the drop's reason; 0: allowed; above: a proxy's port
    std::uint16_t dst_port;
    std::uint8_t proto, flags, auth_type, pad[3];
    std::uint32_t cookie, pad2;
};
static_assert(sizeof(CaptureHeader) == 16 && sizeof(DropNotify) == 48 && sizeof(TraceNotify) == 56 &&
              sizeof(PolicyVerdictNotify) == 40);
constexpr std::uint8_t kDropVersion = 3, kTraceVersion = 2, kVerdictVersion = 1;
constexpr std::uint8_t kIsIpv6 = 1, kIsL3 = 2;  // flags of drops and traces
constexpr std::uint8_t kVerdictIngress = 1, kVerdictEgress = 2, kVerdictIpv6 = 4, kVerdictAudited = 0x40,
                       kVerdictL3 = 0x80;
constexpr int kVerdictMatchShift = 3;

// bpf_host.c has what concerns the node, at its devices and at cilium_host; bpf_lxc.c what concerns a pod.
std::uint8_t cilium_file(std::uint8_t file) {
    enum : std::uint8_t { kPod = 1, kNetdev = 2, kOverlay = 3, kHost = 4 };  // AXO_SOURCES
    switch (file) {
        case kNetdev:
        case kHost: return 1;
        case kPod: return 2;
        case kOverlay: return 3;
        default: return 0;
    }
}

// The endpoint that Cilium's program would have been the program of.
std::uint16_t observed_endpoint(const flow_event& event) {
    if (event.type != EVENT_TRACE) return policy_side(event).endpoint;
    return event.subtype == TRACE_TO_LXC ? event.endpoint_dst : event.endpoint_src;
}

CaptureHeader header(const flow_event& event, std::uint16_t source, std::uint8_t version, const std::string& packet) {
    return {.type = event.type,
            .subtype = event.subtype,
            .source = source,
            .hash = event.hash,
            .len_orig = event.length,
            .len_cap = static_cast<std::uint16_t>(packet.size()),
            .version = version,
            .ext_version = 0};
}

std::uint8_t flags_of(const flow_event& event) {
    return static_cast<std::uint8_t>(((event.flags & EVENT_F_IPV6) != 0 ? kIsIpv6 : 0) | (is_ip(event) ? kIsL3 : 0));
}

template <class Notify>
std::string together(const Notify& notify, const std::string& packet) {
    return std::string(reinterpret_cast<const char*>(&notify), sizeof(notify)) + packet;
}

std::string drop(const flow_event& event, const std::string& packet) {
    return together(DropNotify{.header = header(event, observed_endpoint(event), kDropVersion, packet),
                               .src_label = event.identity_src,
                               .dst_label = event.identity_dst,
                               .dst_id = event.endpoint_dst,
                               .line = event.line,
                               .file = cilium_file(event.file),
                               .ext_error = event.ext_error,
                               .ifindex = event.ifindex,
                               .flags = flags_of(event),
                               .pad = {},
                               .ip_trace_id = 0},
                    packet);
}

std::string trace(const flow_event& event, const std::string& packet) {
    TraceNotify notify{.header = header(event, observed_endpoint(event), kTraceVersion, packet),
                       .src_label = event.identity_src,
                       .dst_label = event.identity_dst,
                       .dst_id = event.endpoint_dst,
                       .reason = event.reason,
                       .flags = flags_of(event),
                       .ifindex = event.ifindex,
                       .orig_ip = {},
                       .ip_trace_id = 0};
    // Whom the pod sees. Elsewhere Cilium tells an address only if it has translated it, and events do not say that.
    if (event.subtype == TRACE_TO_LXC) std::ranges::copy(event.saddr.bytes, notify.orig_ip);
    return together(notify, packet);
}

std::int32_t verdict_number(const flow_event& event, const EventRule& rule) {
    // An endpoint in audit mode lets everything pass.
    if (event.subtype != POLICY_DENY || (event.flags & EVENT_F_AUDITED) != 0) return 0;
    return rule.deny ? -DROP_POLICY_DENY : -DROP_POLICY;
}

std::string verdict(const flow_event& event, const EventRule& rule, const std::string& packet) {
    const PolicySide side = policy_side(event);
    const bool ports = (event.flags & EVENT_F_NO_L4) == 0;
    const int flags = ((event.flags & EVENT_F_INGRESS) != 0 ? kVerdictIngress : kVerdictEgress) |
                      ((event.flags & EVENT_F_IPV6) != 0 ? kVerdictIpv6 : 0) |
                      (match_number(rule.match) << kVerdictMatchShift) |
                      ((event.flags & EVENT_F_AUDITED) != 0 ? kVerdictAudited : 0) | (is_ip(event) ? kVerdictL3 : 0);
    PolicyVerdictNotify notify{.header = header(event, observed_endpoint(event), kVerdictVersion, packet),
                               .remote_label = side.remote_identity,
                               .verdict = verdict_number(event, rule),
                               // The connection's, also when its reply is judged.
                               .dst_port = ports ? ntohs(side.reply ? event.sport : event.dport) : std::uint16_t{0},
                               .proto = event.proto,
                               .flags = static_cast<std::uint8_t>(flags),
                               .auth_type = 0,
                               .pad = {},
                               .cookie = 0,
                               .pad2 = 0};
    notify.header.subtype = 0;
    return together(notify, packet);
}

std::string sample(std::string_view bytes) {
    return gob::Value().add_bytes(bytes).add_int(0).add_uint(0).add_int(kSample).message();
}

}  // namespace

std::string start() {
    return gob::definition("Payload", kPayload);
}

std::string data(const flow_event& event, const EventRule& rule) {
    const std::string packet = packet_headers(event);
    switch (event.type) {
        case EVENT_DROP: return drop(event, packet);
        case EVENT_POLICY_VERDICT: return verdict(event, rule, packet);
        default: return trace(event, packet);
    }
}

std::string data(const AgentNotice& notice) {
    // A stream of its own within the stream.
    return static_cast<char>(kAgentEvent) + gob::definition("AgentNotify", kNotice) +
           gob::Value().add_uint(notice.type).add_bytes(notice.text).message();
}

std::string message(const flow_event& event, const EventRule& rule) {
    return sample(data(event, rule));
}

std::string message(const AgentNotice& notice) {
    return sample(data(notice));
}

std::string lost(std::uint64_t count) {
    return gob::Value().add_bytes({}).add_int(0).add_uint(count).add_int(kLost).message();
}

}  // namespace axo::cilium_wire
