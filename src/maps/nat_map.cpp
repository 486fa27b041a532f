#include "maps/nat_map.h"

#include <bpf/libbpf.h>

#include <cstring>

#include "maps/private_map.h"

namespace axo {

namespace {

nat_addresses encode(const NatSource& source) {
    nat_addresses value{};
    if (source.ipv4.is_v4()) value.ip4 = source.ipv4.v4_network_order();
    if (source.ipv6.is_v6()) std::memcpy(value.ip6, source.ipv6.bytes().data(), sizeof(value.ip6));
    return value;
}

NatSource decode(const nat_addresses& value) {
    NatSource source;
    if (value.ip4 != 0) source.ipv4 = IpAddress::v4(value.ip4);
    if (const IpAddress ip = IpAddress::v6(value.ip6); !ip.is_unspecified()) source.ipv6 = ip;
    return source;
}

template <class Key>
Key encode_prefix(const Prefix& prefix) {
    Key key{};
    key.prefixlen = static_cast<std::uint32_t>(prefix.length());
    std::memcpy(key.addr, prefix.address().bytes().data(), sizeof(key.addr));
    return key;
}

}  // namespace

Result<NatAddressMap> NatAddressMap::open(const std::string& pin_path) {
    TRY_ASSIGN(auto map, (BpfMap<std::uint32_t, nat_addresses>::open_pinned(pin_path)));
    return NatAddressMap(std::move(map));
}

Result<NatAddressMap> NatAddressMap::create_private(std::uint32_t max_entries) {
    TRY_ASSIGN(RawBpfMap raw, create_private_map({.name = map_name::kNatAddresses,
                                                  .key_size = sizeof(std::uint32_t),
                                                  .value_size = sizeof(nat_addresses),
                                                  .max_entries = max_entries,
                                                  .flags = BPF_F_NO_PREALLOC}));
    TRY_ASSIGN(auto map, (BpfMap<std::uint32_t, nat_addresses>::wrap(std::move(raw))));
    return NatAddressMap(std::move(map));
}

Result<std::map<IfIndex, NatSource>> NatAddressMap::list() const {
    TRY_ASSIGN(const auto entries, map_.entries());
    std::map<IfIndex, NatSource> all;
    for (const auto& [link, value] : entries) all.emplace(IfIndex(link), decode(value));
    return all;
}

Status NatAddressMap::put(const IfIndex& link, const NatSource& source) const {
    return map_.put(link.value, encode(source));
}

Status NatAddressMap::remove(const IfIndex& link) const {
    return map_.remove(link.value);
}

Result<IpMasqMap> IpMasqMap::open(const BpfPaths& paths) {
    TRY_ASSIGN(auto v4, (BpfMap<lpm_v4_key, lpm_val>::open_pinned(paths.map(map_name::kIpMasq4))));
    TRY_ASSIGN(auto v6, (BpfMap<lpm_v6_key, lpm_val>::open_pinned(paths.map(map_name::kIpMasq6))));
    return IpMasqMap(std::move(v4), std::move(v6));
}

Result<IpMasqMap> IpMasqMap::create_private(std::uint32_t max_entries) {
    const auto create = [max_entries](const char* name, std::uint32_t key_size) {
        return create_private_map({.name = name,
                                   .type = BPF_MAP_TYPE_LPM_TRIE,
                                   .key_size = key_size,
                                   .value_size = sizeof(lpm_val),
                                   .max_entries = max_entries,
                                   .flags = BPF_F_NO_PREALLOC});
    };
    TRY_ASSIGN(RawBpfMap raw4, create(map_name::kIpMasq4, sizeof(lpm_v4_key)));
    TRY_ASSIGN(RawBpfMap raw6, create(map_name::kIpMasq6, sizeof(lpm_v6_key)));
    TRY_ASSIGN(auto v4, (BpfMap<lpm_v4_key, lpm_val>::wrap(std::move(raw4))));
    TRY_ASSIGN(auto v6, (BpfMap<lpm_v6_key, lpm_val>::wrap(std::move(raw6))));
    return IpMasqMap(std::move(v4), std::move(v6));
}

Result<std::set<Prefix>> IpMasqMap::list() const {
    std::set<Prefix> all;
    TRY_ASSIGN(const auto v4, v4_.entries());
    for (const auto& [key, value] : v4) {
        std::array<std::uint8_t, 4> bytes{};
        std::memcpy(bytes.data(), key.addr, bytes.size());
        all.emplace(IpAddress::v4(bytes), static_cast<int>(key.prefixlen));
    }
    TRY_ASSIGN(const auto v6, v6_.entries());
    for (const auto& [key, value] : v6) all.emplace(IpAddress::v6(key.addr), static_cast<int>(key.prefixlen));
    return all;
}

Status IpMasqMap::put(const Prefix& prefix) const {
    const lpm_val present{};
    return prefix.family() == Family::kIpv4 ? v4_.put(encode_prefix<lpm_v4_key>(prefix), present)
                                            : v6_.put(encode_prefix<lpm_v6_key>(prefix), present);
}

Status IpMasqMap::remove(const Prefix& prefix) const {
    return prefix.family() == Family::kIpv4 ? v4_.remove(encode_prefix<lpm_v4_key>(prefix))
                                            : v6_.remove(encode_prefix<lpm_v6_key>(prefix));
}

Result<NatRetriesMap> NatRetriesMap::open(const std::string& pin_path) {
    TRY_ASSIGN(RawBpfMap raw, RawBpfMap::open_pinned(pin_path));
    if (raw.info().type != BPF_MAP_TYPE_PERCPU_ARRAY || raw.info().value_size != sizeof(std::uint32_t))
        return fail(Code::kFailedPrecondition, "map " + pin_path + ": not a per-CPU array of counters");
    return NatRetriesMap(std::move(raw));
}

Result<std::vector<std::uint64_t>> NatRetriesMap::read() const {
    const int cpus = ::libbpf_num_possible_cpus();
    if (cpus < 0) return fail_errno("counting CPUs", -cpus);
    std::vector<std::uint64_t> all(map_.info().max_entries);
    TRY(map_.for_each([&](const void* key, const void* value) {
        std::uint32_t index = 0;
        std::memcpy(&index, key, sizeof(index));
        for (int cpu = 0; cpu < cpus; ++cpu) {
            std::uint32_t one = 0;  // a CPU's value takes eight bytes, whatever its size
            std::memcpy(&one, static_cast<const char*>(value) + static_cast<std::size_t>(cpu) * 8, sizeof(one));
            if (index < all.size()) all[index] += one;
        }
    }));
    return all;
}

}  // namespace axo
