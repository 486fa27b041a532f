#include "hubble/relay/pool.h"

#include <grpcpp/grpcpp.h>
#include <peer/peer.grpc.pb.h>

#include <algorithm>
#include <utility>

#include "hubble/relay/tls.h"

namespace axo::relay_server {
namespace {

constexpr std::chrono::milliseconds kFirstRetry{1000};

const char* state_name(grpc_connectivity_state state) {
    switch (state) {
        case GRPC_CHANNEL_IDLE: return "IDLE";
        case GRPC_CHANNEL_CONNECTING: return "CONNECTING";
        case GRPC_CHANNEL_READY: return "READY";
        case GRPC_CHANNEL_TRANSIENT_FAILURE: return "TRANSIENT_FAILURE";
        default: return "SHUTDOWN";
    }
}

// "hubble-peer.kube-system.svc:443" -> "hubble-peer"
std::string first_label(std::string_view address) {
    return std::string(address.substr(0, address.find_first_of(".:")));
}

}  // namespace

bool Peer::available() const {
    const grpc_connectivity_state state = channel->GetState(true);
    return state != GRPC_CHANNEL_TRANSIENT_FAILURE && state != GRPC_CHANNEL_SHUTDOWN;
}

Result<std::unique_ptr<PeerPool>> PeerPool::create(const RelaySettings& settings) {
    TRY_ASSIGN(auto credentials, channel_credentials(settings.client));
    return std::unique_ptr<PeerPool>(new PeerPool(settings, std::move(credentials)));
}

PeerPool::PeerPool(RelaySettings settings, std::shared_ptr<grpc::ChannelCredentials> credentials)
    : settings_(std::move(settings)), credentials_(std::move(credentials)) {}

PeerPool::~PeerPool() {
    stop();
}

void PeerPool::start() {
    thread_ = std::thread([this] { run(); });
}

void PeerPool::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        if (call_ != nullptr) call_->TryCancel();
    }
    stop_changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

std::shared_ptr<grpc::Channel> PeerPool::open(const std::string& address, const std::string& server_name,
                                              bool tls) const {
    grpc::ChannelArguments arguments;
    // A window per stream that stays small: what a peer may send ahead is memory here, times clients, times peers.
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 10);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 500);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(settings_.dial_timeout.count()));
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, static_cast<int>(settings_.retry_timeout.count()));
    // A peer that is gone without a word. Not more often than Go's servers allow.
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 330'000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    if (!server_name.empty()) arguments.SetSslTargetNameOverride(server_name);
    return grpc::CreateCustomChannel(address, tls ? credentials_ : grpc::InsecureChannelCredentials(), arguments);
}

bool PeerPool::sleep(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return !stop_changed_.wait_for(lock, time, [this] { return stopping_; });
}

void PeerPool::run() {
    std::chrono::milliseconds retry = kFirstRetry;
    do {
        retry = listen() ? kFirstRetry : std::min(retry * 2, settings_.retry_timeout);
    } while (sleep(std::min(retry, settings_.retry_timeout)));
}

bool PeerPool::listen() {
    const bool tls = settings_.client.enabled && !settings_.peer_service.starts_with("unix:");
    const auto channel =
        open(settings_.peer_service,
             tls ? tls_server_name(first_label(settings_.peer_service), settings_.cluster_name) : "", tls);
    const auto stub = peer::Peer::NewStub(channel);
    grpc::ClientContext context;
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return false;
        call_ = &context;
        ++generation_;
    }
    const auto reader = stub->Notify(&context, {});
    peer::ChangeNotification change;
    bool came = false;
    while (reader->Read(&change)) {
        if (!std::exchange(came, true)) {
            connected_.store(true);
            const std::lock_guard lock(mutex_);
            named_since_ = Clock::now();
        }
        if (change.type() == peer::PEER_DELETED)
            remove(change.name());
        else if (change.type() == peer::PEER_ADDED || change.type() == peer::PEER_UPDATED)
            upsert(change.name(), change.address(), change.has_tls(), change.tls().server_name());
    }
    const grpc::Status status = reader->Finish();
    connected_.store(false);
    bool stopping = false;
    {
        const std::lock_guard lock(mutex_);
        call_ = nullptr;
        stopping = stopping_;
        named_since_.reset();
    }
    if (!stopping)
        log_.warn("the peer service does not answer; will try again",
                  {{"target", settings_.peer_service}, {"error", status.error_message()}});
    return came;
}

void PeerPool::upsert(const std::string& name, const std::string& address, bool tls, const std::string& server_name) {
    const bool use_tls = settings_.client.enabled && tls;
    {
        const std::lock_guard lock(mutex_);
        if (const auto known = peers_.find(name); known != peers_.end()) {
            known->second.seen = generation_;
            const Peer& peer = *known->second.peer;
            if (peer.address == address && peer.tls == use_tls && peer.server_name == server_name) return;
        }
    }
    auto peer = std::make_shared<Peer>(Peer{name, address, server_name, use_tls, open(address, server_name, use_tls)});
    peer->channel->GetState(true);
    log_.info("peer", {{"peer", name}, {"address", address}, {"tls", use_tls}});
    const std::lock_guard lock(mutex_);
    peers_[name] = {std::move(peer), generation_};
}

void PeerPool::remove(const std::string& name) {
    PeerRef gone;  // closed outside the lock
    const std::lock_guard lock(mutex_);
    if (const auto known = peers_.find(name); known != peers_.end()) {
        gone = std::move(known->second.peer);
        peers_.erase(known);
        log_.info("peer is gone", {{"peer", name}});
    }
}

std::vector<PeerRef> PeerPool::peers() {
    std::vector<PeerRef> out, gone;
    const std::lock_guard lock(mutex_);
    // Nothing tells where the list of those that are there ends.
    if (named_since_ && Clock::now() - *named_since_ >= settings_.names_by) {
        named_since_.reset();
        std::erase_if(peers_, [&](auto& entry) {
            if (entry.second.seen == generation_) return false;
            log_.info("peer is gone", {{"peer", entry.first}});
            gone.push_back(std::move(entry.second.peer));
            return true;
        });
    }
    out.reserve(peers_.size());
    for (const auto& [name, known] : peers_) out.push_back(known.peer);
    return out;
}

std::map<std::string, std::size_t> PeerPool::states() {
    std::map<std::string, std::size_t> out;
    for (const char* name : {"IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE", "SHUTDOWN", "NIL_CONNECTION"})
        out[name] = 0;
    for (const PeerRef& peer : peers()) ++out[state_name(peer->channel->GetState(false))];
    return out;
}

}  // namespace axo::relay_server
