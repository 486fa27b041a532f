#include "app/cli/monitor_text.h"

#include <cstdio>
#include <cstdlib>

#include "bpf/api/policy.h"

namespace axo::cli {
namespace {

std::string hex(std::int64_t value) {
    char buffer[24];
    std::snprintf(buffer, sizeof(buffer), "0x%llx", static_cast<unsigned long long>(value));
    return buffer;
}

std::string identity_text(std::int64_t identity, bool numeric) {
    const std::string name = numeric ? std::string() : reserved_identity_name(identity);
    return name.empty() ? std::to_string(identity) : name;
}

std::string identities(const Json& event, const MonitorStyle& style) {
    return identity_text(number(event, "identity-src"), style.numeric) + "->" +
           identity_text(number(event, "identity-dst"), style.numeric);
}

std::string interface_text(const Json& event, const MonitorStyle& style) {
    const std::string name = text(event, "interface");
    return style.numeric || name.empty() ? std::to_string(number(event, "ifindex")) : name;
}

// "-> endpoint 811", "<- stack": where the packet was seen.
std::string observation(const Json& event) {
    const std::string point = text(event, "observation-point");
    if (point == "to-endpoint") return "-> endpoint " + std::to_string(number(event, "endpoint-dst"));
    if (point == "from-endpoint") return "<- endpoint " + std::to_string(number(event, "endpoint-src"));
    if (point.starts_with("to-")) return "-> " + point.substr(3);
    if (point.starts_with("from-")) return "<- " + point.substr(5);
    return point;
}

std::string trace_line(const Json& event, const MonitorStyle& style) {
    const bool to_endpoint = text(event, "observation-point") == "to-endpoint";
    const std::string unknown = flag(event, "ipv6") ? "::" : "0.0.0.0";
    return observation(event) + " flow " + hex(number(event, "hash")) + " , identity " + identities(event, style) +
           " state " + text(event, "trace-reason") + " ifindex " + interface_text(event, style) + " orig-ip " +
           (to_endpoint ? text(event, "src") : unknown) + ": " + connection_text(event) + "\n";
}

constexpr std::int64_t kFirstRuleCookie = POLICY_COOKIE_FIRST;

// "denied by CiliumNetworkPolicy default/x, spec.ingressDeny[0]", "no rule allows it: default deny from …"; "" where
// the agent does not know who decided.
std::string rule_text(const Json& event) {
    const std::string rule = text(event, "rule");
    if (rule.empty()) return {};
    if (rule.starts_with("default deny") || rule.starts_with("no rule")) {
        const bool audited = text(event, "action") == "audit";
        return (rule.starts_with("no rule") ? rule : "no rule allows it: " + rule) +
               (audited ? " (audit: let pass)" : "");
    }
    const std::string action = text(event, "action");
    if (action == "allow" && number(event, "rule-cookie") < kFirstRuleCookie) return rule;
    if (action == "audit") return "would be denied by " + rule + " (audit: let pass)";
    if (action == "allow") return "allowed by " + rule;
    if (action == "redirect") return "redirected by " + rule;
    return "denied by " + rule;
}

std::string drop_line(const Json& event, const MonitorStyle& style) {
    std::string line = "xx drop (" + text(event, "reason");
    if (const std::int64_t error = number(event, "ext-error"); error != 0) line += ", " + std::to_string(error);
    line += ") flow " + hex(number(event, "hash")) + " to endpoint " + std::to_string(number(event, "endpoint-dst")) +
            ", ifindex " + std::to_string(number(event, "ifindex")) + ", file " + text(event, "file") + ":" +
            std::to_string(number(event, "line")) + ", , identity " + identities(event, style) + ": " +
            connection_text(event);
    // Who decided says more than any general advice.
    if (const std::string rule = rule_text(event); !rule.empty()) {
        line += " | " + rule;
    } else if (const std::string advice = drop_advice(event); !advice.empty()) {
        line += " | " + advice;
    }
    return line + "\n";
}

int protocol_number(const std::string& name) {
    static const std::map<std::string, int> kNumbers = {
        {"ICMPv4", 1}, {"TCP", 6}, {"UDP", 17}, {"ICMPv6", 58}, {"SCTP", 132}};
    const auto it = kNumbers.find(name);
    return it != kNumbers.end() ? it->second : std::atoi(name.c_str());
}

std::string verdict_line(const Json& event, const MonitorStyle& style) {
    const bool ingress = text(event, "direction") == "ingress";
    const std::int64_t local = number(event, "local-endpoint");
    const std::int64_t remote = number(event, "remote-identity");
    const std::string action = text(event, "action").empty() ? "allow" : text(event, "action");
    const std::string match = text(event, "match").empty() ? "none" : text(event, "match");
    const std::string rule = rule_text(event);
    return "Policy verdict log: flow " + hex(number(event, "hash")) + " local EP ID " + std::to_string(local) +
           ", remote ID " + identity_text(remote, style.numeric) + ", proto " +
           std::to_string(protocol_number(text(event, "proto"))) + ", " + (ingress ? "ingress" : "egress") +
           ", action " + action + ", auth: disabled, match " + match + ", " + connection_text(event) +
           (rule.empty() ? "" : " | " + rule) + "\n";
}

// Everything that is known, one "key: value" per line, between rules as Cilium's -v prints them.
std::string verbose_lines(const Json& event, const std::string& line) {
    std::string out = "------------------------------------------------------------------------------\n" + line;
    for (const auto& [key, value] : event.items()) {
        if (value.is_null() || (value.is_string() && value.get<std::string>().empty()) ||
            (value.is_array() && value.empty()))
            continue;
        out += "  " + key + ": " +
               (value.is_string()  ? value.get<std::string>()
                : value.is_array() ? join(texts(event, key), ", ")
                                   : value.dump()) +
               "\n";
    }
    return out;
}

const char* icmp4_unreachable(int code) {
    static constexpr const char* kCodes[] = {"Net",
                                             "Host",
                                             "Protocol",
                                             "Port",
                                             "FragmentationNeeded",
                                             "SourceRoutingFailed",
                                             "NetUnknown",
                                             "HostUnknown",
                                             "SourceIsolated",
                                             "NetAdminProhibited",
                                             "HostAdminProhibited",
                                             "NetTOS",
                                             "HostTOS",
                                             "CommAdminProhibited",
                                             "HostPrecedence",
                                             "PrecedenceCutoff"};
    return code >= 0 && code < static_cast<int>(std::size(kCodes)) ? kCodes[code] : nullptr;
}

const char* icmp6_unreachable(int code) {
    static constexpr const char* kCodes[] = {"NoRouteToDst",       "AdminProhibited", "BeyondScopeOfSrc",
                                             "AddressUnreachable", "PortUnreachable", "SrcAddressFailedPolicy",
                                             "RejectRouteToDst"};
    return code >= 0 && code < static_cast<int>(std::size(kCodes)) ? kCodes[code] : nullptr;
}

std::string with_code(const std::string& type, const char* code, int number) {
    return type + "(" + (code != nullptr ? code : std::to_string(number)) + ")";
}

}  // namespace

std::string icmp_text(bool ipv6, int type, int code) {
    if (ipv6) {
        switch (type) {
            case 1: return with_code("DestinationUnreachable", icmp6_unreachable(code), code);
            case 2: return "PacketTooBig";
            case 3:
                return with_code("TimeExceeded",
                                 code == 0   ? "HopLimitExceeded"
                                 : code == 1 ? "FragmentReassemblyTimeExceeded"
                                             : nullptr,
                                 code);
            case 4: return with_code("ParameterProblem", nullptr, code);
            case 128: return "EchoRequest";
            case 129: return "EchoReply";
            case 133: return "RouterSolicitation";
            case 134: return "RouterAdvertisement";
            case 135: return "NeighborSolicitation";
            case 136: return "NeighborAdvertisement";
            case 137: return "Redirect";
            default: return std::to_string(type) + "(" + std::to_string(code) + ")";
        }
    }
    switch (type) {
        case 0: return "EchoReply";
        case 3: return with_code("DestinationUnreachable", icmp4_unreachable(code), code);
        case 4: return "SourceQuench";
        case 5: return with_code("Redirect", nullptr, code);
        case 8: return "EchoRequest";
        case 11:
            return with_code("TimeExceeded",
                             code == 0   ? "TTLExceeded"
                             : code == 1 ? "FragmentReassemblyTimeExceeded"
                                         : nullptr,
                             code);
        case 12: return with_code("ParameterProblem", nullptr, code);
        case 13: return "TimestampRequest";
        case 14: return "TimestampReply";
        default: return std::to_string(type) + "(" + std::to_string(code) + ")";
    }
}

std::string connection_text(const Json& event) {
    const std::string source = text(event, "src");
    const std::string destination = text(event, "dst");
    if (source.empty() && destination.empty()) {
        const std::int64_t ethertype = number(event, "ethertype");
        return ethertype == 0 ? "[unknown]" : "[ethertype " + hex(ethertype) + "]";
    }
    std::string protocol = text(event, "proto");
    if (protocol.starts_with("ICMP")) {
        if (field(event, "icmp-type").is_null()) return source + " -> " + destination + " " + protocol;
        return source + " -> " + destination + " " +
               icmp_text(protocol == "ICMPv6", static_cast<int>(number(event, "icmp-type")),
                         static_cast<int>(number(event, "icmp-code")));
    }
    std::transform(protocol.begin(), protocol.end(), protocol.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto with_port = [&](const std::string& address, const char* key) {
        if (field(event, key).is_null()) return address;
        return (address.find(':') == std::string::npos ? address : "[" + address + "]") + ":" +
               std::to_string(number(event, key));
    };
    std::string out = with_port(source, "sport") + " -> " + with_port(destination, "dport");
    if (!protocol.empty()) out += " " + protocol;
    if (const std::string flags = text(event, "tcp-flags"); !flags.empty()) out += " " + flags;
    return out;
}

std::string drop_advice(const Json& event) {
    const std::string reason = text(event, "reason");
    const std::string source = text(event, "src");
    const std::string destination = text(event, "dst");
    const std::string endpoint = std::to_string(number(event, "endpoint-dst") != 0 ? number(event, "endpoint-dst")
                                                                                   : number(event, "endpoint-src"));
    static const std::map<std::string, std::string> kAdvice = {
        {"Invalid source mac", "the pod sends with a MAC address that is not its interface's; look at `ip link` in it"},
        {"Invalid source ip",
         "{src} is not an address of the sending pod; compare `ip addr` in it with: axoneme endpoint list"},
        {"Policy denied", "no policy allows it; see what selects it: axoneme endpoint get {endpoint}"},
        {"Policy denied by denylist", "a deny rule matches; see what selects it: axoneme endpoint get {endpoint}"},
        {"Invalid packet", "malformed; if its sender is sound, capture it: tcpdump -vv -i <interface>"},
        {"CT: Truncated or invalid header",
         "the packet ends inside its header; check the sender, and MTUs along the way"},
        {"Fragmentation needed",
         "larger than the way out takes; the sender was told. If it does not react: axoneme status --verbose shows the MTUs"},
        {"CT: Map insertion failed",
         "the flow table is full; raise bpf-ct-global-tcp-max, and see: axoneme bpf ct list global | wc -l"},
        {"Unsupported L3 protocol",
         "pods speak IPv4, IPv6 and ARP; is the family switched on? axoneme config get enable-ipv6"},
        {"Unsupported L2 protocol", "pods speak Ethernet without VLAN tags"},
        {"Unknown L4 protocol", "flows are tracked for TCP, UDP, SCTP and ICMP"},
        {"CT: Unknown L4 protocol", "flows are tracked for TCP, UDP, SCTP and ICMP"},
        {"Unknown L3 target address", "nobody has this address; ask: axoneme bpf ipcache get {dst}"},
        {"Stale or unroutable IP", "the address was released or its node is gone; ask: axoneme ip get {dst}"},
        {"No matching local container found",
         "the address belongs to this node's range but to no pod; ask: axoneme endpoint list"},
        {"No tunnel/encapsulation endpoint (datapath BUG!)",
         "no node is known for it; ask: axoneme bpf ipcache get {dst} and axoneme node list"},
        {"Error retrieving tunnel key", "a packet on the tunnel's port that is no tunnel packet"},
        {"FIB lookup failed", "the node has no route or neighbour; ask: ip route get {dst}, ip neigh"},
        {"Local host is unreachable", "the node does not take it; ask: ip route get {dst}"},
        {"Encapsulation traffic is prohibited", "pods may not talk to a node's tunnel port"},
        {"Invalid identity", "the sender's identity is not known here (yet); ask: axoneme identity get <number>"},
        {"Unknown sender", "the sender's address has no identity; ask: axoneme bpf ipcache get {src}"},
        {"First logical datagram fragment not found", "its first fragment was lost or came later"},
        {"IP fragmentation not supported", "fragment tracking is off; see enable-ipv4-fragment-tracking"},
        {"Forbidden ICMPv6 message", "pods may not send this; routers do"},
        {"TTL exceeded", "a loop, or a far way: traceroute {dst}"},
        {"Host datapath not ready", "the agent is still starting: axoneme status --wait"},
        {"Endpoint policy program not available",
         "the endpoint is still being set up: axoneme endpoint log {endpoint}"},
        {"Missed tail call", "a fault of the datapath; please report it with: axoneme debuginfo"},
    };
    const auto it = kAdvice.find(reason);
    if (it == kAdvice.end()) return {};
    std::string advice = it->second;
    for (const auto& [mark, value] :
         {std::pair{std::string("{src}"), source}, std::pair{std::string("{dst}"), destination},
          std::pair{std::string("{endpoint}"), endpoint}}) {
        for (std::size_t at = advice.find(mark); at != std::string::npos; at = advice.find(mark, at + value.size()))
            advice.replace(at, mark.size(), value);
    }
    return advice;
}

std::string monitor_text(const Json& event, const MonitorStyle& style) {
    const std::string type = text(event, "type");
    if (type == "start") {
        const std::int64_t bytes = number(event, "ring-bytes");
        return "Listening for events on " + std::to_string(number(event, "cpus")) + " CPUs with " +
               std::to_string(bytes / 4096) + "x4096 of shared memory\nPress Ctrl-C to quit\n";
    }
    if (type == "lost")
        return "Lost " + std::to_string(number(event, "count")) +
               " events: this reader is too slow for them; narrow them down with -t, --from, --to\n";
    std::string line;
    if (type == "drop") line = drop_line(event, style);
    if (type == "trace") line = trace_line(event, style);
    if (type == "policy-verdict") line = verdict_line(event, style);
    return style.verbose && !line.empty() ? verbose_lines(event, line) : line;
}

}  // namespace axo::cli
