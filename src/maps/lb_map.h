// The maps of services (bpf/api/lb.h): frontends, backends, who a client was given, source ranges, ports.
//
// Values in, structs out; who decides what belongs there is features/service. Nothing here remembers what it wrote:
// the caller compares before it writes. Tables of backends are in lb_tables.h.
// Thread: one at a time; LbMaps opened twice (the CLI) reads what another process writes.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "bpf/api/lb.h"
#include "kernel/bpf_map.h"
#include "maps/paths.h"

namespace axo {

// Key of a frontend. The unspecified address stands for every address of this node; port 0 with protocol 0 for the
// ports of a virtual address that no frontend has.
struct LbFrontend {
    IpAddress address;
    std::uint16_t port = 0;
    std::uint8_t protocol = 0;  // IPPROTO_*
    std::uint8_t scope = LB_SCOPE_EXTERNAL;

    [[nodiscard]] bool is_wildcard() const { return port == 0 && protocol == 0; }
    [[nodiscard]] bool is_surrogate() const { return address.is_unspecified(); }
    // "10.96.0.1:443/TCP", "[fd00::1]:53/UDP/i"
    [[nodiscard]] std::string to_string() const;
    friend auto operator<=>(const LbFrontend&, const LbFrontend&) = default;
};

// Where a backend listens.
struct LbAddress {
    IpAddress address;
    std::uint16_t port = 0;
    std::uint8_t protocol = 0;

    // "10.0.0.63:53/UDP"
    [[nodiscard]] std::string to_string() const;
    friend auto operator<=>(const LbAddress&, const LbAddress&) = default;
};

// "TCP", "UDP", "SCTP", "ANY" for 0.
std::string lb_protocol_name(std::uint8_t protocol);

struct LbBackendRow {
    std::uint32_t id = 0;
    LbAddress address;
    std::uint8_t state = LB_BACKEND_ACTIVE;
    std::uint8_t zone = 0;
    std::uint32_t pod_id = 0;
    friend bool operator==(const LbBackendRow&, const LbBackendRow&) = default;
};

struct LbAffinityRow {
    IpAddress client;  // unset: by cookie
    std::uint64_t netns_cookie = 0;
    std::uint32_t group = 0;
    std::uint32_t last_used = 0;  // tick
    std::uint32_t pod_id = 0;
};

struct LbSourceRange {
    std::uint16_t rev_nat_index = 0;
    Prefix prefix;
    friend auto operator<=>(const LbSourceRange&, const LbSourceRange&) = default;
};

bool operator==(const lb_service& a, const lb_service& b);

class LbMaps {
public:
    // Of the maps that are pinned there. A family whose maps are missing is one that the agent does not serve.
    static Result<LbMaps> open(const BpfPaths& paths);
    struct Sizes {
        std::uint32_t services = LB_MAX_SERVICES;
        std::uint32_t backends = LB_MAX_BACKENDS;
        std::uint32_t source_ranges = 65536;
    };
    // Maps of the same layout that nobody else sees; for tests.
    static Result<LbMaps> create_private(const Sizes& sizes);
    // As open, over descriptors that the caller has (they are duplicated); for tests of programs. -1: no such map.
    struct Descriptors {
        int services4 = -1, services6 = -1, backends = -1, affinity = -1, affinity_match = -1;
        int source_range4 = -1, source_range6 = -1, ports = -1;
    };
    static Result<LbMaps> use(const Descriptors& descriptors);
    LbMaps(LbMaps&&) noexcept;
    LbMaps& operator=(LbMaps&&) noexcept;
    ~LbMaps();

    [[nodiscard]] bool has_family(Family family) const;

    // kResourceExhausted: the map is full. Removing what is not there is success.
    [[nodiscard]] Result<std::vector<std::pair<LbFrontend, lb_service>>> services() const;
    Status put_service(const LbFrontend& frontend, const lb_service& value) const;
    Status remove_service(const LbFrontend& frontend) const;

    // Backends lie in memory: no system call, nothing can fail. Ids from 1 to capacity() - 1.
    [[nodiscard]] std::uint32_t capacity() const;
    // Nothing: the entry is free.
    [[nodiscard]] std::optional<LbBackendRow> backend(std::uint32_t id) const;
    [[nodiscard]] std::vector<LbBackendRow> backends() const;
    // Whether the entry is this backend's.
    [[nodiscard]] bool is_backend(std::uint32_t id, const LbAddress& address) const;
    // An id that programs may still have in hand must not become another address before a grace period has passed.
    void put_backend(const LbBackendRow& row) const;
    void free_backend(std::uint32_t id) const;

    [[nodiscard]] Result<std::vector<LbAffinityRow>> affinity() const;
    // timeout(group): seconds, 0: there is no such group. Removes what is older. Returns how many.
    Result<std::size_t> collect_affinity(std::uint32_t now_tick,
                                         const std::function<std::uint32_t(std::uint32_t group)>& timeout) const;
    struct Match {
        std::uint32_t pod_id = 0, port_id = 0;
        friend auto operator<=>(const Match&, const Match&) = default;
    };
    [[nodiscard]] Result<std::vector<std::pair<Match, std::uint32_t>>> affinity_matches() const;  // -> backend id
    Status put_affinity_match(const Match& match, std::uint32_t backend) const;
    Status remove_affinity_match(const Match& match) const;

    [[nodiscard]] Result<std::vector<LbSourceRange>> source_ranges() const;
    Status put_source_range(const LbSourceRange& range) const;
    Status remove_source_range(const LbSourceRange& range) const;

    // Which ports have a frontend of the unspecified address, of either family.
    [[nodiscard]] bool port_bit(std::uint8_t protocol, std::uint16_t port) const;
    void set_port_bit(std::uint8_t protocol, std::uint16_t port, bool value) const;
    // (protocol, port) of every bit that is set.
    [[nodiscard]] std::vector<std::pair<std::uint8_t, std::uint16_t>> port_bits() const;

    // Maps with their descriptors, for status: name, entries.
    [[nodiscard]] std::vector<const RawBpfMap*> all() const;

    static lb4_key encode4(const LbFrontend& frontend);
    static lb6_key encode6(const LbFrontend& frontend);
    static LbFrontend decode(const lb4_key& key);
    static LbFrontend decode(const lb6_key& key);
    static lb_backend encode(const LbBackendRow& row);
    static LbBackendRow decode(std::uint32_t id, const lb_backend& value);

private:
    LbMaps() = default;
    static Result<LbMaps> wrap(RawBpfMap services4, RawBpfMap services6, RawBpfMap backends, RawBpfMap affinity,
                               RawBpfMap affinity_match, RawBpfMap source_range4, RawBpfMap source_range6,
                               RawBpfMap ports);

    BpfMap<lb4_key, lb_service> services4_;
    BpfMap<lb6_key, lb_service> services6_;
    BpfMap<lb_affinity_key, lb_affinity_val> affinity_;
    BpfMap<lb_affinity_match, std::uint32_t> affinity_match_;
    BpfMap<lb4_src_range_key, std::uint8_t> source_range4_;
    BpfMap<lb6_src_range_key, std::uint8_t> source_range6_;
    RawBpfMap backends_map_, ports_map_;
    lb_backend* backends_ = nullptr;
    std::uint64_t* ports_ = nullptr;
};

}  // namespace axo
