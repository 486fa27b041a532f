#include "features/ipcache/desired.h"

#include <algorithm>

namespace axo {

namespace {

bool enabled(const IpcacheSettings& settings, Family family) {
    return family == Family::kIpv4 ? settings.ipv4 : family == Family::kIpv6 && settings.ipv6;
}

void add(IpcacheRows& rows, const IpcacheSettings& settings, const Prefix& prefix, IpcacheRow row) {
    if (enabled(settings, prefix.family())) rows.emplace(prefix, std::move(row));
}

void add_host(IpcacheRows& rows, const IpcacheSettings& settings, const IpAddress& address, IpcacheRow row) {
    if (address && !address.is_loopback() && !address.is_unspecified())
        add(rows, settings, Prefix::host(address), std::move(row));
}

}  // namespace

IpcacheRows world_rows(const IpcacheSettings& settings) {
    IpcacheRows rows;
    const IpcacheRow world{.identity = identity::kWorld};
    add(rows, settings, Prefix(IpAddress::v4(0U), 0), world);
    add(rows, settings, Prefix(IpAddress::v6(std::array<std::uint8_t, 16>{}), 0), world);
    return rows;
}

IpcacheRows node_rows(const IpcacheSettings& settings, const NodeRow& node) {
    IpcacheRows rows;
    const IpAddress underlay = node.node_ip(settings.underlay);
    const IpAddress host_ip =
        underlay ? underlay : node.node_ip(settings.underlay == Family::kIpv4 ? Family::kIpv6 : Family::kIpv4);
    const bool tunnel = settings.tunnel && !node.local && underlay;
    const IpcacheSource source = node.local ? IpcacheSource::kLocal : IpcacheSource::kCustomResource;
    const IpcacheRow node_row{.identity = node.local ? identity::kHost : identity::kRemoteNode,
                              .host_ip = host_ip,
                              .tunnel = tunnel,
                              .skip_tunnel = tunnel && settings.native,
                              .source = source,
                              .k8s_namespace = {},
                              .name = node.name};
    for (const NodeAddress& address : node.addresses) add_host(rows, settings, address.ip, node_row);

    // The local health endpoint is a local endpoint and claims its addresses itself.
    if (!node.local) {
        IpcacheRow health = node_row;
        health.identity = identity::kHealth;
        add_host(rows, settings, node.health_ipv4, health);
        add_host(rows, settings, node.health_ipv6, health);
        if (tunnel && !settings.native) {
            const IpcacheRow pods{.identity = identity::kWorld,
                                  .host_ip = host_ip,
                                  .tunnel = true,
                                  .source = IpcacheSource::kGenerated,
                                  .k8s_namespace = {},
                                  .name = node.name};
            for (const Prefix& cidr : node.pod_cidrs) add(rows, settings, cidr, pods);
        }
    }
    return rows;
}

IpcacheRows host_rows(const IpcacheSettings& settings, const std::set<IpAddress>& addresses) {
    IpcacheRows rows;
    for (const IpAddress& address : addresses) {
        // fe80:: addresses exist once per device and on every node alike: they name nobody.
        if (address.is_link_local() && address.is_v6()) continue;
        add_host(rows, settings, address, {.identity = identity::kHost, .source = IpcacheSource::kLocal});
    }
    return rows;
}

IpcacheRows endpoint_rows(const IpcacheSettings& settings, const EndpointRow& endpoint) {
    IpcacheRows rows;
    if (endpoint.kind == EndpointKind::kHost || endpoint.identity == identity::kUnknown) return rows;
    if (endpoint.state == EndpointState::kDisconnected || endpoint.state == EndpointState::kInvalid) return rows;
    const IpcacheRow row{.identity = endpoint.identity,
                         .source = IpcacheSource::kLocal,
                         .k8s_namespace = endpoint.k8s_namespace,
                         .name = endpoint.k8s_pod};
    add_host(rows, settings, endpoint.ipv4, row);
    add_host(rows, settings, endpoint.ipv6, row);
    return rows;
}

IpcacheRows remote_endpoint_rows(const IpcacheSettings& settings, const RemoteEndpoint& endpoint) {
    IpcacheRows rows;
    if (endpoint.identity == identity::kUnknown) return rows;
    const bool tunnel = settings.tunnel && static_cast<bool>(endpoint.node_ip);
    const IpcacheRow row{.identity = endpoint.identity,
                         .host_ip = endpoint.node_ip,
                         .tunnel = tunnel,
                         .skip_tunnel = tunnel && settings.native,
                         .source = IpcacheSource::kCustomResource,
                         .k8s_namespace = endpoint.k8s_namespace,
                         .name = endpoint.name};
    add_host(rows, settings, endpoint.ipv4, row);
    add_host(rows, settings, endpoint.ipv6, row);
    return rows;
}

IpcacheEntry to_entry(const IpcacheRow& row) {
    return {.identity = row.identity,
            .tunnel_endpoint = row.tunnel ? row.host_ip : IpAddress{},
            .skip_tunnel = row.skip_tunnel};
}

std::vector<Prefix> IpcacheClaims::replace(const std::string& claimant, IpcacheRows rows) {
    std::vector<Prefix> changed;
    const auto entry = by_claimant_.try_emplace(claimant).first;
    for (const Prefix& prefix : entry->second) {
        if (rows.contains(prefix)) continue;
        const auto claims = by_prefix_.find(prefix);
        std::erase_if(claims->second, [&](const Claim& claim) { return claim.claimant == &entry->first; });
        if (claims->second.empty()) by_prefix_.erase(claims);
        changed.push_back(prefix);
    }
    entry->second.clear();
    entry->second.reserve(rows.size());
    for (auto& [prefix, row] : rows) {
        entry->second.push_back(prefix);
        std::vector<Claim>& claims = by_prefix_[prefix];
        const auto before = std::ranges::find(claims, &entry->first, &Claim::claimant);
        if (before != claims.end()) {
            if (before->row == row) continue;
            claims.erase(before);
        }
        claims.reserve(claims.size() + 1);
        const auto place = std::ranges::find_if(claims, [&](const Claim& other) {
            return row.source > other.row.source || (row.source == other.row.source && claimant < *other.claimant);
        });
        claims.insert(place, Claim{&entry->first, std::move(row)});
        changed.push_back(prefix);
    }
    if (entry->second.empty()) by_claimant_.erase(entry);
    return changed;
}

const IpcacheRow* IpcacheClaims::winner(const Prefix& prefix) const {
    const auto claims = by_prefix_.find(prefix);
    return claims == by_prefix_.end() ? nullptr : &claims->second.front().row;
}

void IpcacheClaims::for_each(const std::function<void(const Prefix&, const IpcacheRow&)>& visit) const {
    for (const auto& [prefix, claims] : by_prefix_) visit(prefix, claims.front().row);
}

}  // namespace axo
