// cilium_policy_slabs: the memory that compiled policies lie in (bpf/api/policy.h), and who has which part of it.
//
// A SlabArena of images with the image that enforces nothing in front. The order of things:
//
//     place -> Generations::set_policy -> retire(the old one) -> take_retired -> wait (blocks) -> free
//
// Thread: one at a time; Retired::wait any.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "bpf/api/policy.h"
#include "maps/slab_arena.h"

namespace axo {

// Where an image lies: a policy reference without its flags.
struct PolicyLocation : SlabLocation {
    using SlabLocation::SlabLocation;
    constexpr PolicyLocation(SlabLocation location) : SlabLocation(location) {}  // NOLINT(google-explicit-constructor)
    static constexpr PolicyLocation of_reference(std::uint32_t reference) { return SlabLocation::of(reference); }
    // flags: POLICY_REF_F_INGRESS, _EGRESS, _AUDIT.
    [[nodiscard]] constexpr std::uint32_t reference(std::uint32_t flags) const {
        return value | POLICY_REF_F_READY | flags;
    }
};

class PolicySlabs {
public:
    static constexpr std::uint64_t kDefaultMaxBytes = 128ULL << 20;
    static constexpr std::uint32_t kMaxImageRows = SlabArena::kMaxBlockRows;

    // max_bytes: of all slabs together. Slabs that are there already are taken over whatever their size; images in them
    // count as free until adopt() names them.
    static Result<PolicySlabs> open(const std::string& pin_path, std::uint64_t max_bytes = kDefaultMaxBytes);
    // A map of the same layout that nobody else sees; for tests.
    static Result<PolicySlabs> create_private(std::uint64_t max_bytes = kDefaultMaxBytes);
    // Slabs in an array of maps that the caller keeps open; for tests of programs.
    static Result<PolicySlabs> use(RawBpfMap outer, std::uint64_t max_bytes = kDefaultMaxBytes);

    // The image that enforces nothing; always there, never retired.
    [[nodiscard]] static constexpr PolicyLocation open_policy() { return {0, 1}; }

    // As the arena's functions of the same names.
    Result<PolicyLocation> place(std::span<const policy_row> image);
    Status adopt(PolicyLocation location) { return arena_.adopt(location); }
    [[nodiscard]] Result<std::span<const policy_row>> image(PolicyLocation location) const;
    static std::uint64_t digest(std::span<const policy_row> image) { return SlabArena::digest(std::as_bytes(image)); }
    [[nodiscard]] Result<std::uint64_t> digest(PolicyLocation location) const { return arena_.digest(location); }
    void retire(PolicyLocation location) { arena_.retire(location); }
    using Retired = SlabArena::Retired;
    Retired take_retired() { return arena_.take_retired(); }
    void free(const Retired& retired) { arena_.free(retired); }
    void set_retire_callback(std::function<void()> callback) { arena_.set_retire_callback(std::move(callback)); }

    struct Usage {
        std::uint64_t bytes = 0;       // kernel memory of all slabs
        std::uint64_t used_bytes = 0;  // of them in images, retired ones too
        std::uint64_t max_bytes = 0;
        std::size_t slabs = 0;
        std::size_t images = 0;  // in use, the open one too
    };
    [[nodiscard]] Usage usage() const;
    [[nodiscard]] const RawBpfMap& raw() const { return arena_.raw(); }

private:
    explicit PolicySlabs(SlabArena arena) : arena_(std::move(arena)) {}
    static Result<PolicySlabs> with_open_policy(SlabArena arena);
    SlabArena arena_;
};

}  // namespace axo
