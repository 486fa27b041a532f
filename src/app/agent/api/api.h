// The agent's REST API (Cilium's paths and models) on its unix socket, /healthz on the loopback addresses, and
// cilium-health's API on health.sock. Handlers read the control plane's tables; they keep no state of their own.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/agent/api/process_times.h"
#include "app/agent/control_plane.h"
#include "features/policy/explain.h"
#include "io/http.h"
#include "model/json.h"

namespace axo {

class AgentApi {
public:
    explicit AgentApi(ControlPlane& plane);
    // kAlreadyExists: another agent answers there.
    Status listen();

private:
    struct Call {
        const HttpRequest& request;
        std::shared_ptr<HttpResponder> responder;
        std::vector<std::string> parameters;  // of the path, in order

        void answer(int status, const Json& body) const;
        void answer(int status) const;
        // A JSON string, as Cilium's Error model is.
        void fail(int status, const std::string& message) const;
        void fail(const Error& error) const;
    };
    using Handler = std::function<void(const Call&)>;
    struct Route {
        std::string method;
        std::vector<std::string> segments;  // "{}": a parameter
        Handler handler;
        bool needs_datapath = true;  // else 503 until there is one
    };

    void add(const std::string& method, const std::string& pattern, Handler handler, bool needs_datapath = true);
    void dispatch(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder);
    void healthz(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder);

    void add_status_routes();
    void add_endpoint_routes();
    void add_ipam_routes();
    void add_table_routes();
    void add_health_routes();
    void add_policy_routes();
    void add_service_routes();
    void add_prefilter_routes();
    void add_metrics_routes();
    void add_fqdn_routes();

    // status.cpp
    // needs_kubernetes: an API server out of reach is an ill agent, for who asks.
    [[nodiscard]] Json brief_status(bool needs_kubernetes) const;
    Json status(bool needs_kubernetes);
    Json axoneme_status();
    [[nodiscard]] Json kubernetes_status() const;
    [[nodiscard]] Json hubble_status() const;
    [[nodiscard]] Json cluster_status() const;
    [[nodiscard]] Json controllers_json() const;
    [[nodiscard]] Json configuration() const;
    [[nodiscard]] Json node_addressing() const;
    [[nodiscard]] Json node_element(const NodeRow& row) const;
    // ipam.cpp
    Task<void> allocate(HttpRequest request, std::shared_ptr<HttpResponder> responder);
    [[nodiscard]] Json lease_json(const AddressPool::Lease& lease) const;
    // endpoints.cpp
    [[nodiscard]] Json endpoint_json(const EndpointRow& endpoint) const;
    [[nodiscard]] Json identity_json(IdentityId id, const LabelSet& labels) const;
    void create_endpoint(const Call& call);
    void patch_endpoint(const Call& call);
    // fqdn.cpp
    void list_lookups(const Call& call) const;
    void forget_lookups(const Call& call) const;
    // policy.cpp
    [[nodiscard]] Json endpoint_policy(const EndpointRow& endpoint) const;
    [[nodiscard]] Json subject_selectors() const;
    [[nodiscard]] Json policy_image(const EndpointRow& endpoint, std::size_t limit) const;
    void policy_get(const Call& call) const;
    void policy_diff(const Call& call);
    Task<void> preview_policies(HttpRequest request, std::shared_ptr<HttpResponder> responder);
    void compare_policies(const Call& call, bool remove, std::vector<policy::Translation> translations);
    void configure_endpoint(const Call& call, const EndpointRow& endpoint);
    // policy_explain.cpp
    void policy_explain(const Call& call);
    // Who is meant by "ns/name", an address, "identity:N", "endpoint:N" or "world".
    struct Party {
        IdentityId identity;
        const EndpointRow* endpoint = nullptr;
    };
    Result<Party> find_party(const std::string& text) const;
    struct Explained;
    Status explain_side(const Party& subject, policy::Direction direction, const Party& peer,
                        const policy::Traffic& traffic, Explained& explained) const;
    Status explain_ends(const Party& from, const Party& to, const policy::Traffic& traffic, Explained& explained) const;
    [[nodiscard]] const service::FrontendRow* find_service(const std::string& to, const policy::Traffic& traffic) const;
    Status explain_service(const Party& from, const service::FrontendRow& row, const std::string& to,
                           const policy::Traffic& traffic, Explained& explained) const;
    // services.cpp
    [[nodiscard]] Json service_json(const service::FrontendKey& key, const service::FrontendRow& row) const;
    [[nodiscard]] Json services_json() const;
    [[nodiscard]] Json kube_proxy_replacement() const;
    [[nodiscard]] Json masquerading() const;
    [[nodiscard]] Json services_status() const;
    // prefilter.cpp
    using PrefilterChange = Status (Prefilter::*)(std::int64_t, const std::vector<Prefix>&);
    [[nodiscard]] Result<Json> prefilter_json() const;
    void change_prefilter(const Call& call, PrefilterChange change);
    void answer_prefilter(const Call& call) const;
    // tables.cpp
    Result<Json> map_json(const std::string& name);
    void monitor(const Call& call);
    // metrics.cpp
    [[nodiscard]] MetricSet metrics();
    void add_endpoint_metrics(MetricSet& set) const;
    void add_policy_metrics(MetricSet& set) const;
    void add_datapath_metrics(MetricSet& set);
    void add_cluster_metrics(MetricSet& set) const;
    void refresh_map_usage();
    void serve_metrics(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder);
    // health.cpp
    [[nodiscard]] Json health_status() const;

    ControlPlane& plane_;
    std::vector<Route> routes_;
    std::shared_ptr<ProcessTimes> times_ = std::make_shared<ProcessTimes>();
    HttpServer server_;
    HttpServer loopback_;
    HttpServer health_;
    HttpServer metrics_server_;
    std::vector<Datapath::MapUsage> map_usage_;
    TaskGroup tasks_;  // requests that wait for the store
    std::chrono::steady_clock::time_point map_usage_at_{};
};

}  // namespace axo
