#include "io/resources.h"

#include <algorithm>
#include <array>

namespace axo::resources {
namespace {

struct OlderVersion {
    std::string_view api_version;
    const ResourceType* type;
};
const std::array kOlderVersions{
    OlderVersion{"cilium.io/v2alpha1", &kCiliumCidrGroup},
    OlderVersion{"cilium.io/v2alpha1", &kCiliumNodeConfig},
    OlderVersion{"discovery.k8s.io/v1beta1", &kEndpointSlice},
};

}  // namespace

std::span<const ResourceType* const> all() {
    static constexpr std::array kAll{&kPod,
                                     &kNamespace,
                                     &kNode,
                                     &kEvent,
                                     &kLease,
                                     &kConfigMap,
                                     &kCiliumNode,
                                     &kCiliumIdentity,
                                     &kCiliumEndpoint,
                                     &kCiliumEndpointSlice,
                                     &kCiliumNodeConfig,
                                     &kCiliumPodIpPool,
                                     &kCiliumNetworkPolicy,
                                     &kCiliumClusterwideNetworkPolicy,
                                     &kCiliumCidrGroup,
                                     &kNetworkPolicy,
                                     &kService,
                                     &kEndpoints,
                                     &kEndpointSlice,
                                     &kCustomResourceDefinition,
                                     &kCiliumLoadBalancerIpPool,
                                     &kCiliumL2AnnouncementPolicy,
                                     &kCiliumBgpClusterConfig,
                                     &kCiliumBgpPeerConfig,
                                     &kCiliumBgpNodeConfig};
    return kAll;
}

const ResourceType* find(std::string_view api_version, std::string_view kind) {
    const auto found = std::ranges::find_if(
        all(), [&](const ResourceType* type) { return type->kind == kind && type->api_version() == api_version; });
    if (found != all().end()) return *found;
    const auto older = std::ranges::find_if(kOlderVersions, [&](const OlderVersion& version) {
        return version.type->kind == kind && version.api_version == api_version;
    });
    return older == kOlderVersions.end() ? nullptr : older->type;
}

}  // namespace axo::resources
