// The words that users of Hubble know for what a flow holds. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flow {
class Flow;
}

namespace axo {

// CiliumEventType.type of flows.
enum class MonitorType : int {
    kDrop = 1,
    kDebug = 2,
    kCapture = 3,
    kTrace = 4,
    kPolicyVerdict = 5,
    kTraceSock = 7,
    kL7 = 129,
    kAgent = 130
};
// "drop", "policy-verdict" …; nothing for a name that stands for none.
std::optional<int> monitor_type(std::string_view name);
// "to-endpoint" … of a trace's sub type, and back.
std::string_view trace_point_name(int sub_type);
std::optional<int> trace_point(std::string_view name);
// "Policy denied" for 133; the number when nothing is known of it.
std::string drop_reason_text(int reason);
// What the TYPE column says: "to-endpoint", "Policy denied", "policy-verdict:L3-L4 INGRESS", "dns-request proxy" …
std::string flow_type_text(const flow::Flow& flow);
// "world", "(ID:1234)" is not said here: "" for numbers that are not reserved.
std::string_view reserved_identity(std::uint32_t identity);
std::optional<std::uint32_t> reserved_identity_number(std::string_view name);

}  // namespace axo
