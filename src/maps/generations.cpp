#include "maps/generations.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>

#include "kernel/bpf_map.h"
#include "maps/private_map.h"

namespace axo {
namespace {

// Array maps are mapped in whole pages.
std::size_t mapped_size() {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return (sizeof(generations) + page - 1) / page * page;
}

// Release order: whoever sees the new generation sees the map writes that came before it.
void bump(std::uint32_t& generation) {
    std::atomic_ref(generation).fetch_add(1, std::memory_order_release);
}
std::uint32_t read(std::uint32_t& generation) {
    return std::atomic_ref(generation).load(std::memory_order_acquire);
}

std::uint32_t bucket(const IpAddress& ip) {
    if (ip.is_v4()) return axo_addr_bucket4(ip.v4_network_order());
    std::uint32_t words[4] = {};
    std::memcpy(words, ip.bytes().data(), ip.bytes().size());
    return axo_addr_bucket6(words);
}

}  // namespace

Result<Generations> Generations::map_memory(int map_fd, const std::string& name) {
    void* memory = ::mmap(nullptr, mapped_size(), PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
    if (memory == MAP_FAILED) return fail_errno("mapping " + name + " into memory");
    return Generations(static_cast<generations*>(memory));
}

Result<Generations> Generations::open(const std::string& pin_path) {
    TRY_ASSIGN(const auto map, (BpfMap<std::uint32_t, generations>::open_pinned(pin_path)));
    TRY_ASSIGN(Generations opened, map_memory(map.raw().fd(), pin_path));
    // A new map does not begin at 0: flows that outlived its predecessor carry small stamps.
    if (opened.node() == 0) std::atomic_ref(opened.memory_->node).store(std::random_device{}() | 1U);
    return opened;
}

Result<Generations> Generations::create_private() {
    TRY_ASSIGN(const RawBpfMap raw, create_private_map({.name = "cilium_generations",
                                                        .type = BPF_MAP_TYPE_ARRAY,
                                                        .key_size = sizeof(std::uint32_t),
                                                        .value_size = sizeof(generations),
                                                        .max_entries = 1,
                                                        .flags = BPF_F_MMAPABLE}));
    return map_memory(raw.fd(), "a private generations map");
}

Result<Generations> Generations::use(int map_fd) {
    return map_memory(map_fd, "the generations map");
}

Generations::Generations(Generations&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}

Generations& Generations::operator=(Generations&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
}

Generations::~Generations() {
    if (memory_ != nullptr) ::munmap(memory_, mapped_size());
}

void Generations::bump_node() {
    bump(memory_->node);
}

void Generations::bump_address(const IpAddress& ip) {
    if (ip) bump(memory_->ipcache[bucket(ip)]);
}

void Generations::bump_prefix(const Prefix& prefix) {
    if (prefix.is_host()) {
        bump_address(prefix.address());
    } else {
        bump_node();
    }
}

void Generations::bump_endpoint(EndpointId id) {
    // Id 0 stands for "not local" in every stamp and must not move.
    if (id.value != 0) bump(memory_->policy[id.value].generation);
}

void Generations::set_policy(EndpointId id, std::uint32_t reference) {
    if (id.value == 0) return;
    // Of its size, not of its members': both halves in one store.
    static_assert(std::atomic_ref<policy_ref>::is_always_lock_free);
    const std::atomic_ref whole(memory_->policy[id.value]);
    policy_ref before = whole.load(std::memory_order_relaxed);
    while (!whole.compare_exchange_weak(before, {before.generation + 1, reference}, std::memory_order_release,
                                        std::memory_order_relaxed)) {
    }
}

void Generations::set_host_endpoint(EndpointId id) {
    if (host_endpoint() == id) return;
    std::atomic_ref(memory_->host_endpoint).store(id.value, std::memory_order_relaxed);
    bump_node();
}

EndpointId Generations::host_endpoint() const {
    return EndpointId(static_cast<std::uint16_t>(read(memory_->host_endpoint)));
}

std::uint32_t Generations::policy(EndpointId id) const {
    return read(memory_->policy[id.value].location);
}

std::uint32_t Generations::node() const {
    return read(memory_->node);
}
std::uint32_t Generations::endpoint(EndpointId id) const {
    return read(memory_->policy[id.value].generation);
}
std::uint32_t Generations::address(const IpAddress& ip) const {
    return read(memory_->ipcache[bucket(ip)]);
}

}  // namespace axo
