#include "features/policy/validity.h"

#include "io/resources.h"
#include "model/policy_status.h"

namespace axo::policy {

PolicyValidator::PolicyValidator(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store,
                                 TranslateContext context, std::function<std::vector<Prefix>()> cluster_prefixes)
    : store_(store),
      context_(std::move(context)),
      cluster_prefixes_(std::move(cluster_prefixes)),
      controller_(loop, registry, "policy-validity", [this] { return write_pending(); }) {
    watch(resources::kCiliumNetworkPolicy);
    watch(resources::kCiliumClusterwideNetworkPolicy);
}

void PolicyValidator::watch(const ResourceType& type) {
    watches_.push_back(store_.watch(type, {.upserted =
                                               [this, &type](const ObjectKey& key, const nlohmann::json&) {
                                                   pending_.insert({&type, key});
                                                   controller_.trigger();
                                               },
                                           .deleted =
                                               [this, &type](const ObjectKey& key) {
                                                   pending_.erase({&type, key});
                                                   invalid_.erase({&type, key});
                                               },
                                           .synced = [] {},
                                           .rejected = [](const std::string&, const Error&) {}}));
}

// What could not be written is tried again with the next run.
Task<Status> PolicyValidator::write_pending() {
    Status first;
    const std::set<Key> now = std::exchange(pending_, {});
    for (const Key& key : now) {
        CO_AWAIT(Status done, judge(key));
        if (done) continue;
        // Somebody was quicker, or took it away: the watch will say so.
        if (done.error().code == Code::kAborted || done.error().code == Code::kNotFound) continue;
        pending_.insert(key);
        if (first)
            first = forward_error(std::move(done).error().with_context(key.first->kind + " " + key.second.to_string()));
    }
    co_return first;
}

Result<Translation> PolicyValidator::translated(const Key& key, const nlohmann::json& object) {
    context_.cluster_prefixes = cluster_prefixes_();
    if (key.first == &resources::kCiliumNetworkPolicy) {
        TRY_ASSIGN(const CiliumNetworkPolicy policy, CiliumNetworkPolicy::parse(object));
        return translate(policy, context_);
    }
    TRY_ASSIGN(const CiliumClusterwideNetworkPolicy policy, CiliumClusterwideNetworkPolicy::parse(object));
    return translate(policy, context_);
}

Task<Status> PolicyValidator::judge(Key key) {
    CO_TRY_ASSIGN(nlohmann::json object, store_.get(*key.first, key.second));
    const auto translation = translated(key, object);
    std::string message = "Policy validation succeeded";
    if (!translation) {
        message = translation.error().message;
        invalid_.insert(key);
    } else {
        invalid_.erase(key);
        for (const std::string& warning : translation->warnings) message += "; warning: " + warning;
    }
    auto status = status_with_validity(object, translation.has_value(), message, std::chrono::system_clock::now());
    if (!status) co_return Status{};
    object["status"] = std::move(*status);
    CO_TRY(store_.update_status(*key.first, std::move(object)));
    co_return Status{};
}

}  // namespace axo::policy
