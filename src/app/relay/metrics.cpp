#include "app/relay/metrics.h"

#include "hubble/text/version.h"
#include "runtime/metrics.h"

namespace axo {

std::string relay_metrics(relay_server::RelayService& service) {
    MetricSet set("hubble_relay_");
    const relay_server::QueryCounts& counts = service.counts();
    const char* const states_help = "Peers by the state of the connection to them.";
    set.declare(MetricSet::Kind::kGauge, "pool_peer_connection_status", states_help);
    for (const auto& [state, count] : service.pool().states())
        set.gauge("pool_peer_connection_status", states_help, static_cast<double>(count), {{"status", state}});
    set.gauge("flow_requests", "GetFlows requests that are being served.", static_cast<double>(counts.requests.load()));
    set.gauge("peer_streams", "Streams from peers that are open.", static_cast<double>(counts.peer_streams.load()));
    set.counter("flow_requests_refused_total", "GetFlows requests that were refused, for one limit or another.",
                static_cast<double>(counts.refused.load()));
    set.counter("received_messages_total", "Flows and events that peers sent.",
                static_cast<double>(counts.flows.load()));
    set.counter("lost_messages_total", "Those lost because a client did not take them in time.",
                static_cast<double>(counts.lost.load()));
    set.gauge("build_info", "What is running.", 1, {{"version", std::string(kHubbleVersion)}});
    set.add_process();
    return set.text();
}

}  // namespace axo
