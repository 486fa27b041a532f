// Results of ADD in the forms of the specification's versions, and back (prevResult).
#include "app/cni/protocol.h"

namespace axo::cni {
namespace {

using nlohmann::json;

json route_json(const ResultRoute& route, bool with_mtu) {
    json out = {{"dst", route.destination.to_string()}};
    if (route.gateway) out["gw"] = route.gateway.to_string();
    if (with_mtu && route.mtu != 0) out["mtu"] = route.mtu;
    return out;
}

std::string address_text(const ResultIp& ip) {
    return ip.address.to_string() + "/" + std::to_string(ip.prefix_length);
}

// 0.1.0 and 0.2.0: one address per family, its routes beside it.
json encode_020(const AddResult& result) {
    json out = json::object();
    for (const ResultIp& ip : result.ips) {
        const char* key = ip.address.is_v6() ? "ip6" : "ip4";
        if (out.contains(key)) continue;
        json entry = {{"ip", address_text(ip)}};
        if (ip.gateway) entry["gateway"] = ip.gateway.to_string();
        for (const ResultRoute& route : result.routes) {
            if (route.destination.family() == ip.address.family()) entry["routes"].push_back(route_json(route, false));
        }
        out[key] = std::move(entry);
    }
    return out;
}

json encode_030(const AddResult& result, const std::string& version) {
    const bool with_family = !version_at_least(version, "1.0.0");
    const bool with_mtu = version_at_least(version, "1.1.0");
    json out = json::object();
    for (const ResultInterface& interface : result.interfaces) {
        json entry = {{"name", interface.name}};
        if (!interface.mac.empty()) entry["mac"] = interface.mac;
        if (!interface.sandbox.empty()) entry["sandbox"] = interface.sandbox;
        if (with_mtu && interface.mtu != 0) entry["mtu"] = interface.mtu;
        out["interfaces"].push_back(std::move(entry));
    }
    for (const ResultIp& ip : result.ips) {
        json entry = {{"address", address_text(ip)}};
        if (with_family) entry["version"] = ip.address.is_v6() ? "6" : "4";
        if (ip.gateway) entry["gateway"] = ip.gateway.to_string();
        if (ip.interface) entry["interface"] = *ip.interface;
        out["ips"].push_back(std::move(entry));
    }
    for (const ResultRoute& route : result.routes) out["routes"].push_back(route_json(route, with_mtu));
    return out;
}

std::unexpected<CniError> bad_previous(const std::string& text) {
    return refuse(ErrorCode::kInvalidConfig, "network configuration: \"prevResult\": " + text);
}

std::string text_of(const json& object, const char* key) {
    const auto it = object.find(key);
    return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::uint32_t number_of(const json& object, const char* key) {
    const auto it = object.find(key);
    return it != object.end() && it->is_number_unsigned() ? it->get<std::uint32_t>() : 0;
}

Outcome<ResultIp> decode_ip(const json& entry, const char* address_key) {
    const std::string text = text_of(entry, address_key);
    const std::size_t slash = text.find('/');
    const auto address = IpAddress::parse(text.substr(0, slash));
    const auto prefix = Prefix::parse(text);
    if (!address || !prefix) return bad_previous("\"" + text + "\" is not an address with prefix length");
    ResultIp ip{*address, prefix->length(), {}, {}};
    if (const std::string gateway = text_of(entry, "gateway"); !gateway.empty()) {
        const auto parsed = IpAddress::parse(gateway);
        if (!parsed) return bad_previous("gateway \"" + gateway + "\" is not an address");
        ip.gateway = *parsed;
    }
    if (const auto it = entry.find("interface"); it != entry.end() && it->is_number_unsigned())
        ip.interface = it->get<std::size_t>();
    return ip;
}

Outcome<ResultRoute> decode_route(const json& entry) {
    const auto destination = Prefix::parse(text_of(entry, "dst"));
    if (!destination) return bad_previous("route to \"" + text_of(entry, "dst") + "\": a prefix is expected");
    ResultRoute route{*destination, {}, number_of(entry, "mtu")};
    if (const std::string gateway = text_of(entry, "gw"); !gateway.empty()) {
        const auto parsed = IpAddress::parse(gateway);
        if (!parsed) return bad_previous("route through \"" + gateway + "\": an address is expected");
        route.gateway = *parsed;
    }
    return route;
}

// The elements of an array field that are objects; anything else in their place is no result of ours.
Outcome<std::vector<json>> objects_of(const json& object, const char* key) {
    std::vector<json> list;
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return list;
    if (!it->is_array()) return bad_previous("\"" + std::string(key) + "\": an array is expected");
    for (const json& entry : *it) {
        if (!entry.is_object()) return bad_previous("\"" + std::string(key) + "\": an array of objects is expected");
        list.push_back(entry);
    }
    return list;
}

}  // namespace

std::string encode_result(const AddResult& result, const std::string& cni_version) {
    json out = version_at_least(cni_version, "0.3.0") ? encode_030(result, cni_version) : encode_020(result);
    out["cniVersion"] = cni_version;
    out["dns"] = json::object();
    return out.dump(4, ' ', false, json::error_handler_t::replace) + "\n";
}

Outcome<AddResult> decode_result(std::string_view text) {
    const json in = json::parse(text, nullptr, false);
    if (!in.is_object()) return bad_previous("an object is expected");
    AddResult result;
    TRY_ASSIGN(const auto interfaces, objects_of(in, "interfaces"));
    for (const json& entry : interfaces) {
        result.interfaces.push_back(
            {text_of(entry, "name"), text_of(entry, "mac"), text_of(entry, "sandbox"), number_of(entry, "mtu")});
    }
    TRY_ASSIGN(const auto ips, objects_of(in, "ips"));
    for (const json& entry : ips) {
        TRY_ASSIGN(ResultIp ip, decode_ip(entry, "address"));
        if (ip.interface && *ip.interface >= result.interfaces.size()) {
            return bad_previous("address " + address_text(ip) + " refers to interface " +
                                std::to_string(*ip.interface) + ", which is not listed");
        }
        result.ips.push_back(ip);
    }
    for (const char* key : {"ip4", "ip6"}) {
        const auto it = in.find(key);
        if (it == in.end() || !it->is_object()) continue;
        TRY_ASSIGN(ResultIp ip, decode_ip(*it, "ip"));
        result.ips.push_back(ip);
        TRY_ASSIGN(const auto routes, objects_of(*it, "routes"));
        for (const json& entry : routes) {
            TRY_ASSIGN(ResultRoute route, decode_route(entry));
            result.routes.push_back(route);
        }
    }
    TRY_ASSIGN(const auto routes, objects_of(in, "routes"));
    for (const json& entry : routes) {
        TRY_ASSIGN(ResultRoute route, decode_route(entry));
        result.routes.push_back(route);
    }
    return result;
}

}  // namespace axo::cni
