"""Kinds with which users say what traffic may pass: policies, groups of CIDRs, gateways and redirections."""
from schema import (AGE, DNS_SUBDOMAIN, any_of, array, boolean, choice, cidr, cidrs, column, crd, int32, int64, integer,
                    labels, mapping, obj, one_of, rule, rules, selector, string, strings)

# world-ipv4 and world-ipv6 are known to all agents; Cilium's own schema leaves them out.
ENTITIES = ("all", "world", "world-ipv4", "world-ipv6", "cluster", "host", "init", "ingress", "unmanaged", "remote-node",
            "health", "none", "kube-apiserver")
PROTOCOLS = ("TCP", "UDP", "SCTP", "VRRP", "IGMP", "ANY")
ICMP_NAMES = """EchoReply DestinationUnreachable Redirect Echo EchoRequest RouterAdvertisement RouterSelection TimeExceeded
    ParameterProblem Timestamp TimestampReply Photuris ExtendedEchoRequest ExtendedEchoReply PacketTooBig
    MulticastListenerQuery MulticastListenerReport MulticastListenerDone RouterSolicitation NeighborSolicitation
    NeighborAdvertisement RedirectMessage RouterRenumbering ICMPNodeInformationQuery ICMPNodeInformationResponse
    InverseNeighborDiscoverySolicitation InverseNeighborDiscoveryAdvertisement HomeAgentAddressDiscoveryRequest
    HomeAgentAddressDiscoveryReply MobilePrefixSolicitation MobilePrefixAdvertisement
    DuplicateAddressRequestCodeSuffix DuplicateAddressConfirmationCodeSuffix""".split()


def selectors(text):
    return array(text, selector())


def entities(text):
    return array(text, choice("", *ENTITIES))


def requires():
    return array("Must be empty: it was removed", selector(), maxItems=0)


def cidr_set(text):
    return array(text, obj("", {
        "cidr": cidr("Addresses outside the cluster"),
        "cidrGroupRef": string("Name of a CiliumCIDRGroup", maxLength=253, pattern=DNS_SUBDOMAIN),
        "cidrGroupSelector": selector("CiliumCIDRGroups by their labels"),
        "except": cidrs("Parts of cidr that are left out"),
    }, oneOf=one_of("cidr", "cidrGroupRef", "cidrGroupSelector")))


def groups(text):
    return array(text, obj("", {"aws": obj("Instances of AWS", {
        "labels": labels(), "region": string(), "securityGroupsIds": strings(), "securityGroupsNames": strings()})}))


def icmps():
    kinds = "|".join(ICMP_NAMES)
    octet = "[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]"
    icmp_type = {"description": "Number from 0 to 255, or the type's name such as EchoRequest",
                 "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": f"^({octet}|{kinds})$",
                 "x-kubernetes-int-or-string": True}
    return array("ICMP types; not together with toPorts", obj("", {
        "fields": array("", obj("", {"family": choice("", "IPv4", "IPv6", default="IPv4"), "type*": icmp_type}),
                        maxItems=40)}))


def authentication():
    return obj("Mutual authentication of the two sides",
               {"mode*": choice("", "disabled", "required", "test-always-fail")})


def ports():
    return array("", obj("", {
        "endPort": int32("Last port of a range that begins with port", 0, 65535),
        "port": string("Number, or name of a container's port; 0: all ports",
                       pattern="^([0-9]{1,5}|[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)$"),
        "protocol": choice("ANY when left out", *PROTOCOLS),
    }), maxItems=40)


def fqdns(text):
    name = "[-a-zA-Z0-9_%s]+[.]?"
    return array(text, obj("", {
        "matchName": string("The whole name", maxLength=255, pattern="^(%s)+$" % (name % "")),
        "matchPattern": string("A name with wildcards: * within a label, **. for labels in front", maxLength=255,
                               pattern="^(%s)+$" % (name % "*")),
    }, oneOf=one_of("matchName", "matchPattern")))


def secret(text=""):
    return obj(text, {"name*": string(), "namespace": string()})


def tls(text):
    return obj(text, {"certificate": string("Key of the secret, tls.crt when left out"),
                      "privateKey": string("Key of the secret, tls.key when left out"),
                      "secret*": secret(),
                      "trustedCA": string("Key of the secret, ca.crt when left out")})


def l7_rules():
    http = obj("", {
        "headers": strings('"Name value": must be there'),
        "host": string("Expression for the Host header", format="idn-hostname"),
        "method": string("Expression for the method"),
        "path": string("Expression for the path"),
        "headerMatches": array("", obj("", {
            "mismatch": choice("What happens to a request without it; denied when left out",
                               "LOG", "ADD", "DELETE", "REPLACE"),
            "name*": string("Name of the header", minLength=1),
            "secret": secret("Holds the value"),
            "value": string(),
        })),
    })
    kafka = obj("", {
        "apiKey": string(), "apiVersion": string(), "clientID": string(),
        "role": choice("Instead of apiKey", "produce", "consume"),
        "topic": string(maxLength=255),
    })
    return obj("What the proxy lets through: one kind of rules", {
        "dns": fqdns("Names that may be asked for"),
        "http": array("Requests: one of the rules fits", http),
        "kafka": array("Requests: one of the rules fits", kafka),
        "l7": array("Rules of the parser l7proto", labels()),
        "l7proto": string("Name of the parser"),
    }, oneOf=[{"required": ["http"]}, {"required": ["kafka"]}, {"required": ["dns"]}, {"required": ["l7proto"]}])


def to_ports():
    return array("Destination ports: one of the entries fits", obj("", {
        "ports": ports(),
        "rules": l7_rules(),
        "listener": obj("Listener of a CiliumEnvoyConfig that gets the traffic", {
            "envoyConfig*": obj("", {"kind": choice("", "CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"),
                                     "name*": string(minLength=1)}),
            "name*": string(minLength=1),
            "priority": integer("Among listeners, 1 first", 1, 100)}),
        "originatingTLS": tls("TLS from the proxy to the destination"),
        "terminatingTLS": tls("TLS from the source to the proxy"),
        "serverNames": array("TLS server names", string(minLength=1, maxLength=255,
                                                        pattern=r"^(\*?\*\.)?([-a-zA-Z0-9_]+\.?)+$"), minItems=1),
    }))


def denied_ports():
    return array("Destination ports: one of the entries fits", obj("", {"ports": ports()}))


def services():
    return array("Services of Kubernetes", obj("", {
        "k8sService": obj("By name", {"namespace": string(), "serviceName": string()}),
        "k8sServiceSelector": obj("By labels", {"namespace": string(), "selector*": selector()}),
    }))


def ingress(denied):
    fields = {
        "fromEndpoints": selectors("Pods; an empty list: none, an empty element: all"),
        "fromEntities": entities("Kinds of peers"),
        "fromCIDR": cidrs("Addresses outside the cluster"),
        "fromCIDRSet": cidr_set("Addresses outside the cluster, with exceptions"),
        "fromNodes": selectors("Nodes by their labels"),
        "fromGroups": groups("Peers that a cloud provider names"),
        "fromRequires": requires(),
        "icmps": icmps(),
        "toPorts": denied_ports() if denied else to_ports(),
    }
    if not denied:
        fields["authentication"] = authentication()
    return obj("", fields)


def egress(denied):
    fields = {
        "toEndpoints": selectors("Pods; an empty list: none, an empty element: all"),
        "toEntities": entities("Kinds of peers"),
        "toCIDR": cidrs("Addresses outside the cluster"),
        "toCIDRSet": cidr_set("Addresses outside the cluster, with exceptions"),
        "toNodes": selectors("Nodes by their labels"),
        "toServices": services(),
        "toGroups": groups("Peers that a cloud provider names"),
        "toRequires": requires(),
        "icmps": icmps(),
        "toPorts": denied_ports() if denied else to_ports(),
    }
    if not denied:
        fields["authentication"] = authentication()
        fields["toFQDNs"] = fqdns("Addresses that DNS gave for these names")
    return obj("", fields)


def policy_rule():
    return obj("Whom the policy is about, and what it allows and denies", {
        "description": string("For people"),
        "endpointSelector": selector("Pods that the policy is about"),
        "nodeSelector": selector("Nodes that the policy is about"),
        "ingress": array("What may come in: one of the entries fits", ingress(False)),
        "ingressDeny": array("What may not come in, whatever else allows it", ingress(True)),
        "egress": array("What may go out: one of the entries fits", egress(False)),
        "egressDeny": array("What may not go out, whatever else allows it", egress(True)),
        "enableDefaultDeny": obj("Whether everything else is denied; true when left out and the direction has entries",
                                 {"ingress": boolean(), "egress": boolean()}),
        "labels": array("Labels of the rule, to find it by", obj("", {"key*": string(), "source": string(),
                                                                      "value": string()})),
        "log": obj("Shown with flows that the policy decides", {"value": string(maxLength=32, pattern=r"^\PC*$")}),
    }, anyOf=any_of("ingress", "ingressDeny", "egress", "egressDeny"),
        oneOf=one_of("endpointSelector", "nodeSelector"))


def policy_status():
    return obj("", {
        "conditions": array("Valid: whether the policy is in force, and if not, why not", obj("", {
            "lastTransitionTime": string(format="date-time"), "message": string(), "reason": string(),
            "status*": string(), "type*": string(),
        }), **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
        "derivativePolicies": mapping("Policies made from groups", obj("", {
            "annotations": labels(), "enforcing": boolean(), "error": string(),
            "lastUpdated": string(format="date-time"), "localPolicyRevision": int64(), "ok": boolean()})),
    })


def network_policy(kind, plural, text, **more):
    fields = {"spec": policy_rule(), "specs": array("Several rules in one object", policy_rule()),
              "status": policy_status()}
    columns = [AGE, column("Valid", ".status.conditions[?(@.type=='Valid')].status")]
    return crd(kind, plural, text, fields, status=True, categories=("cilium", "ciliumpolicy"), columns=columns, **more)


def local_redirect():
    def redirect_ports(text, **more):
        return array(text, obj("", {
            "name": string("Needed when there are several", pattern="^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"),
            "port*": string("1 to 65535", pattern="^[1-9][0-9]{0,4}$"),
            "protocol*": choice("", "TCP", "UDP"),
        }), **more)

    immutable = rules(rule("self == oldSelf", "cannot be changed: delete the policy and create it again"))
    return obj("", {
        "description": string("For people"),
        "skipRedirectFromBackend": boolean("Traffic of the backends themselves is not redirected", default=False),
        "redirectBackend*": obj("Pods of the node that get the traffic", {
            "localEndpointSelector*": selector(),
            "toPorts*": redirect_ports(""),
        }, **immutable),
        "redirectFrontend*": obj("Traffic that is redirected", {
            "addressMatcher": obj("By address", {"ip*": string("IPv4 or IPv6 address", minLength=2, maxLength=45),
                                                 "toPorts*": redirect_ports("")}),
            "serviceMatcher": obj("By Service", {"namespace*": string(), "serviceName*": string(),
                                                 "toPorts": redirect_ports("All ports when left out")}),
        }, oneOf=one_of("addressMatcher", "serviceMatcher"), **immutable),
    })


def egress_gateway():
    def gateway(text):
        return obj(text, {"egressIP": string("Source address of what leaves", format="ipv4"),
                          "interface": string("Its first address is the source address"),
                          "nodeSelector*": selector("The node that does it: the first by name")})

    return obj("", {
        "destinationCIDRs*": cidrs("Destinations whose traffic takes the gateway"),
        "excludedCIDRs": cidrs("Destinations that are left out"),
        "egressGateway*": gateway("The gateway"),
        "egressGateways": array("Several gateways", gateway("")),
        "selectors*": array("Pods whose traffic takes the gateway", obj("", {
            "namespaceSelector": selector(), "nodeSelector": selector(), "podSelector": selector()})),
    })


def kinds():
    policy = ("cilium", "ciliumpolicy")
    return [
        network_policy("CiliumNetworkPolicy", "ciliumnetworkpolicies", "Policy for pods of one namespace",
                       scope="Namespaced", short=("cnp", "ciliumnp")),
        network_policy("CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies",
                       "Policy for pods of all namespaces, or for nodes", short=("ccnp",)),
        crd("CiliumCIDRGroup", "ciliumcidrgroups", "CIDRs that policies name together",
            {"spec*": obj("", {"externalCIDRs*": cidrs("Addresses outside the cluster", minItems=0)})},
            short=("ccg",), versions=("v2", "v2alpha1")),
        crd("CiliumLocalRedirectPolicy", "ciliumlocalredirectpolicies",
            "Redirects traffic for an address or a Service to pods of the same node",
            {"spec": local_redirect(), "status": obj("", {"ok": boolean()})},
            scope="Namespaced", short=("clrp",), categories=policy, columns=[AGE], unused="local redirect policies"),
        crd("CiliumEgressGatewayPolicy", "ciliumegressgatewaypolicies",
            "Sends pods' traffic out of the cluster through one node",
            {"spec": egress_gateway()}, short=("cegp",), categories=policy, columns=[AGE], unused="egress gateway"),
    ]
