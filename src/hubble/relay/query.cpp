#include "hubble/relay/query.h"

#include <google/protobuf/util/time_util.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>

namespace axo::relay_server {
namespace {

using google::protobuf::util::TimeUtil;

constexpr char kMethod[] = "/observer.Observer/GetFlows";
constexpr std::chrono::seconds kErrorWindow{10};
constexpr std::chrono::seconds kCollectEvery{2};
constexpr std::chrono::seconds kRetryPeer{5};
constexpr std::size_t kErrorMessages = 64;  // different ones that wait

void append(const grpc::ByteBuffer& buffer, std::string& out) {
    std::vector<grpc::Slice> slices;
    if (!buffer.Dump(&slices).ok()) return;
    out.reserve(buffer.Length());
    for (const grpc::Slice& slice : slices) out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

bool read_varint(std::string_view& bytes, std::uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
        const auto byte = static_cast<unsigned char>(bytes.front());
        bytes.remove_prefix(1);
        value |= static_cast<std::uint64_t>(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

google::protobuf::Timestamp timestamp_now() {
    return TimeUtil::NanosecondsToTimestamp(std::chrono::system_clock::now().time_since_epoch() /
                                            std::chrono::nanoseconds(1));
}

}  // namespace

std::int64_t response_time(std::string_view bytes) {
    constexpr std::uint64_t kTimeTag = 1001 << 3 | 2;
    std::uint64_t tag = 0, length = 0;
    while (read_varint(bytes, tag)) {
        switch (tag & 7) {
            case 0:
                if (!read_varint(bytes, length)) return 0;
                break;
            case 1: bytes.remove_prefix(std::min<std::size_t>(8, bytes.size())); break;
            case 5: bytes.remove_prefix(std::min<std::size_t>(4, bytes.size())); break;
            case 2: {
                if (!read_varint(bytes, length) || length > bytes.size()) return 0;
                if (tag == kTimeTag) {
                    google::protobuf::Timestamp time;
                    if (!time.ParseFromArray(bytes.data(), static_cast<int>(length))) return 0;
                    // A time that no clock can mean counts as none.
                    if (time.seconds() < 0 || time.seconds() > 9'000'000'000) return 0;
                    return time.seconds() * 1'000'000'000 + time.nanos();
                }
                bytes.remove_prefix(length);
                break;
            }
            default: return 0;
        }
    }
    return 0;
}

// The stream of one peer. Lives until gRPC has said OnDone.
class FlowQuery::PeerStream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                                    public std::enable_shared_from_this<PeerStream> {
public:
    PeerStream(std::shared_ptr<FlowQuery> query, PeerRef peer, const observer::GetFlowsRequest& request)
        : query_(std::move(query)), peer_(std::move(peer)), stub_(peer_->channel) {
        bool own = false;
        (void)grpc::SerializationTraits<observer::GetFlowsRequest>::Serialize(request, &request_, &own);
    }

    void start() {
        self_ = shared_from_this();
        stub_.PrepareBidiStreamingCall(&context_, kMethod, grpc::StubOptions(), this);
        StartWriteLast(&request_, grpc::WriteOptions());
        StartRead(&response_);
        // Until the last read: read_on may come when nothing of this stream is under way, and the stream may not be
        // over then.
        AddHold();
        StartCall();
    }
    // After a read that brought something, once.
    void read_on() { StartRead(&response_); }
    void cancel() { context_.TryCancel(); }
    [[nodiscard]] const Peer& peer() const { return *peer_; }

    // Of the query, under its lock. paused: the next read waits for the client.
    bool paused = false, answered = false, stalled = false;
    std::int64_t latest = 0;  // what it sent last, by its clock
    Clock::time_point heard = Clock::now();

private:
    void OnReadDone(bool ok) override {
        if (!ok) return RemoveHold();
        std::string bytes;
        append(response_, bytes);
        response_.Clear();
        query_->message(*this, std::move(bytes));
    }
    void OnDone(const grpc::Status& status) override {
        const auto keep = std::move(self_);
        const bool well = status.ok() || status.error_code() == grpc::StatusCode::CANCELLED;
        query_->ended(*this, well ? "" : status.error_message().empty() ? "no reason given" : status.error_message());
        query_.reset();
    }

    std::shared_ptr<FlowQuery> query_;
    const PeerRef peer_;
    grpc::ByteBuffer request_, response_;
    grpc::GenericStub stub_;
    grpc::ClientContext context_;
    std::shared_ptr<PeerStream> self_;
};

FlowQuery::FlowQuery(std::shared_ptr<const RelaySettings> settings, std::shared_ptr<QueryCounts> counts,
                     observer::GetFlowsRequest request, std::string node_name, std::function<void()> wake)
    : settings_(std::move(settings)),
      counts_(std::move(counts)),
      request_(std::move(request)),
      node_name_(std::move(node_name)),
      wake_(std::move(wake)),
      sort_(std::max<std::size_t>(1, settings_->sort_buffer_length), settings_->sort_buffer_wait) {
    counts_->requests.fetch_add(1);
}

FlowQuery::~FlowQuery() {
    counts_->requests.fetch_sub(1);
}

void FlowQuery::start(const std::vector<PeerRef>& peers) {
    Change change;
    {
        const std::lock_guard lock(mutex_);
        next_collect_ = Clock::now() + kCollectEvery;
        collect(peers, true, change);
        started_ = true;
        change.wake = true;
    }
    apply(change);
}

void FlowQuery::open(const PeerRef& peer, Change& change) {
    observer::GetFlowsRequest request = request_;
    if (const auto latest = latest_.find(peer->name); latest != latest_.end()) {
        request.clear_number();
        *request.mutable_since() = TimeUtil::NanosecondsToTimestamp(latest->second + 1);
    }
    auto stream = std::make_shared<PeerStream>(shared_from_this(), peer, request);
    counts_->peer_streams.fetch_add(1);
    streams_[peer->name] = stream;
    change.start.push_back(std::move(stream));
}

void FlowQuery::collect(const std::vector<PeerRef>& peers, bool first, Change& change) {
    std::vector<std::string> connected, unavailable, gone;
    std::set<std::string> names;
    const auto now = Clock::now();
    for (const PeerRef& peer : peers) {
        names.insert(peer->name);
        if (streams_.contains(peer->name) || done_.contains(peer->name)) continue;
        if (!peer->available()) {
            if (unavailable_.insert(peer->name).second) unavailable.push_back(peer->name);
            continue;
        }
        if (const auto wait = retry_at_.find(peer->name); wait != retry_at_.end() && now < wait->second) continue;
        unavailable_.erase(peer->name);
        connected.push_back(peer->name);
        open(peer, change);
    }
    if (!first) {
        for (const auto& [name, stream] : streams_)
            if (!names.contains(name) && !done_.contains(name)) gone.push_back(name);
        std::erase_if(unavailable_, [&](const std::string& name) { return !names.contains(name); });
        const auto forgotten = [&](const auto& entry) {
            return !names.contains(entry.first) && !streams_.contains(entry.first);
        };
        std::erase_if(retry_at_, forgotten);
        std::erase_if(latest_, forgotten);
    }
    if (!connected.empty()) put_event(relay::NODE_CONNECTED, connected, "", change);
    if (!unavailable.empty()) put_event(relay::NODE_UNAVAILABLE, unavailable, "", change);
    if (!gone.empty()) {
        put_event(relay::NODE_GONE, gone, "", change);
        for (const std::string& name : gone) {
            done_.insert(name);
            change.cancel.push_back(streams_[name]);
        }
    }
}

bool FlowQuery::full() const {
    return queue_.size() >= settings_->client_queue || queue_bytes_ >= settings_->client_queue_bytes;
}

void FlowQuery::put(std::vector<std::string>& messages, Change& change) {
    for (std::string& bytes : messages) {
        if (request_.follow() && full()) {
            ++lost_;
            counts_->lost.fetch_add(1, std::memory_order_relaxed);
            continue;
        }
        queue_bytes_ += bytes.size();
        queue_.push_back(std::move(bytes));
        change.wake = true;
    }
    messages.clear();
}

void FlowQuery::put_event(relay::NodeState state, const std::vector<std::string>& nodes, const std::string& error,
                          Change& change) {
    if (queue_.size() >= 2 * settings_->client_queue) return;  // nodes that flap before a client that does not read
    observer::GetFlowsResponse response;
    relay::NodeStatusEvent& event = *response.mutable_node_status();
    event.set_state_change(state);
    for (const std::string& node : nodes) event.add_node_names(node);
    event.set_message(error);
    response.set_node_name(node_name_);
    *response.mutable_time() = timestamp_now();
    queue_.push_back(response.SerializeAsString());
    queue_bytes_ += queue_.back().size();
    change.wake = true;
}

void FlowQuery::flush_errors(Change& change) {
    for (auto& [message, errors] : errors_) put_event(relay::NODE_ERROR, errors.nodes, message, change);
    errors_.clear();
}

// What ended: the last messages of all leave the sort buffer.
void FlowQuery::release(Change& change) {
    if (!started_ || !streams_.empty() || request_.follow()) return;
    std::vector<std::string> rest;
    sort_.finish(rest);
    put(rest, change);
    flush_errors(change);
    change.wake = true;
}

void FlowQuery::message(PeerStream& stream, std::string bytes) {
    Change change;
    {
        const std::lock_guard lock(mutex_);
        const auto now = Clock::now();
        stream.heard = now;
        stream.answered = true;
        if (!cancelled_) {
            counts_->flows.fetch_add(1, std::memory_order_relaxed);
            std::vector<std::string> out;
            const std::int64_t time = response_time(bytes);
            if (time != 0) stream.latest = time;
            sort_.push({time, std::move(bytes)}, now, out);
            put(out, change);
        }
        if (!request_.follow() && full()) {
            stream.paused = true;
            ++paused_;
        } else {
            change.read_on.push_back(stream.shared_from_this());
        }
    }
    apply(change);
}

void FlowQuery::ended(PeerStream& stream, const std::string& error) {
    Change change;
    {
        const std::lock_guard lock(mutex_);
        counts_->peer_streams.fetch_sub(1);
        const std::string name = stream.peer().name;
        const auto own = streams_.find(name);
        if (own != streams_.end() && own->second.get() == &stream) streams_.erase(own);
        std::string text = error;
        if (stream.stalled) text = "no answer for " + std::to_string(settings_->stall_timeout.count() / 1000) + " s";
        if (!cancelled_) {
            if (text.empty() && !request_.follow()) done_.insert(name);
            if (!text.empty() && !done_.contains(name)) {
                Errors& errors = errors_.try_emplace(text, Errors{{}, Clock::now()}).first->second;
                if (std::ranges::find(errors.nodes, name) == errors.nodes.end()) errors.nodes.push_back(name);
                if (errors_.size() > kErrorMessages) flush_errors(change);
                if (!request_.follow()) done_.insert(name);
            }
            // One that was gone may be back already, and is followed like any that comes.
            if (request_.follow() && done_.erase(name) == 0) {
                retry_at_[name] = Clock::now() + kRetryPeer;
                if (stream.latest != 0) latest_[name] = stream.latest;
            }
            release(change);
        }
    }
    apply(change);
}

void FlowQuery::tick(Clock::time_point now, const std::vector<PeerRef>& peers) {
    Change change;
    {
        const std::lock_guard lock(mutex_);
        if (cancelled_ || !started_) return;
        std::vector<std::string> out;
        sort_.drain(now, out);
        put(out, change);
        for (auto entry = errors_.begin(); entry != errors_.end();) {
            // A request that follows says it once for all nodes that fail alike.
            if (entry->second.since + kErrorWindow > now) {
                ++entry;
                continue;
            }
            put_event(relay::NODE_ERROR, entry->second.nodes, entry->first, change);
            entry = errors_.erase(entry);
        }
        if (!request_.follow()) {
            for (auto& [name, stream] : streams_) {
                if (stream->paused || stream->stalled || stream->heard + settings_->stall_timeout > now) continue;
                stream->stalled = true;
                change.cancel.push_back(stream);
            }
        } else if (next_collect_ <= now) {
            next_collect_ = now + kCollectEvery;
            collect(peers, false, change);
        }
    }
    apply(change);
}

std::optional<std::string> FlowQuery::pop() {
    Change change;
    std::optional<std::string> out;
    {
        const std::lock_guard lock(mutex_);
        if (lost_ != 0 && queue_.size() < settings_->client_queue / 2) {
            observer::GetFlowsResponse response;
            response.mutable_lost_events()->set_source(flow::OBSERVER_EVENTS_QUEUE);
            response.mutable_lost_events()->set_num_events_lost(std::exchange(lost_, 0));
            response.set_node_name(node_name_);
            *response.mutable_time() = timestamp_now();
            out = response.SerializeAsString();
        } else if (!queue_.empty()) {
            out = std::move(queue_.front());
            queue_.pop_front();
            queue_bytes_ -= out->size();
            // Half empty again.
            if (queue_.size() < settings_->client_queue / 2 && queue_bytes_ < settings_->client_queue_bytes / 2)
                resume(change);
        }
    }
    apply(change);
    return out;
}

// Peers that were held up go on.
void FlowQuery::resume(Change& change) {
    if (std::exchange(paused_, 0) == 0) return;
    for (auto& [name, stream] : streams_)
        if (std::exchange(stream->paused, false)) {
            stream->heard = Clock::now();
            change.read_on.push_back(stream);
        }
}

bool FlowQuery::over() const {
    const std::lock_guard lock(mutex_);
    return cancelled_ || (started_ && !request_.follow() && streams_.empty() && queue_.empty() && sort_.size() == 0);
}

void FlowQuery::cancel() {
    Change change;
    {
        const std::lock_guard lock(mutex_);
        cancelled_ = true;
        queue_.clear();
        queue_bytes_ = 0;
        for (auto& [name, stream] : streams_) change.cancel.push_back(stream);
        // A stream ends with a read that fails.
        resume(change);
    }
    apply(change);
}

void FlowQuery::apply(Change& change) {
    for (const auto& stream : change.start) stream->start();
    for (const auto& stream : change.read_on) stream->read_on();
    for (const auto& stream : change.cancel) stream->cancel();
    if (change.wake) wake_();
}

}  // namespace axo::relay_server
