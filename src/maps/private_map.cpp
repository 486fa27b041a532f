#include "maps/private_map.h"

namespace axo {

Result<RawBpfMap> create_private_map(const PrivateMapSpec& spec) {
    LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = spec.flags;
    options.inner_map_fd = static_cast<std::uint32_t>(spec.inner_map_fd);
    const std::string kernel_name = spec.name.substr(0, BPF_OBJ_NAME_LEN - 1);
    Fd fd(::bpf_map_create(spec.type, kernel_name.c_str(), spec.key_size, spec.value_size, spec.max_entries, &options));
    if (!fd) return fail_errno("creating map " + spec.name);
    return RawBpfMap::from_fd(std::move(fd), spec.name);
}

}  // namespace axo
