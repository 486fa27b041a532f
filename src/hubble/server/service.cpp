#include "hubble/server/service.h"

#include <health/health.pb.h>
#include <observer/observer.pb.h>
#include <peer/peer.pb.h>

#include "hubble/server/flow_query.h"

namespace axo::hubble {

namespace {

using Next = rpc::Call::Next;

template <class Message>
Result<Message> parse(std::string_view request) {
    Message message;
    if (!message.ParseFromArray(request.data(), static_cast<int>(request.size())))
        return fail(Code::kInvalidArgument, "the request is no " + message.GetTypeName());
    return message;
}

std::unique_ptr<rpc::Call> answer(const google::protobuf::Message& message) {
    return std::make_unique<rpc::Answer>(message.SerializeAsString());
}

// The last `number` events, those of a time, and those to come.
class EventQuery final : public rpc::Call {
public:
    EventQuery(const ::observer::GetAgentEventsRequest& request, const Sources& sources)
        : events_(sources.events),
          node_(sources.observer.node_name()),
          number_(request.number()),
          follow_(request.follow()),
          since_(request.has_since() ? from_timestamp(request.since()) : std::numeric_limits<std::int64_t>::min()),
          until_(request.has_until() ? from_timestamp(request.until()) : std::numeric_limits<std::int64_t>::max()) {
        if (follow_ && number_ == 0 && !request.has_since()) {
            position_ = events_.next();
            return;
        }
        fetch();
        if (number_ == 0 || ready_.size() <= number_) return;
        if (request.first()) {
            ready_.resize(number_);
        } else {
            ready_.erase(ready_.begin(), ready_.end() - static_cast<std::ptrdiff_t>(number_));
        }
    }

    Next next(std::string& message) override {
        if (at_ == ready_.size()) {
            if (!follow_) return Next::kDone;
            fetch();
            if (ready_.empty()) return Next::kLater;
        }
        const AgentEvents::Entry& entry = ready_[at_++];
        ::observer::GetAgentEventsResponse response;
        if (!response.mutable_agent_event()->ParseFromString(entry.event)) return Next::kBusy;
        response.set_node_name(node_);
        to_timestamp(entry.time_ns, *response.mutable_time());
        response.AppendToString(&message);
        return Next::kMessage;
    }

private:
    void fetch() {
        ready_.clear();
        at_ = 0;
        position_ = events_.read(position_, ready_);
        std::erase_if(
            ready_, [&](const AgentEvents::Entry& entry) { return entry.time_ns < since_ || entry.time_ns > until_; });
    }

    AgentEvents& events_;
    const std::string node_;
    const std::uint64_t number_;
    const bool follow_;
    const std::int64_t since_, until_;
    std::uint64_t position_ = 1;
    std::vector<AgentEvents::Entry> ready_;
    std::size_t at_ = 0;
};

// Nothing ever comes: the datapath has no debug events.
class Silence final : public rpc::Call {
public:
    explicit Silence(bool follow) : follow_(follow) {}
    Next next(std::string&) override { return follow_ ? Next::kLater : Next::kDone; }

private:
    bool follow_;
};

// All nodes, then what changes. What a client was told is kept, so that a slow one gets the net change.
class PeerQuery final : public rpc::Call {
public:
    explicit PeerQuery(const Peers& peers) : peers_(peers) {}

    Next next(std::string& message) override {
        if (at_ == changes_.size() && !compare()) return Next::kLater;
        changes_[at_++].AppendToString(&message);
        return Next::kMessage;
    }

private:
    void add(const std::string& name, const Peer& peer, ::peer::ChangeNotificationType type) {
        auto& change = changes_.emplace_back();
        change.set_name(name);
        change.set_address(peer.address);
        change.set_type(type);
        if (!peer.server_name.empty()) change.mutable_tls()->set_server_name(peer.server_name);
    }

    bool compare() {
        changes_.clear();
        at_ = 0;
        if (peers_.version() == version_) return false;
        Peers::Map now = peers_.all(version_);
        for (const auto& [name, peer] : told_) {
            if (!now.contains(name)) add(name, peer, ::peer::PEER_DELETED);
        }
        for (const auto& [name, peer] : now) {
            const auto known = told_.find(name);
            if (known == told_.end()) {
                add(name, peer, ::peer::PEER_ADDED);
            } else if (known->second != peer) {
                add(name, peer, ::peer::PEER_UPDATED);
            }
        }
        told_ = std::move(now);
        return !changes_.empty();
    }

    const Peers& peers_;
    std::uint64_t version_ = 0;
    Peers::Map told_;
    std::vector<::peer::ChangeNotification> changes_;
    std::size_t at_ = 0;
};

class HealthWatch final : public rpc::Call {
public:
    explicit HealthWatch(std::string state) : state_(std::move(state)) {}
    Next next(std::string& message) override {
        if (state_.empty()) return Next::kLater;
        message += std::exchange(state_, {});
        return Next::kMessage;
    }

private:
    std::string state_;
};

bool is_service(const std::string& name) {
    return name.empty() || name == "observer.Observer" || name == "peer.Peer" || name == "grpc.health.v1.Health";
}

Result<std::unique_ptr<rpc::Call>> check_health(std::string_view request) {
    TRY_ASSIGN(const auto asked, parse<::grpc::health::v1::HealthCheckRequest>(request));
    if (!is_service(asked.service())) return fail(Code::kNotFound, "unknown service \"" + asked.service() + "\"");
    ::grpc::health::v1::HealthCheckResponse response;
    response.set_status(::grpc::health::v1::HealthCheckResponse::SERVING);
    return answer(response);
}

Result<std::unique_ptr<rpc::Call>> watch_health(std::string_view request) {
    TRY_ASSIGN(const auto asked, parse<::grpc::health::v1::HealthCheckRequest>(request));
    ::grpc::health::v1::HealthCheckResponse response;
    response.set_status(is_service(asked.service()) ? ::grpc::health::v1::HealthCheckResponse::SERVING
                                                    : ::grpc::health::v1::HealthCheckResponse::SERVICE_UNKNOWN);
    return std::make_unique<HealthWatch>(response.SerializeAsString());
}

std::unique_ptr<rpc::Call> server_status(const Sources& sources) {
    const Observer::Status status = sources.observer.status();
    ::observer::ServerStatusResponse response;
    response.set_num_flows(status.flows);
    response.set_max_flows(status.max_flows);
    response.set_seen_flows(status.seen);
    response.set_uptime_ns(status.uptime_ns);
    response.set_flows_rate(status.rate);
    response.set_version(sources.observer.settings().version);
    return answer(response);
}

// This one: of the others relay asks each.
std::unique_ptr<rpc::Call> nodes(const Sources& sources) {
    const Observer::Status status = sources.observer.status();
    ::observer::GetNodesResponse response;
    auto& node = *response.add_nodes();
    node.set_name(sources.observer.node_name());
    node.set_version(sources.observer.settings().version);
    node.set_address(sources.address);
    node.set_state(::relay::NODE_CONNECTED);
    node.mutable_tls()->set_enabled(!sources.server_name.empty());
    node.mutable_tls()->set_server_name(sources.server_name);
    node.set_uptime_ns(status.uptime_ns);
    node.set_num_flows(status.flows);
    node.set_max_flows(status.max_flows);
    node.set_seen_flows(status.seen);
    return answer(response);
}

std::unique_ptr<rpc::Call> namespaces(const Sources& sources) {
    ::observer::GetNamespacesResponse response;
    for (const auto& [cluster, name] : sources.observer.namespaces()) {
        auto& added = *response.add_namespaces();
        added.set_cluster(cluster);
        added.set_namespace_(name);
    }
    return answer(response);
}

Result<std::unique_ptr<rpc::Call>> agent_events(std::string_view request, const Sources& sources) {
    TRY_ASSIGN(const auto asked, parse<::observer::GetAgentEventsRequest>(request));
    if (asked.first() && asked.follow())
        return fail(Code::kInvalidArgument, "first cannot be combined with follow: it asks for the oldest events");
    return std::make_unique<EventQuery>(asked, sources);
}

Result<std::unique_ptr<rpc::Call>> debug_events(std::string_view request) {
    TRY_ASSIGN(const auto asked, parse<::observer::GetDebugEventsRequest>(request));
    return std::make_unique<Silence>(asked.follow());
}

}  // namespace

rpc::Methods make_methods(const Sources& sources) {
    rpc::Methods methods;
    methods.server_version = sources.observer.settings().version;
    auto& paths = methods.by_path;
    paths["/observer.Observer/GetFlows"] = [=](std::string_view request) {
        return query_flows(request, sources.observer, sources.history);
    };
    paths["/observer.Observer/GetAgentEvents"] = [=](std::string_view request) {
        return agent_events(request, sources);
    };
    paths["/observer.Observer/GetDebugEvents"] = &debug_events;
    paths["/observer.Observer/GetNodes"] = [=](std::string_view) { return nodes(sources); };
    paths["/observer.Observer/GetNamespaces"] = [=](std::string_view) { return namespaces(sources); };
    paths["/observer.Observer/ServerStatus"] = [=](std::string_view) { return server_status(sources); };
    paths["/peer.Peer/Notify"] = [=](std::string_view) -> Result<std::unique_ptr<rpc::Call>> {
        return std::make_unique<PeerQuery>(sources.peers);
    };
    paths["/grpc.health.v1.Health/Check"] = &check_health;
    paths["/grpc.health.v1.Health/Watch"] = &watch_health;
    return methods;
}

}  // namespace axo::hubble
