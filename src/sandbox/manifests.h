// The objects a sandbox writes in the place of kubelet, scheduler and kube-apiserver: Nodes, Namespaces, Pods; and
// what it reads back from the cluster. Files follow the dir: store's layout:
//   STORE/PLURAL[.GROUP]/[NAMESPACE/]NAME.yaml
// Writing is atomic. Thread: any.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "sandbox/spec.h"

namespace axo::sandbox {

struct PodSpec {
    std::string name_space = "default";
    std::string name;
    std::string node;
    std::map<std::string, std::string> labels;
    std::map<std::string, std::string> annotations;
    std::string uid;
    std::map<std::string, std::string> ports{};  // of its container, by name: "8080/TCP"
    bool object_elsewhere = false;  // an API server has the Pod, and its uid is given: none is written to the store

    [[nodiscard]] std::string display_name() const { return name_space + "/" + name; }
};

// "a=b,c=d"
Result<std::map<std::string, std::string>> parse_labels(const std::string& text);

// "http=8080/TCP,dns=53/UDP"; without a protocol: TCP. Values of the result always have one.
Result<std::map<std::string, std::string>> parse_ports(const std::string& text);

// What kubelet registers: the node with its addresses and Cilium's start-up taint.
std::string node_manifest(const ClusterSpec& spec, const NodeSpec& node);
std::string namespace_manifest(const std::string& name);
// Without addresses: scheduled, not running yet.
std::string pod_manifest(const PodSpec& pod, const std::string& host_address, const std::vector<IpAddress>& addresses);

std::filesystem::path node_path(const std::filesystem::path& store, const std::string& name);
std::filesystem::path namespace_path(const std::filesystem::path& store, const std::string& name);
std::filesystem::path pod_path(const std::filesystem::path& store, const std::string& name_space,
                               const std::string& name);
// spec.ipam.podCIDRs and …pools.allocated of a node's CiliumNode; empty while the operator has given none, and for a
// file that does not parse.
std::vector<Prefix> pod_cidrs_of(const std::filesystem::path& store, const std::string& node);

// Puts the documents of a YAML file into the store, one file each, their text as it stands. A document without
// apiVersion, kind and metadata.name is refused, and then none is written. Returns "Kind name" of what was applied.
Result<std::vector<std::string>> apply_manifests(const std::filesystem::path& store, const std::string& yaml);
// Takes the same documents out again. Returns "Kind name"; what is not there is success.
Result<std::vector<std::string>> delete_manifests(const std::filesystem::path& store, const std::string& yaml);

}  // namespace axo::sandbox
