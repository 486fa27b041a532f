#include "io/object_place.h"

#include <gtest/gtest.h>

#include "io/resources.h"

namespace axo {
namespace {

TEST(ObjectPlace, APathLeadsBackToItsObject) {
    const std::vector<std::pair<ObjectId, std::string>> places = {
        {{&resources::kService, {"shop", "web"}}, "services/shop/web.yaml"},
        {{&resources::kEndpointSlice, {"shop", "web-x1"}}, "endpointslices.discovery.k8s.io/shop/web-x1.yaml"},
        {{&resources::kNode, {"", "n1.example"}}, "nodes/n1.example.yaml"},
        {{&resources::kCiliumNode, {"", "n1"}}, "ciliumnodes.cilium.io/n1.yaml"}};
    for (const auto& [id, path] : places) {
        EXPECT_EQ(own_path(id), path);
        EXPECT_EQ(owner_of_path(path), id) << path;
        EXPECT_EQ(owner_of_path(own_path(id, 0, ".json")), id) << path;
    }
}

TEST(ObjectPlace, OtherPathsHaveNoOwner) {
    for (const char* path :
         {"web.yaml", "services/web.yaml", "services/shop/more/web.yaml", "services/shop/web.yml",
          "services/shop/.yaml", "services//web.yaml", "nodes/shop/n1.yaml", "services.cilium.io/shop/web.yaml",
          "service/shop/web.yaml", "mine/shop/web.yaml", "services/shop/web", ""})
        EXPECT_FALSE(owner_of_path(path)) << path;
    const ObjectId longest{&resources::kPod, {"shop", std::string(253, 'a')}};
    EXPECT_LT(own_path(longest).size(), 280U);
    EXPECT_NE(owner_of_path(own_path(longest)), longest);
    EXPECT_NE(own_path(longest), own_path(longest, 1));
}

}  // namespace
}  // namespace axo
