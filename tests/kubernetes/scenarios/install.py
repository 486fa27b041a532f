"""The command line of a cluster: `axoneme install`, `status`, `upgrade`, `uninstall` against a real API server, agents run by the kubelets."""
import json

from bed import traffic
from bed.axoneme import NAMESPACE
from bed.cluster import CONTROL
from lib import checks
from lib.node_state import OWN_PLUGIN, difference, snapshot
from lib.scenario import scenario
from scenarios import as_pods

# Everything that an installation may touch in the API server, beside the definitions that the operator registers.
KINDS = [("v1", "Namespace"), ("v1", "ServiceAccount"), ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "Service"), ("v1", "Pod"), ("apps/v1", "DaemonSet"),
         ("apps/v1", "Deployment"), ("apps/v1", "ControllerRevision"), ("rbac.authorization.k8s.io/v1", "ClusterRole"),
         ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"), ("rbac.authorization.k8s.io/v1", "Role"), ("rbac.authorization.k8s.io/v1", "RoleBinding"),
         ("coordination.k8s.io/v1", "Lease")]


# What this machine's nodes want, beside the defaults.
VALUES = ["--set", "ipv6.enabled=true"] + ([] if as_pods.may_lock_memory() else ["--set", "securityContext.capabilities.ciliumAgent={NET_ADMIN,NET_RAW,SYS_ADMIN}"])


class Cli:
    def __init__(self, cluster):
        self.cluster = cluster

    def __call__(self, *words, timeout=60):
        return self.cluster.exec(CONTROL, self.cluster.bin / "axoneme", words[0], f"--kubeconfig={self.cluster.pki.path('admin.kubeconfig')}", *words[1:],
                                 check=False, timeout=timeout)


def objects(cluster):
    # Whatever Kubernetes' own programs add meanwhile has other names.
    return {(kind, item["metadata"].get("namespace"), item["metadata"]["name"]) for version, kind in KINDS for item in cluster.api.list(version, kind)
            if not item["metadata"]["name"].startswith("k8s-")}


def definitions(cluster):
    return [item["metadata"]["name"] for item in cluster.api.list("apiextensions.k8s.io/v1", "CustomResourceDefinition") if item["spec"]["group"] == "cilium.io"]


def node_state(cluster, node):
    """Of what a node has, all but what kubelet and containerd keep moving."""
    state = snapshot(cluster, node)
    state["files"] = [line for line in state["files"] if line.startswith(("/etc/cni", "/opt/cni", "/run/cilium", "/var/lib/cilium"))]
    state["mounts"] = [line for line in state["mounts"] if "kubelet" not in line and "containerd" not in line]
    state["nftables"] = [line for line in state["nftables"] if "KUBE-" not in line]
    return state


def said(done):
    return done.stdout + done.stderr


def cluster_with_plugins(context):
    """The nodes already have plugins of their own, which an uninstallation is to leave."""
    cluster = as_pods.cluster_with_image(context)
    for node in cluster.node_names:
        cluster.exec(node, "sh", "-c", OWN_PLUGIN, check=False)
    return cluster


@scenario(cost=200, only_by_name=True)
def installed_by_the_command_line(context):
    cluster = cluster_with_plugins(context)
    api, axoneme = cluster.api, Cli(cluster)
    objects_before = objects(cluster)
    nodes_before = {node: node_state(cluster, node) for node in cluster.node_names}

    done = axoneme("install", "--set", "kubeProxyReplacment=true,MTU=large", "--set", "nosuch.value=1")
    wanted = ("3 of the values cannot be used", "kubeProxyReplacment: unknown", "MTU=large: expected a number", "nosuch.value: unknown")
    yield checks.check("install refuses values that it does not know, all of them named", done.returncode == 1 and all(text in done.stderr for text in wanted), said(done))
    done = axoneme("status")
    yield checks.check("status: nothing is installed, exit status 1", done.returncode == 1 and "DaemonSet kube-system/cilium does not exist" in done.stdout, said(done))
    yield checks.check("and nothing has been made", objects(cluster) == objects_before, objects(cluster) ^ objects_before)

    done = axoneme("install", "--wait", "--wait-duration", "120s", *VALUES, timeout=150)
    yield checks.check("install --wait", done.returncode == 0, said(done) + (state_of(cluster) if done.returncode else ""))
    yield checks.check("it has found that there is no kube-proxy", "k8sServiceHost=" + cluster.machines[CONTROL]["ipv4"] in done.stdout, said(done))
    done = axoneme("status", "--wait", "--wait-duration", "60s", timeout=90)
    yield checks.check("status --wait", done.returncode == 0 and "Desired: 2, Ready: 2/2, Available: 2/2" in done.stdout, said(done) + (state_of(cluster) if done.returncode else ""))
    state = json.loads(axoneme("status", "-o", "json").stdout)
    yield checks.check("status -o json", state["pod_state"]["cilium"]["Ready"] == 2 and state["pod_state"]["cilium-operator"]["Ready"] == 2, state)
    for node in cluster.node_names:
        yield checks.check(f"{node}: is ready", api.wait_for(lambda: cluster.node_ready(node), 60), cluster.conditions(node))
    done = axoneme("install")
    yield checks.check("a second install is refused", done.returncode == 1 and "is installed in namespace kube-system already" in done.stderr, said(done))

    namespace = context.namespace_in(cluster)
    address = traffic.web_and_client(cluster, namespace)
    yield checks.check("client → ClusterIP", traffic.becomes(cluster, "client", address, True))
    state = axoneme("status").stdout
    yield checks.check("status counts the pods", "3/3 managed by Cilium" in state, state)

    done = axoneme("upgrade", "--wait", "--wait-duration", "120s", "--set", "debug.enabled=true", "--set", "rollOutCiliumPods=true", timeout=150)
    config = api.get("v1", "ConfigMap", NAMESPACE, "cilium-config")["data"]
    yield checks.check("upgrade --wait: the new value is there", done.returncode == 0 and config.get("debug") == "true", said(done))
    yield checks.check("and those of the installation are", config["enable-ipv6"] == config["kube-proxy-replacement"] == "true", config)
    yield checks.check("client → ClusterIP, after the upgrade", traffic.becomes(cluster, "client", address, True))

    api.delete("apps/v1", "Deployment", namespace, "web")
    for pod in cluster.pods(namespace):
        api.delete("v1", "Pod", namespace, pod["metadata"]["name"], grace=1)
    api.wait_for(lambda: not api.list("v1", "Pod", namespace), 60)
    api.delete("v1", "Namespace", None, namespace)
    api.wait_for(lambda: not api.find("v1", "Namespace", None, namespace), 60)
    registered = definitions(cluster)
    done = axoneme("uninstall", "--timeout", "120s", timeout=200)
    yield checks.check("uninstall", done.returncode == 0, said(done) + (state_of(cluster) if done.returncode else ""))
    # Service accounts' tokens go a moment later than the accounts.
    api.wait_for(lambda: objects(cluster) == objects_before, 30)
    left = objects(cluster) ^ objects_before
    yield checks.check("the API server is as before", not left, left)
    yield checks.check("but for the definitions", registered and definitions(cluster) == registered, (registered, definitions(cluster)))
    for node in cluster.node_names:
        left = difference(nodes_before[node], node_state(cluster, node))
        yield checks.check(f"{node}: is as before", not left, "\n".join(left))
    done = axoneme("uninstall", "--delete-crds")
    yield checks.check("uninstall --delete-crds", done.returncode == 0 and not definitions(cluster), said(done) + str(definitions(cluster)))


class Connectivity:
    """`axoneme connectivity …` on a cluster of this scenario's own, installed by the command line."""

    def __init__(self, context):
        self.cluster = cluster_with_plugins(context)
        done = Cli(self.cluster)("install", "--wait", "--wait-duration", "120s", *VALUES, timeout=150)
        self.installed = checks.check("install --wait", done.returncode == 0, said(done) + (state_of(self.cluster) if done.returncode else ""))

    def __call__(self, *words, timeout):
        return self.cluster.exec(CONTROL, self.cluster.bin / "axoneme", "connectivity", words[0], f"--kubeconfig={self.cluster.pki.path('admin.kubeconfig')}", *words[1:],
                                 check=False, timeout=timeout)

    def leaves_nothing(self):
        left = self.cluster.api.find("v1", "Namespace", None, "cilium-test-1")
        return checks.check("its namespace has gone", not left, left)


@scenario(cost=300, only_by_name=True)
def connectivity_test_by_the_command_line(context):
    connectivity = Connectivity(context)
    yield connectivity.installed
    done = connectivity("test", timeout=900)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    yield checks.check(f"connectivity test: {last}", done.returncode == 0 and "✅" in last, said(done) + (state_of(connectivity.cluster) if done.returncode else ""))
    yield connectivity.leaves_nothing()


@scenario(cost=150, only_by_name=True)
def connectivity_perf_by_the_command_line(context):
    connectivity = Connectivity(context)
    yield connectivity.installed
    done = connectivity("perf", "--duration", "0.5", "-o", "json", timeout=300)
    measured = json.loads(done.stdout) if done.returncode == 0 else []
    found = {(row["scenario"], row["node"], row["test"]) for row in measured}
    wanted = {(pair, node, test) for pair in ("pod-to-pod", "host-to-pod", "host-to-host") for node in ("same-node", "other-node") for test in ("TCP_RR", "TCP_STREAM", "UDP_RR")}
    yield checks.check(f"connectivity perf: {len(measured)} measurements", done.returncode == 0 and wanted <= found, said(done) + (state_of(connectivity.cluster) if done.returncode else ""))
    yield checks.check("each with a rate or a throughput", measured and all(row.get("per-second", 0) > 100 or row.get("mbit-per-second", 0) > 10 for row in measured), measured)
    yield connectivity.leaves_nothing()


def state_of(cluster):
    """What the pods of kube-system say of themselves, for a check that failed."""
    words = "\n" + cluster.kubectl("-n", NAMESPACE, "get", "pods", "-o", "wide", check=False).stdout
    for pod in cluster.pods(NAMESPACE):
        words += cluster.kubectl("-n", NAMESPACE, "logs", pod["metadata"]["name"], "--all-containers", "--tail=8", check=False).stdout
    events = [event["message"] for event in cluster.api.list("v1", "Event", NAMESPACE) if event["type"] != "Normal"]
    return words + "\n".join(events[-6:])
