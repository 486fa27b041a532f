// /endpoint and below.
#include "app/agent/api/api.h"
#include "app/agent/api/endpoint_request.h"
#include "base/sha256.h"
#include "model/time.h"

namespace axo {

namespace {

Json log_json(const std::vector<EndpointLogEntry>& log) {
    Json all = Json::array();
    // Newest first, as Cilium's.
    for (auto entry = log.rbegin(); entry != log.rend(); ++entry) {
        all.push_back({{"timestamp", format_time_nano(entry->time)},
                       {"code", entry->ok ? "ok" : "failed"},
                       {"message", entry->message},
                       {"state", endpoint_state_text(entry->state)}});
    }
    return all;
}

Json health_json(const EndpointRow& endpoint, bool closed) {
    const char* word =
        endpoint.state == EndpointState::kReady                                                             ? "OK"
        : endpoint.state == EndpointState::kNotReady || endpoint.state == EndpointState::kInvalid           ? "Failure"
        : endpoint.state == EndpointState::kDisconnecting || endpoint.state == EndpointState::kDisconnected ? "Disabled"
                                                                                                            : "Pending";
    return {{"overallHealth", closed ? "Warning" : word},
            {"bpf", word},
            {"policy", closed ? "Failure" : word},
            {"connected", endpoint.state == EndpointState::kReady}};
}

Json label_configuration(const EndpointRow& endpoint) {
    return {{"realized", {{"user", Json::array()}}},
            {"security-relevant", endpoint.labels.to_strings()},
            {"derived", endpoint.info_labels.to_strings()},
            {"disabled", Json::array()}};
}

Json spec_json(const EndpointRow& endpoint) {
    return {{"label-configuration", {{"user", Json::array()}}},
            {"options", {{"PolicyAuditMode", endpoint.policy_audit ? "Enabled" : "Disabled"}}}};
}

}  // namespace

Json AgentApi::identity_json(IdentityId id, const LabelSet& labels) const {
    return {{"id", id.value}, {"labels", labels.to_strings()}, {"labelsSHA256", sha256_hex(labels.key())}};
}

Json AgentApi::endpoint_json(const EndpointRow& endpoint) const {
    Json identifiers = Json::object();
    put_nonempty(identifiers, "cni-attachment-id", endpoint.cni_attachment_id());
    put_nonempty(identifiers, "container-id", endpoint.container_id);
    put_nonempty(identifiers, "container-name", endpoint.container_name);
    put_nonempty(identifiers, "docker-endpoint-id", endpoint.docker_endpoint_id);
    put_nonempty(identifiers, "docker-network-id", endpoint.docker_network_id);
    put_nonempty(identifiers, "pod-name", endpoint.pod_name());
    put_nonempty(identifiers, "k8s-pod-name", endpoint.k8s_pod);
    put_nonempty(identifiers, "k8s-namespace", endpoint.k8s_namespace);

    Json pair = Json::object();
    put_nonempty(pair, "ipv4", endpoint.ipv4);
    put_nonempty(pair, "ipv6", endpoint.ipv6);
    put_nonempty(pair, "ipv4-pool-name", endpoint.ipv4_pool);
    put_nonempty(pair, "ipv6-pool-name", endpoint.ipv6_pool);
    Json networking{{"addressing", Json::array({std::move(pair)})}, {"host-addressing", node_addressing()}};
    put_nonempty(networking, "interface-name", endpoint.interface_name);
    put_nonempty(networking, "container-interface-name", endpoint.container_interface);
    if (endpoint.link.value != 0) networking["interface-index"] = endpoint.link.value;
    if (!endpoint.mac.is_zero()) networking["mac"] = endpoint.mac.to_string();
    if (!endpoint.host_mac.is_zero()) networking["host-mac"] = endpoint.host_mac.to_string();

    const Json policy = endpoint_policy(endpoint);
    const auto log = plane_.endpoints_->log(endpoint.id);
    Json latest = Json::array();
    if (!log.empty()) latest = log_json({log.back()});
    Json status{
        {"external-identifiers", std::move(identifiers)},
        {"identity", identity_json(endpoint.identity, endpoint.labels)},
        {"labels", label_configuration(endpoint)},
        {"realized", spec_json(endpoint)},
        {"networking", std::move(networking)},
        {"policy",
         {{"spec", policy}, {"realized", policy}, {"proxy-policy-revision", 0}, {"proxy-statistics", Json::array()}}},
        {"log", std::move(latest)},
        {"controllers", Json::array()},
        {"state", endpoint_state_text(endpoint.state)},
        {"health", health_json(endpoint, plane_.policy_->error(endpoint.id) != nullptr)},
        {"namedPorts", Json::array()}};
    return {{"id", endpoint.id.value}, {"spec", spec_json(endpoint)}, {"status", std::move(status)}};
}

void AgentApi::create_endpoint(const Call& call) {
    auto parsed = parse_endpoint_request(call.request.body);
    if (!parsed) return call.fail(parsed.error());
    EndpointRow& endpoint = parsed->endpoint;
    // "cilium-local:0" and "0" ask for a number; another number asks for that one.
    std::string reference = call.parameters[0];
    if (reference.starts_with("cilium-local:")) reference = reference.substr(std::string("cilium-local:").size());
    if (reference != "0") {
        const bool digits = !reference.empty() && reference.size() <= 5 &&
                            std::ranges::all_of(reference, [](char c) { return c >= '0' && c <= '9'; });
        const unsigned long number = digits ? std::stoul(reference) : 0;
        if (number == 0 || number > 65535)
            return call.fail(
                400, "endpoint id '" + call.parameters[0] + "': accepted: cilium-local:0 to cilium-local:65535");
        endpoint.id = EndpointId(static_cast<std::uint16_t>(number));
    }
    if (endpoint.interface_name.empty() || endpoint.link.value == 0) {
        return call.fail(
            400,
            "EndpointChangeRequest: interface-name and interface-index: both are needed: the host-side device of the endpoint");
    }
    if (endpoint.mac.is_zero())
        return call.fail(400, "EndpointChangeRequest: mac: needed: the address of the interface inside the endpoint");
    if (!endpoint.ipv4 && !endpoint.ipv6)
        return call.fail(400, "EndpointChangeRequest: addressing: an ipv4 or an ipv6 address is needed");
    if (endpoint.ipv4 && !plane_.config_.ipv4)
        return call.fail(400, "EndpointChangeRequest: addressing.ipv4: IPv4 is off (enable-ipv4=false)");
    if (endpoint.ipv6 && !plane_.config_.ipv6)
        return call.fail(400, "EndpointChangeRequest: addressing.ipv6: IPv6 is off (enable-ipv6=false)");
    for (const auto& [ip, uuid] :
         {std::pair{endpoint.ipv4, parsed->expiration4}, std::pair{endpoint.ipv6, parsed->expiration6}}) {
        if (!ip || uuid.empty()) continue;
        if (auto confirmed = plane_.pool_.confirm(ip, uuid); !confirmed) {
            // After a restart of the agent the lease is not known any more; claiming the address decides.
            if (confirmed.error().code != Code::kNotFound)
                return call.fail(400, "unable to confirm the address: " + confirmed.error().message);
        }
    }
    plane_.endpoints_->create(std::move(endpoint), [this, responder = call.responder](const Result<EndpointRow>& made) {
        const HttpRequest none;
        const Call later{none, responder, {}};
        if (!made) {
            later.fail(made.error());
        } else {
            later.answer(201, endpoint_json(*made));
        }
    });
}

// Cilium's PATCH lets a plugin correct what it told; what cannot change while an endpoint lives is refused.
void AgentApi::patch_endpoint(const Call& call) {
    const auto id = plane_.endpoints_->resolve(call.parameters[0]);
    if (!id) return call.fail(id.error());
    auto parsed = parse_endpoint_request(call.request.body);
    if (!parsed) return call.fail(parsed.error());
    const EndpointRow& wanted = parsed->endpoint;
    const EndpointRow& present = *plane_.endpoints_->find(*id);
    const auto differs = [](const IpAddress& a, const IpAddress& b) { return a && a != b; };
    if (differs(wanted.ipv4, present.ipv4) || differs(wanted.ipv6, present.ipv6)) {
        return call.fail(400, "EndpointChangeRequest: addressing: the addresses of an endpoint cannot be changed");
    }
    if (wanted.link.value != 0 && wanted.link != present.link) {
        return call.fail(400, "EndpointChangeRequest: interface-index: the device of an endpoint cannot be changed");
    }
    if (auto done = plane_.endpoints_->regenerate(*id); !done) return call.fail(done.error());
    call.answer(200);
}

void AgentApi::add_endpoint_routes() {
    const auto with_endpoint = [this](const std::function<void(const Call&, const EndpointRow&)>& handler) {
        return [this, handler](const Call& call) {
            const auto id = plane_.endpoints_->resolve(call.parameters[0]);
            if (!id) return call.fail(id.error());
            handler(call, *plane_.endpoints_->find(*id));
        };
    };
    add("GET", "/v1/endpoint", [this](const Call& call) {
        // The optional body is a list of labels that all have to be there.
        const Json wanted = Json::parse(call.request.body, nullptr, false);
        Json all = Json::array();
        for (const auto& [id, row] : plane_.endpoints_->table().rows()) {
            bool match = true;
            if (wanted.is_array()) {
                for (const Json& label : wanted)
                    match &= label.is_string() && row.labels.contains(Label::parse(label.get<std::string>()));
            }
            if (match) all.push_back(endpoint_json(row));
        }
        call.answer(200, all);
    });
    add("DELETE", "/v1/endpoint", [this](const Call& call) {
        const Json body = Json::parse(call.request.body, nullptr, false);
        if (!body.is_object() || !body.contains("container-id") || !body["container-id"].is_string() ||
            body["container-id"].get<std::string>().empty()) {
            return call.fail(
                400, "EndpointBatchDeleteRequest: container-id: needed: the id of the container whose endpoints go");
        }
        const std::string container = body["container-id"];
        if (plane_.endpoints_->remove_container(container) == 0)
            return call.fail(404, "no endpoint of container " + container + " exists");
        call.answer(200);
    });
    add("GET", "/v1/endpoint/{}",
        with_endpoint([this](const Call& call, const EndpointRow& row) { call.answer(200, endpoint_json(row)); }));
    add("PUT", "/v1/endpoint/{}", [this](const Call& call) { create_endpoint(call); });
    add("PATCH", "/v1/endpoint/{}", [this](const Call& call) { patch_endpoint(call); });
    add("DELETE", "/v1/endpoint/{}", with_endpoint([this](const Call& call, const EndpointRow& row) {
            if (row.kind != EndpointKind::kPod)
                return call.fail(403, "endpoint " + row.id.to_string() + " is the node's own and cannot be deleted");
            if (auto done = plane_.endpoints_->remove(row.id); !done) return call.fail(done.error());
            call.answer(200);
        }));
    add("GET", "/v1/endpoint/{}/config", with_endpoint([](const Call& call, const EndpointRow& row) {
            call.answer(200, {{"realized", spec_json(row)}, {"immutable", Json::object()}});
        }));
    add("PATCH", "/v1/endpoint/{}/config",
        with_endpoint([this](const Call& call, const EndpointRow& row) { configure_endpoint(call, row); }));
    add("GET", "/v1/endpoint/{}/labels", with_endpoint([](const Call& call, const EndpointRow& row) {
            call.answer(200, {{"spec", {{"user", Json::array()}}}, {"status", label_configuration(row)}});
        }));
    add("GET", "/v1/endpoint/{}/log", with_endpoint([this](const Call& call, const EndpointRow& row) {
            call.answer(200, log_json(plane_.endpoints_->log(row.id)));
        }));
    add("GET", "/v1/endpoint/{}/healthz", with_endpoint([this](const Call& call, const EndpointRow& row) {
            call.answer(200, health_json(row, plane_.policy_->error(row.id) != nullptr));
        }));
}

}  // namespace axo
