#include "maps/slab_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "maps/private_map.h"

namespace axo {
namespace {

constexpr std::uint32_t kFirstSlabRows = 65536 / SlabArena::kRowBytes;
constexpr std::uint32_t kMaxSlabRows = SlabArena::kMaxBlockRows + 1;
constexpr std::uint32_t kInnerFlags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;

struct Row {
    std::uint64_t words[4];
};
static_assert(sizeof(Row) == SlabArena::kRowBytes);

// The row in front of a block.
struct Tag {
    std::uint64_t magic;
    std::uint64_t digest;
    std::uint32_t rows;
    std::uint32_t unused[3];
};
static_assert(sizeof(Tag) == sizeof(Row));

std::uint64_t bytes_of(std::uint64_t rows) {
    return rows * sizeof(Row);
}

Result<Fd> create_inner(const SlabArena::Kind& kind, std::uint32_t rows) {
    LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = kInnerFlags;
    Fd fd(::bpf_map_create(BPF_MAP_TYPE_ARRAY, kind.kernel_name, sizeof(std::uint32_t), sizeof(Row), rows, &options));
    if (!fd)
        return fail_errno("creating a " + std::string(kind.one) + " slab of " + std::to_string(bytes_of(rows)) +
                          " bytes");
    return fd;
}

}  // namespace

struct SlabArena::Slab {
    std::shared_ptr<const Fd> fd;
    std::uint32_t rows = 0;
    Row* memory = nullptr;
    std::map<std::uint32_t, std::uint32_t> free_rows;  // first row -> number
    std::uint32_t free_count = 0;
    bool closing = false;  // on its way out of the map

    Slab() = default;
    Slab(Slab&& other) noexcept { *this = std::move(other); }
    Slab& operator=(Slab&& other) noexcept {
        std::swap(fd, other.fd);
        std::swap(rows, other.rows);
        std::swap(memory, other.memory);
        std::swap(free_rows, other.free_rows);
        std::swap(free_count, other.free_count);
        std::swap(closing, other.closing);
        return *this;
    }
    ~Slab() {
        if (memory != nullptr) ::munmap(memory, bytes_of(rows));
    }

    static Result<Slab> map_memory(Fd fd, std::uint32_t rows) {
        Slab slab;
        void* memory = ::mmap(nullptr, bytes_of(rows), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
        if (memory == MAP_FAILED) return fail_errno("mapping a slab of " + std::to_string(bytes_of(rows)) + " bytes");
        slab.fd = std::make_shared<const Fd>(std::move(fd));
        slab.rows = rows;
        slab.memory = static_cast<Row*>(memory);
        slab.free_rows[0] = rows;
        slab.free_count = rows;
        return slab;
    }

    // False: not all of them are free.
    bool take(std::uint32_t first, std::uint32_t count) {
        auto extent = free_rows.upper_bound(first);
        if (extent == free_rows.begin()) return false;
        --extent;
        const auto [start, length] = *extent;
        if (first + count > start + length) return false;
        free_rows.erase(extent);
        if (first > start) free_rows[start] = first - start;
        if (start + length > first + count) free_rows[first + count] = start + length - first - count;
        free_count -= count;
        return true;
    }
    void give_back(std::uint32_t first, std::uint32_t count) {
        free_count += count;
        auto next = free_rows.lower_bound(first);
        if (next != free_rows.end() && next->first == first + count) {
            count += next->second;
            next = free_rows.erase(next);
        }
        if (next != free_rows.begin()) {
            auto previous = std::prev(next);
            if (previous->first + previous->second == first) {
                previous->second += count;
                return;
            }
        }
        free_rows[first] = count;
    }
    [[nodiscard]] bool empty() const { return free_count == rows; }

    [[nodiscard]] Tag tag(std::uint32_t block_row) const {
        Tag tag{};
        std::memcpy(&tag, memory + block_row - 1, sizeof(tag));
        return tag;
    }
    [[nodiscard]] bool holds(std::uint32_t block_row, std::uint64_t magic) const {
        if (block_row == 0 || block_row >= rows) return false;
        const Tag t = tag(block_row);
        return t.magic == magic && t.rows > 0 && t.rows <= rows - block_row;
    }
    [[nodiscard]] std::span<const std::byte> content(std::uint32_t block_row, std::uint32_t count) const {
        return std::as_bytes(std::span(memory + block_row, count));
    }
};

SlabArena::SlabArena(RawBpfMap outer, const Kind& kind)
    : outer_(std::make_shared<const RawBpfMap>(std::move(outer))), kind_(kind) {}
SlabArena::SlabArena(SlabArena&&) noexcept = default;
SlabArena& SlabArena::operator=(SlabArena&&) noexcept = default;
SlabArena::~SlabArena() = default;

Result<SlabArena> SlabArena::create_private(const std::string& map_name, const Kind& kind) {
    TRY_ASSIGN(const Fd inner, create_inner(kind, 1));
    TRY_ASSIGN(RawBpfMap outer, create_private_map({.name = map_name,
                                                    .type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
                                                    .key_size = sizeof(std::uint32_t),
                                                    .value_size = sizeof(std::uint32_t),
                                                    .max_entries = kSlabs,
                                                    .inner_map_fd = inner.get()}));
    return use(std::move(outer), kind);
}

Result<SlabArena> SlabArena::use(RawBpfMap outer, const Kind& kind) {
    if (outer.info().type != BPF_MAP_TYPE_ARRAY_OF_MAPS || outer.info().max_entries != kSlabs) {
        return fail(Code::kFailedPrecondition,
                    "map " + outer.info().name + ": not an array of " + std::to_string(kSlabs) + " maps");
    }
    SlabArena arena(std::move(outer), kind);
    TRY(arena.take_over());
    // The first slab is small and stays: it also serves to wait for grace periods.
    if (!arena.slabs_.contains(0)) TRY(arena.add_slab(1));
    return arena;
}

std::string SlabArena::place_text(SlabLocation location) const {
    return std::string(kind_.one) + " slab " + std::to_string(location.slab()) + ", row " +
           std::to_string(location.row());
}

Status SlabArena::take_over() {
    for (std::uint32_t index = 0; index < kSlabs; ++index) {
        std::uint32_t id = 0;
        if (auto found = outer_->lookup(&index, &id); !found) {
            if (found.error().code == Code::kNotFound) continue;
            return found;
        }
        const std::string name = std::string(kind_.one) + " slab " + std::to_string(index);
        Fd fd(::bpf_map_get_fd_by_id(id));
        if (!fd) return fail_errno("opening " + name + ", map id " + std::to_string(id));
        TRY_ASSIGN(const RawBpfMap inner, RawBpfMap::from_fd(std::move(fd), name));
        const BpfMapInfo& info = inner.info();
        if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != sizeof(Row) || info.flags != kInnerFlags ||
            info.max_entries > kMaxSlabRows) {
            return fail(Code::kFailedPrecondition, name + ": not an array of at most " + std::to_string(kMaxSlabRows) +
                                                       " rows that can be mapped");
        }
        Fd own(::fcntl(inner.fd(), F_DUPFD_CLOEXEC, 3));
        if (!own) return fail_errno("duplicating the descriptor of " + name);
        TRY_ASSIGN(Slab slab, Slab::map_memory(std::move(own), info.max_entries));
        slabs_.emplace(index, std::move(slab));
    }
    return {};
}

Status SlabArena::place_first(std::span<const std::byte> block) {
    const SlabLocation location(0, 1);
    const auto rows = static_cast<std::uint32_t>(block.size() / kRowBytes);
    Slab& slab = slabs_.at(0);
    if (!slab.take(0, rows + 1)) {
        return fail(Code::kFailedPrecondition,
                    std::string(kind_.one) + " slab 0 has no room for the first " + kind_.one);
    }
    live_[location] = {rows, false};
    first_ = location;
    // Unchanged where it is there already: programs read it.
    if (!slab.holds(location.row(), kind_.magic) ||
        std::memcmp(slab.memory + location.row(), block.data(), block.size()) != 0) {
        write(location, block);
    }
    return {};
}

std::uint64_t SlabArena::total_rows() const {
    std::uint64_t rows = 0;
    for (const auto& [index, slab] : slabs_) rows += slab.rows;
    return rows;
}

Result<std::uint32_t> SlabArena::add_slab(std::uint32_t rows_needed) {
    std::uint32_t index = 0;
    while (slabs_.contains(index)) ++index;
    if (index >= kSlabs)
        return fail(Code::kResourceExhausted,
                    std::string(kind_.many) + " fill all " + std::to_string(kSlabs) + " slabs");
    const std::uint64_t present = total_rows();
    const std::uint32_t least = std::bit_ceil(rows_needed);
    // Half of what is there already, so that the number of slabs stays far from its limit; less near the limit of
    // bytes.
    auto rows = static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(std::bit_floor(present / 2), std::max(least, kFirstSlabRows), kMaxSlabRows));
    while (rows > least && bytes_of(present + rows) > kind_.max_bytes) rows /= 2;
    if (bytes_of(present + rows) > kind_.max_bytes) {
        return fail(Code::kResourceExhausted,
                    std::string(kind_.many) + " need another " + std::to_string(bytes_of(rows)) + " bytes, " +
                        std::to_string(bytes_of(present)) + " of " + std::to_string(kind_.max_bytes) + " are taken");
    }
    TRY_ASSIGN(Fd fd, create_inner(kind_, rows));
    const int inner = fd.get();
    TRY_ASSIGN(Slab slab, Slab::map_memory(std::move(fd), rows));
    TRY(outer_->update(&index, &inner));
    slabs_.emplace(index, std::move(slab));
    return index;
}

std::optional<SlabLocation> SlabArena::find_room(std::uint32_t rows) const {
    for (const auto& [index, slab] : slabs_) {
        if (slab.closing || slab.free_count < rows) continue;
        for (const auto& [first, count] : slab.free_rows) {
            if (count >= rows) return SlabLocation(index, first + 1);
        }
    }
    return std::nullopt;
}

void SlabArena::write(SlabLocation location, std::span<const std::byte> block) {
    Row* at = slabs_.at(location.slab()).memory + location.row();
    const Tag tag{.magic = kind_.magic,
                  .digest = digest(block),
                  .rows = static_cast<std::uint32_t>(block.size() / kRowBytes),
                  .unused = {}};
    std::memcpy(at, block.data(), block.size());
    std::memcpy(at - 1, &tag, sizeof(tag));
}

Result<SlabLocation> SlabArena::place(std::span<const std::byte> block) {
    if (block.empty() || block.size() / kRowBytes > kMaxBlockRows) {
        return fail(Code::kInvalidArgument, "a " + std::string(kind_.one) + " of " + std::to_string(block.size()) +
                                                " bytes cannot be placed: at most " +
                                                std::to_string(bytes_of(kMaxBlockRows)) + " are possible");
    }
    const auto rows = static_cast<std::uint32_t>(block.size() / kRowBytes);
    auto location = find_room(rows + 1);
    if (!location) {
        TRY_ASSIGN(const std::uint32_t index, add_slab(rows + 1));
        location = SlabLocation(index, 1);
    }
    slabs_.at(location->slab()).take(location->row() - 1, rows + 1);
    live_[*location] = {rows, false};
    write(*location, block);
    return *location;
}

Status SlabArena::adopt(SlabLocation location) {
    if (live_.contains(location)) return {};
    const auto slab = slabs_.find(location.slab());
    if (slab == slabs_.end() || !slab->second.holds(location.row(), kind_.magic))
        return fail(Code::kNotFound, place_text(location) + ": there is no " + kind_.one);
    const Tag tag = slab->second.tag(location.row());
    if (digest(slab->second.content(location.row(), tag.rows)) != tag.digest)
        return fail(Code::kDataLoss,
                    place_text(location) + ": the content of the " + kind_.one + " does not fit its digest");
    if (!slab->second.take(location.row() - 1, tag.rows + 1))
        return fail(Code::kDataLoss, place_text(location) + ": overlaps another " + kind_.one);
    live_[location] = {tag.rows, false};
    return {};
}

Result<std::span<const std::byte>> SlabArena::block(SlabLocation location) const {
    const auto found = live_.find(location);
    if (found == live_.end()) return fail(Code::kNotFound, place_text(location) + ": no " + kind_.one + " in use");
    return slabs_.at(location.slab()).content(location.row(), found->second.rows);
}

std::uint64_t SlabArena::digest(std::span<const std::byte> block) {
    std::uint64_t hash = 0xcbf29ce484222325ULL ^ (block.size() / kRowBytes);
    for (std::size_t at = 0; at + sizeof(hash) <= block.size(); at += sizeof(hash)) {
        std::uint64_t word = 0;
        std::memcpy(&word, block.data() + at, sizeof(word));
        hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
        hash ^= hash >> 32;
    }
    return hash;
}

Result<std::uint64_t> SlabArena::digest(SlabLocation location) const {
    if (!live_.contains(location)) return fail(Code::kNotFound, place_text(location) + ": no " + kind_.one + " in use");
    return slabs_.at(location.slab()).tag(location.row()).digest;
}

void SlabArena::retire(SlabLocation location) {
    const auto found = live_.find(location);
    if (location == first_ || found == live_.end() || found->second.retired) return;
    found->second.retired = true;
    retired_.push_back(location);
    if (retired_.size() == 1 && retired_callback_) retired_callback_();
}

SlabArena::Retired SlabArena::take_retired() {
    Retired batch;
    batch.blocks_ = std::exchange(retired_, {});
    batch.outer_ = outer_;
    batch.first_slab_ = slabs_.at(0).fd;
    // Empty slabs go, but for the largest: the next change wants room for both its old and its new blocks.
    std::vector<std::uint32_t> empty;
    for (const auto& [index, slab] : slabs_) {
        if (index != 0 && slab.empty() && !slab.closing) empty.push_back(index);
    }
    std::ranges::sort(empty, std::greater(), [this](std::uint32_t index) { return slabs_.at(index).rows; });
    for (std::size_t i = 1; i < empty.size(); ++i) {
        slabs_.at(empty[i]).closing = true;
        batch.slabs_.push_back(empty[i]);
    }
    return batch;
}

// Changing an array of maps returns to user space only when no program can have seen it as it was before.
Status SlabArena::Retired::wait() const {
    for (const std::uint32_t index : slabs_) TRY(outer_->erase(&index));
    const std::uint32_t first = 0;
    const int fd = first_slab_->get();
    return outer_->update(&first, &fd);
}

void SlabArena::free(const Retired& retired) {
    for (const SlabLocation location : retired.blocks_) {
        const auto found = live_.extract(location);
        if (!found) continue;
        Slab& slab = slabs_.at(location.slab());
        // Nobody is to take it for a block again.
        std::memset(slab.memory + location.row() - 1, 0, sizeof(Tag));
        slab.give_back(location.row() - 1, found.mapped().rows + 1);
    }
    for (const std::uint32_t index : retired.slabs_) slabs_.erase(index);
}

SlabArena::Usage SlabArena::usage() const {
    Usage usage{.max_bytes = kind_.max_bytes, .slabs = slabs_.size(), .blocks = live_.size()};
    for (const auto& [index, slab] : slabs_) {
        usage.bytes += bytes_of(slab.rows);
        usage.used_bytes += bytes_of(slab.rows - slab.free_count);
    }
    return usage;
}

}  // namespace axo
