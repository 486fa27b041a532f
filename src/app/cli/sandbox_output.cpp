#include "app/cli/sandbox_output.h"

#include <cstdio>

namespace axo {
namespace {

using namespace sandbox;
using Json = nlohmann::json;

std::string table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) line += row[i] + std::string(widths[i] - row[i].size() + 3, ' ');
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

template <class Items>
std::string joined(const Items& items) {
    std::string text;
    for (const auto& item : items) text += (text.empty() ? "" : ",") + item.to_string();
    return text;
}

std::string milliseconds_text(std::chrono::microseconds time) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(time.count()) / 1000);
    return text;
}

std::string process_text(const Cluster& cluster, const std::string& name) {
    const auto process = cluster.running(name);
    return process ? "running (" + std::to_string(process->pid) + ")" : "not running";
}

Json process_json(const Cluster& cluster, const std::string& name) {
    const auto process = cluster.running(name);
    return {
        {"running", process.has_value()}, {"pid", process ? process->pid : 0}, {"log", cluster.log_of(name).string()}};
}

}  // namespace

void print_error(const Error& error) {
    std::fprintf(stderr, "Error: %s\n", error.message.c_str());
}

std::string cluster_text(const Cluster& cluster) {
    const ClusterSpec& spec = cluster.spec();
    std::string text = "Cluster " + spec.name + ": " + to_string(spec.families) + ", " + to_string(spec.routing) +
                       ", MTU " + std::to_string(spec.mtu) + "\nStore:    " + cluster.store().string() +
                       "\nLogs:     " + cluster.log_of("x").parent_path().string() +
                       "\nOperator: " + process_text(cluster, Cluster::kOperator) + "\n";
    if (const auto url = cluster.relay_url())
        text += "Relay:    " + process_text(cluster, Cluster::kRelay) + ", " + *url + "\n";
    text += "\n";
    std::vector<std::vector<std::string>> rows{{"NODE", "SEGMENT", "IPV4", "IPV6", "POD CIDRS", "AGENT"}};
    for (const auto& node : spec.nodes) {
        rows.push_back({node.name, std::to_string(node.segment),
                        spec.ipv4() ? segment_address_v4(node.segment, node_host(node)).to_string() : "-",
                        spec.ipv6() ? segment_address_v6(node.segment, node_host(node)).to_string() : "-",
                        joined(pod_cidrs_of(cluster.store(), node.name)),
                        process_text(cluster, Cluster::agent_name(node.name))});
    }
    rows.push_back({"outside", "-", spec.ipv4() ? segment_address_v4(kOutsideSegment, kOutsideHost).to_string() : "-",
                    spec.ipv6() ? segment_address_v6(kOutsideSegment, kOutsideHost).to_string() : "-"});
    return text + table(rows) + "\n" + pods_text(list_pods(cluster));
}

Json cluster_json(const Cluster& cluster) {
    const ClusterSpec& spec = cluster.spec();
    Json nodes = Json::array();
    for (const auto& node : spec.nodes) {
        Json cidrs = Json::array();
        for (const auto& prefix : pod_cidrs_of(cluster.store(), node.name)) cidrs.push_back(prefix.to_string());
        nodes.push_back({{"name", node.name},
                         {"segment", node.segment},
                         {"ipv4", spec.ipv4() ? segment_address_v4(node.segment, node_host(node)).to_string() : ""},
                         {"ipv6", spec.ipv6() ? segment_address_v6(node.segment, node_host(node)).to_string() : ""},
                         {"pod-cidrs", cidrs},
                         {"agent", process_json(cluster, Cluster::agent_name(node.name))}});
    }
    return {{"spec", spec},
            {"store", cluster.store().string()},
            {"operator", process_json(cluster, Cluster::kOperator)},
            {"relay", process_json(cluster, Cluster::kRelay)},
            {"nodes", nodes},
            {"outside",
             {{"ipv4", spec.ipv4() ? segment_address_v4(kOutsideSegment, kOutsideHost).to_string() : ""},
              {"ipv6", spec.ipv6() ? segment_address_v6(kOutsideSegment, kOutsideHost).to_string() : ""}}},
            {"pods", pods_json(list_pods(cluster))}};
}

std::string pods_text(const std::vector<Pod>& pods) {
    if (pods.empty()) return "No pods; create one: axoneme sandbox pod add NAME --node NODE\n";
    std::vector<std::vector<std::string>> rows{{"POD", "NODE", "ADDRESSES", "LABELS"}};
    for (const auto& pod : pods) {
        std::string labels;
        for (const auto& [key, value] : pod.spec.labels)
            labels.append(labels.empty() ? "" : ",").append(key).append("=").append(value);
        rows.push_back({pod.spec.display_name(), pod.spec.node, joined(pod.addresses), labels});
    }
    return table(rows);
}

Json pods_json(const std::vector<Pod>& pods) {
    Json json = Json::array();
    for (const auto& pod : pods) {
        Json addresses = Json::array();
        for (const auto& address : pod.addresses) addresses.push_back(address.to_string());
        json.push_back({{"namespace", pod.spec.name_space},
                        {"name", pod.spec.name},
                        {"node", pod.spec.node},
                        {"labels", pod.spec.labels},
                        {"addresses", addresses},
                        {"container-id", pod.container_id},
                        {"netns", pod.netns},
                        {"cni-add-us", pod.cni_add.count()},
                        {"cni-result", pod.result}});
    }
    return json;
}

std::string pods_added_text(const PodsAdded& added) {
    std::string text;
    for (const auto& pod : added.pods) {
        if (pod) {
            text += "pod " + pod->spec.display_name() + " on " + pod->spec.node + ": " + joined(pod->addresses) + " (" +
                    milliseconds_text(pod->cni_add) + ")\n";
        }
    }
    return text;
}

Json pods_added_json(const PodsAdded& added) {
    std::vector<Pod> pods;
    Json errors = Json::array();
    for (const auto& pod : added.pods) {
        if (pod) {
            pods.push_back(*pod);
        } else {
            errors.push_back(pod.error().message);
        }
    }
    return {{"pods", pods_json(pods)}, {"errors", errors}, {"cni-add-us", added.cni_add.count()}};
}

}  // namespace axo
