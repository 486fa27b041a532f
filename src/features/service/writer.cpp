#include "features/service/writer.h"

#include <netinet/in.h>

#include <algorithm>

namespace axo::service {
namespace {

std::uint8_t type_flag(FrontendType type) {
    switch (type) {
        case FrontendType::kClusterIp: return 0;
        case FrontendType::kNodePort: return LB_F_NODE_PORT;
        case FrontendType::kLoadBalancer: return LB_F_LOAD_BALANCER;
        case FrontendType::kExternalIp: return LB_F_EXTERNAL_IP;
        case FrontendType::kHostPort: return LB_F_HOST_PORT;
        case FrontendType::kLocalRedirect: return 0;
    }
    return 0;
}

LbTable table_of(const lb_service& value) {
    return {value.table, value.size};
}

// Whether flows decided under the one would be decided otherwise under the other, backends apart.
bool decides_alike(const lb_service& a, const lb_service& b) {
    lb_service x = a, y = b;
    if ((x.size == 0) != (y.size == 0)) return false;
    x.table = y.table = x.size = y.size = 0;
    x.backends = y.backends = 0;
    return x == y;
}

std::vector<Prefix> ranges_of(const FrontendKey& key, const FrontendRow& row) {
    std::vector<Prefix> ranges;
    if (!row.source_ranges) return ranges;
    for (const Prefix& range : row.service->source_ranges) {
        if (range.family() == key.address.family()) ranges.push_back(range);
    }
    std::ranges::sort(ranges);
    return ranges;
}

constexpr std::uint32_t kNumbers = 65536;

}  // namespace

LbWriter::LbWriter(LbMaps& maps, LbTables& tables, Generations& generations, Settings settings,
                   std::function<void(const LbAddress&)> backend_gone)
    : maps_(maps),
      tables_(tables),
      generations_(generations),
      backends_(maps, settings.zones),
      settings_(std::move(settings)),
      backend_gone_(std::move(backend_gone)),
      numbers_(kNumbers) {
    numbers_[0] = true;
}

LbWriter::~LbWriter() = default;

Status LbWriter::adopt() {
    backends_.adopt();
    TRY_ASSIGN(const auto services, maps_.services());
    std::map<std::uint16_t, FrontendKey> by_number;
    for (const auto& [key, value] : services) {
        Entry& entry = entries_[key];
        entry.value = value;
        entry.adopted = true;
        if (!tables_.adopt(table_of(value))) entry.value.table = entry.value.size = 0;
        next_group_ = std::max(next_group_, value.affinity_group + 1);
        next_port_ = std::max(next_port_, value.port_id + 1);
        if (value.rev_nat_index != 0) {
            // Two of one number: the second gets another one when it is put.
            if (numbers_[value.rev_nat_index]) {
                entry.value.rev_nat_index = 0;
            } else {
                numbers_[value.rev_nat_index] = true;
                by_number.emplace(value.rev_nat_index, key);
            }
        }
        if (key.is_surrogate() && !key.is_wildcard()) ++ports_[{key.protocol, key.port}];
    }
    TRY_ASSIGN(const auto matches, maps_.affinity_matches());
    for (const auto& [match, backend] : matches) {
        adopted_matches_[match.port_id][match.pod_id] = backend;
        next_port_ = std::max(next_port_, match.port_id + 1);
    }
    TRY_ASSIGN(const auto ranges, maps_.source_ranges());
    for (const LbSourceRange& range : ranges) {
        const auto owner = by_number.find(range.rev_nat_index);
        if (owner == by_number.end() || owner->second.address.family() != range.prefix.family()) {
            adopted_ranges_.insert(range);
        } else {
            Entry& entry = entries_[owner->second];
            if (!entry.extra) entry.extra = std::make_unique<Extra>();
            entry.extra->ranges.push_back(range.prefix);
        }
    }
    for (auto& [key, entry] : entries_) {
        if (entry.extra) std::ranges::sort(entry.extra->ranges);
    }
    return {};
}

bool LbWriter::needs_maglev(const FrontendRow& row) const {
    if (!row.maglev || row.selection->usable < 2) return false;
    const auto placed = placed_.find(row.selection.get());
    return placed == placed_.end() || !placed->second.maglev;
}

Status LbWriter::acquire(const FrontendRow& row, const std::vector<std::uint16_t>* maglev) {
    const Selection& selection = *row.selection;
    const auto [entry, fresh] = placed_.try_emplace(&selection);
    Placed& placed = entry->second;
    const auto undo = [&] {
        if (!fresh) return;
        for (std::size_t i = 0; i < placed.ids.size(); ++i) backends_.cancel(selection.backends[i]);
        tables_.release(placed.random);
        placed_.erase(entry);
    };
    if (fresh) {
        placed.selection = row.selection;
        placed.ids.reserve(selection.backends.size());
        for (const Backend& backend : selection.backends) {
            auto id = backends_.acquire(backend);
            if (!id) {
                undo();
                return forward_error(std::move(id).error());
            }
            placed.ids.push_back(*id);
        }
    }
    const bool by_maglev = row.maglev && selection.usable > 1;
    if (by_maglev && !placed.maglev && maglev != nullptr) {
        std::vector<std::uint32_t> ids;
        ids.reserve(maglev->size());
        for (const std::uint16_t index : *maglev) ids.push_back(placed.ids[index]);
        auto table = tables_.take(ids);
        if (!table) {
            undo();
            return forward_error(std::move(table).error());
        }
        placed.maglev = *table;
    }
    if (!by_maglev && placed.random.size == 0 && selection.usable != 0) {
        auto table = tables_.take(std::span(placed.ids).first(selection.usable));
        if (!table) {
            undo();
            return forward_error(std::move(table).error());
        }
        placed.random = *table;
    }
    ++placed.uses;
    return {};
}

void LbWriter::release(const Selection* selection) {
    const auto found = placed_.find(selection);
    if (found == placed_.end() || --found->second.uses != 0) return;
    const Placed placed = std::move(found->second);
    placed_.erase(found);
    tables_.release(placed.random);
    if (placed.maglev) tables_.release(*placed.maglev);
    for (const Backend& backend : placed.selection->backends) {
        if (backends_.release(backend)) gone_.push_back(backend.address);
    }
}

Result<std::uint16_t> LbWriter::take_number() {
    // Numbers go round before one is used again: events and source ranges may still speak of the last one.
    for (std::uint32_t tried = 0; tried < kNumbers; ++tried) {
        const std::uint16_t number = next_number_++;
        if (next_number_ == 0) next_number_ = 1;
        if (numbers_[number]) continue;
        numbers_[number] = true;
        return number;
    }
    return fail(Code::kResourceExhausted, "all 65535 numbers of frontends are taken");
}

lb_service LbWriter::value_of(const FrontendKey& key, const FrontendRow& row) const {
    const ServiceInfo& info = *row.service;
    const Placed& placed = placed_.at(row.selection.get());
    const bool cluster_ip = row.type == FrontendType::kClusterIp;
    const bool by_maglev = row.maglev && row.selection->usable > 1;
    const LbTable table = by_maglev ? placed.maglev.value_or(LbTable{}) : placed.random;
    lb_service value{};
    value.table = table.location;
    value.size = table.size;
    value.backends = static_cast<std::uint16_t>(std::min<std::uint32_t>(row.selection->usable, 65535));
    std::uint32_t flags = type_flag(row.type), flags2 = 0;
    if (!cluster_ip && info.external_local) flags |= LB_F_EXT_LOCAL_SCOPE;
    if (cluster_ip && info.internal_local) flags2 |= LB_F2_INT_LOCAL_SCOPE;
    if (info.affinity_seconds != 0) {
        flags |= LB_F_AFFINITY;
        value.affinity_timeout = info.affinity_seconds;
    }
    if ((!cluster_ip || settings_.external_cluster_ip) && !key.is_surrogate()) flags |= LB_F_ROUTABLE;
    if (row.source_ranges) {
        flags |= LB_F_SOURCE_RANGE;
        if (info.source_ranges_deny) flags2 |= LB_F2_SOURCE_RANGE_DENY;
    }
    if (row.type == FrontendType::kHostPort && key.address.is_loopback()) flags2 |= LB_F2_LOOPBACK_HOST_PORT;
    if (row.two_scopes) flags2 |= LB_F2_TWO_SCOPES;
    if (!cluster_ip && info.dsr) flags2 |= LB_F2_DSR;
    value.flags = static_cast<std::uint8_t>(flags);
    value.flags2 = static_cast<std::uint8_t>(flags2);
    value.algorithm = row.maglev ? LB_MAGLEV : LB_RANDOM;
    return value;
}

std::string LbWriter::take_role(const FrontendKey& key, const FrontendRow& row, const lb_service& before,
                                lb_service& value) {
    const ServiceInfo& info = *row.service;
    if (info.affinity_seconds == 0) return {};
    Group& group = groups_[info.name];
    if (group.uses++ == 0) {
        const bool keeps = before.affinity_group != 0 && used_groups_.insert(before.affinity_group).second;
        group.number = keeps ? before.affinity_group : next_group_++;
        used_groups_.insert(group.number);
    }
    timeouts_[group.number] = info.affinity_seconds;
    std::string name = info.name.to_string() + (key.address.is_v6() ? "|6" : "|4") + (row.local_only ? "l|" : "c|") +
                       std::to_string(key.protocol) + "|" + row.port_name.str();
    // Its frontends may lead to different backends.
    if (key.protocol == IPPROTO_SCTP) name += "|" + std::to_string(key.port);
    Role& role = roles_[name];
    if (role.uses++ == 0) {
        const bool keeps = before.port_id != 0 && used_ports_.insert(before.port_id).second;
        role.port_id = keeps ? before.port_id : next_port_++;
        used_ports_.insert(role.port_id);
        if (const auto adopted = adopted_matches_.extract(role.port_id)) role.matches = std::move(adopted.mapped());
    }
    value.affinity_group = group.number;
    value.port_id = role.port_id;
    return name;
}

void LbWriter::release_role(const std::string& name, const ServiceName& service) {
    if (name.empty()) return;
    if (const auto role = roles_.find(name); role != roles_.end() && --role->second.uses == 0) {
        for (const auto& [pod, backend] : role->second.matches)
            (void)maps_.remove_affinity_match({pod, role->second.port_id});
        used_ports_.erase(role->second.port_id);
        roles_.erase(role);
    }
    if (const auto group = groups_.find(service); group != groups_.end() && --group->second.uses == 0) {
        timeouts_.erase(group->second.number);
        used_groups_.erase(group->second.number);
        groups_.erase(group);
    }
}

Status LbWriter::write_matches(Role& role, const Placed& placed) {
    for (std::uint32_t i = 0; i < placed.selection->usable; ++i) {
        const std::uint32_t id = placed.ids[i], pod = backends_.pod_id(id);
        const auto known = role.matches.find(pod);
        if (known != role.matches.end() && known->second == id) continue;
        TRY(maps_.put_affinity_match({pod, role.port_id}, id));
        role.matches.insert_or_assign(pod, id);
    }
    return {};
}

void LbWriter::trim_matches(Role& role, const Placed& placed) {
    std::set<std::uint32_t> wanted;
    for (std::uint32_t i = 0; i < placed.selection->usable; ++i) wanted.insert(backends_.pod_id(placed.ids[i]));
    std::erase_if(role.matches, [&](const auto& match) {
        return !wanted.contains(match.first) && maps_.remove_affinity_match({match.first, role.port_id}).has_value();
    });
}

void LbWriter::backends_moved(const Selection* before, const Selection& now) {
    if (before == nullptr || before == &now) return;
    std::vector<LbAddress> present;
    present.reserve(now.backends.size());
    for (const Backend& backend : now.backends) present.push_back(backend.address);
    std::ranges::sort(present);
    for (const Backend& backend : before->backends) {
        if (!std::ranges::binary_search(present, backend.address)) moved_.insert(backend.address.address);
    }
}

Result<std::uint16_t> LbWriter::put(const FrontendKey& key, const FrontendRow& row,
                                    const std::vector<std::uint16_t>* maglev) {
    TRY(acquire(row, maglev));
    const auto [found, fresh] = entries_.try_emplace(key);
    Entry& entry = found->second;
    lb_service value = value_of(key, row);
    value.rev_nat_index = entry.value.rev_nat_index;
    Status done;
    if (value.rev_nat_index == 0) {
        if (auto number = take_number()) {
            value.rev_nat_index = *number;
        } else {
            done = forward_error(std::move(number).error());
        }
    }
    const std::uint16_t number = value.rev_nat_index;
    if (done) done = put_entry(key, row, entry, value);
    if (!done) {
        release(row.selection.get());
        if (entry.value.rev_nat_index == 0) numbers_[number] = number == 0;
        if (fresh) entries_.erase(found);
        ++counters_.failed;
        return forward_error(std::move(done).error());
    }
    return number;
}

// What the entry needs is there before it is, and what the last one needed goes after it.
Status LbWriter::put_entry(const FrontendKey& key, const FrontendRow& row, Entry& entry, lb_service& value) {
    const std::string role = take_role(key, row, entry.value, value);
    const auto drop_role = [&](Status failed) {
        release_role(role, row.service->name);
        return failed;
    };
    const Placed& placed = placed_.at(row.selection.get());
    if (!role.empty()) {
        if (auto done = write_matches(roles_.at(role), placed); !done) return drop_role(std::move(done));
    }
    const std::vector<Prefix> ranges = ranges_of(key, row);
    std::vector<Prefix> added;
    for (const Prefix& range : ranges) {
        if (std::ranges::binary_search(entry.ranges(), range) && entry.value.rev_nat_index == value.rev_nat_index)
            continue;
        if (auto done = maps_.put_source_range({value.rev_nat_index, range}); !done) {
            for (const Prefix& undone : added) (void)maps_.remove_source_range({value.rev_nat_index, undone});
            return drop_role(std::move(done));
        }
        added.push_back(range);
    }
    const bool fresh = entry.value.rev_nat_index == 0 && !entry.adopted;
    const LbTable adopted = entry.adopted ? table_of(entry.value) : LbTable{};
    if (auto done = write_value(key, entry, value, fresh); !done) {
        for (const Prefix& undone : added) (void)maps_.remove_source_range({value.rev_nat_index, undone});
        return drop_role(std::move(done));
    }
    for (const Prefix& range : entry.ranges()) {
        if (!std::ranges::binary_search(ranges, range)) (void)maps_.remove_source_range({value.rev_nat_index, range});
    }
    if (!role.empty()) trim_matches(roles_.at(role), placed);
    if (entry.extra) release_role(entry.extra->role, entry.extra->service);
    entry.extra =
        role.empty() && ranges.empty() ? nullptr : std::make_unique<Extra>(Extra{role, row.service->name, ranges});
    backends_moved(entry.selection, *row.selection);
    const Selection* before = std::exchange(entry.selection, row.selection.get());
    if (before != nullptr) release(before);
    tables_.release(adopted);
    return {};
}

Status LbWriter::write_value(const FrontendKey& key, Entry& entry, const lb_service& value, bool fresh) {
    const bool first_look = std::exchange(entry.adopted, false);
    if (!fresh && entry.value == value) {
        counters_.unchanged_at_start += first_look ? 1 : 0;
        return {};
    }
    if (auto done = maps_.put_service(key, value); !done) {
        entry.adopted = first_look;
        return done;
    }
    ++(fresh ? counters_.added : counters_.updated);
    if (fresh || !decides_alike(entry.value, value)) frontend_moved(key);
    if (fresh && key.is_surrogate()) ++ports_[{key.protocol, key.port}];
    if (key.is_surrogate() && !maps_.port_bit(key.protocol, key.port)) maps_.set_port_bit(key.protocol, key.port, true);
    entry.value = value;
    return {};
}

Status LbWriter::erase_entry(const FrontendKey& key, Entry& entry) {
    TRY(maps_.remove_service(key));
    ++counters_.removed;
    frontend_moved(key);
    if (key.is_surrogate() && !key.is_wildcard()) {
        const auto port = ports_.find({key.protocol, key.port});
        if (port != ports_.end() && --port->second == 0) {
            maps_.set_port_bit(key.protocol, key.port, false);
            ports_.erase(port);
        }
    }
    for (const Prefix& range : entry.ranges()) (void)maps_.remove_source_range({entry.value.rev_nat_index, range});
    if (entry.value.rev_nat_index != 0) numbers_[entry.value.rev_nat_index] = false;
    if (entry.extra) release_role(entry.extra->role, entry.extra->service);
    if (entry.selection != nullptr) {
        release(entry.selection);
    } else if (entry.adopted) {
        tables_.release(table_of(entry.value));
    }
    return {};
}

Status LbWriter::remove(const FrontendKey& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return {};
    TRY(erase_entry(key, found->second));
    entries_.erase(found);
    return {};
}

Status LbWriter::put_virtual_address(const IpAddress& address, std::optional<FrontendType> type) {
    const FrontendKey key{address, 0, 0, LB_SCOPE_EXTERNAL};
    if (!type) return remove(key);
    const auto [found, fresh] = entries_.try_emplace(key);
    lb_service value{};
    std::uint32_t flags = type_flag(*type);
    if (type != FrontendType::kClusterIp || settings_.external_cluster_ip) flags |= LB_F_ROUTABLE;
    value.flags = static_cast<std::uint8_t>(flags);
    value.algorithm = LB_RANDOM;
    auto done = write_value(key, found->second, value, fresh);
    if (!done && fresh) entries_.erase(found);
    return done;
}

void LbWriter::finish(bool host_ports) {
    for (auto entry = entries_.begin(); entry != entries_.end();) {
        const bool keep = !entry->second.adopted ||
                          (!host_ports && (entry->second.value.flags & LB_F_HOST_PORT) != 0) ||
                          !erase_entry(entry->first, entry->second);
        entry = keep ? std::next(entry) : entries_.erase(entry);
    }
    if (!host_ports) return;
    for (const LbAddress& address : backends_.drop_unused()) gone_.push_back(address);
    for (const auto& [port, matches] : std::exchange(adopted_matches_, {})) {
        for (const auto& [pod, backend] : matches) (void)maps_.remove_affinity_match({pod, port});
    }
    for (const LbSourceRange& range : std::exchange(adopted_ranges_, {})) (void)maps_.remove_source_range(range);
    for (const auto& port : maps_.port_bits()) {
        if (!ports_.contains(port)) maps_.set_port_bit(port.first, port.second, false);
    }
    for (const auto& [port, count] : ports_) {
        if (!maps_.port_bit(port.first, port.second)) maps_.set_port_bit(port.first, port.second, true);
    }
}

void LbWriter::frontend_moved(const FrontendKey& key) {
    if (!key.is_surrogate()) {
        moved_.insert(key.address);
        return;
    }
    node_moved_ = node_moved_ || node_addresses_.empty();
    for (const IpAddress& address : node_addresses_) {
        if (address.family() == key.address.family()) moved_.insert(address);
    }
}

void LbWriter::commit() {
    for (const LbAddress& backend : gone_) moved_.insert(backend.address);
    if (std::exchange(node_moved_, false)) {
        generations_.bump_node();
    } else {
        for (const IpAddress& address : moved_) generations_.bump_address(address);
    }
    moved_.clear();
    for (const LbAddress& backend : std::exchange(gone_, {})) {
        // It may have come back in the same batch.
        if (backends_.id(backend) == 0 && backend_gone_) backend_gone_(backend);
    }
}

std::uint32_t LbWriter::affinity_timeout(std::uint32_t group) const {
    const auto found = timeouts_.find(group);
    return found == timeouts_.end() ? 0 : found->second;
}

ReconcileCounters LbWriter::counters() const {
    ReconcileCounters all = counters_;
    const Backends::Counters& backends = backends_.counters();
    all.unchanged_at_start += backends.unchanged_at_start;
    all.added += backends.added;
    all.updated += backends.updated;
    all.removed += backends.removed;
    return all;
}

}  // namespace axo::service
