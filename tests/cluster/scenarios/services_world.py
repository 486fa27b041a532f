"""Services and the world outside: whose address is seen there and here, how traffic to another node's backend gets there."""
import json

from lib import checks, policy, services
from lib.policy import cilium, endpoints
from lib.sandbox import PORT
from lib.scenario import scenario
from lib.services import rows
from scenarios.services_types import NODE_FRONTENDS, place

PACKETS = "--bpf-lb-sock-hostns-only=true"
MASQUERADE = ["--enable-ipv4-masquerade=true", "--enable-ipv6-masquerade=true"]
IN_BPF = "--enable-bpf-masquerade=true"
EVERYTHING = [("tcp", 0), ("udp", 64), ("icmp", 56), ("udp", 4000), ("udp", 30000), ("icmp", 4000), ("upload", 2_000_000), ("download", 2_000_000)]


def seen_as(cluster, source, destination, owner, kinds=EVERYTHING, families=("ipv4", "ipv6"), seconds=5):
    """Traffic gets through and arrives with an address of `owner`."""
    addresses = cluster.addresses()
    cluster.serve(destination)
    allowed = checks.node_sources(cluster, owner) if owner in cluster.nodes() else set(addresses[owner].values())
    trouble = []

    def agrees():
        targets = [{"to": addresses[destination][family], "port": PORT, "kind": kind, "bytes": size, "timeout-ms": 2500} for family in families
                   if family in addresses[source] and family in addresses[destination] for kind, size in kinds]
        trouble[:] = [f"{item['to']} {item['kind']} {item['bytes']}: " + (item.get("error") or f"seen as {item['peer']}") for item in cluster.probe(source, targets)
                      # Translated, an echo request may have another identifier, and the server does not know it as ours.
                      if not item["ok"] or item["kind"] != "download" and item["peer"] not in (allowed | {""} if item["kind"] == "icmp" and owner != source else allowed)]
        return not trouble

    checks.wait_until(agrees, seconds, 0.2)
    return checks.check(f"{source} → {destination} arrives from {owner}", not trouble, "; ".join(trouble))


def masquerade(context, flags=(), **options):
    cluster = context.cluster(nodes=2, agent_flags=[*MASQUERADE, *flags], **options)
    for name, node in (("c1", "node1"), ("c2", "node2")):
        cluster.add_pod(name, node)
    for source, destination, owner in (("c1", "outside", "node1"), ("c2", "outside", "node2"), ("c1", "c2", "c1"), ("c1", "node1", "c1"), ("c1", "node2", "c1"), ("outside", "c1", "outside"),
                                       ("node1", "outside", "node1"), ("node1", "c2", "node1")):
        yield seen_as(cluster, source, destination, owner)
    # Nobody listens: the error finds the way back to the pod, through the translation.
    addresses = cluster.addresses()
    told = cluster.probe("c1", [{"to": addresses["outside"][family], "port": 7999, "kind": kind, "timeout-ms": 1500} for family in sorted(addresses["c1"]) for kind in ("tcp", "udp")])
    yield checks.check("errors come back to the pod", all(item["errno"] == "ECONNREFUSED" for item in told), told)
    for node in cluster.nodes():
        yield checks.no_reconciler_errors(cluster, node)


def masquerade_variant(name, cost=25, **options):
    @scenario(cost=cost, name="services-masquerade-" + name)
    def run(context):
        yield from masquerade(context, **options)
    return run


masquerade_variant("vxlan", flags=[IN_BPF])
masquerade_variant("native", flags=[IN_BPF], routing="native")
masquerade_variant("legacy-host-routing", flags=[IN_BPF, "--enable-host-legacy-routing=true"])
masquerade_variant("legacy-tc", flags=[IN_BPF, "--enable-tcx=false"])
masquerade_variant("netfilter", flags=["--enable-bpf-masquerade=false"])
masquerade_variant("netfilter-native", flags=["--enable-bpf-masquerade=false"], routing="native")
masquerade_variant("ipv6", flags=[IN_BPF], families="ipv6")
masquerade_variant("with-services", flags=[IN_BPF, *services.replacement()])


@scenario(cost=15)
def services_masquerade_one_family(context):
    """Only what is asked for: IPv6 keeps the pods' addresses."""
    cluster = context.cluster(nodes=2, agent_flags=["--enable-ipv4-masquerade=true", "--enable-ipv6-masquerade=false", IN_BPF])
    cluster.add_pod("c1", "node1")
    yield seen_as(cluster, "c1", "outside", "node1", families=("ipv4",))
    yield seen_as(cluster, "c1", "outside", "c1", families=("ipv6",))


@scenario(cost=30)
def services_ip_masq_agent(context):
    """nonMasqueradeCIDRs follow their file, and a bad file is reported while the last good one counts."""
    path = "/etc/config/ip-masq-agent"
    cluster = context.cluster(nodes=1, agent_flags=[*MASQUERADE, IN_BPF, "--enable-ip-masq-agent=true", f"--ip-masq-agent-config-path={path}"])
    cluster.add_pod("c1", "node1")

    def write(text):
        cluster.exec("node1", "sh", "-c", f"mkdir -p /etc/config && cat > {path}.new && mv {path}.new {path}", stdin=text)

    kinds = EVERYTHING[:4]
    write("nonMasqueradeCIDRs:\n- 10.0.0.0/8\nmasqLinkLocal: false\n")
    yield seen_as(cluster, "c1", "outside", "node1", kinds)
    write("nonMasqueradeCIDRs:\n- 10.0.0.0/8\n- 172.18.200.0/24\n- fd00:18:200::/64\n")
    yield seen_as(cluster, "c1", "outside", "c1", kinds)
    listed = cluster.cli("node1", "bpf", "ipmasq", "list")
    yield checks.check("bpf ipmasq list", "172.18.200.0/24" in listed and "fd00:18:200::/64" in listed, listed)
    write(json.dumps({"nonMasqueradeCIDRs": ["172.18.200.0/33"]}))
    yield checks.check("a bad file is reported", checks.wait_until(lambda: "172.18.200.0/33" in json.dumps(cluster.cli_json("node1", "status")), 5, 0.1),
                       cluster.cli_json("node1", "status")["axoneme"])
    yield seen_as(cluster, "c1", "outside", "c1", kinds)
    write(json.dumps({"nonMasqueradeCIDRs": ["10.0.0.0/8"]}))
    yield seen_as(cluster, "c1", "outside", "node1", kinds)
    yield checks.check("and no longer reported", checks.wait_until(lambda: "172.18.200.0/33" not in json.dumps(cluster.cli_json("node1", "status")), 5, 0.1))


def policy_at_the_backend(context, mode, wanted, **options):
    """What the backend's policy takes for the client, by forwarding mode."""
    cluster, known = place(context, flags=[f"--bpf-lb-mode={mode}"], routing="native", **options)
    policies = policy.Policies(cluster)
    known.put("port", 1, ("b2",), type_="NodePort")
    outside = [cluster.addresses()["outside"]["ipv4"] + "/32", cluster.addresses()["outside"]["ipv6"] + "/128"]
    kinds = {"kinds": ("tcp", "udp")}
    yield services.verdicts(cluster, f"{mode}, without a policy", rows("outside", NODE_FRONTENDS, 1, "b2", **kinds))
    policies.use(cilium("world", {"endpointSelector": endpoints(app="b2"), "ingress": [{"fromCIDR": outside}]}))
    far, near = wanted
    yield services.verdicts(cluster, f"{mode}, only from {outside[0]}", [*rows("outside", "node:node2", 1, "b2", **kinds),
                                                                        *(row for protocol, passes in far.items() for row in rows("outside", "node:node1", 1, "b2" if passes else "", kinds=(protocol,)))])
    policies.use(cilium("world", {"endpointSelector": endpoints(app="b2"), "ingress": [{"fromEntities": ["remote-node", "host"]}]}))
    yield services.verdicts(cluster, f"{mode}, only from nodes", [*rows("outside", "node:node2", 1, **kinds),
                                                                 *(row for protocol, passes in near.items() for row in rows("outside", "node:node1", 1, "b2" if passes else "", kinds=(protocol,)))])


@scenario(cost=25)
def services_policy_snat(context):
    yield from policy_at_the_backend(context, "snat", ({"tcp": False, "udp": False}, {"tcp": True, "udp": True}))


@scenario(cost=25)
def services_policy_dsr(context):
    yield from policy_at_the_backend(context, "dsr", ({"tcp": True, "udp": True}, {"tcp": False, "udp": False}))


@scenario(cost=25)
def services_policy_hybrid(context):
    yield from policy_at_the_backend(context, "hybrid", ({"tcp": True, "udp": False}, {"tcp": False, "udp": True}))


@scenario(cost=20)
def services_policy_of_pods(context):
    """A pod's policy sees the pod that asks, and the backend's port, whatever the service is called."""
    for flags in ([], [PACKETS]):
        cluster, known = place(context, flags=flags)
        policies = policy.Policies(cluster)
        known.put("both", 1, ("b1", "b2"), type_="NodePort")
        policies.use(cilium("in", {"endpointSelector": endpoints(app="b2"), "ingress": [{"fromEndpoints": [endpoints(app="c1")], "toPorts": [{"ports": [{"port": str(PORT)}]}]}]}),
                     cilium("in1", {"endpointSelector": endpoints(app="b1"), "ingress": [{"fromEndpoints": [endpoints(app="c1")]}]}),
                     cilium("out", {"endpointSelector": endpoints(app="c1"), "egress": [{"toEndpoints": [endpoints(app="b2"), endpoints(app="b1")],
                                                                                       "toPorts": [{"ports": [{"port": str(PORT), "protocol": "TCP"}]}]}]}))
        how = "packets" if flags else "sockets"
        yield services.verdicts(cluster, f"{how}: by the client's labels and the target's port", [
            *rows("c1", "cluster", 1, "b1 b2", kinds=("tcp",)), *rows("c1", "cluster", 1, kinds=("udp",)), *rows("c2", "cluster", 1, kinds=("tcp", "udp")),
            *rows("c1", NODE_FRONTENDS, 1, "b1 b2", kinds=("tcp",))])


def same_choice(context, **options):
    """Every node gives a client's connection to the same backend, so that the way to the service may change under it."""
    cluster, known = place(context, **options)
    cluster.serve("b1", "b2")
    known.put("lb", 2, ("b1", "b2"), type_="LoadBalancer")
    yield services.verdicts(cluster, "before", rows("outside", "load-balancer", 2, "b1 b2", kinds=("tcp",)))
    address, chosen = services.load_balancer_ip(2), {}
    for node in ("node1", "node2"):
        services.route_through(cluster, node)
        targets = [{"to": address[family], "port": 80, "kind": "udp", "bytes": 64, "from-port": 20000 + number, "timeout-ms": 2000} for family in ("ipv4", "ipv6") for number in range(40)]
        chosen[node] = [item["server"] or item.get("error") for item in cluster.probe("outside", targets)]
    different = [(one, other) for one, other in zip(chosen["node1"], chosen["node2"]) if one != other]
    kinds = len(set(chosen["node1"]))
    yield checks.check(f"{len(chosen['node1'])} flows get the same of {kinds} backends from both nodes", not different and kinds == 4, different or chosen["node1"])


@scenario(cost=20)
def services_maglev_on_every_node(context):
    yield from same_choice(context, flags=["--bpf-lb-algorithm=maglev"], routing="native")


@scenario(cost=20)
def services_maglev_on_every_node_vxlan(context):
    yield from same_choice(context, flags=["--bpf-lb-algorithm=maglev"])


def asked_for_health(cluster, client, host):
    """[status, answer] of a health check port; [0, why] without an answer."""
    url = f"http://{'[' + host + ']' if ':' in host else host}:31001/healthz"
    text = ("import json,sys,urllib.request,urllib.error\ntry: r = urllib.request.urlopen(sys.argv[1], timeout=2)\n"
            "except urllib.error.HTTPError as e: r = e\nprint(json.dumps([r.status, json.loads(r.read())]))")
    done = cluster.exec(client, "python3", "-c", text, url, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else [0, {"error": done.stderr.strip().splitlines()[-1:]}]


@scenario(cost=25)
def services_health_check_ports(context):
    """healthCheckNodePort answers on every node how many backends it has, and follows them."""
    cluster, known = place(context)
    known.put("local", 1, ("b1",), type_="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=31001)
    addresses = cluster.addresses()

    def asked(node, family):
        return asked_for_health(cluster, "outside", addresses[node][family])

    def counts(node, status, number):
        return checks.wait_until(lambda: all(asked(node, family)[0] == status and asked(node, family)[1].get("localEndpoints") == number for family in ("ipv4", "ipv6")), 5, 0.2)

    yield checks.check("node1: 200, one backend", counts("node1", 200, 1), asked("node1", "ipv4"))
    yield checks.check("node2: 503, none", counts("node2", 503, 0), asked("node2", "ipv4"))
    answer = asked("node1", "ipv4")[1]
    yield checks.check(f"it names the service: {answer}", answer.get("service") == {"namespace": "default", "name": "local"}, answer)
    known.backends("local", ("b2",))
    yield checks.check("the backend moves: node1 503, node2 200", counts("node1", 503, 0) and counts("node2", 200, 1), (asked("node1", "ipv4"), asked("node2", "ipv4")))
    known.remove("local")
    yield checks.check("without the service nobody answers", checks.wait_until(lambda: asked("node1", "ipv4")[0] == 0, 5, 0.2), asked("node1", "ipv4"))


@scenario(cost=20)
def services_health_checks_of_load_balancers(context):
    """With enable-health-check-loadbalancer-ip the node that a load balancer's address leads to answers at its health check port."""
    cluster, known = place(context, flags=["--enable-health-check-loadbalancer-ip=true"])
    known.put("local", 1, ("b1",), type_="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=31001)
    for node, status, count in (("node1", 200, 1), ("node2", 503, 0)):
        services.route_through(cluster, node)
        for family in ("ipv4", "ipv6"):
            seen = []

            def answers(family=family, seen=seen, wanted=(status, count)):
                seen[:] = asked_for_health(cluster, "outside", services.load_balancer_ip(1)[family])
                return (seen[0], seen[1].get("localEndpoints")) == wanted

            yield checks.check(f"through {node}, {checks.family_name(family)}: {status}, {count}", checks.wait_until(answers, 5, 0.2), seen)
    inside = asked_for_health(cluster, "c1", services.load_balancer_ip(1)["ipv4"])
    yield checks.check("a pod asks its own node", inside[0] == 200, inside)
    known.remove("local")
    gone = checks.wait_until(lambda: asked_for_health(cluster, "outside", services.load_balancer_ip(1)["ipv4"])[0] == 0, 5, 0.2)
    yield checks.check("without the service nobody answers", gone)


@scenario(cost=20)
def services_at_the_node_itself(context):
    """A node's own sockets reach NodePorts at its loopback address, and nobody binds a port that is a service's."""
    cluster, known = place(context)
    cluster.serve("b1", "b2")
    known.put("port", 1, ("b1", "b2"), type_="NodePort")
    yield services.verdicts(cluster, "from the node", rows("node1", NODE_FRONTENDS, 1, "b1 b2"))
    targets = [{"to": address, "port": services.node_port(1), "kind": kind, "bytes": 64, "times": 8} for address in ("127.0.0.1", "::1") for kind in ("tcp", "udp")]
    results = cluster.probe("node1", targets)
    yield checks.check("at 127.0.0.1 and ::1", all(item["ok"] and len(item["servers"]) == 2 for item in results), results)
    text = "import socket,sys; socket.socket().bind(('', int(sys.argv[1])))"
    refused = cluster.exec("node1", "python3", "-c", text, services.node_port(1), check=False)
    other = cluster.exec("node1", "python3", "-c", text, 29000, check=False)
    yield checks.check("a port of the NodePort range cannot be bound", refused.returncode != 0 and "PermissionError" in refused.stderr and other.returncode == 0, (refused.stderr, other.stderr))
    inside = cluster.exec("c1", "python3", "-c", text, services.node_port(1), check=False)
    yield checks.check("but in a pod it can", inside.returncode == 0, inside.stderr)


@scenario(cost=25)
def services_of_many_clients(context):
    """Clients of one NodePort that use the same source ports are told apart after translation, and answers find each of them."""
    cluster, known = place(context, flags=[PACKETS])
    cluster.serve("b2")
    known.put("port", 1, ("b2",), type_="NodePort")
    yield services.verdicts(cluster, "before", rows("outside c1", "node:node1", 1, "b2", kinds=("tcp",)))
    cluster.exec("outside", "sh", "-ec", "for i in $(seq 20 39); do ip address add 172.18.200.$i/24 dev eth0; done")
    text = """
import collections, json, socket, sys
address, port = sys.argv[1], int(sys.argv[2])
sockets = []
for host in range(20, 40):
    for source in range(40000, 40025):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((f"172.18.200.{host}", source))
        s.settimeout(3)
        s.connect((address, port))
        sockets.append(s)
seen = collections.Counter()
for s in sockets:
    s.send(b"who\\n")
for s in sockets:
    answer = json.loads(s.makefile().readline())
    seen[answer["peer"], answer["port"]] += 1
print(json.dumps({"connections": len(sockets), "different": len(seen)}))
"""
    answer = json.loads(cluster.exec("outside", "python3", "-c", text, known.addresses["node1"]["ipv4"], services.node_port(1)).stdout)
    yield checks.check(f"{answer['connections']} connections from 20 addresses, all at once: {answer['different']} different ones at the backend", answer["connections"] == answer["different"] == 500, answer)


def ports_of_both(context, **options):
    """The node's own connections use the source ports that translated ones to the same backend have or had."""
    cluster, known = place(context, **options)
    cluster.serve("b2")
    known.put("port", 1, ("b2",), type_="NodePort")
    for family in ("ipv4", "ipv6"):
        ask = lambda client, to, port, times: cluster.probe(client, [{"to": to, "port": port, "kind": "tcp", "times": times, "timeout-ms": 2500}] * 2)  # noqa: E731
        checks.wait_until(lambda: all(item["ok"] for item in ask("outside", known.addresses["node1"][family], services.node_port(1), 1)), 5, 0.2)
        for title, client, to, port in (("translated", "outside", known.addresses["node1"][family], services.node_port(1)),
                                        ("the node's own", "node1", known.addresses["b2"][family], PORT),
                                        ("translated ones again", "outside", known.addresses["node1"][family], services.node_port(1))):
            results = ask(client, to, port, 1500)
            bad = [item["error"] for item in results if not item["ok"]]
            yield checks.check(f"{checks.family_name(family)}, {title}: {sum(sum(item['servers'].values()) for item in results)} connections, none fails", not bad, bad)


@scenario(cost=15)
def services_ports_of_node_and_translation(context):
    yield from ports_of_both(context, routing="native")


@scenario(cost=15)
def services_ports_of_node_and_translation_vxlan(context):
    yield from ports_of_both(context)


@scenario(cost=15)
def services_ports_of_node_and_translation_legacy(context):
    yield from ports_of_both(context, routing="native", flags=["--enable-host-legacy-routing=true"])
