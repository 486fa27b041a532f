"""Installed as users install it: the image and the chart, run by the kubelets."""
import importlib.util
import json
import pathlib

from bed import traffic, workloads
from bed.axoneme import NAMESPACE
from bed.cluster import CONTROL, ROOT, TAINT
from lib import checks
from lib.sandbox import run
from lib.scenario import scenario

SYS_RESOURCE = 24  # the capability's number


@scenario(cost=120, only_by_name=True)
def installed_as_pods(context):
    cluster = cluster_with_image(context)
    api = cluster.api
    install(cluster)
    for node in cluster.node_names:
        yield checks.check(f"{node}: gets ready", api.wait_for(lambda: cluster.node_ready(node), 120), state_of(cluster))
        yield checks.check(f"{node}: the taint {TAINT} is gone", api.wait_for(lambda: TAINT not in cluster.taints(node), 30), cluster.taints(node))
        network = api.wait_for(lambda: cluster.conditions(node).get("NetworkUnavailable"), 20)
        yield checks.check(f"{node}: NetworkUnavailable is False, because CiliumIsUp", network and (network["status"], network["reason"]) == ("False", "CiliumIsUp"), network)
    for kind, name in (("DaemonSet", "cilium"), ("Deployment", "cilium-operator")):
        ready = api.wait_for(lambda: all_ready(api.get("apps/v1", kind, NAMESPACE, name)), 90)
        yield checks.check(f"{kind} {name}: all of its pods are ready", ready, state_of(cluster))
    namespace = context.namespace_in(cluster)
    address = traffic.web_and_client(cluster, namespace)
    yield checks.check("client → ClusterIP", traffic.becomes(cluster, "client", address, True))
    api.create(workloads.cilium_policy("nobody", namespace, "web", {"app": "nobody"}))
    yield checks.check("CiliumNetworkPolicy: the client is shut out", traffic.becomes(cluster, "client", address, False))
    api.delete("cilium.io/v2", "CiliumNetworkPolicy", namespace, "nobody")
    yield checks.check("and let in again", traffic.becomes(cluster, "client", address, True))
    streams = traffic.Streams(cluster, [("client", pod["status"]["podIP"]) for pod in cluster.pods(namespace, "app=web")])
    cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "daemonset/cilium")
    done = cluster.kubectl("-n", NAMESPACE, "rollout", "status", "daemonset/cilium", "--timeout=120s", check=False, timeout=150)
    yield checks.check("the DaemonSet is rolled out anew", done.returncode == 0, done.stdout + done.stderr)
    yield from streams.nothing_lost("a roll-out of the agents")


@scenario(cost=120, only_by_name=True)
def applied_as_plain_manifests(context):
    """deploy/kubernetes/axoneme.yaml as it is, in a cluster with a kube-proxy."""
    cluster = cluster_with_image(context)
    api = cluster.api
    # All that the agents need of one: the API server's ClusterIP.
    service = api.get("v1", "Service", "default", "kubernetes")["spec"]["clusterIP"]
    for node in cluster.node_names:
        for chain in ("OUTPUT", "PREROUTING"):
            cluster.exec(node, "iptables", "-t", "nat", "-A", chain, "-d", service, "-p", "tcp", "--dport", 443, "-j", "DNAT", "--to-destination",
                         f"{cluster.machines[CONTROL]['ipv4']}:6443")
    text = (ROOT / "deploy/kubernetes/axoneme.yaml").read_text()
    if not may_lock_memory():
        text = "\n".join(line for line in text.splitlines() if line.strip() not in ("- SYS_RESOURCE", "- SYS_MODULE"))
    cluster.kubectl("apply", "--validate=false", "-f", "-", stdin=text)
    for node in cluster.node_names:
        yield checks.check(f"{node}: gets ready", api.wait_for(lambda: cluster.node_ready(node), 120), state_of(cluster))
        yield checks.check(f"{node}: the taint {TAINT} is gone", api.wait_for(lambda: TAINT not in cluster.taints(node), 30), cluster.taints(node))
    for kind, name in (("DaemonSet", "cilium"), ("Deployment", "cilium-operator")):
        yield checks.check(f"{kind} {name}: all of its pods are ready", api.wait_for(lambda: all_ready(api.get("apps/v1", kind, NAMESPACE, name)), 90), state_of(cluster))
    namespace = context.namespace_in(cluster)
    traffic.web_and_client(cluster, namespace)
    for pod in cluster.pods(namespace, "app=web"):
        yield checks.check(f"client → {pod['metadata']['name']} on {pod['spec']['nodeName']}", traffic.becomes(cluster, "client", pod["status"]["podIP"], True))
    api.create(workloads.cilium_policy("nobody", namespace, "web", {"app": "nobody"}))
    target = cluster.pods(namespace, "app=web")[0]["status"]["podIP"]
    yield checks.check("CiliumNetworkPolicy: the client is shut out", traffic.becomes(cluster, "client", target, False))
    pod = cluster.pods(NAMESPACE, "k8s-app=cilium")[0]["metadata"]["name"]
    done = cluster.kubectl("-n", NAMESPACE, "exec", pod, "-c", "cilium-agent", "--", "cilium-dbg", "status", "--brief", check=False)
    yield checks.check("kubectl exec: cilium-dbg status --brief", done.returncode == 0 and done.stdout.strip() == "OK", done.stdout + done.stderr)


@scenario(cost=150, only_by_name=True)
def hubble_as_pods(context):
    """Hubble with what it needs switched on and nothing else: certificates are the chart's, the page and the relay are reached through Services."""
    cluster = cluster_with_image(context)
    api = cluster.api
    first, second = cluster.node_names
    install(cluster, {"hubble": {"enabled": True, "relay": {"enabled": True}, "ui": {"enabled": True}, "metrics": {"enabled": ["drop", "flow"]}}})
    # There is no DNS server in this cluster, which is what the relay finds the agents with.
    peers = {"ip": api.get("v1", "Service", NAMESPACE, "hubble-peer")["spec"]["clusterIP"], "hostnames": [f"hubble-peer.{NAMESPACE}.svc"]}
    cluster.kubectl("-n", NAMESPACE, "patch", "deployment", "hubble-relay", "-p", json.dumps({"spec": {"template": {"spec": {"hostAliases": [peers]}}}}))
    for node in cluster.node_names:
        yield checks.check(f"{node}: gets ready", api.wait_for(lambda: cluster.node_ready(node), 120), state_of(cluster))
    yield checks.check("Deployment hubble-relay: its pod is ready", api.wait_for(lambda: all_ready(api.get("apps/v1", "Deployment", NAMESPACE, "hubble-relay")), 120), state_of(cluster))
    namespace = context.namespace_in(cluster)
    address = traffic.web_and_client(cluster, namespace)
    agents = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in cluster.pods(NAMESPACE, "k8s-app=cilium")}

    def in_agent(node, *words):
        return cluster.kubectl("-n", NAMESPACE, "exec", agents[node], "-c", "cilium-agent", "--", *words, check=False).stdout

    relay = api.get("v1", "Service", NAMESPACE, "hubble-relay")["spec"]["clusterIP"]

    def hubble(*words):
        return in_agent(first, "hubble", *words, "--server", f"{relay}:80")

    def relay_log():
        return cluster.kubectl("-n", NAMESPACE, "logs", "deployment/hubble-relay", "--tail=12", check=False).stdout

    connected = "Connected Nodes: 2/2"
    yield checks.check("the relay is connected to both agents, over TLS", api.wait_for(lambda: connected in hubble("status"), 60), hubble("status") + relay_log())
    nodes = hubble("list", "nodes", "-o", "wide")
    yield checks.check("with certificates of the chart's", nodes.count("hubble-grpc.cilium.io") == 2 or nodes.count("Enabled") >= 2, nodes)
    api.create(workloads.cilium_policy("nobody", namespace, "web", {"app": "nobody"}))
    yield checks.check("the client is shut out", traffic.becomes(cluster, "client", address, False))
    told = hubble("observe", "--last", "50", "--verdict", "DROPPED", "--from-pod", f"{namespace}/client", "--explain")
    yield checks.check("the relay tells of the drop, by name, and of its policy", f"{namespace}/client" in told and "nobody" in told and f"{namespace}/web-" in told, told)
    api.delete("cilium.io/v2", "CiliumNetworkPolicy", namespace, "nobody")
    yield checks.check("let in again", traffic.becomes(cluster, "client", address, True))
    told = hubble("observe", "--last", "100", "--to-pod", f"{namespace}/web", "--print-node-name")
    yield checks.check("flows are of both nodes", all(node in told for node in cluster.node_names), told)
    flow = hubble("observe", "--last", "20", "--from-pod", f"{namespace}/client", "--verdict", "FORWARDED", "-o", "json")
    yield checks.check("with the workload's name", '"name":"web"' in flow.replace(" ", ""), flow[-1500:])
    page = f"{api.get('v1', 'Service', NAMESPACE, 'hubble-ui')['spec']['clusterIP']}"
    text = cluster.exec(first, "curl", "-s", "--max-time", "5", f"http://{page}/", check=False).stdout
    yield checks.check("Service hubble-ui: the page", "<title>Axoneme" in text, text[:300])
    policies = cluster.exec(first, "curl", "-s", "--max-time", "5", f"http://{page}/api/v1/policies", check=False).stdout
    yield checks.check("and its policies, read with the relay's account", policies.startswith("{") and "error" not in policies, policies[:300])
    own = cluster.machines[first]["ipv4"]
    metrics = cluster.exec(first, "curl", "-s", "--max-time", "5", f"http://{own}:9965/metrics", check=False).stdout
    yield checks.check("Hubble's metrics on the node", "hubble_drop_total{" in metrics and "hubble_flows_processed_total{" in metrics, metrics[:500])
    api.create({"apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": "second", "namespace": NAMESPACE},
                "spec": {"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": second}}, "defaults": {"hubble-event-buffer-capacity": "63"}}})
    cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "daemonset/cilium")
    done = cluster.kubectl("-n", NAMESPACE, "rollout", "status", "daemonset/cilium", "--timeout=120s", check=False, timeout=150)
    yield checks.check("the DaemonSet is rolled out anew", done.returncode == 0, done.stdout + done.stderr)
    agents = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in cluster.pods(NAMESPACE, "k8s-app=cilium")}
    sizes = {node: in_agent(node, "hubble", "status", "--server", "unix:///var/run/cilium/hubble.sock") for node in cluster.node_names}
    yield checks.check("CiliumNodeConfig: the node that it selects has a ring of 63 flows, the other one of 4,095", "/63 " in sizes[second] and "/4,095 " in sizes[first], sizes)
    yield checks.check("the relay has found both again", api.wait_for(lambda: connected in hubble("status"), 60), hubble("status"))


def cluster_with_image(context):
    cluster = context.own_cluster(nodes=2, own_processes=True)
    image = cluster.folder / "axoneme-image.tar"
    run([ROOT / "deploy/image/build.sh", "--bin", cluster.bin, "--output", image], timeout=180)
    for node in cluster.node_names:
        cluster.import_image(node, image)
    return cluster


def install(cluster, more=None):
    """`helm install` with the values that a cluster without kube-proxy wants."""
    values = (more or {}) | {"kubeProxyReplacement": True, "k8sServiceHost": cluster.machines[CONTROL]["ipv4"], "k8sServicePort": 6443, "ipv6": {"enabled": True}}
    if not may_lock_memory():
        values["securityContext"] = {"capabilities": {"ciliumAgent": ["NET_ADMIN", "NET_RAW", "SYS_ADMIN"]}}
    # kubectl 1.20 does not know all fields of a newer Kubernetes; the API server drops those.
    cluster.kubectl("apply", "--validate=false", "-f", "-", stdin=rendered(values))


def rendered(values):
    """The chart's manifests, by the renderer of tests/helm."""
    spec = importlib.util.spec_from_file_location("helm_tests", ROOT / "tests/helm/run.py")
    helm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(helm)
    program, lacking = helm.renderer()
    if program is None:
        raise RuntimeError(f"the chart cannot be rendered: there is no {lacking}")
    result = helm.render(program, [{"name": "tests", "kubeVersion": "v1.20.2", "values": values}])["tests"]
    if "error" in result:
        raise RuntimeError(result["error"])
    return helm.manifest(result["files"])


def may_lock_memory():
    """Whether this machine can grant SYS_RESOURCE."""
    status = pathlib.Path("/proc/self/status").read_text()
    bounds = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounds, 16) >> SYS_RESOURCE & 1)


def all_ready(workload):
    status = workload.get("status", {})
    if workload["kind"] == "DaemonSet":
        return 0 < status.get("desiredNumberScheduled", 0) == status.get("numberReady", 0) == status.get("updatedNumberScheduled", 0)
    return 0 < workload["spec"]["replicas"] == status.get("readyReplicas", 0)


def state_of(cluster):
    """What the pods of kube-system say of themselves, for a check that failed."""
    words = cluster.kubectl("-n", NAMESPACE, "get", "pods", "-o", "wide", check=False).stdout
    for pod in cluster.pods(NAMESPACE):
        words += cluster.kubectl("-n", NAMESPACE, "logs", pod["metadata"]["name"], "--all-containers", "--tail=8", check=False).stdout
    events = [event["message"] for event in cluster.api.list("v1", "Event", NAMESPACE) if event["type"] != "Normal"]
    return words + "\n".join(events[-6:])
