"""Packets that may not be fragmented and do not fit: the sender is told the size, and adapts."""
import json

from lib import checks
from lib.scenario import scenario
from lib.sandbox import PORT
from scenarios.connectivity import place_pods

# Sends full-sized datagrams that may not be fragmented until the kernel refuses them, and says which size it learnt.
DISCOVER = """
import json, socket, sys, time
to, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
v6 = ":" in to
level, discover, mtu, headers = (socket.IPPROTO_IPV6, 23, 24, 48) if v6 else (socket.IPPROTO_IP, 10, 14, 28)
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(level, discover, 2)
s.connect((to, port))
before, refused = s.getsockopt(level, mtu), ""
for _ in range(50):
    try:
        s.send(b"x" * (size - headers))
    except OSError as error:
        refused = error.strerror
        if s.getsockopt(level, mtu) < before:
            break
    time.sleep(0.05)
print(json.dumps({"before": before, "mtu": s.getsockopt(level, mtu), "refused": refused}))
"""


def learns(cluster, source, destination, size, expected):
    """A datagram that does not fit is answered with the size that does."""
    cluster.serve(destination)
    for family, to in sorted(cluster.addresses()[destination].items()):
        yield learns_at(cluster, source, f"{destination}, {checks.family_name(family)}", to, PORT, size, expected)


def learns_at(cluster, source, title, to, port, size, expected):
    learnt = json.loads(cluster.exec(source, "python3", "-c", DISCOVER, to, port, size).stdout)
    return checks.check(f"{source} → {title}: a datagram of {size} bytes is answered with {learnt['mtu']}",
                        learnt["mtu"] == expected and learnt["before"] > expected and learnt["refused"] == "Message too long", (expected, learnt))


def large_packets(cluster, source, destination):
    return checks.connectivity(cluster, [(source, destination)], kinds=checks.KINDS[:1] + checks.KINDS[3:])


@scenario(cost=10)
def path_mtu_of_a_router(context):
    """The router before the outside host takes less than the nodes do: its message reaches the pod."""
    cluster = context.cluster(nodes=2)
    place_pods(cluster)
    cluster.exec("underlay", "ip", "link", "set", "seg200", "mtu", "1300")
    cluster.exec("outside", "ip", "link", "set", "eth0", "mtu", "1300")
    # TCP finds out by itself, before anything else has.
    yield from checks.connectivity(cluster, [("a1", "outside")], kinds=[kind for kind in checks.KINDS if kind[1] == "upload"])
    yield from learns(cluster, "a1", "outside", 1450, 1300)
    yield from large_packets(cluster, "a1", "outside")


@scenario(cost=10)
def path_mtu_of_the_uplink(context):
    """A pod's device takes more than the uplink: the datapath itself answers."""
    cluster = context.cluster(nodes=2, routing="native", mtu=1400, agent_flags=["--mtu=1500"])
    place_pods(cluster)
    for source, destination in (("a1", "b1"), ("b1", "a1"), ("b1", "outside")):
        yield from learns(cluster, source, destination, 1500, 1400)
    for source, destination in (("a1", "b1"), ("b1", "outside")):
        yield from large_packets(cluster, source, destination)


@scenario(cost=10)
def path_mtu_of_the_tunnel(context):
    """The same with 50 bytes of outer headers."""
    cluster = context.cluster(nodes=2, mtu=1400, agent_flags=["--mtu=1500"])
    place_pods(cluster)
    for source, destination in (("a1", "b1"), ("b1", "a1")):
        yield from learns(cluster, source, destination, 1450, 1350)
    yield from large_packets(cluster, "a1", "b1")


@scenario(cost=10)
def path_mtu_of_the_tunnel_device(context):
    """The tunnel device fragments what it has made: nobody need adapt."""
    cluster = context.cluster(nodes=2, mtu=1400, agent_flags=["--mtu=1500", "--enable-tunnel-fast-path=false"])
    place_pods(cluster)
    yield from large_packets(cluster, "a1", "b1")
