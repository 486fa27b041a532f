#include "maps/policy_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "maps/private_map.h"

namespace axo {
namespace {

constexpr std::uint32_t kFirstSlabRows = 65536 / sizeof(policy_row);
constexpr std::uint32_t kMaxSlabRows = POLICY_REF_ROW_MASK + 1;
constexpr std::uint32_t kInnerFlags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
constexpr std::uint64_t kTagMagic = 0x41584f504f4c4331;  // "AXOPOLC1": changes with the layout of images

// The row in front of an image.
struct ImageTag {
    std::uint64_t magic;
    std::uint64_t digest;
    std::uint32_t rows;
    std::uint32_t unused[3];
};
static_assert(sizeof(ImageTag) == sizeof(policy_row));

std::uint64_t bytes_of(std::uint64_t rows) {
    return rows * sizeof(policy_row);
}

Result<Fd> create_inner(std::uint32_t rows) {
    LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = kInnerFlags;
    Fd fd(::bpf_map_create(BPF_MAP_TYPE_ARRAY, "axo_policy_slab", sizeof(std::uint32_t), sizeof(policy_row), rows,
                           &options));
    if (!fd) return fail_errno("creating a policy slab of " + std::to_string(bytes_of(rows)) + " bytes");
    return fd;
}

std::string place_text(PolicyLocation location) {
    return "policy slab " + std::to_string(location.slab()) + ", row " + std::to_string(location.row());
}

}  // namespace

struct PolicySlabs::Slab {
    std::shared_ptr<const Fd> fd;
    std::uint32_t rows = 0;
    policy_row* memory = nullptr;
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
        if (memory == MAP_FAILED)
            return fail_errno("mapping a policy slab of " + std::to_string(bytes_of(rows)) + " bytes");
        slab.fd = std::make_shared<const Fd>(std::move(fd));
        slab.rows = rows;
        slab.memory = static_cast<policy_row*>(memory);
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

    [[nodiscard]] ImageTag tag(std::uint32_t image_row) const {
        ImageTag tag{};
        std::memcpy(&tag, memory + image_row - 1, sizeof(tag));
        return tag;
    }
    [[nodiscard]] bool holds(std::uint32_t image_row) const {
        if (image_row == 0 || image_row >= rows) return false;
        const ImageTag t = tag(image_row);
        return t.magic == kTagMagic && t.rows > 0 && t.rows <= rows - image_row;
    }
};

PolicySlabs::PolicySlabs(RawBpfMap outer, std::uint64_t max_bytes)
    : outer_(std::make_shared<const RawBpfMap>(std::move(outer))), max_bytes_(max_bytes) {}
PolicySlabs::PolicySlabs(PolicySlabs&&) noexcept = default;
PolicySlabs& PolicySlabs::operator=(PolicySlabs&&) noexcept = default;
PolicySlabs::~PolicySlabs() = default;

Result<PolicySlabs> PolicySlabs::open(const std::string& pin_path, std::uint64_t max_bytes) {
    TRY_ASSIGN(RawBpfMap outer, RawBpfMap::open_pinned(pin_path));
    return use(std::move(outer), max_bytes);
}

Result<PolicySlabs> PolicySlabs::create_private(std::uint64_t max_bytes) {
    TRY_ASSIGN(const Fd inner, create_inner(1));
    TRY_ASSIGN(RawBpfMap outer, create_private_map({.name = "cilium_policy_slabs",
                                                    .type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
                                                    .key_size = sizeof(std::uint32_t),
                                                    .value_size = sizeof(std::uint32_t),
                                                    .max_entries = POLICY_SLABS,
                                                    .inner_map_fd = inner.get()}));
    return use(std::move(outer), max_bytes);
}

Result<PolicySlabs> PolicySlabs::use(RawBpfMap outer, std::uint64_t max_bytes) {
    if (outer.info().type != BPF_MAP_TYPE_ARRAY_OF_MAPS || outer.info().max_entries != POLICY_SLABS) {
        return fail(Code::kFailedPrecondition,
                    "map " + outer.info().name + ": not an array of " + std::to_string(POLICY_SLABS) + " maps");
    }
    PolicySlabs slabs(std::move(outer), max_bytes);
    TRY(slabs.take_over());
    TRY(slabs.place_open_policy());
    return slabs;
}

Status PolicySlabs::take_over() {
    for (std::uint32_t index = 0; index < POLICY_SLABS; ++index) {
        std::uint32_t id = 0;
        if (auto found = outer_->lookup(&index, &id); !found) {
            if (found.error().code == Code::kNotFound) continue;
            return found;
        }
        const std::string name = "policy slab " + std::to_string(index);
        Fd fd(::bpf_map_get_fd_by_id(id));
        if (!fd) return fail_errno("opening " + name + ", map id " + std::to_string(id));
        TRY_ASSIGN(const RawBpfMap inner, RawBpfMap::from_fd(std::move(fd), name));
        const BpfMapInfo& info = inner.info();
        if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != sizeof(policy_row) || info.flags != kInnerFlags ||
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

Status PolicySlabs::place_open_policy() {
    const policy_row nothing[2] = {};
    // The first slab is small and stays: it also serves to wait for grace periods.
    if (!slabs_.contains(0)) TRY(add_slab(3));
    Slab& first = slabs_.at(0);
    if (first.rows < 3) return fail(Code::kFailedPrecondition, "policy slab 0 has no room for the open policy");
    first.take(0, 3);
    live_[open_policy()] = 2;
    // Unchanged where it is there already: programs read it.
    if (!first.holds(open_policy().row()) || std::memcmp(first.memory + 1, nothing, sizeof(nothing)) != 0)
        write(open_policy(), nothing);
    return {};
}

std::uint64_t PolicySlabs::total_rows() const {
    std::uint64_t rows = 0;
    for (const auto& [index, slab] : slabs_) rows += slab.rows;
    return rows;
}

Result<std::uint32_t> PolicySlabs::add_slab(std::uint32_t rows_needed) {
    std::uint32_t index = 0;
    while (slabs_.contains(index)) ++index;
    if (index >= POLICY_SLABS)
        return fail(Code::kResourceExhausted, "policies fill all " + std::to_string(POLICY_SLABS) + " slabs");
    const std::uint64_t present = total_rows();
    const std::uint32_t least = std::bit_ceil(rows_needed);
    // Half of what is there already, so that the number of slabs stays far from its limit; less near the limit of
    // bytes.
    auto rows = static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(std::bit_floor(present / 2), std::max(least, kFirstSlabRows), kMaxSlabRows));
    while (rows > least && bytes_of(present + rows) > max_bytes_) rows /= 2;
    if (bytes_of(present + rows) > max_bytes_) {
        return fail(Code::kResourceExhausted, "policies need another " + std::to_string(bytes_of(rows)) + " bytes, " +
                                                  std::to_string(bytes_of(present)) + " of " +
                                                  std::to_string(max_bytes_) + " are taken");
    }
    TRY_ASSIGN(Fd fd, create_inner(rows));
    const int inner = fd.get();
    TRY_ASSIGN(Slab slab, Slab::map_memory(std::move(fd), rows));
    TRY(outer_->update(&index, &inner));
    slabs_.emplace(index, std::move(slab));
    return index;
}

std::optional<PolicyLocation> PolicySlabs::find_room(std::uint32_t rows) const {
    for (const auto& [index, slab] : slabs_) {
        if (slab.closing || slab.free_count < rows) continue;
        for (const auto& [first, count] : slab.free_rows) {
            if (count >= rows) return PolicyLocation(index, first + 1);
        }
    }
    return std::nullopt;
}

PolicyLocation PolicySlabs::write(PolicyLocation location, std::span<const policy_row> image) {
    policy_row* at = slabs_.at(location.slab()).memory + location.row();
    const ImageTag tag{
        .magic = kTagMagic, .digest = digest(image), .rows = static_cast<std::uint32_t>(image.size()), .unused = {}};
    std::memcpy(at, image.data(), image.size_bytes());
    std::memcpy(at - 1, &tag, sizeof(tag));
    return location;
}

Result<PolicyLocation> PolicySlabs::place(std::span<const policy_row> image) {
    if (image.empty() || image.size() > kMaxImageRows) {
        return fail(Code::kInvalidArgument, "a policy of " + std::to_string(image.size_bytes()) +
                                                " bytes cannot be placed: at most " +
                                                std::to_string(bytes_of(kMaxImageRows)) + " are possible");
    }
    const auto rows = static_cast<std::uint32_t>(image.size()) + 1;
    auto location = find_room(rows);
    if (!location) {
        TRY_ASSIGN(const std::uint32_t index, add_slab(rows));
        location = PolicyLocation(index, 1);
    }
    slabs_.at(location->slab()).take(location->row() - 1, rows);
    live_[*location] = rows - 1;
    return write(*location, image);
}

Status PolicySlabs::adopt(PolicyLocation location) {
    if (live_.contains(location)) return {};
    const auto slab = slabs_.find(location.slab());
    if (slab == slabs_.end() || !slab->second.holds(location.row()))
        return fail(Code::kNotFound, place_text(location) + ": there is no policy");
    const ImageTag tag = slab->second.tag(location.row());
    if (digest(std::span(slab->second.memory + location.row(), tag.rows)) != tag.digest)
        return fail(Code::kDataLoss, place_text(location) + ": the policy's content does not fit its digest");
    if (!slab->second.take(location.row() - 1, tag.rows + 1))
        return fail(Code::kDataLoss, place_text(location) + ": overlaps another policy");
    live_[location] = tag.rows;
    return {};
}

Result<std::span<const policy_row>> PolicySlabs::image(PolicyLocation location) const {
    const auto found = live_.find(location);
    if (found == live_.end()) return fail(Code::kNotFound, place_text(location) + ": no policy in use");
    return std::span<const policy_row>(slabs_.at(location.slab()).memory + location.row(), found->second);
}

std::uint64_t PolicySlabs::digest(std::span<const policy_row> image) {
    std::uint64_t hash = 0xcbf29ce484222325ULL ^ image.size();
    for (const policy_row& row : image) {
        for (const std::uint64_t word : row.rules) {
            hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
            hash ^= hash >> 32;
        }
    }
    return hash;
}

Result<std::uint64_t> PolicySlabs::digest(PolicyLocation location) const {
    if (!live_.contains(location)) return fail(Code::kNotFound, place_text(location) + ": no policy in use");
    return slabs_.at(location.slab()).tag(location.row()).digest;
}

void PolicySlabs::retire(PolicyLocation location) {
    if (location == open_policy() || !live_.contains(location)) return;
    if (std::ranges::find(retired_, location) != retired_.end()) return;
    retired_.push_back(location);
    if (retired_.size() == 1 && retired_callback_) retired_callback_();
}

PolicySlabs::Retired PolicySlabs::take_retired() {
    Retired batch;
    batch.images_ = std::exchange(retired_, {});
    batch.outer_ = outer_;
    batch.first_slab_ = slabs_.at(0).fd;
    // Empty slabs go, but for the largest: the next change wants room for both its old and its new images.
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
Status PolicySlabs::Retired::wait() const {
    for (const std::uint32_t index : slabs_) TRY(outer_->erase(&index));
    const std::uint32_t first = 0;
    const int fd = first_slab_->get();
    return outer_->update(&first, &fd);
}

void PolicySlabs::free(const Retired& retired) {
    for (const PolicyLocation location : retired.images_) {
        const auto found = live_.extract(location);
        if (!found) continue;
        Slab& slab = slabs_.at(location.slab());
        // Nobody is to take it for an image again.
        std::memset(slab.memory + location.row() - 1, 0, sizeof(ImageTag));
        slab.give_back(location.row() - 1, found.mapped() + 1);
    }
    for (const std::uint32_t index : retired.slabs_) slabs_.erase(index);
}

PolicySlabs::Usage PolicySlabs::usage() const {
    Usage usage{.max_bytes = max_bytes_, .slabs = slabs_.size(), .images = live_.size()};
    for (const auto& [index, slab] : slabs_) {
        usage.bytes += bytes_of(slab.rows);
        usage.used_bytes += bytes_of(slab.rows - slab.free_count);
    }
    return usage;
}

}  // namespace axo
