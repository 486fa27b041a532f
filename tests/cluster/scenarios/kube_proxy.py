"""kube-proxy: the same Services on nodes that it runs and on ours get the same answers, and both on one node leave each other alone."""
import pathlib
import sys

from lib import checks, kubeproxy, services
from lib.policy import text_of
from lib.scenario import scenario
from lib.services import rows

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "kubeproxy"))

import cases  # noqa: E402

PODS = (("c1", "node1"), ("b1", "node1"), ("c2", "node2"), ("b2", "node2"))
READS_THE_FOLDER = "what kube-proxy takes for an API server here reads the folder"
SECONDS = 20  # for an answer to be as the table says: kube-proxy writes its rules once a second


def prepare(cluster):
    for name, node in PODS:
        cluster.add_pod(name, node)
    services.route_through(cluster, "node1")
    known = services.Services(cluster)
    manifests = []
    for name, number, backends, more in cases.SERVICES:
        manifests += known.manifests(name, number, [known.backend(**item) if isinstance(item, dict) else item for item in backends], **more)
    cluster.apply(text_of(manifests))
    cluster.serve("b1", "b2", "node1", "node2")


def answers(cluster, all_rows):
    """{(row, family, kind): what is wrong}, when nothing gets better any more."""
    addresses, seen, left, found = cluster.addresses(), {}, all_rows, {}

    def settled():
        nonlocal left, found
        found = services.wrong_rows(cluster, left, addresses, seen)
        left = list(dict.fromkeys(row for row, _, _ in found))
        return not found

    checks.wait_until(settled, SECONDS, 0.3)
    return found


def unavailable():
    """Where there is no kube-proxy to compare with: a check that says why."""
    try:
        kubeproxy.program()
    except kubeproxy.Unavailable as reason:
        return checks.check(f"skipped: no kube-proxy here ({reason})", True)
    return None


@scenario(cost=80, dir_only=READS_THE_FOLDER)
def kube_proxy_side_by_side(context):
    """Each case on both; one check per case."""
    if reason := unavailable():
        yield reason
        return
    theirs = context.cluster(kind=kubeproxy.PlainCluster, nodes=2)
    prepare(theirs)
    for node in theirs.nodes():
        kubeproxy.start_proxy(theirs, node)
    ours = context.cluster(nodes=2, agent_flags=services.replacement())
    prepare(ours)
    wrong = {name: answers(cluster, cases.ROWS) for name, cluster in (("kube-proxy", theirs), ("ours", ours))}
    for row in cases.ROWS:
        differences = [f"{name}: {of.title(family, kind)}, but {text}" for name, found in wrong.items() for (of, family, kind), text in found.items() if of == row]
        wanted = "+".join(row.servers) or "nobody"
        yield checks.check(f"{row.client} → {row.frontend} of {row.number}, {'/'.join(row.kinds)}: {wanted}", not differences, "; ".join(differences))


@scenario(cost=30, dir_only=READS_THE_FOLDER)
def kube_proxy_beside_us(context):
    """Both on every node: services answer whoever does them, and neither undoes what the other has made."""
    if reason := unavailable():
        yield reason
        return
    for mode, flags in (("replaced", services.replacement()), ("left to it", ["--kube-proxy-replacement=false"])):
        cluster = context.cluster(nodes=2, agent_flags=flags)
        for name, node in PODS:
            cluster.add_pod(name, node)
        cidrs = [str(prefix) for prefix in pod_networks(cluster)]
        services.route_through(cluster, "node1")
        for node in cluster.nodes():
            kubeproxy.start_proxy(cluster, node, cidrs)
        known = services.Services(cluster)
        known.put("both", 1, ("b1", "b2"), type_="NodePort")
        known.put("lb", 2, ("b1", "b2"), type_="LoadBalancer")
        wanted = [*rows("c1 c2 node1 node2", "cluster", 1, "b1 b2", kinds=("tcp", "udp")), *rows("outside c1 node2", "node:node1 node:node2", 1, "b1 b2", kinds=("tcp", "udp")),
                  *rows("outside c2", "load-balancer", 2, "b1 b2", kinds=("tcp",))]
        yield services.verdicts(cluster, f"kube-proxy {mode}", wanted, seconds=15)
        settled = checks.wait_until(lambda: all(kube_rules(cluster, node).count("KUBE-SVC-") > 8 for node in cluster.nodes()), 10, 0.5)
        rules = {node: kube_rules(cluster, node) for node in cluster.nodes()}
        yield checks.check(f"kube-proxy {mode}: its rules are there", settled, rules)
        cluster.sandbox("agent", "stop", "--all")
        cluster.sandbox("agent", "start", "--all")
        changed = {node: set(rules[node].splitlines()) ^ set(kube_rules(cluster, node).splitlines()) for node in cluster.nodes()}
        yield checks.check(f"kube-proxy {mode}: our restart leaves its rules alone", not any(changed.values()), changed)
        known.backends("both", ("b2",))
        yield services.verdicts(cluster, f"kube-proxy {mode}: a backend less", [row for row in rows("c1 node1", "cluster", 1, "b2", kinds=("tcp", "udp"))]
                                + rows("outside", "node:node1", 1, "b2", kinds=("tcp",)), seconds=15)


@scenario(cost=30, dir_only=READS_THE_FOLDER)
def kube_proxy_adapter(context):
    """Pods' ClusterIPs are ours, the rest is kube-proxy's: its ClusterIP rules leave KUBE-SERVICES, and stay out when it writes them again."""
    if reason := unavailable():
        yield reason
        return
    cluster = context.cluster(nodes=2, agent_flags=["--kube-proxy-replacement=false", "--enable-kube-proxy-adapter=true"])
    for name, node in PODS:
        cluster.add_pod(name, node)
    for node in cluster.nodes():
        kubeproxy.start_proxy(cluster, node, pod_networks(cluster))
    services.route_through(cluster, "node1")
    known = services.Services(cluster)
    known.put("port", 1, ("b1", "b2"), type_="NodePort")
    known.put("lb", 2, ("b1", "b2"), type_="LoadBalancer")
    wanted = [*rows("c1 c2", "cluster", 1, "b1 b2", kinds=("tcp", "udp")), *rows("outside", "node:node1 node:node2", 1, "b1 b2", kinds=("tcp", "udp")),
              *rows("outside", "load-balancer", 2, "b1 b2", kinds=("tcp",))]
    yield services.verdicts(cluster, "ClusterIPs by us, NodePorts and load balancers by kube-proxy", wanted, seconds=15)

    def cluster_ip_rules(node):
        return [line for line in kube_rules(cluster, node).splitlines() if line.startswith("-A KUBE-SERVICES") and "cluster IP" in line]

    def out():
        return not any(cluster_ip_rules(node) for node in cluster.nodes())

    yield checks.check("no ClusterIP rules in KUBE-SERVICES", checks.wait_until(out, 10, 0.2), {node: cluster_ip_rules(node) for node in cluster.nodes()})
    known.put("more", 3, ("b2",), type_="NodePort")
    yield services.verdicts(cluster, "kube-proxy writes its rules again", [*wanted, *rows("c1", "cluster", 3, "b2", kinds=("tcp",)), *rows("outside", "node:node1", 3, "b2", kinds=("tcp",))], seconds=15)
    yield checks.check("and they are out again", checks.wait_until(out, 10, 0.2), {node: cluster_ip_rules(node) for node in cluster.nodes()})


def replacement_mode(context, mode, switches, wanted_rows, refused_rows):
    """No kube-proxy here: what the mode leaves out is not served."""
    cluster = context.cluster(nodes=2, agent_flags=[f"--kube-proxy-replacement={mode}", *switches])
    for name, node in PODS:
        cluster.add_pod(name, node)
    services.route_through(cluster, "node1")
    known = services.Services(cluster)
    known.put("port", 1, ("b1", "b2"), type_="NodePort")
    known.put("external", 2, ("b1", "b2"), external=True)
    yield services.verdicts(cluster, f"{mode} {' '.join(switches)}".strip(), [*wanted_rows, *refused_rows])


POD_ROWS = rows("c1 c2", "cluster", 1, "b1 b2")
NODE_ROWS = rows("node1 node2", "cluster", 1, "b1 b2", kinds=("tcp", "udp"))
NODE_REFUSED = rows("node1", "cluster", 1, kinds=("tcp",))
PORT_ROWS = rows("outside", "node:node1 node:node2", 1, "b1 b2", kinds=("tcp", "udp"))
PORT_REFUSED = rows("outside", "node:node1", 1, kinds=("tcp",))
EXTERNAL_ROWS = rows("outside", "external", 2, "b1 b2", kinds=("tcp",))
EXTERNAL_REFUSED = rows("outside", "external", 2, kinds=("tcp",))


@scenario(cost=15)
def services_replacement_false(context):
    yield from replacement_mode(context, "false", [], POD_ROWS, [*NODE_REFUSED, *PORT_REFUSED, *EXTERNAL_REFUSED])


@scenario(cost=15)
def services_replacement_sockets_only(context):
    yield from replacement_mode(context, "partial", ["--bpf-lb-sock=true"], [*POD_ROWS, *NODE_ROWS], [*PORT_REFUSED, *EXTERNAL_REFUSED])


@scenario(cost=15)
def services_replacement_node_ports_only(context):
    yield from replacement_mode(context, "partial", ["--enable-node-port=true"], [*POD_ROWS, *PORT_ROWS], EXTERNAL_REFUSED)


@scenario(cost=15)
def services_replacement_probe(context):
    yield from replacement_mode(context, "probe", [], [*POD_ROWS, *NODE_ROWS, *PORT_ROWS, *EXTERNAL_ROWS], [])


def pod_networks(cluster):
    """Prefixes that hold every pod of the cluster, one per family."""
    return [prefix for prefix, family in (("10.0.0.0/8", "ipv4"), ("fd00::/8", "ipv6")) if family in cluster.addresses()["node1"]]


def kube_rules(cluster, node):
    text = cluster.exec(node, "iptables-save", "-t", "nat").stdout + cluster.exec(node, "ip6tables-save", "-t", "nat").stdout
    return "\n".join(sorted(line for line in text.splitlines() if "KUBE-" in line and line.startswith("-A")))
