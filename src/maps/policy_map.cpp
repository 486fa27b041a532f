#include "maps/policy_map.h"

namespace axo {
namespace {

static_assert(sizeof(policy_row) == SlabArena::kRowBytes);

SlabArena::Kind kind(std::uint64_t max_bytes) {
    return {.one = "policy",
            .many = "policies",
            .kernel_name = "axo_policy_slab",
            .magic = 0x41584f504f4c4331,  // "AXOPOLC1"
            .max_bytes = max_bytes};
}

}  // namespace

Result<PolicySlabs> PolicySlabs::with_open_policy(SlabArena arena) {
    const policy_row nothing[2] = {};
    TRY(arena.place_first(std::as_bytes(std::span(nothing))));
    return PolicySlabs(std::move(arena));
}

Result<PolicySlabs> PolicySlabs::open(const std::string& pin_path, std::uint64_t max_bytes) {
    TRY_ASSIGN(RawBpfMap outer, RawBpfMap::open_pinned(pin_path));
    return use(std::move(outer), max_bytes);
}

Result<PolicySlabs> PolicySlabs::create_private(std::uint64_t max_bytes) {
    TRY_ASSIGN(SlabArena arena, SlabArena::create_private("cilium_policy_slabs", kind(max_bytes)));
    return with_open_policy(std::move(arena));
}

Result<PolicySlabs> PolicySlabs::use(RawBpfMap outer, std::uint64_t max_bytes) {
    TRY_ASSIGN(SlabArena arena, SlabArena::use(std::move(outer), kind(max_bytes)));
    return with_open_policy(std::move(arena));
}

Result<PolicyLocation> PolicySlabs::place(std::span<const policy_row> image) {
    TRY_ASSIGN(const SlabLocation location, arena_.place(std::as_bytes(image)));
    return PolicyLocation(location);
}

Result<std::span<const policy_row>> PolicySlabs::image(PolicyLocation location) const {
    TRY_ASSIGN(const auto block, arena_.block(location));
    return std::span(reinterpret_cast<const policy_row*>(block.data()), block.size() / sizeof(policy_row));
}

PolicySlabs::Usage PolicySlabs::usage() const {
    const SlabArena::Usage usage = arena_.usage();
    return {.bytes = usage.bytes,
            .used_bytes = usage.used_bytes,
            .max_bytes = usage.max_bytes,
            .slabs = usage.slabs,
            .images = usage.blocks};
}

}  // namespace axo
