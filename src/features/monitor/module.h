// The event hub: carries datapath events from the ring reader's thread to the clients of GET /v1/monitor, which get
// JSON, and to those of monitor1_2.sock, which get Cilium's binary form (cilium_wire.h).
//
//   ring thread: publish() -> bounded queue -> loop: filter, names, text -> each client's stream
//
// Without a client publish() is one atomic load. A queue that is full and a client that reads too slowly
// lose events, never memory; the client is told how many. Thread: publish from any, the rest on the loop.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "features/monitor/cilium_wire.h"
#include "features/monitor/event_json.h"
#include "io/http.h"
#include "io/push_server.h"
#include "runtime/event_loop.h"

namespace axo {

class MonitorHub {
public:
    MonitorHub(EventLoop& loop, EventNames names);
    ~MonitorHub();

    void publish(const flow_event& event);
    // Streams JSON until the client goes away. start: the first line.
    void subscribe(MonitorFilter filter, const Json& start, std::shared_ptr<HttpResponder> responder);
    // The same for a client that reads Cilium's form; it gets everything and filters itself.
    void attach(std::shared_ptr<PushClient> output);
    // For clients of Cilium's form, if there are any.
    [[nodiscard]] bool wants_notices() const;
    void tell(const AgentNotice& notice);
    [[nodiscard]] std::size_t clients() const { return clients_.size(); }
    // The latest drops by policy, oldest first: such traffic leaves no flow behind. Thread: any.
    [[nodiscard]] std::vector<flow_event> recent_denials() const;

private:
    static constexpr std::size_t kQueue = 16384;           // events between two loop turns
    static constexpr std::size_t kClientBytes = 4U << 20;  // unsent, per client
    static constexpr std::size_t kWireBytes = 1U << 20;    // the same, of Cilium's form
    static constexpr std::size_t kAllWireBytes = 16U << 20;
    enum class Form { kJson, kCilium };
    static constexpr std::size_t kForms = 2;
    struct Client {
        Form form;
        MonitorFilter filter;
        std::shared_ptr<PushClient> output;
        std::uint64_t lost = 0;
    };
    struct Queue {  // shared with posts that outlive the hub
        std::mutex mutex;
        std::vector<flow_event> events;
        std::uint64_t lost = 0;
        bool posted = false;
        MonitorHub* hub = nullptr;  // loop's thread only
    };
    void add(Client client);
    void drain();
    [[nodiscard]] std::string text(const flow_event& event, Form form, std::int64_t wall_offset_ns) const;
    [[nodiscard]] std::size_t most_pending(Form form) const;
    void send(Client& client, const std::string& texts, std::uint64_t events) const;
    void drop_gone();

    EventLoop& loop_;
    EventNames names_;
    std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
    std::atomic<std::size_t> listening_{0};
    static constexpr std::size_t kDenials = 1024;
    mutable std::mutex denials_mutex_;
    std::deque<flow_event> denials_;
    std::vector<Client> clients_;
    EventLoop::Handle sweep_;
};

}  // namespace axo
