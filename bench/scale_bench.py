"""The rows of bench.py about a large cluster: what an agent and the operator need for objects of others."""
import json
import pathlib
import time

from lib import checks, services
from policy_bench import cpu_ns, rss_mib
from services_bench import many

NODES, PODS, IDENTITIES, SERVICES = 1000, 20_000, 5000, 2000
CHANGES_PER_SECOND, SECONDS = 100, 10
# Kind to the store's directory.
FOLDERS = {"CiliumNode": "ciliumnodes.cilium.io", "CiliumEndpoint": "ciliumendpoints.cilium.io", "CiliumIdentity": "ciliumidentities.cilium.io",
           "Pod": "pods", "Service": "services", "EndpointSlice": "endpointslices.discovery.k8s.io"}


def node_ip(number):
    return f"172.20.{number >> 8}.{number & 255}"


def pod_ip(number):
    return f"10.{100 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def node(number):
    name, octets = f"sim-node-{number:04}", f"10.{150 + (number >> 8)}.{number & 255}"
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNode",
            "metadata": {"name": name, "uid": f"6a1de1d0-6c5d-4c54-8a0e-{number:012}", "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "node.kubernetes.io/instance-type": "large"}},
            "spec": {"addresses": [{"type": "InternalIP", "ip": node_ip(number)}, {"type": "CiliumInternalIP", "ip": f"{octets}.1"}],
                     "health": {"ipv4": f"{octets}.2"}, "ipam": {"podCIDRs": [f"{octets}.0/24"]}, "bootid": f"b0071d00-0000-4000-8000-{number:012}"}}


def labels(identity):
    return {"k8s:app": f"app-{identity % 2500}", "k8s:app.kubernetes.io/component": "server", "k8s:io.kubernetes.pod.namespace": f"team-{identity % 50}",
            "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": f"team-{identity % 50}",
            "k8s:io.cilium.k8s.policy.cluster": "default", "k8s:io.cilium.k8s.policy.serviceaccount": f"account-{identity % 2500 % 40}",
            "k8s:track": f"t{identity // 2500}"}


def identity_number(identity):
    return 10_000 + identity


def identity(number):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity",
            "metadata": {"name": str(identity_number(number)), "uid": f"1de17171-6c5d-4c54-8a0e-{number:012}", "labels": {"app": f"app-{number % 2500}"}},
            "security-labels": labels(number)}


def pod_name(number):
    return f"app-{number % IDENTITIES % 2500}-7c9f6d5b4-{number:05}"


def pod(number):
    """As Kubernetes has it, without its containers."""
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod_name(number), "namespace": f"team-{number % IDENTITIES % 50}", "uid": f"90d90d90-6c5d-4c54-8a0e-{number:012}"},
            "spec": {"nodeName": f"sim-node-{number % NODES:04}"}, "status": {"phase": "Running", "podIP": pod_ip(number)}}


def endpoint(number, generation=0):
    """A pod's CiliumEndpoint; other generations of it have another address."""
    name, namespace = pod_name(number), f"team-{number % IDENTITIES % 50}"
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint",
            "metadata": {"name": name, "namespace": namespace, "uid": f"ce9ce9ce-6c5d-4c54-8a0e-{number:012}",
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": f"90d90d90-6c5d-4c54-8a0e-{number:012}"}]},
            "status": {"id": number % 60_000 + 1, "state": "ready", "encryption": {"key": 0},
                       "identity": {"id": identity_number(number % IDENTITIES), "labels": [f"{key}={value}" for key, value in sorted(labels(number % IDENTITIES).items())]},
                       "external-identifiers": {"k8s-namespace": namespace, "k8s-pod-name": name, "pod-name": f"{namespace}/{name}",
                                                "cni-attachment-id": f"{number:064x}:eth0", "container-id": f"{number:064x}"},
                       "named-ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
                       "networking": {"addressing": [{"ipv4": pod_ip(number + PODS * generation)}], "node": node_ip(number % NODES)}}}


class Store:
    """Objects straight into the cluster's store, each in place with a rename."""

    def __init__(self, cluster):
        self.root = pathlib.Path(cluster.status()["store"])

    def put(self, manifest):
        folder = self.root / FOLDERS[manifest["kind"]] / manifest["metadata"].get("namespace", "")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{manifest['metadata']['name']}.json"
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(json.dumps(manifest))
        temporary.rename(path)


def quiet(pid):
    """Whether the process has had next to nothing to do for half a second."""
    before = cpu_ns(pid)
    time.sleep(0.5)
    return cpu_ns(pid) - before < 10e6


def measure(bench, row):
    names = ("scale_agent_rss_mib", "scale_agent_cpu", "scale_operator_rss_mib")
    if not bench.wants(*names):
        return
    with bench.cluster("scale", nodes=1, families="ipv4", agent_flags=services.replacement("--bpf-lb-map-max=131072")) as cluster:
        agent, operator, store = cluster.status()["nodes"][0]["agent"]["pid"], cluster.status()["operator"]["pid"], Store(cluster)
        empty = {pid: rss_mib(pid) for pid in (agent, operator)}
        for make, count in ((node, NODES), (identity, IDENTITIES), (pod, PODS), (endpoint, PODS)):
            for number in range(count):
                store.put(make(number))
        for manifest in many(SERVICES, 256, lambda number: 5):
            store.put(manifest)
        known = lambda: len(cluster.cli_json("node1", "bpf", "ipcache", "list"))  # noqa: E731
        if not checks.wait_until(lambda: known() >= PODS + NODES, 300, 2):
            raise ValueError(f"the ipcache has {known()} entries, not those of {PODS} pods and {NODES} nodes")
        for pid in (agent, operator):
            checks.wait_until(lambda: quiet(pid), 120, 1)  # noqa: B023
        what = f"{NODES} nodes, {PODS} pods, {IDENTITIES} identities, {SERVICES} services"
        bench.add(row("scale_agent_rss_mib", [rss_mib(agent)], "MiB", empty=round(empty[agent], 1), what=what))
        bench.add(row("scale_operator_rss_mib", [rss_mib(operator)], "MiB", empty=round(empty[operator], 1), what=what))
        bench.add(row("scale_agent_cpu", changes(store, agent), "%", changes_per_second=CHANGES_PER_SECOND, rss_mib=round(rss_mib(agent), 1),
                      what="of a core: the agent, all threads, while CiliumEndpoints change"))


def changes(store, agent):
    """The agent's share of a core, in percent, second by second."""
    shares, number, start = [], 0, time.monotonic()
    for _ in range(SECONDS):
        begun, before = time.monotonic(), cpu_ns(agent)
        for _ in range(CHANGES_PER_SECOND):
            store.put(endpoint(number % PODS, 1))
            number += 1
            time.sleep(max(0.0, start + number / CHANGES_PER_SECOND - time.monotonic()))
        shares.append((cpu_ns(agent) - before) / 1e7 / (time.monotonic() - begun))
    return shares
