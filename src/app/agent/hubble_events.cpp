#include "app/agent/hubble_events.h"

#include <flow/events.pb.h>

#include <chrono>

#include "hubble/server/flow_proto.h"

namespace axo::hubble_events {

namespace {

void endpoint_update(hubble::AgentEvents& events, ::flow::AgentEventType type, const EndpointRow& endpoint) {
    ::flow::AgentEvent event;
    event.set_type(type);
    auto& update = *event.mutable_endpoint_update();
    update.set_id(endpoint.id.value);
    for (const std::string& label : endpoint.labels.to_strings()) update.add_labels(label);
    update.set_pod_name(endpoint.k8s_pod);
    update.set_namespace_(endpoint.k8s_namespace);
    events.add(event.SerializeAsString());
}

}  // namespace

void started(hubble::AgentEvents& events) {
    ::flow::AgentEvent event;
    event.set_type(::flow::AGENT_STARTED);
    hubble::to_timestamp(std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count(),
                         *event.mutable_agent_start()->mutable_time());
    events.add(event.SerializeAsString());
}

void policy_changed(hubble::AgentEvents& events, bool removed, const std::vector<std::string>& labels,
                    std::uint64_t revision, std::int64_t rules) {
    ::flow::AgentEvent event;
    event.set_type(removed ? ::flow::POLICY_DELETED : ::flow::POLICY_UPDATED);
    auto& update = *event.mutable_policy_update();
    for (const std::string& label : labels) update.add_labels(label);
    update.set_revision(revision);
    update.set_rule_count(rules);
    events.add(event.SerializeAsString());
}

void endpoint_made(hubble::AgentEvents& events, const EndpointRow& endpoint) {
    endpoint_update(events, ::flow::ENDPOINT_CREATED, endpoint);
}

void endpoint_gone(hubble::AgentEvents& events, const EndpointRow& endpoint) {
    endpoint_update(events, ::flow::ENDPOINT_DELETED, endpoint);
}

void endpoint_regenerated(hubble::AgentEvents& events, const EndpointRow& endpoint, const std::string& error) {
    ::flow::AgentEvent event;
    event.set_type(error.empty() ? ::flow::ENDPOINT_REGENERATE_SUCCESS : ::flow::ENDPOINT_REGENERATE_FAILURE);
    auto& regenerate = *event.mutable_endpoint_regenerate();
    regenerate.set_id(endpoint.id.value);
    for (const std::string& label : endpoint.labels.to_strings()) regenerate.add_labels(label);
    regenerate.set_error(error);
    events.add(event.SerializeAsString());
}

void ipcache_changed(hubble::AgentEvents& events, const Prefix& prefix, const IpcacheRow* now) {
    ::flow::AgentEvent event;
    event.set_type(now != nullptr ? ::flow::IPCACHE_UPSERTED : ::flow::IPCACHE_DELETED);
    auto& update = *event.mutable_ipcache_update();
    update.set_cidr(prefix.to_string());
    if (now != nullptr) {
        update.set_identity(now->identity.value);
        update.set_host_ip(now->host_ip.to_string());
        update.set_namespace_(now->k8s_namespace);
        update.set_pod_name(now->k8s_namespace.empty() ? "" : now->name);
    }
    events.add(event.SerializeAsString());
}

namespace {

std::string upserted_text(const service::FrontendKey& key, const service::FrontendRow& row) {
    ::flow::AgentEvent event;
    event.set_type(::flow::SERVICE_UPSERTED);
    auto& service = *event.mutable_service_upsert();
    service.set_id(row.id);
    service.mutable_frontend_address()->set_ip(key.address.to_string());
    service.mutable_frontend_address()->set_port(key.port);
    for (const service::Backend& backend : row.selection->backends) {
        auto& address = *service.add_backend_addresses();
        address.set_ip(backend.address.address.to_string());
        address.set_port(backend.address.port);
    }
    service.set_type(std::string(service::type_name(row.type)));
    service.set_name(row.service->name.name);
    service.set_namespace_(row.service->name.name_space);
    service.set_ext_traffic_policy(row.service->external_local ? "Local" : "Cluster");
    service.set_int_traffic_policy(row.service->internal_local ? "Local" : "Cluster");
    return event.SerializeAsString();
}

}  // namespace

void service_upserted(hubble::AgentEvents& events, const service::FrontendKey& key, const service::FrontendRow& row) {
    // Thousands may change at once: written when somebody reads it.
    constexpr std::size_t kBackendBytes = 48;
    events.add_later(256 + row.selection->backends.size() * kBackendBytes,
                     [key, row] { return upserted_text(key, row); });
}

void service_deleted(hubble::AgentEvents& events, std::uint32_t id) {
    ::flow::AgentEvent event;
    event.set_type(::flow::SERVICE_DELETED);
    event.mutable_service_delete()->set_id(id);
    events.add(event.SerializeAsString());
}

}  // namespace axo::hubble_events
