"""Every form of rule against real traffic, in both families and both ways of routing; explanations must agree with it."""
from lib import checks, policy
from lib.policy import cilium, clusterwide, endpoints, kubernetes, no, yes
from lib.scenario import scenario

# app1 and app2 beside one nginx and away from the other.
PODS = [("app1", "node1", "app=app1"), ("app2", "node1", "app=app2,tier=back"), ("nginx", "node1", "app=nginx"),
        ("nginx2", "node2", "app=nginx"), ("public", "node2", "role=public")]


def place(context, pods=PODS, **options):
    cluster = context.cluster(nodes=2, **options)
    for name, node, labels in pods:
        cluster.add_pod(name, node, labels=labels)
    return cluster, policy.Policies(cluster)


def steps(cluster, policies, items):
    """items: (title, manifests, others, rows)."""
    for title, manifests, others, rows in items:
        done = policies.use(*manifests, others=others)
        yield checks.check(f"{title}: in force on every node", done, [policy.objects(cluster, node) for node in policies.nodes])
        yield from policy.verdicts(cluster, title, rows)


SEEDS = """
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: l3-rule-allow-app1-to-nginx
spec:
  endpointSelector:
    matchLabels:
      app: nginx
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: app1
---
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: l3-rule-allow-app1-to-nginx-svc
spec:
  endpointSelector:
    matchLabels:
      app: app1
  egress:
  - toServices:
    - k8sService:
        serviceName: nginx
        namespace: default
---
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: "app1-to-host"
spec:
  endpointSelector:
    matchLabels:
      app: app1
  egress:
    - toEntities:
      - host
---
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: "l4-rule"
spec:
  endpointSelector:
    matchLabels:
      app: app1
  egress:
    - toPorts:
      - ports:
        - port: "80"
          protocol: TCP
---
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: "from-world-to-role-public"
spec:
  endpointSelector:
    matchLabels:
      role: public
  ingress:
    - fromEntities:
      - world
"""
# The article writes the last one's only entity without the dash of a list, which Kubernetes' API server does not take either.
FIFTH_AS_WRITTEN = SEEDS.split("---")[4].replace("      - world", "      world")

NGINX = "nginx nginx2"
SEED_ROWS = {
    "l3-rule-allow-app1-to-nginx": [yes("app1", NGINX), no("app2 public outside", NGINX), yes("nginx nginx2", "app1 outside", "tcp"),
                                    yes("app2", "app1", "tcp")],
    "l3-rule-allow-app1-to-nginx-svc": [yes("app1", NGINX), no("app1", "app2 outside node2"), yes("app2", NGINX + " outside", "tcp")],
    "app1-to-host": [yes("app1", "node1"), no("app1", "node2 nginx nginx2 outside"), yes("app2", "node1 node2 nginx", "tcp")],
    "l4-rule": [yes("app1", NGINX, "tcp/80"), no("app1", NGINX, "tcp/7000", "udp/80", "icmp"), yes("app2", NGINX, "tcp/7000", "icmp")],
    "from-world-to-role-public": [yes("outside", "public"), no("app1 nginx2 node1", "public"), yes("node2", "public"), yes("public", "app1", "tcp")],
}


SEED_SAYS = {
    "l3-rule-allow-app1-to-nginx": "app1 reaches nginx on both nodes; app2, public and the outside do not",
    "l3-rule-allow-app1-to-nginx-svc": "app1 reaches what is behind the Service and nothing else; app2 is as it was",
    "app1-to-host": "app1 reaches its own node and nothing else",
    "l4-rule": "app1 opens connections to port 80 of TCP only",
    "from-world-to-role-public": "what is outside reaches role=public; pods do not",
}


def seed_policies(cluster, policies):
    """The policies of the articles, one at a time."""
    for document in SEEDS.split("---"):
        name = document.split("name: ")[1].split("\n")[0].strip('"')
        others = [policy.service("nginx", {"app": "nginx"})] if "toServices" in document else []
        if others:
            cluster.apply(policy.text_of(others))
        cluster.apply(document)
        key = ("CiliumNetworkPolicy", "default", name)
        there = checks.wait_until(lambda: all(policy.objects(cluster, node).get(key, {}).get("valid") for node in policies.nodes), 5, 0.02)
        yield checks.check(f"{name}: in force on every node", there, [policy.objects(cluster, node) for node in policies.nodes])
        yield from policy.verdicts(cluster, name, SEED_ROWS[name])
        cluster.delete(document + ("---\n" + policy.text_of(others) if others else ""))
        checks.wait_until(lambda: not any(policy.objects(cluster, node) for node in policies.nodes), 5, 0.02)


def seeds(context, **options):
    cluster, policies = place(context, **options)
    yield policy.ready(cluster, [yes("app1 app2 public", NGINX, "tcp"), yes("app1", "app2 node1 node2 outside public", "tcp")])
    yield from seed_policies(cluster, policies)
    refused = cluster.exec("node1", "axoneme", "policy", "validate", "-", stdin=FIFTH_AS_WRITTEN, check=False)
    message = refused.stdout.strip()
    yield checks.check(f"an entity that is no list is refused: {message}", refused.returncode == 1 and "fromEntities" in message and "world" in message,
                       (refused.returncode, refused.stdout, refused.stderr))


def with_namespaces(context, **options):
    cluster, policies = place(context, **options)
    cluster.apply(policy.text_of([policy.namespace("prod", {"team": "red"}), policy.namespace("dev", {"team": "blue"})]))
    cluster.add_pod("prod-web", "node1", labels="app=web", namespace="prod")
    cluster.add_pod("dev-web", "node2", labels="app=web", namespace="dev")

    def ingress(*peers):
        return cilium("selectors", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": list(peers)}]})
    return cluster, policies, ingress, {"k8s:io.kubernetes.pod.namespace": "prod"}, {"k8s:io.cilium.k8s.namespace.labels.team": "red"}


def selectors(context, **options):
    cluster, policies, ingress, _, _ = with_namespaces(context, **options)
    everybody = "app1 app2 public prod-web dev-web"
    yield policy.ready(cluster, [yes(everybody, NGINX, "tcp")])
    to_nginx = {"endpointSelector": endpoints(app="nginx")}
    expression = lambda key, operator, *values: {"matchExpressions": [  # noqa: E731
        {"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}
    yield from steps(cluster, policies, [
        ("fromEndpoints, several labels", [ingress(endpoints(app="app2", tier="back"))], [], [yes("app2", NGINX), no("app1 public", NGINX, "tcp")]),
        ("matchExpressions In", [ingress(expression("app", "In", "app1", "app2"))], [], [yes("app1 app2", NGINX, "tcp"), no("public prod-web", NGINX, "tcp")]),
        ("matchExpressions NotIn", [ingress(expression("app", "NotIn", "app1"))], [], [no("app1 prod-web", NGINX, "tcp"), yes("app2 public", NGINX, "tcp")]),
        ("matchExpressions Exists", [ingress(expression("role", "Exists"))], [], [yes("public", NGINX, "tcp"), no("app1", NGINX, "tcp")]),
        ("matchExpressions DoesNotExist", [ingress(expression("role", "DoesNotExist"))], [], [no("public", NGINX, "tcp"), yes("app1", NGINX, "tcp")]),
        ("everybody of the namespace", [ingress({})], [], [yes("app1 app2 public", NGINX, "tcp"), no("prod-web outside", NGINX, "tcp")]),
        ("nobody", [cilium("selectors", dict(to_nginx, ingress=[{}, {"fromEndpoints": []}]))], [], [no(everybody, NGINX, "tcp")]),
        ("toEndpoints", [cilium("selectors", {"endpointSelector": endpoints(app="app1"), "egress": [{"toEndpoints": [endpoints(app="nginx")]}]})], [],
         [yes("app1", NGINX), no("app1", "app2 public outside"), yes("nginx2", "app1", "tcp")]),
        *([] if cluster.validates else [("fromRequires narrows every peer", [cilium("selectors", dict(to_nginx, ingress=[{"fromEndpoints": [{}]}, {"fromRequires": [
            {"matchLabels": {"tier": "back"}}]}]))], [], [yes("app2", NGINX, "tcp"), no("app1 public", NGINX, "tcp")])]),
        ("several specs in one object", [{k: v for k, v in cilium("selectors", None).items() if k != "spec"} | {"specs": [
            dict(to_nginx, ingress=[{"fromEndpoints": [endpoints(app="app1")]}]), dict(to_nginx, ingress=[{"fromEndpoints": [endpoints(role="public")]}])]}], [],
         [yes("app1 public", NGINX, "tcp"), no("app2", NGINX, "tcp")]),
    ])


def namespaces(context, **options):
    cluster, policies, ingress, in_prod, red = with_namespaces(context, **options)
    yield policy.ready(cluster, [yes("app1 prod-web dev-web", NGINX, "tcp")])
    yield from steps(cluster, policies, [
        ("another namespace by name", [ingress({"matchLabels": in_prod})], [], [yes("prod-web", NGINX, "tcp"), no("dev-web app1", NGINX, "tcp")]),
        ("namespaces by label", [ingress({"matchLabels": red})], [], [yes("prod-web", NGINX, "tcp"), no("dev-web app1", NGINX, "tcp")]),
        ("cluster-wide", [clusterwide("everywhere", {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{"matchLabels": red}]}]})], [],
         [yes("prod-web", NGINX + " dev-web", "tcp"), no("app1 dev-web", NGINX + " prod-web", "tcp")]),
        ("a namespace's policy leaves others alone", [cilium("everybody", {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}]}, "prod")], [],
         [no("app1 dev-web", "prod-web", "tcp"), yes("prod-web", NGINX, "tcp")]),
    ])
    # A namespace's labels are part of what its pods are.
    policies.use(ingress({"matchLabels": red}))
    cluster.apply(policy.text_of([policy.namespace("dev", {"team": "red"})]))
    rows = [yes("dev-web prod-web", NGINX, "tcp"), no("app1", NGINX, "tcp")]
    flows = policy.expand(cluster.addresses(), rows)
    yield checks.check("a namespace's label changes: its pods are let in",
                       checks.wait_until(lambda: not policy.disagreements(cluster, cluster.addresses(), flows), 8, 0.1))


def cidrs(context, **options):
    cluster, policies = place(context, **options)
    yield policy.ready(cluster, [yes("app1 app2", "outside nginx", "tcp"), yes("outside", "app1", "tcp")])
    to = lambda *rules: cilium("cidr", {"endpointSelector": endpoints(app="app1"), "egress": list(rules)})  # noqa: E731
    outside4, outside6 = (cluster.addresses()["outside"][family] for family in ("ipv4", "ipv6"))
    exact = [outside4 + "/32", outside6 + "/128"]
    around = [{"cidr": "172.18.200.0/24"}, {"cidr": "fd00:18:200::/64"}]
    without = [{"cidr": "172.18.0.0/16", "except": [exact[0]]}, {"cidr": "fd00:18::/32", "except": [exact[1]]}]
    group = policy.cidr_group("partners", ["172.18.200.0/28", "fd00:18:200::/120"], {"kind": "partner"})
    outside_only = [yes("app1", "outside"), no("app1", "nginx nginx2 node2 app2", "tcp"), yes("app2", "nginx", "tcp"), yes("nginx", "app1", "tcp")]
    yield from steps(cluster, policies, [
        ("toCIDR", [to({"toCIDR": exact})], [], outside_only),
        ("toCIDR of one family only", [to({"toCIDR": exact[:1]})], [], [no("app1", "nginx", "tcp")]),
        ("toCIDRSet", [to({"toCIDRSet": around})], [], outside_only),
        ("toCIDRSet with except", [to({"toCIDRSet": without})], [], [no("app1", "outside"), no("app1", "nginx", "tcp")]),
        ("toCIDRSet: except in one rule, let in by another", [to({"toCIDRSet": without}, {"toCIDR": exact})], [], outside_only),
        ("0.0.0.0/0 and ::/0 are the world, not pods and nodes", [to({"toCIDR": ["0.0.0.0/0", "::/0"]})], [], outside_only),
        ("cidrGroupRef", [to({"toCIDRSet": [{"cidrGroupRef": "partners"}]})], [group], outside_only),
        ("cidrGroupSelector", [to({"toCIDRSet": [{"cidrGroupSelector": {"matchLabels": {"kind": "partner"}}}]})], [group], outside_only),
        ("a group that does not exist", [to({"toCIDRSet": [{"cidrGroupRef": "missing"}]})], [], [no("app1", "outside nginx", "tcp")]),
        ("fromCIDR", [cilium("from", {"endpointSelector": endpoints(app="app1"), "ingress": [{"fromCIDR": exact}]})], [],
         [yes("outside", "app1"), no("nginx nginx2 app2", "app1", "tcp"), yes("outside", "nginx", "tcp")]),
        ("fromCIDRSet with except", [cilium("from", {"endpointSelector": endpoints(app="app1"), "ingress": [{"fromCIDRSet": without}]})], [],
         [no("outside nginx2", "app1", "tcp")]),
    ])
    only4 = policy.expand(cluster.addresses(), [yes("app1", "outside", "tcp")], ["ipv4"]) | policy.expand(
        cluster.addresses(), [no("app1", "outside", "tcp")], ["ipv6"])
    policies.use(to({"toCIDR": exact[:1]}))
    yield checks.check("a rule for an IPv4 address says nothing about IPv6", not policy.disagreements(cluster, cluster.addresses(), only4))


def cidr_group_changes(context):
    cluster, policies = place(context, PODS[:3])
    use = cilium("group", {"endpointSelector": endpoints(app="app1"), "egress": [{"toCIDRSet": [{"cidrGroupRef": "partners"}]}]})
    yield policy.ready(cluster, [yes("app1", "outside", "tcp")])
    policies.use(use)
    addresses = cluster.addresses()
    for cidr_list, rows in ((["192.0.2.0/24"], [no("app1", "outside", "tcp")]), (["172.18.200.0/24", "fd00:18:200::/64"], [yes("app1", "outside", "tcp")]),
                            (["172.18.200.128/25"], [no("app1", "outside", "tcp")])):
        cluster.apply(policy.text_of([policy.cidr_group("partners", cidr_list)]))
        flows = policy.expand(addresses, rows)
        settled = checks.wait_until(lambda: not policy.disagreements(cluster, addresses, flows), 5, 0.05)
        yield checks.check(f"the group becomes {cidr_list}: {'open' if list(flows.values())[0] else 'closed'}", settled)
    cluster.apply(policy.text_of([policy.cidr_group("partners", ["172.18.200.0/24", "fd00:18:200::/64"])]))
    cluster.delete(policy.text_of([policy.cidr_group("partners", [])]))
    flows = policy.expand(addresses, [no("app1", "outside", "tcp")])
    yield checks.check("the group is deleted: closed", checks.wait_until(lambda: not policy.disagreements(cluster, addresses, flows), 5, 0.05))
    shown = policy.objects(cluster, "node1")[policy.key_of(use)]
    yield checks.check(f"and the policy says so: {shown['warnings']}", shown["valid"] and "partners" in str(shown["warnings"]), shown)


def entities(context, **options):
    cluster, policies = place(context, **options)
    yield policy.ready(cluster, [yes("app1 app2", "outside nginx nginx2 node1 node2", "tcp"), yes("outside node1 node2", "app1", "tcp")])
    to = lambda *names: cilium("entities", {"endpointSelector": endpoints(app="app1"), "egress": [{"toEntities": list(names)}]})  # noqa: E731
    of = lambda *names: cilium("entities", {"endpointSelector": endpoints(app="app1"), "ingress": [{"fromEntities": list(names)}]})  # noqa: E731
    api = policy.api_server(cluster, "node2")
    yield from steps(cluster, policies, [
        ("to host", [to("host")], [], [yes("app1", "node1"), no("app1", "node2 nginx outside", "tcp")]),
        ("to remote-node", [to("remote-node")], [], [yes("app1", "node2"), no("app1", "node1 nginx outside", "tcp")]),
        ("to world", [to("world")], [], [yes("app1", "outside"), no("app1", "node1 node2 nginx", "tcp")]),
        ("to cluster", [to("cluster")], [], [yes("app1", "node1 node2 nginx nginx2", "tcp"), no("app1", "outside")]),
        ("to all", [to("all")], [], [yes("app1", "node1 node2 nginx nginx2 outside", "tcp")]),
        ("to none", [to("none")], [], [no("app1", "node1 node2 nginx nginx2 outside", "tcp")]),
        ("to kube-apiserver", [to("kube-apiserver")], api, [yes("app1", "node2", "tcp"), no("app1", "node1 nginx outside", "tcp")]),
        ("from world", [of("world")], [], [yes("outside", "app1"), no("node2 nginx nginx2", "app1", "tcp"), yes("node1", "app1", "tcp")]),
        ("from remote-node", [of("remote-node")], [], [yes("node2", "app1", "tcp"), no("outside nginx nginx2", "app1", "tcp")]),
        ("from cluster", [of("cluster")], [], [yes("node1 node2 nginx nginx2", "app1", "tcp"), no("outside", "app1")]),
        ("from unmanaged, ingress, health, init", [of("unmanaged", "ingress", "health", "init")], [], [no("node2 nginx outside", "app1", "tcp")]),
    ])
    # A cluster of one family has one world; its halves are nobody, as in Cilium.
    whole = len(cluster.addresses()["app1"]) == 1
    halves = policy.expand(cluster.addresses(), [no("app1", "outside", "tcp")]) if whole else policy.expand(cluster.addresses(), [yes("app1", "outside", "tcp")], ["ipv6"]) | policy.expand(
        cluster.addresses(), [no("app1", "outside", "tcp")], ["ipv4"])
    policies.use(to("world-ipv6"))
    yield checks.check("to world-ipv6: one half of the world, where it has halves", not policy.disagreements(cluster, cluster.addresses(), halves))


def services(context, **options):
    cluster, policies = place(context, **options)
    addresses = cluster.addresses()
    yield policy.ready(cluster, [yes("app1 app2", "outside nginx nginx2 public", "tcp")])
    to = lambda reference: cilium("services", {"endpointSelector": endpoints(app="app1"), "egress": [{"toServices": [reference]}]})  # noqa: E731
    by_name = {"k8sService": {"serviceName": "web", "namespace": "default"}}
    by_label = {"k8sServiceSelector": {"selector": {"matchLabels": {"shop": "yes"}}}}
    with_selector = policy.service("web", {"app": "nginx"}, {"shop": "yes"})
    external = [policy.service("web", None, {"shop": "yes"}), *policy.endpoint_slices("web", list(addresses["outside"].values()))]
    pods_only = [yes("app1", NGINX), no("app1", "app2 public outside", "tcp"), yes("app2", NGINX, "tcp")]
    outside_only = [yes("app1", "outside"), no("app1", "app2 public nginx", "tcp")]
    yield from steps(cluster, policies, [
        ("toServices by name, with a selector", [to(by_name)], [with_selector], pods_only),
        ("toServices by label, with a selector", [to(by_label)], [with_selector], pods_only),
        ("toServices by name, without a selector", [to(by_name)], external, outside_only),
        ("toServices by label, without a selector", [to(by_label)], external, outside_only),
        ("a Service that does not exist", [to(by_name)], [], [no("app1", NGINX + " outside", "tcp")]),
    ])
    # The policy follows the Service.
    for title, manifests, rows in (
            ("the Service appears", [with_selector], [yes("app1", NGINX, "tcp"), no("app1", "public", "tcp")]),
            ("its selector changes", [policy.service("web", {"role": "public"})], [no("app1", NGINX, "tcp"), yes("app1", "public", "tcp")]),
            ("its backends are listed by hand", external, outside_only),
            ("and change", policy.endpoint_slices("web", ["192.0.2.1", "2001:db8::1"]), [no("app1", "outside " + NGINX, "tcp")])):
        cluster.apply(policy.text_of(manifests))
        flows = policy.expand(addresses, rows)
        settled = checks.wait_until(lambda: not policy.disagreements(cluster, addresses, flows), 5, 0.05)
        yield checks.check(f"{title}: the policy follows", settled, policy.disagreements(cluster, addresses, flows) if not settled else "")


def ports(context, **options):
    cluster, policies = place(context, [item for item in PODS if item[0] not in (NGINX.split())], **options)
    # The same name, another number: a named port is the receiving pod's.
    cluster.add_pod("nginx", "node1", labels="app=nginx", ports="web=8080/TCP,dns=5353/UDP")
    cluster.add_pod("nginx2", "node2", labels="app=nginx,version=2", ports="web=8086/TCP,dns=5353/UDP")
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp")])
    port = lambda number, protocol="TCP", **more: {"port": str(number), "protocol": protocol, **more}  # noqa: E731
    to = lambda *list_, **entry: cilium("ports", {"endpointSelector": endpoints(app="app1"), "egress": [  # noqa: E731
        dict(entry, **({"toPorts": [{"ports": list(list_)}]} if list_ else {}))]})
    of = lambda *list_, **entry: cilium("ports", {"endpointSelector": endpoints(app="nginx"), "ingress": [  # noqa: E731
        dict(entry, **({"toPorts": [{"ports": list(list_)}]} if list_ else {}))]})
    both = [{"type": 8, "family": "IPv4"}, {"type": "EchoRequest", "family": "IPv6"}]
    yield from steps(cluster, policies, [
        ("TCP", [of(port(8080))], [], [yes("app1", NGINX, "tcp/8080"), no("app1", NGINX, "tcp/8086", "udp/8080", "icmp")]),
        ("UDP", [of(port(5353, "UDP"))], [], [yes("app1", NGINX, "udp/5353", "fragments/5353"),
                                                no("app1", NGINX, "tcp/5353", "udp/8080", "fragments/8080", "icmp")]),
        ("ANY", [of(port(8080, "ANY"))], [], [yes("app1", NGINX, "tcp/8080", "udp/8080"), no("app1", NGINX, "tcp/8086", "icmp")]),
        ("a range", [of(port(8080, endPort=8084))], [], [yes("app1", NGINX, "tcp/8080", "tcp/8082", "tcp/8084"), no("app1", NGINX, "tcp/8078", "tcp/8086", "icmp")]),
        ("several", [of(port(8080), port(5353, "UDP"))], [], [yes("app1 public", NGINX, "tcp/8080", "udp/5353"), no("app1", NGINX, "udp/8080", "tcp/5353")]),
        ("ports of a peer", [of(port(8080), fromEndpoints=[endpoints(app="app1")])], [],
         [yes("app1", NGINX, "tcp/8080"), no("app1", NGINX, "tcp/8086"), no("app2 public", NGINX, "tcp/8080")]),
        ("a named port, ingress", [of(port("web"))], [], [yes("app1", "nginx", "tcp/8080"), yes("app1", "nginx2", "tcp/8086"),
                                                          no("app1", "nginx", "tcp/8086"), no("app1", "nginx2", "tcp/8080")]),
        ("a named port, egress", [to(port("web"), toEndpoints=[endpoints(app="nginx")])], [],
         [yes("app1", "nginx", "tcp/8080"), yes("app1", "nginx2", "tcp/8086"), no("app1", NGINX, "tcp/7000"), no("app1", "nginx2", "tcp/8080")]),
        ("a named port of UDP", [of(port("dns", "UDP"))], [], [yes("app1", NGINX, "udp/5353"), no("app1", NGINX, "tcp/5353")]),
        ("icmps", [of(icmps=[{"fields": both}])], [], [yes("app1 outside", NGINX, "icmp"), no("app1", NGINX, "tcp", "udp")]),
        ("icmps, egress", [to(icmps=[{"fields": both}])], [], [yes("app1", NGINX + " outside", "icmp"), no("app1", NGINX, "tcp", "udp")]),
        ("ports, egress", [to(port(8080))], [], [yes("app1", NGINX, "tcp/8080"), no("app1", NGINX, "tcp/8086", "udp/8080"), yes("app2", NGINX, "tcp/8086")]),
    ])
    policies.use(to(port(5999, "UDP")), of(port(5999, "UDP")))
    answers = cluster.probe("app1", [{"to": address, "port": 5999, "kind": "udp", "timeout-ms": 900}
                                     for pod in NGINX.split() for address in cluster.addresses()[pod].values()])
    yield checks.check("an ICMP error belongs to the connection that it is about, where ICMP as such is not let in",
                       answers and all("refused" in answer["error"] for answer in answers), [answer["error"] for answer in answers])


def denials(context, **options):
    cluster, policies = place(context, **options)
    yield policy.ready(cluster, [yes("app1 app2 public", "outside nginx nginx2", "tcp")])
    nginx = {"endpointSelector": endpoints(app="nginx")}
    tcp = lambda number: {"toPorts": [{"ports": [{"port": str(number), "protocol": "TCP"}]}]}  # noqa: E731
    open_all = {"fromEntities": ["all"]}
    yield from steps(cluster, policies, [
        ("ingressDeny wins over ingress", [cilium("deny", dict(nginx, ingress=[open_all], ingressDeny=[{"fromEndpoints": [endpoints(app="app2")]}]))], [],
         [yes("app1 public", NGINX, "tcp"), no("app2", NGINX)]),
        ("also from another policy", [cilium("allow", dict(nginx, ingress=[open_all])), clusterwide("deny", dict(
            nginx, ingressDeny=[{"fromEndpoints": [{"matchLabels": {"app": "app2"}}]}]))], [], [yes("app1", NGINX, "tcp"), no("app2", NGINX, "tcp")]),
        ("a denial of ports", [cilium("deny", dict(nginx, ingress=[open_all], ingressDeny=[dict(fromEntities=["cluster"], **tcp(8080))]))], [],
         [no("app1", NGINX, "tcp/8080"), yes("app1", NGINX, "tcp/8086", "udp/8080"), yes("outside", NGINX, "tcp/8080")]),
        ("denials alone close the direction", [cilium("deny", dict(nginx, ingressDeny=[{"fromEndpoints": [endpoints(app="app2")]}]))], [],
         [no("app1 app2", NGINX, "tcp")]),
        ("unless enableDefaultDeny says no", [cilium("deny", dict(nginx, ingressDeny=[{"fromEndpoints": [endpoints(app="app2")]}],
                                                                  enableDefaultDeny={"ingress": False}))], [],
         [yes("app1 outside", NGINX, "tcp"), no("app2", NGINX)]),
        ("enableDefaultDeny without rules", [cilium("deny", {"endpointSelector": endpoints(app="app1"), "egress": [{"toEndpoints": [endpoints(app="nginx")]}],
                                                             "enableDefaultDeny": {"egress": False}})], [],
         [yes("app1", NGINX + " outside app2", "tcp")]),
        ("egressDeny", [cilium("deny", {"endpointSelector": endpoints(app="app1"), "egress": [{"toEntities": ["all"]}],
                                        "egressDeny": [{"toCIDR": ["172.18.200.0/24", "fd00:18:200::/64"]}]})], [],
         [no("app1", "outside"), yes("app1", NGINX + " node2", "tcp")]),
        ("egressDeny of a pod", [cilium("deny", {"endpointSelector": endpoints(app="app1"), "egress": [{"toEntities": ["all"]}],
                                                 "egressDeny": [{"toEndpoints": [endpoints(app="nginx")]}]})], [],
         [no("app1", NGINX), yes("app1", "app2 outside", "tcp")]),
        ("both directions have to agree", [cilium("out", {"endpointSelector": endpoints(app="app1"), "egress": [{"toEndpoints": [endpoints(app="nginx")]}]}),
                                           cilium("in", dict(nginx, ingress=[{"fromEndpoints": [endpoints(app="app2")]}]))], [],
         [no("app1", NGINX + " public", "tcp"), yes("app2", NGINX, "tcp")]),
    ])


def network_policies(context, **options):
    cluster, policies = place(context, **options)
    cluster.apply(policy.text_of([policy.namespace("prod", {"team": "red"})]))
    cluster.add_pod("prod-web", "node1", labels="app=web", namespace="prod")
    cluster.add_pod("prod-db", "node2", labels="app=db", namespace="prod")
    yield policy.ready(cluster, [yes("app1 app2 prod-web prod-db outside", NGINX, "tcp")])
    select = {"podSelector": endpoints(app="nginx")}
    of = lambda peers, ports=None: kubernetes("np", dict(select, ingress=[dict({"from": peers} if peers else {}, **({"ports": ports} if ports else {}))]))  # noqa: E731
    red = {"namespaceSelector": {"matchLabels": {"team": "red"}}}
    all_but = [{"ipBlock": {"cidr": "172.18.0.0/16", "except": ["172.18.200.10/32"]}}, {"ipBlock": {"cidr": "fd00:18::/32", "except": ["fd00:18:200::10/128"]}}]
    block = [{"ipBlock": {"cidr": "172.18.200.0/24"}}, {"ipBlock": {"cidr": "fd00:18:200::/64"}}]
    yield from steps(cluster, policies, [
        ("podSelector", [of([{"podSelector": endpoints(app="app1")}])], [], [yes("app1", NGINX), no("app2 prod-web outside", NGINX, "tcp")]),
        ("namespaceSelector", [of([red])], [], [yes("prod-web prod-db", NGINX, "tcp"), no("app1", NGINX, "tcp")]),
        ("namespaceSelector and podSelector", [of([dict(red, podSelector=endpoints(app="web"))])], [], [yes("prod-web", NGINX, "tcp"), no("prod-db app1", NGINX, "tcp")]),
        ("namespaceSelector or podSelector", [of([red, {"podSelector": endpoints(app="app1")}])], [], [yes("prod-web prod-db app1", NGINX, "tcp"), no("app2", NGINX, "tcp")]),
        ("ipBlock", [of(block)], [], [yes("outside", NGINX), no("app1 prod-web", NGINX, "tcp")]),
        ("ipBlock.except", [of(all_but)], [], [no("outside app1", NGINX, "tcp")]),
        *([("ports with endPort", [of(None, [{"protocol": "TCP", "port": 8080, "endPort": 8084}])], [],
            [yes("app1 outside", NGINX, "tcp/8080", "tcp/8084"), no("app1", NGINX, "tcp/8086", "udp/8080")])] if cluster.api_since("1.21") else []),
        ("deny all", [kubernetes("np", {"podSelector": {}, "policyTypes": ["Ingress"]})], [],
         [no("app1 outside", NGINX, "tcp"), yes("nginx2", "prod-db", "tcp")]),
        ("egress", [kubernetes("np", {"podSelector": endpoints(app="app1"), "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": endpoints(app="nginx")}]}]})], [],
         [yes("app1", NGINX), no("app1", "app2 outside prod-web", "tcp")]),
        ("together with a CiliumNetworkPolicy", [of([{"podSelector": endpoints(app="app1")}]),
                                                 cilium("more", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app2")]}]})], [],
         [yes("app1 app2", NGINX, "tcp"), no("prod-web", NGINX, "tcp")]),
    ])


def nodes(context, **options):
    """Nodes by what is known of them: their labels, where the agents are told to keep them, and whether they run the API server."""
    cluster, policies = place(context, PODS[:3], agent_flags=["--enable-node-selector-labels"], **options)
    api = policy.api_server(cluster, "node2")
    yield policy.ready(cluster, [yes("app1", "node1 node2 nginx outside", "tcp"), yes("node2", "app1", "tcp")])
    of = lambda direction, key, *names: cilium("nodes", {"endpointSelector": endpoints(app="app1"), direction: [  # noqa: E731
        {key: [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(names)}]}]}]})
    yield from steps(cluster, policies, [
        ("toNodes, the other one", [of("egress", "toNodes", "node2")], [], [yes("app1", "node2", "tcp"), no("app1", "node1 nginx outside", "tcp")]),
        ("toNodes, one that is not there", [of("egress", "toNodes", "node7")], [], [no("app1", "node1 node2 nginx", "tcp")]),
        ("fromNodes", [of("ingress", "fromNodes", "node2")], [], [yes("node2", "app1", "tcp"), no("outside nginx", "app1", "tcp")]),
        ("fromNodes, one that is not there", [of("ingress", "fromNodes", "node7")], [], [no("node2 outside nginx", "app1", "tcp")]),
        ("from kube-apiserver", [cilium("api", {"endpointSelector": endpoints(app="app1"), "ingress": [{"fromEntities": ["kube-apiserver"]}]})], api,
         [yes("node2", "app1", "tcp"), no("outside nginx", "app1", "tcp")]),
        ("from kube-apiserver, which is elsewhere", [cilium("api", {"endpointSelector": endpoints(app="app1"), "ingress": [
            {"fromEntities": ["kube-apiserver"]}]})], [], [no("node2 outside nginx", "app1", "tcp")]),
    ])


def many_cidrs(context):
    """5,000 prefixes in one rule: only the last of them is the one that matters."""
    cluster, policies = place(context, PODS[:3])
    yield policy.ready(cluster, [yes("app1 app2", "outside", "tcp")])
    crowd = [f"198.{18 + i // 65536}.{i // 256 % 256}.{i % 256}/32" for i in range(5000)]
    exact = [cluster.addresses()["outside"][family] + bits for family, bits in (("ipv4", "/32"), ("ipv6", "/128"))]
    to = lambda cidrs: cilium("crowd", {"endpointSelector": endpoints(app="app1"), "egress": [{"toCIDR": cidrs}]})  # noqa: E731
    yield from steps(cluster, policies, [
        ("5,000 prefixes elsewhere", [to(crowd)], [], [no("app1", "outside", "tcp"), yes("app2", "outside", "tcp")]),
        ("and one that counts", [to(crowd + exact)], [], [yes("app1", "outside"), no("app1", "nginx", "tcp")]),
    ])
    policies.use()
    gone = checks.wait_until(lambda: "198.18." not in cluster.cli("node1", "bpf", "ipcache", "list"), 10, 0.2)
    yield checks.check("their identities go with the policy", gone)
    yield checks.no_reconciler_errors(cluster, "node1")


FORMS = {"seeds": seeds, "selectors": selectors, "namespaces": namespaces, "cidr": cidrs, "entities": entities, "services": services, "ports": ports, "deny": denials,
         "networkpolicy": network_policies}


def variant(name, function, every_store=False, **options):
    @scenario(cost=18, name=name, every_store=every_store)
    def run(context):
        yield from function(context, **options)
    return run


for form, function in FORMS.items():
    variant(f"policy-{form}-vxlan", function, every_store=form in ("services", "networkpolicy"))
    variant(f"policy-{form}-native", function, routing="native")
    if form in ("seeds", "entities"):
        variant(f"policy-{form}-ipv4", function, families="ipv4")
        variant(f"policy-{form}-ipv6", function, families="ipv6", routing="native")
LEGACY = ["--enable-tunnel-fast-path=false", "--enable-host-legacy-routing=true", "--enable-tcx=false"]
variant("policy-deny-legacy", denials, agent_flags=LEGACY)
variant("policy-ports-legacy", ports, agent_flags=LEGACY, routing="native")
variant("policy-cidr-group-changes", cidr_group_changes, every_store=True)
variant("policy-nodes-vxlan", nodes)
variant("policy-nodes-native", nodes, routing="native")
variant("policy-many-cidrs", many_cidrs)
