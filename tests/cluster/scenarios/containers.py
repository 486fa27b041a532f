"""Pods that a container runtime makes, with its own libraries for network plugins, by the newest interface that kubelets have."""
import json

from lib import checks
from lib.container_runtime import Containerd
from lib.sandbox import PORT
from lib.scenario import scenario

HOST_PORT = 18080
POLICY = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "web", "namespace": "default"},
          "spec": {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "client"}}]}]}}


def pod_object(cluster, name, labels, **container):
    return cluster.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
                               "spec": {"nodeName": "node1", "containers": [{"name": "main", "image": "sandbox", **container}], "terminationGracePeriodSeconds": 0}})


def endpoint_at(cluster, ips):
    """The agent's endpoint with just these addresses."""
    for endpoint in cluster.cli_json("node1", "endpoint", "list"):
        addressing = endpoint["status"]["networking"]["addressing"][0]
        if {addressing.get("ipv4"), addressing.get("ipv6")} == set(ips):
            return endpoint
    return None


def reaches(cluster, machine, ips, port=PORT):
    answers = cluster.probe(machine, [{"to": ip, "port": port, "kind": "tcp", "bytes": 0, "timeout-ms": 1500, "label": ip} for ip in ips])
    return [answer["ok"] for answer in answers]


def both_ways(cluster, machine, ips, wanted, port=PORT):
    """Whether all of the addresses come to answer so, for families alike."""
    return checks.wait_until(lambda: reaches(cluster, machine, ips, port) == [wanted] * len(ips), 10, 0.3)


@scenario(cost=45, since="1.30", api_only=True, every_store=True)
def containers_of_a_runtime(context):
    cluster = context.cluster(nodes=2, agent_flags=["--kube-proxy-replacement=true"])
    for name, node in (("client", "node2"), ("stranger", "node1")):
        cluster.add_pod(name, node, labels=f"app={name}")
    runtime = Containerd(cluster, "node1")
    said = runtime.ask("ready")
    yield checks.check(f"{said['runtime']} has a network", said["ready"] and not said["message"], said)
    web = pod_object(cluster, "web", {"app": "web"}, ports=[{"containerPort": PORT, "hostPort": HOST_PORT, "protocol": "TCP"}])
    made = runtime.run(web, f"{HOST_PORT}:{PORT}")
    yield checks.check(f"it makes a pod with an address of each family, in {made['seconds'] * 1000:.0f} ms", len(made["ips"]) == 2 and ":" in made["ips"][1], made)
    known = checks.wait_until(lambda: "k8s:app=web" in json.dumps(endpoint_at(cluster, made["ips"])), 10, 0.2)
    yield checks.check("its endpoint has the addresses, and the labels of its object", known, cluster.cli("node1", "endpoint", "list"))
    yield from talks(cluster, made)
    yield from without_an_agent(cluster, runtime, made)
    yield from without_a_runtime(cluster, runtime, made)


def talks(cluster, made):
    node1 = cluster.addresses()["node1"]
    for machine in ("client", "stranger", "node1", "node2"):
        yield checks.check(f"{machine} reaches it", both_ways(cluster, machine, made["ips"], True), reaches(cluster, machine, made["ips"]))
    yield checks.check("node2 reaches it at its host port", both_ways(cluster, "node2", list(node1.values()), True, HOST_PORT), reaches(cluster, "node2", node1.values(), HOST_PORT))
    cluster.put(POLICY)
    yield checks.check("a policy keeps the stranger away", both_ways(cluster, "stranger", made["ips"], False), reaches(cluster, "stranger", made["ips"]))
    yield checks.check("and nobody else", both_ways(cluster, "client", made["ips"], True), reaches(cluster, "client", made["ips"]))


def without_an_agent(cluster, runtime, made):
    """What a kubelet does then: it tries again, and takes down what is to go."""
    going = runtime.run(pod_object(cluster, "going", {"app": "going"}))
    late = pod_object(cluster, "late", {"app": "late"})
    cluster.sandbox("agent", "stop", "node1")
    why = runtime.run(late, failing=True)
    yield checks.check("without an agent a pod is refused, with the reason", "cilium.sock" in why, why)
    yield checks.check("the pod that is there goes on", reaches(cluster, "client", made["ips"]) == [True, True], reaches(cluster, "client", made["ips"]))
    runtime.stop(going)
    cluster.sandbox("agent", "start", "node1")
    gone = checks.wait_until(lambda: endpoint_at(cluster, going["ips"]) is None, 10, 0.3)
    yield checks.check("the next agent hears of the pod that went", gone, cluster.cli("node1", "endpoint", "list"))
    again = runtime.run(late)
    yield checks.check("the refused pod is made when it is tried again", len(again["ips"]) == 2, again)
    yield checks.check("policy still holds", both_ways(cluster, "stranger", made["ips"], False) and both_ways(cluster, "client", made["ips"], True), reaches(cluster, "stranger", made["ips"]))
    runtime.stop(again)


def without_a_runtime(cluster, runtime, made):
    runtime.kill()
    yield checks.check("a pod outlives its runtime", both_ways(cluster, "client", made["ips"], True), reaches(cluster, "client", made["ips"]))
    runtime.start()
    runtime.stop(made)
    gone = checks.wait_until(lambda: not endpoint_at(cluster, made["ips"]), 10, 0.3)
    yield checks.check("whose successor takes it down", gone, cluster.cli("node1", "endpoint", "list"))
    allocated = cluster.cli_json("node1", "status")["ipam"]["allocations"]
    yield checks.check("no address is kept", not any("web" in str(owner) or "late" in str(owner) or "going" in str(owner) for owner in allocated.values()), allocated)
