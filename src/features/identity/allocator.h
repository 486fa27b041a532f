// Which number a set of labels has: the decisions of identity allocation, without the store.
//
// The caller (the agent) keeps the known CiliumIdentities by number, asks IdentityAllocation what to do,
// does it against the store and reports a collision back. Rules:
//  * reserved identities follow from labels alone and are never stored;
//  * equal label keys share an identity; when several objects carry the same labels (two agents created
//    them at the same moment) the lowest number wins for new users;
//  * a new number is random in 256..65535, so that agents deciding at once rarely collide; a collision
//    excludes that number and tries again, at most kMaxAttempts times.
// Pure. Thread: any one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "base/result.h"
#include "base/types.h"
#include "model/labels.h"

namespace axo {

// Uniform over all 64-bit values.
using RandomSource = std::function<std::uint64_t()>;

// "host" -> 1, "health" -> 4 …: contracts.md 3.3.
std::optional<IdentityId> reserved_identity_by_name(std::string_view name);
// "" for numbers that are not reserved.
std::string_view reserved_identity_name(IdentityId id);
// {"reserved:host"} -> 1; host and remote-node also together with other labels; kube-apiserver with remote-node -> 7.
std::optional<IdentityId> reserved_identity(const LabelSet& labels);
// The labels of a reserved identity; empty when it is none.
LabelSet reserved_labels(IdentityId id);
inline bool is_cluster_identity(IdentityId id) {
    return id.value >= identity::kClusterMin && id.value <= identity::kClusterMax;
}

// The known identities of the cluster, as far as a decision needs them.
struct KnownIdentities {
    std::function<bool(IdentityId)> is_used;
    // The lowest number with exactly this label key.
    std::function<std::optional<IdentityId>(const std::string& key)> find;
};

// A random free number; kResourceExhausted when all are used or excluded.
Result<IdentityId> choose_identity(const KnownIdentities& known, const std::set<IdentityId>& excluded,
                                   const RandomSource& random);

class IdentityAllocation {
public:
    static constexpr int kMaxAttempts = 16;

    // `labels`: after the label filter.
    explicit IdentityAllocation(LabelSet labels) : labels_(std::move(labels)), key_(labels_.key()) {}

    struct Step {
        enum class Kind {
            kUse,     // it exists (or is reserved): take it
            kCreate,  // create the CiliumIdentity with this number, then take it
        };
        Kind kind = Kind::kUse;
        IdentityId id;
    };
    // Errors: kInvalidArgument without labels, kResourceExhausted, kAborted after too many collisions.
    Result<Step> next(const KnownIdentities& known, const RandomSource& random) const;
    // The create of `id` failed with kAlreadyExists. If the object there has the same labels, next() finds it
    // once it is known; otherwise next() proposes another number.
    void collided(IdentityId id);

    [[nodiscard]] const LabelSet& labels() const { return labels_; }
    [[nodiscard]] const std::string& key() const { return key_; }

private:
    LabelSet labels_;
    std::string key_;
    std::set<IdentityId> excluded_;
    int collisions_ = 0;
};

}  // namespace axo
