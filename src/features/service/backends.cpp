#include "features/service/backends.h"

#include <algorithm>

namespace axo::service {

Backends::Backends(LbMaps& maps, std::map<std::string, std::uint8_t> zones)
    : maps_(maps), zones_(std::move(zones)), entries_(1) {}

void Backends::adopt() {
    for (const LbBackendRow& row : maps_.backends()) {
        if (row.id >= entries_.size()) entries_.resize(row.id + 1);
        if (!ids_.emplace(row.address, row.id).second) {
            // Nobody needs it twice.
            maps_.free_backend(row.id);
            entries_[row.id].taken = true;
            freed_.push_back(row.id);
            continue;
        }
        entries_[row.id] = {
            .uses = 0, .active = 0, .pod_id = row.pod_id, .taken = true, .adopted = true, .compared = false};
        if (row.address.address.is_v6()) {
            Pod& pod = pods6_[row.pod_id];
            pod.address = row.address.address;
            ++pod.uses;
        }
    }
}

// An IPv4 address is its own number, so it never has to be remembered. 0.0.0.0 is no backend.
std::uint32_t Backends::pod_number(const IpAddress& address) {
    if (address.is_v4()) return address.v4_network_order();
    auto number = static_cast<std::uint32_t>(std::hash<IpAddress>{}(address) * 0x9E3779B97F4A7C15ULL >> 32);
    for (;; ++number) {
        if (number == 0) continue;
        Pod& pod = pods6_[number];
        if (pod.uses != 0 && pod.address != address) continue;
        pod.address = address;
        ++pod.uses;
        return number;
    }
}

std::uint32_t Backends::id(const LbAddress& address) const {
    const auto found = ids_.find(address);
    return found == ids_.end() ? 0 : found->second;
}

void Backends::write(std::uint32_t id, const Backend& backend) {
    Entry& entry = entries_[id];
    const auto zone = zones_.find(backend.zone.str());
    const LbBackendRow row{
        .id = id,
        .address = backend.address,
        .state = static_cast<std::uint8_t>(entry.active != 0 ? LB_BACKEND_ACTIVE : LB_BACKEND_TERMINATING),
        .zone = zone == zones_.end() ? std::uint8_t{0} : zone->second,
        .pod_id = entry.pod_id};
    const auto present = maps_.backend(id);
    const bool first = !std::exchange(entry.compared, true);
    if (present == row) {
        counters_.unchanged_at_start += first ? 1 : 0;
        return;
    }
    maps_.put_backend(row);
    ++(present ? counters_.updated : counters_.added);
}

Result<std::uint32_t> Backends::acquire(const Backend& backend) {
    const auto [known, inserted] = ids_.try_emplace(backend.address, 0);
    if (inserted) {
        // Numbers go round before one is used again.
        const std::uint32_t last = maps_.capacity() - 1;
        std::uint32_t tried = 0;
        const auto taken = [this](std::uint32_t id) { return id < entries_.size() && entries_[id].taken; };
        while (tried <= last && taken(next_)) {
            next_ = next_ >= last ? 1 : next_ + 1;
            ++tried;
        }
        if (tried > last) {
            ids_.erase(known);
            std::string text = "map ";
            text += map_name::kLbBackends;
            text +=
                " is full: it has " + std::to_string(maps_.capacity()) + " entries (bpf-lb-service-backend-map-max)";
            return fail(Code::kResourceExhausted, std::move(text));
        }
        if (next_ >= entries_.size()) entries_.resize(next_ + 1);
        known->second = next_;
        entries_[next_] = {.uses = 0, .active = 0, .pod_id = pod_number(backend.address.address), .taken = true};
        next_ = next_ >= last ? 1 : next_ + 1;
    }
    const std::uint32_t id = known->second;
    Entry& entry = entries_[id];
    ++entry.uses;
    entry.active += backend.state == BackendState::kActive ? 1 : 0;
    if (entry.uses == 1 || backend.state == BackendState::kActive) write(id, backend);
    return id;
}

bool Backends::release(const Backend& backend) {
    const auto known = ids_.find(backend.address);
    if (known == ids_.end()) return false;
    const std::uint32_t id = known->second;
    Entry& entry = entries_[id];
    entry.active -= backend.state == BackendState::kActive ? 1 : 0;
    if (--entry.uses != 0) {
        if (backend.state == BackendState::kActive && entry.active == 0) write(id, backend);
        return false;
    }
    if (entry.adopted) return false;
    drop(backend.address, id);
    return true;
}

void Backends::cancel(const Backend& backend) {
    if (!release(backend)) return;
    entries_[freed_.back()] = {};
    freed_.pop_back();
}

void Backends::drop(const LbAddress& address, std::uint32_t id) {
    maps_.free_backend(id);
    ++counters_.removed;
    if (address.address.is_v6()) {
        const auto pod = pods6_.find(entries_[id].pod_id);
        if (pod != pods6_.end() && --pod->second.uses == 0) pods6_.erase(pod);
    }
    ids_.erase(LbAddress(address));
    freed_.push_back(id);
}

std::vector<LbAddress> Backends::drop_unused() {
    std::vector<LbAddress> unused;
    for (const auto& [address, id] : ids_) {
        entries_[id].adopted = false;
        if (entries_[id].uses == 0) unused.push_back(address);
    }
    for (const LbAddress& address : unused) drop(address, ids_.at(address));
    return unused;
}

void Backends::reuse(const std::vector<std::uint32_t>& ids) {
    for (const std::uint32_t id : ids) entries_[id] = {};
}

}  // namespace axo::service
