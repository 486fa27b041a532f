"""What happens to a cluster in use: roll-outs, drained nodes, many pods, changed labels, collected garbage."""
import json
import time

from bed import traffic, workloads
from lib import checks
from lib.scenario import scenario


def served(context, replicas, name="web"):
    """A Deployment with a Service, and a client that was entered; (namespace, the service's address)."""
    cluster = context.axoneme().cluster
    namespace = context.namespace()
    cluster.api.create(workloads.deployment(name, namespace, replicas))
    cluster.api.create(workloads.service(name, namespace))
    cluster.api.create(workloads.pod("client", namespace, node=cluster.node_names[0]))
    cluster.wait_pods(namespace, replicas, 90, f"app={name}")
    cluster.enter_pod(cluster.wait_pods(namespace, 1, 60, "app=client")[0])
    address = cluster.api.get("v1", "Service", namespace, name)["spec"]["clusterIP"]
    traffic.becomes(cluster, "client", address, True)
    return namespace, address


@scenario(cost=40, only_by_name=True)
def rolling_update(context):
    """Every pod of a Deployment is replaced while clients go on connecting."""
    namespace, address = served(context, 3)
    cluster = context.kubernetes()
    before = {pod["metadata"]["uid"] for pod in cluster.pods(namespace, "app=web")}
    load = traffic.Load(cluster, "client", address)
    started = time.monotonic()
    cluster.kubectl("-n", namespace, "set", "env", "deployment/web", "ROLLED=1")
    done = cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=120s", check=False, timeout=150)
    yield checks.check(f"rolled out in {time.monotonic() - started:.0f} s", done.returncode == 0, done.stdout + done.stderr)
    # The last of the old ones is still on its way out.
    cluster.api.wait_for(lambda: len(cluster.api.list("v1", "Pod", namespace, "app=web")) == 3, 30)
    yield load.without_an_error("a rolling update")
    after = {pod["metadata"]["uid"] for pod in cluster.pods(namespace, "app=web")}
    yield checks.check("all three pods are new", len(after) == 3 and not before & after, [before, after])


@scenario(cost=40, only_by_name=True)
def node_drained(context):
    """A node's pods move to the others while clients go on, and it takes pods again afterwards."""
    namespace, address = served(context, 2)
    cluster = context.kubernetes()
    node = cluster.node_names[-1]
    context.on_end(lambda: cluster.kubectl("uncordon", node))
    cluster.api.create({"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": namespace},
                        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}})
    load = traffic.Load(cluster, "client", address)
    done = cluster.kubectl("drain", node, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=100s", check=False, timeout=130)
    yield checks.check(f"{node} is drained", done.returncode == 0, done.stdout + done.stderr)
    pods = cluster.wait_pods(namespace, 2, 60, "app=web")
    yield checks.check("its pods run elsewhere", node not in {pod["spec"]["nodeName"] for pod in pods}, pods)
    yield load.without_an_error("a drain")
    left = cluster.api.wait_for(lambda: [endpoint for endpoint in local_endpoints(cluster, node) if namespace in endpoint] == [], 20)
    yield checks.check(f"{node} has no endpoints of theirs left", left, local_endpoints(cluster, node))
    cluster.kubectl("uncordon", node)
    cluster.api.create(workloads.pod("back", namespace, node=node))
    cluster.enter_pod(cluster.wait_pods(namespace, 1, 60, "app=back")[0])
    yield checks.check(f"{node} takes pods again", traffic.becomes(cluster, "back", address, True))


def local_endpoints(cluster, node):
    """namespace/name of the pods that the node's agent has endpoints for."""
    found = []
    for endpoint in json.loads(cluster.exec(node, "axoneme", "endpoint", "list", "-o", "json").stdout):
        identifiers = endpoint["status"].get("external-identifiers", {})
        if identifiers.get("pod-name"):
            found.append(identifiers["pod-name"])
    return found


@scenario(cost=60, only_by_name=True)
def scaled_to_100_pods(context):
    """100 pods at once: all get ready, all have addresses of their own, and all of them are gone again afterwards."""
    cluster = context.axoneme().cluster
    namespace = context.namespace()
    started = time.monotonic()
    cluster.api.create(workloads.deployment("many", namespace, 100, probe=False))
    cluster.api.create(workloads.service("many", namespace))
    pods = cluster.wait_pods(namespace, 100, 150, "app=many")
    yield checks.check(f"100 pods ready in {time.monotonic() - started:.0f} s", True)
    addresses = [address for pod in pods for address in cluster.pod_addresses(pod).values()]
    families = len(cluster.pod_addresses(pods[0]))
    yield checks.check(f"{len(addresses)} addresses, none twice", len(set(addresses)) == len(addresses) == 100 * families, len(set(addresses)))
    nodes = {node: [pod for pod in pods if pod["spec"]["nodeName"] == node] for node in cluster.node_names}
    for node in cluster.node_names:
        client = cluster.enter_pod(nodes[node][0])
        answers = cluster.probe(client, [traffic.tcp(address, timeout=3000) for address in addresses])
        bad = [answer for answer in answers if not answer["ok"]]
        yield checks.check(f"a pod on {node} reaches all of them", not bad, bad[:3])
    slices = cluster.api.list("discovery.k8s.io/v1beta1", "EndpointSlice", namespace)
    yield checks.check("the Service has all of them", sum(len(item["endpoints"]) for item in slices) >= 100, len(slices))
    cluster.api.delete("apps/v1", "Deployment", namespace, "many")
    gone = cluster.api.wait_for(lambda: not cluster.api.list("v1", "Pod", namespace), 240, 0.5)
    yield checks.check("all are gone", gone, len(cluster.api.list("v1", "Pod", namespace)))
    for node in cluster.node_names:
        left = cluster.api.wait_for(lambda: not [name for name in local_endpoints(cluster, node) if name.startswith(namespace)], 20)
        yield checks.check(f"{node}: no endpoint is left of them", left, local_endpoints(cluster, node))
        links = cluster.exec(node, "sh", "-c", "ip -o link | grep -c ' lxc' || true").stdout.strip()
        yield checks.check(f"{node}: no more links than endpoints", int(links) <= len(local_endpoints(cluster, node)) + 1, links)
    yield checks.check("their CiliumEndpoints are gone", cluster.api.wait_for(lambda: not cluster.api.list("cilium.io/v2", "CiliumEndpoint", namespace), 60),
                       len(cluster.api.list("cilium.io/v2", "CiliumEndpoint", namespace)))


@scenario(cost=30, only_by_name=True)
def labels_changed(context):
    """A pod's labels, and its namespace's, are part of its identity; policy follows."""
    axoneme = context.axoneme()
    namespace, address = served(context, 1)
    cluster, api = axoneme.cluster, axoneme.cluster.api
    api.create(workloads.cilium_policy("gold-only", namespace, "web", {"app": "client", "rank": "gold"}))
    yield checks.check("without the label: shut out", traffic.becomes(cluster, "client", address, False))
    before = api.wait_for(lambda: axoneme.identity_of(namespace, "client"), 10)
    api.patch("v1", "Pod", namespace, "client", {"metadata": {"labels": {"rank": "gold"}}})
    changed = api.wait_for(lambda: axoneme.identity_of(namespace, "client") != before, 15)
    after = axoneme.identity_of(namespace, "client")
    yield checks.check(f"a new label gives a new identity: {before} → {after}", changed and after)
    labels = (api.find("cilium.io/v2", "CiliumIdentity", None, str(after)) or {}).get("security-labels", {})
    yield checks.check("CiliumIdentity with the label", labels.get("k8s:rank") == "gold", labels)
    yield checks.check("with the label: let in", traffic.becomes(cluster, "client", address, True))
    api.patch("v1", "Namespace", None, namespace, {"metadata": {"labels": {"team": "blue"}}})
    moved = api.wait_for(lambda: axoneme.identity_of(namespace, "client") not in (before, after), 15)
    last = axoneme.identity_of(namespace, "client")
    labels = (api.find("cilium.io/v2", "CiliumIdentity", None, str(last)) or {}).get("security-labels", {})
    yield checks.check(f"a new label of the namespace gives a new identity: {after} → {last}",
                       moved and labels.get("k8s:io.cilium.k8s.namespace.labels.team") == "blue", labels)
    yield checks.check("and it is still let in", traffic.becomes(cluster, "client", address, True))
    api.patch("v1", "Pod", namespace, "client", {"metadata": {"labels": {"rank": None}}})
    yield checks.check("the label is taken away: shut out", traffic.becomes(cluster, "client", address, False))


@scenario(cost=60, only_by_name=True)
def garbage_collected(context):
    """An identity that nobody has, an endpoint whose pod is gone."""
    axoneme = context.axoneme()
    cluster, api = axoneme.cluster, axoneme.cluster.api
    namespace = context.namespace()
    identity = {"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity", "metadata": {"name": "54321", "labels": {"app": "nobody"}},
                "security-labels": {"k8s:app": "nobody", "k8s:io.kubernetes.pod.namespace": namespace}}
    api.apply(identity)
    api.create({"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint", "metadata": {"name": "nobody", "namespace": namespace},
                "status": {"id": 4711, "identity": {"id": 54321, "labels": ["k8s:app=nobody"]}, "networking": {"addressing": [{"ipv4": "10.244.200.200"}], "node": "172.18.1.250"},
                           "state": "ready"}})
    gone = api.wait_for(lambda: api.find("cilium.io/v2", "CiliumEndpoint", namespace, "nobody") is None, 60, 0.5)
    yield checks.check("the CiliumEndpoint without a pod is gone", gone, api.find("cilium.io/v2", "CiliumEndpoint", namespace, "nobody"))
    gone = api.wait_for(lambda: api.find("cilium.io/v2", "CiliumIdentity", None, "54321") is None, 60, 0.5)
    yield checks.check("the CiliumIdentity without a user is gone", gone, api.find("cilium.io/v2", "CiliumIdentity", None, "54321"))
