#include "maps/prefilter_map.h"

#include <algorithm>
#include <cstring>

namespace axo {
namespace {

constexpr int kHost4 = 32, kHost6 = 128;

template <class Key>
Key key_of(const Prefix& prefix) {
    Key key{};
    key.prefixlen = static_cast<__u32>(prefix.length());
    std::memcpy(key.addr, prefix.address().bytes().data(), sizeof(key.addr));
    return key;
}

template <class Key, class Map>
Status list_into(std::vector<Prefix>& all, const Map& map) {
    TRY_ASSIGN(const auto entries, map.entries());
    for (const auto& [key, value] : entries) {
        IpAddress address;
        if constexpr (std::is_same_v<Key, lpm_v4_key>) {
            address = IpAddress::v4({key.addr[0], key.addr[1], key.addr[2], key.addr[3]});
        } else {
            address = IpAddress::v6(key.addr);
        }
        all.emplace_back(address, static_cast<int>(key.prefixlen));
    }
    return {};
}

}  // namespace

Result<PrefilterMaps> PrefilterMaps::open(const BpfPaths& paths) {
    TRY_ASSIGN(RawBpfMap fix4, RawBpfMap::open_pinned(paths.map(map_name::kPrefilterFix4)));
    TRY_ASSIGN(RawBpfMap dyn4, RawBpfMap::open_pinned(paths.map(map_name::kPrefilterDyn4)));
    TRY_ASSIGN(RawBpfMap fix6, RawBpfMap::open_pinned(paths.map(map_name::kPrefilterFix6)));
    TRY_ASSIGN(RawBpfMap dyn6, RawBpfMap::open_pinned(paths.map(map_name::kPrefilterDyn6)));
    return wrap(std::move(fix4), std::move(dyn4), std::move(fix6), std::move(dyn6));
}

Result<PrefilterMaps> PrefilterMaps::wrap(RawBpfMap fix4, RawBpfMap dyn4, RawBpfMap fix6, RawBpfMap dyn6) {
    PrefilterMaps maps;
    TRY_ASSIGN(maps.fix4_, (BpfMap<lpm_v4_key, lpm_val>::wrap(std::move(fix4))));
    TRY_ASSIGN(maps.dyn4_, (BpfMap<lpm_v4_key, lpm_val>::wrap(std::move(dyn4))));
    TRY_ASSIGN(maps.fix6_, (BpfMap<lpm_v6_key, lpm_val>::wrap(std::move(fix6))));
    TRY_ASSIGN(maps.dyn6_, (BpfMap<lpm_v6_key, lpm_val>::wrap(std::move(dyn6))));
    return maps;
}

Result<std::vector<Prefix>> PrefilterMaps::list() const {
    std::vector<Prefix> all;
    TRY(list_into<lpm_v4_key>(all, fix4_));
    TRY(list_into<lpm_v4_key>(all, dyn4_));
    TRY(list_into<lpm_v6_key>(all, fix6_));
    TRY(list_into<lpm_v6_key>(all, dyn6_));
    std::ranges::sort(all);
    return all;
}

Status PrefilterMaps::put(const Prefix& prefix) const {
    if (prefix.family() == Family::kIpv4)
        return (prefix.length() == kHost4 ? fix4_ : dyn4_).put(key_of<lpm_v4_key>(prefix), lpm_val{});
    return (prefix.length() == kHost6 ? fix6_ : dyn6_).put(key_of<lpm_v6_key>(prefix), lpm_val{});
}

Status PrefilterMaps::remove(const Prefix& prefix) const {
    if (prefix.family() == Family::kIpv4)
        return (prefix.length() == kHost4 ? fix4_ : dyn4_).remove(key_of<lpm_v4_key>(prefix));
    return (prefix.length() == kHost6 ? fix6_ : dyn6_).remove(key_of<lpm_v6_key>(prefix));
}

}  // namespace axo
