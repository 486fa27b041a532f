// The maps of address translation (bpf/api/lb.h): whose address what leaves by a device gets, destinations that are
// spared, and how hard it was to find free ports.
// Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/types.h"
#include "bpf/api/lb.h"
#include "kernel/bpf_map.h"
#include "maps/paths.h"

namespace axo {

// An unset address: nothing of its family is translated there.
struct NatSource {
    IpAddress ipv4, ipv6;
    friend bool operator==(const NatSource&, const NatSource&) = default;
};

// cilium_nat_addresses
class NatAddressMap {
public:
    static Result<NatAddressMap> open(const std::string& pin_path);
    static Result<NatAddressMap> create_private(std::uint32_t max_entries = 16);  // for tests
    Result<std::map<IfIndex, NatSource>> list() const;
    Status put(const IfIndex& link, const NatSource& source) const;
    Status remove(const IfIndex& link) const;

private:
    explicit NatAddressMap(BpfMap<std::uint32_t, nat_addresses> map) : map_(std::move(map)) {}
    BpfMap<std::uint32_t, nat_addresses> map_;
};

// cilium_ipmasq_v4 and cilium_ipmasq_v6 as one set of prefixes.
class IpMasqMap {
public:
    static Result<IpMasqMap> open(const BpfPaths& paths);
    static Result<IpMasqMap> create_private(std::uint32_t max_entries = 64);  // for tests
    Result<std::set<Prefix>> list() const;
    Status put(const Prefix& prefix) const;
    Status remove(const Prefix& prefix) const;

private:
    IpMasqMap(BpfMap<lpm_v4_key, lpm_val> v4, BpfMap<lpm_v6_key, lpm_val> v6)
        : v4_(std::move(v4)), v6_(std::move(v6)) {}
    BpfMap<lpm_v4_key, lpm_val> v4_;
    BpfMap<lpm_v6_key, lpm_val> v6_;
};

// cilium_snat_v4_alloc_retries, cilium_snat_v6_alloc_retries: how many connections found their source port at the n-th
// attempt; the last element are those that found none.
class NatRetriesMap {
public:
    static Result<NatRetriesMap> open(const std::string& pin_path);
    // One element per number of attempts, over all CPUs.
    Result<std::vector<std::uint64_t>> read() const;

private:
    explicit NatRetriesMap(RawBpfMap map) : map_(std::move(map)) {}
    RawBpfMap map_;
};

}  // namespace axo
