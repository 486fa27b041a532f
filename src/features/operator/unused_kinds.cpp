#include "features/operator/unused_kinds.h"

#include <array>

#include "io/resources.h"
#include "model/time.h"

namespace axo {
namespace {

constexpr std::string_view kType = "axoneme.io/Supported";

std::int64_t generation(const Json& object) {
    return object.value("metadata", Json::object()).value("generation", std::int64_t{0});
}

}  // namespace

std::span<const UnusedKind> unused_kinds() {
    static const std::array kAll{
        UnusedKind{&resources::kCiliumLoadBalancerIpPool, "LB-IPAM"},
        UnusedKind{&resources::kCiliumL2AnnouncementPolicy, "L2 announcements"},
        UnusedKind{&resources::kCiliumBgpClusterConfig, "BGP"},
        UnusedKind{&resources::kCiliumBgpPeerConfig, "BGP"},
        UnusedKind{&resources::kCiliumBgpNodeConfig, "BGP"},
    };
    return kAll;
}

bool says_unsupported(const Json& object) {
    for (const Json& condition : object.value("status", Json::object()).value("conditions", Json::array())) {
        if (condition.value("type", "") == kType && condition.value("status", "") == "False" &&
            condition.value("observedGeneration", std::int64_t{-1}) == generation(object))
            return true;
    }
    return false;
}

Json saying_unsupported(const Json& object, const UnusedKind& kind, std::string_view now) {
    Json next = object;
    Json& conditions = next["status"]["conditions"];
    if (!conditions.is_array()) conditions = Json::array();
    std::erase_if(conditions.get_ref<Json::array_t&>(),
                  [](const Json& condition) { return condition.value("type", "") == kType; });
    conditions.push_back({{"type", kType},
                          {"status", "False"},
                          {"reason", "NotAvailable"},
                          {"message", "Axoneme does not act on " + kind.type->kind + " in this version (" +
                                          std::string(kind.feature) + ")"},
                          {"observedGeneration", generation(object)},
                          {"lastTransitionTime", now}});
    return next;
}

UnusedKinds::UnusedKinds(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store)
    : store_(store),
      silent_(unused_kinds().size()),
      controller_(loop, registry, "unused-kinds", [this] { return tell(); }) {
    for (std::size_t i = 0; i < unused_kinds().size(); ++i) {
        watches_.push_back(store_.watch(*unused_kinds()[i].type,
                                        {.upserted =
                                             [this, i](const ObjectKey& key, const Json& object) {
                                                 if (says_unsupported(object) || !silent_[i].insert(key).second) return;
                                                 controller_.trigger();
                                             },
                                         .deleted = [this, i](const ObjectKey& key) { silent_[i].erase(key); },
                                         .synced = {},
                                         .rejected = {}}));
    }
}

Task<Status> UnusedKinds::tell() {
    Status outcome;
    for (std::size_t i = 0; i < silent_.size(); ++i) {
        const std::set<ObjectKey> keys = silent_[i];
        for (const ObjectKey& key : keys) {
            CO_AWAIT(Status told, tell_one(unused_kinds()[i], key));
            if (told)
                silent_[i].erase(key);
            else if (outcome)
                outcome = std::move(told);
        }
    }
    co_return outcome;
}

Task<Status> UnusedKinds::tell_one(UnusedKind kind, ObjectKey key) {
    CO_AWAIT(const Result<Json> object, store_.get(*kind.type, key));
    if (!object) co_return object.error().code == Code::kNotFound ? Status{} : forward_error(object.error());
    if (says_unsupported(*object)) co_return Status{};
    const std::string now = format_time(std::chrono::system_clock::now());
    CO_AWAIT(Result<Json> updated, store_.update_status(*kind.type, saying_unsupported(*object, kind, now)));
    if (!updated) co_return std::unexpected(std::move(updated).error().with_context(kind.type->kind + " " + key.name));
    co_return Status{};
}

}  // namespace axo
