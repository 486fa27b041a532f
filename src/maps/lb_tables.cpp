#include "maps/lb_tables.h"

#include <algorithm>
#include <cstring>

namespace axo {
namespace {

static_assert(sizeof(lb_table_row) == SlabArena::kRowBytes);
static_assert(LB_TABLE_SLABS == SlabArena::kSlabs);

SlabArena::Kind kind(std::uint64_t max_bytes) {
    return {.one = "backend table",
            .many = "backend tables",
            .kernel_name = "axo_lb_table",
            .magic = 0x41584f4c42544231,  // "AXOLBTB1"
            .max_bytes = max_bytes};
}

// Equal ids, and as many: rows alone do not tell a trailing zero from nothing. Ids are never 0, so they do.
std::vector<std::uint32_t> ids_of(std::span<const std::byte> block, std::uint32_t size) {
    std::vector<std::uint32_t> ids(std::min<std::size_t>(size, block.size() / sizeof(std::uint32_t)));
    std::memcpy(ids.data(), block.data(), ids.size() * sizeof(std::uint32_t));
    return ids;
}

}  // namespace

Result<LbTables> LbTables::use(RawBpfMap outer, std::uint64_t max_bytes) {
    TRY_ASSIGN(SlabArena arena, SlabArena::use(std::move(outer), kind(max_bytes)));
    return LbTables(std::move(arena));
}

Result<LbTables> LbTables::open(const std::string& pin_path, std::uint64_t max_bytes) {
    TRY_ASSIGN(RawBpfMap outer, RawBpfMap::open_pinned(pin_path));
    return use(std::move(outer), max_bytes);
}

Result<LbTables> LbTables::create_private(std::uint64_t max_bytes) {
    TRY_ASSIGN(SlabArena arena, SlabArena::create_private("cilium_lb_tables", kind(max_bytes)));
    return LbTables(std::move(arena));
}

std::vector<lb_table_row> LbTables::rows_of(std::span<const std::uint32_t> ids) {
    std::vector<lb_table_row> rows((ids.size() + LB_TABLE_ROW - 1) / LB_TABLE_ROW);
    if (!ids.empty()) std::memcpy(rows.data(), ids.data(), ids.size_bytes());
    return rows;
}

Result<LbTable> LbTables::take(std::span<const std::uint32_t> ids) {
    if (ids.empty()) return LbTable{};
    const std::vector<lb_table_row> rows = rows_of(ids);
    const auto bytes = std::as_bytes(std::span(rows));
    const std::uint64_t digest = SlabArena::digest(bytes);
    const auto size = static_cast<std::uint32_t>(ids.size());
    const auto [first, last] = by_digest_.equal_range(digest);
    for (auto known = first; known != last; ++known) {
        const auto block = arena_.block(SlabLocation::of(known->second));
        if (!block || !std::ranges::equal(*block, bytes)) continue;
        ++uses_[known->second];
        return LbTable{known->second, size};
    }
    TRY_ASSIGN(const SlabLocation location, arena_.place(bytes));
    by_digest_.emplace(digest, location.value);
    uses_[location.value] = 1;
    return LbTable{location.value, size};
}

Status LbTables::adopt(const LbTable& table) {
    if (table.size == 0) return {};
    const SlabLocation location = SlabLocation::of(table.location);
    const bool known = uses_.contains(location.value);
    if (!known) TRY(arena_.adopt(location));
    TRY_ASSIGN(const auto block, arena_.block(location));
    if (block.size() / sizeof(std::uint32_t) < table.size) {
        if (!known) arena_.retire(location);
        return fail(Code::kDataLoss, "backend table: shorter than its " + std::to_string(table.size) + " entries");
    }
    if (!known) {
        TRY_ASSIGN(const std::uint64_t digest, arena_.digest(location));
        by_digest_.emplace(digest, location.value);
    }
    ++uses_[location.value];
    return {};
}

void LbTables::release(const LbTable& table) {
    const auto known = uses_.find(SlabLocation::of(table.location).value);
    if (table.size == 0 || known == uses_.end() || --known->second != 0) return;
    const SlabLocation location = SlabLocation::of(known->first);
    if (const auto digest = arena_.digest(location)) {
        const auto [first, last] = by_digest_.equal_range(*digest);
        const auto entry = std::find_if(first, last, [&](const auto& one) { return one.second == location.value; });
        if (entry != last) by_digest_.erase(entry);
    }
    uses_.erase(known);
    arena_.retire(location);
}

Result<std::vector<std::uint32_t>> LbTables::ids(const LbTable& table) const {
    if (table.size == 0) return std::vector<std::uint32_t>{};
    TRY_ASSIGN(const auto block, arena_.block(SlabLocation::of(table.location)));
    return ids_of(block, table.size);
}

Result<LbTableReader> LbTableReader::open(const std::string& pin_path) {
    TRY_ASSIGN(RawBpfMap outer, RawBpfMap::open_pinned(pin_path));
    return LbTableReader(std::move(outer));
}

Result<std::vector<std::uint32_t>> LbTableReader::ids(const LbTable& table) {
    std::vector<std::uint32_t> ids;
    if (table.size == 0) return ids;
    const SlabLocation location = SlabLocation::of(table.location);
    const std::uint32_t slab = location.slab();
    auto known = slabs_.find(slab);
    if (known == slabs_.end()) {
        std::uint32_t id = 0;
        TRY(outer_.lookup(&slab, &id));
        const std::string name = "backend table slab " + std::to_string(slab);
        Fd fd(::bpf_map_get_fd_by_id(id));
        if (!fd) return fail_errno("opening " + name + ", map id " + std::to_string(id));
        TRY_ASSIGN(RawBpfMap inner, RawBpfMap::from_fd(std::move(fd), name));
        if (inner.info().value_size != sizeof(lb_table_row))
            return fail(Code::kFailedPrecondition, name + ": rows of another size");
        known = slabs_.emplace(slab, std::move(inner)).first;
    }
    ids.reserve(table.size);
    for (std::uint32_t row = location.row(); ids.size() < table.size; ++row) {
        lb_table_row entry{};
        TRY(known->second.lookup(&row, &entry));
        const auto count = std::min<std::size_t>(LB_TABLE_ROW, table.size - ids.size());
        ids.insert(ids.end(), entry.backend, entry.backend + count);
    }
    return ids;
}

}  // namespace axo
