#include "features/identity/allocator.h"

#include <array>
#include <utility>

namespace axo {
namespace {

constexpr std::array<std::pair<std::string_view, IdentityId>, 11> kReserved = {{
    {"unknown", identity::kUnknown},
    {"host", identity::kHost},
    {"world", identity::kWorld},
    {"unmanaged", identity::kUnmanaged},
    {"health", identity::kHealth},
    {"init", identity::kInit},
    {"remote-node", identity::kRemoteNode},
    {"kube-apiserver", identity::kKubeApiServer},
    {"ingress", identity::kIngress},
    {"world-ipv4", identity::kWorldIpv4},
    {"world-ipv6", identity::kWorldIpv6},
}};

}  // namespace

std::optional<IdentityId> reserved_identity_by_name(std::string_view name) {
    for (const auto& [known, id] : kReserved) {
        if (known == name) return id;
    }
    return std::nullopt;
}

std::string_view reserved_identity_name(IdentityId id) {
    for (const auto& [name, known] : kReserved) {
        if (known == id) return name;
    }
    return {};
}

std::optional<IdentityId> reserved_identity(const LabelSet& labels) {
    if (!labels.has_reserved()) return std::nullopt;
    if (labels.has_reserved("host")) return identity::kHost;
    if (labels.has_reserved("remote-node")) {
        return labels.has_reserved("kube-apiserver") ? identity::kKubeApiServer : identity::kRemoteNode;
    }
    if (labels.size() != 1) return std::nullopt;
    const auto id = reserved_identity_by_name(labels.begin()->key);
    return id && *id != identity::kUnknown ? id : std::nullopt;
}

LabelSet reserved_labels(IdentityId id) {
    const std::string_view name = reserved_identity_name(id);
    if (name.empty()) return {};
    LabelSet labels = LabelSet::reserved(name);
    if (id == identity::kKubeApiServer) labels.merge(LabelSet::reserved("remote-node"));
    return labels;
}

Result<IdentityId> choose_identity(const KnownIdentities& known, const std::set<IdentityId>& excluded,
                                   const RandomSource& random) {
    constexpr std::uint32_t kCount = identity::kClusterMax - identity::kClusterMin + 1;
    const auto free = [&](IdentityId id) { return !excluded.contains(id) && !known.is_used(id); };
    // Nearly empty range: a few throws find a free number without bias; nearly full: walk from a random start.
    for (int i = 0; i < 8; ++i) {
        const IdentityId id{identity::kClusterMin + static_cast<std::uint32_t>(random() % kCount)};
        if (free(id)) return id;
    }
    const auto start = static_cast<std::uint32_t>(random() % kCount);
    for (std::uint32_t i = 0; i < kCount; ++i) {
        const IdentityId id{identity::kClusterMin + (start + i) % kCount};
        if (free(id)) return id;
    }
    return fail(Code::kResourceExhausted,
                "no free security identity: all of " + std::to_string(identity::kClusterMin) + ".." +
                    std::to_string(identity::kClusterMax) +
                    " are in use; exclude labels that differ from pod to pod with the labels setting");
}

Result<IdentityAllocation::Step> IdentityAllocation::next(const KnownIdentities& known,
                                                          const RandomSource& random) const {
    if (labels_.empty()) return fail(Code::kInvalidArgument, "no identity for an empty set of labels");
    if (const auto reserved = reserved_identity(labels_)) return Step{Step::Kind::kUse, *reserved};
    if (const auto existing = known.find(key_)) return Step{Step::Kind::kUse, *existing};
    if (collisions_ >= kMaxAttempts) {
        return fail(Code::kAborted, "identity for " + labels_.to_string() + ": " + std::to_string(collisions_) +
                                        " numbers in a row were taken by others; retry later");
    }
    TRY_ASSIGN(const IdentityId id, choose_identity(known, excluded_, random));
    return Step{Step::Kind::kCreate, id};
}

void IdentityAllocation::collided(IdentityId id) {
    excluded_.insert(id);
    ++collisions_;
}

}  // namespace axo
