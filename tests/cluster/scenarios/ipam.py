"""Where pods' addresses come from."""
import ipaddress
import json

from lib import checks
from lib.scenario import scenario

POOLS = """
apiVersion: cilium.io/v2alpha1
kind: CiliumPodIPPool
metadata: {name: blue}
spec: {ipv4: {cidrs: [10.60.1.0/28], maskSize: 29}}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumPodIPPool
metadata: {name: green}
spec:
  ipv4: {cidrs: [10.60.2.0/24], maskSize: 28}
  podSelector: {matchLabels: {color: green}}
"""
LATE = "apiVersion: cilium.io/v2alpha1\nkind: CiliumPodIPPool\nmetadata: {name: late}\nspec: {ipv4: {cidrs: [10.60.3.0/24], maskSize: 28}}\n"
TEAM = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team, annotations: {ipam.cilium.io/ip-pool: blue}}\n"
ANNOTATION = "ipam.cilium.io/ip-pool"


def within(address, cidr):
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


def node_pools(cluster, node):
    text = json.dumps(cluster.find_object("cilium.io/v2", "CiliumNode", None, node))
    listed = cluster.cli(node, "status", "--verbose")
    return text, next((line for line in listed.splitlines() if line.startswith("IPAM:")), "")


def refused_pod(cluster, name, node, pool):
    """The CNI plugin's error for a pod that gets no address; the pod is taken away again."""
    done = cluster.add_pods(name, node=node, annotations=f"{ANNOTATION}={pool}", check=False)
    cluster.delete_pods(name, check=False)
    return done.returncode, done.stderr + done.stdout


@scenario(cost=45)
def multi_pool(context):
    """Pods choose pools by annotation, namespace and label; CIDRs come and go with what is needed."""
    cluster = context.cluster(nodes=2, families="ipv4", agent_flags=["--ipam=multi-pool"],
                              operator_flags=["--ipam=multi-pool", "--auto-create-cilium-pod-ip-pools=default=ipv4-cidrs:10.60.0.0/24;ipv4-mask-size:27"])
    cluster.apply(POOLS)
    cluster.apply(TEAM)
    where = {
        "plain": (cluster.add_pod("plain", "node1"), "10.60.0.0/24"),
        "named": (cluster.add_pod("named", "node1", annotations=f"{ANNOTATION}=blue"), "10.60.1.0/28"),
        "of-team": (cluster.add_pod("of-team", "node2", namespace="team"), "10.60.1.0/28"),
        "labelled": (cluster.add_pod("labelled", "node2", labels="color=green"), "10.60.2.0/24"),
    }
    for name, (pod, cidr) in where.items():
        yield checks.check(f"{name} has an address of {cidr}", within(pod["addresses"][0], cidr), pod["addresses"])
    yield from checks.connectivity(cluster, [("plain", "labelled"), ("named", "of-team"), ("labelled", "named"), ("node1", "of-team")], kinds=checks.KINDS[:2])
    text, line = node_pools(cluster, "node1")
    yield checks.check("status lists the pools", "blue 1/6 allocated from 10.60.1." in line and "default " in line, line)

    code, error = refused_pod(cluster, "lost", "node1", "late")
    yield checks.check("an unknown pool is named to the CNI caller", code != 0 and 'pool "late": there is no such CiliumPodIPPool' in error, error)
    cluster.apply(LATE)
    pod = cluster.add_pod("found", "node1", annotations=f"{ANNOTATION}=late")
    yield checks.check("a pool that comes later is used", within(pod["addresses"][0], "10.60.3.0/24"), pod["addresses"])

    # node1 and node2 have the two blocks of blue: six addresses each.
    for number in range(5):
        cluster.add_pod(f"blue{number}", "node1", annotations=f"{ANNOTATION}=blue")
    code, error = refused_pod(cluster, "blue5", "node1", "blue")
    yield checks.check("an exhausted pool is named to the CNI caller", code != 0 and 'pool "blue": allocator full' in error, error)
    events = json.dumps(cluster.list_objects("v1", "Event"))
    yield checks.check("and by an event of the node", "CIDRNotAvailable" in events, events[-500:])

    before = cluster.addresses()
    cluster.sandbox("operator", "kill")
    cluster.sandbox("agent", "kill", "node1")
    cluster.sandbox("agent", "start", "node1")
    yield from checks.connectivity(cluster, [("plain", "labelled"), ("named", "of-team")], kinds=checks.KINDS[:2])
    yield checks.check("a restart without an operator keeps every address", cluster.addresses() == before)
    extra = cluster.add_pod("extra", "node1")
    yield checks.check("and pods get addresses of what the node has", within(extra["addresses"][0], "10.60.0.0/24"), extra["addresses"])
    cluster.sandbox("operator", "start")

    cluster.delete_pods("found")

    def given_back():
        return "late" not in node_pools(cluster, "node1")[0]
    yield checks.check("what nobody uses goes back", checks.wait_until(given_back, 20, 0.5), node_pools(cluster, "node1")[0])
    for number in range(5):
        cluster.delete_pods(f"blue{number}")
    cluster.delete_pods("named")
    checks.wait_until(lambda: "blue" not in node_pools(cluster, "node1")[0], 20, 0.5)
    for number in range(8):
        cluster.add_pod(f"moved{number}", "node2", annotations=f"{ANNOTATION}=blue")
    yield checks.check("and another node gets it", "blue 9/12 allocated" in node_pools(cluster, "node2")[1], node_pools(cluster, "node2"))


@scenario(cost=15)
def kubernetes_pod_cidrs(context):
    """ipam=kubernetes: Node.spec.podCIDRs, which somebody else writes."""
    cluster = context.cluster(nodes=1, families="ipv4", processes=False, agent_flags=["--ipam=kubernetes", "--annotate-k8s-node=true"],
                              operator_flags=["--ipam=kubernetes"])
    cluster.give_pod_cidr("node1", "10.61.1.0/24")
    cluster.sandbox("operator", "start")  # it makes the definitions of kinds where there are any
    cluster.sandbox("agent", "start", "node1")
    pod = cluster.add_pod("a", "node1")
    yield checks.check("the pod's address is of the Node's CIDR", within(pod["addresses"][0], "10.61.1.0/24"), pod["addresses"])
    yield from checks.connectivity(cluster, [("a", "node1"), ("a", "outside")], kinds=checks.KINDS[:2])
    node = lambda: json.dumps(cluster.find_object("v1", "Node", None, "node1"))  # noqa: E731
    yield checks.check("the Node says so too", checks.wait_until(lambda: "network.cilium.io/ipv4-cilium-host" in node(), 10), node())
