#include "hubble/core/decode.h"

#include "bpf/api/drop_reason.h"
#include "bpf/api/policy.h"

namespace axo::hubble {

namespace {

bool by_policy(const flow_event& event) {
    return event.subtype == DROP_POLICY || event.subtype == DROP_POLICY_DENY || event.subtype == DROP_EP_NOT_READY;
}

Direction side_of(const flow_event& event) {
    return (event.flags & EVENT_F_INGRESS) != 0 ? Direction::kIngress : Direction::kEgress;
}

// What an endpoint sends is egress, and so are the replies that it gets to what it has sent.
// The local endpoint that an event is about; 0: none. Hubble calls it the event's source.
std::uint16_t observed_endpoint(const flow_event& event) {
    if (event.type == EVENT_TRACE) return event.subtype == TRACE_TO_LXC ? event.endpoint_dst : event.endpoint_src;
    return (event.flags & EVENT_F_INGRESS) != 0 ? event.endpoint_dst : event.endpoint_src;
}

Direction direction_of(const flow_event& event) {
    switch (event.type) {
        case EVENT_POLICY_VERDICT: return side_of(event);
        case EVENT_DROP:
            if (by_policy(event)) return side_of(event);
            return observed_endpoint(event) == 0 ? Direction::kUnknown : side_of(event);
        case EVENT_TRACE: {
            const std::uint16_t local = observed_endpoint(event);
            if (local == 0 || event.reason == TRACE_REASON_UNKNOWN) return Direction::kUnknown;
            const bool is_source = event.subtype != TRACE_TO_LXC;
            return is_source != (event.reason == TRACE_REASON_REPLY) ? Direction::kEgress : Direction::kIngress;
        }
        // A pod's own questions, and what it is answered.
        case EVENT_DNS: return Direction::kEgress;
        default: return Direction::kUnknown;
    }
}

Verdict verdict_of(const flow_event& event) {
    switch (event.type) {
        case EVENT_DROP: return Verdict::kDropped;
        case EVENT_TRACE:
        case EVENT_DNS: return Verdict::kForwarded;
        case EVENT_POLICY_VERDICT:
            if ((event.flags & EVENT_F_AUDITED) != 0) return Verdict::kAudit;
            if (event.subtype == POLICY_DENY) return Verdict::kDropped;
            return event.subtype == POLICY_REDIRECT ? Verdict::kRedirected : Verdict::kForwarded;
        default: return Verdict::kUnknown;
    }
}

// Of a drop nobody knows whether it was a reply. A connection's first packet, which is what verdicts are about, is
// none.
Reply reply_of(const flow_event& event, Verdict verdict) {
    if (event.type == EVENT_TRACE && event.reason != TRACE_REASON_UNKNOWN)
        return event.reason == TRACE_REASON_REPLY ? Reply::kYes : Reply::kNo;
    if (event.type == EVENT_POLICY_VERDICT && verdict != Verdict::kDropped) return Reply::kNo;
    return Reply::kUnknown;
}

}  // namespace

void decode(FlowRecord& record) {
    record.direction = direction_of(record.event);
    record.verdict = verdict_of(record.event);
    record.reply =
        record.dns ? (record.dns->response ? Reply::kYes : Reply::kNo) : reply_of(record.event, record.verdict);
}

}  // namespace axo::hubble
