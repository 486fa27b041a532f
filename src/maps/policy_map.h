// cilium_policy_slabs: the memory that compiled policies lie in (bpf/api/policy.h), and who has which part of it.
//
// A slab is an inner array of the map, mapped into this process: placing an image is a copy, without a system call.
// What is retired may still be read by a program that took the reference a moment ago, so it is used again only after
// the kernel's grace period:
//
//     place -> Generations::set_policy -> retire(the old one) -> take_retired -> wait (blocks) -> free
//
// In front of each image stands one row that only user space reads: how long the image is, and a digest of it. So an
// agent that starts can tell from an endpoint's reference alone what is in force there.
// Thread: one at a time; Retired::wait any.
#pragma once

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

// Where an image lies: a policy reference without its flags.
struct PolicyLocation {
    std::uint32_t value = 0;

    constexpr PolicyLocation() = default;
    constexpr PolicyLocation(std::uint32_t slab, std::uint32_t row)
        : value(slab << POLICY_REF_SLAB_SHIFT | row << POLICY_REF_ROW_SHIFT) {}
    static constexpr PolicyLocation of_reference(std::uint32_t reference) {
        PolicyLocation location;
        location.value = reference & ~((1U << POLICY_REF_ROW_SHIFT) - 1);
        return location;
    }
    // flags: POLICY_REF_F_INGRESS, _EGRESS, _AUDIT.
    [[nodiscard]] constexpr std::uint32_t reference(std::uint32_t flags) const {
        return value | POLICY_REF_F_READY | flags;
    }
    [[nodiscard]] constexpr std::uint32_t slab() const { return value >> POLICY_REF_SLAB_SHIFT; }
    [[nodiscard]] constexpr std::uint32_t row() const { return value >> POLICY_REF_ROW_SHIFT & POLICY_REF_ROW_MASK; }
    friend constexpr auto operator<=>(PolicyLocation, PolicyLocation) = default;
};

class PolicySlabs {
public:
    static constexpr std::uint64_t kDefaultMaxBytes = 128ULL << 20;
    // The largest image: 32 MiB less the row in front of it.
    static constexpr std::uint32_t kMaxImageRows = POLICY_REF_ROW_MASK;

    // max_bytes: of all slabs together. Slabs that are there already are taken over whatever their size; images in them
    // count as free until adopt() names them.
    static Result<PolicySlabs> open(const std::string& pin_path, std::uint64_t max_bytes = kDefaultMaxBytes);
    // A map of the same layout that nobody else sees; for tests.
    static Result<PolicySlabs> create_private(std::uint64_t max_bytes = kDefaultMaxBytes);
    // Slabs in an array of maps that the caller keeps open; for tests of programs.
    static Result<PolicySlabs> use(RawBpfMap outer, std::uint64_t max_bytes = kDefaultMaxBytes);
    PolicySlabs(PolicySlabs&&) noexcept;
    PolicySlabs& operator=(PolicySlabs&&) noexcept;
    ~PolicySlabs();

    // The image that enforces nothing; always there, never retired.
    [[nodiscard]] static constexpr PolicyLocation open_policy() { return {0, 1}; }

    // Copies the image into free rows. Equal images are not looked for: that is the caller's business. A new slab costs
    // a grace period (10 ms). kResourceExhausted names bytes wanted and allowed, kInvalidArgument an image that is
    // empty or larger than a slab can be; then nothing has changed.
    Result<PolicyLocation> place(std::span<const policy_row> image);
    // An image that was in force before this process started: its rows are in use from now on. kNotFound when there is
    // none at this place, kDataLoss when its content does not fit its digest. Once is enough; again is success.
    Status adopt(PolicyLocation location);
    // Of placed and adopted images, readable until retired. kNotFound for any other location.
    [[nodiscard]] Result<std::span<const policy_row>> image(PolicyLocation location) const;
    // The digest that images of this content carry, and that of an image in use: equal content is equal digests.
    static std::uint64_t digest(std::span<const policy_row> image);
    [[nodiscard]] Result<std::uint64_t> digest(PolicyLocation location) const;

    // No reference to it is left. Its rows stay as they are until they are freed.
    void retire(PolicyLocation location);
    // A batch of retired images. Thread of wait: any, it does not touch the slabs.
    class Retired {
    public:
        Status wait() const;  // one grace period of the kernel: 8 to 30 ms
        [[nodiscard]] bool empty() const { return images_.empty() && slabs_.empty(); }

    private:
        friend class PolicySlabs;
        std::vector<PolicyLocation> images_;
        std::vector<std::uint32_t> slabs_;  // empty ones that are taken out of the map
        std::shared_ptr<const RawBpfMap> outer_;
        std::shared_ptr<const Fd> first_slab_;
    };
    // What has been retired since the last call.
    Retired take_retired();
    // Makes the batch's rows free. Only after its wait() has returned; a failed wait leaves them in use: pass them here
    // again after another attempt.
    void free(const Retired& retired);
    // Called by retire() when the first image since the last take_retired waits to be freed.
    void set_retire_callback(std::function<void()> callback) { retired_callback_ = std::move(callback); }

    struct Usage {
        std::uint64_t bytes = 0;       // kernel memory of all slabs
        std::uint64_t used_bytes = 0;  // of them in images, retired ones too
        std::uint64_t max_bytes = 0;
        std::size_t slabs = 0;
        std::size_t images = 0;  // in use, the open one too
    };
    [[nodiscard]] Usage usage() const;
    [[nodiscard]] const RawBpfMap& raw() const { return *outer_; }

private:
    struct Slab;
    PolicySlabs(RawBpfMap outer, std::uint64_t max_bytes);
    Status take_over();
    Status place_open_policy();
    Result<std::uint32_t> add_slab(std::uint32_t rows_needed);
    [[nodiscard]] std::optional<PolicyLocation> find_room(std::uint32_t rows) const;
    PolicyLocation write(PolicyLocation location, std::span<const policy_row> image);
    [[nodiscard]] std::uint64_t total_rows() const;

    std::shared_ptr<const RawBpfMap> outer_;
    std::uint64_t max_bytes_ = kDefaultMaxBytes;
    std::map<std::uint32_t, Slab> slabs_;
    std::map<PolicyLocation, std::uint32_t> live_;  // -> rows, without the one in front
    std::vector<PolicyLocation> retired_;
    std::function<void()> retired_callback_;
};

}  // namespace axo
