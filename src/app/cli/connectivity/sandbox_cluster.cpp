#include "app/cli/connectivity/sandbox_cluster.h"

#include "app/cli/connectivity/policy_change.h"
#include "base/file.h"
#include "sandbox/cluster.h"
#include "sandbox/pods.h"

namespace axo::cli::connectivity {

namespace {

using namespace sandbox;

// No cluster gives out ClusterIPs here; these are of a range that sandboxes use for nothing else.
IpAddress cluster_ip(Family family, int number) {
    const std::string low = std::to_string(100 + number);
    return IpAddress::parse(family == Family::kIpv4 ? "10.96.255." + low : "fd00:96::ff:" + low).value();
}

class SandboxCluster : public TestCluster {
public:
    SandboxCluster(Cluster cluster, Binaries binaries, std::string name_space)
        : cluster_(std::move(cluster)), binaries_(std::move(binaries)), name_space_(std::move(name_space)) {}
    ~SandboxCluster() override { (void)stop_servers(); }

    [[nodiscard]] std::string name() const override { return "sandbox " + cluster_.spec().name; }

    Result<std::vector<Peer>> nodes() override {
        std::vector<Peer> all;
        for (const NodeSpec& node : cluster_.spec().nodes) {
            Peer peer{.kind = Peer::Kind::kNode, .name = node.name, .node = node.name};
            if (cluster_.spec().ipv4()) peer.addresses.push_back(segment_address_v4(node.segment, node_host(node)));
            if (cluster_.spec().ipv6()) peer.addresses.push_back(segment_address_v6(node.segment, node_host(node)));
            all.push_back(std::move(peer));
        }
        return all;
    }

    std::optional<Peer> outside() override {
        Peer peer{.kind = Peer::Kind::kOutside, .name = "outside"};
        if (cluster_.spec().ipv4()) peer.addresses.push_back(segment_address_v4(kOutsideSegment, kOutsideHost));
        if (cluster_.spec().ipv6()) peer.addresses.push_back(segment_address_v6(kOutsideSegment, kOutsideHost));
        return peer;
    }

    Result<std::vector<Peer>> deploy(const std::vector<PodRequest>& pods) override {
        TRY(apply_now(namespace_manifest(name_space_)));
        std::vector<PodSpec> specs;
        for (const PodRequest& pod : pods) {
            PodSpec spec{.name_space = name_space_,
                         .name = pod.name,
                         .node = pod.node,
                         .labels = pod.labels,
                         .annotations = {},
                         .uid = {}};
            if (pod.serves) spec.ports["http-8080"] = std::to_string(kPort) + "/TCP";
            specs.push_back(std::move(spec));
        }
        TRY_ASSIGN(const PodsAdded added, add_pods(cluster_, specs, true));
        std::vector<Peer> peers;
        for (std::size_t i = 0; i < added.pods.size(); ++i) {
            if (!added.pods[i]) return forward_error(added.pods[i].error());
            const Pod& pod = *added.pods[i];
            Peer peer{.name = pod.spec.name,
                      .node = pod.spec.node,
                      .addresses = pod.addresses,
                      .host_port = pods[i].host_port};
            if (pods[i].serves) TRY(serve(peer));
            if (peer.host_port != 0) TRY(give_host_port(peer));
            peers.push_back(std::move(peer));
        }
        TRY(cluster_.sync_routes());
        return peers;
    }

    Status serve(const Peer& peer) override {
        const Machine machine = machine_of(peer);
        const std::string name = "connectivity-" + peer.name;
        TRY_ASSIGN(const ProcessId process,
                   spawn_detached(command(machine, {traffic(), "serve", "--port", std::to_string(kPort)}),
                                  cluster_.log_of(name).string()));
        servers_.push_back(process);
        return {};
    }

    Result<std::vector<Service>> expose(const std::vector<ServiceRequest>& services) override {
        std::vector<Service> made;
        for (const ServiceRequest& request : services) {
            Service service{.name = request.name, .node_port = request.node_port};
            if (!request.backends.empty()) service.node = request.backends.front().node;
            const int number = static_cast<int>(made.size());
            if (cluster_.spec().ipv4()) service.addresses.push_back(cluster_ip(Family::kIpv4, number));
            if (cluster_.spec().ipv6()) service.addresses.push_back(cluster_ip(Family::kIpv6, number));
            const std::string yaml = service_manifest(request, service);
            TRY(apply_now(yaml));
            manifests_.push_back(yaml);
            made.push_back(std::move(service));
        }
        return made;
    }

    Status apply(const std::string& yaml) override {
        return change(yaml, [&] { return apply_now(yaml); });
    }

    Status remove(const std::string& yaml) override {
        return change(yaml, [&]() -> Status {
            TRY(delete_manifests(cluster_.store(), yaml));
            return {};
        });
    }

    Result<std::string> run(const Peer& where, const std::vector<std::string>& arguments, const std::string& input,
                            std::chrono::milliseconds limit) override {
        std::vector<std::string> argv{traffic()};
        argv.insert(argv.end(), arguments.begin(), arguments.end());
        return run_in(machine_of(where), argv, input, limit);
    }

    Result<Json> ask_agent(const Peer& node, const std::vector<std::string>& words) override {
        std::vector<std::string> argv{(binaries_.folder / "axoneme").string()};
        argv.insert(argv.end(), words.begin(), words.end());
        argv.insert(argv.end(), {"-o", "json"});
        TRY_ASSIGN(const std::string text, run_in(machine_of(node), argv, "", std::chrono::seconds(70)));
        Json json = Json::parse(text, nullptr, false);
        if (json.is_discarded()) return fail(Code::kDataLoss, "node " + node.name + ": the answer is not JSON");
        return json;
    }

    Status clean() override {
        Status first = stop_servers();
        const auto note = [&first](auto outcome) {
            if (!outcome && first) first = forward_error(outcome.error());
        };
        for (const std::string& yaml : manifests_) note(delete_manifests(cluster_.store(), yaml));
        for (const Pod& pod : list_pods(cluster_)) {
            if (pod.spec.name_space == name_space_) note(remove_pod(cluster_, name_space_, pod.spec.name));
        }
        note(delete_manifests(cluster_.store(), namespace_manifest(name_space_)));
        manifests_.clear();
        return first;
    }

private:
    [[nodiscard]] std::string traffic() const { return (binaries_.folder / "axoneme-traffic").string(); }

    [[nodiscard]] Machine machine_of(const Peer& peer) const {
        switch (peer.kind) {
            case Peer::Kind::kNode: return cluster_.machine_of_node(peer.name);
            case Peer::Kind::kOutside: return cluster_.outside();
            case Peer::Kind::kPod: break;
        }
        return cluster_.machine_of_pod(name_space_, peer.name);
    }

    static Command command(const Machine& machine, std::vector<std::string> argv) {
        return {.argv = std::move(argv), .environment = {}, .prepare = [machine] { return enter(machine); }};
    }

    static Result<std::string> run_in(const Machine& machine, const std::vector<std::string>& argv,
                                      const std::string& input, std::chrono::milliseconds limit) {
        TRY_ASSIGN(Output output, run_captured(command(machine, argv), input, limit));
        if (output.exit_status != 0)
            return fail(Code::kInternal, output.err.empty()
                                             ? argv.front() + " ended with status " + std::to_string(output.exit_status)
                                             : output.err.substr(0, output.err.find_last_not_of('\n') + 1));
        return std::move(output.out);
    }

    Status apply_now(const std::string& yaml) {
        TRY(apply_manifests(cluster_.store(), yaml));
        return {};
    }

    // In the manifest that the sandbox has written, as a kubelet would find it.
    Status give_host_port(const Peer& pod) {
        const auto path = pod_path(cluster_.store(), name_space_, pod.name);
        TRY_ASSIGN(std::string manifest, read_file(path));
        const std::string port = "containerPort: " + std::to_string(kPort) + "\n";
        const auto at = manifest.find(port);
        if (at == std::string::npos) return fail(Code::kInternal, path.string() + ": without its container's port");
        manifest.insert(at + port.size(), "      hostPort: " + std::to_string(pod.host_port) + "\n");
        return write_atomic(path, manifest);
    }

    Status stop_servers() { return stop_processes(std::exchange(servers_, {}), std::chrono::seconds(2)); }

    Status change(const std::string& yaml, const std::function<Status()>& make) {
        if (yaml.empty()) return {};
        return change_policies(*this, make, [this](const Peer& node, const std::string& revision) -> Status {
            const std::vector<std::string> wait{
                (binaries_.folder / "axoneme").string(), "policy", "wait", revision, "--max-wait-time", "20"};
            TRY(run_in(machine_of(node), wait, "", std::chrono::seconds(30)));
            return {};
        });
    }

    [[nodiscard]] std::string service_manifest(const ServiceRequest& request, const Service& service) const {
        Json spec{{"type", request.node_port != 0 ? "NodePort" : "ClusterIP"},
                  {"ipFamilyPolicy", service.addresses.size() > 1 ? "RequireDualStack" : "SingleStack"}};
        Json port{{"name", "http"}, {"protocol", "TCP"}, {"port", kPort}, {"targetPort", kPort}};
        if (request.node_port != 0) port["nodePort"] = request.node_port;
        spec["ports"] = Json::array({port});
        spec["clusterIP"] = service.addresses.front().to_string();
        std::string slices;
        for (const IpAddress& address : service.addresses) {
            const std::string family = address.is_v6() ? "IPv6" : "IPv4";
            spec["clusterIPs"].push_back(address.to_string());
            spec["ipFamilies"].push_back(family);
            Json endpoints = Json::array();
            for (const Peer& backend : request.backends) {
                endpoints.push_back({{"addresses", Json::array({backend.address(address.family()).to_string()})},
                                     {"conditions", {{"ready", true}, {"serving", true}, {"terminating", false}}},
                                     {"nodeName", backend.node}});
            }
            const Json slice{{"apiVersion", "discovery.k8s.io/v1"},
                             {"kind", "EndpointSlice"},
                             {"addressType", family},
                             {"metadata",
                              {{"name", request.name + "-" + (address.is_v6() ? "v6" : "v4")},
                               {"namespace", name_space_},
                               {"labels", {{"kubernetes.io/service-name", request.name}}}}},
                             {"endpoints", endpoints},
                             {"ports", Json::array({Json{{"name", "http"}, {"protocol", "TCP"}, {"port", kPort}}})}};
            slices += "---\n" + slice.dump() + "\n";
        }
        const Json manifest{{"apiVersion", "v1"},
                            {"kind", "Service"},
                            {"metadata", {{"name", request.name}, {"namespace", name_space_}}},
                            {"spec", spec}};
        return manifest.dump() + "\n" + slices;
    }

    Cluster cluster_;
    Binaries binaries_;
    std::string name_space_;
    std::vector<std::string> manifests_;
    std::vector<ProcessId> servers_;
};

}  // namespace

Result<std::unique_ptr<TestCluster>> open_sandbox(const std::string& name, const std::string& name_space) {
    TRY_ASSIGN(Cluster cluster, Cluster::open(name));
    TRY_ASSIGN(Binaries binaries, Binaries::beside_this_program());
    return std::make_unique<SandboxCluster>(std::move(cluster), std::move(binaries), name_space);
}

}  // namespace axo::cli::connectivity
