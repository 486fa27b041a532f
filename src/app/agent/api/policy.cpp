// Policy: what is in force, why, and what would be.
#include <algorithm>
#include <charconv>

#include "app/agent/api/api.h"
#include "app/agent/api/policy_json.h"
#include "features/policy/diff.h"
#include "features/policy/flow_tuples.h"
#include "features/policy/listing.h"
#include "features/policy/match.h"
#include "io/manifest_file.h"
#include "maps/convert.h"
#include "model/json_text.h"

namespace axo {

namespace {

using policy::Direction;

constexpr std::size_t kListedEntries = 20000;

// The API's SelectorIdentityMapping.
template <class Identities>
Json selector_json(const std::string& selector, std::uint32_t users, const Identities& identities) {
    Json numbers = Json::array();
    for (const IdentityId id : identities) numbers.push_back(id.value);
    return {{"selector", selector}, {"identities", std::move(numbers)}, {"users", users}, {"labels", Json::array()}};
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

void AgentApi::policy_get(const Call& call) const {
    Json rules = Json::array();
    for (const auto& [key, row] : plane_.policy_->sources().rows()) {
        if (!row.policy) continue;
        for (Json& rule : Json::parse(row.rules.text())) rules.push_back(std::move(rule));
    }
    call.answer(200, {{"revision", plane_.policy_->revision()}, {"policy", json_text(rules, 2)}});
}

void AgentApi::policy_diff(const Call& call) {
    tasks_.spawn(preview_policies(call.request, call.responder));
}

Task<void> AgentApi::preview_policies(HttpRequest request, std::shared_ptr<HttpResponder> responder) {
    const Call call{request, std::move(responder), {}};
    const ManifestFile file = ManifestFile::parse(request.body, request.body.starts_with('{'));
    if (file.documents().empty()) co_return call.fail(400, "the body holds no manifest");
    std::vector<policy::Translation> translations;
    for (const ManifestFile::Document& document : file.documents()) {
        if (!document.good) co_return call.fail(400, document.problem.message);
        CO_AWAIT(auto translation, plane_.policy_->sources().preview(document.object));
        if (!translation)
            co_return call.fail(400, "line " + std::to_string(document.line) + ": " + translation.error().message);
        translations.push_back(std::move(*translation));
    }
    compare_policies(call, request.query_value("delete") == "true", std::move(translations));
}

void AgentApi::compare_policies(const Call& call, bool remove, std::vector<policy::Translation> translations) {
    const auto after = plane_.policy_->engine().clone();
    for (policy::Translation& translation : translations) {
        const policy::Origin origin = translation.policy.origin;
        if (remove) {
            after->remove_policy(origin.kind, origin.k8s_namespace, origin.name);
        } else {
            after->upsert_policy(std::make_shared<const policy::Policy>(std::move(translation.policy)));
        }
    }
    policy::assume_identities(*after);
    (void)after->changes();

    std::vector<policy::FlowTuple> flows;
    const EndpointRow* host = plane_.endpoints_->find_kind(EndpointKind::kHost);
    const bool subject = host != nullptr && plane_.policy_->engine().subject(host->id) != nullptr;
    (void)plane_.datapath_->flows().for_each([&](const FlowRow& row) {
        std::ranges::copy(policy::tuples_of(row, subject ? std::optional(host->id) : std::nullopt),
                          std::back_inserter(flows));
    });
    std::ranges::transform(plane_.monitor_->recent_denials(), std::back_inserter(flows), policy::tuple_of);
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
            const IpcacheRow* row = plane_.ipcache_->claims().winner(Prefix::host(*ip));
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

// What the specs in force are for, and the identities of this node's endpoints among them.
Json AgentApi::subject_selectors() const {
    struct Use {
        std::uint32_t specs = 0;
        std::set<IdentityId> identities;
    };
    std::map<std::string, Use> uses;
    const auto& engine = plane_.policy_->engine();
    for (const auto& policy : engine.policies()) {
        for (const policy::Spec& spec : policy->specs) {
            Use& use = uses[policy::to_text(spec.subject)];
            ++use.specs;
            for (const auto& [id, row] : plane_.endpoints_->table().rows()) {
                const policy::Subject* subject = engine.subject(id);
                if (subject != nullptr && subject->host == spec.selects_nodes &&
                    policy::matches(spec.subject, subject->labels))
                    use.identities.insert(row.identity);
            }
        }
    }
    Json all = Json::array();
    for (const auto& [text, use] : uses) all.push_back(selector_json(text, use.specs, use.identities));
    return all;
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
                all.push_back(selector_json(policy::to_text(selector), uses, ids));
            });
        call.answer(200, all);
    });
    add("GET", "/v1/policy/subject-selectors", [this](const Call& call) { call.answer(200, subject_selectors()); });
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
