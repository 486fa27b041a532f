"""Cilium's monitor socket, read by a program in Go as Cilium's own consumers read it."""
import json
import os
import pathlib
import shutil
import subprocess
import threading

from lib import checks, policy
from lib.policy import cilium, endpoints
from lib.sandbox import CommandFailed
from lib.scenario import scenario

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "monitor_reader.go"
SOCKET = "/var/run/cilium/monitor1_2.sock"
FROM_APP1 = cilium("only-app1", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app1")]}]})
DENY = cilium("deny-app3", {"endpointSelector": endpoints(app="nginx"), "ingressDeny": [{"fromEndpoints": [endpoints(app="app3")]}]})
TO_ENDPOINT, TO_OVERLAY = 0, 4
INGRESS = 1
L3_ONLY = 1
POLICY_DENIED, DENIED_BY_DENYLIST = 133, 181
ENDPOINT_CREATED = 7
FLOOD = 25_000  # events: twice what is kept for one reader


def reader_program(cluster):
    """The compiled reader, beside the programs that are tested."""
    program = cluster.bin / "monitor_reader"
    if program.exists() and program.stat().st_mtime > SOURCE.stat().st_mtime:
        return program
    if not shutil.which("go"):
        raise RuntimeError("there is no Go to compile monitor_reader.go with (package golang-go)")
    environment = os.environ | {"GO111MODULE": "off", "CGO_ENABLED": "0", "GOFLAGS": "-p=2"}
    built = subprocess.run(["go", "build", "-o", program, SOURCE], env=environment, capture_output=True, text=True)
    if built.returncode != 0:
        raise CommandFailed(["go", "build", str(SOURCE)], built.returncode, built.stdout, built.stderr)
    return program


class Reader:
    """What a reader of a node's socket has seen so far."""

    def __init__(self, cluster, node, *words):
        with open("/dev/null", "rb") as nothing:
            self.process = subprocess.Popen([str(word) for word in cluster.exec_command(node, reader_program(cluster), SOCKET, *words)], stdin=nothing,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.seen = []
        if self.process.stdout.readline().strip() != "ready":
            raise CommandFailed(["monitor_reader", SOCKET], self.process.wait(), "", self.process.stderr.read())
        self.thread = threading.Thread(target=lambda: self.seen.extend(map(json.loads, self.process.stdout)), daemon=True)
        self.thread.start()

    def some(self, **fields):
        return [event for event in list(self.seen) if all(event.get(key.replace("_", "-")) == value for key, value in fields.items())]

    def soon(self, seconds=5, **fields):
        return checks.wait_until(lambda: self.some(**fields), seconds, 0.1)

    def lost(self):
        return sum(event["count"] for event in self.some(type="lost"))

    def ended(self, seconds=10):
        """How it ended of itself: (status, what it complained of)."""
        status = self.process.wait(seconds)
        self.thread.join()
        return status, self.process.stderr.read()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.thread.join()


def send(cluster, source, address):
    return cluster.probe(source, [{"to": address, "port": policy.PORT, "kind": "tcp", "bytes": 0, "timeout-ms": 1500, "label": "x"}])


def events_of(cluster, readers, ids, identities, family):
    addresses = {pod: cluster.addresses()[pod][family] for pod in ids}
    here, there = readers
    name = checks.family_name(family)
    for source in ("app1", "app2", "app3"):
        send(cluster, source, addresses["nginx"])
    tcp = dict(proto=6, dport=policy.PORT, dst=addresses["nginx"])
    ends = lambda source: dict(src=addresses[source], src_label=identities[source], dst_label=identities["nginx"])
    last = lambda reader: reader.seen[-10:]
    found = here.soon(type="trace", point=TO_ENDPOINT, source=ids["nginx"], dst_id=ids["nginx"], orig_ip=addresses["app1"], **ends("app1"), **tcp)
    yield checks.check(f"{name}: the request arrives at the pod", found and all(event["ifindex"] > 0 and event["length"] > 40 for event in found), last(here))
    yield checks.check(f"{name}: it is new, and a SYN", any(event["reason"] == 0 and event["tcp-flags"] & 2 for event in found or []), found)
    found = there.soon(type="trace", point=TO_OVERLAY, source=ids["app1"], dst_id=0, **ends("app1"), **tcp)
    yield checks.check(f"{name}: and has left its own node through the tunnel", found, last(there))
    for source, reason, match in (("app2", POLICY_DENIED, 0), ("app3", DENIED_BY_DENYLIST, L3_ONLY)):
        found = here.soon(type="drop", reason=reason, source=ids["nginx"], dst_id=ids["nginx"], **ends(source), **tcp)
        yield checks.check(f"{name}: what {source} sends is dropped, reason {reason}", found and all(event["line"] > 0 and event["file"] > 0 for event in found), last(here))
        verdict = dict(type="verdict", source=ids["nginx"], direction=INGRESS, of_proto=6, port=policy.PORT, audited=False)
        found = here.soon(remote_label=identities[source], verdict=-reason, match=match, src=addresses[source], **verdict, **tcp)
        yield checks.check(f"{name}: so says the verdict", found, here.some(type="verdict"))
    found = here.soon(remote_label=identities["app1"], verdict=0, match=L3_ONLY, src=addresses["app1"], **verdict, **tcp)
    yield checks.check(f"{name}: the verdict that let it pass", found, here.some(type="verdict"))


def stalled(cluster, node, address, reader):
    """One that does not read loses events and is told; nobody else notices."""
    go_on = "/var/run/cilium/go-on"
    slow = Reader(cluster, node, "--stall-until", go_on)
    try:
        before = len(reader.seen)
        flood = cluster.start("app2", "load", "--to", address, "--port", policy.PORT, "--per-second", 2500)
        checks.wait_until(lambda: len(reader.seen) - before > FLOOD, 60, 0.2)
        state = cluster.cli_json(node, "status")["cilium"]["state"]
        yield checks.check("the agent answers while a reader stalls", state == "Ok", state)
        sent = flood.finish()["sent"]
        yield checks.check("who reads goes on seeing drops and verdicts", len(reader.seen) - before > FLOOD, (sent, len(reader.seen) - before, reader.lost()))
        yield checks.check("who does not read has seen nothing", not slow.seen, slow.seen[:3])
        cluster.exec(node, "touch", go_on)
        lost = checks.wait_until(slow.lost, 30, 0.2)
        got = len(slow.seen) - len(slow.some(type="lost"))
        yield checks.check("it gets what was kept for it, and is told how many it lost", got > 0 and lost and got + lost > FLOOD, (got, lost, sent))
        yield checks.check("no more than there were: each packet is a drop and a verdict", got + lost < 2 * sent + 200, (got, lost, sent))
        send(cluster, "app1", address)
        seen = slow.soon(10, type="trace", point=TO_ENDPOINT, dst=address, src=cluster.addresses()["app1"]["ipv4"])
        yield checks.check("and goes on with what comes", seen, slow.seen[-3:])
        yield checks.check("no message of its stream was torn", not slow.some(type="error") and slow.process.poll() is None, slow.some(type="error")[:3])
    finally:
        slow.end()


def restarted(cluster, node, address, ids, reader):
    cluster.sandbox("agent", "stop", node)
    yield checks.check("a reader's stream ends with the agent", reader.ended() == (0, ""), reader.seen[-1:])
    yield checks.check("the socket's file goes with it", cluster.exec(node, "test", "-e", SOCKET, check=False).returncode != 0)
    cluster.sandbox("agent", "start", node)
    cluster.sandbox("agent", "kill", node)
    yield checks.check("one that is killed leaves the file", cluster.exec(node, "test", "-S", SOCKET, check=False).returncode == 0)
    cluster.sandbox("agent", "start", node)
    again = Reader(cluster, node)
    try:
        send(cluster, "app1", address)
        yield checks.check("the agent after it serves it again", again.soon(type="trace", source=ids["nginx"], src=cluster.addresses()["app1"]["ipv4"], dst=address), again.seen[-5:])
    finally:
        again.end()


@scenario(cost=40)
def monitor_socket(context):
    cluster = context.cluster(nodes=2)
    client_node, server_node = cluster.nodes()
    for pod, node in (("app1", client_node), ("app2", client_node), ("app3", client_node), ("nginx", server_node)):
        cluster.add_pod(pod, node, labels=f"app={pod}")
    cluster.serve("nginx")
    policies = policy.Policies(cluster)
    yield checks.check("policies are in force", policies.use(FROM_APP1, DENY), policies.state())
    mode = cluster.exec(server_node, "stat", "-c", "%a %F", SOCKET).stdout.strip()
    yield checks.check("the socket is there, for its owner and group", mode == "660 socket", mode)
    found = {pod: checks.endpoint_of(cluster, pod) for pod in ("app1", "app2", "app3", "nginx")}
    ids, identities = {pod: one["id"] for pod, one in found.items()}, {pod: one["status"]["identity"]["id"] for pod, one in found.items()}
    address = cluster.addresses()["nginx"]["ipv4"]
    readers = []
    try:
        for node in (server_node, client_node):
            readers.append(Reader(cluster, node))
        for family in ("ipv4", "ipv6"):
            yield from events_of(cluster, readers, ids, identities, family)
        cluster.add_pod("late", server_node, labels="app=late")
        late = checks.endpoint_of(cluster, "late")["id"]
        told = readers[0].soon(type="agent", notice=ENDPOINT_CREATED)
        yield checks.check("a new pod is told of", any(event["text"].get("id") == late and event["text"]["pod-name"] == "late" for event in told or []), told)
        yield from stalled(cluster, server_node, address, readers[0])
        yield checks.check("every message was understood", not any(reader.some(type="error") for reader in readers), [reader.some(type="error")[:3] for reader in readers])
        yield from restarted(cluster, server_node, address, ids, readers[0])
    finally:
        for reader in readers:
            reader.end()
