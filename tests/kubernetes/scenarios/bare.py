"""Before we are there: a cluster whose kubelets have no network plugin."""
from bed import workloads
from bed.cluster import TAINT
from lib import checks
from lib.scenario import scenario


@scenario(cost=40)
def cluster_without_a_network(context):
    cluster = context.kubernetes()
    yield checks.check(f"the cluster came up in {cluster.timings['up']:.0f} s", True)
    for node in cluster.node_names:
        ready = checks.wait_until(lambda: cluster.conditions(node).get("Ready"), 20)
        yield checks.check(f"{node}: not ready, for want of a network plugin", ready and ready["status"] == "False" and "cni" in ready["message"].lower(), ready)
        yield checks.check(f"{node}: has the taint {TAINT}", TAINT in cluster.taints(node), cluster.taints(node))
    namespace = context.namespace()
    for node in cluster.node_names:
        cluster.api.create(workloads.pod(f"host-{node}", namespace, node=node, host_network=True))
    pods = cluster.wait_pods(namespace, len(cluster.node_names))
    for pod in pods:
        node = pod["spec"]["nodeName"]
        yield checks.check(f"{pod['metadata']['name']} runs with the node's address", pod["status"]["podIP"] == cluster.machines[node]["ipv4"], pod["status"])
