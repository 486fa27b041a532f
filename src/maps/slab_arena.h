// Memory that programs read and this process writes: rows of 32 bytes in slabs, and who has which of them.
//
// A slab is an inner array of an array of maps, mapped into this process: placing something is a copy, without a system
// call. What is retired may still be read by a program that took its location a moment ago, so its rows are used again
// only after the kernel's grace period:
//
//     place -> publish the location -> retire(the old one) -> take_retired -> wait (blocks) -> free
//
// In front of each block stands one row that only user space reads: how long the block is, and a digest of it. So an
// agent that starts can tell from a location alone what lies there.
// Thread: one at a time; Retired::wait any.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/api/policy.h"
#include "kernel/bpf_map.h"

namespace axo {

// Where a block begins, as programs are told: slab << 26 | row << 6.
struct SlabLocation {
    std::uint32_t value = 0;

    constexpr SlabLocation() = default;
    constexpr SlabLocation(std::uint32_t slab, std::uint32_t row)
        : value(slab << POLICY_REF_SLAB_SHIFT | row << POLICY_REF_ROW_SHIFT) {}
    // The low six bits, which users of locations have for themselves, are cleared.
    static constexpr SlabLocation of(std::uint32_t reference) {
        SlabLocation location;
        location.value = reference & ~((1U << POLICY_REF_ROW_SHIFT) - 1);
        return location;
    }
    [[nodiscard]] constexpr std::uint32_t slab() const { return value >> POLICY_REF_SLAB_SHIFT; }
    [[nodiscard]] constexpr std::uint32_t row() const { return value >> POLICY_REF_ROW_SHIFT & POLICY_REF_ROW_MASK; }
    friend constexpr auto operator<=>(SlabLocation, SlabLocation) = default;
};

class SlabArena {
public:
    static constexpr std::size_t kRowBytes = 32;
    static constexpr std::uint32_t kSlabs = POLICY_SLABS;
    // The largest block: 32 MiB less the row in front of it.
    static constexpr std::uint32_t kMaxBlockRows = POLICY_REF_ROW_MASK;

    // What lies here, for errors and the kernel's names of maps.
    struct Kind {
        const char* one;          // "policy"
        const char* many;         // "policies"
        const char* kernel_name;  // at most 15 characters
        std::uint64_t magic;      // changes with the layout of the content
        std::uint64_t max_bytes;  // of all slabs together
    };

    // Slabs that are there already are taken over whatever their size; blocks in them count as free until adopt() names
    // them.
    static Result<SlabArena> use(RawBpfMap outer, const Kind& kind);
    // A map of the same layout that nobody else sees; for tests.
    static Result<SlabArena> create_private(const std::string& map_name, const Kind& kind);
    SlabArena(SlabArena&&) noexcept;
    SlabArena& operator=(SlabArena&&) noexcept;
    ~SlabArena();

    // Copies the block, whole rows, into free ones. Equal blocks are not looked for: that is the caller's business. A
    // new slab costs a grace period (10 ms). kResourceExhausted names bytes wanted and allowed, kInvalidArgument a
    // block that is empty or larger than a slab can be; then nothing has changed.
    Result<SlabLocation> place(std::span<const std::byte> block);
    // A block that always lies in slab 0, behind the row in front of it; before anything is placed. It is never retired
    // and not written when it is there already.
    Status place_first(std::span<const std::byte> block);
    // A block that was in use before this process started: its rows are in use from now on. kNotFound when there is
    // none at this place, kDataLoss when its content does not fit its digest. Once is enough; again is success.
    Status adopt(SlabLocation location);
    // Of placed and adopted blocks, readable until freed. kNotFound for any other location.
    [[nodiscard]] Result<std::span<const std::byte>> block(SlabLocation location) const;
    // The digest that blocks of this content carry, and that of a block in use: equal content is equal digests.
    static std::uint64_t digest(std::span<const std::byte> block);
    [[nodiscard]] Result<std::uint64_t> digest(SlabLocation location) const;

    // Nobody is told of it any more. Its rows stay as they are until they are freed.
    void retire(SlabLocation location);
    // A batch of retired blocks. Thread of wait: any, it does not touch the arena.
    class Retired {
    public:
        Status wait() const;  // one grace period of the kernel: 8 to 30 ms
        [[nodiscard]] bool empty() const { return blocks_.empty() && slabs_.empty(); }

    private:
        friend class SlabArena;
        std::vector<SlabLocation> blocks_;
        std::vector<std::uint32_t> slabs_;  // empty ones that are taken out of the map
        std::shared_ptr<const RawBpfMap> outer_;
        std::shared_ptr<const Fd> first_slab_;
    };
    // What has been retired since the last call.
    Retired take_retired();
    // Makes the batch's rows free. Only after its wait() has returned; a failed wait leaves them in use: pass them here
    // again after another attempt.
    void free(const Retired& retired);
    // Called by retire() when the first block since the last take_retired waits to be freed.
    void set_retire_callback(std::function<void()> callback) { retired_callback_ = std::move(callback); }

    struct Usage {
        std::uint64_t bytes = 0;       // kernel memory of all slabs
        std::uint64_t used_bytes = 0;  // of them in blocks, retired ones too
        std::uint64_t max_bytes = 0;
        std::size_t slabs = 0;
        std::size_t blocks = 0;  // in use, the first one too
    };
    [[nodiscard]] Usage usage() const;
    [[nodiscard]] const RawBpfMap& raw() const { return *outer_; }

private:
    struct Slab;
    struct Live {
        std::uint32_t rows = 0;  // without the one in front
        bool retired = false;
    };
    SlabArena(RawBpfMap outer, const Kind& kind);
    Status take_over();
    Result<std::uint32_t> add_slab(std::uint32_t rows_needed);
    [[nodiscard]] std::optional<SlabLocation> find_room(std::uint32_t rows) const;
    void write(SlabLocation location, std::span<const std::byte> block);
    [[nodiscard]] std::uint64_t total_rows() const;
    [[nodiscard]] std::string place_text(SlabLocation location) const;

    std::shared_ptr<const RawBpfMap> outer_;
    Kind kind_;
    std::map<std::uint32_t, Slab> slabs_;
    std::map<SlabLocation, Live> live_;
    std::optional<SlabLocation> first_;
    std::vector<SlabLocation> retired_;
    std::function<void()> retired_callback_;
};

}  // namespace axo
