#include "features/node/annotator.h"

#include <algorithm>

#include "io/resources.h"
#include "model/node.h"

namespace axo {

NodeAnnotator::NodeAnnotator(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, std::string node)
    : store_(store),
      node_(std::move(node)),
      controller_(loop, registry, "update-k8s-node-annotations", [this] { return sync(); }) {}

bool NodeAnnotator::satisfied(const Annotations& present) const {
    return std::ranges::all_of(wanted_, [&](const auto& entry) {
        const auto found = present.find(entry.first);
        return found != present.end() && found->second == entry.second;
    });
}

void NodeAnnotator::set_wanted(Annotations wanted) {
    if (wanted == wanted_) return;
    wanted_ = std::move(wanted);
    controller_.trigger();
}

void NodeAnnotator::seen(std::optional<Annotations> present) {
    present_ = std::move(present);
    if (present_ && !satisfied(*present_)) controller_.trigger();
}

Task<Status> NodeAnnotator::sync() {
    if (!present_ || satisfied(*present_)) co_return Status{};
    CO_AWAIT(auto current, store_.get(resources::kNode, {"", node_}));
    if (!current) co_return current.error().code == Code::kNotFound ? Status{} : forward_error(current.error());
    // Only what is ours is touched: a Node has many writers.
    Json next = *current;
    for (const auto& [key, value] : wanted_) next["metadata"]["annotations"][key] = value;
    if (next == *current) co_return Status{};
    CO_TRY_ASSIGN(const Json stored, store_.update(resources::kNode, std::move(next)));
    present_ = JsonReader(stored, "Node").at("metadata").string_map("annotations");
    co_return Status{};
}

}  // namespace axo
