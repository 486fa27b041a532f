// Sources that XDP drops at the uplinks: cilium_cidr_v{4,6}_{fix,dyn}, single addresses in a hash and prefixes in a
// trie. Thread: one at a time.
#pragma once

#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "bpf/api/lb.h"
#include "kernel/bpf_map.h"
#include "maps/paths.h"

namespace axo {

class PrefilterMaps {
public:
    static Result<PrefilterMaps> open(const BpfPaths& paths);
    static Result<PrefilterMaps> wrap(RawBpfMap fix4, RawBpfMap dyn4, RawBpfMap fix6, RawBpfMap dyn6);

    // Sorted.
    [[nodiscard]] Result<std::vector<Prefix>> list() const;
    // Idempotent. kResourceExhausted: the map is full.
    Status put(const Prefix& prefix) const;
    Status remove(const Prefix& prefix) const;

private:
    BpfMap<lpm_v4_key, lpm_val> fix4_, dyn4_;
    BpfMap<lpm_v6_key, lpm_val> fix6_, dyn6_;
};

}  // namespace axo
