// BPF maps by file descriptor, typed by the key and value structs of bpf/api.
//
// get/put/remove are single system calls; entries() reads in batches where the kernel can (5.6).
// Thread: any.
#pragma once

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace axo {

struct BpfMapInfo {
    std::string name;  // of the pin, "cilium_ipcache_v2": the kernel keeps 15 characters only
    std::uint32_t id = 0;
    std::uint32_t type = 0;
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
    std::uint32_t max_entries = 0;
    std::uint32_t flags = 0;
};

class RawBpfMap {
public:
    RawBpfMap() = default;
    RawBpfMap(Fd fd, BpfMapInfo info) : fd_(std::move(fd)), info_(std::move(info)) {}
    static Result<RawBpfMap> open_pinned(const std::string& path);
    static Result<RawBpfMap> from_fd(Fd fd, std::string name);

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const BpfMapInfo& info() const { return info_; }
    explicit operator bool() const { return static_cast<bool>(fd_); }

    Status lookup(const void* key, void* value) const;  // kNotFound
    Status update(const void* key, const void* value, std::uint64_t flags = BPF_ANY) const;
    Status erase(const void* key) const;  // absent: success
    // Calls sink for each entry. Entries that come or go meanwhile may be missed or, on kernels without
    // batches, seen twice.
    using Sink = std::function<void(const void* key, const void* value)>;
    Status for_each(const Sink& sink) const;
    Result<std::uint64_t> count() const;
    [[nodiscard]] bool per_cpu() const;
    // What lookup writes and update reads: for per-CPU maps num_possible_cpus * round_up(value_size, 8).
    [[nodiscard]] std::size_t value_bytes() const;
    // Kernel memory as fdinfo's memlock tells it, bytes.
    Result<std::uint64_t> memory_bytes() const;

private:
    Status for_each_key(const Sink& sink) const;

    Fd fd_;
    BpfMapInfo info_;
};

template <class Key, class Value>
class BpfMap {
    static_assert(std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<Value>);

public:
    BpfMap() = default;
    // Refuses a map whose sizes differ from the types', and per-CPU maps, whose values are arrays.
    static Result<BpfMap> wrap(RawBpfMap raw) {
        if (raw.per_cpu()) return fail(Code::kFailedPrecondition, "map " + raw.info().name + ": is a per-CPU map");
        if (raw.info().key_size != sizeof(Key) || raw.info().value_size != sizeof(Value)) {
            return fail(Code::kFailedPrecondition,
                        "map " + raw.info().name + ": key/value sizes are " + std::to_string(raw.info().key_size) +
                            "/" + std::to_string(raw.info().value_size) + ", expected " + std::to_string(sizeof(Key)) +
                            "/" + std::to_string(sizeof(Value)));
        }
        return BpfMap(std::move(raw));
    }
    static Result<BpfMap> open_pinned(const std::string& path) {
        TRY_ASSIGN(RawBpfMap raw, RawBpfMap::open_pinned(path));
        return wrap(std::move(raw));
    }

    Result<Value> get(const Key& key) const {
        Value value{};
        TRY(raw_.lookup(&key, &value));
        return value;
    }
    Status put(const Key& key, const Value& value, std::uint64_t flags = BPF_ANY) const {
        return raw_.update(&key, &value, flags);
    }
    Status remove(const Key& key) const { return raw_.erase(&key); }
    Result<std::vector<std::pair<Key, Value>>> entries() const {
        std::vector<std::pair<Key, Value>> all;
        TRY(raw_.for_each([&](const void* key, const void* value) {
            auto& [k, v] = all.emplace_back();
            std::memcpy(&k, key, sizeof(Key));
            std::memcpy(&v, value, sizeof(Value));
        }));
        return all;
    }
    [[nodiscard]] const RawBpfMap& raw() const { return raw_; }
    explicit operator bool() const { return static_cast<bool>(raw_); }

private:
    explicit BpfMap(RawBpfMap raw) : raw_(std::move(raw)) {}
    RawBpfMap raw_;
};

}  // namespace axo
