// Tells users whether their policies are valid: condition Valid in the status of CiliumNetworkPolicy and
// CiliumClusterwideNetworkPolicy, written by one operator for the whole cluster. Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "features/policy/translate.h"
#include "io/object_store.h"
#include "runtime/controller.h"

namespace axo::policy {

class PolicyValidator {
public:
    // context: how agents translate, as far as it decides what is valid. cluster_prefixes: addresses of pods and nodes,
    // asked for whenever an object is looked at: rules about them earn a warning.
    PolicyValidator(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, TranslateContext context,
                    std::function<std::vector<Prefix>()> cluster_prefixes);

    [[nodiscard]] std::size_t invalid() const { return invalid_.size(); }

private:
    using Key = std::pair<const ResourceType*, ObjectKey>;
    void watch(const ResourceType& type);
    Task<Status> write_pending();
    Task<Status> judge(Key key);
    Result<Translation> translated(const Key& key, const nlohmann::json& object);

    ObjectStore& store_;
    TranslateContext context_;
    std::function<std::vector<Prefix>()> cluster_prefixes_;
    std::set<Key> pending_, invalid_;
    std::vector<std::unique_ptr<ObjectStore::Watch>> watches_;
    Controller controller_;
};

}  // namespace axo::policy
