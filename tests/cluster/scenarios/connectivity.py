"""Kubernetes' network model over every way through the datapath."""
import itertools

from lib import checks
from lib.scenario import scenario

# Two pods on the first node and one on each other node: same node, across, and across segments.
PODS = [("a1", 0), ("a2", 0), ("b1", 1), ("c1", 2)]


def place_pods(cluster):
    nodes = cluster.nodes()
    for name, node in PODS:
        if node < len(nodes):
            cluster.add_pod(name, nodes[node], labels=f"app={name}")
    return nodes


def all_pairs(nodes, pods):
    """Everything with everything, and pods and nodes with the world outside, both ways."""
    inside = nodes + pods
    pairs = [pair for pair in itertools.permutations(inside, 2)]
    return pairs + [(machine, "outside") for machine in inside] + [("outside", pod) for pod in pods]


def network_model(cluster):
    nodes = place_pods(cluster)
    pods = [name for name, node in PODS if node < len(nodes)]
    yield from checks.connectivity(cluster, all_pairs(nodes, pods))
    for node in nodes:
        yield checks.reachable_nodes(cluster, node)
        yield checks.no_reconciler_errors(cluster, node)


def variant(name, cost=25, **options):
    @scenario(cost=cost, name="connectivity-" + name)
    def run(context):
        yield from network_model(context.cluster(**options))
    return run


for families in ("dual", "ipv4", "ipv6"):
    suffix = "" if families == "dual" else "-" + families
    variant("vxlan" + suffix, families=families)
    variant("vxlan-device" + suffix, families=families, agent_flags=["--enable-tunnel-fast-path=false"])
    variant("native" + suffix, families=families, routing="native")
    variant("native-two-segments" + suffix, families=families, routing="native", second_segment=1)

variant("vxlan-two-segments", second_segment=1)
variant("vxlan-legacy-host-routing", agent_flags=["--enable-host-legacy-routing=true"])
variant("native-legacy-host-routing", routing="native", agent_flags=["--enable-host-legacy-routing=true"])
variant("vxlan-legacy-tc", agent_flags=["--enable-tcx=false"])
variant("native-legacy-tc", routing="native", agent_flags=["--enable-tcx=false"])
variant("vxlan-device-legacy", agent_flags=["--enable-tunnel-fast-path=false", "--enable-host-legacy-routing=true", "--enable-tcx=false"])
variant("vxlan-small-mtu", mtu=1400)
variant("native-jumbo", routing="native", mtu=9000)
