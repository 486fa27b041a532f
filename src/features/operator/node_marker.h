// NodeMarker: keeps the taint and the condition of every Node as its agent is. Thread: the loop's only.
#pragma once

#include <map>

#include "features/operator/node_marks.h"
#include "features/operator/tables.h"
#include "runtime/controller.h"

namespace axo {

class NodeMarker {
public:
    NodeMarker(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, OperatorTables& tables,
               NodeMarksSettings settings);

private:
    [[nodiscard]] AgentState agent_of(const std::string& node) const;
    Task<Status> work();
    Task<Status> mark(ObjectKey key);

    ObjectStore& store_;
    OperatorTables& tables_;
    NodeMarksSettings settings_;
    std::map<std::string, std::map<ObjectKey, bool>> agents_;  // node: its agents' pods, and whether they are ready
    std::map<ObjectKey, std::string> node_of_;
    Controller controller_;
    OperatorPodTable::Watch pod_watch_;
    KubeNodeTable::Watch node_watch_;
};

}  // namespace axo
