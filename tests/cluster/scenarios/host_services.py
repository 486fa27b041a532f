"""A node's own policy and the services that are reached through the node from outside: NodePorts, load balancers, external IPs."""
from lib import checks, policy, services
from lib.policy import clusterwide, no, yes
from lib.sandbox import PORT
from lib.scenario import scenario
from lib.services import node_port, rows
from lib.talk import Conversation
from scenarios.policy_life import monitored
from scenarios.services_types import NODE_FRONTENDS, place

FIREWALL = "--enable-host-firewall=true"
NODE1 = {"matchLabels": {"kubernetes.io/hostname": "node1"}}
IN_CLUSTER = {"fromEntities": ["cluster"]}
BOTH = {"kinds": ("tcp", "udp")}
SHUT = {**BOTH, "error": "silent"}
TALK = 9000


def world(*numbers):
    return {"fromEntities": ["world"], "toPorts": [{"ports": [{"port": str(number), "protocol": "ANY"} for number in numbers]}]}


def host(**spec):
    return clusterwide("host", {"nodeSelector": NODE1, **spec})


def put_services(known):
    known.put("here", 1, ("b1",), type_="NodePort")
    known.put("there", 2, ("b2",), type_="NodePort")
    known.put("balanced", 3, ("b1", "b2"), type_="LoadBalancer")
    known.put("external", 4, ("b1", "b2"), external=True)
    known.put("node", 5, ("node1",), type_="NodePort")
    known.put("empty", 6, type_="NodePort")


# What the node's policy has nothing to do with: pods' and nodes' own way to services, the other node, pods' own addresses.
def unconcerned():
    return [*rows("c1 c2 node1 node2", "cluster", 1, "b1", **BOTH), *rows("c1 c2 node2", NODE_FRONTENDS, 2, "b2", **BOTH),
            *rows("outside", "node:node2", 1, "b1", **BOTH), *rows("outside", "node:node2", 2, "b2", **BOTH)]


def through_node1():
    """From outside, while everything is open."""
    return [*rows("outside", "node:node1", 1, "b1", **BOTH), *rows("outside", "node:node1", 2, "b2", **BOTH),
            *rows("outside", "load-balancer", 3, "b1 b2", **BOTH), *rows("outside", "external", 4, "b1 b2", **BOTH),
            *rows("outside", "node:node1", 5, "node1", **BOTH)]


def frontends(context, flags=(), answers_go_straight=False, **options):
    cluster, known = place(context, flags=[FIREWALL, *flags], **options)
    policies = policy.Policies(cluster)
    put_services(known)
    known.put("talk", 7, ("b2",), type_="NodePort", ports=(("TCP", services.SERVICE_PORT),), target=TALK)
    yield services.verdicts(cluster, "without a policy", [*through_node1(), *unconcerned()])
    addresses = cluster.addresses()
    talks = {checks.family_name(family): Conversation(cluster, "outside", "b2", "tcp", addresses["b2"][family], TALK,
                                                      via=(addresses["node1"][family], node_port(7))) for family in sorted(addresses["b2"])}
    for family, talk in talks.items():
        yield checks.check(f"a connection through node1, {family}", talk.gets_through(seconds=2) and talk.gets_through(back=True, seconds=2))

    yield checks.check("closed to the world: in force", policies.use(host(ingress=[IN_CLUSTER])), policies.state())
    for family, talk in talks.items():
        yield checks.check(f"the connection, {family}, ends: not even the next request passes", not talk.gets_through())
        if not answers_go_straight:  # past this node
            yield checks.check(f"nor the next answer, {family}", not talk.gets_through(back=True))
    yield checks.check("open to the connection's port: in force", policies.use(host(ingress=[IN_CLUSTER, world(node_port(7))])), policies.state())
    for family, talk in talks.items():
        yield checks.check(f"the same connection goes on, {family}", talk.gets_through(seconds=6) and talk.gets_through(back=True, seconds=6))
    yield checks.check("closed again: in force", policies.use(host(ingress=[IN_CLUSTER])), policies.state())
    shut = [*rows("outside", "node:node1", 1, **SHUT), *rows("outside", "node:node1", 2, **SHUT), *rows("outside", "load-balancer", 3, **SHUT),
            *rows("outside", "external", 4, **SHUT), *rows("outside", "node:node1", 5, **SHUT), *rows("outside", "node:node1", 6, **SHUT)]
    yield services.verdicts(cluster, "closed to the world", [*shut, *unconcerned()])
    probe = {"to": addresses["node1"]["ipv4"] if "ipv4" in addresses["node1"] else addresses["node1"]["ipv6"], "port": node_port(2), "kind": "tcp", "timeout-ms": 300}
    line, seen = monitored(cluster, "node1", ["-t", "drop"], lambda: cluster.probe("outside", [probe]),
                           lambda text: "Policy denied" in text and f":{node_port(2)} tcp SYN" in text)
    yield checks.check(f"monitor: {line}", "default deny from CiliumClusterwideNetworkPolicy host" in line, seen)
    for to, port, name in ((addresses["node1"][min(addresses["node1"])], node_port(2), "there"), (services.load_balancer_ip(3)[min(addresses["node1"])], 80, "balanced")):
        answer = cluster.cli_json("node1", "policy", "explain", "--from", addresses["outside"][min(addresses["node1"])], "--to", to, "--port", port)
        yield checks.check(f"explain says so of Service {name}", not answer["allowed"] and f"default/{name}" in answer["text"]
                           and "default deny from CiliumClusterwideNetworkPolicy host" in answer["text"], answer["text"])
    answer = cluster.cli_json("node1", "policy", "explain", "--from", "c1", "--to", addresses["node1"][min(addresses["node1"])], "--port", node_port(2))
    yield checks.check("and that a pod gets through", answer["allowed"] and f"TCP/{PORT}" in answer["text"], answer["text"])

    # A backend in the node's namespace is the node's: its own port is asked about, too.
    for title, numbers, extra in (
            ("open to one node port", [node_port(1)], [*rows("outside", "node:node1", 1, "b1", **BOTH), *shut[1:]]),
            ("open to node ports and to the balanced port", [node_port(2), services.SERVICE_PORT],
             [*rows("outside", "node:node1", 2, "b2", **BOTH), *rows("outside", "load-balancer", 3, "b1 b2", **BOTH), *rows("outside", "external", 4, "b1 b2", **BOTH), shut[0]]),
            ("open to a port whose backend is the node, not to the backend", [node_port(5)], rows("outside", "node:node1", 5, **SHUT)),
            ("and to both", [node_port(5), PORT], rows("outside", "node:node1", 5, "node1", **BOTH)),
            ("without a backend the client is told only where the port is open", [node_port(6)], rows("outside", "node:node1", 6, error="refused", **BOTH))):
        yield checks.check(f"{title}: in force", policies.use(host(ingress=[IN_CLUSTER, world(*numbers)])), policies.state())
        yield services.verdicts(cluster, title, [*extra, *unconcerned()])
    yield checks.check("a denial alone: in force", policies.use(host(ingressDeny=[world(node_port(2))], enableDefaultDeny={"ingress": False})), policies.state())
    yield services.verdicts(cluster, "a denial alone", [*rows("outside", "node:node1", 2, **SHUT), *rows("outside", "node:node1", 1, "b1", **BOTH), *unconcerned()])
    policies.use()
    yield services.verdicts(cluster, "taken away: as it was", [*through_node1(), *unconcerned()])
    yield from policy.verdicts(cluster, "and the node's own ports", [yes("outside", "node1", "tcp")], explain=False)


def variant(name, **options):
    @scenario(cost=45, name="host-services-" + name)
    def run(context):
        yield from frontends(context, **options)
    return run


variant("vxlan")
variant("native", routing="native")
variant("legacy-host-routing", flags=["--enable-host-legacy-routing=true"], routing="native")
variant("dsr", flags=["--bpf-lb-mode=dsr"], routing="native", answers_go_straight=True)


@scenario(cost=25)
def host_services_audit_and_preview(context):
    """Audit says what would be dropped at a node port; `policy diff` says it before there is a policy."""
    cluster, known = place(context, flags=[FIREWALL])
    policies = policy.Policies(cluster)
    put_services(known)
    open_rows = [*rows("outside", "node:node1", 1, "b1", **BOTH), *rows("outside", "node:node1", 2, "b2", **BOTH)]
    yield services.verdicts(cluster, "without a policy", open_rows)
    shut = host(ingress=[IN_CLUSTER])
    done = cluster.exec("node1", "axoneme", "policy", "diff", "-f", "-", stdin=policy.text_of([shut]), check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("- ") and f"TCP/{node_port(2)}" in line]
    yield checks.check(f"policy diff: {lines[:1]}", lines and "default deny from CiliumClusterwideNetworkPolicy host" in done.stdout and f"TCP/{PORT}" not in done.stdout,
                       done.stdout + done.stderr)
    endpoint = next(item["id"] for item in cluster.cli_json("node1", "endpoint", "list") if item["status"]["identity"]["id"] == 1)
    cluster.cli("node1", "endpoint", "config", endpoint, "PolicyAuditMode=Enabled")
    policies.use(shut)
    probe = {"to": cluster.addresses()["node1"]["ipv4"], "port": node_port(2), "kind": "tcp", "timeout-ms": 900}
    line, seen = monitored(cluster, "node1", ["-t", "policy-verdict"], lambda: cluster.probe("outside", [probe]),
                           lambda text: "action audit" in text and f":{node_port(2)} " in text)
    yield checks.check(f"monitor: {line}", f"local EP ID {endpoint}," in line and "default deny from CiliumClusterwideNetworkPolicy host" in line, seen)
    yield services.verdicts(cluster, "audited", open_rows)
    cluster.cli("node1", "endpoint", "config", endpoint, "PolicyAuditMode=Disabled")
    yield services.verdicts(cluster, "in force", [*rows("outside", "node:node1", 1, **SHUT), *rows("outside", "node:node1", 2, **SHUT)])
    cluster.sandbox("agent", "kill", "node1")
    yield services.verdicts(cluster, "without its agent", [*rows("outside", "node:node1", 1, **SHUT), *rows("outside", "node:node1", 2, **SHUT)])
    cluster.sandbox("agent", "start", "node1")
    yield from policy.verdicts(cluster, "and after its start", [no("outside", "node1", "tcp"), yes("node2", "node1", "tcp")], explain=False)
    yield services.verdicts(cluster, "node ports after its start", [*rows("outside", "node:node1", 1, **SHUT), *rows("outside", "node:node1", 2, **SHUT)])
