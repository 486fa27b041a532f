#include "app/agent/monitor_notices.h"

#include <flow/events.pb.h>

#include "model/json_text.h"
#include "model/time.h"

namespace axo {

namespace {

// Go leaves out what is empty.
template <class Value>
void add(Json& json, const char* key, const Value& value) {
    if (value != Value{}) json[key] = value;
}

template <class Labels>
void add_labels(Json& json, const Labels& labels) {
    if (!labels.empty()) json["labels"] = std::vector<std::string>(labels.begin(), labels.end());
}

Json started(const ::flow::TimeNotification& event) {
    const auto since_epoch =
        std::chrono::seconds(event.time().seconds()) + std::chrono::nanoseconds(event.time().nanos());
    return {{"time", format_time_nano(WallTime(std::chrono::duration_cast<WallTime::duration>(since_epoch)))}};
}

Json policy(const ::flow::PolicyUpdateNotification& event) {
    Json json{{"rule_count", event.rule_count()}};
    add_labels(json, event.labels());
    add(json, "revision", event.revision());
    return json;
}

Json regenerated(const ::flow::EndpointRegenNotification& event) {
    Json json = Json::object();
    add(json, "id", event.id());
    add_labels(json, event.labels());
    add(json, "error", event.error());
    return json;
}

Json endpoint(const ::flow::EndpointUpdateNotification& event) {
    Json json = Json::object();
    add(json, "id", event.id());
    add_labels(json, event.labels());
    add(json, "error", event.error());
    add(json, "pod-name", event.pod_name());
    add(json, "namespace", event.namespace_());
    return json;
}

Json ipcache(const ::flow::IPCacheNotification& event) {
    Json json{{"cidr", event.cidr()}, {"id", event.identity()}, {"encrypt-key", event.encrypt_key()}};
    add(json, "host-ip", event.host_ip());
    add(json, "namespace", event.namespace_());
    add(json, "pod-name", event.pod_name());
    return json;
}

}  // namespace

std::optional<AgentNotice> monitor_notice(const std::string& agent_event) {
    ::flow::AgentEvent event;
    if (!event.ParseFromString(agent_event)) return std::nullopt;
    const auto notice = [](AgentNotice::Type type, const Json& json) {
        return AgentNotice{.type = type, .text = json_text(json)};
    };
    switch (event.type()) {
        case ::flow::AGENT_STARTED: return notice(AgentNotice::kStarted, started(event.agent_start()));
        case ::flow::POLICY_UPDATED: return notice(AgentNotice::kPolicyUpdated, policy(event.policy_update()));
        case ::flow::POLICY_DELETED: return notice(AgentNotice::kPolicyDeleted, policy(event.policy_update()));
        case ::flow::ENDPOINT_REGENERATE_SUCCESS:
            return notice(AgentNotice::kEndpointRegenerated, regenerated(event.endpoint_regenerate()));
        case ::flow::ENDPOINT_REGENERATE_FAILURE:
            return notice(AgentNotice::kEndpointNotRegenerated, regenerated(event.endpoint_regenerate()));
        case ::flow::ENDPOINT_CREATED: return notice(AgentNotice::kEndpointCreated, endpoint(event.endpoint_update()));
        case ::flow::ENDPOINT_DELETED: return notice(AgentNotice::kEndpointDeleted, endpoint(event.endpoint_update()));
        case ::flow::IPCACHE_UPSERTED: return notice(AgentNotice::kIpcacheUpserted, ipcache(event.ipcache_update()));
        case ::flow::IPCACHE_DELETED: return notice(AgentNotice::kIpcacheDeleted, ipcache(event.ipcache_update()));
        default: return std::nullopt;
    }
}

}  // namespace axo
