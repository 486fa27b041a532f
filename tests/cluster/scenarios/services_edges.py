"""Where services meet something else: packets that are too large, addresses that the node has, netfilter's connection tracking."""
import json

from lib import checks, services
from lib.scenario import scenario
from lib.services import rows
from lib.talk import Talker
from scenarios.path_mtu import learns_at
from scenarios.services_types import place

SIZE = 1500


def path_mtu(context, expected, **options):
    """A client whose datagram is too large for the way to the backend hears so from the address that it asked."""
    cluster, known = place(context, **options)
    known.put("port", 1, ("b2",), type_="NodePort")
    yield services.verdicts(cluster, "what fits, and TCP of any size", rows("outside", "node:node1", 1, "b2", kinds=("tcp", "udp", "upload", "download")))
    for family, size in expected.items():
        yield learns_at(cluster, "outside", f"NodePort, {checks.family_name(family)}", known.addresses["node1"][family], services.node_port(1), SIZE, size)


@scenario(cost=15)
def services_path_mtu_dsr(context):
    yield from path_mtu(context, {"ipv4": SIZE - 8, "ipv6": SIZE - 24}, flags=["--bpf-lb-mode=dsr"], routing="native")


@scenario(cost=15)
def services_path_mtu_vxlan(context):
    yield from path_mtu(context, {"ipv4": SIZE - 50, "ipv6": SIZE - 50})


@scenario(cost=20)
def services_at_an_interface(context):
    """A service's address that a node has on an interface of its own: its ports are served, the others are the node's."""
    cluster, known = place(context)
    for family, length in (("ipv4", 32), ("ipv6", 128)):
        for address, device in ((services.load_balancer_ip(2)[family], "eth0"), (services.external_ip(3)[family], "lo")):
            cluster.exec("node1", "ip", "address", "add", f"{address}/{length}", "dev", device)
    known.put("lb", 2, ("b1", "b2"), type_="LoadBalancer")
    known.put("external", 3, ("b1", "b2"), external=True)
    yield services.verdicts(cluster, "served", [*rows("outside c1 c2 node1 node2", "load-balancer", 2, "b1 b2", kinds=("tcp", "udp")),
                                                *rows("outside c1 c2 node1 node2", "external", 3, "b1 b2", kinds=("tcp", "udp"))])
    for number, address in enumerate((services.load_balancer_ip(2)["ipv4"], services.external_ip(3)["ipv6"])):
        server = Talker(cluster, "node1", "listen", "tcp", address, 9000 + number)
        client = Talker(cluster, "outside", "connect", "tcp", address, 9000 + number)
        client.say("hello")
        yield checks.check(f"{address}: a process of the node is reached at another port", server.hear("hello", 3) is not None)


def tracked(cluster, node):
    return int(cluster.exec(node, "cat", "/proc/sys/net/netfilter/nf_conntrack_count").stdout)


@scenario(cost=30)
def services_bypass_connection_tracking(context):
    """install-no-conntrack-iptables-rules: what pods send through the node's stack leaves no entry in netfilter's table."""
    grown = {}
    for wanted in (False, True):
        flags = ["--enable-host-legacy-routing=true", f"--install-no-conntrack-iptables-rules={json.dumps(wanted)}"]
        cluster, known = place(context, flags=flags, routing="native")
        cluster.serve("b2")
        # Somebody else's rule that needs the table: without one the kernel keeps none.
        cluster.exec("node1", "iptables", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
        known.put("port", 1, ("b2",), type_="NodePort")
        yield services.verdicts(cluster, f"install-no-conntrack-iptables-rules={wanted}", rows("c1", "cluster", 1, "b2", kinds=("tcp", "udp", "upload")))
        before = tracked(cluster, "node1")
        targets = [{"to": known.addresses["b2"]["ipv4"], "port": 7000, "kind": "udp", "bytes": 64, "from-port": 30000 + number, "timeout-ms": 2000} for number in range(100)]
        results = cluster.probe("c1", targets)
        yield checks.check("100 flows between pods", all(item["ok"] for item in results), results[:2])
        grown[wanted] = tracked(cluster, "node1") - before
    yield checks.check(f"entries in netfilter's table: {grown[False]} without, {grown[True]} with it", grown[False] >= 100 and grown[True] < 10, grown)
