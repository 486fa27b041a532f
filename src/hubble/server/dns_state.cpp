#include "hubble/server/dns_state.h"

#include <limits>

#include "model/json_text.h"

namespace axo::hubble {

namespace {

constexpr int kVersion = 1;

DnsNames::Lookup parse_lookup(const JsonReader& reader, std::uint32_t endpoint) {
    DnsNames::Lookup lookup{
        .endpoint = endpoint,
        .name = reader.string("name"),
        .time_ns = reader.integer("time", 0, std::numeric_limits<std::int64_t>::max()),
        .ttl = static_cast<std::uint32_t>(reader.integer("ttl", 0, std::numeric_limits<std::uint32_t>::max())),
        .ips = {}};
    if (lookup.name.empty() || lookup.name.size() > 255) reader.reject("name", "1 to 255 characters");
    for (const std::string& text : reader.strings("ips")) {
        if (const auto ip = IpAddress::parse(text))
            lookup.ips.push_back(*ip);
        else
            reader.reject("ips", "IP addresses");
    }
    return lookup;
}

}  // namespace

std::string dns_state_text(const std::vector<DnsNames::Lookup>& lookups, const EndpointOwners& owners) {
    std::map<std::uint32_t, Json> by_endpoint;
    for (const DnsNames::Lookup& lookup : lookups) {
        if (!owners.contains(lookup.endpoint)) continue;
        Json ips = Json::array();
        for (const IpAddress& ip : lookup.ips) ips.push_back(ip.to_string());
        by_endpoint.try_emplace(lookup.endpoint, Json::array())
            .first->second.push_back(
                {{"name", lookup.name}, {"time", lookup.time_ns}, {"ttl", lookup.ttl}, {"ips", std::move(ips)}});
    }
    Json pods = Json::array();
    for (auto& [endpoint, known] : by_endpoint)
        pods.push_back({{"endpoint", endpoint}, {"owner", owners.at(endpoint)}, {"lookups", std::move(known)}});
    return json_text({{"version", kVersion}, {"pods", std::move(pods)}});
}

Result<std::vector<DnsNames::Lookup>> parse_dns_state(const std::string& text, const std::string& name,
                                                      const EndpointOwners& owners) {
    auto json = parse_json(text);
    if (!json) return fail(Code::kInvalidArgument, name + ": " + json.error().message);
    const JsonReader reader(*json, name);
    if (reader.integer("version", 0, std::numeric_limits<std::int64_t>::max()) != kVersion) {
        reader.reject("version", std::to_string(kVersion));
    }
    std::vector<DnsNames::Lookup> found;
    reader.each("pods", [&](const JsonReader& pod) {
        const auto endpoint =
            static_cast<std::uint32_t>(pod.integer("endpoint", 0, std::numeric_limits<std::uint32_t>::max()));
        const auto owner = owners.find(endpoint);
        if (owner == owners.end() || owner->second != pod.string("owner")) return;
        pod.each("lookups", [&](const JsonReader& lookup) { found.push_back(parse_lookup(lookup, endpoint)); });
    });
    TRY(reader.status());
    return found;
}

}  // namespace axo::hubble
