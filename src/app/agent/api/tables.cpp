// Tables as the CLI lists them: identities, addresses, nodes, maps; and the stream of events.
#include <unistd.h>

#include <charconv>

#include "app/agent/api/api.h"
#include "maps/endpoint_map.h"
#include "maps/ipcache_map.h"

namespace axo {

namespace {

template <class Key, class Value>
Json cache_json(const Reconciler<Key, Value>& reconciler, const std::function<std::string(const Key&)>& key,
                const std::function<std::string(const Value&)>& value) {
    Json cache = Json::array();
    for (const auto& [k, v] : reconciler.desired()) {
        Json entry{{"key", key(k)}, {"value", value(v)}, {"desired-action", "ok"}};
        if (const auto error = reconciler.errors().find(k); error != reconciler.errors().end()) {
            entry["desired-action"] = "insert";
            entry["last-error"] = error->second.message;
        }
        cache.push_back(std::move(entry));
    }
    for (const auto& [k, error] : reconciler.errors()) {
        if (reconciler.desired().contains(k)) continue;
        cache.push_back({{"key", key(k)}, {"value", ""}, {"desired-action", "delete"}, {"last-error", error.message}});
    }
    return cache;
}

std::string device_text(const DeviceEndpoint& endpoint) {
    return "id=" + endpoint.id.to_string() + " sec_id=" + endpoint.identity.to_string() +
           " ipv4=" + endpoint.ipv4.to_string() + " ipv6=" + endpoint.ipv6.to_string() +
           " mac=" + endpoint.mac.to_upper_string() + " nodemac=" + endpoint.node_mac.to_upper_string();
}

// Query values can be given several times or comma-separated; the server keeps one string.
std::set<std::string> words(const std::string& text) {
    std::set<std::string> all;
    std::size_t start = 0;
    while (start <= text.size()) {
        const std::size_t comma = std::min(text.find(',', start), text.size());
        if (comma > start) all.insert(text.substr(start, comma - start));
        start = comma + 1;
    }
    return all;
}

}  // namespace

Result<Json> AgentApi::map_json(const std::string& name) {
    Json map{{"path", plane_.config_.datapath.paths.map(name)}};
    if (name == map_name::kEndpoints) {
        map["cache"] = cache_json<IpAddress, LocalEndpoint>(plane_.endpoints_->addresses(), EndpointMap::print_key,
                                                            EndpointMap::print);
    } else if (name == map_name::kEndpointDevices) {
        map["cache"] = cache_json<IfIndex, DeviceEndpoint>(
            plane_.endpoints_->devices(), [](const IfIndex& link) { return link.to_string(); }, device_text);
    } else if (name == map_name::kIpcache || name == "cilium_ipcache") {
        map["path"] = plane_.config_.datapath.paths.map(map_name::kIpcache);
        map["cache"] = cache_json<Prefix, IpcacheEntry>(
            plane_.ipcache_->entries(), [](const Prefix& prefix) { return prefix.to_string(); }, IpcacheMap::print);
    } else {
        auto usage = plane_.datapath_->map_usage();
        if (!usage) return forward_error(std::move(usage).error());
        const bool known =
            std::ranges::any_of(*usage, [&](const Datapath::MapUsage& entry) { return entry.name == name; });
        if (!known) return fail(Code::kNotFound, "map " + name + " does not exist");
    }
    return map;
}

void AgentApi::monitor(const Call& call) {
    MonitorFilter filter;
    filter.types = words(call.request.query_value("type"));
    for (const std::string& type : filter.types) {
        if (type != "drop" && type != "trace" && type != "policy-verdict")
            return call.fail(400, "type '" + type + "': accepted: drop, trace, policy-verdict");
    }
    for (const auto& [key, ids] :
         {std::pair{"from", &filter.from}, std::pair{"to", &filter.to}, std::pair{"related-to", &filter.related}}) {
        for (const std::string& word : words(call.request.query_value(key))) {
            std::uint16_t id = 0;
            const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
            if (error != std::errc{} || end != word.data() + word.size())
                return call.fail(400, std::string(key) + " '" + word + "': accepted: endpoint ids");
            ids->insert(id);
        }
    }
    const Json start{{"type", "start"},
                     {"cpus", ::sysconf(_SC_NPROCESSORS_CONF)},
                     {"ring-bytes", plane_.config_.datapath.event_ring_bytes}};
    plane_.monitor_->subscribe(std::move(filter), start, call.responder);
}

void AgentApi::add_table_routes() {
    add("GET", "/v1/identity", [this](const Call& call) {
        const Json wanted = Json::parse(call.request.body, nullptr, false);
        Json all = Json::array();
        const auto add_one = [&](IdentityId id, const LabelSet& labels) {
            if (wanted.is_array()) {
                for (const Json& label : wanted) {
                    if (!label.is_string() || !labels.contains(Label::parse(label.get<std::string>()))) return;
                }
            }
            all.push_back(identity_json(id, labels));
        };
        for (std::uint32_t id = 1; id < identity::kClusterMin; ++id) {
            const LabelSet labels = reserved_labels(IdentityId(id));
            if (!labels.empty()) add_one(IdentityId(id), labels);
        }
        for (const auto& [id, row] : plane_.identities_->table().rows()) add_one(id, row.labels);
        // Those of prefixes and of nodes, which only this node knows.
        std::map<IdentityId, LabelSet> local;
        for (const auto& [id, slot] : plane_.policy_->engine().identities().identities()) {
            if (id.value >> 24 != 0) local.emplace(id, plane_.labels_of(id));
        }
        for (const auto& [id, labels] : local) add_one(id, labels);
        call.answer(200, all);
    });
    add("GET", "/v1/identity/endpoints", [this](const Call& call) {
        std::map<IdentityId, std::size_t> users;
        for (const auto& [id, row] : plane_.endpoints_->table().rows()) ++users[row.identity];
        Json all = Json::array();
        for (const auto& [id, count] : users)
            all.push_back({{"identity", identity_json(id, plane_.labels_of(id))}, {"refCount", count}});
        call.answer(200, all);
    });
    add("GET", "/v1/identity/{}", [this](const Call& call) {
        std::uint32_t id = 0;
        const std::string& text = call.parameters[0];
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
        if (error != std::errc{} || end != text.data() + text.size())
            return call.fail(400, "identity '" + text + "': accepted: a number");
        const LabelSet labels = plane_.labels_of(IdentityId(id));
        if (labels.empty()) return call.fail(404, "identity " + text + " does not exist");
        call.answer(200, identity_json(IdentityId(id), labels));
    });
    add("GET", "/v1/ip", [this](const Call& call) {
        Prefix only;
        if (const std::string text = call.request.query_value("cidr"); !text.empty()) {
            auto parsed = Prefix::parse(text);
            if (!parsed) return call.fail(400, "cidr '" + text + "': accepted: an address or a CIDR");
            only = *parsed;
        }
        Json all = Json::array();
        plane_.ipcache_->claims().for_each([&](const Prefix& prefix, const IpcacheRow& row) {
            if (only && !(prefix == only)) return;
            Json entry{{"cidr", prefix.to_string()},
                       {"identity", row.identity.value},
                       {"hostIP", row.host_ip ? row.host_ip.to_string() : "0.0.0.0"},
                       {"encryptKey", 0},
                       {"metadata", {{"source", ipcache_source_text(row.source)}}}};
            put_nonempty(entry["metadata"], "namespace", row.k8s_namespace);
            put_nonempty(entry["metadata"], "name", row.name);
            all.push_back(std::move(entry));
        });
        if (only && all.empty()) return call.fail(404, "no entry for " + only.to_string());
        call.answer(200, all);
    });
    add("GET", "/v1/cluster/nodes", [this](const Call& call) {
        Json nodes = Json::array();
        for (const auto& [name, row] : plane_.nodes_->table().rows()) nodes.push_back(node_element(row));
        call.answer(200, {{"self", plane_.config_.cluster_name + "/" + plane_.config_.node_name},
                          {"nodes-added", std::move(nodes)},
                          {"nodes-removed", Json::array()},
                          {"client-id", 0}});
    });
    // Node ids serve encryption and node routing in Cilium; here nodes are numbered by name for display.
    add("GET", "/v1/node/ids", [this](const Call& call) {
        Json all = Json::array();
        int next = 0;
        for (const auto& [name, row] : plane_.nodes_->table().rows()) {
            Json ips = Json::array();
            for (const NodeAddress& address : row.addresses) ips.push_back(address.ip.to_string());
            all.push_back({{"id", row.local ? 0 : ++next}, {"ips", std::move(ips)}});
        }
        call.answer(200, all);
    });
    add("GET", "/v1/map", [this](const Call& call) {
        auto usage = plane_.datapath_->map_usage();
        if (!usage) return call.fail(usage.error());
        Json maps = Json::array();
        for (const auto& entry : *usage) {
            auto map = map_json(entry.name);
            maps.push_back(map ? std::move(*map) : Json{{"path", plane_.config_.datapath.paths.map(entry.name)}});
        }
        call.answer(200, {{"maps", std::move(maps)}});
    });
    add("GET", "/v1/map/{}", [this](const Call& call) {
        auto map = map_json(call.parameters[0]);
        if (!map) return call.fail(map.error());
        call.answer(200, *map);
    });
    add("GET", "/v1/monitor", [this](const Call& call) { monitor(call); });
}

}  // namespace axo
