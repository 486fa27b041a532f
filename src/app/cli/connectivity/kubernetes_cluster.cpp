#include "app/cli/connectivity/kubernetes_cluster.h"

#include <algorithm>
#include <thread>

#include "app/cli/connectivity/policy_change.h"
#include "app/cli/install/installer.h"
#include "model/yaml.h"

namespace axo::cli::connectivity {

namespace {

using install::Api;
using install::apply_object;
using install::delete_object;
using install::get_object;
using install::list_objects;
using install::object_title;
using install::reference;
using install::text_at;
using Object = axo::Json;  // Kubernetes' objects; Json is the CLI's

constexpr auto kPatience = std::chrono::seconds(120);
constexpr const char* kContainer = "traffic";

bool is_ready(const Object& pod) {
    if (pod.contains("/metadata/deletionTimestamp"_json_pointer)) return false;
    return std::ranges::any_of(pod.value("/status/conditions"_json_pointer, Object::array()), [](const Object& one) {
        return one.value("type", std::string()) == "Ready" && one.value("status", std::string()) == "True";
    });
}

void add_address(Peer& peer, const std::string& text) {
    const auto address = IpAddress::parse(text);
    if (address && std::ranges::find(peer.addresses, *address) == peer.addresses.end())
        peer.addresses.push_back(*address);
}

class KubernetesCluster : public TestCluster {
public:
    KubernetesCluster(std::unique_ptr<Api> api, std::string agents, std::string name_space)
        : api_(std::move(api)), agents_(std::move(agents)), name_space_(std::move(name_space)) {}

    // Where an agent is ready.
    Status find_nodes() {
        TRY_ASSIGN(const std::vector<Object> pods,
                   list_objects(*api_, "/api/v1/namespaces/" + agents_ + "/pods", "k8s-app=cilium"));
        for (const Object& pod : pods) {
            if (!is_ready(pod)) continue;
            Peer node{.kind = Peer::Kind::kNode, .name = text_at(pod, "/spec/nodeName")};
            node.node = node.name;
            TRY_ASSIGN(const Object object, get_object(*api_, reference("v1", "Node", "", node.name)));
            for (const Object& address : object.value("/status/addresses"_json_pointer, Object::array())) {
                if (address.value("type", std::string()) == "InternalIP")
                    add_address(node, address.value("address", std::string()));
            }
            agent_pods_[node.name] = text_at(pod, "/metadata/name");
            image_ = text_at(pod, "/spec/containers/0/image");
            nodes_.push_back(std::move(node));
        }
        if (nodes_.empty())
            return fail(Code::kFailedPrecondition, "no pod of DaemonSet " + agents_ +
                                                       "/cilium is ready: `axoneme status` says why; -n names another "
                                                       "namespace");
        std::ranges::sort(nodes_, {}, &Peer::name);
        return {};
    }

    [[nodiscard]] std::string name() const override { return api_->server(); }
    Result<std::vector<Peer>> nodes() override { return nodes_; }
    // Nobody is known who would answer.
    std::optional<Peer> outside() override { return std::nullopt; }

    Result<std::vector<Peer>> deploy(const std::vector<PodRequest>& pods) override {
        TRY(apply(reference("v1", "Namespace", "", name_space_)));
        for (const PodRequest& pod : pods) TRY(apply(manifest_of(pod)));
        std::vector<Peer> peers;
        for (const PodRequest& pod : pods) {
            TRY_ASSIGN(Peer peer, wait_for_pod(pod.name));
            peer.host_port = pod.host_port;
            peers.push_back(std::move(peer));
        }
        return peers;
    }

    // A pod of the node's network, in its place.
    Status serve(const Peer& peer) override {
        Object pod = manifest_of({.name = "host-" + peer.name, .node = peer.node, .labels = {}, .serves = true});
        pod["spec"]["hostNetwork"] = true;
        TRY(apply(pod));
        const auto served = wait_for_pod("host-" + peer.name);
        return served ? Status{} : forward_error(served.error());
    }

    Result<std::vector<Service>> expose(const std::vector<ServiceRequest>& services) override {
        std::vector<Service> made;
        for (const ServiceRequest& request : services) {
            Object object = reference("v1", "Service", name_space_, request.name);
            Object port{{"name", "http"}, {"protocol", "TCP"}, {"port", kPort}, {"targetPort", kPort}};
            if (request.node_port != 0) port["nodePort"] = request.node_port;
            object["spec"] = {{"type", request.node_port != 0 ? "NodePort" : "ClusterIP"},
                              {"ipFamilyPolicy", "PreferDualStack"},
                              {"ports", Object::array({port})}};
            Service service{.name = request.name, .node_port = request.node_port};
            if (!request.backends.empty()) {
                object["spec"]["selector"] = {{"name", request.backends.front().name}};
                service.node = request.backends.front().node;
            }
            TRY_ASSIGN(const Object created, apply_object(*api_, object));
            Peer addresses;
            add_address(addresses, text_at(created, "/spec/clusterIP"));
            for (const Object& address : created.value("/spec/clusterIPs"_json_pointer, Object::array()))
                add_address(addresses, address.get<std::string>());
            service.addresses = addresses.addresses;
            made.push_back(std::move(service));
        }
        return made;
    }

    Status apply(const std::string& yaml) override {
        return change(yaml, [this](const Object& policy) { return apply(policy); });
    }
    Status remove(const std::string& yaml) override {
        return change(yaml, [this](const Object& policy) { return delete_object(*api_, policy); });
    }

    Result<std::string> run(const Peer& where, const std::vector<std::string>& arguments, const std::string& input,
                            std::chrono::milliseconds limit) override {
        std::vector<std::string> command{"/usr/bin/axoneme-traffic"};
        command.insert(command.end(), arguments.begin(), arguments.end());
        return execute(where, std::move(command), input, limit);
    }

    Result<Json> ask_agent(const Peer& node, const std::vector<std::string>& words) override {
        std::vector<std::string> command{"/usr/bin/axoneme"};
        command.insert(command.end(), words.begin(), words.end());
        command.insert(command.end(), {"-o", "json"});
        TRY_ASSIGN(const std::string text, execute(node, std::move(command), "", std::chrono::seconds(70)));
        Json json = Json::parse(text, nullptr, false);
        if (json.is_discarded()) return fail(Code::kDataLoss, "node " + node.name + ": the answer is not JSON");
        return json;
    }

    Status clean() override {
        const Object space = reference("v1", "Namespace", "", name_space_);
        TRY(delete_object(*api_, space));
        return install::wait_until_gone(*api_, {space}, kPatience, install::say_nothing);
    }

private:
    Status apply(const Object& object) {
        const auto made = apply_object(*api_, object);
        return made ? Status{} : forward_error(made.error());
    }

    [[nodiscard]] Object manifest_of(const PodRequest& request) const {
        Object pod = reference("v1", "Pod", name_space_, request.name);
        pod["metadata"]["labels"] = request.labels;
        Object container{{"name", kContainer}, {"image", image_}, {"imagePullPolicy", "IfNotPresent"}};
        if (request.serves) {
            container["command"] = {"/usr/bin/axoneme-traffic", "serve", "--port", std::to_string(kPort)};
            Object port{{"name", "http-" + std::to_string(kPort)}, {"containerPort", kPort}, {"protocol", "TCP"}};
            if (request.host_port != 0) port["hostPort"] = request.host_port;
            container["ports"] = Object::array({port});
        } else {
            container["command"] = {"/usr/bin/cilium-agent", "pause"};
        }
        pod["spec"] = {{"containers", Object::array({container})},
                       {"nodeSelector", {{"kubernetes.io/hostname", request.node}}},
                       {"tolerations", Object::array({{{"operator", "Exists"}}})},
                       {"automountServiceAccountToken", false},
                       {"terminationGracePeriodSeconds", 1}};
        return pod;
    }

    Result<Peer> wait_for_pod(const std::string& name) {
        const Object pod = reference("v1", "Pod", name_space_, name);
        Object now;
        TRY(install::wait_for(kPatience, install::say_nothing, [&]() -> Result<std::string> {
            TRY_ASSIGN(now, get_object(*api_, pod));
            if (is_ready(now)) return std::string();
            const std::string reason = text_at(now, "/status/containerStatuses/0/state/waiting/reason");
            return object_title(pod) + " is not ready" + (reason.empty() ? "" : ": " + reason);
        }));
        Peer peer{.name = name, .node = text_at(now, "/spec/nodeName")};
        add_address(peer, text_at(now, "/status/podIP"));
        for (const Object& address : now.value("/status/podIPs"_json_pointer, Object::array()))
            add_address(peer, address.value("ip", std::string()));
        return peer;
    }

    Result<std::string> execute(const Peer& where, std::vector<std::string> command, const std::string& input,
                                std::chrono::milliseconds limit) {
        const bool pod = where.kind == Peer::Kind::kPod;
        const std::string program = command.front();
        TRY_ASSIGN(install::Ended ended, api_->execute({.name_space = pod ? name_space_ : agents_,
                                                        .pod = pod ? where.name : agent_pods_.at(where.name),
                                                        .container = pod ? kContainer : "cilium-agent",
                                                        .command = std::move(command),
                                                        .input = input,
                                                        .limit = limit}));
        if (ended.exit_status == 0) return std::move(ended.out);
        return fail(Code::kInternal, ended.err.empty()
                                         ? program + " ended with status " + std::to_string(ended.exit_status)
                                         : ended.err.substr(0, ended.err.find_last_not_of('\n') + 1));
    }

    Status change(const std::string& yaml, const std::function<Status(const Object&)>& one) {
        if (yaml.empty()) return {};
        const auto all = [&]() -> Status {
            for (const std::string& document : helm::documents(yaml)) {
                TRY_ASSIGN(const Object policy, parse_yaml(document));
                if (!policy.is_null()) TRY(one(policy));
            }
            return {};
        };
        return change_policies(*this, all, [this](const Peer& node, const std::string& revision) -> Status {
            const auto done = execute(node, {"/usr/bin/axoneme", "policy", "wait", revision, "--max-wait-time", "20"},
                                      "", std::chrono::seconds(30));
            return done ? Status{} : forward_error(done.error());
        });
    }

    std::unique_ptr<Api> api_;
    std::string agents_, name_space_, image_;
    std::vector<Peer> nodes_;
    std::map<std::string, std::string> agent_pods_;  // by node
};

}  // namespace

Result<std::unique_ptr<TestCluster>> open_kubernetes(std::unique_ptr<Api> api, const std::string& agents,
                                                     const std::string& name_space) {
    auto cluster = std::make_unique<KubernetesCluster>(std::move(api), agents, name_space);
    TRY(cluster->find_nodes());
    return cluster;
}

}  // namespace axo::cli::connectivity
