#include "hubble/core/observer.h"

#include <net/if.h>
#include <sys/random.h>

#include <ctime>

#include "hubble/core/decode.h"

namespace axo::hubble {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kNamespaceMemory = 3600 * kSecond;

std::int64_t nanoseconds(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return now.tv_sec * kSecond + now.tv_nsec;
}

std::uint64_t random_number() {
    std::uint64_t number = 0;
    if (::getrandom(&number, sizeof(number), 0) != sizeof(number))
        number = static_cast<std::uint64_t>(nanoseconds(CLOCK_REALTIME));
    return number;
}

}  // namespace

Observer::Observer(ObserverSettings settings, std::function<void(const RuleRef&)> rule_wanted)
    : settings_(std::move(settings)),
      node_name_(settings_.cluster + "/" + settings_.node),
      started_ns_(nanoseconds(CLOCK_MONOTONIC)),
      names_(settings_.cluster, std::move(rule_wanted)),
      ring_(settings_.capacity),
      sequence_(random_number()),
      node_labels_(settings_.node_labels) {}

// Events carry the monotonic time. Both clocks are compared anew every few milliseconds, because the time of day jumps.
std::int64_t Observer::wall_time(std::uint64_t monotonic_ns) {
    if (wall_offset_ == 0 || monotonic_ns - offset_checked_ns_ > 5'000'000) {
        wall_offset_ = nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_MONOTONIC);
        offset_checked_ns_ = monotonic_ns;
    }
    return static_cast<std::int64_t>(monotonic_ns) + wall_offset_;
}

std::shared_ptr<const std::string> Observer::interface_name(std::uint32_t index) {
    if (interfaces_stale_.load(std::memory_order_relaxed) && interfaces_stale_.exchange(false)) interfaces_.clear();
    if (index == 0) return nullptr;
    const auto known = interfaces_.find(index);
    if (known != interfaces_.end()) return known->second;
    char name[IF_NAMESIZE] = {};
    if (::if_indextoname(index, name) == nullptr) name[0] = 0;
    return interfaces_.emplace(index, std::make_shared<const std::string>(name)).first->second;
}

void Observer::count_second(std::int64_t second) {
    Second& slot = seconds_[static_cast<std::size_t>(second) % seconds_.size()];
    if (slot.at.load(std::memory_order_relaxed) != second) {
        slot.flows.store(0, std::memory_order_relaxed);
        slot.at.store(second, std::memory_order_relaxed);
    }
    slot.flows.fetch_add(1, std::memory_order_relaxed);
}

void Observer::note_namespace(const EndpointRef& end, std::int64_t time_ns) {
    if (end->name_space.empty()) return;
    Noted& noted = noted_[(reinterpret_cast<std::uintptr_t>(end.get()) >> 5) % noted_.size()];
    if (noted.end == end && time_ns - noted.at_ns < kSecond) return;
    noted = {end, time_ns};
    const std::lock_guard lock(mutex_);
    const auto [known, fresh] = namespaces_.try_emplace({end->cluster, end->name_space}, time_ns);
    known->second = time_ns;
    if (fresh) std::erase_if(namespaces_, [&](const auto& one) { return one.second < time_ns - kNamespaceMemory; });
}

void Observer::observe(const flow_event& event, std::span<const std::byte> message) {
    FlowRecord record;
    if (event.type == EVENT_DNS) {
        auto dns = parse_dns(message);
        if (!dns) {
            dns_unread_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        record.dns = std::make_shared<const DnsMessage>(std::move(*dns));
    }
    record.event = event;
    record.time_ns = wall_time(event.time_ns);
    record.sequence = ++sequence_;
    decode(record);
    names_.enrich(record);
    record.interface = interface_name(event.ifindex);
    for (const EndpointRef& end : {record.source, record.destination}) note_namespace(end, record.time_ns);
    count_second(static_cast<std::int64_t>(event.time_ns) / kSecond);
    if (sink_) sink_(record);
    ring_.add(std::move(record));
    seen_.fetch_add(1, std::memory_order_relaxed);
}

void Observer::report_lost(LostSource source, std::uint64_t count) {
    if (count == 0) return;
    lost_datapath_.fetch_add(count, std::memory_order_relaxed);
    FlowRecord record;
    record.time_ns = nanoseconds(CLOCK_REALTIME);
    record.lost = count;
    record.lost_source = source;
    ring_.add(std::move(record));
}

void Observer::set_node_labels(std::vector<std::string> labels) {
    std::ranges::sort(labels);
    const std::lock_guard lock(mutex_);
    node_labels_ = std::move(labels);
}

std::vector<std::string> Observer::node_labels() const {
    const std::lock_guard lock(mutex_);
    return node_labels_;
}

Observer::Status Observer::status() const {
    Status status;
    const FlowRing::Span span = ring_.span();
    status.flows = span.size();
    status.max_flows = ring_.capacity();
    status.seen = seen_.load(std::memory_order_relaxed);
    const std::int64_t now = nanoseconds(CLOCK_MONOTONIC);
    status.uptime_ns = static_cast<std::uint64_t>(now - started_ns_);
    status.lost_datapath = lost_datapath_.load(std::memory_order_relaxed);
    status.dns_unread = dns_unread_.load(std::memory_order_relaxed);
    status.lost_ring = lost_ring_.load(std::memory_order_relaxed);
    std::uint64_t flows = 0;
    for (const Second& second : seconds_) {
        const std::int64_t age = now / kSecond - second.at.load(std::memory_order_relaxed);
        if (age >= 0 && age < kRateSeconds) flows += second.flows.load(std::memory_order_relaxed);
    }
    const double seconds =
        std::clamp(static_cast<double>(status.uptime_ns) / 1e9, 1.0, static_cast<double>(kRateSeconds));
    status.rate = static_cast<double>(flows) / seconds;
    return status;
}

std::vector<std::pair<std::string, std::string>> Observer::namespaces() const {
    const std::int64_t oldest = nanoseconds(CLOCK_REALTIME) - kNamespaceMemory;
    std::vector<std::pair<std::string, std::string>> all;
    const std::lock_guard lock(mutex_);
    for (const auto& [name, seen] : namespaces_) {
        if (seen >= oldest) all.push_back(name);
    }
    return all;
}

}  // namespace axo::hubble
