#include "features/nat/desired.h"

#include <algorithm>

#include "model/yaml.h"

namespace axo::nat {

namespace {

IpAddress pick(const Device& device, Family family, const IpAddress& preferred) {
    if (preferred.family() == family && std::ranges::find(device.addresses, preferred) != device.addresses.end())
        return preferred;
    const auto found = std::ranges::find_if(device.addresses, [family](const IpAddress& ip) {
        return ip.family() == family && !ip.is_link_local() && !ip.is_loopback();
    });
    return found == device.addresses.end() ? IpAddress{} : *found;
}

}  // namespace

std::map<IfIndex, NatSource> source_addresses(const std::vector<Device>& devices, const std::vector<Device>& all,
                                              const AddressSettings& settings) {
    const auto shared = std::ranges::find(all, settings.address_device, &Device::name);
    std::map<IfIndex, NatSource> sources;
    for (const Device& device : devices) {
        if (!settings.address_device.empty() && shared == all.end()) break;
        const Device& owner = settings.address_device.empty() ? device : *shared;
        NatSource source;
        if (settings.ipv4) source.ipv4 = pick(owner, Family::kIpv4, settings.node_ipv4);
        if (settings.ipv6) source.ipv6 = pick(owner, Family::kIpv6, settings.node_ipv6);
        if (source.ipv4 || source.ipv6) sources.emplace(device.link, source);
    }
    return sources;
}

const std::vector<Prefix>& default_non_masquerade_cidrs() {
    static const std::vector<Prefix> prefixes = [] {
        std::vector<Prefix> all;
        for (const char* text :
             {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24",
              "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"})
            all.push_back(Prefix::parse(text).value());
        return all;
    }();
    return prefixes;
}

Result<IpMasqConfig> parse_ip_masq_config(std::string_view text) {
    TRY_ASSIGN(const Json json, parse_yaml(text));
    if (json.is_null()) return IpMasqConfig{.non_masquerade_cidrs = default_non_masquerade_cidrs()};
    if (!json.is_object()) {
        return fail(Code::kInvalidArgument,
                    "not an object: accepted: nonMasqueradeCIDRs, masqLinkLocal, masqLinkLocalIPv6");
    }
    IpMasqConfig config;
    const auto flag = [&json](const char* key, bool& value) -> Status {
        const auto found = json.find(key);
        if (found == json.end() || found->is_null()) return {};
        if (!found->is_boolean())
            return fail(Code::kInvalidArgument, std::string(key) + "=" + found->dump() + ": accepted: true or false");
        value = found->get<bool>();
        return {};
    };
    TRY(flag("masqLinkLocal", config.masquerade_link_local4));
    TRY(flag("masqLinkLocalIPv6", config.masquerade_link_local6));
    const auto list = json.find("nonMasqueradeCIDRs");
    if (list == json.end() || list->is_null()) return config;
    if (!list->is_array()) {
        return fail(Code::kInvalidArgument,
                    "nonMasqueradeCIDRs=" + list->dump() + ": accepted: a list of CIDRs, e.g. [10.0.0.0/8]");
    }
    for (std::size_t i = 0; i < list->size(); ++i) {
        const Json& item = (*list)[i];
        const auto prefix = item.is_string() ? Prefix::parse(item.get<std::string>())
                                             : Result<Prefix>(fail(Code::kInvalidArgument, "not text"));
        if (!prefix) {
            return fail(Code::kInvalidArgument, "nonMasqueradeCIDRs[" + std::to_string(i) + "]=" + item.dump() +
                                                    ": accepted: a CIDR, e.g. 10.0.0.0/8 or fd00::/8");
        }
        config.non_masquerade_cidrs.push_back(*prefix);
    }
    return config;
}

std::set<Prefix> spared_prefixes(const IpMasqConfig& config, bool ipv4, bool ipv6) {
    std::set<Prefix> all;
    const auto add = [&](const Prefix& prefix) {
        if (prefix.family() == Family::kIpv4 ? ipv4 : ipv6) all.insert(prefix);
    };
    for (const Prefix& prefix : config.non_masquerade_cidrs) add(prefix);
    static const Prefix link_local4 = Prefix::parse("169.254.0.0/16").value();
    static const Prefix link_local6 = Prefix::parse("fe80::/10").value();
    if (!config.masquerade_link_local4) add(link_local4);
    if (!config.masquerade_link_local6) add(link_local6);
    return all;
}

}  // namespace axo::nat
