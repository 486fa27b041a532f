// EndpointGc: removes CiliumEndpoints whose pod or node is gone, when their agent cannot.
//
// An endpoint is an orphan when the Pod object that owns it is gone or has finished, or when no CiliumNode
// has its node's address. Endpoints without an owning Pod object (clusters without Pod objects) are judged
// by their node alone. It goes when it was an orphan for the grace time: objects arrive in any order, and
// files are replaced by deletion and creation. Thread: the loop's only.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "features/operator/tables.h"
#include "runtime/controller.h"

namespace axo {

struct EndpointGcConfig {
    Duration interval = std::chrono::minutes(5);  // 0: off
    Duration grace = std::chrono::seconds(10);
};

// Why the endpoint is an orphan; nullopt when it is none.
std::optional<std::string> orphan_reason(const ObjectKey& key, const OperatorEndpointRow& endpoint,
                                         const std::map<ObjectKey, OperatorPodRow>& pods,
                                         const std::map<ObjectKey, OperatorNodeRow>& nodes);

class EndpointGc {
public:
    EndpointGc(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorTables& tables,
               EndpointGcConfig config);

    Task<Status> collect();

private:
    struct Candidate {
        std::string uid;
        std::chrono::steady_clock::time_point since;
    };

    EventLoop& loop_;
    ObjectStore& store_;
    OperatorTables& tables_;
    EndpointGcConfig config_;
    std::map<ObjectKey, Candidate> candidates_;
    std::set<ObjectKey> sound_;  // were no orphans at some time: their pod and node could be read
    Controller controller_;
    EventLoop::Handle recheck_;
    OperatorPodTable::Watch pod_watch_;
    OperatorNodeTable::Watch node_watch_;
};

}  // namespace axo
