#include <chrono>

#include "features/operator/node_marker.h"
#include "features/operator/pod_restarter.h"
#include "features/operator/slice_writer.h"
#include "io/store_fixture.h"
#include "model/time.h"

namespace axo {
namespace {

using namespace std::chrono_literals;

class DutiesTest : public StoreTest {
protected:
    void agent_pod(bool ready) {
        const ObjectKey key{"kube-system", "cilium-x"};
        drop(resources::kPod, key);
        put(resources::kPod,
            {{"metadata", {{"name", key.name}, {"namespace", key.name_space}, {"labels", {{"k8s-app", "cilium"}}}}},
             {"spec", {{"nodeName", "n1"}}},
             {"status", {{"conditions", {{{"type", "Ready"}, {"status", ready ? "True" : "False"}}}}}}});
    }
    std::string node() { return get(resources::kNode, {"", "n1"}).dump(); }
    void endpoint(const std::string& name, const std::string& ip) {
        put(resources::kCiliumEndpoint,
            {{"metadata", {{"name", name}, {"namespace", "default"}}},
             {"status",
              {{"id", 5},
               {"identity", {{"id", 300}}},
               {"networking", {{"addressing", {{{"ipv4", ip}}}}, {"node", "192.168.0.1"}}}}}});
    }
    std::size_t slices() {
        std::size_t count = 0;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_))
            count += entry.path().filename().string().starts_with("ces-") ? 1 : 0;
        return count;
    }
};

TEST_F(DutiesTest, NodesAreMarkedAsTheirAgentsAre) {
    put(resources::kNode,
        {{"metadata", {{"name", "n1"}}},
         {"spec", {{"taints", {{{"key", "node.cilium.io/agent-not-ready"}, {"effect", "NoSchedule"}}}}}}});
    OperatorTables tables(loop_, *store_);
    NodeMarker marker(loop_, registry_, *store_, tables, {.set_taint = true});
    agent_pod(false);
    run_for(50ms);
    EXPECT_NE(node().find("agent-not-ready"), std::string::npos);
    EXPECT_EQ(node().find("CiliumIsUp"), std::string::npos);
    agent_pod(true);
    ASSERT_TRUE(wait_until([&] {
        return node().find("agent-not-ready") == std::string::npos && node().find("CiliumIsUp") != std::string::npos;
    })) << node();
    agent_pod(false);
    ASSERT_TRUE(wait_until([&] { return node().find("agent-not-ready") != std::string::npos; })) << node();
    EXPECT_NE(node().find("CiliumIsUp"), std::string::npos) << "pods there keep their network";
}

TEST_F(DutiesTest, PodsWithoutAnEndpointAreRestarted) {
    for (const char* name : {"dns-1", "dns-2"}) {
        put(resources::kPod,
            {{"metadata", {{"name", name}, {"namespace", "kube-system"}, {"labels", {{"k8s-app", "kube-dns"}}}}},
             {"spec", {{"nodeName", "n1"}}},
             {"status", {{"phase", "Running"}, {"startTime", format_time(std::chrono::system_clock::now() - 1min)}}}});
    }
    OperatorTables tables(loop_, *store_);
    PodRestarter restarter(loop_, registry_, *store_, tables, 20ms);
    EXPECT_TRUE(wait_until([&] {
        return get(resources::kPod, {"kube-system", "dns-1"}).is_null() &&
               get(resources::kPod, {"kube-system", "dns-2"}).is_null();
    }));
}

TEST_F(DutiesTest, EndpointsStandInSlices) {
    SliceWriter writer(loop_, registry_, *store_, 2);
    endpoint("a", "10.0.0.1");
    endpoint("b", "10.0.0.2");
    endpoint("c", "10.0.0.3");
    ASSERT_TRUE(wait_until([&] { return slices() == 2; })) << slices();
    drop(resources::kCiliumEndpoint, {"default", "c"});
    EXPECT_TRUE(wait_until([&] { return slices() == 1; })) << slices();
}

}  // namespace
}  // namespace axo
