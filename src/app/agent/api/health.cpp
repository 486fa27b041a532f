// cilium-health's API: <state-dir>/health.sock, base path /v1beta.
#include <sys/sysinfo.h>

#include "app/agent/api/api.h"
#include "model/time.h"

namespace axo {

namespace {

Json connectivity(const ProbeResult& probe) {
    return {{"latency", probe.latency.count()},
            {"status", probe.done ? probe.failure : "never probed"},
            {"lastProbed", probe.done ? format_time_nano(probe.last_probed) : "0001-01-01T00:00:00Z"}};
}

Json path(const AddressHealth& address) {
    return {{"ip", address.ip.to_string()}, {"icmp", connectivity(address.icmp)}, {"http", connectivity(address.http)}};
}

Json addresses(const std::vector<AddressHealth>& list) {
    Json json = Json::object();
    Json secondary = Json::array();
    for (std::size_t i = 1; i < list.size(); ++i) secondary.push_back(path(list[i]));
    if (!list.empty()) json["primary-address"] = path(list.front());
    json["secondary-addresses"] = std::move(secondary);
    return json;
}

}  // namespace

Json AgentApi::health_status() const {
    Json nodes = Json::array();
    const std::string cluster = plane_.config_.cluster_name + "/";
    for (const auto& [name, health] : plane_.health_->results()) {
        Json node{{"name", cluster + name},
                  {"host", addresses(health.host)},
                  {"health-endpoint", addresses(health.endpoint)}};
        if (!health.endpoint.empty()) node["endpoint"] = path(health.endpoint.front());
        nodes.push_back(std::move(node));
    }
    return {{"local", {{"name", cluster + plane_.config_.node_name}}},
            {"nodes", std::move(nodes)},
            {"timestamp", format_time_nano(plane_.health_->last_probe())},
            {"probeInterval",
             std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(plane_.health_->interval()).count()) +
                 "ms"}};
}

void AgentApi::add_health_routes() {
    add(
        "GET", "/v1beta/healthz",
        [this](const Call& call) {
            struct sysinfo info{};
            ::sysinfo(&info);
            const auto load = [&](int i) {
                return std::to_string(static_cast<double>(info.loads[i]) / 65536.0).substr(0, 4);
            };
            call.answer(200, {{"cilium", brief_status(false)},
                              {"system-load", {{"last1min", load(0)}, {"last5min", load(1)}, {"last15min", load(2)}}},
                              {"uptime", std::to_string(info.uptime) + "s"}});
        },
        false);
    add("GET", "/v1beta/status", [this](const Call& call) {
        if (!plane_.health_) return call.fail(500, "health checking is off (enable-health-checking=false)");
        call.answer(200, health_status());
    });
    add("PUT", "/v1beta/status/probe", [this](const Call& call) {
        if (!plane_.health_) return call.fail(500, "health checking is off (enable-health-checking=false)");
        plane_.health_->probe([this, responder = call.responder] {
            const HttpRequest none;
            Call{none, responder, {}}.answer(200, health_status());
        });
    });
}

}  // namespace axo
