// What a Node should say about its agent: pure functions.
//
//   taint node.cilium.io/agent-not-ready    keeps pods off a node until its agent answers; whoever makes the node sets
//                                           it, or this operator while an agent is scheduled there and is not ready
//   condition NetworkUnavailable=False,     tells the cluster that pods get a network there
//     reason CiliumIsUp
//
// Neither is ever set because nothing is known of an agent. Thread: any.
#pragma once

#include <string>

#include "features/operator/types.h"
#include "model/json.h"
#include "model/time.h"

namespace axo {

struct NodeMarksSettings {
    bool remove_taint = true;   // remove-cilium-node-taints
    bool set_taint = false;     // set-cilium-node-taints
    bool set_condition = true;  // set-cilium-is-up-condition
    std::string taint_key = "node.cilium.io/agent-not-ready";
};

struct AgentState {
    bool scheduled = false;  // there is an agent's pod on the node
    bool ready = false;
};

struct NodeMarks {
    bool remove_taint = false, add_taint = false, set_condition = false;
    [[nodiscard]] bool nothing() const { return !remove_taint && !add_taint && !set_condition; }
    friend bool operator==(const NodeMarks&, const NodeMarks&) = default;
};

// What is to be changed.
NodeMarks node_marks(const NodeMarksSettings& settings, const KubeNodeRow& node, const AgentState& agent);

// Of the Node's document.
bool has_taint(const JsonReader& node, const std::string& key);
bool has_cilium_is_up(const JsonReader& node);
// The pod's condition Ready is True.
bool is_ready_pod(const JsonReader& pod);
// The document with the taint changed (spec), and with the condition (status); everything else as it was.
Json with_taint(Json node, const std::string& key, bool present);
Json with_cilium_is_up(Json node, WallTime now);

}  // namespace axo
