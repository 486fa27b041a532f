// Creates maps that are neither pinned nor shared; for tests. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "kernel/bpf_map.h"

namespace axo {

struct PrivateMapSpec {
    std::string name{};
    bpf_map_type type = BPF_MAP_TYPE_HASH;
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
    std::uint32_t max_entries = 1;
    std::uint32_t flags = 0;
    int inner_map_fd = 0;  // of maps of maps: what the inner ones are like
};

Result<RawBpfMap> create_private_map(const PrivateMapSpec& spec);

}  // namespace axo
