#include "hubble/core/names.h"

#include "bpf/api/policy.h"

namespace axo::hubble {

namespace {

// Nothing bounds what packets claim to come from; what is made for them has to be.
constexpr std::size_t kMadeUp = 4096;

std::string cluster_of(const LabelList& labels, const std::string& fallback) {
    for (const Label& label : labels.labels) {
        if (label.key == label_key::kCluster) return label.value;
    }
    return fallback;
}

std::string namespace_of(const LabelList& labels) {
    for (const Label& label : labels.labels) {
        if (label.key == label_key::kPodNamespace) return label.value;
    }
    return {};
}

}  // namespace

NameTable::NameTable(std::string cluster, std::function<void(const RuleRef&)> rule_wanted)
    : cluster_(std::move(cluster)), rule_wanted_(std::move(rule_wanted)) {}

LabelsRef NameTable::labels(std::uint32_t identity) const {
    const auto known = labels_.find(identity);
    return known == labels_.end() ? no_labels_ : known->second;
}

EndpointRef NameTable::make(const AddressOwner& owner) const {
    auto info = std::make_shared<EndpointInfo>();
    info->id = owner.endpoint_id;
    info->identity = owner.identity;
    info->name_space = owner.name_space;
    info->pod = owner.pod;
    info->workloads = owner.workloads;
    info->labels = labels(owner.identity);
    info->cluster = cluster_of(*info->labels, cluster_);
    return info;
}

bool NameTable::is_known(const IpAddress& address, const AddressOwner& owner) const {
    const auto known = by_address_.find(address);
    if (known == by_address_.end()) return false;
    const EndpointInfo& info = *known->second;
    return info.id == owner.endpoint_id && info.identity == owner.identity && info.name_space == owner.name_space &&
           info.pod == owner.pod && info.workloads == owner.workloads;
}

void NameTable::set_address(const IpAddress& address, const AddressOwner& owner) {
    const std::lock_guard lock(mutex_);
    // A new description would be one more in the metrics' memory and in the history's dictionary.
    if (is_known(address, owner)) return;
    forget(address);
    EndpointRef info = make(owner);
    if (info->labels == no_labels_) unlabelled_[owner.identity].push_back(address);
    by_address_.emplace(address, std::move(info));
}

EndpointRef NameTable::remove_address(const IpAddress& address) {
    const std::lock_guard lock(mutex_);
    EndpointRef owner = forget(address);
    if (owner && owner->id != 0) dns_.forget(owner->id);
    return owner;
}

EndpointRef NameTable::forget(const IpAddress& address) {
    others_.clear();
    const auto known = by_address_.extract(address);
    if (!known) return nullptr;
    if (const auto waiting = unlabelled_.find(known.mapped()->identity); waiting != unlabelled_.end()) {
        std::erase(waiting->second, address);
        if (waiting->second.empty()) unlabelled_.erase(waiting);
    }
    return known.mapped();
}

void NameTable::set_identity(std::uint32_t identity, const LabelSet& labels) {
    auto list = make_labels(labels);
    const std::lock_guard lock(mutex_);
    auto& known = labels_[identity];
    if (known && known->texts == list->texts) return;
    const bool first = !known;
    known = std::move(list);
    by_identity_.erase(identity);
    others_.clear();
    const auto relabel = [&](EndpointRef& info) {
        auto changed = std::make_shared<EndpointInfo>(*info);
        changed->labels = known;
        changed->cluster = cluster_of(*known, cluster_);
        info = std::move(changed);
    };
    // Owners that were told of before their labels.
    if (const auto waiting = unlabelled_.extract(identity)) {
        for (const IpAddress& address : waiting.mapped()) {
            const auto owner = by_address_.find(address);
            if (owner != by_address_.end() && owner->second->identity == identity) relabel(owner->second);
        }
    }
    if (first) return;
    for (auto& [address, info] : by_address_) {
        if (info->identity == identity) relabel(info);
    }
}

void NameTable::remove_identity(std::uint32_t identity) {
    const std::lock_guard lock(mutex_);
    if (labels_.erase(identity) == 0) return;
    by_identity_.erase(identity);
    others_.clear();
    // Numbers are used again: whoever still has this one gets the labels it comes back with.
    for (const auto& [address, info] : by_address_) {
        if (info->identity == identity) unlabelled_[identity].push_back(address);
    }
}

void NameTable::set_service(const Frontend& frontend, Scope scope, ServiceRef name, std::uint16_t id) {
    const std::lock_guard lock(mutex_);
    KnownService& service = services_[frontend];
    service.name = std::move(name);
    service.ids[static_cast<std::size_t>(scope)] = id;
    service.known[static_cast<std::size_t>(scope)] = true;
}

std::optional<std::uint16_t> NameTable::remove_service(const Frontend& frontend, Scope scope) {
    const std::lock_guard lock(mutex_);
    const auto found = services_.find(frontend);
    if (found == services_.end()) return std::nullopt;
    KnownService& service = found->second;
    if (!std::exchange(service.known[static_cast<std::size_t>(scope)], false)) return std::nullopt;
    const std::uint16_t id = service.ids[static_cast<std::size_t>(scope)];
    if (service.known == std::array{false, false}) services_.erase(found);
    return id;
}

void NameTable::forget_rules() {
    const std::lock_guard lock(mutex_);
    rules_.clear();
}

std::vector<DnsNames::Lookup> NameTable::dns_lookups() const {
    const std::lock_guard lock(mutex_);
    return dns_.lookups();
}

void NameTable::forget_dns_names(const std::function<bool(const std::string&)>& says) {
    const std::lock_guard lock(mutex_);
    dns_.forget_names(says);
}

void NameTable::restore_dns(const std::vector<DnsNames::Lookup>& lookups) {
    const auto ns = [](auto clock_now) {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(clock_now.time_since_epoch()).count();
    };
    const std::lock_guard lock(mutex_);
    dns_.restore(lookups, ns(std::chrono::steady_clock::now()), ns(std::chrono::system_clock::now()));
}

std::uint64_t NameTable::dns_changes() const {
    const std::lock_guard lock(mutex_);
    return dns_.changes();
}

EndpointRef NameTable::anybody(std::uint32_t identity) {
    if (by_identity_.size() >= kMadeUp) by_identity_.clear();
    EndpointRef& known = by_identity_[identity];
    if (known) return known;
    auto info = std::make_shared<EndpointInfo>();
    info->identity = identity;
    info->labels = labels(identity);
    info->name_space = namespace_of(*info->labels);
    // The world is in no cluster.
    if (identity >= 256 && identity < (1U << 24)) info->cluster = cluster_of(*info->labels, cluster_);
    return known = std::move(info);
}

EndpointRef NameTable::owner_as(const EndpointRef& owner, std::uint32_t identity) {
    if (others_.size() >= kMadeUp) others_.clear();
    Other& other = others_[(reinterpret_cast<std::uintptr_t>(owner.get()) << 24) ^ identity];
    if (other.owner != owner || other.identity != identity) {
        auto info = std::make_shared<EndpointInfo>(*owner);
        info->identity = identity;
        info->labels = labels(identity);
        info->cluster = cluster_of(*info->labels, cluster_);
        other = {owner, identity, std::move(info)};
    }
    return other.made;
}

EndpointRef NameTable::end(const IpAddress& address, std::uint32_t identity) {
    const auto owner = by_address_.find(address);
    if (owner == by_address_.end()) return anybody(identity);
    if (identity == 0 || identity == owner->second->identity) return owner->second;
    return owner_as(owner->second, identity);
}

void NameTable::enrich(FlowRecord& record) {
    const IpAddress source = record.source_ip(), destination = record.destination_ip();
    RuleRef wanted;
    {
        const std::lock_guard lock(mutex_);
        record.source = end(source, record.event.identity_src);
        record.destination = end(destination, record.event.identity_dst);
        if (record.dns) record.latency_ns = dns_.observe(record);
        record.source_names = dns_.names_of(record.destination->id, source);
        record.destination_names = dns_.names_of(record.source->id, destination);
        if (record.has_ports() && !services_.empty()) {
            auto service = services_.find({source, record.source_port(), record.event.proto});
            if (service != services_.end()) record.source_service = service->second.name;
            service = services_.find({destination, record.destination_port(), record.event.proto});
            if (service != services_.end()) record.destination_service = service->second.name;
        }
        if (record.event.rule_cookie != POLICY_COOKIE_NONE) {
            if (rules_.size() >= kMadeUp * 16) rules_.clear();
            RuleRef& rule = rules_[record.event.rule_cookie];
            if (!rule) wanted = rule = std::make_shared<RuleSlot>(record.event.rule_cookie);
            record.rule = rule;
        }
    }
    if (wanted && rule_wanted_) rule_wanted_(wanted);
}

}  // namespace axo::hubble
