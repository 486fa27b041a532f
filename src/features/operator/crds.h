// The CustomResourceDefinitions of deploy/crds, as the operator brings them to an API server: created where they are
// absent, replaced where they are older, never taken back, never removed.
//
// Older is what has a lower label io.cilium.k8s.crd.schema.version, or none. With the same version only a definition
// that Axoneme wrote is replaced, by a later revision of it (annotation axoneme.io/crd-revision): two operators,
// Cilium's and this one, do not overwrite each other's work forever. Thread: the loop's only.
#pragma once

#include <span>
#include <string_view>

#include "io/object_store.h"
#include "model/json.h"
#include "runtime/controller.h"

namespace axo {

// As linked into the program.
struct EmbeddedCrd {
    std::string_view plural;  // "ciliumnodes"
    std::string_view yaml;

    [[nodiscard]] std::string name() const { return std::string(plural) + ".cilium.io"; }
};
// Those that agents wait for come first.
std::vector<EmbeddedCrd> embedded_crds();

enum class CrdStep { kNothing, kCreate, kReplace };
// present: null where there is none.
CrdStep crd_step(const Json& wanted, const Json& present);
// The wanted definition over the present one: what others added to its metadata stays, and so do versions that objects
// may still be stored in (status.storedVersions), without which the API server would refuse it.
Json replaced_crd(const Json& wanted, const Json& present);

// For stores that are servers: a directory takes every kind as it is.
class CrdRegistration {
public:
    // patience: how long a new definition may take until it is served.
    CrdRegistration(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store,
                    Duration patience = std::chrono::seconds(15));

private:
    Task<Status> register_all();
    Task<Result<bool>> register_one(EmbeddedCrd crd);
    Task<Status> wait_until_served(ObjectKey key);

    EventLoop& loop_;
    ObjectStore& store_;
    Duration patience_;
    Controller controller_;
};

}  // namespace axo
