// Requests to the API servers of one cluster: credentials, connections, throttling, failover.
//
// Connections are kept and reused; streams have one of their own each. A server that answers is stuck to, the next one
// is tried when it does not. 429 is waited for as Retry-After says. Kubeconfig, tokens and certificates are read again
// as they rotate, tokens at once when the server refuses them. Thread: the loop's only.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/kubernetes/connection.h"
#include "io/kubernetes/credentials.h"
#include "io/kubernetes/throttle.h"
#include "runtime/event_loop.h"
#include "runtime/metrics.h"
#include "runtime/task.h"

namespace axo::kubernetes {

struct Request {
    std::string method = "GET";
    std::string target;  // "/api/v1/pods?limit=500"
    std::string body{};
    std::string content_type = "application/json";
    std::string accept = "application/json";
    std::string headers{};  // more of them: "Name: value\r\n"
    Lane lane = Lane::kBulk;
};

struct Response {
    int status = 0;
    std::string body;
};

// A target without what is one object's: "/api/v1/namespaces/{namespace}/pods/{name}/status". For metrics.
std::string path_template(std::string_view target);

struct ClientSettings {
    double qps = 10;
    int burst = 20;
    Duration connect_timeout = std::chrono::seconds(5);
    Duration request_timeout = std::chrono::seconds(15);  // of silence
    Duration patience = std::chrono::seconds(30);         // with 429
    // Watches may keep us from asking for ten minutes; status is to say meanwhile what is in force.
    Duration refresh_interval = std::chrono::seconds(10);  // of credentials
    std::string user_agent = "axoneme";
};

class Client {
public:
    Client(EventLoop& loop, Access access, ClientSettings settings);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Any complete answer is a success, whatever its status. kUnavailable, kDeadlineExceeded: nobody answered, or not
    // to its end; whether a change has taken place is then not known. kFailedPrecondition: the certificate is not
    // trusted.
    Task<Result<Response>> request(Request request);
    // The body of a 200 goes to the sink piece by piece until it is complete or the sink returns false; the response's
    // body is empty then. Of other answers it is the body. silence: how long the stream may say nothing.
    Task<Result<Response>> stream(Request request, std::function<bool(std::string_view)> sink, Duration silence);

    // Switches to another protocol, as the request's headers ask for.
    struct Upgraded {
        std::shared_ptr<Connection> connection;  // unset: the server has answered otherwise
        int status = 0;
        std::string body;
    };
    Task<Result<Upgraded>> upgrade(Request request);

    struct State {
        bool reachable = true;
        std::chrono::system_clock::time_point since{};  // of reachable; epoch: nothing has been asked yet
        std::string error;                              // the latest, while it is not reachable
    };
    [[nodiscard]] const State& state() const { return state_; }
    // The server in use.
    [[nodiscard]] std::string server() const { return server_now().to_string(); }
    [[nodiscard]] const Access& access() const { return credentials_.access(); }
    // The API server's clock minus this machine's, as of its latest answer; whole seconds.
    [[nodiscard]] std::chrono::seconds clock_offset() const { return clock_offset_; }
    // cilium_k8s_client_*. The set must not outlive this.
    void add_metrics(MetricSet& set) const;
    // What will be a problem: a client certificate near its end, a clock that is off. For status.
    [[nodiscard]] std::vector<std::string> concerns() const;

private:
    struct Idle {
        std::shared_ptr<Connection> connection;
        std::size_t server;
        std::chrono::steady_clock::time_point since;
    };
    struct Exchange {
        std::shared_ptr<Connection> connection;
        Connection::Head head;
        std::size_t server = 0;
        unsigned generation = 0;  // of the credentials
    };
    using Headers = std::map<std::string, std::string>;

    Task<Result<Exchange>> begin(const Request& request, bool keep);
    Task<Result<Exchange>> attempt(const Request& request, bool fresh, bool keep);
    Task<Result<Exchange>> begin_patiently(const Request& request, bool keep);
    Task<Result<std::string>> body_of(Exchange& exchange);
    Status refresh();
    // The list may have become another one meanwhile.
    [[nodiscard]] const Server& server_now() const { return access().servers[server_ % access().servers.size()]; }
    [[nodiscard]] std::string message(const Request& request, const std::string& token, bool keep) const;
    std::shared_ptr<Connection> reuse();
    void give_back(Exchange exchange);
    void answered(const Headers& headers);
    void failed(const Error& error);
    void look_at_clock(const Headers& headers);

    EventLoop& loop_;
    Credentials credentials_;
    ClientSettings settings_;
    Logger log_{"k8s-client"};
    Throttle throttle_;
    std::size_t server_ = 0;
    std::deque<Idle> idle_;
    State state_;
    MetricTimes latency_{"k8s_client_api_latency_time_seconds",
                         "Duration of processed API calls labeled by path and method"};
    MetricTimes limiter_{"k8s_client_rate_limiter_duration_seconds",
                         "Kubernetes client rate limiter latency in seconds, broken down by path and method"};
    std::map<MetricSet::Labels, std::uint64_t> calls_;
    std::chrono::seconds clock_offset_{0};  // the server's minus ours
    bool clock_reported_ = false;
    EventLoop::Handle refresh_;
};

}  // namespace axo::kubernetes
