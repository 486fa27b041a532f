"""Kinds that agents and operators keep: endpoints, identities, nodes and their configuration."""
from schema import (AGE, array, boolean, choice, cidr, cidrs, column, crd, int64, integer, labels, mapping, obj, selector,
                    string, strings)


def encryption():
    return obj("", {"key": integer("Index of the encryption key; 0: none")})


def named_ports():
    return array("", obj("", {"name": string(), "port": integer(), "protocol": string()}))


def networking():
    return obj("", {
        "addressing*": array("", obj("", {"ipv4": string(), "ipv6": string()})),
        "node": string("Address of the endpoint's node"),
    })


def endpoint_status():
    allowed = array("", obj("", {"dest-port": integer(), "identity": int64(), "identity-labels": labels(),
                                 "protocol": integer()}))

    def direction():
        return obj("", {"enforcing*": boolean(), "state": string(), "adding": allowed, "allowed": allowed,
                        "denied": allowed, "removing": allowed})

    return obj("What the node's agent says of the endpoint", {
        "id": int64("Number of the endpoint on its node"),
        "service-account": string(),
        "state": choice("", "creating", "waiting-for-identity", "not-ready", "waiting-to-regenerate", "regenerating",
                        "restoring", "ready", "disconnecting", "disconnected", "invalid"),
        "controllers": array("", obj("", {
            "name": string(), "uuid": string(),
            "configuration": obj("", {"error-retry": boolean(), "error-retry-base": int64(), "interval": int64()}),
            "status": obj("", {"consecutive-failure-count": int64(), "failure-count": int64(),
                               "last-failure-msg": string(), "last-failure-timestamp": string(),
                               "last-success-timestamp": string(), "success-count": int64()}),
        })),
        "encryption": encryption(),
        "external-identifiers": obj("", {key: string() for key in (
            "cni-attachment-id", "container-id", "container-name", "docker-endpoint-id", "docker-network-id",
            "k8s-namespace", "k8s-pod-name", "pod-name")}),
        "health": obj("", {"bpf": string(), "connected": boolean(), "overallHealth": string(), "policy": string()}),
        "identity": obj("", {"id": int64(), "labels": strings()}),
        "log": array("", obj("", {"code": string(), "message": string(), "state": string(), "timestamp": string()})),
        "named-ports": named_ports(),
        "networking": networking(),
        "policy": obj("", {"egress": direction(), "ingress": direction()}),
    })


def endpoint_slice_fields():
    return {
        "namespace": string("Namespace of the endpoints"),
        "endpoints*": array("", obj("", {
            "id": int64("Number of the identity"), "name": string(), "service-account": string(),
            "encryption": encryption(), "named-ports": named_ports(), "networking": networking()})),
    }


def owned_addresses(text):
    return mapping(text, obj("", {"owner": string(), "resource": string()}))


def node_spec():
    count = dict(low=0)
    watermarks = {
        "max-above-watermark": integer(**count), "min-allocate": integer(**count), "pre-allocate": integer(**count),
    }
    family = obj("", {"ipv4": string(), "ipv6": string()})
    return obj("What other nodes need to know of this one, and its addresses", {
        "bootid": string(), "instance-id": string(), "nodeidentity": int64(),
        "addresses": array("", obj("", {"ip": string(), "type": string()})),
        "encryption": encryption(),
        "health": family,
        "ingress": family,
        "ipam": obj("", {
            **watermarks,
            "max-allocate": integer(**count),
            "podCIDRs": strings("CIDRs of the node's pods"),
            "static-ip-tags": labels(),
            "pool": owned_addresses("Addresses that may be used"),
            "ipv6-pool": owned_addresses("Addresses that may be used"),
            "pools": obj("For ipam=multi-pool", {
                "allocated": array("What the operator gave", obj("", {"cidrs": cidrs(), "pool*": string(minLength=1)})),
                "requested": array("What the node needs", obj("", {
                    "needed": obj("", {"ipv4-addrs": integer(), "ipv6-addrs": integer()}),
                    "pool*": string(minLength=1)})),
            }),
        }),
        "alibaba-cloud": obj("", {
            "availability-zone": string(), "cidr-block": string(), "instance-type": string(),
            "security-group-tags": labels(), "security-groups": strings(), "vpc-id": string(),
            "vswitch-tags": labels(), "vswitches": strings()}),
        "azure": obj("", {"interface-name": string()}),
        "eni": obj("", {
            **watermarks,
            "availability-zone": string(), "delete-on-termination": boolean(), "disable-prefix-delegation": boolean(),
            "exclude-interface-tags": labels(), "first-interface-index": integer(**count), "instance-id": string(),
            "instance-type": string(), "node-subnet-id": string(), "security-group-tags": labels(),
            "security-groups": strings(), "subnet-ids": strings(), "subnet-tags": labels(),
            "use-primary-address": boolean(), "vpc-id": string()}),
    })


def node_status():
    release = choice("", "marked-for-release", "ready-for-release", "do-not-release", "released")
    return obj("", {
        "ipam": obj("", {
            "assigned-static-ip": string(),
            "operator-status": obj("", {"error": string("Why the node has no pod CIDR")}),
            "pod-cidrs": mapping("", obj("", {"status": choice("", "released", "depleted", "in-use")})),
            "release-ips": mapping("", release), "release-ipv6s": mapping("", release),
            "used": owned_addresses("Addresses in use"), "ipv6-used": owned_addresses("Addresses in use"),
        }),
        "alibaba-cloud": obj("", {"enis": mapping("", obj("", {
            "instance-id": string(), "mac-address": string(), "network-interface-id": string(),
            "primary-ip-address": string(), "security-groupids": strings(), "tags": labels(), "type": string(),
            "zone-id": string(),
            "private-ipsets": array("", obj("", {"primary": boolean(), "private-ip-address": string()})),
            "vpc": obj("", {"cidr": string(), "ipv6-cidr": string(), "secondary-cidrs": strings(), "vpc-id": string()}),
            "vswitch": obj("", {"cidr": string(), "ipv6-cidr": string(), "vswitch-id": string()})}))}),
        "azure": obj("", {"interfaces": array("", obj("", {
            "GatewayIP": string(), "cidr": string(), "gateway": string(), "id": string(), "mac": string(),
            "name": string(), "security-group": string(), "state": string(),
            "addresses": array("", obj("", {"ip": string(), "state": string(), "subnet": string()}))}))}),
        "eni": obj("", {"enis": mapping("", obj("", {
            "addresses": strings(), "availability-zone": string(), "description": string(), "id": string(),
            "ip": string(), "mac": string(), "number": integer(), "prefixes": strings(), "public-ip": string(),
            "security-groups": strings(), "tags": labels(),
            "subnet": obj("", {"cidr": string(), "id": string()}),
            "vpc": obj("", {"cidrs": strings(), "id": string(), "primary-cidr": string()})}))}),
    })


def ip_pool(bits):
    return obj("", {"cidrs*": array("", cidr(), minItems=1),
                    "maskSize*": integer("Prefix length of what a node gets", 1, bits)})


def kinds():
    addressing = ".status.networking.addressing[0]."
    return [
        crd("CiliumEndpoint", "ciliumendpoints", "A pod as the network sees it: address, identity, state",
            {"status": endpoint_status()}, scope="Namespaced", short=("cep", "ciliumep"),
            columns=[column("Security Identity", ".status.identity.id", "integer"),
                     column("Ingress Enforcement", ".status.policy.ingress.state", wide=True),
                     column("Egress Enforcement", ".status.policy.egress.state", wide=True),
                     column("Endpoint State", ".status.state"),
                     column("IPv4", addressing + "ipv4"), column("IPv6", addressing + "ipv6")]),
        crd("CiliumEndpointSlice", "ciliumendpointslices", "Many endpoints of a namespace in one object",
            endpoint_slice_fields(), short=("ces",), versions=("v2alpha1",), unused="CiliumEndpointSlice"),
        crd("CiliumIdentity", "ciliumidentities", "Number of a set of labels: what policy decides by",
            {"security-labels*": labels("Labels with their sources"), "status": obj("", {})},
            short=("ciliumid",), status=True,
            columns=[column("Namespace", r".metadata.labels.io\.kubernetes\.pod\.namespace"), AGE]),
        crd("CiliumNode", "ciliumnodes", "A node: addresses, pod CIDRs, health",
            {"spec*": node_spec(), "status": node_status()}, short=("cn", "ciliumn"), status=True,
            columns=[column("CiliumInternalIP", '.spec.addresses[?(@.type=="CiliumInternalIP")].ip'),
                     column("InternalIP", '.spec.addresses[?(@.type=="InternalIP")].ip'), AGE]),
        crd("CiliumNodeConfig", "ciliumnodeconfigs", "Configuration of some nodes, over cilium-config",
            {"spec*": obj("", {"defaults*": labels("Keys of cilium-config with their values"),
                               "nodeSelector*": selector("Nodes that it is for")})},
            scope="Namespaced", versions=("v2", "v2alpha1")),
        crd("CiliumPodIPPool", "ciliumpodippools", "Addresses for pods, for ipam=multi-pool",
            {"spec*": obj("", {"ipv4": ip_pool(32), "ipv6": ip_pool(128),
                               "namespaceSelector": selector("Namespaces whose pods use it"),
                               "podSelector": selector("Pods that use it")})},
            short=("cpip",), versions=("v2alpha1",)),
        crd("CiliumExternalWorkload", "ciliumexternalworkloads", "A machine outside the cluster that joins its network",
            {"spec": obj("", {"ipv4-alloc-cidr": cidr("For the machine's own addresses"),
                              "ipv6-alloc-cidr": cidr("For the machine's own addresses")}),
             "status": obj("", {"id": int64("Number of its identity"), "ip": string("Its address")})},
            short=("cew",), status=True, unused="external workloads",
            columns=[column("Cilium ID", ".status.id", "integer"), column("IP", ".status.ip")]),
    ]
