// The kinds of objects that Axoneme reads and writes, as the object stores address them.
// Thread: any (constants).
#pragma once

#include <span>

#include "io/object_store.h"

namespace axo::resources {

inline const ResourceType kConfigMap{"", "v1", "ConfigMap", "configmaps", true};
inline const ResourceType kPod{"", "v1", "Pod", "pods", true};
inline const ResourceType kNamespace{"", "v1", "Namespace", "namespaces", false};
inline const ResourceType kNode{"", "v1", "Node", "nodes", false};
inline const ResourceType kEvent{"", "v1", "Event", "events", true};
inline const ResourceType kLease{"coordination.k8s.io", "v1", "Lease", "leases", true};
inline const ResourceType kCiliumNode{"cilium.io", "v2", "CiliumNode", "ciliumnodes", false};
inline const ResourceType kCiliumIdentity{"cilium.io", "v2", "CiliumIdentity", "ciliumidentities", false};
inline const ResourceType kCiliumEndpoint{"cilium.io", "v2", "CiliumEndpoint", "ciliumendpoints", true};
inline const ResourceType kCiliumEndpointSlice{"cilium.io", "v2alpha1", "CiliumEndpointSlice", "ciliumendpointslices",
                                               false};
inline const ResourceType kCiliumNodeConfig{"cilium.io", "v2", "CiliumNodeConfig", "ciliumnodeconfigs", true};
inline const ResourceType kCiliumPodIpPool{"cilium.io", "v2alpha1", "CiliumPodIPPool", "ciliumpodippools", false};
inline const ResourceType kCiliumNetworkPolicy{"cilium.io", "v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies", true};
inline const ResourceType kCiliumClusterwideNetworkPolicy{"cilium.io", "v2", "CiliumClusterwideNetworkPolicy",
                                                          "ciliumclusterwidenetworkpolicies", false};
inline const ResourceType kCiliumCidrGroup{"cilium.io", "v2", "CiliumCIDRGroup", "ciliumcidrgroups", false};
inline const ResourceType kNetworkPolicy{"networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true};
inline const ResourceType kService{"", "v1", "Service", "services", true};
inline const ResourceType kEndpoints{"", "v1", "Endpoints", "endpoints", true};
inline const ResourceType kEndpointSlice{"discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", true};
inline const ResourceType kCustomResourceDefinition{"apiextensions.k8s.io", "v1", "CustomResourceDefinition",
                                                    "customresourcedefinitions", false};
inline const ResourceType kCiliumLoadBalancerIpPool{"cilium.io", "v2", "CiliumLoadBalancerIPPool",
                                                    "ciliumloadbalancerippools", false};
inline const ResourceType kCiliumL2AnnouncementPolicy{"cilium.io", "v2alpha1", "CiliumL2AnnouncementPolicy",
                                                      "ciliuml2announcementpolicies", false};
inline const ResourceType kCiliumBgpClusterConfig{"cilium.io", "v2", "CiliumBGPClusterConfig",
                                                  "ciliumbgpclusterconfigs", false};
inline const ResourceType kCiliumBgpPeerConfig{"cilium.io", "v2", "CiliumBGPPeerConfig", "ciliumbgppeerconfigs", false};
inline const ResourceType kCiliumBgpNodeConfig{"cilium.io", "v2", "CiliumBGPNodeConfig", "ciliumbgpnodeconfigs", false};

// All of the above: what a store accepts.
std::span<const ResourceType* const> all();
// By what an object says of itself; nullptr when it is none of them. Older versions that are read as well
// (CiliumCIDRGroup v2alpha1, EndpointSlice v1beta1) are the same resource.
const ResourceType* find(std::string_view api_version, std::string_view kind);

}  // namespace axo::resources
