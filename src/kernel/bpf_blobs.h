// BPF objects embedded in the executable by axo_bpf_library (cmake/bpf.cmake).
//
// AXO_BPF_BLOB(pod) at namespace scope outside of functions declares bpf_blob_pod(), the bytes of
// bpf/hooks/pod.bpf.c's object for BpfLoadSpec::object.
#pragma once

#include <cstddef>
#include <span>

#define AXO_BPF_BLOB(name)                                     \
    extern "C" const std::byte axo_bpf_##name##_begin[];       \
    extern "C" const std::byte axo_bpf_##name##_end[];         \
    inline std::span<const std::byte> bpf_blob_##name() {      \
        return {axo_bpf_##name##_begin, axo_bpf_##name##_end}; \
    }
