// The control plane's part in policy: who is subject to it, which identities nodes and prefixes have.
#include "app/agent/control_plane.h"
#include "io/resources.h"

namespace axo {

policy::NamedPorts policy_named_ports(const std::vector<NamedPort>& ports) {
    policy::NamedPorts named;
    for (const NamedPort& port : ports) {
        const policy::Protocol protocol = port.protocol == "UDP"    ? policy::Protocol::kUdp
                                          : port.protocol == "SCTP" ? policy::Protocol::kSctp
                                                                    : policy::Protocol::kTcp;
        named[port.name].insert({protocol, port.port});
    }
    return named;
}

Status ControlPlane::start_policy() {
    const PolicyConfig& wanted = config_.policy;
    policy::ModuleSettings settings;
    settings.audit = wanted.audit;
    settings.engine = {.mode = wanted.mode, .allow_localhost = wanted.allow_localhost};
    settings.sources = {.network_policies = wanted.network_policy,
                        .cilium_network_policies = wanted.cilium_network_policy,
                        .cilium_clusterwide_network_policies = wanted.cilium_clusterwide_network_policy,
                        .context = {.cluster_name = config_.cluster_name,
                                    .default_local_cluster = wanted.default_local_cluster,
                                    .node_selector_labels = wanted.node_selector_labels,
                                    .icmp_rules = wanted.icmp_rules,
                                    .sctp = wanted.sctp,
                                    .extended_ip_protocols = wanted.extended_protocols,
                                    .host_firewall = wanted.host_firewall,
                                    .ipv4 = config_.ipv4,
                                    .ipv6 = config_.ipv6,
                                    .cluster_prefixes = node_state_.pod_cidrs}};
    policy_ = std::make_unique<policy::PolicyModule>(
        loop_, controllers_, *store_, std::move(settings), datapath_->policy(), datapath_->generations(),
        policy::PolicyModule::Callbacks{
            .prefixes =
                [this](const std::map<Prefix, IdentityId>& prefixes) {
                    IpcacheRows rows;
                    for (const auto& [prefix, id] : prefixes) rows.emplace(prefix, IpcacheRow{.identity = id});
                    ipcache_->claim("policy", std::move(rows));
                    (void)ipcache_->flush();  // failures stay with the reconciler
                },
            .api_server =
                [this](const std::set<IpAddress>& addresses) {
                    api_server_ = addresses;
                    const DatapathDecisions& decisions = datapath_->decisions();
                    LabelSet host = reserved_labels(identity::kHost);
                    if (addresses.contains(decisions.node_ipv4) || addresses.contains(decisions.node_ipv6))
                        host.merge(LabelSet::reserved("kube-apiserver"));
                    policy_->set_identity(identity::kHost, host);
                    for (const auto& [name, row] : nodes_->table().rows()) claim_node(name);
                },
            .host_changing = [this] { host_trial_->changing(); },
            .host_changed = [this] { host_trial_->changed(); },
            .rejected = [this](const std::string& where, const Error& error) { rejections_.reject(where, error); },
            .accepted = [this](const std::string& where) { rejections_.accept(where); },
        });
    host_trial_ = std::make_unique<HostTrial>(
        loop_, HostTrial::Callbacks{
                   .confirm = [this] { policy_->confirm_host(); },
                   .roll_back = [this](const std::string& why) { policy_->roll_back_host(why); },
                   .store_answers = [this] { return store_->reachable(); },
                   .ask_store =
                       [this](std::function<void()> done) {
                           store_questions_.spawn(store_->get(resources::kCiliumNode, ObjectKey{"", config_.node_name}),
                                                  [done = std::move(done)](const Result<Json>&) { done(); });
                       },
               });
    for (const IdentityId id : {identity::kHost, identity::kWorld, identity::kUnmanaged, identity::kHealth,
                                identity::kInit, identity::kRemoteNode, identity::kKubeApiServer, identity::kIngress,
                                identity::kWorldIpv4, identity::kWorldIpv6})
        policy_->set_identity(id, reserved_labels(id));
    TRY_ASSIGN(const auto present, datapath_->ipcache().list());
    std::map<Prefix, IdentityId> prefixes;
    for (const auto& [prefix, entry] : present) prefixes.emplace(prefix, entry.identity);
    policy_->restore_prefixes(prefixes);
    return {};
}

// nodeSelector of host policies matches these. nullopt: there is no Node object.
void ControlPlane::set_node_labels(std::optional<LabelSet> labels) {
    if (labels == node_labels_) return;
    node_labels_ = std::move(labels);
    local_node_.labels.clear();
    if (node_labels_) {
        for (const Label& label : *node_labels_) local_node_.labels.emplace(label.key, label.value);
    }
    update_service_nodes();
    if (hubble_) hubble_->set_node_labels(local_node_.labels);
    const EndpointRow* host = endpoints_ ? endpoints_->find_kind(EndpointKind::kHost) : nullptr;
    if (host != nullptr && config_.policy.host_firewall)
        (void)policy_->set_endpoint(host->id, policy_subject(*host), host->policy_audit);
}

LabelSet ControlPlane::labels_of(IdentityId id) const {
    if (const auto* known = policy_->engine().identities().find(id)) return known->labels;
    return identities_->labels_of(id);
}

policy::Subject ControlPlane::policy_subject(const EndpointRow& endpoint) {
    policy::Subject subject{.labels = endpoint.labels};
    if (endpoint.kind == EndpointKind::kHost) {
        subject.host = true;
        if (node_labels_) {
            subject.labels.merge(*node_labels_);
        } else if (nodes_->own()) {
            subject.labels.merge(LabelSet::from_map(nodes_->own()->metadata.labels, label_source::kK8s));
        }
        return subject;
    }
    if (endpoint.k8s_pod.empty()) return subject;
    if (const auto info = pods_->find({endpoint.k8s_namespace, endpoint.k8s_pod}))
        subject.named_ports = policy_named_ports(info->published.ports);
    return subject;
}

// A node's addresses, and which of them are the API server's.
void ControlPlane::claim_node(const std::string& name) {
    const NodeRow* node = nodes_->table().find(name);
    IpcacheRows rows = node == nullptr ? IpcacheRows{} : node_rows(ipcache_->settings(), *node);
    // The API server sends from whichever of its node's addresses the route says, through the tunnel from
    // cilium_host's.
    const bool api_server = std::ranges::any_of(rows, [this](const auto& entry) {
        return entry.first.is_host() && api_server_.contains(entry.first.address());
    });
    std::vector<IdentityId> taken;
    for (auto& [prefix, row] : rows) {
        if (row.identity != identity::kRemoteNode || !prefix.is_host()) continue;
        if (config_.policy.node_selector_labels && !node->labels.empty()) {
            LabelSet labels = LabelSet::from_map(node->labels, label_source::kNode);
            labels.merge(LabelSet::reserved("remote-node"));
            labels.insert({std::string(label_source::kK8s), std::string(label_key::kCluster), node->cluster});
            if (api_server) labels.merge(LabelSet::reserved("kube-apiserver"));
            taken.push_back(row.identity = policy_->take_node_identity(labels));
        } else if (api_server) {
            row.identity = identity::kKubeApiServer;
        }
    }
    // Known to every policy before an address has it.
    if (!taken.empty()) policy_->flush();
    ipcache_->claim("node/" + name, std::move(rows));
    (void)ipcache_->flush();
    taken.swap(node_identities_[name]);
    for (const IdentityId id : taken) policy_->give_back_node_identity(id);
}

}  // namespace axo
