// Maglev's table of backends, computed as Cilium computes it, so that nodes of both agree about a connection's backend.
// Thread: any (pure functions).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace axo::service {

// Primes that a table may have for its size.
std::span<const std::uint32_t> maglev_table_sizes();

struct MaglevSeeds {
    std::uint32_t murmur = 0;                 // where backends stand in the table
    std::array<std::uint32_t, 2> jhash = {};  // of the hash over a connection
    friend bool operator==(const MaglevSeeds&, const MaglevSeeds&) = default;
};
// bpf-lb-maglev-hash-seed: 12 bytes in base64.
Result<MaglevSeeds> parse_maglev_seed(std::string_view base64);
Status check_maglev_table_size(std::uint32_t size);

struct MaglevBackend {
    std::string name;  // see maglev_name; backends must come ordered by it
    std::uint16_t weight = 1;
};
// "[10.0.0.1:80/TCP,State:active]": the state is part of the name but never another one. address: LbAddress::to_string.
std::string maglev_name(std::string_view address, bool internal_scope);

// Which backend (its index) stands at each place. Backends of weight 0 stand nowhere; empty if there is no other. At
// most 65535 backends.
std::vector<std::uint16_t> maglev_table(std::span<const MaglevBackend> backends, std::uint32_t size,
                                        std::uint32_t murmur_seed);

// MurmurHash3, x64, 128 bits.
std::array<std::uint64_t, 2> murmur3_128(std::string_view data, std::uint32_t seed);

}  // namespace axo::service
