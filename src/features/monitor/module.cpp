#include "features/monitor/module.h"

#include <algorithm>
#include <array>
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

class HttpOutput : public PushClient {
public:
    explicit HttpOutput(std::shared_ptr<HttpResponder> responder) : responder_(std::move(responder)) {}
    void send(std::string_view bytes) override { responder_->send_chunk(std::string(bytes)); }
    [[nodiscard]] std::size_t pending_bytes() const override { return responder_->pending_bytes(); }
    bool gone() override { return responder_->client_gone(); }
    void close() override { responder_->end(); }

private:
    std::shared_ptr<HttpResponder> responder_;
};

}  // namespace

MonitorHub::MonitorHub(EventLoop& loop, EventNames names) : loop_(loop), names_(std::move(names)) {
    queue_->hub = this;
}

MonitorHub::~MonitorHub() {
    queue_->hub = nullptr;
    for (const Client& client : clients_) client.output->close();
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
    auto output = std::make_shared<HttpOutput>(std::move(responder));
    output->send(json_text(start) + "\n");
    add({.form = Form::kJson, .filter = std::move(filter), .output = std::move(output)});
}

void MonitorHub::attach(std::shared_ptr<PushClient> output) {
    output->send(cilium_wire::start());
    add({.form = Form::kCilium, .filter = {}, .output = std::move(output)});
}

void MonitorHub::add(Client client) {
    clients_.push_back(std::move(client));
    listening_.store(clients_.size(), std::memory_order_relaxed);
    // A client that left a silent stream is noticed here, not by a failing write; and one that reads again is told what
    // it lost, though nothing happens any more.
    sweep_ = loop_.every(std::chrono::seconds(1), [this] {
        drop_gone();
        for (Client& each : clients_) {
            if (each.lost != 0) send(each, {}, 0);
        }
    });
}

void MonitorHub::drop_gone() {
    std::erase_if(clients_, [](const Client& client) { return client.output->gone(); });
    listening_.store(clients_.size(), std::memory_order_relaxed);
    if (clients_.empty()) sweep_.cancel();
}

bool MonitorHub::wants_notices() const {
    return std::ranges::any_of(clients_, [](const Client& client) { return client.form == Form::kCilium; });
}

void MonitorHub::tell(const AgentNotice& notice) {
    const std::string message = cilium_wire::message(notice);
    for (Client& client : clients_) {
        if (client.form == Form::kCilium) send(client, message, 1);
    }
}

std::size_t MonitorHub::most_pending(Form form) const {
    // Many clients that do not read cost no more than some.
    return form == Form::kJson ? kClientBytes : std::min(kWireBytes, kAllWireBytes / clients_.size());
}

void MonitorHub::send(Client& client, const std::string& texts, std::uint64_t events) const {
    if (client.output->pending_bytes() > most_pending(client.form)) {
        client.lost += events;
        return;
    }
    if (client.lost != 0) {
        const Json notice{{"type", "lost"}, {"count", client.lost}};
        client.output->send(client.form == Form::kCilium ? cilium_wire::lost(client.lost) : json_text(notice) + "\n");
        client.lost = 0;
    }
    client.output->send(texts);
}

std::string MonitorHub::text(const flow_event& event, Form form, std::int64_t wall_offset_ns) const {
    if (form == Form::kJson) return json_text(event_json(event, names_, wall_offset_ns)) + "\n";
    const bool ruled = event.type == EVENT_POLICY_VERDICT && names_.rule;
    return cilium_wire::message(event, ruled ? names_.rule(event.rule_cookie) : EventRule{});
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
        std::array<std::string, kForms> texts;
        for (std::size_t i = 0; i < clients_.size(); ++i) {
            if (!clients_[i].filter.matches(event)) continue;
            const Form form = clients_[i].form;
            std::string& one = texts[static_cast<std::size_t>(form)];
            if (one.empty()) one = text(event, form, offset);
            auto& [batch, count] = batches[i];
            batch += one;
            ++count;
            if (batch.size() > 65536) {
                send(clients_[i], batch, count);
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
