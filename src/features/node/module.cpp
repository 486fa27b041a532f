#include "features/node/module.h"

#include <random>

#include "base/file.h"
#include "io/resources.h"
#include "model/json_text.h"

namespace axo {

NodeManager::NodeManager(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, std::string name,
                         std::string cluster, Callbacks callbacks)
    : store_(store),
      name_(std::move(name)),
      cluster_(std::move(cluster)),
      callbacks_(std::move(callbacks)),
      table_(loop, "nodes"),
      sync_(loop, registry, "sync-ciliumnode", [this] { return sync(); }) {}

void NodeManager::start() {
    watch_ = watch_objects<CiliumNode>(
        store_, resources::kCiliumNode,
        {.upserted = [this](const ObjectKey& key, const CiliumNode& node) { upserted(key, node); },
         .deleted =
             [this](const ObjectKey& key) {
                 if (key.name == name_) {
                     // Somebody removed our object; we are still here.
                     own_.reset();
                     sync_.trigger();
                     return;
                 }
                 apply(set_.erase(key.name));
             },
         .synced =
             [this] {
                 table_.mark_initialized();
                 callbacks_.synced();
             },
         .verdicts = callbacks_.verdicts});
}

void NodeManager::upserted(const ObjectKey& key, const CiliumNode& node) {
    const bool local = key.name == name_;
    if (local) {
        own_ = node;
        if (local_) sync_.trigger();
        // Another agent's version must not become our own row.
        if (!local_ || node.instance_id != local_->instance_id) {
            callbacks_.own_changed(node);
            return;
        }
    }
    apply(set_.upsert(node_row(node, cluster_, local)));
    if (local) callbacks_.own_changed(node);
}

void NodeManager::apply(const NodeSet::Outcome& outcome) {
    for (const std::string& name : outcome.changed) {
        const auto row = set_.accepted().find(name);
        if (row != set_.accepted().end()) {
            table_.upsert(name, row->second);
        } else {
            table_.erase(name);
        }
    }
    for (const auto& [name, reason] : outcome.refused) {
        reported_.insert(name);
        callbacks_.verdicts.rejected(
            "CiliumNode " + name,
            Error{Code::kFailedPrecondition, reason + "; the node is refused until one of the two changes", 0});
    }
    for (auto name = reported_.begin(); name != reported_.end();) {
        if (outcome.refused.contains(*name)) {
            ++name;
            continue;
        }
        callbacks_.verdicts.accepted("CiliumNode " + *name);
        name = reported_.erase(name);
    }
}

void NodeManager::publish(LocalNode local) {
    if (local_ == local) return;
    local_ = std::move(local);
    sync_.trigger();
}

Task<Status> NodeManager::sync() {
    if (!local_) co_return Status{};
    if (!own_) {
        CO_AWAIT(auto json, store_.get(resources::kCiliumNode, {"", name_}));
        if (json) {
            CO_TRY_ASSIGN(own_, CiliumNode::parse(*json));
        } else if (json.error().code != Code::kNotFound) {
            co_return forward_error(std::move(json).error());
        }
    }
    if (own_ && !own_->instance_id.empty() && own_->instance_id != local_->instance_id) {
        if (established_) {
            log_.error(
                "Another agent wrote the CiliumNode of this node; writing it back. Give that agent another --k8s-node-name",
                {{"nodeName", name_}, {"instance", own_->instance_id}});
        } else if (own_->instance_id != checked_instance_) {
            if (asking_) co_return Status{};
            asking_ = true;
            callbacks_.ask_owner(
                *own_, [this, instance = own_->instance_id, alive = std::weak_ptr<bool>(alive_)](bool answers) {
                    if (alive.expired()) return;
                    asking_ = false;
                    if (answers) {
                        callbacks_.refused("another agent runs as node " + name_ + " (instance " + instance +
                                           "): give this one another name with --k8s-node-name, or stop the other");
                        return;
                    }
                    checked_instance_ = instance;
                    sync_.trigger();
                });
            co_return Status{};
        }
    }
    const CiliumNode wanted = desired_node(own_, *local_);
    if (!own_) {
        CO_TRY_ASSIGN(const Json created, store_.create(resources::kCiliumNode, wanted.to_json()));
        log_.info("Created CiliumNode", {{"nodeName", name_}});
        CO_TRY_ASSIGN(own_, CiliumNode::parse(created));
    } else if (!(wanted == *own_)) {
        CO_AWAIT(auto current, store_.get(resources::kCiliumNode, {"", name_}));
        if (!current) {
            own_.reset();
            co_return forward_error(std::move(current).error());
        }
        CO_TRY_ASSIGN(own_, CiliumNode::parse(*current));
        const CiliumNode next = desired_node(own_, *local_);
        if (!(next == *own_)) {
            const std::string before = own_->metadata.resource_version;
            CO_TRY_ASSIGN(const Json updated, store_.update(resources::kCiliumNode, updated_json(*current, next)));
            log_.info("Updated CiliumNode", {{"nodeName", name_}});
            CO_TRY_ASSIGN(CiliumNode stored, CiliumNode::parse(updated));
            // The watch may have brought a later version meanwhile.
            if (own_ && own_->metadata.resource_version == before) own_ = std::move(stored);
            if (!own_) co_return Status{};
        }
    }
    established_ = true;
    apply(set_.upsert(node_row(*own_, cluster_, true)));
    callbacks_.own_changed(*own_);
    co_return Status{};
}

Result<NodeState> read_node_state(const std::filesystem::path& path) {
    TRY_ASSIGN(const std::string text, read_file(path));
    const Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) return fail(Code::kDataLoss, path.string() + ": not valid JSON: torn or overwritten");
    const JsonReader reader(json, path.string());
    NodeState state;
    state.name = reader.string("name");
    state.pod_cidrs = reader.cidrs("podCIDRs");
    reader.each("pools",
                [&](const JsonReader& item) { state.pools.push_back({item.string("pool"), item.cidrs("cidrs")}); });
    state.router_ipv4 = reader.address("router-ipv4");
    state.router_ipv6 = reader.address("router-ipv6");
    state.health_ipv4 = reader.address("health-ipv4");
    state.health_ipv6 = reader.address("health-ipv6");
    TRY(reader.status());
    return state;
}

std::string node_state_text(const NodeState& state) {
    Json json = Json::object();
    put_nonempty(json, "name", state.name);
    put_nonempty(json, "podCIDRs", state.pod_cidrs);
    for (const PoolAllocation& allocation : state.pools) {
        Json item{{"pool", allocation.pool}};
        put_nonempty(item, "cidrs", allocation.cidrs);
        json["pools"].push_back(std::move(item));
    }
    put_nonempty(json, "router-ipv4", state.router_ipv4);
    put_nonempty(json, "router-ipv6", state.router_ipv6);
    put_nonempty(json, "health-ipv4", state.health_ipv4);
    put_nonempty(json, "health-ipv6", state.health_ipv6);
    return json_text(json, 1) + "\n";
}

Result<std::string> load_instance_id(const std::filesystem::path& path) {
    if (auto known = read_file(path); known && known->size() >= 16) return known->substr(0, known->find('\n'));
    std::random_device random;
    char id[33];
    std::snprintf(id, sizeof(id), "%08x%08x%08x%08x", random(), random(), random(), random());
    TRY(write_atomic(path, std::string(id) + "\n"));
    return std::string(id);
}

}  // namespace axo
