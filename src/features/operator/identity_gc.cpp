#include "features/operator/identity_gc.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/types.h"
#include "io/resources.h"
#include "model/cilium_identity.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("identity-gc");
    return logger;
}

}  // namespace

IdentityFate identity_fate(bool used, const std::string& heartbeat, WallTime now, Duration timeout) {
    if (used) return heartbeat.empty() ? IdentityFate::kKeep : IdentityFate::kUnmark;
    const auto marked = parse_time(heartbeat);
    // A mark from the future (the clock was set back) would keep the identity for ever.
    if (!marked || *marked > now + timeout) return IdentityFate::kMark;
    return now - *marked >= timeout ? IdentityFate::kDelete : IdentityFate::kKeep;
}

IdentityGc::IdentityGc(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, const OperatorTables& tables,
                       IdentityGcConfig config)
    : loop_(loop),
      store_(store),
      tables_(tables),
      config_(std::move(config)),
      controller_(loop, registry, "crd-identity-gc", [this] { return collect(); }, config_.interval) {}

Task<Status> IdentityGc::collect() {
    if (!tables_.identities.initialized() || !tables_.endpoints.initialized()) co_return Status{};
    std::set<std::uint32_t> used;
    for (const auto& [key, endpoint] : tables_.endpoints.rows()) used.insert(endpoint.identity);

    const WallTime now = config_.now();
    Status outcome;
    std::size_t deleted = 0;
    std::vector<std::pair<ObjectKey, IdentityFate>> todo;
    for (const auto& [key, row] : tables_.identities.rows()) {
        const auto id = static_cast<std::uint32_t>(std::strtoul(key.name.c_str(), nullptr, 10));
        if (id < identity::kClusterMin || id > identity::kClusterMax) continue;
        const IdentityFate fate = identity_fate(used.contains(id), row.heartbeat, now, config_.heartbeat_timeout);
        if (fate != IdentityFate::kKeep) todo.emplace_back(key, fate);
    }
    for (const auto& [key, fate] : todo) {
        if (fate == IdentityFate::kDelete && deleted++ >= config_.rate_limit) {
            log().info("deletion limit reached; the pass goes on later",
                       {{"deleted", config_.rate_limit}, {"limit", config_.rate_limit}});
            continuation_ = loop_.after(config_.rate_interval, [this] { controller_.trigger(); });
            break;
        }
        // The store may have kept this pass waiting.
        if (fate == IdentityFate::kDelete && in_use(key)) continue;
        CO_AWAIT(Status done, apply(key, fate, now));
        if (!done && outcome) outcome = std::move(done);
    }
    co_return outcome;
}

bool IdentityGc::in_use(const ObjectKey& key) const {
    const auto id = static_cast<std::uint32_t>(std::strtoul(key.name.c_str(), nullptr, 10));
    return std::ranges::any_of(tables_.endpoints.rows(), [id](const auto& row) { return row.second.identity == id; });
}

Task<Status> IdentityGc::apply(ObjectKey key, IdentityFate fate, WallTime now) {
    CO_AWAIT(const auto current, store_.get(resources::kCiliumIdentity, key));
    if (!current) co_return current.error().code == Code::kNotFound ? Status{} : forward_error(current.error());
    CO_TRY_ASSIGN(CiliumIdentity object, CiliumIdentity::parse(*current));
    const std::string annotation(CiliumIdentity::kHeartbeatAnnotation);
    const auto mark = object.metadata.annotations.find(annotation);
    const bool marked = mark != object.metadata.annotations.end();

    if (fate == IdentityFate::kDelete) {
        // Decided by the table; the object itself may have moved on since.
        if (!marked || identity_fate(false, mark->second, now, config_.heartbeat_timeout) != IdentityFate::kDelete)
            co_return Status{};
        CO_TRY(store_.remove(resources::kCiliumIdentity, key));
        log().info(
            "unused identity removed",
            {{"identity", key.name}, {"unused-since", mark->second}, {"labels", object.security_labels.to_string()}});
        co_return Status{};
    }
    if (fate == IdentityFate::kMark) {
        log().info("identity is unused: marked for later deletion", {{"identity", key.name}});
        object.metadata.annotations[annotation] = format_time_nano(now);
    } else {
        if (!marked) co_return Status{};
        object.metadata.annotations.erase(mark);
    }
    CO_AWAIT(auto updated, store_.update(resources::kCiliumIdentity, updated_json(*current, object)));
    if (!updated) co_return std::unexpected(std::move(updated).error().with_context("CiliumIdentity " + key.name));
    co_return Status{};
}

}  // namespace axo
