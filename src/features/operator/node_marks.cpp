#include "features/operator/node_marks.h"

namespace axo {
namespace {

constexpr std::string_view kNetworkUnavailable = "NetworkUnavailable";
constexpr std::string_view kReason = "CiliumIsUp";

template <class Predicate>
void erase_items(Json& list, Predicate wanted) {
    Json kept = Json::array();
    for (Json& item : list) {
        if (!wanted(JsonReader(item, ""))) kept.push_back(std::move(item));
    }
    list = std::move(kept);
}

}  // namespace

NodeMarks node_marks(const NodeMarksSettings& settings, const KubeNodeRow& node, const AgentState& agent) {
    NodeMarks marks;
    if (agent.ready) {
        marks.remove_taint = settings.remove_taint && node.agent_taint;
        marks.set_condition = settings.set_condition && !node.cilium_is_up;
    } else if (agent.scheduled) {
        marks.add_taint = settings.set_taint && !node.agent_taint;
    }
    return marks;
}

bool has_taint(const JsonReader& node, const std::string& key) {
    bool found = false;
    node.at("spec").each("taints", [&](const JsonReader& taint) { found = found || taint.string("key") == key; });
    return found;
}

bool has_cilium_is_up(const JsonReader& node) {
    bool found = false;
    node.at("status").each("conditions", [&](const JsonReader& condition) {
        found = found || (condition.string("type") == kNetworkUnavailable && condition.string("status") == "False" &&
                          condition.string("reason") == kReason);
    });
    return found;
}

bool is_ready_pod(const JsonReader& pod) {
    bool ready = false;
    pod.at("status").each("conditions", [&](const JsonReader& condition) {
        if (condition.string("type") == "Ready") ready = condition.string("status") == "True";
    });
    return ready;
}

Json with_taint(Json node, const std::string& key, bool present) {
    if (!node["spec"].is_object()) node["spec"] = Json::object();
    Json& taints = node["spec"]["taints"];
    if (!taints.is_array()) taints = Json::array();
    erase_items(taints, [&](const JsonReader& taint) { return taint.string("key") == key; });
    if (present) taints.push_back({{"key", key}, {"effect", "NoSchedule"}});
    if (taints.empty()) node["spec"].erase("taints");
    return node;
}

Json with_cilium_is_up(Json node, WallTime now) {
    if (!node["status"].is_object()) node["status"] = Json::object();
    Json& conditions = node["status"]["conditions"];
    if (!conditions.is_array()) conditions = Json::array();
    erase_items(conditions,
                [](const JsonReader& condition) { return condition.string("type") == kNetworkUnavailable; });
    conditions.push_back({{"type", kNetworkUnavailable},
                          {"status", "False"},
                          {"reason", kReason},
                          {"message", "Cilium is running on this node"},
                          {"lastTransitionTime", format_time(now)},
                          {"lastHeartbeatTime", format_time(now)}});
    return node;
}

}  // namespace axo
