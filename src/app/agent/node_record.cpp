#include "app/agent/node_record.h"

#include <algorithm>
#include <bitset>
#include <charconv>
#include <sstream>

#include "base/file.h"
#include "kernel/mounts.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/nft_table.h"
#include "model/json.h"

namespace axo {

namespace {

const std::string kReservedPorts = "net.ipv4.ip_local_reserved_ports";
// And the value that an agent gives them (datapath/devices.cpp).
constexpr std::pair<const char*, const char*> kSwitches[] = {
    {"net.ipv4.ip_forward", "1"}, {"net.ipv4.conf.all.rp_filter", "0"}, {"net.ipv6.conf.all.forwarding", "1"}};
constexpr const char* kAcceptRa = ".accept_ra";
constexpr const char* kAcceptRaOfRouters = "2";

using Ports = std::bitset<65536>;

// "8472,30000-32767"; what is no such text adds nothing.
Ports ports_of(const std::string& text) {
    Ports ports;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) {
        std::uint16_t low = 0, high = 0;
        const char* end = part.data() + part.size();
        const auto first = std::from_chars(part.data(), end, low);
        if (first.ec != std::errc{}) continue;
        high = low;
        if (first.ptr != end && *first.ptr == '-') std::from_chars(first.ptr + 1, end, high);
        for (std::uint32_t port = low; port <= high; ++port) ports.set(port);
    }
    return ports;
}

bool is_agents(const std::string& key, const std::string& now, const std::string& before,
               const ServiceSettings& services) {
    for (const auto& [name, value] : kSwitches) {
        if (key == name) return now == value;
    }
    if (key.ends_with(kAcceptRa)) return now == kAcceptRaOfRouters;
    Ports wanted = ports_of(before);
    for (std::uint32_t port = services.node_port_low; port <= services.node_port_high; ++port) wanted.set(port);
    return key == kReservedPorts && ports_of(now) == wanted;
}

Result<NodeRecord> from_json(const std::string& text, const std::filesystem::path& path) {
    const Json json = Json::parse(text, nullptr, false);
    NodeRecord record;
    try {
        json.at("sysctls").get_to(record.sysctls);
        json.at("unmounted").get_to(record.unmounted);
        json.at("nft-tables").get_to(record.nft_tables);
    } catch (const Json::exception&) {
        return fail(Code::kDataLoss, path.string() + ": not a record of the node as it was before the agent");
    }
    return record;
}

Result<NodeRecord> look(const Config& config) {
    NodeRecord record;
    std::set<std::string> keys{kReservedPorts};
    for (const auto& [key, value] : kSwitches) keys.insert(key);
    TRY_ASSIGN(Netlink netlink, Netlink::open());
    TRY_ASSIGN(const auto links, netlink.links());
    for (const Link& link : links) {
        std::string name = link.name;
        std::ranges::replace(name, '.', '/');
        if (!link.loopback) keys.insert("net.ipv6.conf." + name + kAcceptRa);
    }
    for (const std::string& key : keys) {
        // Without IPv6 some are missing.
        if (auto value = read_sysctl(key)) record.sysctls.emplace(key, std::move(*value));
    }
    for (const std::string& point : {config.datapath.paths.root, config.datapath.services.sockets.cgroup_root}) {
        if (!is_mounted(point)) record.unmounted.insert(point);
    }
    TRY_ASSIGN(record.nft_tables, nft_tables());
    return record;
}

}  // namespace

std::filesystem::path node_record_path(const std::filesystem::path& state_dir) {
    return state_dir / "state" / "node-before.json";
}

Status remember_node(const Config& config) {
    const std::filesystem::path path = node_record_path(config.state_dir);
    std::error_code error;
    if (std::filesystem::exists(path, error)) return {};
    TRY_ASSIGN(const NodeRecord record, look(config));
    const Json json{{"sysctls", record.sysctls}, {"unmounted", record.unmounted}, {"nft-tables", record.nft_tables}};
    TRY(make_directories(path.parent_path()));
    return write_atomic(path, json.dump(2) + "\n");
}

Result<std::optional<NodeRecord>> read_node_record(const std::filesystem::path& state_dir) {
    const std::filesystem::path path = node_record_path(state_dir);
    const auto text = read_file(path);
    if (!text && text.error().code == Code::kNotFound) return std::nullopt;
    if (!text) return forward_error(text.error());
    return from_json(*text, path);
}

std::vector<SysctlChange> changed_sysctls(const NodeRecord& record, const ServiceSettings& services) {
    std::vector<SysctlChange> changes;
    for (const auto& [key, before] : record.sysctls) {
        const auto now = read_sysctl(key);
        if (now && *now != before && is_agents(key, *now, before, services)) changes.push_back({key, *now, before});
    }
    return changes;
}

bool is_mounted(const std::filesystem::path& point) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::weakly_canonical(point, error);
    return std::ranges::any_of(mount_table(), [&real](const Mount& mount) { return mount.point == real; });
}

}  // namespace axo
