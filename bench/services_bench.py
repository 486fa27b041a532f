"""The rows of bench.py about services: rates through them beside kube-proxy's, and what changes of them cost."""
import json
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

from lib import checks, kubeproxy, services
from lib.policy import text_of
from lib.sandbox import CommandFailed
from policy_bench import cpu_ns, percentile, rss_mib

HERE = pathlib.Path(__file__).resolve().parent
PORT = 7000
NODE_PORT = 30100
NUMBER = 1  # of the service that is measured
SERVICES_MAP = "/sys/fs/bpf/tc/globals/cilium_lb4_services_v2"
MASQUERADE = ["--enable-ipv4-masquerade=true", "--enable-bpf-masquerade=true"]

# Says when a map has at least, or at most, so many entries: CLOCK_MONOTONIC is the same for all of this machine.
WAIT_FOR_ENTRIES = """
import ctypes, os, struct, sys, time
sys.path.insert(0, sys.argv[1])
import bpf_stats
path, most, wanted, key_size = ctypes.create_string_buffer(sys.argv[2].encode()), sys.argv[3] == "most", int(sys.argv[4]), 12
fd = bpf_stats.bpf(7, struct.pack("QII", ctypes.addressof(path), 0, 0))
one, two = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
attributes = ctypes.create_string_buffer(128)
print("ready", flush=True)
while True:
    count, key = 0, 0
    while True:
        struct.pack_into("IIQQ", attributes, 0, fd, 0, key, ctypes.addressof(two))
        if bpf_stats.LIBC.syscall(bpf_stats.SYS_BPF, 4, attributes, 128) < 0:
            break
        count += 1
        one, two = two, one
        key = ctypes.addressof(one)
    if count <= wanted if most else count >= wanted:
        print('{"at": %.6f}' % time.monotonic(), flush=True)
        break
    time.sleep(0.002)
"""
# Every half millisecond a new socket asks; writes down when answers come.
ASKER = """
import socket, sys, time
address, port, seconds, path = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
waiting, out, end = [], open(path, "w"), time.monotonic() + seconds
while (now := time.monotonic()) < end:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setblocking(False)
    try:
        s.connect((address, port))
        s.send(b"?")
        waiting.append(s)
    except OSError:
        s.close()
    for s in list(waiting):
        try:
            s.recv(64)
            out.write("%.6f\\n" % time.monotonic())
        except BlockingIOError:
            continue
        except OSError:
            pass
        s.close()
        waiting.remove(s)
    for s in waiting[:-8]:
        s.close()
    del waiting[:-8]
    time.sleep(0.0005)
out.close()
"""
# Takes UDP ports one by one for talking to one address, until one gets no answer; keeps all of them open.
PORT_TAKER = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
open_, answered = [], 0
print("ready", flush=True)
for number in range(count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", 1024 + number))
    s.connect((address, port))
    s.settimeout(0.5)
    open_.append(s)
    for attempt in range(2):
        try:
            s.send(b"?")
            s.recv(64)
            answered += 1
            break
        except OSError:
            pass
    else:
        break
print('{"answered": %d, "asked": %d}' % (answered, number + 1), flush=True)
time.sleep(3600)
"""
ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(64)
    s.sendto(data, peer)
"""


def script(cluster, machine, text, *arguments):
    """A Python program on a machine that says "ready" first."""
    running = cluster.background_in(machine, sys.executable, "-c", text, *arguments)
    cluster.background.append(running)
    return running


def last_line(running, seconds):
    running.process.wait(timeout=seconds)
    return json.loads(running.process.stdout.read().strip().splitlines()[-1])


# Rates

def measured_service(cluster, backend, node):
    """A NodePort service of both of the server's ports, with one backend."""
    addresses = {"ipv4": cluster.addresses()[backend]["ipv4"]}
    ports = [(PORT, NODE_PORT), (PORT + 1, NODE_PORT + 1)]
    service = services.service("measured", NUMBER, "NodePort", families=("ipv4",))
    service["spec"]["ports"] = [{"name": f"p{port}", "protocol": "TCP", "port": port, "targetPort": port, "nodePort": at} for port, at in ports]
    slice_ = services.slices("measured", [services.backend({backend: addresses}, backend, node)], families=("ipv4",))[0]
    slice_["ports"] = [{"name": f"p{port}", "protocol": "TCP", "port": port} for port, _ in ports]
    cluster.apply(text_of([service, slice_]))


class Neighbour:
    """A machine beside the nodes. The one outside is behind a router, whose work is none of what is compared."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.running = cluster.background_in("underlay", "unshare", "-n", "sh", "-c", "echo ready; exec sleep 1800")
        inside = ["nsenter", "-t", self.running.process.pid, "-n"]
        self.inside = inside
        cluster.exec("underlay", "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", self.running.process.pid)
        cluster.exec("underlay", "ip", "link", "set", "lan0", "master", "seg1", "up")
        cluster.exec("underlay", *inside, "ip", "address", "add", "172.18.1.99/24", "dev", "eth0")
        cluster.exec("underlay", *inside, "ip", "link", "set", "eth0", "up")

    def measure(self, mode, *words):
        return json.loads(self.cluster.exec("underlay", *self.inside, self.cluster.traffic, mode, *words).stdout)

    def end(self):
        self.running.kill()


# name, backend and its node, client, whether through a node's port, flags of ours
WAYS = [
    ("clusterip_same", "b1", "node1", "c1", False, []),
    ("clusterip_cross", "b2", "node2", "c1", False, []),
    ("nodeport_same", "b1", "node1", "neighbour", True, []),
    ("nodeport_snat_cross", "b2", "node2", "neighbour", True, []),
    ("nodeport_dsr_cross", "b2", "node2", "neighbour", True, ["--bpf-lb-mode=dsr"]),
]
PODS = (("c1", "node1"), ("b1", "node1"), ("b2", "node2"))


def rates(bench, row, cpu, seconds):
    """Ours and kube-proxy's take turns; both route natively."""
    wanted = [way for way in WAYS if bench.wants("rr_" + way[0], "crr_" + way[0])]
    if not wanted:
        return
    try:
        kubeproxy.program()
    except kubeproxy.Unavailable as reason:
        print(f"rr_* and crr_* of services: no kube-proxy to compare with: {reason}", file=sys.stderr)
        return
    with bench.cluster("kube-proxy", kind=kubeproxy.PlainCluster, nodes=2, families="ipv4") as theirs:
        prepare(theirs, cpu)
        neighbours = {theirs: Neighbour(theirs)}
        for node in theirs.nodes():
            kubeproxy.start_proxy(theirs, node)
            forget_closed_connections(theirs, node)
        for flags in ([], ["--bpf-lb-mode=dsr"]):
            some = [way for way in wanted if way[5] == flags]
            if not some:
                continue
            with bench.cluster("services" + "-dsr" * len(flags), nodes=2, families="ipv4", routing="native", agent_flags=services.replacement(*flags)) as ours:
                prepare(ours, cpu)
                neighbours[ours] = Neighbour(ours)
                for name, backend, node, client, node_port, _ in some:
                    for cluster in (ours, theirs):
                        measured_service(cluster, backend, node)
                        to, port = address_of(cluster, node_port)
                        if not checks.wait_until(lambda: served_by(cluster, "outside" if node_port else client, to, port) == f"{cluster.addresses()[backend]['ipv4']}:{PORT}", 10, 0.1):
                            raise ValueError(f"{name}: no answer at {to}:{port}")
                    for mode in ("rr", "crr"):
                        if not bench.wants(f"{mode}_{name}"):
                            continue
                        values = {ours: [], theirs: []}
                        for _ in range(bench.runs):
                            for cluster in (theirs, ours):
                                to, port = address_of(cluster, node_port)
                                words = ("--to", to, "--port", port, "--seconds", seconds, "--cpu", cpu)
                                done = neighbours[cluster].measure(mode, *words) if node_port else cluster.measure(client, mode, *words)
                                values[cluster].append(done["per-second"])
                        bench.add(row(f"{mode}_{name}", values[ours], "1/s", "kube-proxy 1.20, iptables", values[theirs]))
                neighbours.pop(ours).end()
        neighbours[theirs].end()


def prepare(cluster, cpu):
    for pod, node in PODS:
        cluster.add_pod(pod, node)
    # The server closes first, so that the client's ports are free. What the closed connection leaves on the server (TIME-WAIT, a minute) would meet
    # the next one that is translated to the same random source port, and have it wait for its second SYN.
    for backend in ("b1", "b2"):
        cluster.exec(backend, "sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=0")
    cluster.serve("b1", "b2", cpu=cpu)


def forget_closed_connections(cluster, node):
    """For crr_*. Connection tracking holds the translated source port of a closed connection for two minutes, so some seconds of connecting use
    up all that there are to one backend, and what would be measured is how long a client waits for one. A second is less than we hold them
    (bpf-ct-timeout-regular-tcp-fin)."""
    for state in ("time_wait", "close", "last_ack"):
        cluster.exec(node, "sysctl", "-qw", f"net.netfilter.nf_conntrack_tcp_timeout_{state}=1")


def address_of(cluster, node_port):
    return (cluster.addresses()["node1"]["ipv4"], NODE_PORT) if node_port else (services.cluster_ip(NUMBER)["ipv4"], PORT)


def served_by(cluster, client, to, port):
    return cluster.probe(client, [{"to": to, "port": port, "kind": "tcp", "timeout-ms": 1000}])[0]["server"]


def vxlan(bench, row, cpu, seconds):
    """A NodePort whose backend is behind the tunnel, beside pods that use the tunnel directly."""
    if not bench.wants("rr_nodeport_vxlan_cross"):
        return
    with bench.cluster("services-vxlan", nodes=2, families="ipv4", agent_flags=services.replacement()) as cluster:
        prepare(cluster, cpu)
        measured_service(cluster, "b2", "node2")
        to, port = address_of(cluster, True)
        if not checks.wait_until(lambda: served_by(cluster, "outside", to, port), 10, 0.1):
            raise ValueError(f"no answer at {to}:{port}")
        neighbour, through, direct = Neighbour(cluster), [], []
        for _ in range(bench.runs):
            direct.append(cluster.measure("c1", "rr", "--to", cluster.addresses()["b2"]["ipv4"], "--port", PORT, "--seconds", seconds, "--cpu", cpu)["per-second"])
            through.append(neighbour.measure("rr", "--to", to, "--port", port, "--seconds", seconds, "--cpu", cpu)["per-second"])
        neighbour.end()
        bench.add(row("rr_nodeport_vxlan_cross", through, "1/s", "rr_cross_vxlan", direct))


# Changes

class Store:
    """Services straight into the cluster's store; written first, put in place with renames."""

    def __init__(self, cluster):
        root = pathlib.Path(cluster.status()["store"])
        self.folders = {"Service": root / "services/default", "EndpointSlice": root / "endpointslices.discovery.k8s.io/default"}
        for folder in self.folders.values():
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, manifests):
        """Returns what puts them in place."""
        ready = []
        for manifest in manifests:
            path = self.folders[manifest["kind"]] / f"{manifest['metadata']['name']}.json"
            temporary = path.with_name(f".{path.name}.new")
            temporary.write_text(json.dumps(manifest))
            ready.append((temporary, path))
        return ready

    @staticmethod
    def place(ready):
        start = time.monotonic()
        for temporary, path in ready:
            temporary.rename(path)
        return start

    def put(self, manifests):
        return self.place(self.write(manifests))

    def clear(self, prefix):
        for folder in self.folders.values():
            for path in folder.glob(f"{prefix}*.json"):
                path.unlink()


def many(count, first, backends):
    """Services of one TCP port and their slices; backends(number) says how many, none of them twice."""
    ports, found, next_ = (("TCP", 80),), [], 0
    for number in range(first, first + count):
        fakes = []
        for _ in range(backends(number)):
            fakes.append({"addresses": {"ipv4": f"10.{200 + (next_ >> 16)}.{next_ >> 8 & 255}.{next_ & 255}"}, "node": "node1",
                          "conditions": {"ready": True, "serving": True, "terminating": False}})
            next_ += 1
        found += [services.service(f"many-{number}", number, families=("ipv4",), ports=ports), *services.slices(f"many-{number}", fakes, families=("ipv4",), ports=ports)]
    return found


def entries(cluster, word, count):
    return script(cluster, "node1", WAIT_FOR_ENTRIES, HERE, SERVICES_MAP, word, count)


def changes(bench, row):
    names = ("service_sync_ms", "service_cpu_ms", "service_rss_mib", "backend_ready_ms")
    if not bench.wants(*names):
        return
    with bench.cluster("services-many", nodes=1, families="ipv4", agent_flags=services.replacement("--bpf-lb-map-max=131072")) as cluster:
        cluster.add_pod("c1", "node1")
        cluster.add_pod("b1", "node1")
        pid, store = cluster.status()["nodes"][0]["agent"]["pid"], Store(cluster)
        time.sleep(2)
        if bench.wants("service_sync_ms", "service_cpu_ms"):
            took, spent = [], []
            for turn in range(bench.runs):
                ready = store.write(many(1000, 256, lambda number: 10))
                waiting = entries(cluster, "least", 2000)  # a frontend and the entry for its address's other ports
                before = cpu_ns(pid)
                start = store.place(ready)
                took.append((last_line(waiting, 60)["at"] - start) * 1000)
                time.sleep(0.5)
                spent.append((cpu_ns(pid) - before) / 1e6)
                waiting = entries(cluster, "most", 10)
                store.clear("many-")
                last_line(waiting, 60)
                time.sleep(1)
            bench.add(row("service_sync_ms", took, "ms", what="1,000 services x 10 backends: files renamed into place to the last map entry"))
            bench.add(row("service_cpu_ms", spent, "ms", what="the agent's CPU for them, all threads"))
        if bench.wants("service_rss_mib", "backend_ready_ms"):
            before = rss_mib(pid)
            waiting = entries(cluster, "least", 20_000)
            store.put(many(10_000, 256, lambda number: 5 if number % 5 else 4))
            last_line(waiting, 300)
            time.sleep(2)
            bench.add(row("service_rss_mib", [rss_mib(pid) - before], "MiB", services=10_000, backends=48_000))
            backend_ready(bench, row, cluster, store)


def backend_ready(bench, row, cluster, store):
    """Among 10,000 services: a backend becomes ready, and how long until it answers a client's socket."""
    script(cluster, "b1", ECHO, 9300)
    backend = lambda ready: services.backend(cluster.addresses(), "b1", "node1", ready=ready)  # noqa: E731
    ports = (("UDP", 80),)
    manifests = lambda ready: services.slices("measured", [backend(ready)], families=("ipv4",), ports=ports, target=9300)  # noqa: E731
    store.put([services.service("measured", NUMBER, families=("ipv4",), ports=ports, target=9300), *manifests(False)])
    rounds = max(10, 2 * bench.runs)
    log = pathlib.Path(cluster.status()["store"]).parent / "asked"
    asker = subprocess.Popen([str(word) for word in cluster.exec_command("c1", sys.executable, "-c", ASKER, services.cluster_ip(NUMBER)["ipv4"], 80, rounds * 0.8 + 2, log)])
    time.sleep(1)
    marks = []
    for _ in range(rounds):
        marks.append(store.put(manifests(True)))
        time.sleep(0.4)
        store.put(manifests(False))
        time.sleep(0.4)
    asker.wait(timeout=rounds * 0.8 + 20)
    heard = sorted(float(line) for line in log.read_text().split())
    values = []
    for mark in marks:
        after = [at for at in heard if at >= mark]
        if not after or after[0] - mark > 0.4:
            raise ValueError("a backend that became ready was not reached before it went again")
        values.append((after[0] - mark) * 1000)
    bench.add(row("backend_ready_ms", values, "ms", p95=round(percentile(values, 0.95), 3), services=10_000))


# Over restarts

def restart(bench, row):
    if not bench.wants("restart_lost_packets_services"):
        return
    flags = services.replacement(*MASQUERADE, "--enable-ipv6-masquerade=true")
    with bench.cluster("services-restart", nodes=2, agent_flags=flags) as cluster:
        for pod, node in PODS:
            cluster.add_pod(pod, node)
        services.route_through(cluster, "node1")
        known = services.Services(cluster)
        known.put("port", NUMBER, ("b1", "b2"), type_="NodePort")
        cluster.serve("b1", "b2", "outside")
        services_rows = [*services.rows("c1", "cluster", NUMBER, "b1 b2"), *services.rows("outside", "node:node1", NUMBER, "b1 b2")]
        ready = services.verdicts(cluster, "before", services_rows)
        if not ready.ok:
            raise ValueError(ready.detail)
        lost, sent = [], 0
        for _ in range(bench.runs):
            loads = [cluster.start(client, "load", "--to", to[family], "--port", port, "--per-second", 500) for client, to, port in (
                ("c1", services.cluster_ip(NUMBER), 80), ("node2", services.cluster_ip(NUMBER), 80), ("outside", known.addresses["node1"], services.node_port(NUMBER)),
                ("c1", known.addresses["outside"], PORT)) for family in ("ipv4", "ipv6")]
            time.sleep(0.5)
            cluster.sandbox("agent", "kill", "--all")
            time.sleep(0.5)
            cluster.sandbox("agent", "start", "--all")
            time.sleep(0.5)
            results = [load.finish() for load in loads]
            cluster.background = [item for item in cluster.background if item not in loads]
            lost.append(sum(item["lost"] for item in results))
            sent += sum(item["sent"] for item in results)
        bench.add(row("restart_lost_packets_services", lost, "packets", sent=sent, worst=max(lost), what="ClusterIP from a pod and a node, NodePort from outside, masqueraded"))


# Limits

def nat_ports(bench, row):
    """UDP conversations of pods with one address and port outside, each with a source port of the node's: how many before one fails."""
    if not bench.wants("nat_ports_used"):
        return
    with bench.cluster("services-nat", nodes=1, families="ipv4", agent_flags=services.replacement(*MASQUERADE)) as cluster:
        outside = cluster.addresses()["outside"]["ipv4"]
        script(cluster, "outside", ECHO, 9300)
        answered, space = 0, 65536 - 32768
        each = min(17_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 100)  # open sockets of one process
        for number in range(-(-space // each) + 1):
            pod = f"p{number}"
            cluster.add_pod(pod, "node1")
            taker = script(cluster, pod, PORT_TAKER, outside, 9300, each)
            line = json.loads(taker.process.stdout.readline())
            answered += line["answered"]
            if line["answered"] < line["asked"]:
                break
        told = checks.wait_until(lambda: "port" in json.dumps(cluster.cli_json("node1", "status")["axoneme"].get("nat", {})).lower() or
                                 re.search(r"(?i)nat.*port|source port", cluster.log("node1")), 10, 0.5)
        bench.add(row("nat_ports_used", [100.0 * answered / space], "%", conversations=answered, range=space, reported=bool(told)))


def from_tests(bench, row):
    """Figures of the parts alone, from their own tests."""
    if not bench.wants("maglev_moved"):
        return
    binary = pathlib.Path(bench.build) / "src/features_test"
    if not binary.exists():
        print(f"maglev_moved: {binary} is not built", file=sys.stderr)
        return
    done = subprocess.run([str(binary), "--gtest_filter=*aglev*"], stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    found = re.findall(r"maglev_moved\D+([0-9.]+) *%", done.stdout)
    if not found:
        raise ValueError(f"{binary.name} prints no maglev_moved")
    bench.add(row("maglev_moved", [statistics.median(map(float, found))], "%", what="flows that moved beyond its own when 1 of 100 backends goes"))


def measure(bench, row):
    """Every part, also after one that failed; what failed is raised at the end."""
    from bench import CPU, SECONDS
    failed = []
    for part, more in ((rates, (CPU, SECONDS)), (vxlan, (CPU, SECONDS)), (changes, ()), (restart, ()), (nat_ports, ()), (from_tests, ())):
        try:
            part(bench, row, *more)
        except (CommandFailed, KeyError, OSError, ValueError, subprocess.SubprocessError) as error:
            failed.append(f"{part.__name__}: {error}")
    if failed:
        raise ValueError("; ".join(failed))
