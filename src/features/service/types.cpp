#include "features/service/types.h"

#include <mutex>
#include <unordered_set>

namespace axo::service {

SharedText::SharedText(std::string_view text) {
    if (text.empty()) return;
    // Elements of an unordered_set do not move.
    static std::mutex lock;
    static std::unordered_set<std::string> texts;
    const std::scoped_lock guard(lock);
    text_ = &*texts.emplace(text).first;
}

const std::string& SharedText::str() const {
    static const std::string none;
    return text_ == nullptr ? none : *text_;
}

std::string_view type_name(FrontendType type) {
    switch (type) {
        case FrontendType::kClusterIp: return "ClusterIP";
        case FrontendType::kNodePort: return "NodePort";
        case FrontendType::kLoadBalancer: return "LoadBalancer";
        case FrontendType::kExternalIp: return "ExternalIPs";
        case FrontendType::kHostPort: return "HostPort";
        case FrontendType::kLocalRedirect: return "LocalRedirect";
    }
    return "";
}

std::string_view state_name(BackendState state) {
    switch (state) {
        case BackendState::kActive: return "active";
        case BackendState::kTerminating: return "terminating";
        case BackendState::kQuarantined: return "quarantined";
        case BackendState::kMaintenance: return "maintenance";
    }
    return "";
}

}  // namespace axo::service
