#include "hubble/core/dns_names.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace axo::hubble {

namespace {

// Longer than resolvers repeat a question: then it is another one with the same number.
constexpr std::int64_t kPatienceNs = 30LL * 1'000'000'000;

// What a question and its answer have in common.
std::uint64_t query_key(const FlowRecord& record) {
    const DnsMessage& dns = *record.dns;
    const std::uint64_t endpoint = dns.response ? record.event.endpoint_dst : record.event.endpoint_src;
    const std::uint64_t port = dns.response ? record.destination_port() : record.source_port();
    std::uint64_t key = endpoint << 48 | port << 32 | std::uint64_t{dns.id} << 16 | dns.qtype;
    // A server may answer from another address of its own, so it does not count.
    return key ^ (std::hash<std::string>{}(dns.query) * 0x9E3779B97F4A7C15ULL);
}

}  // namespace

template <class K, class V, class H>
void DnsNames::Halves<K, V, H>::make_room() {
    if (young_.size() < half_) return;
    old_ = std::move(young_);
    young_.clear();
}

template <class K, class V, class H>
V* DnsNames::Halves<K, V, H>::find(const K& key) {
    if (const auto known = young_.find(key); known != young_.end()) return &known->second;
    if (old_.empty()) return nullptr;
    auto old = old_.extract(key);
    if (!old) return nullptr;
    make_room();
    return &young_.insert(std::move(old)).position->second;
}

template <class K, class V, class H>
V& DnsNames::Halves<K, V, H>::at(const K& key) {
    if (V* known = find(key)) return *known;
    make_room();
    return young_[key];
}

template <class K, class V, class H>
void DnsNames::Halves<K, V, H>::erase(const K& key) {
    young_.erase(key);
    old_.erase(key);
}

template <class K, class V, class H>
template <class Test>
void DnsNames::Halves<K, V, H>::erase_if(Test test) {
    for (auto* half : {&young_, &old_}) {
        for (auto at = half->begin(); at != half->end();) at = test(at->first, at->second) ? half->erase(at) : ++at;
    }
}

std::uint64_t DnsNames::observe(const FlowRecord& record) {
    const DnsMessage& dns = *record.dns;
    const std::uint64_t key = query_key(record);
    const auto now = static_cast<std::int64_t>(record.event.time_ns);  // the time of day jumps
    if (!dns.response) {
        // Asked again, it is the first time that counts: that is how long the pod waits.
        std::int64_t& asked = queries_.at(key);
        if (asked == 0 || now - asked > kPatienceNs) asked = now;
        return 0;
    }
    std::uint64_t latency = 0;
    if (const std::int64_t* asked = queries_.find(key)) {
        latency = static_cast<std::uint64_t>(std::max<std::int64_t>(now - *asked, 0));
        queries_.erase(key);
    }
    if (record.event.endpoint_dst == 0) return latency;
    const Name name{.name = dns.query.substr(0, dns.query.size() - 1),
                    .until_ns = now + std::int64_t{dns.ttl} * 1'000'000'000 + kKeepNs,
                    .time_ns = record.time_ns,
                    .ttl = dns.ttl};
    for (const IpAddress& ip : dns.ips) learn(record.event.endpoint_dst, ip, name, now);
    return latency;
}

void DnsNames::learn(std::uint32_t endpoint, const IpAddress& address, const Name& name, std::int64_t now_ns) {
    ++changes_;
    Entry& entry = entries_.at({endpoint, address});
    const auto known = std::ranges::find(entry.names, name.name, &Name::name);
    if (known != entry.names.end()) {
        *known = name;
        return;
    }
    std::erase_if(entry.names, [now_ns](const Name& one) { return one.until_ns < now_ns; });
    if (entry.names.size() >= kMaxNames) entry.names.erase(std::ranges::min_element(entry.names, {}, &Name::until_ns));
    entry.names.insert(std::ranges::lower_bound(entry.names, name.name, {}, &Name::name), name);
    entry.shown = shown(entry.names);
}

NamesRef DnsNames::shown(const std::vector<Name>& names) {
    auto texts = std::make_shared<std::vector<std::string>>();
    for (const Name& one : names) texts->push_back(one.name);
    return texts;
}

NamesRef DnsNames::names_of(std::uint32_t endpoint, const IpAddress& address) {
    if (endpoint == 0 || entries_.empty()) return nullptr;
    const Entry* entry = entries_.find({endpoint, address});
    return entry == nullptr ? nullptr : entry->shown;
}

void DnsNames::forget(std::uint32_t endpoint) {
    ++changes_;
    entries_.erase_if([endpoint](const Key& key, const Entry&) { return key.endpoint == endpoint; });
}

void DnsNames::forget_names(const std::function<bool(const std::string&)>& says) {
    ++changes_;
    entries_.erase_if([&](const Key&, Entry& entry) {
        if (std::erase_if(entry.names, [&](const Name& one) { return says(one.name); }) != 0)
            entry.shown = shown(entry.names);
        return entry.names.empty();
    });
}

std::vector<DnsNames::Lookup> DnsNames::lookups() const {
    // An answer's addresses have one time.
    std::map<std::tuple<std::uint32_t, std::string, std::int64_t>, Lookup> answers;
    entries_.for_each([&](const Key& key, const Entry& entry) {
        for (const Name& one : entry.names) {
            Lookup& lookup = answers[{key.endpoint, one.name, one.time_ns}];
            lookup.endpoint = key.endpoint;
            lookup.name = one.name;
            lookup.time_ns = one.time_ns;
            lookup.ttl = one.ttl;
            lookup.ips.push_back(key.address);
        }
    });
    std::vector<Lookup> all;
    for (auto& [key, lookup] : answers) {
        std::ranges::sort(lookup.ips);
        all.push_back(std::move(lookup));
    }
    return all;
}

void DnsNames::restore(const std::vector<Lookup>& lookups, std::int64_t now_ns, std::int64_t wall_ns) {
    for (const Lookup& lookup : lookups) {
        const std::int64_t time = std::min(lookup.time_ns, wall_ns);
        const std::int64_t left = std::int64_t{lookup.ttl} * 1'000'000'000 + kKeepNs - (wall_ns - time);
        if (left <= 0) continue;
        const Name name{.name = lookup.name, .until_ns = now_ns + left, .time_ns = time, .ttl = lookup.ttl};
        for (const IpAddress& ip : lookup.ips) learn(lookup.endpoint, ip, name, now_ns);
    }
}

}  // namespace axo::hubble
