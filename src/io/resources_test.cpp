// Which resource an object belongs to, by what it says of itself.
#include "io/resources.h"

#include <gtest/gtest.h>

#include <set>

namespace axo::resources {
namespace {

TEST(Resources, EveryKindIsFoundByItsOwnVersion) {
    std::set<std::string> plurals;
    for (const ResourceType* type : all()) {
        EXPECT_EQ(find(type->api_version(), type->kind), type) << type->kind;
        EXPECT_TRUE(plurals.insert(type->plural + "." + type->group).second) << type->plural;
    }
    EXPECT_EQ(find("cilium.io/v2", "CiliumCIDRGroup"), &kCiliumCidrGroup);
    EXPECT_EQ(find("networking.k8s.io/v1", "NetworkPolicy"), &kNetworkPolicy);
}

TEST(Resources, OlderVersionsAreTheSameResource) {
    EXPECT_EQ(find("cilium.io/v2alpha1", "CiliumCIDRGroup"), &kCiliumCidrGroup);
    EXPECT_EQ(find("discovery.k8s.io/v1beta1", "EndpointSlice"), &kEndpointSlice);
    EXPECT_EQ(find("cilium.io/v2alpha1", "CiliumNetworkPolicy"), nullptr);
    EXPECT_EQ(find("v1", "EndpointSlice"), nullptr);
}

}  // namespace
}  // namespace axo::resources
