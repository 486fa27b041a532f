// Tables of backend ids (bpf/api/lb.h), placed in slabs. Equal tables are one: most services that change keep theirs.
//
// Thread: one at a time; Retired::wait any.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "bpf/api/lb.h"
#include "maps/slab_arena.h"

namespace axo {

// As it stands in struct lb_service. size 0: no backend, and no place.
struct LbTable {
    std::uint32_t location = 0;
    std::uint32_t size = 0;
    friend bool operator==(const LbTable&, const LbTable&) = default;
};

class LbTables {
public:
    static constexpr std::uint64_t kDefaultMaxBytes = 1ULL << 30;  // 10,000 Maglev tables are 640 MiB

    // Tables that are there already count as free until adopt() names them.
    static Result<LbTables> open(const std::string& pin_path, std::uint64_t max_bytes = kDefaultMaxBytes);
    static Result<LbTables> create_private(std::uint64_t max_bytes = kDefaultMaxBytes);
    static Result<LbTables> use(RawBpfMap outer, std::uint64_t max_bytes = kDefaultMaxBytes);

    // A table of these ids; another one that is equal is used again. Each take and adopt wants its release. Errors as
    // SlabArena::place.
    Result<LbTable> take(std::span<const std::uint32_t> ids);
    // A table that an earlier process placed. kNotFound, kDataLoss when it is not readable.
    Status adopt(const LbTable& table);
    void release(const LbTable& table);
    // The ids of a table in use.
    [[nodiscard]] Result<std::vector<std::uint32_t>> ids(const LbTable& table) const;

    // See SlabArena.
    using Retired = SlabArena::Retired;
    Retired take_retired() { return arena_.take_retired(); }
    void free(const Retired& retired) { arena_.free(retired); }
    void set_retire_callback(std::function<void()> callback) { arena_.set_retire_callback(std::move(callback)); }
    [[nodiscard]] SlabArena::Usage usage() const { return arena_.usage(); }
    [[nodiscard]] const RawBpfMap& raw() const { return arena_.raw(); }

private:
    explicit LbTables(SlabArena arena) : arena_(std::move(arena)) {}
    // Rows of ids, zeroes behind the last one.
    static std::vector<lb_table_row> rows_of(std::span<const std::uint32_t> ids);

    SlabArena arena_;
    std::unordered_map<std::uint32_t, std::uint32_t> uses_;  // location -> number
    std::unordered_multimap<std::uint64_t, std::uint32_t> by_digest_;
};

// Reads tables without touching them: for the CLI, beside the agent that owns them.
class LbTableReader {
public:
    static Result<LbTableReader> open(const std::string& pin_path);
    [[nodiscard]] Result<std::vector<std::uint32_t>> ids(const LbTable& table);

private:
    explicit LbTableReader(RawBpfMap outer) : outer_(std::move(outer)) {}
    RawBpfMap outer_;
    std::map<std::uint32_t, RawBpfMap> slabs_;
};

}  // namespace axo
