#include "app/agent/reserved_ports.h"

#include <charconv>
#include <optional>
#include <sstream>
#include <string_view>

#include "kernel/netns.h"

namespace axo {

namespace {

const std::string kReserved = "net.ipv4.ip_local_reserved_ports";
const std::string kEphemeral = "net.ipv4.ip_local_port_range";

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return port;
}

std::optional<PortBounds> parse_bounds(std::string_view text) {
    const auto dash = text.find('-');
    const auto low = parse_port(text.substr(0, dash));
    const auto high = dash == std::string_view::npos ? low : parse_port(text.substr(dash + 1));
    if (!low || !high) return std::nullopt;
    return PortBounds{*low, *high};
}

std::string trimmed(const std::string& text) {
    const auto first = text.find_first_not_of(" \t\n");
    if (first == std::string::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

std::string range_text(PortBounds ports) {
    return std::to_string(ports.low) + "-" + std::to_string(ports.high);
}

}  // namespace

Result<std::string> with_node_ports(const std::string& reserved, const std::string& ephemeral, PortBounds node_ports) {
    std::istringstream words(ephemeral);
    std::string first, last;
    words >> first >> last;
    const auto low = parse_port(first);
    const auto high = parse_port(last);
    if (!low || !high)
        return fail(Code::kInvalidArgument, kEphemeral + ": '" + trimmed(ephemeral) + "': not two ports");
    if (node_ports.high < *low || node_ports.low > *high) return std::string();
    if (node_ports.low <= *low && node_ports.high >= *high) {
        std::ostringstream message;
        message << "node-port-range " << range_text(node_ports) << " covers all of " << kEphemeral << " '"
                << trimmed(ephemeral) << "': the node would have no ports for its own connections; set another range";
        return fail(Code::kFailedPrecondition, message.str());
    }
    const std::string present = trimmed(reserved);
    std::istringstream parts(present);
    for (std::string part; std::getline(parts, part, ',');) {
        const auto bounds = parse_bounds(part);
        if (!bounds) return fail(Code::kInvalidArgument, kReserved + ": '" + present + "': not a list of ports");
        // The kernel prints adjacent ranges as one.
        if (bounds->low <= node_ports.low && bounds->high >= node_ports.high) return std::string();
    }
    return (present.empty() ? "" : present + ",") + range_text(node_ports);
}

Result<NodePortProtection> protect_node_ports(PortBounds node_ports, bool write) {
    TRY_ASSIGN(const std::string ephemeral, read_sysctl(kEphemeral));
    TRY_ASSIGN(const std::string reserved, read_sysctl(kReserved));
    TRY_ASSIGN(const std::string wanted, with_node_ports(reserved, ephemeral, node_ports));
    if (wanted.empty()) return NodePortProtection::kNotNeeded;
    Status done;
    if (write) {
        done = write_sysctl(kReserved, wanted);
        if (done) return NodePortProtection::kAdded;
    }
    std::ostringstream message;
    message << "node-port-range " << range_text(node_ports) << " clashes with " << kEphemeral << " '"
            << trimmed(ephemeral) << "': the node's own connections may take NodePorts; ";
    if (write) {
        message << kReserved << " cannot be written (" << done.error().message << "): ";
    } else {
        message << "set enable-auto-protect-node-port-range=true, or ";
    }
    message << "sysctl -w " << kReserved << "=" << wanted;
    return fail(Code::kFailedPrecondition, message.str());
}

}  // namespace axo
