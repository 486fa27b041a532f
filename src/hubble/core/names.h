// Who is behind an address, an identity, a port or a rule's cookie: fed by the control loop, asked by the thread that
// reads the datapath's events.
//
// One lock, held for a look-up or for one change. Answers are immutable and live as long as somebody holds them.
// Thread: any.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ip.h"
#include "hubble/core/dns_names.h"
#include "hubble/core/record.h"

namespace axo::hubble {

// What is known of an address of a pod, here or elsewhere.
struct AddressOwner {
    std::uint32_t endpoint_id = 0;  // 0: of another node
    std::uint32_t identity = 0;
    std::string name_space, pod;
    std::vector<Workload> workloads;
    friend bool operator==(const AddressOwner&, const AddressOwner&) = default;
};

class NameTable {
public:
    // cluster: of everybody whose labels name no other. rule_wanted is called, with no lock held, by whoever meets a
    // cookie first.
    NameTable(std::string cluster, std::function<void(const RuleRef&)> rule_wanted);

    void set_address(const IpAddress& address, const AddressOwner& owner);
    // Who had it; null: nobody.
    EndpointRef remove_address(const IpAddress& address);
    void set_identity(std::uint32_t identity, const LabelSet& labels);
    void remove_identity(std::uint32_t identity);
    // A Service may be reached under one address in two scopes, each with an id of its own.
    struct Frontend {
        IpAddress address;
        std::uint16_t port = 0;
        std::uint8_t protocol = 0;  // IPPROTO_*
        friend bool operator==(const Frontend&, const Frontend&) = default;
    };
    enum class Scope : std::uint8_t { kExternal, kInternal };
    // name: never null; shared with whoever has it, as there may be very many.
    void set_service(const Frontend& frontend, Scope scope, ServiceRef name, std::uint16_t id);
    // The id that it had.
    std::optional<std::uint16_t> remove_service(const Frontend& frontend, Scope scope);
    // Policies have changed: flows from now on name the new ones.
    void forget_rules();

    // DNS answers that pods got, and forgetting the names that this says (DnsNames).
    [[nodiscard]] std::vector<DnsNames::Lookup> dns_lookups() const;
    void forget_dns_names(const std::function<bool(const std::string& name)>& says);
    // What the agent before this one knew, taken up; and whether there is anything new to keep for the next one.
    void restore_dns(const std::vector<DnsNames::Lookup>& lookups);
    [[nodiscard]] std::uint64_t dns_changes() const;

    // Fills in both ends, their DNS names, the services and the rule. DNS messages are learned from.
    void enrich(FlowRecord& record);

private:
    struct FrontendHash {
        std::size_t operator()(const Frontend& frontend) const noexcept {
            return std::hash<IpAddress>{}(frontend.address) * 31 + frontend.port * 7 + frontend.protocol;
        }
    };
    // An address under an identity that is not the one its owner is known by: a pod whose labels just changed.
    struct Other {
        EndpointRef owner;
        std::uint32_t identity = 0;
        EndpointRef made;
    };
    EndpointRef end(const IpAddress& address, std::uint32_t identity);
    EndpointRef anybody(std::uint32_t identity);
    EndpointRef owner_as(const EndpointRef& owner, std::uint32_t identity);
    [[nodiscard]] LabelsRef labels(std::uint32_t identity) const;
    [[nodiscard]] EndpointRef make(const AddressOwner& owner) const;
    EndpointRef forget(const IpAddress& address);
    [[nodiscard]] bool is_known(const IpAddress& address, const AddressOwner& owner) const;

    const std::string cluster_;
    const std::function<void(const RuleRef&)> rule_wanted_;
    const LabelsRef no_labels_ = std::make_shared<const LabelList>();
    mutable std::mutex mutex_;
    std::unordered_map<IpAddress, EndpointRef> by_address_;
    std::unordered_map<std::uint32_t, LabelsRef> labels_;
    std::unordered_map<std::uint32_t, std::vector<IpAddress>> unlabelled_;  // owners whose labels are not known yet
    std::unordered_map<std::uint32_t, EndpointRef> by_identity_;            // of those nobody knows more of
    std::unordered_map<std::uint64_t, Other> others_;
    struct KnownService {
        ServiceRef name;
        std::array<std::uint16_t, 2> ids{};  // by scope
        std::array<bool, 2> known{};
    };
    std::unordered_map<Frontend, KnownService, FrontendHash> services_;
    std::unordered_map<std::uint32_t, RuleRef> rules_;
    DnsNames dns_;
};

}  // namespace axo::hubble
