#include "app/relay/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "hubble/text/version.h"

namespace axo {
namespace {

std::uint64_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::uint64_t size = 0, resident = 0;
    statm >> size >> resident;
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::string cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return std::to_string(seconds(usage.ru_utime) + seconds(usage.ru_stime));
}

}  // namespace

std::string relay_metrics(relay_server::RelayService& service) {
    std::string out;
    const auto metric = [&](const char* name, const char* type, const char* help, const std::string& value) {
        out += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n" + name + " " +
               value + "\n";
    };
    const relay_server::QueryCounts& counts = service.counts();
    out +=
        "# HELP hubble_relay_pool_peer_connection_status Peers by the state of the connection to them.\n"
        "# TYPE hubble_relay_pool_peer_connection_status gauge\n";
    for (const auto& [state, count] : service.pool().states())
        out += "hubble_relay_pool_peer_connection_status{status=\"" + state + "\"} " + std::to_string(count) + "\n";
    metric("hubble_relay_flow_requests", "gauge", "GetFlows requests that are being served.",
           std::to_string(counts.requests.load()));
    metric("hubble_relay_peer_streams", "gauge", "Streams from peers that are open.",
           std::to_string(counts.peer_streams.load()));
    metric("hubble_relay_flow_requests_refused_total", "counter",
           "GetFlows requests that were refused, for one limit or another.", std::to_string(counts.refused.load()));
    metric("hubble_relay_received_messages_total", "counter", "Flows and events that peers sent.",
           std::to_string(counts.flows.load()));
    metric("hubble_relay_lost_messages_total", "counter", "Those lost because a client did not take them in time.",
           std::to_string(counts.lost.load()));
    metric("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
           std::to_string(resident_bytes()));
    metric("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", cpu_seconds());
    out +=
        "# HELP hubble_relay_build_info What is running.\n# TYPE hubble_relay_build_info gauge\nhubble_relay_build_info{version=\"" +
        std::string(kHubbleVersion) + "\"} 1\n";
    return out;
}

}  // namespace axo
