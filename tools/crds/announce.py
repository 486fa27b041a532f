"""Kinds that make services' and pods' addresses known outside: pools for load balancers, L2 and BGP."""
from schema import (AGE, array, boolean, choice, cidr, column, conditions_status, crd, int32, int64, integer, named_list,
                    obj, rule, rules, selector, string, strings)

AFI = ("ipv4", "ipv6", "l2vpn", "ls", "opaque")
SAFI = ("unicast", "multicast", "mpls_label", "encapsulation", "vpls", "evpn", "ls", "sr_policy", "mup", "mpls_vpn",
        "mpls_vpn_multicast", "route_target_constraints", "flowspec_unicast", "flowspec_vpn", "key_value")
WELL_KNOWN_COMMUNITIES = (  # RFC 1997, 3765, 7611, 7999, 8326, 9494
    "internet", "planned-shut", "accept-own", "route-filter-translated-v4", "route-filter-v4",
    "route-filter-translated-v6", "route-filter-v6", "llgr-stale", "no-llgr", "blackhole", "no-export", "no-advertise",
    "no-export-subconfed", "no-peer")
NUMBER32 = "[0-9]{1,10}"
NUMBER16 = "[0-9]{1,5}"
ASN_MAX = 4294967295


def name():
    return string("Unique in the list", minLength=1, maxLength=255)


def asn(text, low):
    return int64(text, low, ASN_MAX)


def port(text):
    return int32(text, 1, 65535)


def address(text):
    return string(text, minLength=2, maxLength=64)


def family():
    return {"afi*": choice("Address family", *AFI), "safi*": choice("Subsequent address family", *SAFI)}


def auto_discovery():
    return obj("The peer's address is found out", {
        "mode*": choice("", "DefaultGateway"),
        "defaultGateway": obj("The gateway of the default route", {"addressFamily*": choice("", "ipv4", "ipv6")}),
    }, **rules(rule("self.mode != 'DefaultGateway' || has(self.defaultGateway)",
                    "mode DefaultGateway needs defaultGateway")))


def peer(more, **asn_rules):
    fields = {
        "name*": name(),
        "peerASN": asn("0: whatever the peer says", 0) | asn_rules,
        "peerAddress": address("IPv4 or IPv6 address"),
        "autoDiscovery": auto_discovery(),
        "peerConfigRef": obj("Defaults when left out", {"name*": string("Name of a CiliumBGPPeerConfig")}),
    }
    return obj("", fields | more)


def instances(instance):
    return named_list("BGP routers", instance, minItems=1, maxItems=16)


def cluster_config():
    return obj("", {
        "nodeSelector": selector("All nodes when left out"),
        "bgpInstances*": instances(obj("", {
            "name*": name(), "localASN": asn("", 1), "localPort": port("Does not listen when left out"),
            "peers": named_list("", peer({}, default=0))})),
    })


def node_config():
    return obj("", {"bgpInstances*": instances(obj("", {
        "name*": name(), "localASN": asn("", 1), "localPort": port("Does not listen when left out"),
        "routerID": string("Made from the node's address when left out", format="ipv4"),
        "peers": named_list("", peer({"localAddress": address("Source address")}))}))})


def node_config_status():
    status = conditions_status("What the node's agent found")
    status["properties"]["bgpInstances"] = array("", obj("", {
        "name*": string(), "localASN": int64(),
        "peers": array("", obj("", {
            "name*": string(), "peerAddress*": string(), "peerASN": int64(), "peeringState": string(),
            "establishedTime": string(),
            "routeCount": array("", obj("", {"advertised": int32(), "received": int32(), **family()})),
            "timers": obj("", {"appliedHoldTimeSeconds": int32(), "appliedKeepaliveSeconds": int32()}),
        }))}))
    return status


def node_config_override():
    return obj("", {"bgpInstances*": named_list("By the names of the instances", obj("", {
        "name*": name(), "localASN": asn("", 1), "localPort": int32(), "routerID": string(format="ipv4"),
        "peers": named_list("", obj("", {"name*": name(), "localAddress": address("Source address"),
                                         "localPort": int32()}))}), minItems=1)})


def peer_config():
    return obj("", {
        "authSecretRef": string("Name of the secret with the TCP MD5 password"),
        "ebgpMultihop": int32("TTL of packets to external peers", 1, 255, default=1),
        "families": array("IPv4 and IPv6 unicast when left out", obj("", {
            "advertisements": selector("CiliumBGPAdvertisements by their labels"), **family()})),
        "gracefulRestart": obj("RFC 4724", {
            "enabled*": boolean(), "restartTimeSeconds": int32("", 1, 4095, default=120)}),
        "timers": obj("RFC 4271", {
            "connectRetryTimeSeconds": int32("", 1, 2147483647, default=120),
            "holdTimeSeconds": int32("", 3, 65535, default=90),
            "keepAliveTimeSeconds": int32("", 1, 65535, default=30),
        }, **rules(rule("self.keepAliveTimeSeconds <= self.holdTimeSeconds",
                        "keepAliveTimeSeconds: at most holdTimeSeconds"))),
        "transport": obj("", {
            "peerPort": int32("", 1, 65535, default=179),
            "sourceInterface": string("Device whose address is the source address")}),
    })


def advertisement():
    def only_for(kind, field):
        return (rule(f"self.advertisementType != '{kind}' || has(self.{field})", f"{field}: needed for {kind}"),
                rule(f"self.advertisementType == '{kind}' || !has(self.{field})", f"{field}: only for {kind}"))

    community = string(pattern=f"^({NUMBER32}|{NUMBER16}:{NUMBER16})$")
    return obj("", {"advertisements*": array("", obj("", {
        "advertisementType*": choice("", "PodCIDR", "CiliumPodIPPool", "Service", "Interface"),
        "selector": selector("Pools or Services by their labels; none when left out"),
        "attributes": obj("", {
            "localPreference": int64(),
            "communities": obj("", {
                "standard": array("RFC 1997", community),
                "large": array("RFC 8092", string(pattern=f"^{NUMBER32}:{NUMBER32}:{NUMBER32}$")),
                "wellKnown": array("", choice("", *WELL_KNOWN_COMMUNITIES))}),
        }),
        "interface": obj("", {"name*": string("Device whose addresses are made known")}),
        "service": obj("", {
            "addresses*": array("", choice("", "LoadBalancerIP", "ClusterIP", "ExternalIP"), minItems=1),
            "aggregationLengthIPv4": integer("Prefix length", 0, 31),
            "aggregationLengthIPv6": integer("Prefix length", 0, 127)}),
    }, **rules(*only_for("Service", "service"), *only_for("Interface", "interface"),
               rule("self.advertisementType != 'PodCIDR' || !has(self.selector)", "selector: not for PodCIDR"))))})


def load_balancer_pool():
    return obj("", {
        "allowFirstLastIPs": choice("Whether a CIDR's first and last address are given away", "Yes", "No"),
        "blocks": array("", obj("", {"cidr": cidr(), "start": string("First address of a range"),
                                     "stop": string("Last address of a range")})),
        "disabled": boolean("Nothing new is given from the pool", default=False),
        "serviceSelector": selector("All Services when left out"),
    })


def l2_announcement():
    return obj("", {
        "externalIPs": boolean("Services' external IPs"),
        "loadBalancerIPs": boolean("Services' load balancer IPs"),
        "interfaces": strings("Expressions for the names of devices; all when left out"),
        "nodeSelector": selector("All nodes when left out"),
        "serviceSelector": selector("All Services when left out"),
    })


def kinds():
    bgp = dict(categories=("cilium", "ciliumbgp"), columns=[AGE], versions=("v2", "v2alpha1"), unused="BGP")
    return [
        crd("CiliumLoadBalancerIPPool", "ciliumloadbalancerippools", "Addresses for Services of type LoadBalancer",
            {"spec*": load_balancer_pool(), "status": conditions_status()},
            short=("ippools", "ippool", "lbippool", "lbippools"), status=True, versions=("v2", "v2alpha1"),
            unused="LB-IPAM",
            columns=[column("Disabled", ".spec.disabled", "boolean"),
                     column("Conflicting", '.status.conditions[?(@.type=="cilium.io/PoolConflict")].status'),
                     column("IPs Available", '.status.conditions[?(@.type=="cilium.io/IPsAvailable")].message'), AGE]),
        crd("CiliumL2AnnouncementPolicy", "ciliuml2announcementpolicies",
            "Which nodes answer ARP and neighbour discovery for Services' addresses",
            {"spec": l2_announcement(), "status": conditions_status()}, short=("l2announcement",), status=True,
            versions=("v2alpha1",), columns=[AGE], unused="L2 announcements"),
        crd("CiliumBGPClusterConfig", "ciliumbgpclusterconfigs", "BGP routers for nodes",
            {"spec*": cluster_config(), "status": conditions_status()}, short=("cbgpcluster",), status=True, **bgp),
        crd("CiliumBGPPeerConfig", "ciliumbgppeerconfigs", "How to speak BGP with a peer",
            {"spec*": peer_config(), "status": conditions_status()}, short=("cbgppeer",), status=True, **bgp),
        crd("CiliumBGPAdvertisement", "ciliumbgpadvertisements", "What is made known to BGP peers",
            {"spec*": advertisement()}, short=("cbgpadvert",), **bgp),
        crd("CiliumBGPNodeConfig", "ciliumbgpnodeconfigs", "BGP routers of one node, written by the operator",
            {"spec*": node_config(), "status": node_config_status()}, short=("cbgpnode",), status=True, **bgp),
        crd("CiliumBGPNodeConfigOverride", "ciliumbgpnodeconfigoverrides", "What is different on one node",
            {"spec*": node_config_override()}, short=("cbgpnodeoverride",), **bgp),
    ]
