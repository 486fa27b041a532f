"""Names of Kubernetes' kinds in paths."""

PLURALS = {"CiliumNetworkPolicy": "ciliumnetworkpolicies", "CiliumClusterwideNetworkPolicy": "ciliumclusterwidenetworkpolicies", "CiliumIdentity": "ciliumidentities",
           "NetworkPolicy": "networkpolicies", "Endpoints": "endpoints", "CiliumEndpoint": "ciliumendpoints", "CiliumNode": "ciliumnodes"}
CLUSTER_WIDE = {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "CiliumIdentity", "CiliumNode", "CiliumClusterwideNetworkPolicy",
                "CiliumEndpointSlice", "CiliumPodIPPool", "CiliumLoadBalancerIPPool", "CiliumCIDRGroup"}


def plural_of(kind):
    if kind in PLURALS:
        return PLURALS[kind]
    lower = kind.lower()
    return lower[:-1] + "ies" if lower.endswith("y") else lower + ("es" if lower.endswith("s") else "s")


def folder_of(api_version, kind, namespace=None):
    """Of a kind's objects in a dir: store."""
    group = api_version.rpartition("/")[0]
    return plural_of(kind) + (f".{group}" if group else "") + (f"/{namespace}" if namespace and kind not in CLUSTER_WIDE else "")
