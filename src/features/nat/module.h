// Keeps cilium_nat_addresses equal to the addresses of the ways out, and cilium_ipmasq_* to the file of ip-masq-agent,
// which is read again when it changes. A file that cannot be used is reported, and what was in force stays in force,
// also over a restart.
// Thread: the loop's only.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "base/log.h"
#include "features/nat/desired.h"
#include "io/file_watch.h"
#include "io/object_watch.h"
#include "maps/nat_map.h"
#include "runtime/reconciler.h"

namespace axo::nat {

struct ModuleSettings {
    AddressSettings addresses;
    bool translate = false;      // anything leaves with the node's address: masquerading or services from outside
    bool ip_masq_agent = false;  // enable-ip-masq-agent
    std::filesystem::path ip_masq_file;
};

class NatModule {
public:
    using AddressReconciler = Reconciler<IfIndex, NatSource>;
    using PrefixReconciler = Reconciler<Prefix, std::monostate>;

    // verdicts: where is the path of the file.
    NatModule(EventLoop& loop, ControllerRegistry& registry, ModuleSettings settings, NatAddressMap addresses,
              IpMasqMap prefixes, ObjectVerdicts verdicts);
    NatModule(const NatModule&) = delete;
    NatModule& operator=(const NatModule&) = delete;

    // The node's ways out, and all devices that have addresses.
    void set_devices(const std::vector<Device>& devices, const std::vector<Device>& all);
    [[nodiscard]] const AddressReconciler& addresses() const { return address_reconciler_; }
    [[nodiscard]] const PrefixReconciler& prefixes() const { return prefix_reconciler_; }

private:
    void read_file(const Result<std::optional<std::string>>& content);

    ModuleSettings settings_;
    Logger log_{"nat"};
    NatAddressMap addresses_;
    IpMasqMap prefixes_;
    ObjectVerdicts verdicts_;
    bool rejected_ = false, address_device_missing_ = false;
    AddressReconciler address_reconciler_;
    PrefixReconciler prefix_reconciler_;
    std::unique_ptr<FileWatch> file_;
};

}  // namespace axo::nat
