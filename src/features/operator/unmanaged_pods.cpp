#include "features/operator/unmanaged_pods.h"

namespace axo {
namespace {

constexpr std::chrono::seconds kLeastAge{30};
constexpr std::chrono::minutes kLeastPause{5};

}  // namespace

std::optional<ObjectKey> UnmanagedPods::next(const std::map<ObjectKey, OperatorPodRow>& pods,
                                             const std::map<ObjectKey, OperatorEndpointRow>& endpoints, WallTime now) {
    std::erase_if(restarts_, [&](const auto& entry) { return now - entry.second >= kLeastPause; });
    for (const auto& [key, pod] : pods) {
        if (!pod.restartable || pod.host_network || pod.finished || pod.node_name.empty()) continue;
        if (!pod.running_since || now - *pod.running_since < kLeastAge) continue;
        if (endpoints.contains(key) || restarts_.contains(key)) continue;
        return key;
    }
    return std::nullopt;
}

}  // namespace axo
