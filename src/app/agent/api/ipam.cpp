// /ipam.
#include "app/agent/api/api.h"

namespace axo {

void AgentApi::add_ipam_routes() {
    const auto pool_ok = [](const Call& call) {
        const std::string pool = call.request.query_value("pool");
        if (pool.empty() || pool == "default") return true;
        call.fail(502, "pool '" + pool +
                           "': accepted: default (ipam modes with several pools are not available in this version)");
        return false;
    };
    add("POST", "/v1/ipam", [this, pool_ok](const Call& call) {
        if (!pool_ok(call)) return;
        const std::string wanted = call.request.query_value("family");
        Family family = Family::kNone;
        if (wanted == "ipv4") {
            family = Family::kIpv4;
        } else if (wanted == "ipv6") {
            family = Family::kIpv6;
        } else if (!wanted.empty()) {
            return call.fail(502, "family '" + wanted + "': accepted: ipv4, ipv6 or none for both");
        }
        const auto lease = plane_.pool_.allocate(family, call.request.query_value("owner"),
                                                 call.request.header("expiration") == "true");
        if (!lease) return call.fail(502, lease.error().message);
        Json address = Json::object();
        Json answer{{"host-addressing", node_addressing()}};
        const auto add_family = [&](const char* key, const IpAddress& ip, const std::string& uuid,
                                    const IpAddress& gateway) {
            if (!ip) return;
            const std::string prefix(key);
            address[prefix] = ip.to_string();
            address[prefix + "-pool-name"] = "default";
            Json details{{"ip", ip.to_string()}, {"gateway", gateway.to_string()}, {"cidrs", Json::array()}};
            for (const Prefix& cidr : plane_.node_state_.pod_cidrs) {
                if (cidr.family() == ip.family()) details["cidrs"].push_back(cidr.to_string());
            }
            if (!uuid.empty()) {
                address[prefix + "-expiration-uuid"] = uuid;
                details["expiration-uuid"] = uuid;
            }
            answer[prefix] = std::move(details);
        };
        add_family("ipv4", lease->ipv4, lease->uuid4, plane_.node_state_.router_ipv4);
        add_family("ipv6", lease->ipv6, lease->uuid6, plane_.node_state_.router_ipv6);
        answer["address"] = std::move(address);
        call.answer(201, answer);
    });
    const auto parse = [](const Call& call) -> std::optional<IpAddress> {
        auto ip = IpAddress::parse(call.parameters[0]);
        if (ip) return *ip;
        call.fail(400, "address '" + call.parameters[0] + "': accepted: an IPv4 or IPv6 address");
        return std::nullopt;
    };
    add("POST", "/v1/ipam/{}", [this, pool_ok, parse](const Call& call) {
        if (!pool_ok(call)) return;
        const auto ip = parse(call);
        if (!ip) return;
        if (auto done = plane_.pool_.allocate_address(*ip, call.request.query_value("owner")); !done)
            return call.fail(done.error());
        call.answer(200);
    });
    add("DELETE", "/v1/ipam/{}", [this, pool_ok, parse](const Call& call) {
        if (!pool_ok(call)) return;
        const auto ip = parse(call);
        if (!ip) return;
        if (const EndpointRow* user = plane_.endpoints_->find_address(*ip)) {
            return call.fail(500, "address " + ip->to_string() + " is in use by endpoint " + user->id.to_string());
        }
        if (*ip == plane_.node_state_.router_ipv4 || *ip == plane_.node_state_.router_ipv6) {
            return call.fail(403, "address " + ip->to_string() + " is this node's router address");
        }
        if (auto done = plane_.pool_.release(*ip); !done) return call.fail(done.error());
        call.answer(200);
    });
}

}  // namespace axo
