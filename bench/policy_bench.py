"""The policy rows of bench.py: how long a change takes to reach traffic, and what policies cost."""
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

PORT = 7123
PODS = 50
SETTLE = 0.3

# Sends a datagram every half millisecond and writes down when answers come.
CLIENT = f"""
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], {PORT}))
s.setblocking(False)
end = time.monotonic() + float(sys.argv[2])
out = open(sys.argv[3], "w")
due = time.monotonic()
n = 0
while (now := time.monotonic()) < end:
    if now >= due:
        try:
            s.send(b"%d" % n)
        except OSError:
            pass
        n += 1
        due = max(due + 0.0005, now - 0.002)
    try:
        while True:
            s.recv(64)
            out.write("%.6f\\n" % time.monotonic())
    except OSError:
        pass
    time.sleep(0.0001)
out.close()
"""
SERVER = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", {PORT}))
while True:
    data, peer = s.recvfrom(64)
    s.sendto(data, peer)
"""


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(part * (len(ordered) - 1)))]


class Store:
    """The cluster's manifests, changed as another machine's rename would."""

    def __init__(self, cluster):
        self.directory = pathlib.Path(cluster.status()["store"]) / "ciliumnetworkpolicies.cilium.io" / "default"
        self.directory.mkdir(parents=True, exist_ok=True)

    def put(self, name, spec):
        temporary = self.directory / f".{name}.new"
        temporary.write_text(f"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n{spec}")
        start = time.monotonic()
        temporary.rename(self.directory / f"{name}.yaml")
        return start

    def remove(self, name):
        start = time.monotonic()
        (self.directory / f"{name}.yaml").unlink()
        return start


def rules(port):
    return f"""  endpointSelector: {{}}
  ingress:
  - fromEndpoints:
    - {{}}
    toPorts:
    - ports:
      - port: "{port}"
        protocol: UDP
"""


NOTHING = """  endpointSelector: {}
  ingress:
  - {}
"""


def cpu_ns(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total


def rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def reaction(replies, stopped, resumed):
    """When answers ceased after `stopped` and came back after `resumed`, in ms."""
    before = [at for at in replies if stopped - 0.1 < at < resumed]
    after = [at for at in replies if at >= resumed]
    if not before or not after:
        raise ValueError("the probe was not answered before the change or not after it")
    last = max(before)
    if resumed - last < SETTLE / 3:
        raise ValueError("traffic did not stop")
    return max(0.0, (last - stopped) * 1000), (min(after) - resumed) * 1000


def measure_changes(bench, row, cluster, pid, to, name, rounds, change, undo):
    """change(), undo() return the time at which they acted; change stops the traffic, undo lets it flow again."""
    server = subprocess.Popen([str(w) for w in cluster.exec_command("p1", sys.executable, "-c", SERVER)])
    with tempfile.NamedTemporaryFile("r") as log:
        seconds = rounds * 2 * SETTLE + 1.5
        client = subprocess.Popen([str(w) for w in cluster.exec_command("p0", sys.executable, "-c", CLIENT, to["p1"], seconds, log.name)])
        try:
            time.sleep(0.8)
            marks, spent = [], []
            for _ in range(rounds):
                before = cpu_ns(pid)
                stopped = change()
                time.sleep(SETTLE)
                resumed = undo()
                time.sleep(SETTLE)
                spent.append((cpu_ns(pid) - before) / 1e6 / 2)
                marks.append((stopped, resumed))
            client.wait(timeout=seconds + 10)
        finally:
            for process in (client, server):
                process.kill()
                process.wait()
        replies = [float(line) for line in open(log.name)]
    stops, resumes = zip(*(reaction(replies, *mark) for mark in marks))
    bench.add(row(name + "_ms", stops, "ms", p95=round(percentile(stops, 0.95), 3), pods=PODS))
    bench.add(row(name + "_resume_ms", resumes, "ms", p95=round(percentile(resumes, 0.95), 3), pods=PODS))
    return spent


def latency(bench, row):
    names = ("policy_first_ms", "policy_update_ms", "policy_cpu_ms", "policy_rss_mib", "policy_crr")
    if not bench.wants(*names, "policy_"):
        return
    with bench.cluster("policy", nodes=1, families="ipv4") as cluster:
        cluster.sandbox("pod", "add", *[f"p{number}" for number in range(PODS)], "--parallel")
        to = {machine: item["ipv4"] for machine, item in cluster.addresses().items()}
        pid = cluster.status()["nodes"][0]["agent"]["pid"]
        store = Store(cluster)
        time.sleep(3)  # the pods' programs become links
        rounds = max(10, bench.runs * 2)
        if bench.wants("policy_first_ms"):
            measure_changes(bench, row, cluster, pid, to, "policy_first", rounds, lambda: store.put("first", NOTHING), lambda: store.remove("first"))
        if bench.wants("policy_update_ms", "policy_cpu_ms"):
            store.put("update", rules(PORT))
            time.sleep(0.3)
            spent = measure_changes(bench, row, cluster, pid, to, "policy_update", rounds,
                                    lambda: store.put("update", rules(PORT + 1)), lambda: store.put("update", rules(PORT)))
            bench.add(row("policy_cpu_ms", spent, "ms", what="agent CPU per change, 50 enforced endpoints"))
            store.remove("update")
            time.sleep(0.3)
        if bench.wants("policy_crr"):
            crr(bench, row, cluster, to, store)
        if bench.wants("policy_rss_mib"):
            for name, count, selector in (("policy_rss_select_all_mib", 300, "{}"), ("policy_rss_select_none_mib", 1000, "{matchLabels: {app: nobody}}")):
                time.sleep(1)
                before = rss_mib(pid)
                for number in range(count):
                    store.put(f"{name[11:-4]}-{number}".replace("_", "-"), f"  endpointSelector: {selector}\n  ingress:\n  - fromEndpoints:\n    - matchLabels: {{app: peer-{number}}}\n"
                              f"    toPorts:\n    - ports:\n      - port: \"{1000 + number}\"\n        protocol: TCP\n")
                time.sleep(4)
                bench.add(row(name, [rss_mib(pid) - before], "MiB", policies=count, endpoints=PODS))
                for number in range(count):
                    store.remove(f"{name[11:-4]}-{number}".replace("_", "-"))
                time.sleep(2)


def crr(bench, row, cluster, to, store):
    from bench import CPU, PORT as TRAFFIC_PORT, SECONDS
    cluster.serve("p1", cpu=CPU)
    without, with_policies = [], []
    last = f"        endPort: {TRAFFIC_PORT + 1}\n"  # the load's own connection

    def once():
        return cluster.measure("p0", "crr", "--to", to["p1"], "--port", TRAFFIC_PORT, "--seconds", SECONDS, "--cpu", CPU)["per-second"]
    for _ in range(bench.runs):
        without.append(once())
        for number in range(100):
            store.put(f"crr-{number}", f"  endpointSelector: {{}}\n  ingress:\n  - fromEndpoints:\n    - {{}}\n    toPorts:\n    - ports:\n"
                      f"      - port: \"{TRAFFIC_PORT if number == 50 else 1000 + number}\"\n{last if number == 50 else ''}        protocol: TCP\n")
        time.sleep(0.7)
        with_policies.append(once())
        for number in range(100):
            store.remove(f"crr-{number}")
        time.sleep(0.5)
    bench.add(row("policy_crr", with_policies, "1/s", "without policies", without, policies=100))


def engine(bench, row):
    """Figures of the engine alone, from its own tests."""
    if not bench.wants("policy_scale", "explain_accuracy"):
        return
    binary = pathlib.Path(bench.build) / "src/features_test"
    if not binary.exists():
        print(f"policy_scale: {binary} is not built", file=sys.stderr)
        return
    times, sizes = [], []
    for _ in range(bench.runs):
        done = subprocess.run([str(binary), "--gtest_filter=PolicyScale.FiveThousandIdentitiesByTwoHundredFiftyRules"], stdout=subprocess.PIPE, text=True,
                              timeout=120, env=dict(os.environ), check=True)
        figures = dict(re.findall(r"^ +(policy_scale[^0-9]*?) +([0-9.]+) (?:ms|KiB)$", done.stdout, re.MULTILINE))
        times.append(float(figures["policy_scale, identities first"]))
        sizes.append(float(figures["policy_scale image"]) / 1024)
    bench.add(row("policy_scale_ms", times, "ms", what="5,000 identities x 250 rules, from nothing to the image"))
    bench.add(row("policy_scale_mib", sizes, "MiB", what="the image"))
    done = subprocess.run([str(binary), "--gtest_filter=ExplainAccuracy.*"], stdout=subprocess.PIPE, text=True, timeout=300, check=False)
    found = re.search(r"(\d+) of (\d+) explanations", done.stdout)
    if found:
        right, all_pairs = int(found[1]), int(found[2])
        bench.add(row("explain_accuracy", [100.0 * right / all_pairs], "%", pairs=all_pairs))


def measure(bench, row):
    engine(bench, row)
    latency(bench, row)
