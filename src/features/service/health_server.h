// Health check node ports: what a load balancer in front of the cluster asks each node before it sends traffic there.
//
// One HTTP server for each Service of type LoadBalancer with externalTrafficPolicy Local: 200 when this node has a
// backend that may be chosen, else 503; any path. Thread: the loop's only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/log.h"
#include "features/service/types.h"
#include "io/http.h"
#include "runtime/controller.h"

namespace axo::service {

class HealthServer {
public:
    // rejected, accepted: a port that cannot be listened on, where: "Service ns/name healthCheckNodePort 31999".
    HealthServer(EventLoop& loop, ControllerRegistry& registry,
                 std::function<void(const std::string& where, const Error&)> rejected,
                 std::function<void(const std::string& where)> accepted);
    ~HealthServer();
    HealthServer(const HealthServer&) = delete;
    HealthServer& operator=(const HealthServer&) = delete;

    // Where to listen: the unspecified addresses unless told otherwise.
    void set_addresses(std::set<IpAddress> addresses);
    // What ServiceModule's callback tells; all of them.
    void set_ports(const std::map<std::uint16_t, HealthPort>& ports);
    [[nodiscard]] std::size_t listening() const;

    static HttpResponse answer(const HealthPort& port);

private:
    struct Port {
        std::shared_ptr<HealthPort> state;  // as the server's handler sees it
        std::map<IpAddress, std::unique_ptr<HttpServer>> servers;
        bool rejected = false;
    };
    Status listen();
    Status listen(std::uint16_t number, Port& port);
    static std::string where(std::uint16_t number, const HealthPort& port);

    EventLoop& loop_;
    Logger log_{"service-health"};
    std::function<void(const std::string&, const Error&)> rejected_;
    std::function<void(const std::string&)> accepted_;
    std::set<IpAddress> addresses_;
    std::map<std::uint16_t, Port> ports_;
    Controller controller_;
};

}  // namespace axo::service
