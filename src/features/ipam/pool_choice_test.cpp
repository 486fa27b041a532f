#include "features/ipam/pool_choice.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

PodIpPool pool(const std::string& name, bool ipv4, bool ipv6, std::optional<LabelSelector> pods,
               std::optional<LabelSelector> namespaces = {}) {
    PodIpPool made;
    made.metadata.name = name;
    if (ipv4) made.ipv4 = {{Prefix::parse_cidr("10.0.0.0/24").value()}, 28};
    if (ipv6) made.ipv6 = {{Prefix::parse_cidr("fd00::/64").value()}, 80};
    made.pod_selector = std::move(pods);
    made.namespace_selector = std::move(namespaces);
    return made;
}

LabelSelector labels(std::map<std::string, std::string> match) {
    return {std::move(match), {}};
}

class PoolChoice : public ::testing::Test {
protected:
    PoolChoice() {
        pod_.name = "web";
        pod_.name_space = "shop";
        namespace_.name = "shop";
    }
    void add(PodIpPool made) { pools_.insert_or_assign(made.metadata.name, std::move(made)); }
    std::string choose(Family family = Family::kIpv4) {
        const auto chosen = choose_pool(family, pod_, &namespace_, pools_, "default");
        return chosen ? *chosen : "error: " + chosen.error().message;
    }
    ObjectMeta pod_, namespace_;
    std::map<std::string, PodIpPool> pools_;
};

TEST_F(PoolChoice, AnnotationsOfThePodThenOfTheNamespace) {
    EXPECT_EQ(choose(), "default");
    namespace_.annotations["ipam.cilium.io/ip-pool"] = "ns";
    EXPECT_EQ(choose(), "ns");
    namespace_.annotations["ipam.cilium.io/ipv6-pool"] = "ns6";
    EXPECT_EQ(choose(Family::kIpv6), "ns6");
    EXPECT_EQ(choose(), "ns");
    pod_.annotations["ipam.cilium.io/ip-pool"] = "pod";
    EXPECT_EQ(choose(Family::kIpv6), "pod") << "the pod's general one before the namespace's special one";
    pod_.annotations["ipam.cilium.io/ipv4-pool"] = "pod4";
    EXPECT_EQ(choose(), "pod4");
    pod_.annotations["ipam.cilium.io/ipv4-pool"] = "";
    EXPECT_EQ(choose(), "pod");
}

TEST_F(PoolChoice, Selectors) {
    add(pool("plain", true, true, {}));
    EXPECT_EQ(choose(), "default") << "a pool without selectors is for those who name it";
    add(pool("blue", true, false, labels({{"app", "web"}}), labels({{"team", "a"}})));
    pod_.labels["app"] = "web";
    EXPECT_EQ(choose(), "default") << "both have to match";
    namespace_.labels["team"] = "a";
    EXPECT_EQ(choose(), "blue");
    EXPECT_EQ(choose(Family::kIpv6), "default") << "it has no CIDRs of the family";
    add(pool("six", false, true, labels({{"io.kubernetes.pod.name", "web"}, {"io.kubernetes.pod.namespace", "shop"}})));
    EXPECT_EQ(choose(Family::kIpv6), "six");
    EXPECT_EQ(choose(), "blue");
    add(pool("red", true, false, {}, labels({{"team", "a"}})));
    EXPECT_TRUE(choose().starts_with("error: multiple CiliumPodIPPools match pod shop/web (IPv4): blue, red"))
        << choose();
    pod_.annotations["ipam.cilium.io/ip-pool"] = "red";
    EXPECT_EQ(choose(), "red");
}

TEST_F(PoolChoice, RequiredMatch) {
    namespace_.annotations["ipam.cilium.io/require-pool-match"] = "true";
    EXPECT_TRUE(choose().starts_with("error: no matching CiliumPodIPPool for pod shop/web")) << choose();
    add(pool("blue", true, false, labels({})));
    EXPECT_EQ(choose(), "blue") << "an empty selector matches every pod";
    EXPECT_EQ(choose_pool(Family::kIpv6, pod_, nullptr, pools_, "other").value(), "other")
        << "no Namespace object: nothing is required";
}

}  // namespace
}  // namespace axo
