#include "hubble/relay/service.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <observer/observer.grpc.pb.h>

#include <algorithm>
#include <thread>

#include "hubble/relay/gather.h"
#include "hubble/relay/tls.h"
#include "hubble/text/version.h"

namespace axo::relay_server {
namespace {

constexpr std::chrono::milliseconds kTick{250};
constexpr int kNamedUnavailable = 10;  // more are counted only

std::string listen_address(const std::string& address) {
    return address.starts_with(':') ? "[::]" + address : address;
}

}  // namespace

struct RelayService::Impl {
    const std::shared_ptr<const RelaySettings> settings;
    PeerPool& pool;
    const std::string node_name;
    const std::shared_ptr<QueryCounts> counts = std::make_shared<QueryCounts>();
    std::mutex mutex;
    std::vector<std::weak_ptr<FlowQuery>> queries;
    std::condition_variable stop_changed;
    bool stopping = false;
    std::thread ticker;

    class FlowReactor;
    class Service;
    std::unique_ptr<Service> service;
    std::unique_ptr<grpc::Server> server, health_server;

    Impl(const RelaySettings& of, PeerPool& peers, std::string name)
        : settings(std::make_shared<RelaySettings>(of)), pool(peers), node_name(std::move(name)) {}
    Result<std::shared_ptr<FlowQuery>> query(observer::GetFlowsRequest request, std::function<void()> wake);
    void tick();
    void set_health();
};

Result<std::shared_ptr<FlowQuery>> RelayService::Impl::query(observer::GetFlowsRequest request,
                                                             std::function<void()> wake) {
    const std::size_t peers = pool.peers().size();
    const auto refuse = [&](const std::string& what, std::size_t limit) {
        counts->refused.fetch_add(1);
        return fail(Code::kResourceExhausted, "the relay is serving as many flow requests as it may (" + what + ": " +
                                                  std::to_string(limit) + "); try again later");
    };
    const std::lock_guard lock(mutex);
    if (counts->requests.load() >= settings->max_requests) return refuse("max-flow-requests", settings->max_requests);
    if (const std::size_t open = counts->peer_streams.load(); open + peers > settings->max_peer_streams && open > 0)
        return refuse("max-peer-streams", settings->max_peer_streams);
    auto made = std::make_shared<FlowQuery>(settings, counts, std::move(request), node_name, std::move(wake));
    std::erase_if(queries, [](const std::weak_ptr<FlowQuery>& query) { return query.expired(); });
    queries.push_back(made);
    return made;
}

// Hands a query's messages to gRPC one by one: the next when the client has taken the last.
class RelayService::Impl::FlowReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                                              public std::enable_shared_from_this<FlowReactor> {
public:
    static grpc::ServerWriteReactor<grpc::ByteBuffer>* open(Impl& impl, const grpc::ByteBuffer& bytes) {
        auto reactor = std::make_shared<FlowReactor>();
        reactor->self_ = reactor;
        observer::GetFlowsRequest request;
        grpc::ByteBuffer read = bytes;
        if (!grpc::SerializationTraits<observer::GetFlowsRequest>::Deserialize(&read, &request).ok()) {
            reactor->end(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "not a GetFlowsRequest"));
            return reactor.get();
        }
        auto query = impl.query(std::move(request), [weak = std::weak_ptr(reactor)] {
            if (const auto alive = weak.lock()) alive->go_on();
        });
        if (!query) {
            reactor->end(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, query.error().message));
            return reactor.get();
        }
        reactor->query_ = *query;
        reactor->query_->start(impl.pool.peers());
        return reactor.get();
    }

    // A write may be begun when none is under way.
    void go_on() {
        const std::lock_guard lock(mutex_);
        if (writing_ || ended_ || query_ == nullptr) return;
        if (auto next = query_->pop()) {
            const grpc::Slice slice(*next);
            response_ = grpc::ByteBuffer(&slice, 1);
            writing_ = true;
            StartWrite(&response_);
        } else if (query_->over()) {
            ended_ = true;
            Finish(grpc::Status::OK);
        }
    }

    void end(const grpc::Status& status) {
        const std::lock_guard lock(mutex_);
        if (std::exchange(ended_, true)) return;
        Finish(status);
    }

private:
    void OnWriteDone(bool ok) override {
        if (!ok) {
            if (query_ != nullptr) query_->cancel();
            return end(grpc::Status(grpc::StatusCode::CANCELLED, "the client is gone"));
        }
        {
            const std::lock_guard lock(mutex_);
            writing_ = false;
        }
        go_on();
    }
    void OnCancel() override {
        if (query_ != nullptr) query_->cancel();
        end(grpc::Status(grpc::StatusCode::CANCELLED, "the client is gone"));
    }
    void OnDone() override {
        if (query_ != nullptr) query_->cancel();
        const auto keep = std::move(self_);
    }

    std::mutex mutex_;
    bool writing_ = false, ended_ = false;
    std::shared_ptr<FlowQuery> query_;
    grpc::ByteBuffer response_;
    std::shared_ptr<FlowReactor> self_;
};

// GetFlows passes bytes on; the rest is small enough to be messages.
class RelayService::Impl::Service final
    : public observer::Observer::WithRawCallbackMethod_GetFlows<
          observer::Observer::WithCallbackMethod_GetNodes<observer::Observer::WithCallbackMethod_GetNamespaces<
              observer::Observer::WithCallbackMethod_ServerStatus<observer::Observer::Service>>>> {
public:
    explicit Service(Impl& impl) : impl_(impl) {}

    grpc::ServerWriteReactor<grpc::ByteBuffer>* GetFlows(grpc::CallbackServerContext*,
                                                         const grpc::ByteBuffer* request) override {
        return FlowReactor::open(impl_, *request);
    }

    grpc::Status GetAgentEvents(grpc::ServerContext*, const observer::GetAgentEventsRequest*,
                                grpc::ServerWriter<observer::GetAgentEventsResponse>*) override {
        return {grpc::StatusCode::UNIMPLEMENTED, "GetAgentEvents not yet implemented by the relay: ask an agent"};
    }
    grpc::Status GetDebugEvents(grpc::ServerContext*, const observer::GetDebugEventsRequest*,
                                grpc::ServerWriter<observer::GetDebugEventsResponse>*) override {
        return {grpc::StatusCode::UNIMPLEMENTED, "GetDebugEvents not yet implemented by the relay: ask an agent"};
    }

    grpc::ServerUnaryReactor* ServerStatus(grpc::CallbackServerContext* context, const observer::ServerStatusRequest*,
                                           observer::ServerStatusResponse* out) override {
        return ask<observer::ServerStatusResponse>(
            context, [out](const Answers<observer::ServerStatusResponse>& answers) {
                int connected = 0, unavailable = 0;
                for (const auto& answer : answers) {
                    if (!answer.ok) {
                        if (unavailable++ < kNamedUnavailable) out->add_unavailable_nodes(answer.peer->name);
                        continue;
                    }
                    ++connected;
                    const observer::ServerStatusResponse& one = answer.response;
                    out->set_num_flows(out->num_flows() + one.num_flows());
                    out->set_max_flows(out->max_flows() + one.max_flows());
                    out->set_seen_flows(out->seen_flows() + one.seen_flows());
                    out->set_uptime_ns(std::max(out->uptime_ns(), one.uptime_ns()));
                    out->set_flows_rate(out->flows_rate() + one.flows_rate());
                }
                out->mutable_num_connected_nodes()->set_value(static_cast<std::uint32_t>(connected));
                out->mutable_num_unavailable_nodes()->set_value(static_cast<std::uint32_t>(unavailable));
                out->set_version("axoneme-relay " + std::string(kHubbleVersion));
            });
    }

    grpc::ServerUnaryReactor* GetNodes(grpc::CallbackServerContext* context, const observer::GetNodesRequest*,
                                       observer::GetNodesResponse* out) override {
        return ask<observer::ServerStatusResponse>(
            context, [out](const Answers<observer::ServerStatusResponse>& answers) {
                for (const auto& answer : answers) {
                    observer::Node& node = *out->add_nodes();
                    node.set_name(answer.peer->name);
                    node.set_address(answer.peer->address);
                    node.mutable_tls()->set_enabled(answer.peer->tls);
                    node.mutable_tls()->set_server_name(answer.peer->server_name);
                    node.set_state(answer.state());
                    node.set_version(answer.response.version());
                    node.set_uptime_ns(answer.response.uptime_ns());
                    node.set_num_flows(answer.response.num_flows());
                    node.set_max_flows(answer.response.max_flows());
                    node.set_seen_flows(answer.response.seen_flows());
                }
            });
    }

    grpc::ServerUnaryReactor* GetNamespaces(grpc::CallbackServerContext* context, const observer::GetNamespacesRequest*,
                                            observer::GetNamespacesResponse* out) override {
        return ask<observer::GetNamespacesResponse>(context,
                                                    [out](const Answers<observer::GetNamespacesResponse>& answers) {
                                                        for (const auto& [cluster, ns] : namespaces_of(answers)) {
                                                            observer::Namespace& one = *out->add_namespaces();
                                                            one.set_cluster(cluster);
                                                            one.set_namespace_(ns);
                                                        }
                                                    });
    }

private:
    template <class Response>
    grpc::ServerUnaryReactor* ask(grpc::CallbackServerContext* context,
                                  std::function<void(const Answers<Response>&)> merge) {
        grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
        gather<Response>(impl_.pool.peers(), impl_.settings->dial_timeout,
                         [reactor, merge = std::move(merge)](const Answers<Response>& answers) {
                             merge(answers);
                             reactor->Finish(grpc::Status::OK);
                         });
        return reactor;
    }

    Impl& impl_;
};

void RelayService::Impl::set_health() {
    const auto peers = pool.peers();
    const bool well =
        pool.service_connected() && std::ranges::any_of(peers, [](const PeerRef& peer) { return peer->available(); });
    for (grpc::Server* one : {server.get(), health_server.get()}) {
        if (one == nullptr || one->GetHealthCheckService() == nullptr) continue;
        one->GetHealthCheckService()->SetServingStatus("", well);
        one->GetHealthCheckService()->SetServingStatus("observer.Observer", well);
    }
}

void RelayService::Impl::tick() {
    int turn = 0;
    std::unique_lock lock(mutex);
    while (!stop_changed.wait_for(lock, kTick, [this] { return stopping; })) {
        std::vector<std::shared_ptr<FlowQuery>> alive;
        for (const auto& weak : queries)
            if (auto query = weak.lock()) alive.push_back(std::move(query));
        lock.unlock();
        if (turn++ % 4 == 0) set_health();
        const auto now = FlowQuery::Clock::now();
        const std::vector<PeerRef> peers = alive.empty() ? std::vector<PeerRef>{} : pool.peers();
        for (const auto& query : alive) query->tick(now, peers);
        alive.clear();
        lock.lock();
    }
}

RelayService::RelayService(const RelaySettings& settings, PeerPool& pool, std::string node_name)
    : impl_(std::make_unique<Impl>(settings, pool, std::move(node_name))) {
    impl_->service = std::make_unique<Impl::Service>(*impl_);
}

RelayService::~RelayService() {
    stop();
}

Result<int> RelayService::listen(const std::string& address, const std::string& health_address) {
    TRY_ASSIGN(const auto credentials, server_credentials(impl_->settings->server));
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(listen_address(address), credentials, &port);
    builder.RegisterService(impl_->service.get());
    // What a client that does not read may make us hold for it inside gRPC.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 64 << 10);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 15 * 60 * 1000);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    impl_->server = builder.BuildAndStart();
    if (impl_->server == nullptr || (port == 0 && !address.starts_with("unix:")))
        return fail(Code::kUnavailable, "cannot listen at " + address + ": is the address right, and free?");
    if (!health_address.empty()) {
        grpc::ServerBuilder health;
        int health_port = 0;
        health.AddListeningPort(listen_address(health_address), grpc::InsecureServerCredentials(), &health_port);
        impl_->health_server = health.BuildAndStart();
        if (impl_->health_server == nullptr)
            return fail(Code::kUnavailable, "cannot listen at " + health_address + " for health checks");
    }
    impl_->set_health();
    impl_->ticker = std::thread([this] { impl_->tick(); });
    return port;
}

void RelayService::stop() {
    std::vector<std::weak_ptr<FlowQuery>> queries;
    {
        const std::lock_guard lock(impl_->mutex);
        if (std::exchange(impl_->stopping, true)) return;
        queries = impl_->queries;
    }
    impl_->stop_changed.notify_all();
    if (impl_->ticker.joinable()) impl_->ticker.join();
    for (const auto& weak : queries)
        if (const auto query = weak.lock()) query->cancel();
    const auto until = std::chrono::system_clock::now() + std::chrono::seconds(1);
    for (auto* server : {&impl_->server, &impl_->health_server})
        if (*server != nullptr) {
            (*server)->Shutdown(until);
            (*server)->Wait();
        }
}

Result<std::shared_ptr<FlowQuery>> RelayService::query(observer::GetFlowsRequest request, std::function<void()> wake) {
    TRY_ASSIGN(auto made, impl_->query(std::move(request), std::move(wake)));
    made->start(impl_->pool.peers());
    return made;
}

const QueryCounts& RelayService::counts() const {
    return *impl_->counts;
}

PeerPool& RelayService::pool() {
    return impl_->pool;
}

}  // namespace axo::relay_server
