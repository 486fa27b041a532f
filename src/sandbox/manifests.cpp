#include "sandbox/manifests.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "io/resources.h"
#include "model/names.h"

namespace axo::sandbox {
namespace {

namespace fs = std::filesystem;

// A JSON string is a YAML double-quoted scalar.
std::string quoted(const std::string& text) {
    return nlohmann::json(text).dump();
}

std::string map_lines(const std::string& indent, const std::string& key,
                      const std::map<std::string, std::string>& values) {
    if (values.empty()) return {};
    std::string text = indent + key + ":\n";
    for (const auto& [name, value] : values) text += indent + "  " + quoted(name) + ": " + quoted(value) + "\n";
    return text;
}

struct Document {
    std::string title;  // "Pod default/web"
    fs::path path;      // in the store
    std::string text;
};

std::string scalar(const YAML::Node& node) {
    return node.IsDefined() && node.IsScalar() ? node.Scalar() : "";
}

Result<Document> read_document(const fs::path& store, const std::string& text, int number) {
    const std::string where = "document " + std::to_string(number);
    YAML::Node root;
    try {
        root = YAML::Load(text);
    } catch (const YAML::Exception& error) {
        return fail(Code::kInvalidArgument, where + ": " + error.what());
    }
    if (!root.IsMap())
        return fail(Code::kInvalidArgument, where + ": expected an object with apiVersion, kind and metadata.name");
    const std::string version = scalar(root["apiVersion"]), kind = scalar(root["kind"]);
    const ResourceType* type = resources::find(version, kind);
    if (type == nullptr) {
        std::string known;
        for (const auto* one : resources::all())
            known += (known.empty() ? "" : ", ") + one->api_version() + " " + one->kind;
        return fail(Code::kInvalidArgument,
                    where + ": apiVersion and kind '" + version + " " + kind + "': expected one of " + known);
    }
    const YAML::Node metadata = root["metadata"];
    const std::string name = metadata.IsMap() ? scalar(metadata["name"]) : "";
    const std::string given_namespace = metadata.IsMap() ? scalar(metadata["namespace"]) : "";
    const std::string name_space = !type->namespaced ? "" : given_namespace.empty() ? "default" : given_namespace;
    TRY(validate_dns_subdomain(where + ": metadata.name", name));
    if (type->namespaced) TRY(validate_dns_label(where + ": metadata.namespace", name_space));
    fs::path path = store / (type->plural + (type->group.empty() ? "" : "." + type->group));
    if (type->namespaced) path /= name_space;
    return Document{kind + " " + (name_space.empty() ? "" : name_space + "/") + name, path / (name + ".yaml"), text};
}

Result<std::vector<Document>> split(const fs::path& store, const std::string& yaml) {
    std::vector<std::string> texts(1);
    std::istringstream lines(yaml);
    for (std::string line; std::getline(lines, line);) {
        if (line == "---" || line.starts_with("--- ")) {
            texts.emplace_back();
        } else {
            texts.back() += line + "\n";
        }
    }
    std::vector<Document> documents;
    int number = 0;
    for (const auto& text : texts) {
        if (text.find_first_not_of(" \t\r\n") == std::string::npos) continue;
        TRY_ASSIGN(Document document, read_document(store, text, ++number));
        documents.push_back(std::move(document));
    }
    if (documents.empty()) return fail(Code::kInvalidArgument, "there is no object in it");
    return documents;
}

}  // namespace

Result<std::map<std::string, std::string>> parse_labels(const std::string& text) {
    std::map<std::string, std::string> labels;
    std::istringstream items(text);
    for (std::string item; std::getline(items, item, ',');) {
        const auto equals = item.find('=');
        if (equals == 0 || equals == std::string::npos) {
            return fail(Code::kInvalidArgument, "labels: '" + item + "': expected key=value");
        }
        labels[item.substr(0, equals)] = item.substr(equals + 1);
    }
    return labels;
}

Result<std::map<std::string, std::string>> parse_ports(const std::string& text) {
    auto ports = parse_labels(text);
    if (!ports) return fail(Code::kInvalidArgument, "ports: '" + text + "': expected name=number/protocol, …");
    for (auto& [name, port] : *ports) {
        const std::size_t slash = port.find('/');
        const std::string digits = port.substr(0, slash);
        const std::string protocol = slash == std::string::npos ? "TCP" : port.substr(slash + 1);
        unsigned number = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (error != std::errc() || end != digits.data() + digits.size() || number == 0 || number > 65535 ||
            (protocol != "TCP" && protocol != "UDP" && protocol != "SCTP")) {
            return fail(Code::kInvalidArgument, "ports: '" + name + "=" + port +
                                                    "': expected a number from 1 to 65535 and /TCP, /UDP or /SCTP");
        }
        port = digits;
        port += "/" + protocol;
    }
    return ports;
}

std::string node_manifest(const ClusterSpec& spec, const NodeSpec& node) {
    std::string text =
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: " + quoted(node.name) + "\n" +
        map_lines("  ", "labels", {{"kubernetes.io/hostname", node.name}, {"kubernetes.io/os", "linux"}}) +
        "spec:\n  taints:\n  - key: node.cilium.io/agent-not-ready\n    effect: NoSchedule\n"
        "status:\n  addresses:\n";
    const auto address = [&](const std::string& type, const std::string& value) {
        text += "  - type: " + type + "\n    address: " + quoted(value) + "\n";
    };
    if (spec.ipv4()) address("InternalIP", segment_address_v4(node.segment, node_host(node)).to_string());
    if (spec.ipv6()) address("InternalIP", segment_address_v6(node.segment, node_host(node)).to_string());
    address("Hostname", node.name);
    return text;
}

std::string namespace_manifest(const std::string& name) {
    return "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + quoted(name) + "\n" +
           map_lines("  ", "labels", {{"kubernetes.io/metadata.name", name}});
}

std::string pod_manifest(const PodSpec& pod, const std::string& host_address, const std::vector<IpAddress>& addresses) {
    std::string ports;
    for (const auto& [name, port] : pod.ports) {
        const std::size_t slash = port.find('/');
        ports += "    - name: " + quoted(name) + "\n      containerPort: " + port.substr(0, slash) +
                 "\n      protocol: " + port.substr(slash + 1) + "\n";
    }
    std::string text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + quoted(pod.name) +
                       "\n  namespace: " + quoted(pod.name_space) + "\n  uid: " + quoted(pod.uid) + "\n" +
                       map_lines("  ", "labels", pod.labels) + map_lines("  ", "annotations", pod.annotations) +
                       "spec:\n  nodeName: " + quoted(pod.node) +
                       "\n  serviceAccountName: default\n  containers:\n  - name: main\n    image: sandbox\n" +
                       (ports.empty() ? "" : "    ports:\n" + ports) +
                       "status:\n  phase: " + (addresses.empty() ? "Pending" : "Running") +
                       "\n  hostIP: " + quoted(host_address) + "\n";
    if (!addresses.empty()) {
        text += "  podIP: " + quoted(addresses.front().to_string()) + "\n  podIPs:\n";
        for (const auto& address : addresses) text += "  - ip: " + quoted(address.to_string()) + "\n";
    }
    return text;
}

fs::path node_path(const fs::path& store, const std::string& name) {
    return store / "nodes" / (name + ".yaml");
}
fs::path namespace_path(const fs::path& store, const std::string& name) {
    return store / "namespaces" / (name + ".yaml");
}
fs::path pod_path(const fs::path& store, const std::string& name_space, const std::string& name) {
    return store / "pods" / name_space / (name + ".yaml");
}

std::vector<Prefix> pod_cidrs_of(const fs::path& store, const std::string& node) {
    std::vector<Prefix> cidrs;
    auto text = read_file(store / "ciliumnodes.cilium.io" / (node + ".yaml"));
    if (!text) return cidrs;
    const auto add = [&cidrs](const YAML::Node& list) {
        if (!list || !list.IsSequence()) return;
        for (const auto& item : list) {
            if (auto prefix = Prefix::parse_cidr(scalar(item))) cidrs.push_back(*prefix);
        }
    };
    try {
        const YAML::Node ipam = YAML::Load(*text)["spec"]["ipam"];
        add(ipam["podCIDRs"]);
        const YAML::Node pools = ipam["pools"];  // absent, and then it has no members, unless ipam is multi-pool
        const YAML::Node allocated = pools ? pools["allocated"] : pools;
        if (allocated && allocated.IsSequence()) {
            for (const auto& pool : allocated) add(pool["cidrs"]);
        }
    } catch (const YAML::Exception&) {
        cidrs.clear();
    }
    return cidrs;
}

Result<std::vector<std::string>> apply_manifests(const fs::path& store, const std::string& yaml) {
    TRY_ASSIGN(const auto documents, split(store, yaml));
    std::vector<std::string> titles;
    for (const auto& document : documents) {
        TRY(make_directories(document.path.parent_path()));
        TRY(write_atomic(document.path, document.text));
        titles.push_back(document.title);
    }
    return titles;
}

Result<std::vector<std::string>> delete_manifests(const fs::path& store, const std::string& yaml) {
    TRY_ASSIGN(const auto documents, split(store, yaml));
    std::vector<std::string> titles;
    for (const auto& document : documents) {
        TRY(remove_file(document.path));
        titles.push_back(document.title);
    }
    return titles;
}

}  // namespace axo::sandbox
