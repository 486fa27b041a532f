#include "app/cli/tables.h"

#include <cstdio>

#include "app/cli/output/tab_writer.h"
#include "base/ip.h"

namespace axo::cli {
namespace {

std::vector<const Json*> sorted_by_number(const Json& list, const char* key) {
    std::vector<const Json*> rows;
    if (!list.is_array()) return rows;
    for (const Json& row : list) rows.push_back(&row);
    std::stable_sort(rows.begin(), rows.end(),
                     [&](const Json* a, const Json* b) { return number(*a, key) < number(*b, key); });
    return rows;
}

// "ingress", "egress", "both", with "audit-" in front -> the word for one direction.
std::string enforcement(const std::string& policy, const char* direction) {
    const bool audit = policy.starts_with("audit-");
    const std::string which = audit ? policy.substr(6) : policy;
    if (which != "both" && which != direction) return "Disabled";
    return audit ? "Disabled (Audit)" : "Enabled";
}

std::string first_address(const Json& endpoint, const char* family) {
    const Json& pairs = field(endpoint, "status.networking.addressing");
    if (!pairs.is_array()) return {};
    for (const Json& pair : pairs) {
        if (std::string address = text(pair, family); !address.empty()) return address;
    }
    return {};
}

}  // namespace

bool address_less(const std::string& a, const std::string& b) {
    const auto left = Prefix::parse(a);
    const auto right = Prefix::parse(b);
    if (left && right) return *left < *right;
    if (left || right) return left.has_value();
    return a < b;
}

std::string endpoint_list_text(const Json& endpoints, bool headers) {
    TabWriter w;
    if (headers) {
        w.closed_row({"ENDPOINT", "POLICY (ingress)", "POLICY (egress)", "IDENTITY", "LABELS (source:key[=value])",
                      "IPv6", "IPv4", "STATUS"});
        w.closed_row({"", "ENFORCEMENT", "ENFORCEMENT", "", "", "", "", ""});
    }
    for (const Json* endpoint : sorted_by_number(endpoints, "id")) {
        const Json& identity = field(*endpoint, "status.identity");
        std::vector<std::string> labels = texts(identity, "labels");
        std::sort(labels.begin(), labels.end());
        const std::string policy = text(*endpoint, "status.policy.realized.policy-enabled");
        w.closed_row({text(*endpoint, "id"), enforcement(policy, "ingress"), enforcement(policy, "egress"),
                      identity.is_object() ? text(identity, "id") : "<no label id>",
                      labels.empty() ? (identity.is_object() ? "no labels" : "") : labels[0],
                      first_address(*endpoint, "ipv6"), first_address(*endpoint, "ipv4"),
                      text(*endpoint, "status.state")});
        for (std::size_t i = 1; i < labels.size(); ++i) w.closed_row({"", "", "", "", labels[i], "", "", ""});
    }
    return w.str();
}

std::string endpoint_log_text(const Json& log) {
    TabWriter w;
    w << "Timestamp\tStatus\tState\tMessage\n";
    if (log.is_array()) {
        for (const Json& entry : log)
            w.row({text(entry, "timestamp"), text(entry, "code") == "ok" ? "OK" : "Failed", text(entry, "state"),
                   text(entry, "message")});
    }
    return w.str();
}

std::string endpoint_health_text(const Json& health) {
    TabWriter w;
    w << "Overall Health:\t" + text(health, "overallHealth") + "\n";
    w << "BPF Health:\t" + text(health, "bpf") + "\n";
    w << "Policy Health:\t" + text(health, "policy") + "\n";
    w << std::string("Connected:\t") + (flag(health, "connected") ? "yes" : "no") + "\n";
    return w.str();
}

std::string endpoint_labels_text(const Json& labels) {
    TabWriter w;
    for (const auto& [key, state] :
         {std::pair{"status.security-relevant", "Enabled"}, std::pair{"status.disabled", "Disabled"}}) {
        std::vector<std::string> list = texts(labels, key);
        std::sort(list.begin(), list.end());
        for (const std::string& label : list) w << label + "\t" + state + "\n";
    }
    return w.str();
}

std::string endpoint_config_text(const Json& configuration) {
    std::map<std::string, std::string> options;
    for (const char* section : {"immutable", "realized.options"}) {
        const Json& values = field(configuration, section);
        if (!values.is_object()) continue;
        for (const auto& [key, value] : values.items())
            options[key] = value.is_string() ? value.get<std::string>() : value.dump();
    }
    std::string out;
    for (const auto& [key, value] : options) {
        char line[256];
        std::snprintf(line, sizeof(line), "%-34s: %s\n", key.c_str(), value.c_str());
        out += line;
    }
    return out;
}

std::string identity_list_text(const Json& identities, bool counts) {
    TabWriter w;
    w << (counts ? "ID\tLABELS\tREFCOUNT\n" : "ID\tLABELS\n");
    for (const Json* entry : sorted_by_number(identities, counts ? "identity.id" : "id")) {
        const Json& identity = counts ? field(*entry, "identity") : *entry;
        const std::vector<std::string> labels = texts(identity, "labels");
        w << text(identity, "id") + "\t" + (labels.empty() ? "" : labels[0]) +
                 (counts ? "\t" + text(*entry, "refCount") : "") + "\n";
        for (std::size_t i = 1; i < labels.size(); ++i) w << "\t" + labels[i] + (counts ? "\t\n" : "\n");
    }
    return w.str();
}

std::string node_list_text(const Json& cluster_nodes) {
    TabWriter w;
    w << "Name\tIPv4 Address\tEndpoint CIDR\tIPv6 Address\tEndpoint CIDR\tSource\n";
    const Json& nodes = field(cluster_nodes, "nodes-added");
    std::vector<const Json*> rows;
    if (nodes.is_array()) {
        for (const Json& node : nodes) rows.push_back(&node);
    }
    std::sort(rows.begin(), rows.end(),
              [](const Json* a, const Json* b) { return text(*a, "name") < text(*b, "name"); });
    for (const Json* node : rows) {
        w.row({text(*node, "name"), text(*node, "primary-address.ipv4.ip"),
               text(*node, "primary-address.ipv4.alloc-range"), text(*node, "primary-address.ipv6.ip"),
               text(*node, "primary-address.ipv6.alloc-range"), text(*node, "source")});
    }
    return w.str();
}

std::string node_id_list_text(const Json& node_ids) {
    TabWriter w;
    w << "NODE ID\tIP ADDRESSES\n";
    for (const Json* node : sorted_by_number(node_ids, "id")) {
        std::vector<std::string> ips = texts(*node, "ips");
        std::sort(ips.begin(), ips.end(), address_less);
        w << text(*node, "id") + "\t" + (ips.empty() ? "" : ips[0]) + "\n";
        for (std::size_t i = 1; i < ips.size(); ++i) w << "\t" + ips[i] + "\n";
    }
    return w.str();
}

IdentityNames identity_names(const Json& identities) {
    IdentityNames names;
    if (!identities.is_array()) return names;
    for (const Json& identity : identities) names[number(identity, "id")] = texts(identity, "labels");
    return names;
}

namespace {

std::vector<std::string> names_of(std::int64_t identity, const IdentityNames& names) {
    if (const auto it = names.find(identity); it != names.end() && !it->second.empty()) return it->second;
    if (const std::string name = reserved_identity_name(identity); !name.empty()) return {"reserved:" + name};
    return {std::to_string(identity)};
}

std::vector<const Json*> sorted_by_prefix(const Json& entries) {
    std::vector<const Json*> rows;
    if (!entries.is_array()) return rows;
    for (const Json& entry : entries) rows.push_back(&entry);
    std::sort(rows.begin(), rows.end(),
              [](const Json* a, const Json* b) { return address_less(text(*a, "cidr"), text(*b, "cidr")); });
    return rows;
}

}  // namespace

std::string ip_list_text(const Json& entries, const IdentityNames& names, bool numeric, bool verbose) {
    TabWriter w(5, 3);
    w << (verbose ? "IP\tIDENTITY\tSOURCE\tHOST\tENCRYPT_KEY\n" : "IP\tIDENTITY\tSOURCE\n");
    for (const Json* entry : sorted_by_prefix(entries)) {
        const std::int64_t identity = number(*entry, "identity");
        const std::vector<std::string> labels =
            numeric ? std::vector{std::to_string(identity)} : names_of(identity, names);
        std::string line = text(*entry, "cidr") + "\t" + labels[0] + "\t" + text(*entry, "metadata.source");
        if (verbose) line += "\t" + text(*entry, "hostIP") + "\t" + std::to_string(number(*entry, "encryptKey"));
        w << line + "\n";
        for (std::size_t i = 1; i < labels.size(); ++i) w << "\t" + labels[i] + "\t\n";
    }
    return w.str();
}

std::string ip_get_text(const Json& entries, const IdentityNames& names) {
    TabWriter w(5, 3);
    w << "IP\tHOST\tIDENTITY\tPOD\tNAMESPACE\n";
    for (const Json* entry : sorted_by_prefix(entries)) {
        const std::vector<std::string> labels = names_of(number(*entry, "identity"), names);
        w.row({text(*entry, "cidr"), text(*entry, "hostIP"), labels[0], text(*entry, "metadata.name"),
               text(*entry, "metadata.namespace")});
        for (std::size_t i = 1; i < labels.size(); ++i) w.row({"", "", labels[i], "", ""});
    }
    return w.str();
}

std::string map_list_text(const Json& maps) {
    TabWriter w;
    w << "Name\tNum entries\tNum errors\tCache enabled\n";
    const Json& list = field(maps, "maps");
    std::vector<const Json*> rows;
    if (list.is_array()) {
        for (const Json& map : list) rows.push_back(&map);
    }
    const auto name = [](const Json& map) {
        const std::string path = text(map, "path");
        return path.substr(path.rfind('/') + 1);
    };
    std::sort(rows.begin(), rows.end(), [&](const Json* a, const Json* b) { return name(*a) < name(*b); });
    for (const Json* map : rows) {
        const Json& cache = field(*map, "cache");
        std::size_t errors = 0;
        if (cache.is_array())
            errors = static_cast<std::size_t>(std::count_if(
                cache.begin(), cache.end(), [](const Json& e) { return !text(e, "last-error").empty(); }));
        w.row({name(*map), std::to_string(cache.is_array() ? cache.size() : 0), std::to_string(errors),
               cache.is_array() ? "true" : "false"});
    }
    return w.str();
}

std::string map_get_text(const Json& map) {
    const Json& cache = field(map, "cache");
    if (!cache.is_array()) return "Cache is disabled\n";
    if (cache.empty()) return "Cache is empty\n";
    TabWriter w;
    w << "Key\tValue\tState\tError\n";
    std::vector<const Json*> rows;
    for (const Json& entry : cache) rows.push_back(&entry);
    // "10.0.0.63:0" and "fd00::5:0" sort by their address.
    const auto key_less = [](const Json* a, const Json* b) {
        const auto bare = [](const std::string& key) {
            return key.ends_with(":0") ? key.substr(0, key.size() - 2) : key;
        };
        return address_less(bare(text(*a, "key")), bare(text(*b, "key")));
    };
    std::sort(rows.begin(), rows.end(), key_less);
    for (const Json* entry : rows) {
        const std::string action = text(*entry, "desired-action");
        w.row({text(*entry, "key"), text(*entry, "value"), action.empty() || action == "ok" ? "sync" : action,
               text(*entry, "last-error")});
    }
    return w.str();
}

std::string map_event_text(const Json& event) {
    return "key=\"" + text(event, "key") + "\" value=\"" + text(event, "value") +
           "\" time=" + text(event, "timestamp") + " action=" + text(event, "action") +
           " desiredState=" + text(event, "desired-action") + " lastError=\"" + text(event, "last-error") + "\"\n";
}

std::string two_column_text(const std::string& key_title, const std::string& value_title,
                            const std::vector<std::pair<std::string, std::string>>& rows) {
    TabWriter w(5, 3);
    w.closed_row({key_title, value_title});
    for (const auto& [key, value] : rows) w.closed_row({key, value});
    return w.str();
}

namespace {

void append_options(std::string& out, const Json& options, const std::string& indent = {}) {
    if (!options.is_object()) return;
    std::map<std::string, const Json*> sorted;
    for (const auto& [key, value] : options.items()) sorted[key] = &value;
    for (const auto& [key, value] : sorted) {
        if (value->is_object() && !value->empty()) {
            out += indent + key + "\n";
            append_options(out, *value, indent + "  ");
            continue;
        }
        std::string name = indent + key;
        if (name.size() < 34) name.resize(34, ' ');
        out += name + ": " +
               (value->is_string() ? value->get<std::string>()
                : value->is_null() ? ""
                                   : value->dump()) +
               "\n";
    }
}

}  // namespace

std::string config_text(const Json& configuration, bool read_only, bool read_write) {
    const Json& status = field(configuration, "status");
    std::string out;
    if (read_only) {
        out += "#### Read-only configurations ####\n";
        append_options(out, field(status, "daemonConfigurationMap"));
        append_options(out, {{"k8s-configuration", text(status, "k8s-configuration")},
                             {"k8s-endpoint", text(status, "k8s-endpoint")}});
        append_options(out, field(status, "immutable"));
    }
    if (read_write) {
        out += "##### Read-write configurations #####\n";
        append_options(out, field(status, "realized.options"));
        if (const Json& monitor = field(status, "nodeMonitor"); monitor.is_object())
            append_options(out, {{"MonitorNumPages", number(monitor, "npages")}});
        append_options(out, {{"PolicyEnforcement", text(status, "realized.policy-enforcement")}});
    }
    return out;
}

std::string debuginfo_text(const Json& info) {
    std::string out = "# Cilium debug information\n";
    const auto section = [&](const std::string& title, const std::string& body) {
        if (!body.empty()) out += "\n#### " + title + "\n\n```\n" + body + (body.ends_with('\n') ? "" : "\n") + "```\n";
    };
    section("Cilium version", text(info, "cilium-version"));
    section("Kernel version", text(info, "kernel-version"));
    section("Cilium environment keys", join(texts(info, "environment-variables"), "\n"));
    if (const Json& endpoints = field(info, "endpoint-list"); endpoints.is_array()) {
        section("Endpoint list", endpoint_list_text(endpoints, true));
        for (const Json& endpoint : endpoints) section("Endpoint Get " + text(endpoint, "id"), endpoint.dump(2));
    }
    section("Cilium memory map", text(info, "cilium-memory-map"));
    if (const Json& subsystems = field(info, "subsystem"); subsystems.is_object()) {
        for (const auto& [name, body] : subsystems.items())
            section(name, body.is_string() ? body.get<std::string>() : body.dump(2));
    }
    return out;
}

}  // namespace axo::cli
