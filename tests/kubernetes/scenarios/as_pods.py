"""Installed as users install it: the image and the manifests, run by the kubelets."""
from bed import traffic, workloads
from bed.axoneme import NAMESPACE
from bed.cluster import CONTROL, ROOT
from lib import checks
from lib.sandbox import run
from lib.scenario import scenario

MANIFEST = ROOT / "deploy/kubernetes/axoneme.yaml"


@scenario(cost=120, only_by_name=True)
def installed_as_pods(context):
    cluster = context.own_cluster(nodes=2, own_processes=True)
    api = cluster.api
    image = cluster.folder / "axoneme-image.tar"
    run([ROOT / "deploy/image/build.sh", "--bin", cluster.bin, "--output", image], timeout=180)
    for node in cluster.node_names:
        cluster.import_image(node, image)
    install(cluster)
    for node in cluster.node_names:
        yield checks.check(f"{node}: gets ready", api.wait_for(lambda: cluster.node_ready(node), 120), state_of(cluster))
    for kind, name in (("DaemonSet", "cilium"), ("Deployment", "cilium-operator")):
        ready = api.wait_for(lambda: all_ready(api.get("apps/v1", kind, NAMESPACE, name)), 90)
        yield checks.check(f"{kind} {name}: all of its pods are ready", ready, state_of(cluster))
    namespace = context.namespace_in(cluster)
    api.create(workloads.deployment("web", namespace, 2))
    api.create(workloads.service("web", namespace))
    api.create(workloads.pod("client", namespace, node=cluster.node_names[0]))
    cluster.wait_pods(namespace, 2, 90, "app=web")
    cluster.enter_pod(cluster.wait_pods(namespace, 1, 60, "app=client")[0])
    address = api.get("v1", "Service", namespace, "web")["spec"]["clusterIP"]
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


def install(cluster):
    """What the chart's k8sServiceHost and k8sServicePort do: there is no kube-proxy that would make 10.96.0.1 work for the agents."""
    # kubectl 1.20 does not know all fields of a newer Kubernetes; the API server drops those.
    cluster.kubectl("apply", "--validate=false", "-f", MANIFEST)
    change = {"kube-proxy-replacement": "true", "enable-ipv6": "true", "enable-ipv6-masquerade": "true"}
    cluster.api.patch("v1", "ConfigMap", NAMESPACE, "cilium-config", {"data": change})
    for workload in ("daemonset/cilium", "deployment/cilium-operator"):
        cluster.kubectl("-n", NAMESPACE, "set", "env", workload, f"KUBERNETES_SERVICE_HOST={cluster.machines[CONTROL]['ipv4']}", "KUBERNETES_SERVICE_PORT=6443")


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
