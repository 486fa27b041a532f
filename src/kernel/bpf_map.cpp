#include "kernel/bpf_map.h"

#include <bpf/libbpf.h>
#include <sys/types.h>

#include <cerrno>
#include <filesystem>

#include "base/file.h"
#include "kernel/bpf_object.h"

namespace axo {
namespace {

std::size_t round_up_8(std::size_t size) {
    return (size + 7) & ~std::size_t{7};
}

bool iterable(std::uint32_t type) {
    switch (type) {
        case BPF_MAP_TYPE_RINGBUF:
        case BPF_MAP_TYPE_USER_RINGBUF:
        case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
        case BPF_MAP_TYPE_QUEUE:
        case BPF_MAP_TYPE_STACK: return false;
        default: return true;
    }
}

}  // namespace

Result<RawBpfMap> RawBpfMap::open_pinned(const std::string& path) {
    TRY_ASSIGN(Fd fd, open_pin(path));
    return from_fd(std::move(fd), std::filesystem::path(path).filename().string());
}

Result<RawBpfMap> RawBpfMap::from_fd(Fd fd, std::string name) {
    bpf_map_info kernel{};
    std::uint32_t size = sizeof(kernel);
    if (bpf_obj_get_info_by_fd(fd.get(), &kernel, &size) != 0)
        return fail_errno("map " + name + ": read its properties");
    BpfMapInfo info;
    info.name = std::move(name);
    info.id = kernel.id;
    info.type = kernel.type;
    info.key_size = kernel.key_size;
    info.value_size = kernel.value_size;
    info.max_entries = kernel.max_entries;
    info.flags = kernel.map_flags;
    return RawBpfMap(std::move(fd), std::move(info));
}

bool RawBpfMap::per_cpu() const {
    return info_.type == BPF_MAP_TYPE_PERCPU_HASH || info_.type == BPF_MAP_TYPE_PERCPU_ARRAY ||
           info_.type == BPF_MAP_TYPE_LRU_PERCPU_HASH || info_.type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

std::size_t RawBpfMap::value_bytes() const {
    if (!per_cpu()) return info_.value_size;
    static const int cpus = libbpf_num_possible_cpus();
    return round_up_8(info_.value_size) * static_cast<std::size_t>(cpus > 0 ? cpus : 1);
}

Status RawBpfMap::lookup(const void* key, void* value) const {
    if (bpf_map_lookup_elem(fd_.get(), key, value) != 0) return fail_errno("map " + info_.name + ": look up an entry");
    return {};
}

Status RawBpfMap::update(const void* key, const void* value, std::uint64_t flags) const {
    if (bpf_map_update_elem(fd_.get(), key, value, flags) == 0) return {};
    const int err = errno;
    if (err == E2BIG || err == ENOSPC) {
        return std::unexpected(
            Error{Code::kResourceExhausted,
                  "map " + info_.name + ": is full with " + std::to_string(info_.max_entries) + " entries", err});
    }
    return fail_errno("map " + info_.name + ": write an entry", err);
}

Status RawBpfMap::erase(const void* key) const {
    if (bpf_map_delete_elem(fd_.get(), key) == 0 || errno == ENOENT) return {};
    return fail_errno("map " + info_.name + ": remove an entry");
}

// Entry by entry. A concurrent removal of the current key makes the kernel start over, so entries
// may be seen twice; the bound keeps a busy map from holding the caller for ever.
Status RawBpfMap::for_each_key(const Sink& sink) const {
    std::vector<char> key(info_.key_size);
    std::vector<char> next(info_.key_size);
    std::vector<char> value(value_bytes());
    const std::uint64_t bound = 2 * std::uint64_t{info_.max_entries} + 64;
    const void* current = nullptr;
    for (std::uint64_t step = 0; step < bound; ++step) {
        if (bpf_map_get_next_key(fd_.get(), current, next.data()) != 0) {
            if (errno == ENOENT) return {};
            return fail_errno("map " + info_.name + ": find the next entry");
        }
        key.swap(next);
        current = key.data();
        if (bpf_map_lookup_elem(fd_.get(), key.data(), value.data()) == 0) {
            sink(key.data(), value.data());
        } else if (errno != ENOENT) {
            return fail_errno("map " + info_.name + ": look up an entry");
        }
    }
    return fail(Code::kAborted, "map " + info_.name + ": changes faster than it can be read");
}

Status RawBpfMap::for_each(const Sink& sink) const {
    if (!iterable(info_.type)) {
        return fail(Code::kUnimplemented,
                    "map " + info_.name + ": its type " + std::to_string(info_.type) + " has no entries");
    }
    const std::size_t value_size = value_bytes();
    // As many as fill about 64 KiB: large enough that system calls do not matter.
    std::uint32_t capacity = static_cast<std::uint32_t>(65536 / (info_.key_size + value_size)) + 16;
    if (capacity > info_.max_entries + 1) capacity = info_.max_entries + 1;
    std::vector<char> keys(std::size_t{capacity} * info_.key_size);
    std::vector<char> values(std::size_t{capacity} * value_size);
    // The position is a bucket number for hashes, a key for everything else.
    std::vector<char> position(std::max<std::size_t>(info_.key_size, sizeof(std::uint64_t)));
    std::vector<char> next(position.size());
    bool first = true;
    int interruptions = 0;
    for (;;) {
        std::uint32_t count = capacity;
        const int status = bpf_map_lookup_batch(fd_.get(), first ? nullptr : position.data(), next.data(), keys.data(),
                                                values.data(), &count, nullptr);
        const int err = status != 0 ? errno : 0;
        if (err != 0 && err != ENOENT && err != ENOSPC && err != EINTR) {
            // Before 5.6, or a map type without batches.
            if (first) return for_each_key(sink);
            return fail_errno("map " + info_.name + ": read entries", err);
        }
        if (err == ENOSPC) {  // a bucket holds more than the buffer
            capacity *= 2;
            keys.resize(std::size_t{capacity} * info_.key_size);
            values.resize(std::size_t{capacity} * value_size);
            continue;
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            sink(keys.data() + std::size_t{i} * info_.key_size, values.data() + std::size_t{i} * value_size);
        }
        if (err == ENOENT) return {};
        if (err == EINTR) {  // a removed key was under the kernel's feet
            if (++interruptions > 1000) {
                return fail(Code::kAborted, "map " + info_.name + ": changes faster than it can be read");
            }
            if (count == 0) continue;
        }
        position.swap(next);
        first = false;
    }
}

Result<std::uint64_t> RawBpfMap::count() const {
    std::uint64_t entries = 0;
    TRY(for_each([&](const void*, const void*) { ++entries; }));
    return entries;
}

Result<std::uint64_t> RawBpfMap::memory_bytes() const {
    TRY_ASSIGN(const std::string text, read_file("/proc/self/fdinfo/" + std::to_string(fd_.get())));
    const std::string field = "memlock:";
    const std::size_t at = text.find(field);
    if (at == std::string::npos)
        return fail(Code::kUnimplemented, "map " + info_.name + ": the kernel does not tell its memory");
    return std::strtoull(text.c_str() + at + field.size(), nullptr, 10);
}

}  // namespace axo
