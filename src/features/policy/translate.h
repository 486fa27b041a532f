// From policy objects to rules without references: namespaces, entities, services and groups resolved.
//
// Pure functions. An object is translated whole or refused whole, with an error that names the object and the path;
// what the object's own text already shows to be wrong was refused when it was parsed. The result depends on the
// object and the context only, and says which parts of the context: when those change, translate again.
// Thread: any.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "features/policy/types.h"
#include "model/cidr_group.h"
#include "model/cilium_network_policy.h"
#include "model/endpoint_slice.h"
#include "model/network_policy.h"
#include "model/service.h"

namespace axo::policy {

struct ServiceName {
    std::string name_space;
    std::string name;
    friend auto operator<=>(const ServiceName&, const ServiceName&) = default;
};

// What toServices has to know of a Service.
struct ServiceView {
    std::map<std::string, std::string> labels;
    std::map<std::string, std::string> selector;
    bool external_name = false;
    std::vector<IpAddress> backends;  // sorted, unique; of Services without a selector only
    friend bool operator==(const ServiceView&, const ServiceView&) = default;
};
// slices: those of this Service. Backends count whether they are ready or not: being allowed is not being chosen.
ServiceView service_view(const Service& service, const std::vector<EndpointSlice>& slices);

struct TranslateContext {
    std::string cluster_name = "default";
    bool default_local_cluster = true;   // policy-default-local-cluster: peers are of this cluster unless they say more
    bool node_selector_labels = false;   // enable-node-selector-labels: fromNodes, toNodes
    bool icmp_rules = true;              // enable-icmp-rules
    bool sctp = false;                   // enable-sctp
    bool extended_ip_protocols = false;  // enable-extended-ip-protocols: VRRP, IGMP
    bool host_firewall = false;          // enable-host-firewall; without it nodeSelector has no effect
    bool ipv4 = true, ipv6 = true;       // of the cluster
    std::vector<Prefix> cluster_prefixes;  // of pods and nodes, which CIDR rules never match
    // Not owned; nullptr: none.
    const std::map<std::string, CiliumCidrGroup>* cidr_groups = nullptr;
    const std::map<ServiceName, ServiceView>* services = nullptr;
};

struct Translation {
    Policy policy;
    std::set<std::string> cidr_groups;  // referred to by name, existing or not
    bool all_cidr_groups = false;       // selects groups by label
    bool services = false;              // refers to Services
    // What is legal and probably not meant: "spec.ingress[0].fromCIDR[0]: …".
    std::vector<std::string> warnings;
    friend bool operator==(const Translation&, const Translation&) = default;
};

Result<Translation> translate(const CiliumNetworkPolicy& object, const TranslateContext& context);
Result<Translation> translate(const CiliumClusterwideNetworkPolicy& object, const TranslateContext& context);
Result<Translation> translate(const NetworkPolicy& object, const TranslateContext& context);

// `cilium policy get`'s form of an object as it is stored: one element per spec, with selectors as they are understood
// ("any:app", "k8s:io.kubernetes.pod.namespace") and the labels that say where it comes from. Objects that are no
// policy, or a bad one, are an error.
Result<Json> policy_rules_json(const Json& object, const TranslateContext& context);

}  // namespace axo::policy
