#include "features/endpoint/module.h"

#include <random>

#include "features/endpoint/desired.h"

namespace axo {

namespace {

constexpr std::size_t kLogEntries = 64;  // per endpoint

const LabelSet& init_labels() {
    static const LabelSet labels = LabelSet::reserved("init");
    return labels;
}

std::unexpected<Error> deleted_meanwhile(EndpointId id) {
    return fail(Code::kNotFound, "endpoint " + id.to_string() + " was deleted while it was being made");
}

std::string name_of(const EndpointRow& endpoint) {
    return "endpoint " + endpoint.id.to_string() + (endpoint.k8s_pod.empty() ? "" : " (" + endpoint.pod_name() + ")");
}

}  // namespace

EndpointManager::EndpointManager(EventLoop& loop, ControllerRegistry& registry, EndpointSettings settings,
                                 EndpointDatapath& datapath, EndpointServices services)
    : loop_(loop),
      settings_(std::move(settings)),
      datapath_(datapath),
      services_(std::move(services)),
      table_(loop, "endpoints"),
      addresses_(loop, registry, "cilium_lxc", datapath.addresses()),
      devices_(loop, registry, "cilium_lxc_dev", datapath.devices()),
      writer_(loop, registry, settings_.state_dir),
      // Ids are not reused soon: logs and flows of a deleted endpoint would be taken for the new one's.
      next_id_(static_cast<std::uint16_t>(std::random_device{}() % 4000 + 1)),
      retry_(loop, registry, "endpoint-regeneration", [this] { return retry_pending(); }) {}

void EndpointManager::change(EndpointRow row, std::string message, bool ok) {
    auto& log = logs_[row.id];
    log.push_back({std::chrono::system_clock::now(), ok, std::move(message), row.state});
    if (log.size() > kLogEntries) log.pop_front();
    const EndpointId id = row.id;
    table_.upsert(id, std::move(row));
}

void EndpointManager::restore(const std::vector<Link>& links) {
    std::map<IfIndex, const Link*> by_index;
    for (const Link& link : links) by_index.emplace(link.index, &link);

    StoredEndpoints stored = read_endpoint_states(settings_.state_dir);
    for (const auto& rejected : stored.rejected) {
        log_.error("Endpoint state cannot be read; this endpoint is not restored, delete its pod or the file",
                   {{"path", rejected.path.string()}, rejected.error});
        rejected_state_.emplace(rejected.path.string(), rejected.error.message);
        const std::string directory = rejected.path.parent_path().filename();
        reserved_ids_.insert(EndpointId(static_cast<std::uint16_t>(std::stoul(directory))));
    }
    std::size_t restored = 0;
    for (EndpointRow& endpoint : stored.endpoints) {
        std::string gone;
        if (endpoint.kind != EndpointKind::kHost) {
            const auto link = by_index.find(endpoint.link);
            if (link == by_index.end() || link->second->name != endpoint.interface_name) {
                gone = "device " + endpoint.interface_name + " (index " + endpoint.link.to_string() + ") is gone";
            } else if (!endpoint.host_mac.is_zero() && link->second->mac != endpoint.host_mac) {
                gone = "device " + endpoint.interface_name + " has another MAC address";
            } else if (!endpoint.container_netns.empty()) {
                // Where the directory of namespaces is not ours to see, the device alone has to do. The recorded path
                // is the one of an agent in a pod (a mount of the host's folder); on a plain host the folder itself
                // counts.
                const std::filesystem::path path = endpoint.container_netns;
                const std::filesystem::path on_host = std::filesystem::path("/var/run/netns") / path.filename();
                std::error_code error;
                if (std::filesystem::exists(path.parent_path(), error) && !std::filesystem::exists(path, error) &&
                    !std::filesystem::exists(on_host, error)) {
                    gone = "network namespace " + path.string() + " is gone";
                }
            }
            if (gone.empty()) {
                if (auto claimed = services_.claim_addresses(endpoint); !claimed) gone = claimed.error().message;
            }
        }
        if (!gone.empty()) {
            log_.info("Endpoint of an earlier run is not restored",
                      {{"endpointID", endpoint.id.value}, {"k8sPodName", endpoint.pod_name()}, {"reason", gone}});
            writer_.remove(endpoint.id);
            if (auto detached = datapath_.detach(endpoint.id); !detached)
                log_.warn("Unable to detach programs", {{"endpointID", endpoint.id.value}, detached.error()});
            continue;
        }
        if (!endpoint.labels.empty()) services_.identity_known(endpoint.identity, endpoint.labels);
        if (endpoint.identity == identity::kInit && endpoint.kind == EndpointKind::kPod)
            unresolved_.insert(endpoint.id);
        table_.upsert(endpoint.id, endpoint);
        put_desired(endpoint);
        ++restored;
    }
    if (auto flushed = flush_maps(); !flushed) log_.warn("Endpoint maps are not complete", {flushed.error()});
    std::vector<EndpointId> known(reserved_ids_.begin(), reserved_ids_.end());
    const auto rows = table_.rows();
    for (const auto& [id, row] : rows) {
        known.push_back(id);
        EndpointRow endpoint = row;
        (void)services_.policy(endpoint);  // what an earlier run left stays in force until policies are known
        if (endpoint.kind != EndpointKind::kHost) {
            if (auto attached = datapath_.attach(endpoint); !attached) {
                endpoint.state = EndpointState::kNotReady;
                unattached_.insert(id);
                change(std::move(endpoint), "Unable to attach programs: " + attached.error().to_string(), false);
                retry_.trigger();
                continue;
            }
        }
        endpoint.state = EndpointState::kReady;
        services_.row_changed(endpoint);
        change(std::move(endpoint), "Restored");
    }
    if (auto pruned = datapath_.prune(known); !pruned)
        log_.warn("Unable to remove pins of endpoints that are gone", {pruned.error()});
    if (restored != 0 || !stored.rejected.empty()) {
        log_.info("Restored endpoints", {{"restored", restored}, {"failed", stored.rejected.size()}});
    }
    if (!unresolved_.empty()) retry_.trigger();
}

void EndpointManager::set_complete() {
    addresses_.set_complete();
    devices_.set_complete();
}

Status EndpointManager::check_conflicts(const EndpointRow& draft) const {
    for (const auto& [id, row] : table_.rows()) {
        if (draft.id.value != 0 && id == draft.id) return fail(Code::kAlreadyExists, name_of(row) + " already exists");
        if (!draft.container_id.empty() && row.cni_attachment_id() == draft.cni_attachment_id()) {
            return fail(Code::kAlreadyExists, "container " + draft.container_id + " interface " +
                                                  draft.container_interface + " already has " + name_of(row));
        }
        for (const IpAddress& address : {draft.ipv4, draft.ipv6}) {
            if (address && (row.ipv4 == address || row.ipv6 == address)) {
                return fail(Code::kAlreadyExists,
                            "address " + address.to_string() + " is already in use by " + name_of(row));
            }
        }
        if (draft.link.value != 0 && row.link == draft.link) {
            return fail(Code::kAlreadyExists, "interface " + draft.interface_name + " (index " +
                                                  draft.link.to_string() + ") already belongs to " + name_of(row));
        }
    }
    return {};
}

Result<EndpointId> EndpointManager::allocate_id() {
    for (int tries = 0; tries < 65535; ++tries) {
        const EndpointId id(next_id_);
        next_id_ = next_id_ == 65535 ? 1 : static_cast<std::uint16_t>(next_id_ + 1);
        if (table_.find(id) == nullptr && !reserved_ids_.contains(id)) return id;
    }
    return fail(Code::kResourceExhausted, "no free endpoint id: 65535 endpoints exist on this node");
}

// Labels from the Pod object and the identity for them; reserved:init as long as either is missing.
Task<EndpointRow> EndpointManager::with_identity(EndpointRow endpoint) {
    if (endpoint.kind == EndpointKind::kHost || endpoint.kind == EndpointKind::kHealth) {
        const bool host = endpoint.kind == EndpointKind::kHost;
        endpoint.identity = host ? identity::kHost : identity::kHealth;
        endpoint.labels = LabelSet::reserved(host ? "host" : "health");
        co_return endpoint;
    }
    endpoint.identity = identity::kInit;
    endpoint.labels = init_labels();
    if (endpoint.k8s_pod.empty()) co_return endpoint;
    const ObjectKey pod{endpoint.k8s_namespace, endpoint.k8s_pod};
    CO_AWAIT(const auto info, services_.fetch_pod(pod));
    if (!info) co_return endpoint;
    endpoint.info_labels = info->other;
    CO_AWAIT(const auto allocated, services_.identity_of(info->identity));
    if (!allocated) {
        log_.warn("No identity yet; the endpoint stays in reserved:init",
                  {{"endpointID", endpoint.id.value}, {"k8sPodName", endpoint.pod_name()}, allocated.error()});
        unresolved_.insert(endpoint.id);
        retry_.trigger();
        co_return endpoint;
    }
    endpoint.labels = info->identity;
    endpoint.identity = *allocated;
    unresolved_.erase(endpoint.id);
    co_return endpoint;
}

void EndpointManager::put_desired(const EndpointRow& endpoint) {
    for (auto& [address, entry] : address_entries(endpoint)) addresses_.put_desired(address, entry);
    if (auto entry = device_entry(endpoint)) devices_.put_desired(endpoint.link, *entry);
}

Status EndpointManager::flush_maps() {
    TRY(addresses_.flush());
    return devices_.flush();
}

// Maps first, then programs: a program that runs finds its endpoint.
Status EndpointManager::apply(EndpointRow& endpoint) {
    if (auto computed = services_.policy(endpoint); !computed)
        log_.warn("Endpoint is closed", {{"endpointID", endpoint.id.value}, computed.error()});
    put_desired(endpoint);
    TRY(flush_maps());
    TRY(datapath_.attach(endpoint));
    datapath_.bump(endpoint);
    services_.row_changed(endpoint);
    return {};
}

void EndpointManager::withdraw(const EndpointRow& endpoint) {
    const auto report = [&](const Status& status) {
        if (!status)
            log_.warn("Unable to remove an endpoint completely; it is retried",
                      {{"endpointID", endpoint.id.value}, status.error()});
    };
    if (endpoint.kind != EndpointKind::kHost) report(datapath_.detach(endpoint.id));
    for (const IpAddress& address : {endpoint.ipv4, endpoint.ipv6}) {
        if (!address) continue;
        const auto entry = addresses_.desired().find(address);
        if (entry != addresses_.desired().end() && entry->second.id == endpoint.id) addresses_.remove_desired(address);
    }
    const auto device = devices_.desired().find(endpoint.link);
    if (device != devices_.desired().end() && device->second.id == endpoint.id) devices_.remove_desired(endpoint.link);
    report(flush_maps());
    services_.row_removed(endpoint);
    datapath_.bump(endpoint);
    std::set<IpAddress> addresses;
    if (endpoint.ipv4) addresses.insert(endpoint.ipv4);
    if (endpoint.ipv6) addresses.insert(endpoint.ipv6);
    if (!addresses.empty()) datapath_.forget_flows(addresses);
}

void EndpointManager::persist(const EndpointRow& endpoint, EndpointStateWriter::Done done) {
    writer_.write(endpoint.id, endpoint_to_state(endpoint), std::move(done));
}

void EndpointManager::create(EndpointRow draft, Done done) {
    if (auto free = check_conflicts(draft); !free) {
        done(forward_error(free.error()));
        return;
    }
    if (draft.id.value == 0) {
        auto id = allocate_id();
        if (!id) {
            done(forward_error(id.error()));
            return;
        }
        draft.id = *id;
    }
    if (auto claimed = services_.claim_addresses(draft); !claimed) {
        done(forward_error(claimed.error()));
        return;
    }
    tasks_.spawn(make(std::move(draft)), [this, done = std::move(done)](Result<EndpointRow> made) mutable {
        if (!made) return done(std::move(made));
        // A disk that cannot take the file does not keep the pod from working; status tells.
        persist(*made, [this, id = made->id, done = std::move(done)](const Status&) {
            if (const EndpointRow* row = table_.find(id)) {
                done(*row);
            } else {
                done(deleted_meanwhile(id));
            }
        });
    });
}

bool EndpointManager::goes_on(const Creation& creation) const {
    const auto current = creations_.find(creation.id);
    return current != creations_.end() && current->second == creation.number;
}

Task<Result<EndpointRow>> EndpointManager::make(EndpointRow endpoint) {
    const Creation creation{endpoint.id, ++last_creation_};
    creations_.insert_or_assign(creation.id, creation.number);
    endpoint.state = EndpointState::kWaitingForIdentity;
    endpoint.identity = identity::kInit;
    endpoint.labels = init_labels();
    logs_.erase(endpoint.id);
    change(endpoint, "Endpoint creation");
    CO_AWAIT(EndpointRow resolved, with_identity(std::move(endpoint)));
    if (!goes_on(creation)) {
        if (!creations_.contains(creation.id)) unresolved_.erase(creation.id);
        co_return deleted_meanwhile(creation.id);
    }
    // What was set meanwhile counts.
    resolved.policy_audit = table_.find(creation.id)->policy_audit;
    CO_TRY(put_into_force(resolved));
    // The pod may have changed, or only been heard of, while the store was asked.
    const ObjectKey pod{resolved.k8s_namespace, resolved.k8s_pod};
    const auto now = resolved.k8s_pod.empty() ? std::nullopt : services_.pod_labels(pod);
    if (now && now->identity != resolved.labels && !unresolved_.contains(resolved.id)) pod_changed(pod);
    co_return resolved;
}

Status EndpointManager::put_into_force(EndpointRow& endpoint) {
    endpoint.state = EndpointState::kRegenerating;
    change(endpoint, "Identity " + endpoint.identity.to_string());
    if (endpoint.kind != EndpointKind::kHost) {
        if (auto applied = apply(endpoint); !applied) {
            const Error error = applied.error();
            log_.error("Endpoint cannot be made",
                       {{"endpointID", endpoint.id.value}, {"k8sPodName", endpoint.pod_name()}, error});
            endpoint.state = EndpointState::kDisconnecting;
            withdraw(endpoint);
            forget(endpoint.id);
            return forward_error(Error(error).with_context(name_of(endpoint)));
        }
    } else if (auto computed = services_.policy(endpoint); !computed) {
        log_.warn("The node's own policy cannot be put into force", {computed.error()});
    }
    endpoint.state = EndpointState::kReady;
    change(endpoint, "Successfully regenerated endpoint");
    log_.info("New endpoint", {{"endpointID", endpoint.id.value},
                               {"k8sPodName", endpoint.pod_name()},
                               {"ipv4", endpoint.ipv4.to_string()},
                               {"ipv6", endpoint.ipv6.to_string()},
                               {"identity", endpoint.identity.value}});
    return {};
}

void EndpointManager::forget(EndpointId id) {
    grace_.erase(id);
    unresolved_.erase(id);
    unattached_.erase(id);
    logs_.erase(id);
    creations_.erase(id);
    table_.erase(id);
}

Status EndpointManager::remove(EndpointId id) {
    const EndpointRow* row = table_.find(id);
    if (row == nullptr) return fail(Code::kNotFound, "endpoint " + id.to_string() + " does not exist");
    EndpointRow endpoint = *row;
    endpoint.state = EndpointState::kDisconnecting;
    change(endpoint, "Endpoint deletion");
    withdraw(endpoint);
    services_.release_addresses(endpoint);
    writer_.remove(id);
    if (endpoint.kind == EndpointKind::kPod && !endpoint.interface_name.empty()) {
        datapath_.remove_device(endpoint, [log = log_, endpoint](const Status& removed) {
            if (!removed) {
                log.warn("The interface of a deleted endpoint remains",
                         {{"endpointID", endpoint.id.value}, {"interface", endpoint.interface_name}, removed.error()});
            }
        });
    }
    forget(id);
    log_.info("Removed endpoint", {{"endpointID", id.value}, {"k8sPodName", endpoint.pod_name()}});
    return {};
}

std::size_t EndpointManager::remove_container(const std::string& container_id) {
    std::vector<EndpointId> found;
    for (const auto& [id, row] : table_.rows()) {
        if (!container_id.empty() && row.container_id == container_id) found.push_back(id);
    }
    for (const EndpointId id : found) (void)remove(id);
    return found.size();
}

Status EndpointManager::set_policy_audit(EndpointId id, bool audit) {
    const EndpointRow* row = table_.find(id);
    if (row == nullptr) return fail(Code::kNotFound, "endpoint " + id.to_string() + " does not exist");
    if (row->policy_audit == audit) return {};
    EndpointRow endpoint = *row;
    endpoint.policy_audit = audit;
    persist(endpoint);
    table_.upsert(id, endpoint);
    return services_.policy(endpoint);
}

Status EndpointManager::regenerate(EndpointId id) {
    const EndpointRow* row = table_.find(id);
    if (row == nullptr) return fail(Code::kNotFound, "endpoint " + id.to_string() + " does not exist");
    EndpointRow endpoint = *row;
    if (endpoint.kind == EndpointKind::kHost) return {};
    endpoint.state = EndpointState::kRegenerating;
    if (auto applied = apply(endpoint); !applied) {
        endpoint.state = EndpointState::kNotReady;
        change(std::move(endpoint), "Regeneration failed: " + applied.error().to_string(), false);
        unattached_.insert(id);
        retry_.trigger();
        return applied;
    }
    endpoint.state = EndpointState::kReady;
    unattached_.erase(id);
    change(std::move(endpoint), "Successfully regenerated endpoint");
    return {};
}

void EndpointManager::pod_changed(const ObjectKey& pod) {
    for (const auto& [id, row] : table_.rows()) {
        if (row.k8s_namespace != pod.name_space || row.k8s_pod != pod.name || row.k8s_pod.empty()) continue;
        const auto info = services_.pod_labels(pod);
        // A pod that is being deleted keeps its identity until its endpoint goes.
        if (!info) continue;
        if (row.identity != identity::kInit && info->identity == row.labels) {
            grace_.erase(id);
            (void)services_.policy(row);  // its named ports
            if (info->other != row.info_labels) {
                EndpointRow changed = row;
                changed.info_labels = info->other;
                persist(changed);
                table_.upsert(id, std::move(changed));
            }
            continue;
        }
        // Nobody relies on reserved:init; a real identity is only exchanged once the labels have settled.
        const Duration delay = row.identity == identity::kInit ? Duration{0} : settings_.identity_grace;
        grace_.insert_or_assign(id, loop_.after(delay, [this, id = id] { labels_settled(id); }));
    }
}

void EndpointManager::labels_settled(EndpointId id) {
    grace_.erase(id);
    tasks_.spawn(change_labels(id), [this, id](const Status& changed) {
        if (changed) return;
        log_.warn("Unable to allocate the endpoint's new identity; the old one stays in force",
                  {{"endpointID", id.value}, changed.error()});
        unresolved_.insert(id);
        retry_.trigger();
    });
}

// An error: there is no identity for its labels yet.
Task<Status> EndpointManager::change_labels(EndpointId id) {
    LabelSet asked;
    IdentityId allocated;
    while (true) {
        const EndpointRow* row = table_.find(id);
        // One that is being made asks for itself.
        if (row == nullptr || row->k8s_pod.empty() || row->state == EndpointState::kWaitingForIdentity) {
            unresolved_.erase(id);
            co_return Status{};
        }
        const auto info = services_.pod_labels({row->k8s_namespace, row->k8s_pod});
        // Without a pod: the watch will bring it.
        if (!info || (row->identity != identity::kInit && info->identity == row->labels)) {
            unresolved_.erase(id);
            co_return Status{};
        }
        if (allocated.value == 0 || info->identity != asked) {
            asked = info->identity;  // they may change while the store is asked
            CO_TRY_ASSIGN(allocated, services_.identity_of(asked));
            continue;
        }
        unresolved_.erase(id);
        take_identity(*row, *info, allocated);
        co_return Status{};
    }
}

void EndpointManager::take_identity(const EndpointRow& row, const PodLabels::Info& info, IdentityId allocated) {
    EndpointRow endpoint = row;
    endpoint.labels = info.identity;
    endpoint.info_labels = info.other;
    const IdentityId old = std::exchange(endpoint.identity, allocated);
    table_.upsert(endpoint.id, endpoint);
    if (auto done = regenerate(endpoint.id); !done) {
        log_.warn("Endpoint's new identity is not in the datapath yet",
                  {{"endpointID", endpoint.id.value}, done.error()});
    }
    persist(endpoint);
    log_.info("Identity of endpoint changed", {{"endpointID", endpoint.id.value},
                                               {"oldIdentity", old.value},
                                               {"identity", endpoint.identity.value},
                                               {"identityLabels", endpoint.labels.to_string()}});
}

Task<Status> EndpointManager::retry_pending() {
    Status first;
    const std::set<EndpointId> unattached = unattached_;
    for (const EndpointId id : unattached) {
        if (auto done = regenerate(id); !done && first) first = done;
    }
    const std::set<EndpointId> unresolved = unresolved_;
    for (const EndpointId id : unresolved) {
        CO_AWAIT(Status done, change_labels(id));
        if (!done && first) first = std::move(done);
    }
    co_return first;
}

void EndpointManager::set_host_addresses(const std::set<IpAddress>& addresses) {
    for (const auto& [address, entry] : host_address_entries(host_addresses_)) {
        if (!addresses.contains(address)) addresses_.remove_desired(address);
    }
    host_addresses_ = addresses;
    for (auto& [address, entry] : host_address_entries(addresses)) {
        // A pod's address that somebody also put on the node stays the pod's.
        const auto taken = addresses_.desired().find(address);
        if (taken == addresses_.desired().end() || taken->second.host) addresses_.put_desired(address, entry);
    }
}

}  // namespace axo
