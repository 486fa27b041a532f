// Nodes of the cluster: publishes this node's CiliumNode, watches all of them, keeps the nodes table.
//
//   devices, IPAM -> LocalNode -> CiliumNode object <- operator (podCIDRs)
//   CiliumNode objects -> NodeSet (refuses overlaps) -> nodes table -> ipcache, routes, health
//
// Thread: the loop's only.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "features/node/desired.h"
#include "io/object_watch.h"
#include "runtime/controller.h"
#include "runtime/table.h"

namespace axo {

class NodeManager {
public:
    struct Callbacks {
        std::function<void(const CiliumNode&)> own_changed;  // as the store has it
        std::function<void()> synced;
        ObjectVerdicts verdicts;
        // The object of our name is another agent's: whether that agent answers at one of the addresses, asked in the
        // background, before this one writes anything.
        std::function<void(const CiliumNode& theirs, std::function<void(bool alive)>)> ask_owner;
        // It does: this agent has to stop.
        std::function<void(const std::string& why)> refused;
    };
    NodeManager(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, std::string name,
                std::string cluster, Callbacks callbacks);

    void start();
    // What the object of this node should say; written when it differs, retried until it stands.
    void publish(LocalNode local);
    // The store's latest version of this node's object.
    [[nodiscard]] const std::optional<CiliumNode>& own() const { return own_; }
    // Whether the object has been written, or found right, by this process: no other agent uses the name.
    [[nodiscard]] bool established() const { return established_; }
    [[nodiscard]] const Table<std::string, NodeRow>& table() const { return table_; }
    Table<std::string, NodeRow>& table() { return table_; }

private:
    void upserted(const ObjectKey& key, const CiliumNode& node);
    void apply(const NodeSet::Outcome& outcome);
    Task<Status> sync();

    ObjectStore& store_;
    std::string name_, cluster_;
    Callbacks callbacks_;
    Logger log_{"node"};
    Table<std::string, NodeRow> table_;
    NodeSet set_;
    std::set<std::string> reported_;
    std::optional<LocalNode> local_;
    std::optional<CiliumNode> own_;
    std::string checked_instance_;  // another agent's instance that was found not to be alive
    bool asking_ = false;
    bool established_ = false;  // the object has been ours since this process started
    std::unique_ptr<ObjectStore::Watch> watch_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    Controller sync_;
};

// What a restarting agent needs of its node before the store answers. <state-dir>/state/node.json.
struct NodeState {
    std::string name;
    std::vector<Prefix> pod_cidrs;      // all of them
    std::vector<PoolAllocation> pools;  // ipam=multi-pool: by pool
    IpAddress router_ipv4, router_ipv6, health_ipv4, health_ipv6;
    friend bool operator==(const NodeState&, const NodeState&) = default;
};
Result<NodeState> read_node_state(const std::filesystem::path& path);
std::string node_state_text(const NodeState& state);
// A random id that stays with the state directory: tells a restarted agent from another one of the same name.
Result<std::string> load_instance_id(const std::filesystem::path& path);

}  // namespace axo
