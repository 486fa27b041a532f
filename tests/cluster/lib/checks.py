"""Checks on a running cluster. Each yields or returns Check values; tests and the demo print and count the same ones."""
import concurrent.futures
import dataclasses
import json
import re
import time

from .sandbox import PORT

# name, kind, bytes: what is sent between every two machines.
KINDS = [
    ("TCP", "tcp", 0),
    ("UDP", "udp", 64),
    ("ICMP", "icmp", 56),
    ("UDP 4000 (fragments)", "udp", 4000),
    ("UDP 30000 (fragments)", "udp", 30000),
    ("ICMP 4000 (fragments)", "icmp", 4000),
    ("TCP 2 MB up (GSO)", "upload", 2_000_000),
    ("TCP 2 MB down (GSO)", "download", 2_000_000),
]


@dataclasses.dataclass
class Check:
    what: str
    ok: bool
    detail: str = ""


def check(what, ok, detail=""):
    return Check(what, bool(ok), "" if ok else str(detail))


def wait_until(condition, seconds, pause=0.05):
    """The condition's last value: true as soon as it holds, false when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(pause)


def family_name(family):
    return {"ipv4": "IPv4", "ipv6": "IPv6"}[family]


def targets_between(addresses, source, destination, kinds=KINDS):
    """Probes from one machine to another, each with the source address that must arrive: the machine's own, no NAT."""
    targets = []
    for family in sorted(set(addresses[source]) & set(addresses[destination])):
        for name, kind, size in kinds:
            target = {"to": addresses[destination][family], "port": PORT, "kind": kind, "bytes": size, "timeout-ms": 3000,
                      "label": f"{source} → {destination}, {family_name(family)}, {name}"}
            if kind != "download":
                target["expect-peer"] = addresses[source][family]
            targets.append(target)
    return targets


def node_sources(cluster, node):
    """A node's packets to pods leave with the address of cilium_host where the route says so; both are the node's own."""
    found = set()
    for line in cluster.exec(node, "ip", "-o", "address", "show").stdout.splitlines():
        match = re.search(r"inet6? ([0-9a-f.:]+)", line)
        if match:
            found.add(match.group(1))
    return found


def connectivity(cluster, pairs, kinds=KINDS, pods=()):
    """Every kind of traffic for every (source, destination), sources at the same time.

    A pod's and the outside host's address must arrive unchanged. A node has several addresses; one of them must arrive.
    """
    addresses = cluster.addresses()
    by_source = {}
    for source, destination in pairs:
        by_source.setdefault(source, []).append(destination)
    cluster.serve(*{destination for _, destination in pairs})
    nodes = set(cluster.nodes())

    def one(source):
        own = node_sources(cluster, source) if source in nodes else None
        targets = [target for destination in by_source[source] for target in targets_between(addresses, source, destination, kinds)]
        if own is not None:
            for target in targets:
                target.pop("expect-peer", None)
        results = cluster.probe(source, targets)
        checks = []
        for result in results:
            ok, error = result["ok"], result.get("error", "")
            if ok and own is not None and result["peer"] and result["peer"] not in own:
                ok, error = False, f"the receiver saw {result['peer']}, which is none of {source}'s addresses"
            checks.append(check(result["label"], ok, error))
        return checks

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        return [item for items in pool.map(one, by_source) for item in items]


def no_nat(cluster, pairs):
    """Checks of the source address alone, for the demo's one line about it."""
    return connectivity(cluster, pairs, kinds=KINDS[:1])


def reachable_nodes(cluster, node, seconds=30):
    """The agent's own view of the cluster's health: every node and endpoint answers."""
    wanted = len(cluster.nodes())

    def health():
        entries = cluster.cli_json(node, "status").get("axoneme", {}).get("node-health", [])
        good = [entry for entry in entries if all(not entry.get(way) or entry[way].get("status", "") in ("", "ok", "OK")
                                                  for way in ("host-icmp", "host-http", "endpoint-icmp", "endpoint-http"))]
        return len(good) >= wanted

    return check(f"axoneme status on {node}: all {wanted} nodes reachable", wait_until(health, seconds, 0.5),
                 "node-health: " + json.dumps(cluster.cli_json(node, "status").get("axoneme", {}).get("node-health", [])))


def no_reconciler_errors(cluster, node):
    entries = cluster.cli_json(node, "status").get("axoneme", {}).get("reconcilers", [])
    bad = [entry for entry in entries if entry.get("failed", 0) or entry.get("errors")]
    return check(f"{node}: reconcilers without errors ({len(entries)} of them)", entries and not bad, bad or "no reconcilers in the status")


def cli_outputs(cluster, node, pod):
    """Each list command answers, with its columns and with the pod in it."""
    address = next(iter(cluster.addresses()[pod].values()))
    expectations = [
        (["status"], [r"(?m)^Cilium:\s+Ok", r"(?m)^IPAM:", r"(?m)^Routing:\s+Network: ", r"(?m)^Cluster health:"]),
        (["status", "--verbose"], [r"(?m)^Controller Status:", r"(?m)^BPF Maps:", re.escape(address)]),
        (["endpoint", "list"], [r"(?m)^ENDPOINT\s+POLICY \(ingress\)\s+POLICY \(egress\)\s+IDENTITY\s+LABELS", re.escape(address), r"\bready\b"]),
        (["bpf", "ipcache", "list"], [r"(?m)^IP PREFIX/ADDRESS\s+IDENTITY", re.escape(address) + r"/\d+\s+identity=\d+ encryptkey=0 tunnelendpoint="]),
        (["bpf", "endpoint", "list"], [r"(?m)^IP ADDRESS\s+LOCAL ENDPOINT INFO", re.escape(address)]),
        (["map", "list"], [r"(?m)^Name\s+Num entries\s+Num errors\s+Cache enabled", r"(?m)^cilium_lxc\s", r"(?m)^cilium_ipcache"]),
        (["map", "get", "cilium_lxc"], [r"(?m)^Key\s+Value\s+State\s+Error", re.escape(address), r"mac=([0-9A-F]{2}:){5}", r"\bsync\b"]),
        (["map", "get", "cilium_ipcache"], [r"(?m)^Key\s+Value\s+State\s+Error", re.escape(address), r"\bsync\b"]),
        (["node", "list"], [r"(?m)^Name\s+IPv4 Address\s+Endpoint CIDR\s+IPv6 Address\s+Endpoint CIDR"] + cluster.nodes()),
        (["ip", "list"], [r"(?m)^IP\s+IDENTITY\s+SOURCE", re.escape(address)]),
        (["identity", "list"], [r"(?m)^ID\s+LABELS", r"(?m)^1\s+reserved:host"]),
        (["bpf", "metrics", "list"], [r"(?m)^REASON\s+DIRECTION\s+PACKETS\s+BYTES", r"(?i)forwarded|success"]),
    ]
    for words, patterns in expectations:
        output = cluster.exec(node, "axoneme", *words, check=False)
        missing = [pattern for pattern in patterns if not re.search(pattern, output.stdout)]
        yield check(f"axoneme {' '.join(words)}", output.returncode == 0 and not missing,
                    f"exit status {output.returncode}, without {missing}:\n{output.stdout}{output.stderr}")


def endpoint_of(cluster, pod):
    """The endpoint's number on its node."""
    status = cluster.status()
    record = next(item for item in status["pods"] if item["name"] == pod)
    for endpoint in cluster.cli_json(record["node"], "endpoint", "list"):
        addressing = endpoint["status"]["networking"]["addressing"][0]
        if record["addresses"] and record["addresses"][0] in (addressing.get("ipv4"), addressing.get("ipv6")):
            return endpoint
    return None


def monitor_shows(cluster, node, source, destination):
    """A new connection shows up in `axoneme monitor` while it runs."""
    import subprocess
    address = next(iter(cluster.addresses()[destination].values()))
    cluster.serve(destination)
    process = subprocess.Popen([str(word) for word in cluster.exec_command(node, "axoneme", "monitor")], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    lines = []
    try:
        import threading
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
        reader.start()

        def seen():
            cluster.probe(source, [{"to": address, "port": PORT, "kind": "tcp"}])
            return any(address in line and "tcp" in line for line in lines)

        found = wait_until(seen, 10, 0.2)
    finally:
        process.kill()
        process.wait()
    shown = next((line.strip() for line in lines if address in line and "tcp" in line), "")
    return check("axoneme monitor: " + (shown or "a new connection"), found, "".join(lines[-20:]))


# Restart under load

def restart_report(cluster, node):
    """What the agent says it did to the kernel since its start: (reconcilers, datapath)."""
    own = cluster.cli_json(node, "status")["axoneme"]
    return own.get("reconcilers", []), own.get("datapath", {})


def kernel_state(cluster, node):
    """Routes, rules, links and neighbours as they must survive a restart."""
    state = {}
    for what in (["link"], ["-4", "route", "show", "table", "all"], ["-6", "route", "show", "table", "all"], ["-4", "rule"], ["-6", "rule"]):
        lines = cluster.exec(node, "ip", "-o", *what).stdout.splitlines()
        # Counters and ages move by themselves.
        state[" ".join(what)] = sorted(re.sub(r" expires \d+sec", "", " ".join(line.split())) for line in lines)
    return state


def restart_under_load(cluster, flows, pause=1.0, rate=500, steady=True):
    """kill -9 of every agent and the operator under load, then their start.

    flows: (source, destination). rate: UDP datagrams per second of a flow; its TCP connection does a fifth of that in rounds.
    steady: the machine does not stall for longer than TCP's timers, so that a retransmitted segment is a lost one.
    """
    addresses = cluster.addresses()
    cluster.serve(*{destination for _, destination in flows})
    running = []
    for source, destination in flows:
        for family, to in sorted(addresses[destination].items()):
            if family not in addresses[source]:
                continue
            name = f"{source} → {destination}, {family_name(family)}"
            # The first packets of a flow meet neighbours that are not resolved yet: that is before the load.
            cluster.probe(source, [{"to": to, "port": PORT, "kind": "tcp"}, {"to": to, "port": PORT, "kind": "udp", "bytes": 64}])
            running.append((name, "UDP", cluster.start(source, "load", "--to", to, "--port", PORT, "--per-second", rate)))
            running.append((name, "TCP", cluster.start(source, "stream", "--to", to, "--port", PORT, "--per-second", rate // 5)))
    nodes = cluster.nodes()
    time.sleep(pause)
    before = {node: kernel_state(cluster, node) for node in nodes}
    cluster.sandbox("agent", "kill", "--all")
    cluster.sandbox("operator", "kill")
    status = cluster.status()
    yield check("kill -9 of every agent and of the operator", not status["operator"]["running"]
                and not any(node["agent"]["running"] for node in status["nodes"]), status)
    time.sleep(pause)
    cluster.sandbox("operator", "start")
    cluster.sandbox("agent", "start", "--all")
    yield check("all started again and ready", all(node["agent"]["running"] for node in cluster.status()["nodes"]))
    time.sleep(pause)
    after = {node: kernel_state(cluster, node) for node in nodes}
    sent = lost = 0
    for name, kind, program in running:
        result = program.finish()
        cluster.background.remove(program)
        if kind == "UDP":
            sent, lost = sent + result["sent"], lost + result["lost"]
            yield check(f"{name}: {result['sent']} UDP datagrams through the restart, {result['lost']} lost",
                        result["lost"] == 0 and result["doubled"] == 0 and result["sent"] > rate, result)
        else:
            yield check(f"{name}: TCP connection alive, {result['rounds']} rounds, {result['retransmits']} retransmitted segments",
                        result["alive"] and (result["retransmits"] == 0 or not steady) and result["rounds"] > rate // 10, result)
    for node in nodes:
        reconcilers, datapath = restart_report(cluster, node)
        # Health and event objects are not state of the kernel; these are.
        changed = [r for r in reconcilers if r.get("added", 0) or r.get("updated", 0) or r.get("removed", 0) or r.get("failed", 0)]
        unchanged = sum(r.get("unchanged-at-start", 0) for r in reconcilers)
        yield check(f"{node}: reconcilers found {unchanged} objects as they should be: 0 added, 0 updated, 0 removed",
                    reconcilers and unchanged and not changed, changed or reconcilers)
        yield check(f"{node}: programs, maps and links adopted, none made", datapath.get("programs") == "adopted"
                    and not any(datapath.get(key, 0) for key in ("maps-created", "links-attached", "links-updated", "devices-created")), datapath)
        yield check(f"{node}: links, routes and rules are the same as before", before[node] == after[node],
                    [(key, sorted(set(before[node][key]) ^ set(after[node][key]))) for key in before[node]])
