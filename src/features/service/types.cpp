#include "features/service/types.h"

#include <deque>
#include <mutex>
#include <unordered_map>

namespace axo::service {
namespace {

struct Texts {
    std::mutex lock;
    // By number. Elements of a deque do not move, so that views and references hold.
    std::deque<std::string> all = std::deque<std::string>(1);
    std::unordered_map<std::string_view, std::uint32_t> numbers;
};
Texts& texts() {
    static Texts texts;
    return texts;
}

}  // namespace

SharedText::SharedText(std::string_view text) {
    if (text.empty()) return;
    Texts& known = texts();
    const std::scoped_lock guard(known.lock);
    if (const auto found = known.numbers.find(text); found != known.numbers.end()) {
        number_ = found->second;
        return;
    }
    number_ = static_cast<std::uint32_t>(known.all.size());
    known.numbers.emplace(known.all.emplace_back(text), number_);
}

const std::string& SharedText::str() const {
    Texts& known = texts();
    const std::scoped_lock guard(known.lock);
    return known.all[number_];
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
