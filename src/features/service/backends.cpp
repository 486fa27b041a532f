#include "features/service/backends.h"

#include <algorithm>
#include <bit>

namespace axo::service {

Backends::Backends(LbMaps& maps, std::map<std::string, std::uint8_t> zones)
    : maps_(maps), zones_(std::move(zones)), slots_(64), entries_(1) {}

std::size_t Backends::hash(const LbAddress& address) {
    std::size_t value = std::hash<IpAddress>{}(address.address) ^
                        (std::size_t{address.port} << 8 | address.protocol) * 0x9E3779B97F4A7C15ULL;
    value = (value ^ value >> 32) * 0xff51afd7ed558ccdULL;
    return value ^ value >> 32;
}

std::size_t Backends::slot_of(const LbAddress& address) const {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t slot = hash(address) & mask; slots_[slot] != kEmpty; slot = (slot + 1) & mask) {
        if (slots_[slot] != kErased && maps_.is_backend(slots_[slot], address)) return slot;
    }
    return slots_.size();
}

// The address stands in the map already.
void Backends::insert(const LbAddress& address, std::uint32_t id) {
    if ((occupied_ + 1) * 2 > slots_.size()) grow();
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = hash(address) & mask;
    while (slots_[slot] != kEmpty) slot = (slot + 1) & mask;
    slots_[slot] = id;
    ++occupied_;
    ++count_;
}

void Backends::grow() {
    std::vector<std::uint32_t> before(std::max<std::size_t>(64, std::bit_ceil(count_ * 3 + 3)));
    slots_.swap(before);
    occupied_ = count_ = 0;
    for (const std::uint32_t id : before) {
        if (id == kEmpty || id == kErased) continue;
        if (const auto row = maps_.backend(id)) insert(row->address, id);
    }
}

void Backends::adopt() {
    for (const LbBackendRow& row : maps_.backends()) {
        if (row.id >= entries_.size()) entries_.resize(row.id + 1);
        if (slot_of(row.address) != slots_.size()) {
            // Nobody needs it twice.
            maps_.free_backend(row.id);
            entries_[row.id].taken = true;
            freed_.push_back(row.id);
            continue;
        }
        insert(row.address, row.id);
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
    const std::size_t slot = slot_of(address);
    return slot == slots_.size() ? 0 : slots_[slot];
}

void Backends::write(std::uint32_t id, const Backend& backend) {
    Entry& entry = entries_[id];
    const auto zone = zones_.find(backend.zone.str());
    const auto present = maps_.backend(id);
    // Whether it is active is known when everybody who leads to it has said so.
    const bool was_active = entry.adopted && present && present->state == LB_BACKEND_ACTIVE;
    const LbBackendRow row{.id = id,
                           .address = backend.address,
                           .state = static_cast<std::uint8_t>(entry.active != 0 || was_active ? LB_BACKEND_ACTIVE
                                                                                              : LB_BACKEND_TERMINATING),
                           .zone = zone == zones_.end() ? std::uint8_t{0} : zone->second,
                           .pod_id = entry.pod_id};
    const bool first = !std::exchange(entry.compared, true);
    if (present == row) {
        counters_.unchanged_at_start += first ? 1 : 0;
        return;
    }
    maps_.put_backend(row);
    ++(present ? counters_.updated : counters_.added);
}

Result<std::uint32_t> Backends::acquire(const Backend& backend) {
    std::uint32_t id = this->id(backend.address);
    const bool fresh = id == 0;
    if (fresh) {
        // Numbers go round before one is used again.
        const std::uint32_t last = maps_.capacity() - 1;
        std::uint32_t tried = 0;
        const auto taken = [this](std::uint32_t id) { return id < entries_.size() && entries_[id].taken; };
        while (tried <= last && taken(next_)) {
            next_ = next_ >= last ? 1 : next_ + 1;
            ++tried;
        }
        if (tried > last) {
            std::string text = "map ";
            text += map_name::kLbBackends;
            text +=
                " is full: it has " + std::to_string(maps_.capacity()) + " entries (bpf-lb-service-backend-map-max)";
            return fail(Code::kResourceExhausted, std::move(text));
        }
        if (next_ >= entries_.size()) entries_.resize(next_ + 1);
        id = next_;
        entries_[next_] = {.uses = 0, .active = 0, .pod_id = pod_number(backend.address.address), .taken = true};
        next_ = next_ >= last ? 1 : next_ + 1;
    }
    Entry& entry = entries_[id];
    ++entry.uses;
    entry.active += backend.state == BackendState::kActive ? 1 : 0;
    if (entry.uses == 1 || backend.state == BackendState::kActive) write(id, backend);
    if (fresh) insert(backend.address, id);
    return id;
}

bool Backends::release(const Backend& backend) {
    const std::uint32_t id = this->id(backend.address);
    if (id == 0) return false;
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
    // Before: the slot is found by what stands in the map.
    slots_[slot_of(address)] = kErased;
    --count_;
    maps_.free_backend(id);
    ++counters_.removed;
    if (address.address.is_v6()) {
        const auto pod = pods6_.find(entries_[id].pod_id);
        if (pod != pods6_.end() && --pod->second.uses == 0) pods6_.erase(pod);
    }
    freed_.push_back(id);
}

std::vector<LbAddress> Backends::drop_unused() {
    std::vector<LbAddress> unused;
    for (std::uint32_t id = 1; id < entries_.size(); ++id) {
        Entry& entry = entries_[id];
        const bool adopted = std::exchange(entry.adopted, false);
        auto row = adopted || entry.uses == 0 ? maps_.backend(id) : std::nullopt;
        if (!row) continue;
        if (entry.uses != 0) {
            if (entry.active != 0 || row->state != LB_BACKEND_ACTIVE) continue;
            row->state = LB_BACKEND_TERMINATING;
            maps_.put_backend(*row);
            ++counters_.updated;
            continue;
        }
        unused.push_back(row->address);
        drop(row->address, id);
    }
    return unused;
}

void Backends::reuse(const std::vector<std::uint32_t>& ids) {
    for (const std::uint32_t id : ids) entries_[id] = {};
}

}  // namespace axo::service
