// Policy: what is in force, why, and what would be.
#include <algorithm>
#include <charconv>

#include "app/agent/api/api.h"
#include "features/policy/diff.h"
#include "features/policy/explain.h"
#include "features/policy/listing.h"
#include "features/policy/match.h"
#include "io/manifest_file.h"
#include "maps/convert.h"

namespace axo {

namespace {

using policy::Direction;

constexpr std::size_t kListedEntries = 20000;

Json rule_json(const policy::RuleInfo& rule) {
    using Kind = policy::RuleInfo::Kind;
    Json json{{"cookie", rule.cookie},
              {"type", rule.kind == Kind::kRule          ? "rule"
                       : rule.kind == Kind::kDefaultDeny ? "default-deny"
                       : rule.kind == Kind::kLocalhost   ? "localhost"
                       : rule.kind == Kind::kClosed      ? "closed"
                                                         : "none"},
              {"direction", policy::direction_text(rule.direction)},
              {"deny", rule.kind == Kind::kDefaultDeny || rule.kind == Kind::kClosed || rule.deny},
              {"description", rule.to_string()}};
    if (rule.kind == Kind::kRule) {
        json["kind"] = rule.origin.kind;
        json["namespace"] = rule.origin.k8s_namespace;
        json["name"] = rule.origin.name;
        json["spec"] = rule.spec_index;
        json["path"] = rule.path;
        json["text"] = rule.text;
    }
    return json;
}

Json rules_json(const std::vector<policy::RuleInfo>& rules) {
    Json all = Json::array();
    for (const policy::RuleInfo& rule : rules) all.push_back(rule_json(rule));
    return all;
}

Json explanation_json(const policy::Explanation& explanation) {
    Json nearest = Json::array();
    for (const policy::NearMiss& miss : explanation.nearest) {
        nearest.push_back({{"rule", rule_json(miss.rule)},
                           {"peer-matches", miss.peer_matches},
                           {"ports", miss.ports},
                           {"missing", miss.missing}});
    }
    return {{"direction", policy::direction_text(explanation.direction)},
            {"subject", explanation.subject},
            {"peer", explanation.peer},
            {"traffic", explanation.traffic},
            {"allowed", explanation.allowed},
            {"decided-by", rule_json(explanation.decided_by)},
            {"denies", rules_json(explanation.denies)},
            {"allows", rules_json(explanation.allows)},
            {"nearest", std::move(nearest)},
            {"notes", explanation.notes},
            {"text", to_text(explanation)}};
}

// "TCP", "icmp", "47"
Result<std::uint8_t> protocol_number(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    static const std::map<std::string, std::uint8_t> names = {{"", 6},     {"TCP", 6},     {"UDP", 17}, {"SCTP", 132},
                                                              {"ICMP", 1}, {"ICMPV6", 58}, {"IGMP", 2}, {"VRRP", 112}};
    if (const auto known = names.find(text); known != names.end()) return known->second;
    std::uint8_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && end == text.data() + text.size()) return number;
    return fail(Code::kInvalidArgument, "protocol '" + text + "': accepted: TCP, UDP, SCTP, ICMP, ICMPv6 or a number");
}

}  // namespace

Json AgentApi::endpoint_policy(const EndpointRow& endpoint) const {
    const std::uint32_t reference = plane_.datapath_->generations().policy(endpoint.id);
    const bool audit = (reference & POLICY_REF_F_AUDIT) != 0;
    const bool ingress = (reference & POLICY_REF_F_INGRESS) != 0;
    const bool egress = (reference & POLICY_REF_F_EGRESS) != 0;
    std::string enabled = ingress && egress ? "both" : ingress ? "ingress" : egress ? "egress" : "none";
    if (audit && enabled != "none") enabled.insert(0, "audit-");
    Json allowed[2] = {Json::array(), Json::array()};
    Json denied[2] = {Json::array(), Json::array()};
    if (const auto image = plane_.datapath_->policy().image(PolicyLocation::of_reference(reference));
        image && reference != 0) {
        for (const Direction direction : {Direction::kIngress, Direction::kEgress}) {
            std::set<std::uint32_t> seen[2];
            for (const policy::ImageEntry& entry : policy::list_image(*image, direction, kListedEntries))
                seen[entry.verdict.allowed() ? 0 : 1].insert(entry.identity.value);
            allowed[direction == Direction::kIngress ? 0 : 1] = seen[0];
            denied[direction == Direction::kIngress ? 0 : 1] = seen[1];
        }
    }
    return {{"id", endpoint.identity.value},
            {"build", plane_.policy_->revision()},
            {"policy-revision", plane_.policy_->revision()},
            {"policy-enabled", enabled},
            {"allowed-ingress-identities", allowed[0]},
            {"allowed-egress-identities", allowed[1]},
            {"denied-ingress-identities", denied[0]},
            {"denied-egress-identities", denied[1]},
            {"l4", {{"ingress", Json::array()}, {"egress", Json::array()}}},
            {"cidr-policy", {{"ingress", Json::array()}, {"egress", Json::array()}}}};
}

// What the kernel holds, not what the agent wants.
Json AgentApi::policy_image(const EndpointRow& endpoint, std::size_t limit) const {
    const std::uint32_t reference = plane_.datapath_->generations().policy(endpoint.id);
    Json answer{{"endpoint", endpoint.id.value},
                {"reference", reference},
                {"bytes", 0},
                {"audit", (reference & POLICY_REF_F_AUDIT) != 0},
                {"entries", Json::array()},
                {"truncated", false}};
    const auto image = plane_.datapath_->policy().image(PolicyLocation::of_reference(reference));
    if (!image || reference == 0) return answer;
    answer["bytes"] = image->size_bytes();
    for (const Direction direction : {Direction::kIngress, Direction::kEgress}) {
        const auto entries = policy::list_image(*image, direction, limit);
        answer["truncated"] = answer["truncated"].get<bool>() || entries.size() == limit;
        for (const policy::ImageEntry& entry : entries) {
            const auto rule = plane_.policy_->engine().rule(entry.verdict.cookie);
            answer["entries"].push_back({{"direction", direction == Direction::kIngress ? "Ingress" : "Egress"},
                                         {"identity", entry.identity.value},
                                         {"labels", plane_.labels_of(entry.identity).to_strings()},
                                         {"port-proto", policy::port_text(entry)},
                                         {"action", entry.verdict.action == POLICY_REDIRECT ? "Redirect"
                                                    : entry.verdict.allowed()               ? "Allow"
                                                                                            : "Deny"},
                                         {"proxy-port", entry.verdict.proxy_port},
                                         {"cookie", entry.verdict.cookie},
                                         {"rule", rule ? rule->to_string() : ""}});
        }
    }
    return answer;
}

Result<AgentApi::Party> AgentApi::find_party(const std::string& text) const {
    const auto of_endpoint = [](const EndpointRow& row) { return Party{row.identity, &row}; };
    const auto of_identity = [this](IdentityId id) {
        return Party{id, id == identity::kHost ? plane_.endpoints_->find_kind(EndpointKind::kHost) : nullptr};
    };
    const auto number = [&](const std::string& digits) -> Result<std::uint32_t> {
        std::uint32_t value = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty())
            return fail(Code::kInvalidArgument, "'" + text + "': a number is expected after the colon");
        return value;
    };
    if (text.starts_with("identity:")) {
        TRY_ASSIGN(const std::uint32_t id, number(text.substr(9)));
        if (plane_.labels_of(IdentityId(id)).empty())
            return fail(Code::kNotFound, "identity " + std::to_string(id) + " does not exist");
        return of_identity(IdentityId(id));
    }
    if (text.starts_with("endpoint:")) {
        TRY_ASSIGN(const EndpointId id, plane_.endpoints_->resolve(text.substr(9)));
        return of_endpoint(*plane_.endpoints_->find(id));
    }
    if (const auto reserved = reserved_identity_by_name(text)) return of_identity(*reserved);
    if (const auto ip = IpAddress::parse(text)) {
        if (const EndpointRow* row = plane_.endpoints_->find_address(*ip)) return of_endpoint(*row);
        if (const IpcacheRow* row = plane_.ipcache_->lookup(*ip)) {
            // In dual stack clusters the world has a half for each family.
            const bool world = row->identity == identity::kWorld && plane_.config_.ipv4 && plane_.config_.ipv6;
            if (!world) return of_identity(row->identity);
            return Party{ip->is_v4() ? identity::kWorldIpv4 : identity::kWorldIpv6, nullptr};
        }
        return fail(Code::kNotFound, "address " + text + " is not known");
    }
    const std::string name = text.find('/') == std::string::npos ? "default/" + text : text;
    for (const auto& [id, row] : plane_.endpoints_->table().rows()) {
        if (row.pod_name() == name) return of_endpoint(row);
    }
    for (const auto& [prefix, row] : plane_.ipcache_->table().rows()) {
        if (!row.name.empty() && row.k8s_namespace + "/" + row.name == name) return Party{row.identity, nullptr};
    }
    return fail(
        Code::kNotFound,
        "'" + text +
            "' is not known; accepted: a pod (namespace/name), an IP address, identity:NUMBER, endpoint:NUMBER, "
            "or a reserved name such as world, host, remote-node");
}

void AgentApi::policy_get(const Call& call) {
    Json rules = Json::array();
    for (const auto& [key, row] : plane_.policy_->sources().rows()) {
        if (!row.policy) continue;
        const auto object = plane_.policy_->sources().object(key);
        if (!object) continue;
        const auto printed = policy::policy_rules_json(*object, plane_.policy_->sources().context());
        if (!printed) continue;  // what is in force is an earlier version; `policy list` shows the error
        for (const Json& rule : *printed) rules.push_back(rule);
    }
    call.answer(200, {{"revision", plane_.policy_->revision()}, {"policy", rules.dump(2)}});
}

void AgentApi::policy_explain(const Call& call) {
    const auto from = find_party(call.request.query_value("from"));
    if (!from) return call.fail(400, "from: " + from.error().message);
    const auto to = find_party(call.request.query_value("to"));
    if (!to) return call.fail(400, "to: " + to.error().message);
    const auto protocol = protocol_number(call.request.query_value("protocol"));
    if (!protocol) return call.fail(protocol.error());
    const bool icmp = *protocol == 1 || *protocol == 58;
    const std::string port_text = call.request.query_value(icmp ? "type" : "port");
    policy::Traffic traffic{.protocol = *protocol,
                            .port = static_cast<std::uint16_t>(*protocol == 1    ? 8
                                                               : *protocol == 58 ? 128
                                                                                 : 0)};
    if (!port_text.empty()) {
        const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), traffic.port);
        if (error != std::errc{} || end != port_text.data() + port_text.size())
            return call.fail(400, std::string(icmp ? "type '" : "port '") + port_text + "': accepted: 0 to " +
                                      (icmp ? "255" : "65535"));
    }
    // Each end has its say; what is not a pod has none.
    Json parts = Json::array();
    bool allowed = true;
    std::string text;
    for (const Direction direction : {Direction::kEgress, Direction::kIngress}) {
        const Party& subject = direction == Direction::kEgress ? *from : *to;
        const Party& peer = direction == Direction::kEgress ? *to : *from;
        // Without the host firewall the node is no subject; nor is what is no pod elsewhere.
        if (subject.endpoint != nullptr ? plane_.policy_->engine().subject(subject.endpoint->id) == nullptr
                                        : !is_cluster_identity(subject.identity))
            continue;
        const auto explanation =
            subject.endpoint != nullptr
                ? policy::explain(plane_.policy_->engine(), subject.endpoint->id, direction, peer.identity, traffic)
                : policy::explain_remote(plane_.policy_->engine(), subject.identity, direction, peer.identity, traffic);
        if (!explanation) return call.fail(explanation.error());
        if (subject.endpoint != nullptr && plane_.policy_->error(subject.endpoint->id) != nullptr)
            return call.fail(503, "endpoint " + subject.endpoint->id.to_string() +
                                      " is closed: " + plane_.policy_->error(subject.endpoint->id)->message);
        allowed = allowed && explanation->allowed;
        const Json part = explanation_json(*explanation);
        if (!text.empty()) text += "\n";
        text += part["text"].get<std::string>();
        parts.push_back(part);
    }
    if (parts.empty()) text = "Neither end is a pod: no policy of this cluster concerns this traffic.\n";
    call.answer(200, {{"allowed", allowed}, {"parts", std::move(parts)}, {"text", text}});
}

void AgentApi::policy_diff(const Call& call) {
    const bool remove = call.request.query_value("delete") == "true";
    const ManifestFile file = ManifestFile::parse(call.request.body, call.request.body.starts_with('{'));
    if (file.documents().empty()) return call.fail(400, "the body holds no manifest");
    const auto after = plane_.policy_->engine().clone();
    for (const ManifestFile::Document& document : file.documents()) {
        if (!document.good) return call.fail(400, document.problem.message);
        auto translation = plane_.policy_->sources().preview(document.object);
        if (!translation)
            return call.fail(400, "line " + std::to_string(document.line) + ": " + translation.error().message);
        const policy::Origin origin = translation->policy.origin;
        if (remove) {
            after->remove_policy(origin.kind, origin.k8s_namespace, origin.name);
        } else {
            after->upsert_policy(std::make_shared<const policy::Policy>(std::move(translation->policy)));
        }
    }
    policy::assume_identities(*after);
    (void)after->changes();

    std::vector<policy::FlowTuple> flows;
    const auto side = [&](std::uint16_t endpoint, std::uint32_t identity, const IpAddress& address,
                          std::optional<EndpointId>& id, IdentityId& number_out, std::optional<IpAddress>& ip) {
        if (endpoint != 0) id = EndpointId(endpoint);
        number_out = IdentityId(identity);
        ip = address;
    };
    (void)plane_.datapath_->flows().for_each([&](const FlowRow& row) {
        policy::FlowTuple tuple;
        side(row.value.endpoint_src, row.value.identity_src, row.source, tuple.source, tuple.source_identity,
             tuple.source_address);
        side(row.value.endpoint_dst, row.value.identity_dst, row.destination, tuple.destination,
             tuple.destination_identity, tuple.destination_address);
        tuple.protocol = row.protocol;
        tuple.port = row.protocol == 1 ? 8 : row.protocol == 58 ? 128 : row.destination_port;
        flows.push_back(tuple);
    });
    for (const flow_event& event : plane_.monitor_->recent_denials()) {
        policy::FlowTuple tuple;
        const bool v6 = (event.flags & EVENT_F_IPV6) != 0;
        side(event.endpoint_src, event.identity_src, from_axo_addr(event.saddr, v6), tuple.source,
             tuple.source_identity, tuple.source_address);
        side(event.endpoint_dst, event.identity_dst, from_axo_addr(event.daddr, v6), tuple.destination,
             tuple.destination_identity, tuple.destination_address);
        tuple.protocol = event.proto;
        tuple.port = event.proto == 1 || event.proto == 58
                         ? event.icmp_type
                         : static_cast<std::uint16_t>(event.dport >> 8 | event.dport << 8);
        flows.push_back(tuple);
    }
    const std::size_t seen = flows.size();
    // Many flows of two ends say the same.
    std::vector<policy::FlowTuple> distinct;
    std::set<std::string> known;
    for (const policy::FlowTuple& tuple : flows) {
        const auto id = [](const std::optional<EndpointId>& e) { return e ? e->to_string() : std::string("-"); };
        if (known
                .insert(id(tuple.source) + " " + tuple.source_address->to_string() + " " + id(tuple.destination) + " " +
                        tuple.destination_address->to_string() + " " + std::to_string(tuple.protocol) + " " +
                        std::to_string(tuple.port))
                .second)
            distinct.push_back(tuple);
    }

    Json changes = Json::array();
    std::string text;
    for (const policy::Difference& difference : policy::compare(plane_.policy_->engine(), *after, distinct)) {
        const policy::FlowTuple& flow = difference.flow;
        const auto name = [this](const std::optional<IpAddress>& ip) {
            const IpcacheRow* row = plane_.ipcache_->table().find(Prefix::host(*ip));
            return row == nullptr || row->name.empty() ? ip->to_string() : row->k8s_namespace + "/" + row->name;
        };
        const std::string source = name(flow.source_address);
        const std::string destination = name(flow.destination_address);
        const std::string traffic = policy::to_text(policy::Traffic{flow.protocol, flow.port});
        const char* before_word = difference.allowed_after ? "denied" : "allowed";
        const char* after_word = difference.allowed_after ? "allowed" : "denied";
        changes.push_back({{"source", source},
                           {"source-labels", plane_.labels_of(flow.source_identity).to_strings()},
                           {"destination", destination},
                           {"destination-labels", plane_.labels_of(flow.destination_identity).to_strings()},
                           {"protocol", flow.protocol},
                           {"port", flow.port},
                           {"traffic", traffic},
                           {"direction", policy::direction_text(difference.direction)},
                           {"before", before_word},
                           {"after", after_word},
                           {"before-rule", difference.before.to_string()},
                           {"after-rule", difference.after.to_string()}});
        text += std::string(difference.allowed_after ? "+ " : "- ") + source + " -> " + destination + " " + traffic +
                ": " + before_word + " now, " + after_word + " then (" + policy::direction_text(difference.direction) +
                ": " + difference.after.to_string() + ")\n";
    }
    if (changes.empty()) text = "No flow of the " + std::to_string(seen) + " seen changes its verdict.\n";
    call.answer(200, {{"flows-seen", seen}, {"changes", std::move(changes)}, {"text", text}});
}

void AgentApi::configure_endpoint(const Call& call, const EndpointRow& endpoint) {
    const Json body = Json::parse(call.request.body, nullptr, false);
    if (!body.is_object() || !body.contains("options") || !body["options"].is_object())
        return call.fail(
            400, "EndpointConfigurationSpec: options: needed, e.g. {\"options\": {\"PolicyAuditMode\": \"Enabled\"}}");
    std::optional<bool> audit;
    for (const auto& [name, value] : body["options"].items()) {
        const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
        if (name != "PolicyAuditMode")
            return call.fail(400, "EndpointConfigurationSpec: options." + name + ": accepted: PolicyAuditMode");
        if (text == "Enabled" || text == "enabled" || text == "true") {
            audit = true;
        } else if (text == "Disabled" || text == "disabled" || text == "false") {
            audit = false;
        } else {
            return call.fail(
                400, "EndpointConfigurationSpec: options.PolicyAuditMode '" + text + "': accepted: Enabled, Disabled");
        }
    }
    if (audit) {
        if (auto done = plane_.endpoints_->set_policy_audit(endpoint.id, *audit); !done) return call.fail(done.error());
    }
    call.answer(200);
}

void AgentApi::add_policy_routes() {
    add("GET", "/v1/policy", [this](const Call& call) { policy_get(call); });
    add("GET", "/v1/policy/explain", [this](const Call& call) { policy_explain(call); });
    add("POST", "/v1/policy/diff", [this](const Call& call) { policy_diff(call); });
    add("GET", "/v1/policy/rules",
        [this](const Call& call) { call.answer(200, rules_json(plane_.policy_->engine().rules())); });
    add("GET", "/v1/policy/selectors", [this](const Call& call) {
        Json all = Json::array();
        plane_.policy_->engine().identities().for_each(
            [&](const policy::Selector& selector, std::uint32_t uses, const std::vector<IdentityId>& ids) {
                Json numbers = Json::array();
                for (const IdentityId id : ids) numbers.push_back(id.value);
                all.push_back({{"selector", policy::to_text(selector)},
                               {"identities", std::move(numbers)},
                               {"users", uses},
                               {"labels", Json::array()}});
            });
        call.answer(200, all);
    });
    add("GET", "/v1/policy/objects", [this](const Call& call) {
        Json all = Json::array();
        for (const auto& [key, row] : plane_.policy_->sources().rows()) {
            std::size_t rules = 0;
            if (row.policy) {
                for (const policy::Spec& spec : row.policy->specs) rules += spec.rules.size();
            }
            all.push_back({{"kind", key.first},
                           {"namespace", key.second.name_space},
                           {"name", key.second.name},
                           {"valid", !row.error},
                           {"in-force", row.policy != nullptr},
                           {"error", row.error ? row.error->message : ""},
                           {"warnings", row.warnings},
                           {"specs", row.policy ? row.policy->specs.size() : 0},
                           {"rules", rules}});
        }
        call.answer(200, all);
    });
    add("GET", "/v1/policy/image/{}", [this](const Call& call) {
        const auto id = plane_.endpoints_->resolve(call.parameters[0]);
        if (!id) return call.fail(id.error());
        call.answer(200, policy_image(*plane_.endpoints_->find(*id), kListedEntries));
    });
}

}  // namespace axo
