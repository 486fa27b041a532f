#include "maps/ipcache_map.h"

#include "maps/convert.h"
#include "maps/private_map.h"

namespace axo {

Result<IpcacheMap> IpcacheMap::open(const std::string& pin_path) {
    TRY_ASSIGN(auto map, (BpfMap<ipcache_key, remote_endpoint_info>::open_pinned(pin_path)));
    return IpcacheMap(std::move(map));
}

Result<IpcacheMap> IpcacheMap::create_private(std::uint32_t max_entries) {
    TRY_ASSIGN(RawBpfMap raw, create_private_map({.name = "cilium_ipcache_v2",
                                                  .type = BPF_MAP_TYPE_LPM_TRIE,
                                                  .key_size = sizeof(ipcache_key),
                                                  .value_size = sizeof(remote_endpoint_info),
                                                  .max_entries = max_entries,
                                                  .flags = BPF_F_NO_PREALLOC}));
    TRY_ASSIGN(auto map, (BpfMap<ipcache_key, remote_endpoint_info>::wrap(std::move(raw))));
    return IpcacheMap(std::move(map));
}

ipcache_key IpcacheMap::encode_key(const Prefix& prefix) {
    ipcache_key key{};
    key.prefixlen = IPCACHE_STATIC_PREFIX + static_cast<std::uint32_t>(prefix.length());
    key.family = to_axo_family(prefix.address());
    key.addr = to_axo_addr(prefix.address());
    return key;
}

Prefix IpcacheMap::decode_key(const ipcache_key& key) {
    const int length =
        key.prefixlen < IPCACHE_STATIC_PREFIX ? 0 : static_cast<int>(key.prefixlen - IPCACHE_STATIC_PREFIX);
    return {from_axo_addr(key.addr, key.family == AXO_FAMILY_IPV6), length};
}

remote_endpoint_info IpcacheMap::encode(const IpcacheEntry& entry) {
    remote_endpoint_info value{};
    value.sec_identity = entry.identity.value;
    value.tunnel_endpoint = to_axo_addr(entry.tunnel_endpoint);
    value.key = entry.encrypt_key;
    if (entry.skip_tunnel) value.flags |= IPCACHE_F_SKIP_TUNNEL;
    if (entry.tunnel_endpoint) value.flags |= IPCACHE_F_HAS_TUNNEL_EP;
    if (entry.tunnel_endpoint.is_v6()) value.flags |= IPCACHE_F_IPV6_TUNNEL_EP;
    return value;
}

IpcacheEntry IpcacheMap::decode(const remote_endpoint_info& value) {
    IpcacheEntry entry;
    entry.identity = IdentityId(value.sec_identity);
    if ((value.flags & IPCACHE_F_HAS_TUNNEL_EP) != 0) {
        entry.tunnel_endpoint = from_axo_addr(value.tunnel_endpoint, (value.flags & IPCACHE_F_IPV6_TUNNEL_EP) != 0);
    }
    entry.encrypt_key = value.key;
    entry.skip_tunnel = (value.flags & IPCACHE_F_SKIP_TUNNEL) != 0;
    return entry;
}

Result<std::map<Prefix, IpcacheEntry>> IpcacheMap::list() const {
    TRY_ASSIGN(const auto entries, map_.entries());
    std::map<Prefix, IpcacheEntry> all;
    for (const auto& [key, value] : entries) all.emplace(decode_key(key), decode(value));
    return all;
}

Result<IpcacheEntry> IpcacheMap::get(const IpAddress& address) const {
    TRY_ASSIGN(const auto value, map_.get(encode_key(Prefix::host(address))));
    return decode(value);
}

Status IpcacheMap::put(const Prefix& prefix, const IpcacheEntry& entry) const {
    return map_.put(encode_key(prefix), encode(entry));
}

Status IpcacheMap::remove(const Prefix& prefix) const {
    return map_.remove(encode_key(prefix));
}

std::string IpcacheMap::print(const IpcacheEntry& entry) {
    std::string flags;
    const auto add = [&flags](std::string_view name) {
        if (!flags.empty()) flags += ',';
        flags += name;
    };
    if (entry.skip_tunnel) add("skiptunnel");
    if (entry.tunnel_endpoint) add("hastunnel");
    if (entry.tunnel_endpoint.is_v6()) add("ipv6tunnel");
    return "identity=" + entry.identity.to_string() + " encryptkey=" + std::to_string(entry.encrypt_key) +
           " tunnelendpoint=" + (entry.tunnel_endpoint ? entry.tunnel_endpoint.to_string() : "0.0.0.0") +
           " flags=" + (flags.empty() ? "<none>" : flags);
}

}  // namespace axo
