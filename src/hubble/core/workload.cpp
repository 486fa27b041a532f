#include "hubble/core/workload.h"

namespace axo::hubble {

namespace {

// What Kubernetes makes names unique with.
bool is_suffix(std::string_view text, std::size_t least, std::size_t most) {
    return text.size() >= least && text.size() <= most &&
           text.find_first_not_of("bcdfghjklmnpqrstvwxz2456789") == std::string_view::npos;
}

bool is_time(std::string_view text) {
    return text.size() >= 8 && text.size() <= 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// "a-b-c" without "-c", if `fits` says so of c.
template <class Fits>
std::optional<std::string> without_last(const std::string& name, Fits fits) {
    const std::size_t dash = name.rfind('-');
    if (dash == std::string::npos || dash == 0 || !fits(std::string_view(name).substr(dash + 1))) return std::nullopt;
    return name.substr(0, dash);
}

}  // namespace

std::optional<Workload> workload_of(const ObjectMeta& pod) {
    const auto owner = std::ranges::find_if(pod.owner_references, &OwnerReference::controller);
    if (owner == pod.owner_references.end()) return Workload{pod.name, "Pod"};
    if (owner->kind == "ReplicaSet") {
        const auto hash = pod.labels.find("pod-template-hash");
        if (hash != pod.labels.end() && owner->name.ends_with("-" + hash->second))
            return Workload{owner->name.substr(0, owner->name.size() - hash->second.size() - 1), "Deployment"};
    } else if (owner->kind == "Job") {
        if (auto cron_job = without_last(owner->name, &is_time)) return Workload{std::move(*cron_job), "CronJob"};
    }
    return Workload{owner->name, owner->kind};
}

std::optional<Workload> workload_by_name(const std::string& pod) {
    const auto replica_set = without_last(pod, [](std::string_view text) { return is_suffix(text, 5, 5); });
    if (!replica_set) return std::nullopt;
    auto deployment = without_last(*replica_set, [](std::string_view text) { return is_suffix(text, 6, 10); });
    if (!deployment) return std::nullopt;
    return Workload{std::move(*deployment), "Deployment"};
}

}  // namespace axo::hubble
