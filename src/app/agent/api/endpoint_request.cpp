#include "app/agent/api/endpoint_request.h"

#include <charconv>

#include "model/names.h"

namespace axo {

namespace {

MacAddress read_mac(const JsonReader& reader, const char* key) {
    const std::string text = reader.string(key);
    if (text.empty()) return {};
    const auto mac = MacAddress::parse(text);
    if (!mac) reader.reject(key, "a MAC address, e.g. 0a:58:0a:00:00:05");
    return mac.value_or(MacAddress{});
}

IpAddress read_address(const JsonReader& reader, const char* key, Family family) {
    const IpAddress ip = reader.address(key);
    if (ip && ip.family() != family)
        reader.reject(key, family == Family::kIpv4 ? "an IPv4 address" : "an IPv6 address");
    return ip;
}

}  // namespace

Result<EndpointRequest> parse_endpoint_request(const std::string& body) {
    const Json json = Json::parse(body, nullptr, false);
    if (json.is_discarded() || !json.is_object())
        return fail(Code::kInvalidArgument, "EndpointChangeRequest: the body is not a JSON object");
    const JsonReader reader(json, "EndpointChangeRequest");
    EndpointRequest request;
    EndpointRow& endpoint = request.endpoint;
    endpoint.id = EndpointId(static_cast<std::uint16_t>(reader.integer("id", 0, 65535)));
    endpoint.container_id = reader.string("container-id");
    endpoint.container_name = reader.string("container-name");
    endpoint.container_netns = reader.string("container-netns-path");
    endpoint.container_interface = reader.string("container-interface-name");
    endpoint.docker_endpoint_id = reader.string("docker-endpoint-id");
    endpoint.docker_network_id = reader.string("docker-network-id");
    endpoint.interface_name = reader.string("interface-name");
    endpoint.link = IfIndex(static_cast<std::uint32_t>(reader.integer("interface-index", 0, INT32_MAX)));
    endpoint.parent_link = IfIndex(static_cast<std::uint32_t>(reader.integer("parent-interface-index", 0, INT32_MAX)));
    endpoint.mac = read_mac(reader, "mac");
    endpoint.host_mac = read_mac(reader, "host-mac");
    endpoint.k8s_namespace = reader.string("k8s-namespace");
    endpoint.k8s_pod = reader.string("k8s-pod-name");
    endpoint.k8s_uid = reader.string("k8s-uid");
    if (!endpoint.k8s_pod.empty()) {
        if (!is_dns_subdomain(endpoint.k8s_pod)) reader.reject("k8s-pod-name", kDnsSubdomainRule);
        if (!is_dns_label(endpoint.k8s_namespace)) reader.reject("k8s-namespace", kDnsLabelRule);
    }
    const JsonReader addressing = reader.at("addressing");
    if (addressing.present()) {
        endpoint.ipv4 = read_address(addressing, "ipv4", Family::kIpv4);
        endpoint.ipv6 = read_address(addressing, "ipv6", Family::kIpv6);
        endpoint.ipv4_pool = addressing.string("ipv4-pool-name");
        endpoint.ipv6_pool = addressing.string("ipv6-pool-name");
        request.expiration4 = addressing.string("ipv4-expiration-uuid");
        request.expiration6 = addressing.string("ipv6-expiration-uuid");
    }
    const JsonReader datapath = reader.at("datapath-configuration");
    if (datapath.present()) {
        endpoint.arp_passthrough = datapath.boolean("require-arp-passthrough");
        endpoint.skip_source_check = datapath.boolean("disable-sip-verification");
        endpoint.external_ipam = datapath.boolean("external-ipam");
    }
    const std::string cookie = reader.string("netns-cookie", "0");
    const auto [end, error] = std::from_chars(cookie.data(), cookie.data() + cookie.size(), endpoint.netns_cookie);
    if (error != std::errc{} || end != cookie.data() + cookie.size()) reader.reject("netns-cookie", "a decimal number");
    const std::string state = reader.string("state");
    if (!state.empty()) {
        bool known = false;
        for (int i = 0; i <= static_cast<int>(EndpointState::kInvalid); ++i)
            known |= state == endpoint_state_text(static_cast<EndpointState>(i));
        if (!known) reader.reject("state", "waiting-for-identity, ready or another state of an endpoint");
    }
    TRY(reader.status());
    return request;
}

}  // namespace axo
