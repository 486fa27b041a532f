#include "io/resources.h"

#include <algorithm>
#include <array>

namespace axo::resources {

std::span<const ResourceType* const> all() {
    static constexpr std::array kAll{&kPod,        &kNamespace,      &kNode,           &kEvent,          &kLease,
                                     &kCiliumNode, &kCiliumIdentity, &kCiliumEndpoint, &kCiliumPodIpPool};
    return kAll;
}

const ResourceType* find(std::string_view api_version, std::string_view kind) {
    const auto found = std::ranges::find_if(
        all(), [&](const ResourceType* type) { return type->kind == kind && type->api_version() == api_version; });
    return found == all().end() ? nullptr : *found;
}

}  // namespace axo::resources
