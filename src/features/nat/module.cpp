#include "features/nat/module.h"

#include <algorithm>

namespace axo::nat {

NatModule::NatModule(EventLoop& loop, ControllerRegistry& registry, ModuleSettings settings, NatAddressMap addresses,
                     IpMasqMap prefixes, ObjectVerdicts verdicts)
    : settings_(std::move(settings)),
      addresses_(std::move(addresses)),
      prefixes_(std::move(prefixes)),
      verdicts_(std::move(verdicts)),
      address_reconciler_(
          loop, registry, "nat-addresses",
          {.list = [this] { return addresses_.list(); },
           .put = [this](const IfIndex& link, const NatSource& source) { return addresses_.put(link, source); },
           .remove = [this](const IfIndex& link) { return addresses_.remove(link); },
           .describe = [](const IfIndex& link) { return "device " + link.to_string(); },
           .committed = {}}),
      prefix_reconciler_(loop, registry, "ip-masq-agent",
                         {.list = [this]() -> Result<std::map<Prefix, std::monostate>> {
                              TRY_ASSIGN(const std::set<Prefix> present, prefixes_.list());
                              std::map<Prefix, std::monostate> all;
                              for (const Prefix& prefix : present) all.emplace(prefix, std::monostate{});
                              return all;
                          },
                          .put = [this](const Prefix& prefix, std::monostate) { return prefixes_.put(prefix); },
                          .remove = [this](const Prefix& prefix) { return prefixes_.remove(prefix); },
                          .describe = [](const Prefix& prefix) { return prefix.to_string(); },
                          .committed = {}}) {
    if (settings_.ip_masq_agent) {
        file_ = std::make_unique<FileWatch>(
            loop, settings_.ip_masq_file,
            [this](const Result<std::optional<std::string>>& content) { read_file(content); });
    } else {
        prefix_reconciler_.set_desired({}, true);
    }
    if (!settings_.translate) address_reconciler_.set_desired({}, true);
}

void NatModule::set_devices(const std::vector<Device>& devices, const std::vector<Device>& all) {
    if (!settings_.translate) return;
    const std::string& shared = settings_.addresses.address_device;
    const bool missing = !shared.empty() && std::ranges::find(all, shared, &Device::name) == all.end();
    const std::string where = "derive-masq-ip-addr-from-device";
    if (missing) {
        verdicts_.rejected(
            where, Error{Code::kNotFound, "'" + shared + "': there is no such device; nothing is masqueraded", 0});
    } else if (address_device_missing_) {
        verdicts_.accepted(where);
    }
    address_device_missing_ = missing;
    address_reconciler_.set_desired(source_addresses(devices, all, settings_.addresses), true);
}

void NatModule::read_file(const Result<std::optional<std::string>>& content) {
    const std::string where = settings_.ip_masq_file.string();
    Result<IpMasqConfig> config = IpMasqConfig{.non_masquerade_cidrs = default_non_masquerade_cidrs()};
    if (!content) {
        config = std::unexpected(content.error());
    } else if (*content) {
        config = parse_ip_masq_config(**content);
    }
    if (!config) {
        rejected_ = true;
        verdicts_.rejected(where, config.error());
        log_.warn("ip-masq-agent's file cannot be used; what was in force stays in force",
                  {{"path", where}, config.error()});
        return;
    }
    if (std::exchange(rejected_, false)) verdicts_.accepted(where);
    std::map<Prefix, std::monostate> desired;
    for (const Prefix& prefix : spared_prefixes(*config, settings_.addresses.ipv4, settings_.addresses.ipv6))
        desired.emplace(prefix, std::monostate{});
    log_.info(*content ? "Read ip-masq-agent's file" : "There is no file of ip-masq-agent: its defaults are in force",
              {{"path", where}, {"prefixes", desired.size()}});
    prefix_reconciler_.set_desired(std::move(desired), true);
}

}  // namespace axo::nat
