// `policy explain`: traffic that has not happened, asked about the same tables as traffic that has.
#include <algorithm>
#include <charconv>

#include "app/agent/api/api.h"
#include "app/agent/api/policy_json.h"
#include "features/policy/explain.h"

namespace axo {

namespace {

using policy::Direction;

constexpr std::size_t kExplainedBackends = 10;

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

// Somebody whose connections to services are translated at the node, not where they start.
bool is_outside(IdentityId id) {
    constexpr std::uint32_t kPrefixScope = 1;
    return id == identity::kWorld || id == identity::kWorldIpv4 || id == identity::kWorldIpv6 ||
           id.value >> 24 == kPrefixScope;
}

}  // namespace

// What the ends say, one after the other.
struct AgentApi::Explained {
    Json parts = Json::array();
    bool allowed = true;
    std::string text;

    void paragraph(const std::string& more) { text += (text.empty() ? "" : "\n") + more; }
};

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
    std::optional<IdentityId> found;
    plane_.ipcache_->claims().for_each([&](const Prefix&, const IpcacheRow& row) {
        if (!found && !row.name.empty() && row.k8s_namespace + "/" + row.name == name) found = row.identity;
    });
    if (found) return Party{*found, nullptr};
    return fail(
        Code::kNotFound,
        "'" + text +
            "' is not known; accepted: a pod (namespace/name), an IP address, identity:NUMBER, endpoint:NUMBER, "
            "or a reserved name such as world, host, remote-node");
}

Status AgentApi::explain_side(const Party& subject, Direction direction, const Party& peer,
                              const policy::Traffic& traffic, Explained& explained) const {
    // Without the host firewall the node is no subject; nor is what is no pod elsewhere.
    if (subject.endpoint != nullptr ? plane_.policy_->engine().subject(subject.endpoint->id) == nullptr
                                    : !is_cluster_identity(subject.identity))
        return {};
    TRY_ASSIGN(
        const policy::Explanation explanation,
        subject.endpoint != nullptr
            ? policy::explain(plane_.policy_->engine(), subject.endpoint->id, direction, peer.identity, traffic)
            : policy::explain_remote(plane_.policy_->engine(), subject.identity, direction, peer.identity, traffic));
    if (subject.endpoint != nullptr && plane_.policy_->error(subject.endpoint->id) != nullptr)
        return fail(Code::kUnavailable, "endpoint " + subject.endpoint->id.to_string() +
                                            " is closed: " + plane_.policy_->error(subject.endpoint->id)->message);
    explained.allowed = explained.allowed && explanation.allowed;
    const Json part = explanation_json(explanation);
    explained.paragraph(part["text"].get<std::string>());
    explained.parts.push_back(part);
    return {};
}

// Each end has its say.
Status AgentApi::explain_ends(const Party& from, const Party& to, const policy::Traffic& traffic,
                              Explained& explained) const {
    TRY(explain_side(from, Direction::kEgress, to, traffic, explained));
    return explain_side(to, Direction::kIngress, from, traffic, explained);
}

// The service that an address and port stand for at this node.
const service::FrontendRow* AgentApi::find_service(const std::string& to, const policy::Traffic& traffic) const {
    const auto ip = IpAddress::parse(to);
    if (!ip) return nullptr;
    const service::FrontendTable& table = plane_.services_->module().frontends();
    service::FrontendKey key{.address = *ip, .port = traffic.port, .protocol = traffic.protocol};
    if (const service::FrontendRow* row = table.find(key)) return row;
    const IpcacheRow* owner = plane_.ipcache_->lookup(*ip);
    const bool node = plane_.host_addresses_.contains(*ip) ||
                      (owner != nullptr && !is_outside(owner->identity) && !is_cluster_identity(owner->identity));
    if (!node) return nullptr;
    key.address = ip->is_v4() ? IpAddress::v4({0, 0, 0, 0}) : IpAddress::parse("::").value();
    return table.find(key);
}

// Whoever is outside is asked about at the node, by what it sees; everybody at the backends, by where they listen.
Status AgentApi::explain_service(const Party& from, const service::FrontendRow& row, const std::string& to,
                                 const policy::Traffic& traffic, Explained& explained) const {
    const auto count = row.selection->usable;
    explained.paragraph(policy::to_text(traffic) + " of " + to + " is " + std::string(service::type_name(row.type)) +
                        " of Service " + row.service->name.to_string() + ", with " + std::to_string(count) +
                        (count == 1 ? " backend.\n" : " backends.\n"));
    const bool external = row.type != service::FrontendType::kClusterIp && is_outside(from.identity);
    const EndpointRow* host = plane_.endpoints_->find_kind(EndpointKind::kHost);
    const auto address = IpAddress::parse(to);
    // Another node's own address: its policy is asked there.
    const IpcacheRow* owner = plane_.ipcache_->lookup(*address);
    const bool elsewhere =
        !plane_.host_addresses_.contains(*address) && owner != nullptr && !is_outside(owner->identity);
    if (external && host != nullptr && !elsewhere)
        TRY(explain_side({identity::kHost, host}, Direction::kIngress, from, traffic, explained));
    explained.allowed = explained.allowed && count != 0;
    for (std::size_t i = 0; i < std::min<std::size_t>(count, kExplainedBackends); ++i) {
        const LbAddress& backend = row.selection->backends[i].address;
        const auto party = find_party(backend.address.to_string());
        if (!party) {
            explained.paragraph("Backend " + backend.to_string() + " is nobody that is known here.\n");
            continue;
        }
        explained.paragraph("Backend " + backend.to_string() + ":\n");
        TRY(explain_ends(from, *party, {.protocol = traffic.protocol, .port = backend.port}, explained));
    }
    if (count > kExplainedBackends)
        explained.paragraph("The other " + std::to_string(count - kExplainedBackends) + " backends are not shown.\n");
    return {};
}

void AgentApi::policy_explain(const Call& call) {
    const auto from = find_party(call.request.query_value("from"));
    if (!from) return call.fail(400, "from: " + from.error().message);
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
    Explained explained;
    const std::string target = call.request.query_value("to");
    Status done;
    if (const service::FrontendRow* row = find_service(target, traffic)) {
        done = explain_service(*from, *row, target, traffic, explained);
    } else {
        const auto to = find_party(target);
        if (!to) return call.fail(400, "to: " + to.error().message);
        done = explain_ends(*from, *to, traffic, explained);
    }
    if (!done) return call.fail(done.error());
    if (explained.parts.empty())
        explained.paragraph("Neither end is a pod: no policy of this cluster concerns this traffic.\n");
    call.answer(200, {{"allowed", explained.allowed},
                      {"traffic", policy::to_text(traffic)},
                      {"parts", std::move(explained.parts)},
                      {"text", explained.text}});
}

}  // namespace axo
