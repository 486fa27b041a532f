// /ipam.
#include "app/agent/api/api.h"

namespace axo {

void AgentApi::add_ipam_routes() {
    add("POST", "/v1/ipam", [this](const Call& call) { tasks_.spawn(allocate(call.request, call.responder)); });
    const auto parse = [](const Call& call) -> std::optional<IpAddress> {
        auto ip = IpAddress::parse(call.parameters[0]);
        if (ip) return *ip;
        call.fail(400, "address '" + call.parameters[0] + "': accepted: an IPv4 or IPv6 address");
        return std::nullopt;
    };
    // The pool of an address is known by the address.
    add("POST", "/v1/ipam/{}", [this, parse](const Call& call) {
        const auto ip = parse(call);
        if (!ip) return;
        if (auto done = plane_.pool_.allocate_address(*ip, call.request.query_value("owner")); !done)
            return call.fail(done.error());
        call.answer(200);
    });
    add("DELETE", "/v1/ipam/{}", [this, parse](const Call& call) {
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

Task<void> AgentApi::allocate(HttpRequest request, std::shared_ptr<HttpResponder> responder) {
    const Call call{request, std::move(responder), {}};
    const std::string wanted = request.query_value("family");
    Family family = Family::kNone;
    if (wanted == "ipv4") {
        family = Family::kIpv4;
    } else if (wanted == "ipv6") {
        family = Family::kIpv6;
    } else if (!wanted.empty()) {
        co_return call.fail(502, "family '" + wanted + "': accepted: ipv4, ipv6 or none for both");
    }
    const std::string pool = request.query_value("pool");
    if (!pool.empty() && pool != plane_.pool_.default_pool() && plane_.config_.ipam != "multi-pool") {
        co_return call.fail(502, "pool '" + pool + "': accepted: " + plane_.pool_.default_pool() +
                                     "; other pools need ipam=multi-pool, and it is " + plane_.config_.ipam);
    }
    CO_AWAIT(const auto lease,
             plane_.pool_.allocate(family, pool, request.query_value("owner"), request.header("expiration") == "true"));
    if (!lease) co_return call.fail(502, lease.error().message);
    call.answer(201, lease_json(*lease));
}

Json AgentApi::lease_json(const AddressPool::Lease& lease) const {
    Json address = Json::object();
    Json answer{{"host-addressing", node_addressing()}};
    const auto add_family = [&](const std::string& key, const IpAddress& ip, const std::string& uuid,
                                const IpAddress& gateway) {
        if (!ip) return;
        const std::string pool = plane_.pool_.pools().pool_of(ip);
        address[key] = ip.to_string();
        address[key + "-pool-name"] = pool;
        Json details{{"ip", ip.to_string()}, {"gateway", gateway.to_string()}, {"cidrs", Json::array()}};
        for (const Prefix& cidr : plane_.node_state_.pod_cidrs) {
            if (cidr.family() == ip.family()) details["cidrs"].push_back(cidr.to_string());
        }
        if (!uuid.empty()) {
            address[key + "-expiration-uuid"] = uuid;
            details["expiration-uuid"] = uuid;
        }
        answer[key] = std::move(details);
    };
    add_family("ipv4", lease.ipv4, lease.uuid4, plane_.node_state_.router_ipv4);
    add_family("ipv6", lease.ipv6, lease.uuid6, plane_.node_state_.router_ipv6);
    answer["address"] = std::move(address);
    return answer;
}

}  // namespace axo
