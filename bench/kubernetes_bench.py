"""The rows of bench.py that need a real API server: starts, a pod's first packet, an outage, and a large cluster's objects."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import statistics
import sys
import time

from policy_bench import cpu_ns, percentile, rss_mib

KUBERNETES = pathlib.Path(__file__).resolve().parent.parent / "tests/kubernetes"
sys.path.append(str(KUBERNETES))

import build as programs  # noqa: E402
from bed import traffic, workloads  # noqa: E402
from bed.axoneme import Axoneme  # noqa: E402
from bed.cluster import COMPONENTS, CONTROL, KubernetesCluster  # noqa: E402
from lib import checks  # noqa: E402

SPACE = "bench"
NODES, ENDPOINTS, IDENTITIES, SERVICES, BACKENDS = 1000, 20_000, 5000, 2000, 10
PODS, SETTLE_SECONDS = 100, 0.5
CHANGES_PER_SECOND, CHANGING_SECONDS = 100, 20
OUTAGE_SECONDS = int(os.environ.get("AXO_OUTAGE_SECONDS", "60"))
SMALL = ("k8s_agent_start_ms", "k8s_pod_ready_ms", "k8s_pod_ready_burst_ms", "api_outage_lost_packets")
LARGE = ("k8s_agent_rss_mib", "operator_rss_mib", "k8s_agent_cpu")


def measure(bench, row):
    if not bench.wants(*SMALL, *LARGE):
        return
    if reason := programs.unavailable(COMPONENTS):
        print(f"{', '.join(SMALL + LARGE)}: no Kubernetes here: {reason}", file=sys.stderr)
        return
    if bench.wants(*SMALL):
        with bench.cluster("k8s", kind=KubernetesCluster, nodes=2) as cluster:
            small(bench, row, cluster)
    if bench.wants(*LARGE):
        with bench.cluster("k8s-large", kind=KubernetesCluster, nodes=1) as cluster:
            large(bench, row, cluster)


def small(bench, row, cluster):
    axoneme = Axoneme(cluster)
    axoneme.install()
    cluster.api.apply(workloads.namespace(SPACE))
    cluster.must("its account", lambda: cluster.api.find("v1", "ServiceAccount", SPACE, "default"), 20, "kube-controller-manager")
    if bench.wants("k8s_agent_start_ms"):
        agent_start(bench, row, axoneme)
    if bench.wants("k8s_pod_ready_ms", "k8s_pod_ready_burst_ms"):
        pod_ready(bench, row, axoneme)
    if bench.wants("api_outage_lost_packets"):
        outage(bench, row, axoneme)


def agent_start(bench, row, axoneme):
    cluster, node = axoneme.cluster, axoneme.cluster.node_names[0]
    cluster.api.create(workloads.deployment("many", SPACE, 50, node=node, probe=False))
    cluster.wait_pods(SPACE, 50, 180)
    outside, own = [], []
    for _ in range(bench.runs):
        axoneme.stop_agent(node)
        started = time.monotonic()
        axoneme.start_agent(node)
        if not checks.wait_until(lambda: axoneme.healthy(node), 30, 0.01):
            raise ValueError(f"the agent is not healthy 30 s after its start:\n{cluster.log(f'agent-{node}')[-2000:]}")
        outside.append((time.monotonic() - started) * 1000)
        own.append(cluster.cli_json(node, "status")["axoneme"].get("start-ms", 0))
    bench.add(row("k8s_agent_start_ms", outside, "ms", own_ms=statistics.median(own), what="exec to healthy as the CLI says, 50 pods, real API server"))
    remove(cluster, "many")


def remove(cluster, name):
    cluster.api.delete("apps/v1", "Deployment", SPACE, name)
    cluster.api.wait_for(lambda: not cluster.api.list("v1", "Pod", SPACE, f"app={name}"), 120, 0.5)


def pod_ready(bench, row, axoneme):
    """100 pods under a policy that lets them reach one server; each sends from the moment ADD has returned.

    One comes after the other, until the node has 100: what is measured is the network's part. All at once, which is the second row, they wait for the
    machine to start containers.
    """
    cluster, (node, other) = axoneme.cluster, axoneme.cluster.node_names
    cluster.api.create(workloads.pod("server", SPACE, node=other))
    cluster.api.create(workloads.ingress_policy("only-many", SPACE, "server", {"app": "many"}))
    server = cluster.wait_pods(SPACE, 1, 60, "app=server")[0]
    log, probe = cluster.folder / "cni-probe.jsonl", cluster.folder / "cni-probe"
    probe.mkdir()
    shutil.copy(KUBERNETES / "cni_probe.py", probe)
    plugin = cluster.exec(node, "readlink", "-f", "/opt/cni/bin/cilium-cni").stdout.strip()
    (probe / "cni_probe.json").write_text(json.dumps({"plugin": plugin, "address": server["status"]["podIP"], "port": workloads.PORT, "log": str(log)}))
    cluster.exec(node, "ln", "-sfn", probe / "cni_probe.py", "/opt/cni/bin/cilium-cni")
    for number in range(PODS):
        cluster.api.create(workloads.pod(f"many{number}", SPACE, {"app": "many"}, node=node, probe=False))
        # The containers of the pod before are not to be started beside the next ADD.
        cluster.must(f"many{number} starts", lambda: len(adds(log)) > number and running(cluster, f"many{number}"), 60, f"kubelet-{node}")
        time.sleep(SETTLE_SECONDS)
    pods_row(bench, row, "k8s_pod_ready_ms", adds(log), "kubelet's ADD to the pod's first answered datagram, one pod after the other, under a policy")
    for number in range(PODS):
        cluster.api.delete("v1", "Pod", SPACE, f"many{number}", grace=0)
    cluster.api.wait_for(lambda: not cluster.api.list("v1", "Pod", SPACE, "app=many"), 240, 0.5)
    cluster.must("the pods' DELs", lambda: len(dels(log)) >= PODS, 120, f"kubelet-{node}")
    if bench.wants("k8s_pod_ready_burst_ms"):
        gone = dels(log)
        log.unlink()
        cluster.api.create(workloads.deployment("many", SPACE, PODS, node=node, probe=False))
        cluster.wait_pods(SPACE, PODS, 240, "app=many")
        checks.wait_until(lambda: len(adds(log)) >= PODS, 20)
        pods_row(bench, row, "k8s_pod_ready_burst_ms", adds(log), "the same, all pods together", del_p50=round(percentile(gone, 0.5), 3),
                 del_p99=round(percentile(gone, 0.99), 3))
        remove(cluster, "many")
    cluster.exec(node, "ln", "-sfn", plugin, "/opt/cni/bin/cilium-cni")
    cluster.api.delete("networking.k8s.io/v1", "NetworkPolicy", SPACE, "only-many")
    cluster.api.delete("v1", "Pod", SPACE, "server", grace=0)


def running(cluster, name):
    return cluster.api.find("v1", "Pod", SPACE, name).get("status", {}).get("phase") == "Running"


def pods_row(bench, row, name, found, what, **more):
    times = [line["first-answer-ms"] for line in found if line["first-answer-ms"] is not None]
    if not times:
        raise ValueError(f"{name}: no pod of {len(found)} was ever answered")
    bench.add(row(name, times, "ms", p99=round(percentile(times, 0.99), 3), add_p50=round(percentile([line["ms"] for line in found], 0.5), 3),
                  add_p99=round(percentile([line["ms"] for line in found], 0.99), 3), **more,
                  denied_share=sum(line["lost"] > 0 for line in found) / len(found), never=len(found) - len(times), what=what))


def dels(log):
    return [line["ms"] for line in calls(log) if line["command"] == "DEL"]


def adds(log):
    return [line for line in calls(log) if "first-answer-ms" in line]


def calls(log):
    """What cni_probe.py has written."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def outage(bench, row, axoneme):
    """No API server (stopped, then dead), an agent killed and started inside."""
    cluster, (first, second) = axoneme.cluster, axoneme.cluster.node_names
    for name, node in (("client", first), ("near", first), ("far", second)):
        cluster.api.create(workloads.pod(name, SPACE, node=node))
    cluster.api.wait_for(lambda: len(cluster.ready_pods(SPACE)) == 3, 60)
    addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in cluster.ready_pods(SPACE) if cluster.enter_pod(pod)}
    streams = traffic.Streams(cluster, [("client", addresses["near"]), ("client", addresses["far"])], rate=500)
    server = cluster.processes["kube-apiserver"]
    server.send(signal.SIGSTOP)
    time.sleep(OUTAGE_SECONDS / 4)
    axoneme.stop_agent(first, signal.SIGKILL)
    axoneme.start_agent(first)
    time.sleep(OUTAGE_SECONDS / 4)
    server.end(signal.SIGKILL)
    time.sleep(OUTAGE_SECONDS / 2)
    cluster.start_api_server()
    cluster.api.wait_for(cluster.api.ready, 60)
    axoneme.wait_ready()
    results = [program.finish() for _, kind, program in streams.running if kind == "UDP"]
    bench.add(row("api_outage_lost_packets", [sum(item["lost"] for item in results)], "packets", sent=sum(item["sent"] for item in results), seconds=OUTAGE_SECONDS,
                  what="AXO_OUTAGE_SECONDS=600 for ten minutes"))


# A large cluster that is there only as objects of the API server

def identity(number):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity", "metadata": {"name": str(10_000 + number), "labels": {"app": f"a{number}"}},
            "security-labels": {"k8s:app": f"a{number}", "k8s:io.kubernetes.pod.namespace": SPACE, "k8s:io.cilium.k8s.policy.cluster": "default",
                                "k8s:io.cilium.k8s.policy.serviceaccount": "default"}}


def node_objects(number):
    name, address, high, low = f"sim{number}", f"192.168.{number // 250}.{number % 250 + 1}", number // 250, number % 250
    yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {"unschedulable": True}}
    yield {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": name},
           "spec": {"addresses": [{"ip": address, "type": "InternalIP"}], "ipam": {"podCIDRs": [f"10.{128 + high}.{low}.0/24"]},
                    "health": {"ipv4": f"10.{128 + high}.{low}.2"}}}


def endpoint_address(number):
    node = number % NODES
    return f"10.{128 + node // 250}.{node % 250}.{10 + number // NODES}"


def endpoint(number):
    node = number % NODES
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint", "metadata": {"name": f"p{number}", "namespace": SPACE},
            "status": {"id": number % 65000 + 1, "state": "ready",
                       "identity": {"id": 10_000 + number % IDENTITIES, "labels": [f"k8s:app=a{number % IDENTITIES}", f"k8s:io.kubernetes.pod.namespace={SPACE}"]},
                       "networking": {"addressing": [{"ipv4": endpoint_address(number)}], "node": f"192.168.{node // 250}.{node % 250 + 1}"}}}


def service_objects(number):
    name = f"s{number}"
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": SPACE}, "spec": {"ports": [{"name": "http", "port": 80}]}}
    backends = [endpoint_address((number * BACKENDS + index) % ENDPOINTS) for index in range(BACKENDS)]
    yield {"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
           "metadata": {"name": f"{name}-x", "namespace": SPACE, "labels": {"kubernetes.io/service-name": name}},
           "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in backends]}


def create_all(cluster, things):
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        for _ in pool.map(cluster.api.create, things, chunksize=100):
            pass


def large(bench, row, cluster):
    node = cluster.node_names[0]
    axoneme = Axoneme(cluster, operator_flags=["--cilium-endpoint-gc-interval=0", "--identity-gc-interval=0", "--nodes-gc-interval=0"])
    axoneme.operators = [CONTROL]
    axoneme.install()
    cluster.api.apply(workloads.namespace(SPACE))
    # Its controllers would tidy up what has no kubelet and no pod behind it.
    cluster.processes["kube-controller-manager"].end()
    create_all(cluster, [identity(number) for number in range(IDENTITIES)])
    create_all(cluster, [thing for number in range(NODES) for thing in node_objects(number)])
    create_all(cluster, [endpoint(number) for number in range(ENDPOINTS)])
    create_all(cluster, [thing for number in range(SERVICES) for thing in service_objects(number)])
    if not checks.wait_until(lambda: endpoint_address(ENDPOINTS - 1) in cluster.cli(node, "bpf", "ipcache", "list"), 120, 1):
        raise ValueError("the agent does not know the last endpoint after two minutes")
    time.sleep(5)
    scale = {"nodes": NODES, "endpoints": ENDPOINTS, "identities": IDENTITIES, "services": SERVICES}
    grown = rss_mib(axoneme.agent(node).pid)
    axoneme.stop_agent(node)
    axoneme.start_agent(node)
    axoneme.wait_ready()
    time.sleep(5)
    bench.add(row("k8s_agent_rss_mib", [rss_mib(axoneme.agent(node).pid)], "MiB", **scale, before_the_restart=round(grown, 1), what="after a restart"))
    bench.add(row("operator_rss_mib", [rss_mib(axoneme.operator(CONTROL).pid)], "MiB", **scale))
    changes(bench, row, axoneme)


def changes(bench, row, axoneme):
    """Endpoints get another identity, one after the other, at a steady rate."""
    cluster, pid = axoneme.cluster, axoneme.agent(axoneme.cluster.node_names[0]).pid

    def change(number):
        cluster.api.patch("cilium.io/v2", "CiliumEndpoint", SPACE, f"p{number}", {"status": {"identity": {"id": 10_000 + (number + 1) % IDENTITIES}}})

    idle = cpu_ns(pid)
    time.sleep(5)
    idle = (cpu_ns(pid) - idle) / 5e9
    before, started = cpu_ns(pid), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        for number in range(CHANGES_PER_SECOND * CHANGING_SECONDS):
            pool.submit(change, number)
            time.sleep(max(0, started + number / CHANGES_PER_SECOND - time.monotonic()))
    seconds = time.monotonic() - started
    share = 100 * (cpu_ns(pid) - before) / 1e9 / seconds
    bench.add(row("k8s_agent_cpu", [share], "%", changes_per_second=round(CHANGES_PER_SECOND * CHANGING_SECONDS / seconds, 1), idle=round(100 * idle, 2),
                  what="of one core, while CiliumEndpoints change"))
