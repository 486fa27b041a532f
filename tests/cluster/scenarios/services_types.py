"""Every type of Service, from pods, nodes and the world, to backends here, elsewhere and nowhere, over every way to translate."""
from lib import checks, services
from lib.policy import text_of
from lib.scenario import scenario
from lib.services import SERVICE_PORT, rows
from lib.talk import Talker

PODS = (("c1", "node1"), ("b1", "node1"), ("c2", "node2"), ("b2", "node2"))
CLIENTS = "c1 c2 node1 node2"
NODE_FRONTENDS = "node:node1 node:node2"
OUTSIDE_RANGE = ["172.18.200.0/24", "fd00:18:200::/64"]
OTHER_RANGE = ["203.0.113.0/24", "2001:db8:77::/64"]


def place(context, flags=(), host_ports=None, **options):
    """host_ports: of pods, by name, as add_pod has them."""
    cluster = context.cluster(nodes=2, agent_flags=services.replacement(*flags), **options)
    for name, node in PODS:
        cluster.add_pod(name, node, labels=f"app={name}", host_ports=(host_ports or {}).get(name, ()))
    services.route_through(cluster, "node1")
    if any("bpf-lb-acceleration" in flag for flag in flags):
        services.like_real_wires(cluster, "outside", *cluster.nodes(), *(name for name, _ in PODS))
    return cluster, services.Services(cluster)


# Where traffic may arrive with the client's address although it is not asked for, nothing is said about it.

def cluster_ips(known):
    known.put("both", 1, ("b1", "b2"))
    known.put("here", 2, ("b1",))
    known.put("there", 3, ("b2",))
    inside_local = []
    if known.cluster.api_since("1.21"):
        known.put("inside-local", 4, ("b1", "b2"), internalTrafficPolicy="Local")
        known.put("inside-local-one", 5, ("b1",), internalTrafficPolicy="Local")
        inside_local = [*rows("c1 node1", "cluster", 4, "b1"), *rows("c2 node2", "cluster", 4, "b2"), *rows("c1 node1", "cluster", 5, "b1"), *rows("c2 node2", "cluster", 5)]
    known.put("empty", 6)
    known.put("headless", 7, ("b1",), clusterIP="None", clusterIPs=["None"])
    known.put("unready", 8, ({**known.backend("b1", ready=False)}, "b2"))
    known.put("published", 9, (known.backend("b1", ready=False),), publishNotReadyAddresses=True)
    return [*rows(CLIENTS, "cluster", 1, "b1 b2"),
            *rows("c1 c2", "cluster", 1, "b1 b2", kinds=("tcp", "udp", "unconnected"), peer="client"),
            *rows("c1 c2 node1", "cluster", 1, "b1 b2", kinds=("upload", "fragments", "large"), times=12),
            *rows("c1 c2", "cluster", 1, "b1 b2", kinds=("download",), times=6),
            *rows("c1 c2 node1 node2", "cluster", 2, "b1"), *rows("c1 c2 node1 node2", "cluster", 3, "b2"),
            *rows("b1", "cluster", 2, "b1"), *rows("b2", "cluster", 3, "b2"),  # a pod reaches itself
            *rows("b1 b2", "cluster", 1, "b1 b2", kinds=("tcp", "udp")),
            *inside_local,
            # An error is told to sockets that are connected.
            *rows(CLIENTS, "cluster", 6, error="refused", kinds=("tcp", "udp")),
            *rows("c1", "cluster", 1, kinds=("tcp",), port=SERVICE_PORT + 1),
            *rows("c1 node2", "cluster", 7, kinds=("tcp", "udp")),
            *rows("c1 node2", "cluster", 8, "b2"), *rows("c1 c2", "cluster", 9, "b1"),
            *rows("outside", "cluster", 1, kinds=("tcp", "udp"))]


def node_ports(known, keeps_client=False):
    known.put("port", 11, ("b1", "b2"), type_="NodePort")
    known.put("port-here", 12, ("b1",), type_="NodePort")
    known.put("port-local", 13, ("b1",), type_="NodePort", externalTrafficPolicy="Local")
    known.put("port-local-both", 14, ("b1", "b2"), type_="NodePort", externalTrafficPolicy="Local")
    known.put("port-empty", 15, type_="NodePort")
    known.put("port-hosts", 16, ("node1", "node2"), type_="NodePort")
    seen = "client" if keeps_client else ""
    return [*rows(f"outside {CLIENTS}", NODE_FRONTENDS, 11, "b1 b2", peer=""),
            *rows("outside", NODE_FRONTENDS, 11, "b1 b2", kinds=("tcp",), peer=seen),
            *rows("outside", NODE_FRONTENDS, 11, "b1 b2", kinds=("upload", "fragments", "large"), times=12),
            *rows("outside", NODE_FRONTENDS, 11, "b1 b2", kinds=("download",), times=6),
            *rows("outside c1 c2 b1", NODE_FRONTENDS, 12, "b1"),
            *rows("outside", "node:node1", 12, "b1", peer="client"),  # without a detour nothing needs to be hidden
            *rows("outside", "node:node1", 13, "b1", peer="client"), *rows("outside", "node:node2", 13),
            *rows("outside", "node:node1", 14, "b1", peer="client"), *rows("outside", "node:node2", 14, "b2", peer="client"),
            *rows("c1 c2 node1 node2", "node:node1", 13, "b1"),
            *rows("outside c1 node1", NODE_FRONTENDS, 15, error="refused", kinds=("tcp", "udp")),
            *rows("outside", NODE_FRONTENDS, 16, "node1 node2", kinds=("tcp", "udp")),
            *rows("outside", NODE_FRONTENDS, 11, kinds=("tcp",), port=SERVICE_PORT + 500)]


def balanced(known):
    known.put("lb", 21, ("b1", "b2"), type_="LoadBalancer")
    known.put("lb-local", 22, ("b1",), type_="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=31022)
    known.put("lb-local-far", 23, ("b2",), type_="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=31023)
    known.put("lb-ranges", 24, ("b1", "b2"), type_="LoadBalancer", loadBalancerSourceRanges=OUTSIDE_RANGE)
    known.put("lb-other-ranges", 25, ("b1", "b2"), type_="LoadBalancer", loadBalancerSourceRanges=OTHER_RANGE)
    known.put("lb-no-ports", 26, ("b1", "b2"), type_="LoadBalancer", allocateLoadBalancerNodePorts=False)
    known.put("lb-empty", 27, type_="LoadBalancer")
    known.put("lb-denied", 28, ("b1", "b2"), type_="LoadBalancer", loadBalancerSourceRanges=OUTSIDE_RANGE,
              metadata={"annotations": {"service.cilium.io/src-ranges-policy": "deny"}})
    known.put("external", 31, ("b1", "b2"), external=True)
    return [*rows(f"outside {CLIENTS}", "load-balancer", 21, "b1 b2"),
            *rows("outside", "load-balancer", 21, "b1 b2", kinds=("upload", "fragments"), times=12),
            *rows(f"outside {CLIENTS}", NODE_FRONTENDS, 21, "b1 b2", kinds=("tcp",)),
            *rows(CLIENTS, "cluster", 21, "b1 b2"),
            *rows("outside", "load-balancer", 21, kinds=("tcp", "udp"), port=SERVICE_PORT + 7),  # another port of the address
            *rows("outside", "load-balancer", 22, "b1", peer="client"), *rows("outside", "load-balancer", 23, kinds=("tcp", "udp")),
            *rows("c1 c2", "load-balancer", 23, "b2"),
            *rows("outside", "load-balancer", 24, "b1 b2"), *rows("outside", "load-balancer", 25, kinds=("tcp", "udp"), error="silent"),
            *rows("outside", "load-balancer", 26, "b1 b2"), *rows("outside", "node:node1", 26, kinds=("tcp",)),
            *rows("outside c1", "load-balancer", 27, kinds=("tcp",), error="refused"),
            *rows("outside", "load-balancer", 28, kinds=("tcp", "udp"), error="silent"),
            *rows("outside c1 c2", "external", 31, "b1 b2")]


def matrix(context, keeps_client=False, **options):
    cluster, known = place(context, **options)
    wanted = {"ClusterIP": cluster_ips(known), "NodePort": node_ports(known, keeps_client), "LoadBalancer and external IPs": balanced(known)}
    for title, all_rows in wanted.items():
        yield services.verdicts(cluster, title, all_rows)
    for node in cluster.nodes():
        yield checks.no_reconciler_errors(cluster, node)
        said = services.problems(cluster, node)
        yield checks.check(f"{node}: no Service is reported", not said, said)


def variant(name, cost=45, **options):
    @scenario(cost=cost, name="services-types-" + name)
    def run(context):
        yield from matrix(context, **options)
    return run


variant("vxlan")
variant("native", routing="native")
variant("native-two-segments", routing="native", second_segment=1)
variant("packets", flags=["--bpf-lb-sock-hostns-only=true"])
variant("packets-native", flags=["--bpf-lb-sock-hostns-only=true"], routing="native")
variant("vxlan-device", flags=["--enable-tunnel-fast-path=false"])
variant("legacy-host-routing", flags=["--enable-host-legacy-routing=true"])
variant("legacy-tc", flags=["--enable-tcx=false"], routing="native")
variant("ipv4", families="ipv4")
variant("ipv6", families="ipv6", routing="native")
variant("maglev", flags=["--bpf-lb-algorithm=maglev"])
variant("dsr", flags=["--bpf-lb-mode=dsr"], routing="native", keeps_client=True)
variant("hybrid", flags=["--bpf-lb-mode=hybrid"], routing="native", keeps_client=True)
variant("xdp", flags=["--bpf-lb-acceleration=best-effort"], routing="native")


@scenario(cost=20)
def services_cluster_ip_from_outside(context):
    """ClusterIPs of the world when it is asked for."""
    cluster, known = place(context, flags=["--bpf-lb-external-clusterip=true"])
    known.put("both", 1, ("b1", "b2"))
    yield services.verdicts(cluster, "bpf-lb-external-clusterip", [*rows("outside", "cluster", 1, "b1 b2"), *rows("c1 node2", "cluster", 1, "b1 b2")])


@scenario(cost=20)
def services_node_port_addresses(context):
    """NodePorts at the addresses of nodes that nodeport-addresses names; elsewhere the ports are the node's own."""
    # node2's, not node1's: 172.18.1.11 and 172.18.1.12.
    cluster, known = place(context, flags=["--nodeport-addresses=172.18.1.12/30,fd00:18:1::12/127"])
    known.put("port", 1, ("b1", "b2"), type_="NodePort")
    known.put("lb", 2, ("b1", "b2"), type_="LoadBalancer")
    clients = "outside c1 c2 node1 node2"
    yield services.verdicts(cluster, "nodeport-addresses", [
        *rows(clients, "node:node2", 1, "b1 b2"), *rows(clients, "node:node1", 1, error="refused", kinds=("tcp",)),
        *rows(clients, "load-balancer", 2, "b1 b2", kinds=("tcp",)), *rows("c1 node1", "cluster", 1, "b1 b2", kinds=("tcp",))])
    address = cluster.addresses()["node1"]["ipv4"]
    server = Talker(cluster, "node1", "listen", "tcp", address, services.node_port(1))
    client = Talker(cluster, "outside", "connect", "tcp", address, services.node_port(1))
    client.say("hello")
    yield checks.check("a process of node1 is reached at its port", server.hear("hello", 3) is not None)


@scenario(cost=20)
def services_without_backends_dropped(context):
    cluster, known = place(context, flags=["--service-no-backend-response=drop", "--bpf-lb-sock-hostns-only=true"])
    known.put("empty", 6, type_="NodePort")
    known.put("both", 1, ("b1", "b2"))
    yield services.verdicts(cluster, "service-no-backend-response=drop", [*rows("c1 c2", "cluster", 6, error="silent", kinds=("tcp", "udp")),
                                                                        *rows("outside", "node:node1", 6, error="silent", kinds=("tcp", "udp")),
                                                                        *rows("c1", "cluster", 1, "b1 b2")])


@scenario(cost=20)
def services_source_ranges_of_all_types(context):
    cluster, known = place(context, flags=["--bpf-lb-source-range-all-types=true"])
    known.put("in", 24, ("b1", "b2"), type_="LoadBalancer", loadBalancerSourceRanges=OUTSIDE_RANGE)
    known.put("out", 25, ("b1", "b2"), type_="LoadBalancer", loadBalancerSourceRanges=OTHER_RANGE)
    yield services.verdicts(cluster, "bpf-lb-source-range-all-types", [*rows("outside", "node:node1 node:node2 load-balancer", 24, "b1 b2", kinds=("tcp",)),
                                                                     *rows("outside", "node:node1 node:node2 load-balancer", 25, error="silent", kinds=("tcp",))])


@scenario(cost=20)
def services_host_ports(context):
    """A container's hostPort is served at its node only, at every address of it or at one."""
    cluster, _ = place(context, host_ports={
        "b1": [{"containerPort": 7000, "hostPort": 8081, "protocol": "TCP"}, {"containerPort": 7000, "hostPort": 8081, "protocol": "UDP"}],
        "b2": [{"containerPort": 7000, "hostPort": 8082, "protocol": "TCP", "hostIP": "172.18.1.12"}]})  # node2's
    at = {"kinds": ("tcp", "udp")}
    wanted = [*rows("outside c2 node2", "node1", 0, "b1", port=8081, **at), *rows("outside", "node2", 0, port=8081, **at),
              *rows("outside c1", "node2", 0, "b2", port=8082, kinds=("tcp",), families=("ipv4",)),
              *rows("outside", "node2", 0, port=8082, kinds=("tcp",), families=("ipv6",))]
    yield services.verdicts(cluster, "hostPort", wanted)
    yield services.verdicts(cluster, "hostPort keeps the client's address", rows("outside", "node1", 0, "b1", port=8081, kinds=("tcp",), peer="client"))
    cluster.delete_pods("b1")
    yield services.verdicts(cluster, "the pod has gone", rows("outside", "node1", 0, port=8081, kinds=("tcp",)))


@scenario(cost=25)
def services_follow_annotations(context):
    """service.cilium.io/type leaves types away; forwarding-mode and lb-algorithm choose per service where the node leaves it to them."""
    cluster, known = place(context, routing="native", flags=["--bpf-lb-mode=snat", "--bpf-lb-mode-annotation=true", "--bpf-lb-algorithm-annotation=true"])
    annotated = lambda **items: {"annotations": {f"service.cilium.io/{key.replace('_', '-')}": value for key, value in items.items()}}  # noqa: E731
    known.put("only-cluster", 1, ("b1", "b2"), type_="LoadBalancer", metadata=annotated(type="ClusterIP"))
    known.put("only-balanced", 2, ("b1", "b2"), type_="LoadBalancer", metadata=annotated(type="LoadBalancer"))
    known.put("direct", 3, ("b2",), type_="NodePort", metadata=annotated(forwarding_mode="dsr"))
    known.put("translated", 4, ("b2",), type_="NodePort")
    known.put("maglev", 5, ("b1", "b2"), type_="NodePort", metadata=annotated(lb_algorithm="maglev"))
    cluster.label_node("node1", {"service.cilium.io/node": "beefy", "tier": "front"})
    known.put("by-name", 6, ("b1", "b2"), type_="NodePort", metadata=annotated(node="beefy"))
    known.put("by-selector", 7, ("b1", "b2"), metadata=annotated(node_selector="tier in (back, front)"))
    yield services.verdicts(cluster, "service.cilium.io annotations", [
        *rows("c1 node2", "cluster", 1, "b1 b2", kinds=("tcp",)), *rows("outside", "load-balancer node:node1", 1, kinds=("tcp",)),
        *rows("outside", "load-balancer", 2, "b1 b2", kinds=("tcp",)), *rows("outside", "node:node1", 2, kinds=("tcp",)),
        *rows("outside", "node:node1", 3, "b2", kinds=("tcp", "udp"), peer="client"), *rows("outside", "node:node1", 4, "b2", kinds=("tcp", "udp"), peer="node1"),
        *rows("outside", "node:node1", 5, "b1 b2", kinds=("tcp",)),
        *rows("outside", "node:node1", 6, "b1 b2", kinds=("tcp",)), *rows("outside", "node:node2", 6, kinds=("tcp",)),
        *(row for number in (6, 7) for row in [*rows("c1 node1", "cluster", number, "b1 b2", kinds=("tcp",)), *rows("c2 node2", "cluster", number, kinds=("tcp",))])])
    listed = cluster.cli("node1", "bpf", "lb", "list")
    yield checks.check("bpf lb list names the mode", "dsr" in listed, listed)


@scenario(cost=25, dir_only="an API server that has slices has them for all Endpoints, by kube-controller-manager, and Endpoints are not followed there")
def services_of_endpoints_objects(context):
    """Where a Service has Endpoints and no slices, they count; slices take their place."""
    cluster, known = place(context)
    addresses = cluster.addresses()
    subset = lambda pod, family: {"subsets": [{"addresses": [{"ip": addresses[pod][family], "nodeName": "node1"}],  # noqa: E731
                                               "ports": [{"name": "tcp-80", "port": 7000, "protocol": "TCP"}, {"name": "udp-80", "port": 7000, "protocol": "UDP"}]}]}
    cluster.apply(text_of([services.service("old", 1), {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "old", "namespace": "default"}, **subset("b1", "ipv4")}]))
    yield services.verdicts(cluster, "Endpoints", rows("c1 c2 node1", "cluster", 1, "b1", families=("ipv4",)))
    known.backends("old", ("b2",))
    yield services.verdicts(cluster, "and slices beside them", rows("c1 c2 node1", "cluster", 1, "b2"))
    beta = [dict(item, apiVersion="discovery.k8s.io/v1beta1", endpoints=[{"addresses": entry["addresses"], "conditions": entry["conditions"],
                                                                         "topology": {"kubernetes.io/hostname": entry["nodeName"]}} for entry in item["endpoints"]])
            for item in services.slices("beta", [known.backend("b1")])]
    cluster.apply(text_of([services.service("beta", 2)]))
    cluster.apply(text_of(beta), raw="beta-slices.yaml")
    yield services.verdicts(cluster, "slices of v1beta1", rows("c1 c2 node1", "cluster", 2, "b1"))


@scenario(cost=20, since="1.30")
def services_prefer_what_is_near(context):
    """Topology hints and trafficDistribution; all backends when there is nothing near."""
    cluster, known = place(context, flags=["--enable-service-topology=true"])
    for node, zone in (("node1", "east"), ("node2", "west")):
        cluster.label_node(node, {"topology.kubernetes.io/zone": zone})
    hinted = [dict(known.backend("b1"), zone="east", hints={"forZones": [{"name": "east"}]}), dict(known.backend("b2"), zone="west", hints={"forZones": [{"name": "west"}]})]
    known.put("hints", 1, hinted)
    known.put("close", 2, hinted, trafficDistribution="PreferClose")
    known.put("far", 3, [dict(known.backend("b1"), zone="east", hints={"forZones": [{"name": "north"}]}), dict(known.backend("b2"), zone="west", hints={"forZones": [{"name": "north"}]})])
    known.put("unhinted", 4, ("b1", "b2"))
    wanted = [*rows("c1 node1", "cluster", 1, "b1"), *rows("c2 node2", "cluster", 1, "b2"), *rows("c1", "cluster", 2, "b1"), *rows("c2", "cluster", 2, "b2"),
              *rows("c1 c2", "cluster", 3, "b1 b2"), *rows("c1 c2", "cluster", 4, "b1 b2")]
    yield services.verdicts(cluster, "topology", wanted)


@scenario(cost=25)
def services_sctp(context):
    """SCTP where a service's port is its target's; another target is reported."""
    cluster, known = place(context)
    with_sctp = cluster.exec("c1", "python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)", check=False)
    if with_sctp.returncode != 0:
        yield checks.check("traffic of SCTP is skipped: " + with_sctp.stderr.strip().splitlines()[-1], True)
    ports = (("SCTP", 7100),)
    known.put("same", 1, ("b2",), ports=ports, target=7100)
    known.put("other", 2, ("b2",), ports=(("SCTP", 7101),), target=7100)
    said = checks.wait_until(lambda: [item for item in services.problems(cluster, "node1") if "other" in item["where"]], 5)
    yield checks.check("a service that would translate a port of SCTP is reported", said and "SCTP" in said[0]["message"], services.problems(cluster, "node1"))
    listed = cluster.cli("node1", "service", "list")
    with_backends = [line for line in listed.splitlines() if "=>" in line]
    yield checks.check("service list has backends for the one that does not", any("10.96.0.1:7100/SCTP" in line for line in with_backends)
                       and not any("10.96.0.2:7101/SCTP" in line for line in with_backends), listed)
