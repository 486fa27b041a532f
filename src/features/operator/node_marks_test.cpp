#include "features/operator/node_marks.h"

#include <gtest/gtest.h>

#include "features/operator/tables.h"
#include "features/operator/unmanaged_pods.h"

namespace axo {
namespace {

using namespace std::chrono_literals;

const std::string kTaint = "node.cilium.io/agent-not-ready";

TEST(NodeMarks, FollowTheAgent) {
    const NodeMarksSettings settings{.set_taint = true};
    KubeNodeRow fresh{.uid = "u", .agent_taint = true};
    EXPECT_TRUE(node_marks(settings, fresh, {}).nothing()) << "nothing is known of an agent";
    EXPECT_TRUE(node_marks(settings, fresh, {.scheduled = true}).nothing());
    EXPECT_EQ(node_marks(settings, fresh, {.scheduled = true, .ready = true}),
              (NodeMarks{.remove_taint = true, .set_condition = true}));
    KubeNodeRow up{.uid = "u", .agent_taint = false, .cilium_is_up = true};
    EXPECT_TRUE(node_marks(settings, up, {.scheduled = true, .ready = true}).nothing());
    EXPECT_EQ(node_marks(settings, up, {.scheduled = true}), (NodeMarks{.add_taint = true}));
    EXPECT_TRUE(node_marks(settings, up, {}).nothing());
    const NodeMarksSettings off{.remove_taint = false, .set_taint = false, .set_condition = false};
    EXPECT_TRUE(node_marks(off, fresh, {.scheduled = true, .ready = true}).nothing());
    EXPECT_TRUE(node_marks(off, up, {.scheduled = true}).nothing());
}

TEST(NodeMarks, ChangeNothingElse) {
    const Json node = Json::parse(R"({"kind": "Node", "spec": {"podCIDR": "10.0.0.0/24", "taints": [
        {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"},
        {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"},
        {"key": "node.cilium.io/agent-not-ready", "effect": "NoSchedule"}]},
        "status": {"capacity": {"cpu": "4"}, "conditions": [
        {"type": "NetworkUnavailable", "status": "True", "reason": "NodeInitialization"},
        {"type": "Ready", "status": "True", "extra": 1}]}})");
    EXPECT_TRUE(has_taint(JsonReader(node, ""), kTaint));
    Json next = with_taint(node, kTaint, false);
    EXPECT_FALSE(has_taint(JsonReader(next, ""), kTaint));
    EXPECT_EQ(next["spec"]["taints"], Json::parse(R"([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}])"));
    EXPECT_EQ(next["spec"]["podCIDR"], "10.0.0.0/24");
    EXPECT_EQ(next["status"], node["status"]);
    next = with_taint(Json::parse(R"({"kind": "Node"})"), kTaint, true);
    EXPECT_EQ(next["spec"]["taints"],
              Json::parse(R"([{"key": "node.cilium.io/agent-not-ready", "effect": "NoSchedule"}])"));
    EXPECT_EQ(with_taint(next, kTaint, true), next);
    EXPECT_FALSE(with_taint(next, kTaint, false)["spec"].contains("taints"));

    EXPECT_FALSE(has_cilium_is_up(JsonReader(node, "")));
    next = with_cilium_is_up(node, WallTime{} + 1s);
    EXPECT_TRUE(has_cilium_is_up(JsonReader(next, "")));
    EXPECT_EQ(next["status"]["conditions"].size(), 2U);
    EXPECT_EQ(next["status"]["conditions"][0], node["status"]["conditions"][1]);
    EXPECT_EQ(next["status"]["conditions"][1]["lastTransitionTime"], "1970-01-01T00:00:01Z");
    EXPECT_EQ(next["status"]["capacity"], node["status"]["capacity"]);
}

TEST(NodeMarks, ReadyPods) {
    const auto ready = [](const char* text) { return is_ready_pod(JsonReader(Json::parse(text), "")); };
    EXPECT_TRUE(ready(R"({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})"));
    EXPECT_FALSE(ready(R"({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})"));
    EXPECT_FALSE(ready(R"({"status": {"conditions": [{"type": "ContainersReady", "status": "True"}]}})"));
    EXPECT_FALSE(ready(R"({})"));
}

TEST(OperatorTablesSettings, LabelLists) {
    using Labels = std::map<std::string, std::string>;
    EXPECT_EQ(parse_label_list("k8s-app=cilium,a=").value(), (Labels{{"k8s-app", "cilium"}, {"a", ""}}));
    EXPECT_TRUE(parse_label_list("").value().empty());
    EXPECT_FALSE(parse_label_list("k8s-app"));
    EXPECT_FALSE(parse_label_list("=x"));
}

TEST(UnmanagedPods, OneOfThoseWithoutAnEndpoint) {
    const WallTime now = WallTime{} + 1h;
    OperatorPodRow pod{.node_name = "n1", .restartable = true, .running_since = now - 31s};
    std::map<ObjectKey, OperatorPodRow> pods;
    std::map<ObjectKey, OperatorEndpointRow> endpoints;
    UnmanagedPods unmanaged;
    pods[{"kube-system", "dns-1"}] = pod;
    endpoints[{"kube-system", "dns-1"}];
    EXPECT_FALSE(unmanaged.next(pods, endpoints, now)) << "it has one";
    pods[{"kube-system", "dns-2"}] = pod;
    pods[{"kube-system", "dns-3"}] = pod;
    EXPECT_EQ(unmanaged.next(pods, endpoints, now), (ObjectKey{"kube-system", "dns-2"}));
    unmanaged.restarted({"kube-system", "dns-2"}, now);
    EXPECT_EQ(unmanaged.next(pods, endpoints, now), (ObjectKey{"kube-system", "dns-3"}));
    unmanaged.restarted({"kube-system", "dns-3"}, now + 15s);
    EXPECT_FALSE(unmanaged.next(pods, endpoints, now + 4min));
    EXPECT_EQ(unmanaged.next(pods, endpoints, now + 5min), (ObjectKey{"kube-system", "dns-2"}));

    pods.clear();
    auto& one = pods[{"kube-system", "dns-9"}];
    const auto restarts = [&] { return UnmanagedPods().next(pods, endpoints, now).has_value(); };
    one = pod;
    one.running_since = now - 29s;
    EXPECT_FALSE(restarts()) << "too young";
    one.running_since.reset();
    EXPECT_FALSE(restarts()) << "not running";
    one = pod;
    one.restartable = false;
    EXPECT_FALSE(restarts());
    one = pod;
    one.host_network = true;
    EXPECT_FALSE(restarts());
    one = pod;
    EXPECT_TRUE(restarts());
}

}  // namespace
}  // namespace axo
