"""What happens to services over time: affinity, backends that leave, changes and restarts under traffic, many of them."""
import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time

from lib import checks, services
from lib.scenario import scenario
from lib.services import SERVICE_PORT, rows
from lib.talk import Talker
from scenarios.services_types import NODE_FRONTENDS, place

PACKETS = "--bpf-lb-sock-hostns-only=true"  # pods' packets are translated, not their sockets
STICKY = {"sessionAffinity": "ClientIP"}
TWO_PORTS = (("TCP", 80), ("UDP", 80), ("TCP", 81))


def server_of(cluster, client, address, port, kind="tcp", **more):
    """The address of the one backend that answers now; None when nobody does."""
    result = cluster.probe(client, [{"to": address, "port": port, "kind": kind, "bytes": 64, "timeout-ms": 2000, **more}])[0]
    return result["server"].rpartition(":")[0].strip("[]") if result["ok"] else None


def affinity(context, flags=()):
    """A client keeps its backend: over ports and protocols, while it may be chosen, and as long as the timeout says."""
    cluster, known = place(context, flags=flags)
    cluster.serve("b1", "b2")
    backends = (known.backend("b1"), known.backend("b2"))
    known.put("sticky", 1, backends, type_="NodePort", ports=TWO_PORTS, sessionAffinityConfig={"clientIP": {"timeoutSeconds": 3}}, **STICKY)
    known.put("default", 5, backends, type_="LoadBalancer", **STICKY)
    yield services.verdicts(cluster, "each client stays", [*rows("c1 c2 node1 node2", "cluster", 1, "b1 b2", single=True), *rows("outside", "node:node1", 1, "b1 b2", single=True),
                                                          *rows("outside c1", "load-balancer", 5, "b1 b2", single=True)])
    for client, family in (("c1", "ipv4"), ("c2", "ipv6"), ("node1", "ipv4"), ("outside", "ipv4"), ("outside", "ipv6")):
        if client == "outside":
            address, ports = known.addresses["node1"][family], [(services.node_port(1), "tcp"), (services.node_port(1), "udp"), (services.node_port(1) + 1, "tcp")]
        else:
            address, ports = services.cluster_ip(1)[family], [(80, "tcp"), (80, "udp"), (81, "tcp")]
        given = {server_of(cluster, client, address, port, kind) for port, kind in ports for _ in range(4)}
        yield checks.check(f"{client}, {checks.family_name(family)}: one backend for all {len(ports)} ports: {', '.join(map(str, given))}", len(given) == 1 and None not in given, given)
        first = given.pop()
        mine, others = [[item for item in backends if (item["addresses"][family] == first) == same] for same in (True, False)]
        known.backends("sticky", others, ports=TWO_PORTS)
        moved = checks.wait_until(lambda: server_of(cluster, client, address, ports[0][0]) == others[0]["addresses"][family], 5)
        yield checks.check(f"{client}: another one when its own goes", moved)
        known.backends("sticky", backends, ports=TWO_PORTS)
        # Asked twice a second, it is remembered for longer than the timeout.
        end, stayed = time.monotonic() + 4, set()
        while time.monotonic() < end:
            stayed.add(server_of(cluster, client, address, ports[0][0]))
            time.sleep(0.5)
        yield checks.check(f"{client}: and keeps it while it keeps asking", stayed == {others[0]["addresses"][family]}, (stayed, mine))
        time.sleep(4.5)
        again = server_of(cluster, client, address, ports[0][0])
        yield checks.check(f"{client}: forgotten after the timeout, it gets its first choice again", again == first, (again, first))


@scenario(cost=75)
def services_affinity(context):
    yield from affinity(context)


@scenario(cost=75)
def services_affinity_packets(context):
    yield from affinity(context, flags=[PACKETS])


def leaving(context, flags=(), **options):
    """A backend that terminates finishes its conversations and gets no new ones; the last ones left are used."""
    cluster, known = place(context, flags=flags, **options)
    cluster.serve("b1", "b2")
    port = 9000
    talking = {}
    known.put("talk", 1, ("b1",), type_="NodePort", target=port, ports=(("TCP", 80),))
    known.put("talk6", 2, ("b1",), type_="NodePort", target=port + 1, ports=(("TCP", 80),))
    known.put("new", 3, ("b1", "b2"), type_="NodePort")
    yield services.verdicts(cluster, "before", rows("c2 outside", "node:node1", 3, "b1 b2", kinds=("tcp", "udp")))
    for number, (name, client, family, address, to) in enumerate((
            ("from a pod", "c1", "ipv4", services.cluster_ip(1)["ipv4"], 80), ("from outside", "outside", "ipv6", known.addresses["node2"]["ipv6"], services.node_port(2)))):
        server = Talker(cluster, "b1", "listen", "tcp", known.addresses["b1"][family], port + number)
        client = Talker(cluster, client, "connect", "tcp", address, to)
        talking[name] = (client, server)

    def alive(name, text):
        client, server = talking[name]
        client.say(text)
        heard = server.hear(text, 3) is not None
        server.say(text + " back")
        return heard and client.hear(text + " back", 3) is not None

    for name in talking:
        yield checks.check(f"{name}: a conversation", alive(name, "hello"))
    states = (("terminating", {"ready": False, "serving": True, "terminating": True}), ("gone", None))
    for title, state in states:
        left = [known.backend("b1", **state)] if state else []
        known.backends("talk", left, target=port, ports=(("TCP", 80),))
        known.backends("talk6", left, target=port + 1, ports=(("TCP", 80),))
        known.backends("new", [*left, "b2"])
        yield services.verdicts(cluster, f"b1 {title}: new ones go to b2", [*rows("c1 c2 node1", "cluster", 3, "b2"), *rows("outside", NODE_FRONTENDS, 3, "b2")])
        for name in talking:
            yield checks.check(f"{name}: the conversation goes on when b1 is {title}", alive(name, title))
    known.backends("new", [known.backend("b1", ready=False, serving=True, terminating=True), known.backend("b2", ready=False, serving=True, terminating=True)])
    yield services.verdicts(cluster, "only terminating ones are left", [*rows("c1 node1", "cluster", 3, "b1 b2"), *rows("outside", "node:node1", 3, "b1 b2")])
    known.backends("new", [known.backend("b1", ready=False, serving=False, terminating=True)])
    yield services.verdicts(cluster, "none that serves", rows("c1 c2 node1", "cluster", 3, kinds=("tcp",)))


@scenario(cost=30)
def services_terminating(context):
    yield from leaving(context)


@scenario(cost=30)
def services_terminating_packets(context):
    yield from leaving(context, flags=[PACKETS], routing="native")


# A connected datagram socket that asks ten times a second who it talks to, and says when that changes or fails.
CLIENT = """
import socket, sys, time
address, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((address, port))
s.settimeout(0.3)
end, last = time.monotonic() + seconds, None
print("ready", flush=True)
while time.monotonic() < end:
    try:
        s.send(b"who")
        now = s.recv(64).decode()
    except socket.timeout:
        now = "silence"
    except OSError as error:
        now = "ended"
    if now != last:
        print(now, flush=True)
        last = now
    time.sleep(0.1)
"""
SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", int(sys.argv[1])))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(64)
    s.sendto(sys.argv[2].encode(), peer)
"""


class Script:
    """A Python program on a machine; what it prints is read as it comes."""

    def __init__(self, cluster, machine, text, *arguments):
        self.lines = []
        self.process = subprocess.Popen([str(word) for word in cluster.exec_command(machine, sys.executable, "-c", text, *arguments)], stdout=subprocess.PIPE, text=True)
        cluster.background.append(self)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"a script on {machine} did not start")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def says(self, wanted, seconds):
        return checks.wait_until(lambda: any(line in wanted for line in self.lines), seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()


def stale_sockets(context, flags=(), ends=True):
    """A connected UDP socket does not talk to a backend that has gone: it is ended, or its packets get another backend."""
    cluster, known = place(context, flags=flags)
    ports = (("UDP", 80),)
    for machine in ("b1", "b2"):
        Script(cluster, machine, SERVER, 9100, machine)
    known.put("names", 1, ("b1",), target=9100, ports=ports)
    yield services.verdicts(cluster, "no answer is no error", rows("c1", "cluster", 1, kinds=("tcp",)), seconds=0.1)
    clients = {}
    for machine, family in (("c1", "ipv4"), ("c2", "ipv6"), ("node1", "ipv4"), ("node2", "ipv6")):
        clients[machine] = checks.wait_until(lambda: started(cluster, machine, services.cluster_ip(1)[family]), 8, 0.2)
        yield checks.check(f"{machine}: a socket connected to b1", clients[machine])
    known.backends("names", ("b2",), target=9100, ports=ports)
    for machine, script in clients.items():
        if script:
            wanted = ("ended", "b2") if ends or machine.startswith("node") else ("b2",)
            yield checks.check(f"{machine}: within two seconds {' or '.join(wanted)}", script.says(wanted, 2), script.lines)


def started(cluster, machine, address):
    script = Script(cluster, machine, CLIENT, address, 80, 20)
    if script.says(("b1",), 1):
        return script
    script.kill()
    cluster.background.remove(script)
    return None


@scenario(cost=20)
def services_stale_sockets(context):
    yield from stale_sockets(context)


@scenario(cost=20)
def services_stale_flows_of_packets(context):
    yield from stale_sockets(context, flags=[PACKETS], ends=False)


def changes(context, flags=(), **options):
    """Backends come and go under new connections: as all of them answer, not one connection fails."""
    cluster, known = place(context, flags=flags, **options)
    cluster.serve("b1", "b2")
    known.put("turn", 1, ("b1", "b2"), type_="NodePort")
    yield services.verdicts(cluster, "before", [*rows("c1 node1", "cluster", 1, "b1 b2", kinds=("tcp",)), *rows("outside", "node:node2", 1, "b1 b2", kinds=("tcp",))])
    results, running, turns = {}, [], 0
    for client, address, port in (("c1", services.cluster_ip(1)["ipv4"], 80), ("node2", services.cluster_ip(1)["ipv6"], 80),
                                  ("outside", known.addresses["node1"]["ipv4"], services.node_port(1))):
        def ask(client=client, address=address, port=port):
            found = results.setdefault(client, [])
            # An API server takes its time for a change.
            while len(found) < 2 or (turns < 4 and len(found) < 40):
                found += cluster.probe(client, [{"to": address, "port": port, "kind": "tcp", "times": 1500, "timeout-ms": 3000}])
        running.append(threading.Thread(target=ask))
    for thread in running:
        thread.start()
    while any(thread.is_alive() for thread in running) and turns < 200:
        known.backends("turn", (("b1", "b2"), ("b1",), ("b1", "b2"), ("b2",))[turns % 4])
        turns += 1
    for thread in running:
        thread.join()
    for client, items in results.items():
        count = sum(sum(item["servers"].values()) for item in items)
        bad = [item["error"] for item in items if not item["ok"]]
        yield checks.check(f"{client}: {count} connections through {turns} changes, none failed", not bad and turns >= 4, bad or turns)


@scenario(cost=25)
def services_changes_have_no_gap(context):
    yield from changes(context)


@scenario(cost=25)
def services_changes_of_packets_have_no_gap(context):
    yield from changes(context, flags=[PACKETS, "--bpf-lb-algorithm=maglev"], routing="native")


# Restarts

def loads(cluster, known):
    """UDP flows and TCP connections through every kind of frontend; the world's through both nodes."""
    found = {}
    for client, where, address, port in (
            ("c1", "ClusterIP", services.cluster_ip(1), 80), ("node2", "ClusterIP", services.cluster_ip(1), 80), ("outside", "NodePort of node1", known.addresses["node1"], services.node_port(1)),
            ("outside", "NodePort of node2", known.addresses["node2"], services.node_port(1)), ("outside", "load balancer", services.load_balancer_ip(2), 80),
            ("c2", "the world", known.addresses["outside"], 7000)):
        for family in ("ipv4", "ipv6"):
            found[f"{client} → {where}, {checks.family_name(family)}, UDP"] = cluster.start(client, "load", "--to", address[family], "--port", port, "--per-second", 250)
        found[f"{client} → {where}, TCP"] = cluster.start(client, "stream", "--to", address["ipv4"], "--port", port, "--per-second", 50)
    return found


def finish(cluster, running):
    for name, program in running.items():
        result = program.finish()
        cluster.background.remove(program)
        if "UDP" in name:
            yield checks.check(f"{name}: {result['sent']} datagrams, {result['lost']} lost", result["sent"] > 100 and result["lost"] == 0, result)
        else:
            yield checks.check(f"{name}: the connection lives", result.get("alive", True) and not result.get("error"), result)


def restart(context, flags=(), many=0, **options):
    cluster, known = place(context, flags=["--enable-ipv4-masquerade=true", "--enable-ipv6-masquerade=true", "--enable-bpf-masquerade=true", *flags], **options)
    cluster.serve("b1", "b2", "outside")
    known.put("port", 1, ("b1", "b2"), type_="NodePort")
    known.put("lb", 2, ("b1", "b2"), type_="LoadBalancer")
    if many:
        write_many(cluster, many, 3)
    yield services.verdicts(cluster, "before", [*rows("c1 node2", "cluster", 1, "b1 b2", kinds=("tcp",)), *rows("outside", NODE_FRONTENDS, 1, "b1 b2", kinds=("tcp",)),
                                                *rows("outside", "load-balancer", 2, "b1 b2", kinds=("tcp",))], seconds=20)
    if many:
        yield checks.check(f"{many} services are known", checks.wait_until(lambda: len(services.listed(cluster, "node1")) >= many, 60, 0.5))
    running = loads(cluster, known)
    time.sleep(1)
    cluster.sandbox("agent", "kill", "--all")
    cluster.sandbox("operator", "kill")
    time.sleep(1)
    cluster.sandbox("operator", "start")
    cluster.sandbox("agent", "start", "--all")
    time.sleep(1.5)
    yield from finish(cluster, running)
    for node in cluster.nodes():
        reconcilers, datapath = checks.restart_report(cluster, node)
        changed = [item for item in reconcilers if item.get("added", 0) or item.get("updated", 0) or item.get("removed", 0) or item.get("failed", 0)]
        yield checks.check(f"{node}: nothing added, updated or removed", reconcilers and not changed, changed)
    known.backends("port", ("b2",))
    yield services.verdicts(cluster, "and changes are taken again", [*rows("c1 node2", "cluster", 1, "b2", kinds=("tcp",)), *rows("outside", NODE_FRONTENDS, 1, "b2", kinds=("tcp",))])


@scenario(cost=35, alone=True)
def services_restart_under_load(context):
    yield from restart(context)


@scenario(cost=35, alone=True)
def services_restart_under_load_packets(context):
    yield from restart(context, flags=[PACKETS, "--bpf-lb-algorithm=maglev"], routing="native")


@scenario(cost=35, alone=True)
def services_restart_under_load_dsr(context):
    yield from restart(context, flags=["--bpf-lb-mode=dsr"], routing="native")


@scenario(cost=90, alone=True)
def services_restart_with_a_late_table(context):
    """3,000 services take a while to be listed; until then the old ones serve."""
    yield from restart(context, many=3000)


@scenario(cost=25, every_store=True)
def services_changed_while_the_agent_is_down(context):
    cluster, known = place(context)
    known.put("stays", 1, ("b1", "b2"), type_="NodePort")
    known.put("goes", 2, ("b1",), type_="NodePort")
    known.put("changes", 3, ("b1",), type_="NodePort")
    before = [*rows("c1 node1", "cluster", 1, "b1 b2", kinds=("tcp",)), *rows("outside c2", "node:node1", 1, "b1 b2", kinds=("tcp",))]
    yield services.verdicts(cluster, "before", [*before, *rows("c1", "cluster", 2, "b1"), *rows("outside", "node:node1", 3, "b1")])

    def numbers_of_frontends():
        return {json.dumps(item["spec"]["frontend-address"], sort_keys=True): item["spec"]["id"] for item in services.listed(cluster, "node1")}

    numbers = numbers_of_frontends()
    cluster.sandbox("agent", "kill", "--all")
    known.remove("goes")
    known.backends("changes", ("b2",))
    known.put("comes", 4, ("b2",), type_="NodePort")
    yield services.verdicts(cluster, "while it is down the old ones serve", [*before, *rows("c1", "cluster", 2, "b1"), *rows("outside", "node:node1", 3, "b1")], seconds=0.1)
    cluster.sandbox("agent", "start", "--all")
    yield services.verdicts(cluster, "after the start", [*before, *rows("c1", "cluster", 2, kinds=("tcp",)), *rows("outside", "node:node1", 2, kinds=("tcp",)),
                                                        *rows("outside c1", "node:node1", 3, "b2"), *rows("outside c1", "node:node1", 4, "b2")])
    after = numbers_of_frontends()
    kept = {address: (number, after.get(address)) for address, number in numbers.items() if address in after and after[address] != number}
    yield checks.check("numbers of frontends are the same", not kept, kept)


# Many

def write_many(cluster, count, first, backends=10):
    """Their backends do not exist."""
    manifests = []
    for number in range(first, first + count):
        name = f"many-{number}"
        fakes = [{"addresses": {"ipv4": f"10.200.{(number * backends + i) >> 8 & 255}.{(number * backends + i) & 255}"}, "node": f"node{1 + i % 2}",
                  "conditions": {"ready": True, "serving": True, "terminating": False}} for i in range(backends)]
        manifests += [services.service(name, number + 256, families=("ipv4",), ports=(("TCP", SERVICE_PORT),)),
                      *services.slices(name, fakes, families=("ipv4",), ports=(("TCP", SERVICE_PORT),))]
    cluster.apply_many(manifests)


def rss_mib(cluster, node):
    pid = next(item["agent"]["pid"] for item in cluster.status()["nodes"] if item["name"] == node)
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@scenario(cost=180, alone=True)
def services_ten_thousand(context):
    """10,000 services of 10 backends: all are served, memory stays bounded, and a change among them takes milliseconds."""
    cluster, known = place(context, flags=["--bpf-lb-map-max=131072"])
    cluster.serve("b1", "b2")
    known.put("real", 1, ("b1",))
    yield services.verdicts(cluster, "one of them", rows("c1 node1", "cluster", 1, "b1", kinds=("tcp",)))
    before = rss_mib(cluster, "node1")
    start = time.monotonic()
    write_many(cluster, 10_000, 10)
    written = time.monotonic() - start
    all_there = checks.wait_until(lambda: len(services.listed(cluster, "node1")) >= 10_001, 120, 1)
    grown = rss_mib(cluster, "node1") - before
    yield checks.check(f"all are listed {time.monotonic() - start - written:.1f} s after the last was written", all_there, len(services.listed(cluster, "node1")))
    yield checks.check(f"the agent's memory grew by {grown:.0f} MiB", grown < 400, grown)  # 65,536 different backends; bench's service_rss_mib has the figure to reach
    yield services.verdicts(cluster, "the one still answers", rows("c1 c2 node1", "cluster", 1, "b1", kinds=("tcp",)))
    times = []
    for turn in range(6):
        machine = ("b2", "b1")[turn % 2]
        known.backends("real", (machine,))
        start = time.monotonic()
        wanted = known.addresses[machine]["ipv4"]
        checks.wait_until(lambda: server_of(cluster, "c1", services.cluster_ip(1)["ipv4"], 80) == wanted, 10, 0)
        times.append((time.monotonic() - start) * 1000)
    yield checks.check(f"a change of backends among them is there after {statistics.median(times):.0f} ms (commands included)", statistics.median(times) < 1000, times)
    for node in cluster.nodes():
        yield checks.no_reconciler_errors(cluster, node)
    names = [f"many-{number}" for number in range(10, 10_010)]
    cluster.delete_many("v1", "Service", "default", names)
    cluster.delete_many("discovery.k8s.io/v1", "EndpointSlice", "default", [f"{name}-ipv4" for name in names])
    gone = checks.wait_until(lambda: len(services.listed(cluster, "node1")) < 20, 120, 1)
    yield checks.check("and all are gone again", gone, len(services.listed(cluster, "node1")))
    yield services.verdicts(cluster, "the one still answers", rows("c1 c2 node1", "cluster", 1, "b1", kinds=("tcp",)))
