// toPorts and icmps.
#include <algorithm>
#include <array>
#include <span>

#include "model/policy_rule.h"

namespace axo {
namespace {

struct IcmpName {
    std::string_view name;
    std::uint8_t type;
};

constexpr std::array kIcmp4Names{
    IcmpName{"EchoReply", 0},
    IcmpName{"DestinationUnreachable", 3},
    IcmpName{"Redirect", 5},
    IcmpName{"Echo", 8},
    IcmpName{"EchoRequest", 8},
    IcmpName{"RouterAdvertisement", 9},
    IcmpName{"RouterSelection", 10},
    IcmpName{"TimeExceeded", 11},
    IcmpName{"ParameterProblem", 12},
    IcmpName{"Timestamp", 13},
    IcmpName{"TimestampReply", 14},
    IcmpName{"Photuris", 40},
    IcmpName{"ExtendedEchoRequest", 42},
    IcmpName{"ExtendedEchoReply", 43},
};

constexpr std::array kIcmp6Names{
    IcmpName{"DestinationUnreachable", 1},
    IcmpName{"PacketTooBig", 2},
    IcmpName{"TimeExceeded", 3},
    IcmpName{"ParameterProblem", 4},
    IcmpName{"EchoRequest", 128},
    IcmpName{"EchoReply", 129},
    IcmpName{"MulticastListenerQuery", 130},
    IcmpName{"MulticastListenerReport", 131},
    IcmpName{"MulticastListenerDone", 132},
    IcmpName{"RouterSolicitation", 133},
    IcmpName{"RouterAdvertisement", 134},
    IcmpName{"NeighborSolicitation", 135},
    IcmpName{"NeighborAdvertisement", 136},
    IcmpName{"RedirectMessage", 137},
    IcmpName{"RouterRenumbering", 138},
    IcmpName{"ICMPNodeInformationQuery", 139},
    IcmpName{"ICMPNodeInformationResponse", 140},
    IcmpName{"InverseNeighborDiscoverySolicitation", 141},
    IcmpName{"InverseNeighborDiscoveryAdvertisement", 142},
    IcmpName{"HomeAgentAddressDiscoveryRequest", 144},
    IcmpName{"HomeAgentAddressDiscoveryReply", 145},
    IcmpName{"MobilePrefixSolicitation", 146},
    IcmpName{"MobilePrefixAdvertisement", 147},
    IcmpName{"DuplicateAddressRequestCodeSuffix", 157},
    IcmpName{"DuplicateAddressConfirmationCodeSuffix", 158},
    IcmpName{"ExtendedEchoRequest", 160},
    IcmpName{"ExtendedEchoReply", 161},
};

std::span<const IcmpName> icmp_names(Family family) {
    if (family == Family::kIpv6) return kIcmp6Names;
    return kIcmp4Names;
}

PolicyIcmpField read_icmp_field(const JsonReader& item) {
    allow_only(item, {"family", "type"});
    PolicyIcmpField field;
    const std::string family = item.string("family", "IPv4");
    if (family != "IPv4" && family != "IPv6") item.reject("family", "IPv4, IPv6");
    field.family = family == "IPv6" ? Family::kIpv6 : Family::kIpv4;

    const JsonReader type = item.at("type");
    item.require("type", "a number from 0 to 255 or a name");
    if (!type.present()) return field;
    if (!type.json().is_string()) {
        field.type = static_cast<std::uint8_t>(item.integer("type", 0, 255));
        return field;
    }
    const std::string text = item.string("type");
    const int number = parse_port_number(text);
    const auto names = icmp_names(field.family);
    const auto named = std::ranges::find(names, text, &IcmpName::name);
    if (number >= 0 && number <= 255) {
        field.type = static_cast<std::uint8_t>(number);
    } else if (named != names.end()) {
        field.type = named->type;
    } else {
        std::string accepted = "a number from 0 to 255";
        for (const IcmpName& name : names) accepted += ", " + std::string(name.name);
        item.reject("type", accepted);
    }
    return field;
}

PolicyPort read_port(const JsonReader& item) {
    allow_only(item, {"port", "endPort", "protocol"});
    PolicyPort port;
    port.protocol = item.string("protocol", "ANY");
    constexpr std::array<std::string_view, 6> kProtocols{"ANY", "TCP", "UDP", "SCTP", "VRRP", "IGMP"};
    if (std::ranges::find(kProtocols, port.protocol) == kProtocols.end()) {
        item.reject("protocol", "ANY, TCP, UDP, SCTP, VRRP, IGMP");
    }
    const bool has_ports = port.protocol != "VRRP" && port.protocol != "IGMP";
    const auto end_port = static_cast<int>(item.integer("endPort", 0, 65535));  // 0 means absent
    const std::string text = item.string("port");
    if (!has_ports) {
        if (!text.empty() && text != "0") item.reject("port", "no port: " + port.protocol + " has none");
        if (end_port != 0) item.reject("endPort", "no port: " + port.protocol + " has none");
        return port;
    }
    constexpr std::string_view kPortRule =
        "a string with a number from 0 (every port) to 65535 without leading zeros, or a port name: at most 15 "
        "letters, digits and single inner '-', with at least one letter";
    if (text.empty()) {
        if (item.has("port")) {
            item.reject("port", kPortRule);
        } else {
            item.require("port", kPortRule);
        }
        return port;
    }
    if (is_port_name(text)) {
        // Names of ports are compared without regard to case.
        port.name = text;
        std::ranges::transform(port.name, port.name.begin(),
                               [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
        if (end_port != 0) item.reject("endPort", "no endPort: the port is given by name");
        return port;
    }
    const int number = parse_port_number(text);
    if (number < 0) {
        item.reject("port", kPortRule);
        return port;
    }
    port.first = port.last = static_cast<std::uint16_t>(number);
    if (end_port == 0) return port;
    if (number == 0 && end_port != 65535) {
        item.reject("endPort", "no endPort: port \"0\" means every port");
    } else if (number != 0 && end_port < number) {
        item.reject("endPort", "a number from the port, " + text + ", to 65535");
    } else if (number != 0) {
        port.last = static_cast<std::uint16_t>(end_port);
    }
    return port;
}

bool has_content(const Json& value) {
    if (value.is_null()) return false;
    if (value.is_string()) return !value.get_ref<const std::string&>().empty();
    if (value.is_array()) return !value.empty();
    if (!value.is_object()) return true;
    return std::any_of(value.begin(), value.end(), has_content);
}

}  // namespace

std::vector<std::vector<PolicyPort>> read_policy_ports(const JsonReader& entry, bool deny,
                                                       std::map<std::string, Json>& unenforced) {
    std::vector<std::vector<PolicyPort>> all;
    entry.each("toPorts", [&](const JsonReader& item) {
        if (!item.json().is_object()) item.reject("", "an object with ports");
        if (deny) {
            allow_only(item, {"ports"});
        } else {
            allow_only(item, {"ports", "rules", "serverNames", "listener", "originatingTLS", "terminatingTLS"});
            for (const std::string_view member :
                 {"rules", "serverNames", "listener", "originatingTLS", "terminatingTLS"}) {
                const JsonReader value = item.at(member);
                if (value.present() && has_content(value.json())) unenforced.emplace(value.path(), value.json());
            }
        }
        std::vector<PolicyPort> ports;
        item.each("ports", [&](const JsonReader& port) {
            if (!port.json().is_object()) port.reject("", "an object with port and protocol");
            ports.push_back(read_port(port));
        });
        if (ports.size() > kMaxPolicyPorts) {
            item.reject("ports", "at most " + std::to_string(kMaxPolicyPorts) + " ports");
        }
        all.push_back(std::move(ports));
    });
    return all;
}

std::vector<std::vector<PolicyIcmpField>> read_policy_icmps(const JsonReader& entry) {
    std::vector<std::vector<PolicyIcmpField>> all;
    entry.each("icmps", [&](const JsonReader& item) {
        if (!item.json().is_object()) item.reject("", "an object with fields");
        allow_only(item, {"fields"});
        std::vector<PolicyIcmpField> fields;
        item.each("fields", [&](const JsonReader& field) {
            if (!field.json().is_object()) field.reject("", "an object with family and type");
            fields.push_back(read_icmp_field(field));
        });
        if (fields.size() > kMaxPolicyIcmpFields) {
            item.reject("fields", "at most " + std::to_string(kMaxPolicyIcmpFields) + " fields");
        }
        all.push_back(std::move(fields));
    });
    return all;
}

}  // namespace axo
