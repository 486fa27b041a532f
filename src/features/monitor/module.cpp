#include "features/monitor/module.h"

#include <ctime>

#include "bpf/api/drop_reason.h"
#include "model/json_text.h"

namespace axo {

namespace {

std::int64_t wall_offset() {
    timespec wall{}, monotonic{};
    ::clock_gettime(CLOCK_REALTIME, &wall);
    ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
    return (wall.tv_sec - monotonic.tv_sec) * 1'000'000'000LL + (wall.tv_nsec - monotonic.tv_nsec);
}

}  // namespace

MonitorHub::MonitorHub(EventLoop& loop, EventNames names) : loop_(loop), names_(std::move(names)) {
    queue_->hub = this;
}

MonitorHub::~MonitorHub() {
    queue_->hub = nullptr;
    for (const Client& client : clients_) client.responder->end();
}

std::vector<flow_event> MonitorHub::recent_denials() const {
    const std::lock_guard lock(denials_mutex_);
    return {denials_.begin(), denials_.end()};
}

void MonitorHub::publish(const flow_event& event) {
    if (event.type == EVENT_DROP && (event.subtype == DROP_POLICY || event.subtype == DROP_POLICY_DENY)) {
        const std::lock_guard lock(denials_mutex_);
        if (denials_.size() == kDenials) denials_.pop_front();
        denials_.push_back(event);
    }
    if (listening_.load(std::memory_order_relaxed) == 0) return;
    {
        const std::lock_guard lock(queue_->mutex);
        if (queue_->events.size() >= kQueue) {
            ++queue_->lost;
        } else {
            queue_->events.push_back(event);
        }
        if (std::exchange(queue_->posted, true)) return;
    }
    loop_.post([queue = queue_] {
        if (queue->hub != nullptr) queue->hub->drain();
    });
}

void MonitorHub::subscribe(MonitorFilter filter, const Json& start, std::shared_ptr<HttpResponder> responder) {
    responder->send_head(200, "application/x-ndjson");
    responder->send_chunk(json_text(start) + "\n");
    clients_.push_back({.filter = std::move(filter), .responder = std::move(responder), .lost = 0});
    listening_.store(clients_.size(), std::memory_order_relaxed);
    // A client that left a silent stream is noticed here, not by a failing write.
    sweep_ = loop_.every(std::chrono::seconds(1), [this] { drop_gone(); });
}

void MonitorHub::drop_gone() {
    std::erase_if(clients_, [](const Client& client) { return client.responder->client_gone(); });
    listening_.store(clients_.size(), std::memory_order_relaxed);
    if (clients_.empty()) sweep_.cancel();
}

void MonitorHub::send(Client& client, const std::string& lines, std::uint64_t events) {
    if (client.responder->pending_bytes() > kClientBytes) {
        client.lost += events;
        return;
    }
    if (client.lost != 0) {
        const Json notice{{"type", "lost"}, {"count", client.lost}};
        client.responder->send_chunk(json_text(notice) + "\n");
        client.lost = 0;
    }
    client.responder->send_chunk(lines);
}

void MonitorHub::drain() {
    std::vector<flow_event> events;
    std::uint64_t lost = 0;
    {
        const std::lock_guard lock(queue_->mutex);
        events.swap(queue_->events);
        lost = std::exchange(queue_->lost, 0);
        queue_->posted = false;
    }
    const std::int64_t offset = wall_offset();
    std::vector<std::pair<std::string, std::uint64_t>> batches(clients_.size());
    for (const flow_event& event : events) {
        std::string line;
        for (std::size_t i = 0; i < clients_.size(); ++i) {
            if (!clients_[i].filter.matches(event)) continue;
            if (line.empty()) line = json_text(event_json(event, names_, offset)) + "\n";
            auto& [text, count] = batches[i];
            text += line;
            ++count;
            if (text.size() > 65536) {
                send(clients_[i], text, count);
                batches[i] = {};
            }
        }
    }
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        clients_[i].lost += lost;
        if (batches[i].second != 0) send(clients_[i], batches[i].first, batches[i].second);
    }
    drop_gone();
}

}  // namespace axo
