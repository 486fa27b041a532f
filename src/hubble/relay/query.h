// One GetFlows request over all peers: their streams merged by time into one bounded queue that its client empties.
//
//   peers' streams -> sort buffer -> queue -> pop()
//
// Messages stay the bytes that the peer sent. A request that follows never holds its peers up: what its client does not
// take in time is lost, counted and told in the stream. One that asks for what there is holds them up instead, and
// loses nothing. A peer that fails, stalls, comes or goes is told as a NodeStatusEvent. Thread: any.
#pragma once

#include <observer/observer.pb.h>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "hubble/relay/pool.h"
#include "hubble/relay/sort_buffer.h"

namespace axo::relay_server {

// What all requests together use, and have lost: for limits and metrics.
struct QueryCounts {
    std::atomic<std::size_t> requests{0}, peer_streams{0};
    std::atomic<std::uint64_t> flows{0}, lost{0}, refused{0};
};

class FlowQuery : public std::enable_shared_from_this<FlowQuery> {
public:
    using Clock = SortBuffer::Clock;
    // wake: something can be popped, or it is over. Called with no lock held, from any thread.
    FlowQuery(std::shared_ptr<const RelaySettings> settings, std::shared_ptr<QueryCounts> counts,
              observer::GetFlowsRequest request, std::string node_name, std::function<void()> wake);
    ~FlowQuery();

    void start(const std::vector<PeerRef>& peers);
    // Regularly: the sort buffer's wait, peers that stall, peers that came or went.
    void tick(Clock::time_point now, const std::vector<PeerRef>& peers);
    // The next GetFlowsResponse, serialised.
    std::optional<std::string> pop();
    // Nothing is left to come or to pop.
    [[nodiscard]] bool over() const;
    void cancel();

private:
    class PeerStream;
    friend class PeerStream;
    struct Change {  // gathered under the lock, done without it
        bool wake = false;
        std::vector<std::shared_ptr<PeerStream>> read_on, start, cancel;
    };
    void message(PeerStream& stream, std::string bytes);
    void ended(PeerStream& stream, const std::string& error);
    void open(const PeerRef& peer, Change& change);
    void collect(const std::vector<PeerRef>& peers, bool first, Change& change);
    void put(std::vector<std::string>& messages, Change& change);
    void put_event(relay::NodeState state, const std::vector<std::string>& nodes, const std::string& error,
                   Change& change);
    void flush_errors(Change& change);
    void release(Change& change);
    void resume(Change& change);
    void apply(Change& change);
    [[nodiscard]] bool full() const;

    // Shared: gRPC's threads may end a stream when the service has gone.
    const std::shared_ptr<const RelaySettings> settings_;
    const std::shared_ptr<QueryCounts> counts_;
    const observer::GetFlowsRequest request_;
    const std::string node_name_;
    const std::function<void()> wake_;
    mutable std::mutex mutex_;
    SortBuffer sort_;
    std::deque<std::string> queue_;
    std::size_t queue_bytes_ = 0;
    std::uint64_t lost_ = 0;  // not told yet
    std::size_t paused_ = 0;  // streams that are held up
    std::map<std::string, std::shared_ptr<PeerStream>> streams_;
    std::set<std::string> done_;  // peers that have answered all they had; following: that are gone, till they end
    std::set<std::string> unavailable_;  // told
    std::map<std::string, Clock::time_point> retry_at_;
    std::map<std::string, std::int64_t> latest_;  // what a stream that ended sent last: where a new one goes on
    struct Errors {
        std::vector<std::string> nodes;
        Clock::time_point since;
    };
    std::map<std::string, Errors> errors_;  // by message
    Clock::time_point next_collect_{};
    bool started_ = false, cancelled_ = false;
};

// The "time" of a serialised GetFlowsResponse, in nanoseconds; 0 where there is none.
std::int64_t response_time(std::string_view bytes);

}  // namespace axo::relay_server
