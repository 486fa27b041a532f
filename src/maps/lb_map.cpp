#include "maps/lb_map.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "maps/convert.h"
#include "maps/private_map.h"

namespace axo {
namespace {

constexpr std::size_t kPortsBytes = LB_PORTS_WORDS * sizeof(std::uint64_t);

std::size_t whole_pages(std::size_t bytes) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return (bytes + page - 1) / page * page;
}

template <class T>
Result<T*> map_memory(const RawBpfMap& map) {
    if (map.info().value_size != sizeof(T)) {
        return fail(Code::kFailedPrecondition, "map " + map.info().name + ": values of " +
                                                   std::to_string(map.info().value_size) + " bytes, expected " +
                                                   std::to_string(sizeof(T)));
    }
    const std::size_t bytes = whole_pages(map.info().max_entries * sizeof(T));
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd(), 0);
    if (memory == MAP_FAILED) return fail_errno("mapping " + map.info().name + " into memory");
    return static_cast<T*>(memory);
}

void copy_words(__be32 (&to)[4], const IpAddress& from) {
    if (from.is_v6()) std::memcpy(to, from.bytes().data(), sizeof(to));
}

int port_slot(std::uint8_t protocol) {
    switch (protocol) {
        case IPPROTO_TCP: return LB_PORTS_TCP;
        case IPPROTO_UDP: return LB_PORTS_UDP;
        case IPPROTO_SCTP: return LB_PORTS_SCTP;
        default: return -1;
    }
}

constexpr std::uint8_t kPortProtocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};

std::string endpoint_text(const IpAddress& address, std::uint16_t port, std::uint8_t protocol) {
    const std::string ip = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
    return ip + ":" + std::to_string(port) + "/" + lb_protocol_name(protocol);
}

Status with_name(Status status, const RawBpfMap& map) {
    if (status) return status;
    if (status.error().sys_errno == E2BIG || status.error().sys_errno == ENOSPC) {
        return fail(Code::kResourceExhausted, "map " + map.info().name + " is full: it has " +
                                                  std::to_string(map.info().max_entries) + " entries (bpf-lb-map-max)");
    }
    return status;
}

}  // namespace

std::string lb_protocol_name(std::uint8_t protocol) {
    switch (protocol) {
        case IPPROTO_TCP: return "TCP";
        case IPPROTO_UDP: return "UDP";
        case IPPROTO_SCTP: return "SCTP";
        case 0: return "ANY";
        default: return std::to_string(protocol);
    }
}

std::string LbFrontend::to_string() const {
    return endpoint_text(address, port, protocol) + (scope == LB_SCOPE_INTERNAL ? "/i" : "");
}

std::string LbAddress::to_string() const {
    return endpoint_text(address, port, protocol);
}

bool operator==(const lb_service& a, const lb_service& b) {
    return std::memcmp(&a, &b, sizeof(a)) == 0;
}

LbMaps::LbMaps(LbMaps&& other) noexcept {
    *this = std::move(other);
}
LbMaps& LbMaps::operator=(LbMaps&& other) noexcept {
    std::swap(services4_, other.services4_);
    std::swap(services6_, other.services6_);
    std::swap(affinity_, other.affinity_);
    std::swap(affinity_match_, other.affinity_match_);
    std::swap(source_range4_, other.source_range4_);
    std::swap(source_range6_, other.source_range6_);
    std::swap(backends_map_, other.backends_map_);
    std::swap(ports_map_, other.ports_map_);
    std::swap(backends_, other.backends_);
    std::swap(ports_, other.ports_);
    return *this;
}
LbMaps::~LbMaps() {
    if (backends_ != nullptr) ::munmap(backends_, whole_pages(capacity() * sizeof(lb_backend)));
    if (ports_ != nullptr) ::munmap(ports_, whole_pages(kPortsBytes));
}

Result<LbMaps> LbMaps::wrap(RawBpfMap services4, RawBpfMap services6, RawBpfMap backends, RawBpfMap affinity,
                            RawBpfMap affinity_match, RawBpfMap source_range4, RawBpfMap source_range6,
                            RawBpfMap ports) {
    LbMaps maps;
    const auto put = []<class Key, class Value>(BpfMap<Key, Value>& to, RawBpfMap& from) -> Status {
        if (!from) return {};
        TRY_ASSIGN(to, (BpfMap<Key, Value>::wrap(std::move(from))));
        return {};
    };
    TRY(put(maps.services4_, services4));
    TRY(put(maps.services6_, services6));
    TRY(put(maps.affinity_, affinity));
    TRY(put(maps.affinity_match_, affinity_match));
    TRY(put(maps.source_range4_, source_range4));
    TRY(put(maps.source_range6_, source_range6));
    maps.backends_map_ = std::move(backends);
    maps.ports_map_ = std::move(ports);
    TRY_ASSIGN(maps.backends_, map_memory<lb_backend>(maps.backends_map_));
    if (maps.ports_map_.info().max_entries != LB_PORTS_WORDS) {
        return fail(Code::kFailedPrecondition, "map " + maps.ports_map_.info().name + ": " +
                                                   std::to_string(maps.ports_map_.info().max_entries) +
                                                   " entries, expected " + std::to_string(LB_PORTS_WORDS));
    }
    TRY_ASSIGN(maps.ports_, map_memory<std::uint64_t>(maps.ports_map_));
    return maps;
}

Result<LbMaps> LbMaps::open(const BpfPaths& paths) {
    const auto of_family = [&paths](const char* name) -> Result<RawBpfMap> {
        auto map = RawBpfMap::open_pinned(paths.map(name));
        if (!map && map.error().code == Code::kNotFound) return RawBpfMap();
        return map;
    };
    TRY_ASSIGN(RawBpfMap services4, of_family(map_name::kServices4));
    TRY_ASSIGN(RawBpfMap services6, of_family(map_name::kServices6));
    TRY_ASSIGN(RawBpfMap range4, of_family(map_name::kLbSourceRange4));
    TRY_ASSIGN(RawBpfMap range6, of_family(map_name::kLbSourceRange6));
    TRY_ASSIGN(RawBpfMap backends, RawBpfMap::open_pinned(paths.map(map_name::kLbBackends)));
    TRY_ASSIGN(RawBpfMap affinity, RawBpfMap::open_pinned(paths.map(map_name::kLbAffinity)));
    TRY_ASSIGN(RawBpfMap match, RawBpfMap::open_pinned(paths.map(map_name::kLbAffinityMatch)));
    TRY_ASSIGN(RawBpfMap ports, RawBpfMap::open_pinned(paths.map(map_name::kLbPorts)));
    return wrap(std::move(services4), std::move(services6), std::move(backends), std::move(affinity), std::move(match),
                std::move(range4), std::move(range6), std::move(ports));
}

Result<LbMaps> LbMaps::use(const Descriptors& descriptors) {
    const auto copy = [](int fd, const char* name) -> Result<RawBpfMap> {
        if (fd < 0) return RawBpfMap();
        Fd own(::dup(fd));
        if (!own) return fail_errno("duplicating the descriptor of " + std::string(name));
        return RawBpfMap::from_fd(std::move(own), name);
    };
    TRY_ASSIGN(RawBpfMap services4, copy(descriptors.services4, map_name::kServices4));
    TRY_ASSIGN(RawBpfMap services6, copy(descriptors.services6, map_name::kServices6));
    TRY_ASSIGN(RawBpfMap backends, copy(descriptors.backends, map_name::kLbBackends));
    TRY_ASSIGN(RawBpfMap affinity, copy(descriptors.affinity, map_name::kLbAffinity));
    TRY_ASSIGN(RawBpfMap match, copy(descriptors.affinity_match, map_name::kLbAffinityMatch));
    TRY_ASSIGN(RawBpfMap range4, copy(descriptors.source_range4, map_name::kLbSourceRange4));
    TRY_ASSIGN(RawBpfMap range6, copy(descriptors.source_range6, map_name::kLbSourceRange6));
    TRY_ASSIGN(RawBpfMap ports, copy(descriptors.ports, map_name::kLbPorts));
    return wrap(std::move(services4), std::move(services6), std::move(backends), std::move(affinity), std::move(match),
                std::move(range4), std::move(range6), std::move(ports));
}

Result<LbMaps> LbMaps::create_private(const Sizes& sizes) {
    const auto make = [](const char* name, bpf_map_type type, std::size_t key, std::size_t value, std::uint32_t entries,
                         std::uint32_t flags) {
        return create_private_map({.name = name,
                                   .type = type,
                                   .key_size = static_cast<std::uint32_t>(key),
                                   .value_size = static_cast<std::uint32_t>(value),
                                   .max_entries = entries,
                                   .flags = flags});
    };
    TRY_ASSIGN(RawBpfMap services4, make(map_name::kServices4, BPF_MAP_TYPE_HASH, sizeof(lb4_key), sizeof(lb_service),
                                         sizes.services, BPF_F_NO_PREALLOC));
    TRY_ASSIGN(RawBpfMap services6, make(map_name::kServices6, BPF_MAP_TYPE_HASH, sizeof(lb6_key), sizeof(lb_service),
                                         sizes.services, BPF_F_NO_PREALLOC));
    TRY_ASSIGN(RawBpfMap backends, make(map_name::kLbBackends, BPF_MAP_TYPE_ARRAY, sizeof(std::uint32_t),
                                        sizeof(lb_backend), sizes.backends, BPF_F_MMAPABLE));
    TRY_ASSIGN(RawBpfMap affinity, make(map_name::kLbAffinity, BPF_MAP_TYPE_HASH, sizeof(lb_affinity_key),
                                        sizeof(lb_affinity_val), 65536, BPF_F_NO_PREALLOC));
    TRY_ASSIGN(RawBpfMap match, make(map_name::kLbAffinityMatch, BPF_MAP_TYPE_HASH, sizeof(lb_affinity_match),
                                     sizeof(std::uint32_t), sizes.backends, BPF_F_NO_PREALLOC));
    TRY_ASSIGN(RawBpfMap range4, make(map_name::kLbSourceRange4, BPF_MAP_TYPE_LPM_TRIE, sizeof(lb4_src_range_key),
                                      sizeof(std::uint8_t), sizes.source_ranges, BPF_F_NO_PREALLOC));
    TRY_ASSIGN(RawBpfMap range6, make(map_name::kLbSourceRange6, BPF_MAP_TYPE_LPM_TRIE, sizeof(lb6_src_range_key),
                                      sizeof(std::uint8_t), sizes.source_ranges, BPF_F_NO_PREALLOC));
    TRY_ASSIGN(RawBpfMap ports, make(map_name::kLbPorts, BPF_MAP_TYPE_ARRAY, sizeof(std::uint32_t),
                                     sizeof(std::uint64_t), LB_PORTS_WORDS, BPF_F_MMAPABLE));
    return wrap(std::move(services4), std::move(services6), std::move(backends), std::move(affinity), std::move(match),
                std::move(range4), std::move(range6), std::move(ports));
}

bool LbMaps::has_family(Family family) const {
    return family == Family::kIpv6 ? static_cast<bool>(services6_) : static_cast<bool>(services4_);
}

lb4_key LbMaps::encode4(const LbFrontend& frontend) {
    return {.address = frontend.address.v4_network_order(),
            .dport = htons(frontend.port),
            .backend_slot = 0,
            .proto = frontend.protocol,
            .scope = frontend.scope,
            .pad = {}};
}

lb6_key LbMaps::encode6(const LbFrontend& frontend) {
    lb6_key key{};
    copy_words(key.address, frontend.address);
    key.dport = htons(frontend.port);
    key.proto = frontend.protocol;
    key.scope = frontend.scope;
    return key;
}

LbFrontend LbMaps::decode(const lb4_key& key) {
    return {IpAddress::v4(key.address), ntohs(key.dport), key.proto, key.scope};
}
LbFrontend LbMaps::decode(const lb6_key& key) {
    return {IpAddress::v6(key.address), ntohs(key.dport), key.proto, key.scope};
}

Result<std::vector<std::pair<LbFrontend, lb_service>>> LbMaps::services() const {
    std::vector<std::pair<LbFrontend, lb_service>> all;
    if (services4_) {
        TRY_ASSIGN(const auto entries, services4_.entries());
        for (const auto& [key, value] : entries) all.emplace_back(decode(key), value);
    }
    if (services6_) {
        TRY_ASSIGN(const auto entries, services6_.entries());
        for (const auto& [key, value] : entries) all.emplace_back(decode(key), value);
    }
    return all;
}

Status LbMaps::put_service(const LbFrontend& frontend, const lb_service& value) const {
    if (!has_family(frontend.address.family()))
        return fail(Code::kFailedPrecondition, frontend.to_string() + ": this address family is not served");
    if (frontend.address.is_v6()) return with_name(services6_.put(encode6(frontend), value), services6_.raw());
    return with_name(services4_.put(encode4(frontend), value), services4_.raw());
}

Status LbMaps::remove_service(const LbFrontend& frontend) const {
    if (!has_family(frontend.address.family())) return {};
    return frontend.address.is_v6() ? services6_.remove(encode6(frontend)) : services4_.remove(encode4(frontend));
}

std::uint32_t LbMaps::capacity() const {
    return backends_map_.info().max_entries;
}

lb_backend LbMaps::encode(const LbBackendRow& row) {
    lb_backend value{};
    value.address = to_axo_addr(row.address.address);
    value.port = htons(row.address.port);
    value.proto = row.address.protocol;
    value.flags = row.state;
    value.family = to_axo_family(row.address.address);
    value.zone = row.zone;
    value.pod_id = row.pod_id;
    return value;
}

LbBackendRow LbMaps::decode(std::uint32_t id, const lb_backend& value) {
    return {.id = id,
            .address = {from_axo_addr(value.address, value.family == AXO_FAMILY_IPV6), ntohs(value.port), value.proto},
            .state = value.flags,
            .zone = value.zone,
            .pod_id = value.pod_id};
}

std::optional<LbBackendRow> LbMaps::backend(std::uint32_t id) const {
    if (id == 0 || id >= capacity() || backends_[id].proto == 0) return std::nullopt;
    return decode(id, backends_[id]);
}

bool LbMaps::is_backend(std::uint32_t id, const LbAddress& address) const {
    if (id == 0 || id >= capacity()) return false;
    const lb_backend& entry = backends_[id];
    const axo_addr ip = to_axo_addr(address.address);
    return entry.proto == address.protocol && entry.port == htons(address.port) &&
           entry.family == to_axo_family(address.address) && std::memcmp(&entry.address, &ip, sizeof(ip)) == 0;
}

std::vector<LbBackendRow> LbMaps::backends() const {
    std::vector<LbBackendRow> all;
    for (std::uint32_t id = 1; id < capacity(); ++id) {
        if (backends_[id].proto != 0) all.push_back(decode(id, backends_[id]));
    }
    return all;
}

// The protocol comes last and goes first: an entry that has one is whole.
void LbMaps::put_backend(const LbBackendRow& row) const {
    if (row.id == 0 || row.id >= capacity()) return;
    lb_backend& entry = backends_[row.id];
    lb_backend value = encode(row);
    if (entry.proto == value.proto && entry.port == value.port && entry.family == value.family &&
        std::memcmp(&entry.address, &value.address, sizeof(value.address)) == 0) {
        // The same backend: single members, each at once.
        std::atomic_ref(entry.flags).store(value.flags, std::memory_order_relaxed);
        std::atomic_ref(entry.zone).store(value.zone, std::memory_order_relaxed);
        std::atomic_ref(entry.pod_id).store(value.pod_id, std::memory_order_release);
        return;
    }
    const std::uint8_t protocol = std::exchange(value.proto, std::uint8_t{0});
    std::atomic_ref(entry.proto).store(0, std::memory_order_seq_cst);
    std::memcpy(&entry, &value, sizeof(entry));
    std::atomic_ref(entry.proto).store(protocol, std::memory_order_release);
}

void LbMaps::free_backend(std::uint32_t id) const {
    if (id == 0 || id >= capacity()) return;
    std::atomic_ref(backends_[id].proto).store(0, std::memory_order_seq_cst);
}

Result<std::vector<LbAffinityRow>> LbMaps::affinity() const {
    TRY_ASSIGN(const auto entries, affinity_.entries());
    std::vector<LbAffinityRow> all;
    all.reserve(entries.size());
    for (const auto& [key, value] : entries) {
        LbAffinityRow row{
            .client = {}, .netns_cookie = 0, .group = key.group, .last_used = value.last_used, .pod_id = value.pod_id};
        if (key.netns_cookie != 0) {
            std::memcpy(&row.netns_cookie, key.client.bytes, sizeof(row.netns_cookie));
        } else {
            row.client = from_axo_addr(key.client, key.family == AXO_FAMILY_IPV6);
        }
        all.push_back(row);
    }
    return all;
}

Result<std::size_t> LbMaps::collect_affinity(std::uint32_t now_tick,
                                             const std::function<std::uint32_t(std::uint32_t group)>& timeout) const {
    TRY_ASSIGN(const auto entries, affinity_.entries());
    std::size_t removed = 0;
    for (const auto& [key, value] : entries) {
        const std::uint64_t seconds = timeout(key.group);
        const std::uint64_t age = static_cast<std::uint64_t>(now_tick - value.last_used) << AXO_TICK_SHIFT;
        if (seconds != 0 && age <= seconds * 1'000'000'000ULL) continue;
        // Used again since it was read: whoever did so looks at its age himself, and writes it again.
        TRY(affinity_.remove(key));
        ++removed;
    }
    return removed;
}

Result<std::vector<std::pair<LbMaps::Match, std::uint32_t>>> LbMaps::affinity_matches() const {
    TRY_ASSIGN(const auto entries, affinity_match_.entries());
    std::vector<std::pair<Match, std::uint32_t>> all;
    all.reserve(entries.size());
    for (const auto& [key, value] : entries) all.emplace_back(Match{key.pod_id, key.port_id}, value);
    return all;
}

Status LbMaps::put_affinity_match(const Match& match, std::uint32_t backend) const {
    return with_name(affinity_match_.put({match.pod_id, match.port_id}, backend), affinity_match_.raw());
}

Status LbMaps::remove_affinity_match(const Match& match) const {
    return affinity_match_.remove({match.pod_id, match.port_id});
}

Result<std::vector<LbSourceRange>> LbMaps::source_ranges() const {
    std::vector<LbSourceRange> all;
    const auto length = [](std::uint32_t prefixlen) {
        return prefixlen < LB_SOURCE_RANGE_STATIC_PREFIX ? 0
                                                         : static_cast<int>(prefixlen - LB_SOURCE_RANGE_STATIC_PREFIX);
    };
    if (source_range4_) {
        TRY_ASSIGN(const auto entries, source_range4_.entries());
        for (const auto& [key, value] : entries)
            all.push_back({key.rev_nat_id, Prefix(IpAddress::v4(key.addr), length(key.prefixlen))});
    }
    if (source_range6_) {
        TRY_ASSIGN(const auto entries, source_range6_.entries());
        for (const auto& [key, value] : entries)
            all.push_back({key.rev_nat_id, Prefix(IpAddress::v6(key.addr), length(key.prefixlen))});
    }
    return all;
}

namespace {

lb4_src_range_key range_key4(const LbSourceRange& range) {
    lb4_src_range_key key{};
    key.prefixlen = LB_SOURCE_RANGE_STATIC_PREFIX + static_cast<std::uint32_t>(range.prefix.length());
    key.rev_nat_id = range.rev_nat_index;
    key.addr = range.prefix.address().v4_network_order();
    return key;
}

lb6_src_range_key range_key6(const LbSourceRange& range) {
    lb6_src_range_key key{};
    key.prefixlen = LB_SOURCE_RANGE_STATIC_PREFIX + static_cast<std::uint32_t>(range.prefix.length());
    key.rev_nat_id = range.rev_nat_index;
    copy_words(key.addr, range.prefix.address());
    return key;
}

}  // namespace

Status LbMaps::put_source_range(const LbSourceRange& range) const {
    if (!has_family(range.prefix.family())) return {};
    if (range.prefix.family() == Family::kIpv6)
        return with_name(source_range6_.put(range_key6(range), 1), source_range6_.raw());
    return with_name(source_range4_.put(range_key4(range), 1), source_range4_.raw());
}

Status LbMaps::remove_source_range(const LbSourceRange& range) const {
    if (!has_family(range.prefix.family())) return {};
    return range.prefix.family() == Family::kIpv6 ? source_range6_.remove(range_key6(range))
                                                  : source_range4_.remove(range_key4(range));
}

bool LbMaps::port_bit(std::uint8_t protocol, std::uint16_t port) const {
    const int slot = port_slot(protocol);
    return slot >= 0 && (ports_[slot * 1024 + port / 64] >> (port % 64) & 1) != 0;
}

void LbMaps::set_port_bit(std::uint8_t protocol, std::uint16_t port, bool value) const {
    const int slot = port_slot(protocol);
    if (slot < 0) return;
    std::atomic_ref word(ports_[slot * 1024 + port / 64]);
    const std::uint64_t bit = 1ULL << (port % 64);
    if (value) {
        word.fetch_or(bit, std::memory_order_release);
    } else {
        word.fetch_and(~bit, std::memory_order_release);
    }
}

std::vector<std::pair<std::uint8_t, std::uint16_t>> LbMaps::port_bits() const {
    std::vector<std::pair<std::uint8_t, std::uint16_t>> all;
    for (std::uint32_t word = 0; word < LB_PORTS_WORDS; ++word) {
        for (std::uint32_t bit = 0; ports_[word] != 0 && bit < 64; ++bit) {
            if ((ports_[word] >> bit & 1) != 0)
                all.emplace_back(kPortProtocols[word / 1024], static_cast<std::uint16_t>(word % 1024 * 64 + bit));
        }
    }
    return all;
}

std::vector<const RawBpfMap*> LbMaps::all() const {
    std::vector<const RawBpfMap*> maps;
    for (const RawBpfMap* map : {&services4_.raw(), &services6_.raw(), &backends_map_, &affinity_.raw(),
                                 &affinity_match_.raw(), &source_range4_.raw(), &source_range6_.raw(), &ports_map_}) {
        if (*map) maps.push_back(map);
    }
    return maps;
}

}  // namespace axo
