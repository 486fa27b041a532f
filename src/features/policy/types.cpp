#include "features/policy/types.h"

namespace axo::policy {

const char* protocol_text(Protocol protocol) {
    switch (protocol) {
        case Protocol::kAny: return "ANY";
        case Protocol::kIcmp: return "ICMP";
        case Protocol::kIgmp: return "IGMP";
        case Protocol::kTcp: return "TCP";
        case Protocol::kUdp: return "UDP";
        case Protocol::kIcmpv6: return "ICMPv6";
        case Protocol::kVrrp: return "VRRP";
        case Protocol::kSctp: return "SCTP";
    }
    return "unknown";
}

std::string Origin::to_string() const {
    std::string text = kind;
    text += ' ';
    if (!k8s_namespace.empty()) {
        text += k8s_namespace;
        text += '/';
    }
    return text + name;
}

}  // namespace axo::policy
