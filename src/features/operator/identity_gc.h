// IdentityGc: removes CiliumIdentities that no CiliumEndpoint has used for a while.
//
// A pass marks an unused identity with the time in annotation io.cilium.heartbeat and takes the mark away
// when it is used again; a mark older than the timeout ends the identity. The mark lives in the object, so
// the operator's restarts neither prolong nor shorten a life. Deletions per pass are limited. Thread: the loop's only.
#pragma once

#include <functional>

#include "features/operator/tables.h"
#include "model/time.h"
#include "runtime/controller.h"

namespace axo {

struct IdentityGcConfig {
    Duration interval = std::chrono::minutes(15);  // 0: off
    Duration heartbeat_timeout = std::chrono::minutes(30);
    Duration rate_interval = std::chrono::minutes(1);
    std::size_t rate_limit = 2500;  // deletions per rate_interval
    std::function<WallTime()> now = [] { return std::chrono::system_clock::now(); };
};

// What a pass does with one identity.
enum class IdentityFate { kKeep, kMark, kUnmark, kDelete };
// heartbeat: the annotation as found. An unreadable one counts as none.
IdentityFate identity_fate(bool used, const std::string& heartbeat, WallTime now, Duration timeout);

class IdentityGc {
public:
    IdentityGc(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, const OperatorTables& tables,
               IdentityGcConfig config);

    // A pass now instead of at the interval.
    Task<Status> collect();

private:
    [[nodiscard]] bool in_use(const ObjectKey& key) const;
    Task<Status> apply(ObjectKey key, IdentityFate fate, WallTime now);

    EventLoop& loop_;
    ObjectStore& store_;
    const OperatorTables& tables_;
    IdentityGcConfig config_;
    Controller controller_;
    EventLoop::Handle continuation_;
};

}  // namespace axo
