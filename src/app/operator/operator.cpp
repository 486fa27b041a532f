#include "app/operator/operator.h"

#include <algorithm>

#include "base/log.h"
#include "base/version.h"
#include "io/event_recorder.h"
#include "io/resources.h"
#include "model/json_text.h"
#include "model/time.h"
#include "runtime/metrics.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("operator");
    return logger;
}

Json controller_json(const ControllerStatus& status) {
    Json json = {{"name", status.name},
                 {"success-count", status.success_count},
                 {"failure-count", status.failure_count},
                 {"consecutive-failure-count", status.consecutive_failures}};
    if (status.running_since != std::chrono::system_clock::time_point{})
        json["running-since"] = format_time(status.running_since);
    if (status.success_count > 0) json["last-success-timestamp"] = format_time(status.last_success);
    if (status.failure_count > 0) {
        json["last-failure-timestamp"] = format_time(status.last_failure);
        json["last-failure-msg"] = status.last_error;
    }
    return json;
}

std::size_t unmanaged_pods(const OperatorTables& tables) {
    return static_cast<std::size_t>(std::ranges::count_if(tables.pods.rows(), [&](const auto& entry) {
        const auto& [key, pod] = entry;
        return !pod.host_network && !pod.finished && pod.running_since && tables.endpoints.find(key) == nullptr;
    }));
}

}  // namespace

// In the order of dependence: what is destroyed first depends on what is destroyed after it.
struct Operator::Duties {
    std::unique_ptr<CrdRegistration> crds;  // first: the others watch the kinds
    std::unique_ptr<UnusedKinds> unused;
    OperatorTables tables;
    EventRecorder events;
    NodeGc nodes;
    EndpointGc endpoints;
    IdentityGc identities;
    NodeMarker marks;
    PodRestarter restarts;
    policy::PolicyValidator policies;
    std::unique_ptr<PodCidrController> pod_cidrs;
    std::unique_ptr<PodPoolController> pools;
    std::unique_ptr<SliceWriter> slices;

    Duties(EventLoop& loop, ObjectStore& store, ControllerRegistry& registry, const OperatorConfig& config)
        : tables(loop, store, config.tables),
          events(loop, store, "cilium-operator"),
          nodes(loop, registry, store, tables, {.interval = config.nodes_gc_interval}),
          endpoints(loop, registry, store, tables, {.interval = config.endpoint_gc_interval}),
          identities(loop, registry, store, tables,
                     {.interval = config.identity_gc_interval,
                      .heartbeat_timeout = config.identity_heartbeat_timeout,
                      .rate_interval = config.identity_gc_rate_interval,
                      .rate_limit = config.identity_gc_rate_limit}),
          marks(loop, registry, store, tables, config.node_marks),
          restarts(loop, registry, store, tables, config.unmanaged_pod_interval),
          // What one agent may refuse for its flags (SCTP, fromNodes) is not invalid.
          policies(loop, registry, store,
                   {.node_selector_labels = true, .sctp = true, .extended_ip_protocols = true, .host_firewall = true},
                   [this] { return cluster_prefixes(); }) {
        if (config.endpoint_slices)
            slices = std::make_unique<SliceWriter>(loop, registry, store, config.endpoints_per_slice);
        if (config.ipam == "multi-pool") {
            pools = std::make_unique<PodPoolController>(
                loop, registry, store, tables.cilium_nodes,
                PodPoolController::Settings{config.ipv4, config.ipv6, config.auto_pools},
                [this](const ResourceType& type, const ObjectMeta& object, const std::string& reason,
                       const std::string& message) { events.warning(type, object, reason, message); });
        }
        // A directory takes every kind as it is.
        if (store.server()) {
            if (config.register_crds) crds = std::make_unique<CrdRegistration>(loop, registry, store);
            unused = std::make_unique<UnusedKinds>(loop, registry, store);
        }
        if (config.ipam != "cluster-pool") return;
        auto pool = ClusterPool::create(config.cluster_pool);
        if (!pool) {  // the configuration was validated: a bug
            log().error("pod CIDRs are not assigned", {pool.error()});
            return;
        }
        pod_cidrs = std::make_unique<PodCidrController>(
            loop, registry, store, tables.cilium_nodes, std::move(*pool),
            [this](const CiliumNode& node, const std::string& reason, const std::string& message) {
                events.warning(resources::kCiliumNode, node.metadata, reason, message);
            });
    }
    [[nodiscard]] std::vector<Prefix> cluster_prefixes() const {
        std::vector<Prefix> prefixes;
        for (const auto& [key, row] : tables.cilium_nodes.rows()) {
            const std::vector<Prefix> cidrs = row.node.all_pod_cidrs();
            prefixes.insert(prefixes.end(), cidrs.begin(), cidrs.end());
            for (const NodeAddress& address : row.node.addresses) prefixes.push_back(Prefix::host(address.ip));
        }
        return prefixes;
    }
};

Operator::Operator(EventLoop& loop, ObjectStore& store, const OperatorConfig& config, const std::string& candidate)
    : loop_(loop),
      store_(store),
      config_(config),
      fenced_(store, [this] { return election_ && election_->is_leader(); }) {
    LeaseConfig lease = config.lease;
    lease.identity = candidate;
    election_ = std::make_unique<LeaderElection>(
        loop, store, lease,
        LeaderElection::Callbacks{.started_leading =
                                      [this] {
                                          log().info("leading", {{"ipam", config_.ipam}, {"store", store_.describe()}});
                                          duties_ = std::make_unique<Duties>(loop_, fenced_, registry_, config_);
                                      },
                                  .stopped_leading =
                                      [this] {
                                          log().warn("lease lost: standing by");
                                          duties_.reset();
                                      }});
}

// The duties end before the lease is released: a successor must not meet them.
Operator::~Operator() {
    duties_.reset();
}

Task<Status> Operator::resign() {
    constexpr Duration kPatience = std::chrono::seconds(3);
    duties_.reset();
    return within(loop_, kPatience, "releasing the lease", election_->resign());
}

const PodCidrController* Operator::pod_cidrs() const {
    return duties_ ? duties_->pod_cidrs.get() : nullptr;
}

Json Operator::status() const {
    Json json = {{"leader", is_leader()}, {"holder", election_->holder()}, {"store", store_.describe()}};
    json["controllers"] = Json::array();
    for (const ControllerStatus& status : registry_.all()) json["controllers"].push_back(controller_json(status));
    if (duties_ && duties_->pools) {
        json["pools"] = Json::object();
        for (const auto& [name, reason] : duties_->pools->refused()) json["pools"]["refused"][name] = reason;
    }
    if (duties_ && duties_->slices) json["endpoint-slices"] = duties_->slices->slices().size();
    if (const PodCidrController* controller = pod_cidrs()) {
        const auto& counters = controller->counters();
        json["pod-cidrs"] = {{"reconciled", controller->started()},
                             {"unchanged-at-start", counters.unchanged_at_start},
                             {"written", counters.written},
                             {"failed", counters.failed}};
    }
    return json;
}

void Operator::handle_metrics(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) const {
    if (request.method != "GET" || request.path != "/metrics")
        return responder->send({404, "accepted: GET /metrics\n", "text/plain", {}});
    MetricSet set("cilium_operator_");
    set.gauge("version", "Version of the operator", 1, {{"version", kVersion}, {"product", "axoneme"}});
    set.gauge("leader", "Whether this operator has the lease and does the work", is_leader() ? 1 : 0);
    for (const ControllerStatus& controller : registry_.all()) {
        for (const auto& [status, count] :
             {std::pair{"success", controller.success_count}, std::pair{"failure", controller.failure_count}}) {
            set.counter("controllers_group_runs_total", "Number of times that a controller process was run",
                        static_cast<double>(count), {{"group_name", controller.name}, {"status", status}});
        }
    }
    const auto objects = [&](const char* kind, std::size_t count) {
        set.gauge("objects", "Objects of the cluster that the leader watches", static_cast<double>(count),
                  {{"kind", kind}});
    };
    if (duties_) {
        objects("CiliumNode", duties_->tables.cilium_nodes.size());
        objects("Node", duties_->tables.nodes.size());
        objects("Pod", duties_->tables.pods.size());
        objects("CiliumEndpoint", duties_->tables.endpoints.size());
        objects("CiliumIdentity", duties_->tables.identities.size());
        set.gauge("unmanaged_pods", "The total number of pods observed to be unmanaged by Cilium operator",
                  static_cast<double>(unmanaged_pods(duties_->tables)));
        if (const PodCidrController* controller = pod_cidrs()) {
            set.gauge("ipam_nodes", "Number of nodes by category { total | in-deficit | at-capacity }",
                      static_cast<double>(duties_->tables.cilium_nodes.size()), {{"category", "total"}});
            set.counter("pod_cidr_writes_total", "Pod CIDRs written to nodes",
                        static_cast<double>(controller->counters().written), {{"outcome", "success"}});
            set.counter("pod_cidr_writes_total", "Pod CIDRs written to nodes",
                        static_cast<double>(controller->counters().failed), {{"outcome", "fail"}});
        }
    }
    set.gauge("rejected_objects", "Objects of the store that cannot be used as they are",
              static_cast<double>(store_.rejected().size()));
    store_.add_metrics(set);
    registry_.durations().add_to(set);
    set.add_process();
    responder->send({200, set.text(), std::string(kMetricsContentType), {}});
}

void Operator::handle(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    if (request.method != "GET") {
        responder->send({405, "accepted: GET\n", "text/plain", {{"Allow", "GET"}}});
    } else if (request.path == "/healthz" || request.path == "/v1/healthz") {
        responder->send({200, "ok", "text/plain", {}});
    } else if (request.path == "/v1/status") {
        responder->send({200, json_text(status()), "application/json", {}});
    } else {
        responder->send({404, "accepted: /healthz, /v1/healthz, /v1/status\n", "text/plain", {}});
    }
}

}  // namespace axo
