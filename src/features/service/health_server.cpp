#include "features/service/health_server.h"
#include "model/json_text.h"

#include <array>
#include <nlohmann/json.hpp>

namespace axo::service {

HealthServer::HealthServer(EventLoop& loop, ControllerRegistry& registry,
                           std::function<void(const std::string& where, const Error&)> rejected,
                           std::function<void(const std::string& where)> accepted)
    : loop_(loop),
      rejected_(std::move(rejected)),
      accepted_(std::move(accepted)),
      addresses_{IpAddress::v4(std::array<std::uint8_t, 4>{}), IpAddress::v6(std::array<std::uint8_t, 16>{})},
      controller_(loop, registry, "health-check-node-ports", [this] { return listen(); }) {}

HealthServer::~HealthServer() = default;

HttpResponse HealthServer::answer(const HealthPort& port) {
    const nlohmann::json body = {{"service", {{"namespace", port.service.name_space}, {"name", port.service.name}}},
                                 {"localEndpoints", port.local_endpoints}};
    return {.status = port.local_endpoints > 0 ? 200 : 503,
            .body = json_text(body),
            .content_type = "application/json",
            .headers = {{"X-Content-Type-Options", "nosniff"},
                        {"X-Load-Balancing-Endpoint-Weight", std::to_string(port.local_endpoints)}}};
}

std::string HealthServer::where(std::uint16_t number, const HealthPort& port) {
    return "Service " + port.service.to_string() + " healthCheckNodePort " + std::to_string(number);
}

void HealthServer::set_addresses(std::set<IpAddress> addresses) {
    if (addresses == addresses_) return;
    addresses_ = std::move(addresses);
    controller_.trigger();
}

void HealthServer::set_ports(const std::map<std::uint16_t, HealthPort>& ports) {
    for (auto port = ports_.begin(); port != ports_.end();) {
        const auto wanted = ports.find(port->first);
        const bool same = wanted != ports.end() && wanted->second.service == port->second.state->service;
        if (same) {
            ++port;
            continue;
        }
        if (port->second.rejected) accepted_(where(port->first, *port->second.state));
        port = ports_.erase(port);
    }
    for (const auto& [number, health] : ports) {
        Port& port = ports_[number];
        if (!port.state) port.state = std::make_shared<HealthPort>();
        *port.state = health;
    }
    controller_.trigger();
}

Status HealthServer::listen() {
    Status first;
    for (auto& [number, port] : ports_) {
        auto done = listen(number, port);
        const std::string name = where(number, *port.state);
        if (done && port.rejected) accepted_(name);
        if (!done) {
            rejected_(name, done.error());
            if (first) first = forward_error(Error(done.error()).with_context(name));
        }
        port.rejected = !done;
    }
    return first;
}

Status HealthServer::listen(std::uint16_t number, Port& port) {
    std::erase_if(port.servers, [&](const auto& one) { return !addresses_.contains(one.first); });
    Status first;
    for (const IpAddress& address : addresses_) {
        if (port.servers.contains(address)) continue;
        auto server = std::make_unique<HttpServer>(
            loop_, [state = port.state](const HttpRequest&, const std::shared_ptr<HttpResponder>& responder) {
                responder->send(answer(*state));
            });
        if (auto done = server->listen_tcp(address, number); !done) {
            // A node without this family.
            if (address.is_unspecified() && done.error().sys_errno == EAFNOSUPPORT) continue;
            if (first) first = std::move(done);
            continue;
        }
        port.servers.emplace(address, std::move(server));
    }
    return first;
}

std::size_t HealthServer::listening() const {
    std::size_t count = 0;
    for (const auto& [number, port] : ports_) count += port.servers.size();
    return count;
}

}  // namespace axo::service
