// UnusedKinds: objects of kinds that this version does not act on say so in their status, so that nobody waits for what
// will not happen: condition axoneme.io/Supported = False, reason NotAvailable. Conditions of others stay as they are.
// For stores that are servers. Thread: the loop's only.
#pragma once

#include <set>
#include <span>

#include "io/object_store.h"
#include "model/json.h"
#include "runtime/controller.h"

namespace axo {

struct UnusedKind {
    const ResourceType* type;
    std::string_view feature;  // what is missing: "BGP"
};
// Those that have conditions; of the others the API server warns whoever writes one (deploy/crds).
std::span<const UnusedKind> unused_kinds();

// Whether the object has said it, of its present generation.
bool says_unsupported(const Json& object);
// The object with the condition; now: as its lastTransitionTime.
Json saying_unsupported(const Json& object, const UnusedKind& kind, std::string_view now);

class UnusedKinds {
public:
    UnusedKinds(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store);

private:
    Task<Status> tell();
    Task<Status> tell_one(UnusedKind kind, ObjectKey key);

    ObjectStore& store_;
    std::vector<std::set<ObjectKey>> silent_;  // by the index of the kind
    Controller controller_;
    std::vector<std::unique_ptr<ObjectStore::Watch>> watches_;
};

}  // namespace axo
