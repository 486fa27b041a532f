"""Installed as users install it: the image and the chart, run by the kubelets."""
import importlib.util
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


def cluster_with_image(context):
    cluster = context.own_cluster(nodes=2, own_processes=True)
    image = cluster.folder / "axoneme-image.tar"
    run([ROOT / "deploy/image/build.sh", "--bin", cluster.bin, "--output", image], timeout=180)
    for node in cluster.node_names:
        cluster.import_image(node, image)
    return cluster


def install(cluster):
    """`helm install` with the values that a cluster without kube-proxy wants."""
    values = {"kubeProxyReplacement": True, "k8sServiceHost": cluster.machines[CONTROL]["ipv4"], "k8sServicePort": 6443, "ipv6": {"enabled": True}}
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
