#include "app/agent/hubble.h"

#include "app/agent/hubble_events.h"
#include "base/file.h"
#include "base/version.h"
#include "bpf/api/policy.h"
#include "features/monitor/event_json.h"
#include "hubble/core/workload.h"
#include "hubble/server/service.h"

namespace axo {

namespace {

// What a killed agent has learned since is lost; a stopped one keeps all.
constexpr std::chrono::seconds kKeepNamesEvery{15};

std::vector<std::string> label_texts(const std::map<std::string, std::string>& labels) {
    std::vector<std::string> texts;
    for (const auto& [key, value] : labels) texts.push_back(key + "=" + value);
    return texts;
}

// The labels that Cilium gives to what it derives from an object.
std::vector<std::string> policy_labels(const policy::Origin& origin) {
    const std::string prefix = "k8s:io.cilium.k8s.policy.";
    std::vector<std::string> labels{prefix + "derived-from=" + origin.kind, prefix + "name=" + origin.name};
    if (!origin.k8s_namespace.empty()) labels.push_back(prefix + "namespace=" + origin.k8s_namespace);
    if (!origin.uid.empty()) labels.push_back(prefix + "uid=" + origin.uid);
    return labels;
}

hubble::PolicyName policy_name(const policy::Origin& origin) {
    return {origin.kind, origin.k8s_namespace, origin.name, policy_labels(origin)};
}

std::int64_t rule_count(const policy::Policy& policy) {
    std::int64_t rules = 0;
    for (const policy::Spec& spec : policy.specs) rules += static_cast<std::int64_t>(spec.rules.size());
    return rules;
}

std::string host_port(const IpAddress& address, std::uint16_t port) {
    const std::string text = address.to_string();
    return (address.is_v6() ? "[" + text + "]" : text) + ":" + std::to_string(port);
}

// Whom pods ask about is nobody else's business.
axo::Status write_dns_names(const std::filesystem::path& path, const std::vector<hubble::DnsNames::Lookup>& lookups,
                            const hubble::EndpointOwners& owners) {
    return write_atomic(path, hubble::dns_state_text(lookups, owners), 0600);
}

}  // namespace

AgentHubble::AgentHubble(EventLoop& loop, const HubbleConfig& config, const std::string& cluster,
                         const std::string& node, Tables tables)
    : loop_(loop),
      config_(config),
      tables_(std::move(tables)),
      observer_({.cluster = cluster,
                 .node = node,
                 .node_labels = {},
                 .version = std::string("axoneme ") + kVersion,
                 .capacity = config.capacity},
                [this, alive = alive_](const hubble::RuleRef& rule) {
                    loop_.post([this, alive, rule] {
                        if (*alive) name_rule(rule);
                    });
                }) {
    events_lost_ = tables_.events_lost();
    serve_metrics();
    keep_history();
    observer_.set_sink([this](const hubble::FlowRecord& record) {
        if (metrics_) metrics_->count(record);
        if (history_) history_->add(record);
    });
    watch_tables();
    restore_dns_names();
    hubble_events::started(events_);
    start_exporters();
    serve();
    tick_ = loop_.every(std::chrono::seconds(1), [this] { look(); });
}

axo::Status AgentHubble::listen_on_any(const std::vector<IpAddress>& addresses,
                                       const std::function<axo::Status(const IpAddress&)>& listen) {
    axo::Status outcome;
    std::size_t listening = 0;
    for (const IpAddress& address : addresses) {
        auto one = listen(address);
        if (one)
            ++listening;
        else
            outcome = std::move(one);
    }
    // Of both families one may not be there.
    return listening != 0 ? axo::Status{} : outcome;
}

AgentHubble::~AgentHubble() {
    *alive_ = false;
}

void AgentHubble::flush_state() {
    if (auto kept = write_dns_names(config_.dns_state, observer_.names().dns_lookups(), endpoint_owners()); !kept)
        log_.warn("Names that pods were answered are not kept", {kept.error()});
}

hubble::EndpointOwners AgentHubble::endpoint_owners() const {
    hubble::EndpointOwners owners;
    for (const auto& [id, row] : tables_.endpoints.rows()) {
        std::string owner = row.cni_attachment_id();
        if (owner.empty()) owner = row.pod_name();
        if (!owner.empty()) owners.emplace(id.value, std::move(owner));
    }
    return owners;
}

void AgentHubble::restore_dns_names() {
    std::error_code error;
    if (!std::filesystem::exists(config_.dns_state, error)) return;
    auto text = read_file(config_.dns_state);
    if (!text) return log_.warn("Names that pods were answered are not known", {text.error()});
    auto lookups = hubble::parse_dns_state(*text, config_.dns_state.string(), endpoint_owners());
    if (!lookups) return log_.warn("Names that pods were answered are not known", {lookups.error()});
    observer_.names().restore_dns(*lookups);
    dns_kept_ = observer_.names().dns_changes();
}

void AgentHubble::keep_dns_names() {
    const auto now = std::chrono::steady_clock::now();
    const std::uint64_t changes = observer_.names().dns_changes();
    if (changes == dns_kept_ || now - dns_kept_at_ < kKeepNamesEvery) return;
    dns_kept_at_ = now;
    dns_kept_ = changes;
    loop_.run_blocking([path = config_.dns_state, lookups = observer_.names().dns_lookups(),
                        owners = endpoint_owners()] { return write_dns_names(path, lookups, owners); },
                       [](const axo::Status& status) {
                           if (!status)
                               Logger("hubble").warn("Names that pods were answered are not kept", {status.error()});
                       });
}

void AgentHubble::serve() {
    auto server = rpc::Server::start(hubble::make_methods(
        {.observer = observer_,
         .events = events_,
         .peers = peers_,
         .history = history_.get(),
         .address = config_.listen_addresses.empty() ? "unix://" + config_.socket_path.string()
                                                     : host_port(config_.listen_addresses.front(), config_.listen_port),
         .server_name = config_.tls && !config_.listen_addresses.empty()
                            ? hubble::peer_server_name(observer_.settings().cluster, observer_.settings().node)
                            : ""}));
    if (!server) {
        errors_[Part::kServer] = server.error().message;
        log_.error("Hubble does not serve", {server.error()});
        return;
    }
    server_ = std::move(*server);
    rpc::Server* wake = server_.get();
    observer_.ring().set_wake([wake] { wake->wake(); });
    events_.set_wake([wake] { wake->wake(); });
    peers_.set_wake([wake] { wake->wake(); });
    if (auto listening = server_->listen_unix(config_.socket_path.string(), 0660); !listening) {
        errors_[Part::kSocket] = listening.error().message;
        log_.error("Hubble's socket cannot be opened", {listening.error()});
    }
    if (config_.listen_addresses.empty()) return;
    if (config_.tls) {
        watch_certificates();
    } else {
        log_.warn("Hubble answers other nodes without TLS", {{"port", config_.listen_port}});
        listen();
    }
}

void AgentHubble::listen() {
    if (std::exchange(listening_, true)) return;
    const auto listening = listen_on_any(config_.listen_addresses, [this](const IpAddress& address) {
        return server_->listen_tcp(address, config_.listen_port, config_.tls);
    });
    if (listening) return;
    errors_[Part::kPort] = listening.error().message;
    log_.error("Hubble cannot be reached by other nodes", {listening.error()});
}

void AgentHubble::watch_certificates() {
    std::vector<std::filesystem::path> files{config_.certificate, config_.key};
    files.insert(files.end(), config_.client_cas.begin(), config_.client_cas.end());
    for (const std::filesystem::path& file : files) {
        certificate_watches_.push_back(
            std::make_unique<FileWatch>(loop_, file, [this](const Result<std::optional<std::string>>&) {
                // Certificate and key change one after the other.
                reload_ = loop_.after(std::chrono::milliseconds(200), [this] { load_certificates(); });
            }));
    }
}

void AgentHubble::load_certificates() {
    auto context =
        rpc::load_tls({.certificate = config_.certificate, .key = config_.key, .client_cas = config_.client_cas});
    if (!context) {
        // The ones before go on.
        errors_[Part::kCertificates] = context.error().message;
        log_.warn("Hubble's certificates cannot be used", {context.error()});
        return;
    }
    server_->set_tls(std::move(*context));
    errors_.erase(Part::kCertificates);
    listen();
}

void AgentHubble::watch_tables() {
    for (const IdentityId id : {identity::kHost, identity::kWorld, identity::kUnmanaged, identity::kHealth,
                                identity::kInit, identity::kRemoteNode, identity::kKubeApiServer, identity::kIngress,
                                identity::kWorldIpv4, identity::kWorldIpv6})
        observer_.names().set_identity(id.value, tables_.labels_of(id));
    identity_watch_ = tables_.identities.watch([this](const std::set<IdentityId>& changed) {
        for (const IdentityId id : changed) {
            if (const IdentityRow* row = tables_.identities.find(id)) {
                observer_.names().set_identity(id.value, row->labels);
            } else {
                observer_.names().remove_identity(id.value);
            }
        }
    });
    tables_.ipcache.claims().for_each(
        [this](const Prefix& prefix, const IpcacheRow& row) { ipcache_changed(prefix, &row); });
    tables_.ipcache.set_changed([this](const Prefix& prefix, const IpcacheRow* now) {
        ipcache_changed(prefix, now);
        hubble_events::ipcache_changed(events_, prefix, now);
    });
    endpoint_watch_ =
        tables_.endpoints.watch([this](const std::set<EndpointId>& changed) { endpoints_changed(changed); });
    frontend_watch_ =
        tables_.frontends.watch([this](const std::set<service::FrontendKey>& changed) { frontends_changed(changed); });
    node_watch_ = tables_.nodes.watch([this](const std::set<std::string>& changed) { nodes_changed(changed); });
}

void AgentHubble::ipcache_changed(const Prefix& prefix, const IpcacheRow* now) {
    if (now != nullptr &&
        !(now->identity.value >= identity::kClusterMin && now->identity.value <= identity::kClusterMax))
        observer_.names().set_identity(now->identity.value, tables_.labels_of(now->identity));
    if (prefix.is_host()) name_address(prefix.address(), now);
}

void AgentHubble::name_address(const IpAddress& address, const IpcacheRow* now) {
    const auto local = endpoint_of_.find(address);
    const std::uint32_t id = local == endpoint_of_.end() ? 0U : local->second.value;
    if (now != nullptr && !now->k8s_namespace.empty()) {
        observer_.names().set_address(address, {.endpoint_id = id,
                                                .identity = now->identity.value,
                                                .name_space = now->k8s_namespace,
                                                .pod = now->name,
                                                .workloads = workloads_of(now->k8s_namespace, now->name)});
        return;
    }
    // The node's own: no pod, but an endpoint with a number.
    const EndpointRow* endpoint = id == 0 ? nullptr : tables_.endpoints.find(local->second);
    if (endpoint != nullptr && endpoint->k8s_pod.empty()) {
        observer_.names().set_address(address, {.endpoint_id = id, .identity = endpoint->identity.value});
        return;
    }
    const auto gone = observer_.names().remove_address(address);
    if (gone && !gone->pod.empty()) forget_pod(gone->name_space, gone->pod);
}

std::vector<hubble::Workload> AgentHubble::workloads_of(const std::string& name_space, const std::string& pod) const {
    const auto objects = tables_.pods.objects({name_space, pod});
    if (objects && objects->pod != nullptr) {
        auto known = hubble::workload_of(*objects->pod);
        return known ? std::vector{std::move(*known)} : std::vector<hubble::Workload>{};
    }
    auto guessed = hubble::workload_by_name(pod);
    return guessed ? std::vector{std::move(*guessed)} : std::vector<hubble::Workload>{};
}

void AgentHubble::endpoints_changed(const std::set<EndpointId>& changed) {
    observer_.forget_interfaces();
    for (const EndpointId id : changed) {
        const EndpointRow* now = tables_.endpoints.find(id);
        const auto known = endpoints_.find(id);
        if (known != endpoints_.end()) {
            for (const IpAddress& ip : {known->second.ipv4, known->second.ipv6}) {
                // Another endpoint may have it already.
                const auto had = endpoint_of_.find(ip);
                if (had == endpoint_of_.end() || had->second != id) continue;
                if (now != nullptr && (ip == now->ipv4 || ip == now->ipv6)) continue;
                endpoint_of_.erase(had);
                name_address(ip, tables_.ipcache.claims().winner(Prefix::host(ip)));
            }
        }
        if (now == nullptr) {
            if (known == endpoints_.end()) continue;
            hubble_events::endpoint_gone(events_, known->second);
            endpoints_.erase(known);
            continue;
        }
        const bool ready = now->state == EndpointState::kReady;
        if (known == endpoints_.end()) hubble_events::endpoint_made(events_, *now);
        if (ready && (known == endpoints_.end() || known->second.state != EndpointState::kReady ||
                      known->second.labels != now->labels)) {
            const Error* error = tables_.policy.error(id);
            hubble_events::endpoint_regenerated(events_, *now, error == nullptr ? "" : error->message);
        }
        for (const IpAddress& ip : {now->ipv4, now->ipv6}) {
            if (!ip) continue;
            endpoint_of_[ip] = id;
            name_address(ip, tables_.ipcache.claims().winner(Prefix::host(ip)));
        }
        endpoints_.insert_or_assign(id, *now);
    }
}

void AgentHubble::frontends_changed(const std::set<service::FrontendKey>& changed) {
    for (const service::FrontendKey& key : changed) {
        const hubble::NameTable::Frontend frontend{key.address, key.port, key.protocol};
        const auto scope =
            key.scope == LB_SCOPE_EXTERNAL ? hubble::NameTable::Scope::kExternal : hubble::NameTable::Scope::kInternal;
        if (const service::FrontendRow* row = tables_.frontends.find(key)) {
            // The name is the row's own, kept by it.
            observer_.names().set_service(frontend, scope, hubble::ServiceRef(row->service, &row->service->name),
                                          row->id);
            hubble_events::service_upserted(events_, key, *row);
        } else if (const auto id = observer_.names().remove_service(frontend, scope)) {
            hubble_events::service_deleted(events_, *id);
        }
    }
}

void AgentHubble::nodes_changed(const std::set<std::string>& changed) {
    if (config_.listen_addresses.empty()) return;
    for (const std::string& name : changed) {
        const NodeRow* node = tables_.nodes.find(name);
        const std::string full = observer_.settings().cluster + "/" + name;
        if (node == nullptr) {
            peers_.remove(full);
            continue;
        }
        const IpAddress first = node->node_ip(config_.prefer_ipv6 ? Family::kIpv6 : Family::kIpv4);
        const IpAddress address = first ? first : node->node_ip(config_.prefer_ipv6 ? Family::kIpv4 : Family::kIpv6);
        if (!address) continue;
        peers_.set(full,
                   {.address = host_port(address, config_.listen_port),
                    .server_name = config_.tls ? hubble::peer_server_name(observer_.settings().cluster, name) : ""});
    }
}

void AgentHubble::set_node_labels(const std::map<std::string, std::string>& labels) {
    observer_.set_node_labels(label_texts(labels));
}

void AgentHubble::name_rule(const hubble::RuleRef& rule) {
    auto info = std::make_shared<hubble::RuleInfo>();
    info->revision = tables_.policy.revision();
    if (rule->cookie() == POLICY_COOKIE_CLOSED) {
        info->text = "the endpoint is closed: its policy does not fit, see axoneme status";
        rule->fill(std::move(info));
        return;
    }
    const auto known = tables_.policy.engine().rule(rule->cookie());
    if (!known) return;
    info->egress = known->direction == policy::Direction::kEgress;
    info->match_type = match_number(tables_.policy.match_of(*known));
    info->text = known->to_string();
    if (known->kind == policy::RuleInfo::Kind::kRule) {
        info->deny = known->deny;
        info->policies.push_back(policy_name(known->origin));
    } else if (known->kind == policy::RuleInfo::Kind::kDefaultDeny) {
        for (const policy::Origin& origin : known->enforcement.closed_by) info->policies.push_back(policy_name(origin));
    }
    rule->fill(std::move(info));
}

void AgentHubble::look() {
    keep_dns_names();
    const std::uint64_t lost = tables_.events_lost(), ring_lost = observer_.status().lost_ring;
    // Counted since the map was made; an agent's restart has nothing to do with it.
    if (lost > events_lost_) {
        observer_.report_lost(hubble::LostSource::kDatapathRing, lost - events_lost_);
        if (metrics_) metrics_->count_lost(hubble::LostSource::kDatapathRing, lost - events_lost_);
    }
    if (metrics_ && ring_lost > ring_lost_)
        metrics_->count_lost(hubble::LostSource::kHubbleRing, ring_lost - ring_lost_);
    events_lost_ = lost;
    ring_lost_ = ring_lost;
    const auto now = std::chrono::steady_clock::now();
    while (!gone_pods_.empty() && gone_pods_.front().first <= now) {
        const auto& [name_space, pod] = gone_pods_.front().second;
        metrics_->remove_pod(name_space, pod);
        gone_pods_.pop_front();
    }
    if (tables_.policy.revision() == policy_revision_) return;
    policy_revision_ = tables_.policy.revision();
    observer_.names().forget_rules();
    policies_changed();
}

void AgentHubble::policies_changed() {
    decltype(policies_) now;
    for (const auto& [key, row] : tables_.policy.sources().rows()) {
        if (!row.policy) continue;
        now.emplace(key, row.policy);
        const auto known = policies_.find(key);
        if (known != policies_.end() && known->second == row.policy) continue;
        hubble_events::policy_changed(events_, false, policy_labels(row.policy->origin), policy_revision_,
                                      rule_count(*row.policy));
    }
    for (const auto& [key, policy] : policies_) {
        if (!now.contains(key))
            hubble_events::policy_changed(events_, true, policy_labels(policy->origin), policy_revision_,
                                          rule_count(*policy));
    }
    policies_ = std::move(now);
}

}  // namespace axo
