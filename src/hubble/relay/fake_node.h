// Agents for the relay's tests: Observer and Peer services over a unix socket or TCP that answer what a test tells them
// to. Thread: any.
#pragma once

#include <axoneme/flow_counters.pb.h>
#include <grpcpp/grpcpp.h>
#include <observer/observer.grpc.pb.h>
#include <peer/peer.grpc.pb.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace axo::relay_server {

// A service at an address, which comes and goes. What derives from it calls stop() in its destructor.
template <class Service>
class FakeServer : public Service {
public:
    explicit FakeServer(std::string address) : address_(std::move(address)) {}

    void start(const std::shared_ptr<grpc::ServerCredentials>& credentials = grpc::InsecureServerCredentials()) {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = false;
        }
        grpc::ServerBuilder builder;
        int port = 0;
        builder.AddListeningPort(address_, credentials, &port);
        builder.RegisterService(this);
        // A hundred of them are to fit into one process.
        builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
        builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
        server_ = builder.BuildAndStart();
        if (address_.ends_with(":0")) address_ = address_.substr(0, address_.size() - 1) + std::to_string(port);
    }
    void stop() {
        change([this] { stopping_ = true; });
        if (server_ == nullptr) return;
        server_->Shutdown(std::chrono::system_clock::now());
        server_->Wait();
        server_ = nullptr;
    }
    [[nodiscard]] const std::string& address() const { return address_; }

protected:
    // Does it under the lock, and wakes those that wait.
    template <class Do>
    void change(Do what) {
        {
            const std::lock_guard lock(mutex_);
            what();
        }
        changed_.notify_all();
    }

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;

private:
    std::string address_;
    std::unique_ptr<grpc::Server> server_;
};

class FakeNode final : public FakeServer<observer::Observer::Service> {
public:
    FakeNode(std::string name, std::string address) : FakeServer(std::move(address)), name_(std::move(name)) {}
    ~FakeNode() override { stop(); }

    // A flow of this node; time in nanoseconds.
    void add(std::int64_t time_ns, const std::string& uuid) {
        flow::Flow flow;
        flow.set_uuid(uuid);
        add(time_ns, std::move(flow));
    }
    void add(std::int64_t time_ns, flow::Flow flow) {
        observer::GetFlowsResponse response;
        *response.mutable_flow() = std::move(flow);
        response.set_node_name(name_);
        for (auto* time : {response.mutable_time(), response.mutable_flow()->mutable_time()}) {
            time->set_seconds(time_ns / 1'000'000'000);
            time->set_nanos(static_cast<std::int32_t>(time_ns % 1'000'000'000));
        }
        change([&] { flows_.push_back(std::move(response)); });
    }
    // Takes requests and does not answer them.
    void stall(bool on) {
        change([&] { stalled_ = on; });
    }
    [[nodiscard]] std::vector<observer::GetFlowsRequest> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

private:
    grpc::Status GetFlows(grpc::ServerContext* context, const observer::GetFlowsRequest* request,
                          grpc::ServerWriter<observer::GetFlowsResponse>* writer) override {
        std::unique_lock lock(mutex_);
        requests_.push_back(*request);
        std::size_t next = 0;
        while (!context->IsCancelled() && !stopping_) {
            if (!stalled_ && next < flows_.size()) {
                observer::GetFlowsResponse response = flows_[next++];
                lock.unlock();
                // Agents tell their counters only to who asks for them.
                if (!request->extensions().Is<axoneme::FlowCounters>() && response.has_flow())
                    response.mutable_flow()->clear_extensions();
                const bool sent = writer->Write(response);
                lock.lock();
                if (!sent) break;
            } else if (!stalled_ && !request->follow()) {
                return grpc::Status::OK;
            } else {
                changed_.wait_for(lock, std::chrono::milliseconds(20));
            }
        }
        return stopping_ ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the node is going down")
                         : grpc::Status::CANCELLED;
    }
    grpc::Status ServerStatus(grpc::ServerContext*, const observer::ServerStatusRequest*,
                              observer::ServerStatusResponse* response) override {
        std::unique_lock lock(mutex_);
        while (stalled_ && !stopping_) changed_.wait_for(lock, std::chrono::milliseconds(20));
        response->set_num_flows(flows_.size());
        response->set_max_flows(4095);
        response->set_seen_flows(flows_.size());
        response->set_uptime_ns(1'000'000'000);
        response->set_version(name_);
        return grpc::Status::OK;
    }
    grpc::Status GetNamespaces(grpc::ServerContext*, const observer::GetNamespacesRequest*,
                               observer::GetNamespacesResponse* response) override {
        for (const std::string& ns : {std::string("shared"), "of-" + name_})
            response->add_namespaces()->set_namespace_(ns);
        return grpc::Status::OK;
    }

    const std::string name_;
    bool stalled_ = false;
    std::deque<observer::GetFlowsResponse> flows_;
    std::vector<observer::GetFlowsRequest> requests_;
};

class FakePeers final : public FakeServer<peer::Peer::Service> {
public:
    explicit FakePeers(std::string address) : FakeServer(std::move(address)) {}
    ~FakePeers() override { stop(); }

    void add(const std::string& name, const std::string& address, const std::string& server_name = "") {
        peer::ChangeNotification notification;
        notification.set_name(name);
        notification.set_address(address);
        notification.set_type(peer::PEER_ADDED);
        if (!server_name.empty()) notification.mutable_tls()->set_server_name(server_name);
        push(notification);
    }
    void remove(const std::string& name) {
        peer::ChangeNotification notification;
        notification.set_name(name);
        notification.set_type(peer::PEER_DELETED);
        push(notification);
    }

    // That were begun.
    [[nodiscard]] std::size_t streams() const {
        const std::lock_guard lock(mutex_);
        return streams_;
    }

private:
    void push(const peer::ChangeNotification& notification) {
        change([&] { changes_.push_back(notification); });
    }
    grpc::Status Notify(grpc::ServerContext* context, const peer::NotifyRequest*,
                        grpc::ServerWriter<peer::ChangeNotification>* writer) override {
        std::unique_lock lock(mutex_);
        ++streams_;
        std::size_t next = 0;
        while (!context->IsCancelled() && !stopping_) {
            if (next == changes_.size()) {
                changed_.wait_for(lock, std::chrono::milliseconds(20));
                continue;
            }
            if (!writer->Write(changes_[next++])) break;
        }
        return grpc::Status::OK;
    }

    std::size_t streams_ = 0;
    std::deque<peer::ChangeNotification> changes_;
};

}  // namespace axo::relay_server
