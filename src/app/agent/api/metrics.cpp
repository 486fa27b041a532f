// Metrics: /metrics at prometheus-serve-addr, and GET /v1/metrics/ for `metrics list`. Names, labels and texts are
// Cilium's.
#include <cmath>
#include <numeric>

#include "app/agent/api/api.h"
#include "base/version.h"
#include "features/health/desired.h"
#include "maps/metrics_map.h"
#include "runtime/metrics.h"

namespace axo {
namespace {

// Cilium counts what the stack's own reasons are (fragments, MTU) by metrics of their own.
constexpr std::uint8_t kFirstDropReason = 130;
constexpr std::uint8_t kMtuErrorMessage = 15;
constexpr std::uint8_t kFragmented = 9;

const char* enforcement_text(std::uint32_t reference) {
    const bool audit = (reference & POLICY_REF_F_AUDIT) != 0;
    const bool ingress = (reference & POLICY_REF_F_INGRESS) != 0;
    const bool egress = (reference & POLICY_REF_F_EGRESS) != 0;
    if (ingress && egress) return audit ? "audit-both" : "both";
    if (ingress) return audit ? "audit-ingress" : "ingress";
    if (egress) return audit ? "audit-egress" : "egress";
    return "none";
}

double number(std::size_t value) {
    return static_cast<double>(value);
}

void add_map_pressure(MetricSet& set, const Datapath::MapUsage& map) {
    if (map.max_entries == 0 || map.fixed) return;
    std::string name = map.name;
    if (name.starts_with("cilium_")) name.erase(0, 7);
    set.gauge("bpf_map_pressure", "Fill percentage of map, tagged by map name", number(map.entries) / map.max_entries,
              {{"map_name", name}});
    set.gauge("bpf_map_capacity", "Capacity of map, tagged by map group", number(map.max_entries),
              {{"map_group", std::move(name)}});
}

}  // namespace

void AgentApi::add_endpoint_metrics(MetricSet& set) const {
    const auto& endpoints = plane_.endpoints_->table().rows();
    set.gauge("endpoint", "Number of endpoints managed by this agent", number(endpoints.size()));
    std::map<std::string_view, std::size_t> states;
    for (const auto& [id, row] : endpoints) ++states[endpoint_state_text(row.state)];
    for (const auto& [state, count] : states) {
        set.gauge("endpoint_state", "Count of all endpoints, tagged by different endpoint states", number(count),
                  {{"endpoint_state", std::string(state)}});
    }
    if (plane_.identities_) {
        std::map<std::string, std::size_t> sources;
        for (const auto& [id, row] : plane_.identities_->table().rows()) {
            std::set<std::string> seen;
            for (const std::string& label : row.labels.to_strings()) seen.insert(label.substr(0, label.find(':')));
            for (const std::string& source : seen) ++sources[source];
        }
        for (const auto& [source, count] : sources) {
            set.gauge("identity_label_sources",
                      "Number of identities which contain at least one label of the given source", number(count),
                      {{"source", source}});
        }
        set.gauge("identity", "Number of identities currently allocated", number(plane_.identities_->table().size()),
                  {{"type", "cluster_local"}});
    }
    if (plane_.policy_) {
        set.gauge("identity", "Number of identities currently allocated", number(plane_.policy_->prefixes().size()),
                  {{"type", "node_local"}});
    }
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        std::size_t used = 0;
        for (const auto& [ip, allocation] : plane_.pool_.pools().allocations()) {
            if (ip.family() == family) ++used;
        }
        double capacity = 0;
        for (const PoolAllocation& pool : plane_.pool_.pools().allocated()) {
            for (const Prefix& cidr : pool.cidrs) {
                if (cidr.family() == family)
                    capacity += std::ldexp(1.0, (family == Family::kIpv4 ? 32 : 128) - cidr.length());
            }
        }
        if (capacity == 0) continue;
        const std::string name = family == Family::kIpv4 ? "ipv4" : "ipv6";
        set.gauge("ip_addresses", "Number of allocated IP addresses", number(used), {{"family", name}});
        set.gauge("ipam_capacity", "Total number of IPs in the IPAM pool labeled by family", capacity,
                  {{"family", name}});
    }
    for (const auto& [family, events] : plane_.pool_.pools().events()) {
        const std::string name = family == Family::kIpv4 ? "ipv4" : "ipv6";
        for (const auto& [action, count] : {std::pair{"allocate", events.allocated}, {"release", events.released}}) {
            set.counter("ipam_events_total",
                        "Number of IPAM events received labeled by action and datapath family type", number(count),
                        {{"action", action}, {"family", name}});
        }
    }
}

void AgentApi::add_policy_metrics(MetricSet& set) const {
    if (!plane_.policy_) return;
    set.gauge("policy", "Number of policies currently loaded", number(plane_.policy_->engine().policies().size()));
    set.gauge("policy_max_revision", "Highest policy revision number in the agent", number(plane_.policy_->revision()));
    const policy::PolicySources::Changes& changes = plane_.policy_->sources().changes();
    for (const auto& [outcome, count] : {std::pair{"success", changes.taken}, {"fail", changes.refused}}) {
        set.counter("policy_change_total", "Number of policy changes by outcome", number(count),
                    {{"outcome", outcome}});
    }
    std::map<std::string, std::size_t> enforced;
    for (const auto& [id, row] : plane_.endpoints_->table().rows())
        ++enforced[enforcement_text(plane_.datapath_->generations().policy(id))];
    for (const auto& [mode, count] : enforced) {
        set.gauge("policy_endpoint_enforcement_status", "Number of endpoints labeled by policy enforcement status",
                  number(count), {{"enforcement", mode}});
    }
    const ReconcileCounters& counters = plane_.policy_->counters();
    const std::uint64_t done = counters.added + counters.updated + counters.removed;
    set.counter("endpoint_regenerations_total", "Count of all endpoint regenerations that have completed", number(done),
                {{"outcome", "success"}});
    set.counter("endpoint_regenerations_total", "Count of all endpoint regenerations that have completed",
                number(counters.failed), {{"outcome", "fail"}});
    const PolicySlabs::Usage usage = plane_.policy_->usage();
    set.gauge("policy_memory_bytes", "Kernel memory of compiled policies", number(usage.bytes));
    set.gauge("policy_memory_max_bytes", "What compiled policies may take of kernel memory", number(usage.max_bytes));
    plane_.policy_->add_metrics(set);
}

void AgentApi::add_datapath_metrics(MetricSet& set) {
    if (const auto rows = plane_.datapath_->metrics().list()) {
        for (const MetricsRow& row : *rows) {
            const MetricSet::Labels by_direction{{"direction", direction_text(row.direction)}};
            const double packets = number(row.packets), bytes = number(row.bytes);
            if (row.reason >= kFirstDropReason) {
                const MetricSet::Labels labels{{"reason", reason_text(row.reason)},
                                               {"direction", direction_text(row.direction)}};
                set.counter("drop_count_total",
                            "Total dropped packets, tagged by drop reason and ingress/egress direction", packets,
                            labels);
                set.counter("drop_bytes_total",
                            "Total dropped bytes, tagged by drop reason and ingress/egress direction", bytes, labels);
            } else if (row.reason == kMtuErrorMessage) {
                set.counter("mtu_error_message_total",
                            "Total number of icmp fragmentation-needed or ICMPv6 packet-too-big messages", packets,
                            by_direction);
            } else if (row.reason == kFragmented) {
                set.counter("fragmented_count_total", "Total fragmented packets, tagged by ingress/egress direction",
                            packets, by_direction);
            } else if (row.reason == 0) {
                set.counter("forward_count_total", "Total forwarded packets, tagged by ingress/egress direction",
                            packets, by_direction);
                set.counter("forward_bytes_total", "Total forwarded bytes, tagged by ingress/egress direction", bytes,
                            by_direction);
            }
        }
    }
    refresh_map_usage();
    double memory = 0;
    for (const Datapath::MapUsage& map : map_usage_) {
        add_map_pressure(set, map);
        memory += number(map.bytes);
    }
    set.gauge("bpf_maps_virtual_memory_max_bytes", "BPF maps kernel max memory usage size in bytes", memory);
    set.counter("datapath_events_total", "Events that the datapath has sent", number(plane_.datapath_->events_seen()));
    set.counter("datapath_events_lost_total", "Events that found no room in the ring buffer",
                number(plane_.datapath_->events_lost()));
    if (plane_.nat_stats_) {
        std::map<std::string, double> most;
        for (const nat::PortUse& use : plane_.nat_stats_->top()) {
            double& value = most[use.tuple.destination.is_v4() ? "ipv4" : "ipv6"];
            value = std::max(value, number(use.used) / number(plane_.nat_stats_->range().size()));
        }
        for (const auto& [family, share] : most) {
            set.gauge("nat_endpoint_max_connection", "Saturation of the most saturated distinct NAT mapped connection",
                      share * 100, {{"family", family}});
        }
    }
    if (plane_.services_) {
        const ReconcileCounters& counters = plane_.services_->module().counters();
        const auto events = [&](const char* action, std::uint64_t count) {
            set.counter("services_events_total", "Number of services events labeled by action type", number(count),
                        {{"action", action}});
        };
        events("add", counters.added);
        events("update", counters.updated);
        events("delete", counters.removed);
        plane_.services_->module().add_metrics(set);
    }
}

void AgentApi::add_cluster_metrics(MetricSet& set) const {
    if (plane_.nodes_) set.gauge("nodes_all_num", "Number of nodes managed", number(plane_.nodes_->table().size()));
    if (!plane_.health_) return;
    std::size_t nodes = 0, endpoints = 0;
    std::map<std::pair<std::string, std::string>, std::size_t> paths;
    const auto count = [&](const std::vector<AddressHealth>& addresses, const char* type) {
        bool all = true;
        for (const AddressHealth& address : addresses) {
            for (const ProbeResult* probe : {&address.icmp, &address.http}) {
                const char* status = !probe->done ? "unknown" : probe->failure.empty() ? "reachable" : "unreachable";
                ++paths[{type, status}];
                all = all && probe->done && probe->failure.empty();
            }
        }
        return all;
    };
    for (const auto& [name, health] : plane_.health_->results()) {
        if (!count(health.host, "node")) ++nodes;
        if (!count(health.endpoint, "endpoint")) ++endpoints;
    }
    set.gauge("unreachable_nodes", "Number of nodes that cannot be reached", number(nodes));
    set.gauge("unreachable_health_endpoints", "Number of health endpoints that cannot be reached", number(endpoints));
    for (const auto& [key, value] : paths) {
        set.gauge("node_health_connectivity_status",
                  "The number of endpoints with last observed status of both ICMP and HTTP connectivity", number(value),
                  {{"type", key.first}, {"status", key.second}});
    }
}

MetricSet AgentApi::metrics() {
    MetricSet set("cilium_", plane_.config_.metric_selection);
    set.gauge("version", "Cilium version", 1, {{"version", kVersion}, {"product", "axoneme"}});
    if (plane_.start_ms_ > 0) {
        set.gauge("agent_bootstrap_seconds", "Duration of bootstrap sequence",
                  number(static_cast<std::size_t>(plane_.start_ms_)) / 1000,
                  {{"scope", "overall"}, {"outcome", "success"}});
    }
    times_->add_to(set);
    std::size_t failing = 0;
    std::uint64_t good = 0, bad = 0;
    for (const ControllerStatus& controller : plane_.controllers_.all()) {
        if (controller.consecutive_failures > 0) ++failing;
        good += controller.success_count;
        bad += controller.failure_count;
    }
    plane_.controllers_.durations().add_to(set);
    set.gauge("controllers_failing", "Number of failing controllers", number(failing));
    set.counter("controllers_runs_total",
                "Number of times that a controller process was run labeled by completion status", number(good),
                {{"status", "success"}});
    set.counter("controllers_runs_total",
                "Number of times that a controller process was run labeled by completion status", number(bad),
                {{"status", "failure"}});
    std::size_t rejected = plane_.rejections_.all().size();
    if (plane_.store_) rejected += plane_.store_->rejected().size();
    set.gauge("rejected_objects", "Objects and files that were refused; status names them", number(rejected));
    if (plane_.store_) plane_.store_->add_metrics(set);
    if (plane_.store_ && plane_.store_->server()) {
        set.gauge("kubernetes_api_reachable", "Whether the API server answers",
                  plane_.store_->reachability().reachable ? 1 : 0);
    }
    add_cluster_metrics(set);
    if (plane_.monitor_) {
        add_endpoint_metrics(set);
        add_policy_metrics(set);
        add_datapath_metrics(set);
    }
    set.add_process();
    return set;
}

void AgentApi::serve_metrics(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    if (request.method != "GET" || request.path != "/metrics")
        return responder->send({404, "accepted: GET /metrics\n", "text/plain", {}});
    responder->send({200, metrics().text(), std::string(kMetricsContentType), {}});
}

void AgentApi::add_metrics_routes() {
    add(
        "GET", "/v1/metrics",
        [this](const Call& call) {
            Json all = Json::array();
            const MetricSet set = metrics();
            for (const auto& [name, family] : set.families()) {
                for (const MetricSet::Sample& sample : family.samples) {
                    Json labels = Json::object();
                    for (const auto& [label, value] : sample.labels) labels[label] = value;
                    if (sample.histogram == nullptr) {
                        all.push_back({{"name", name}, {"labels", std::move(labels)}, {"value", sample.value}});
                        continue;
                    }
                    const auto& counts = sample.histogram->counts();
                    all.push_back({{"name", name + "_count"},
                                   {"labels", labels},
                                   {"value", std::accumulate(counts.begin(), counts.end(), std::uint64_t{0})}});
                    all.push_back(
                        {{"name", name + "_sum"}, {"labels", std::move(labels)}, {"value", sample.histogram->sum()}});
                }
            }
            call.answer(200, all);
        },
        false);
}

}  // namespace axo
