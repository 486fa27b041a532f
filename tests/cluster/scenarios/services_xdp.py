"""What XDP does on the uplinks: services' traffic to other nodes, sources that are dropped, and what the status says of both."""
import json
import re

from lib import checks, services
from lib.scenario import scenario
from lib.services import rows
from scenarios.services_types import NODE_FRONTENDS, place

ACCELERATED = "--bpf-lb-acceleration=best-effort"


def xdp_status(cluster, node):
    return next((item for item in cluster.cli_json(node, "status")["axoneme"]["services"]["xdp"] if item["device"] == "eth0"), {})


def sent_by_xdp(cluster, node):
    """Frames that XDP has sent on from the node's uplink."""
    counted = cluster.exec(node, "ethtool", "-S", "eth0").stdout
    return sum(int(number) for number in re.findall(r"rx_queue_\d+_xdp_redirect: (\d+)", counted))


def forwards(cluster, node, wanted):
    told = checks.wait_until(lambda: xdp_status(cluster, node).get("forwards") == wanted, 5, 0.1)
    return checks.check(f"{node}: frames {'leave' if wanted else 'do not leave'} by eth0", told, xdp_status(cluster, node))


@scenario(cost=25)
def services_xdp_veth(context):
    """An end of a veth pair forwards while its other end takes frames, and not one connection notices when that changes."""
    cluster, known = place(context, flags=[ACCELERATED], routing="native")
    known.put("port", 1, ("b2",), type_="NodePort")
    through_node1 = rows("outside", "node:node1", 1, "b2", kinds=("tcp", "udp", "upload", "download"))
    for node in cluster.nodes():
        yield forwards(cluster, node, True)
    yield services.verdicts(cluster, "with XDP", through_node1)
    before = sent_by_xdp(cluster, "node1")
    yield services.verdicts(cluster, "and again", through_node1)
    yield checks.check("XDP has forwarded some of it", sent_by_xdp(cluster, "node1") > before + 100, (before, sent_by_xdp(cluster, "node1")))
    for on in (False, True):
        services.switch_takes_frames(cluster, on)
        yield forwards(cluster, "node1", on)
        yield services.verdicts(cluster, f"the switch {'takes frames again' if on else 'takes no frames'}", through_node1)
        text = cluster.cli("node1", "status", "--verbose")
        yield checks.check("status --verbose says so", re.search(r"(?m)^  eth0 +native +yes" if on else r"(?m)^  eth0 +none +no +eth0 is an end of a veth pair", text), text)
    cluster.sandbox("agent", "stop", "--all")
    cluster.sandbox("agent", "start", "--all")
    yield services.verdicts(cluster, "after a restart", through_node1)
    yield forwards(cluster, "node1", True)


@scenario(cost=20)
def services_xdp_prefilter(context):
    """Sources on the list are dropped before anything else sees them; the list outlives the agent."""
    cluster, known = place(context, flags=["--enable-xdp-prefilter=true"])
    known.put("port", 1, ("b1",), type_="NodePort")
    addresses = cluster.addresses()
    outside = f"{addresses['outside']['ipv4']}/32,{addresses['outside']['ipv6']}/128"
    others = "203.0.113.0/24,2001:db8:77::/48"
    open_, closed = (rows("outside", NODE_FRONTENDS, 1, servers, kinds=("tcp", "udp"), error="" if servers else "silent") for servers in ("b1", ""))
    for node in cluster.nodes():
        listed = cluster.cli(node, "prefilter", "list")
        yield checks.check(f"{node}: the list is empty", listed == "Revision: 1\n", listed)
        cluster.cli(node, "prefilter", "update", "--cidr", others)
    yield services.verdicts(cluster, "others are on the list", open_)
    for node in cluster.nodes():
        listed = cluster.cli(node, "prefilter", "update", "--cidr", outside)
        wanted = ["Revision: 3", *sorted((outside + "," + others).split(","))]
        yield checks.check(f"{node}: what was added is listed", sorted(listed.splitlines()[1:]) == wanted[1:] and listed.startswith(wanted[0]), listed)
    yield services.verdicts(cluster, "the world is on the list", closed + rows("c1 c2 node2", "cluster", 1, "b1", kinds=("tcp",)))
    stale = cluster.exec("node1", "axoneme", "prefilter", "delete", "--cidr", others, "--revision", "2", check=False)
    yield checks.check("a change that another one has overtaken is refused", stale.returncode != 0 and "revision 2" in stale.stderr, stale.stderr)
    wrong = cluster.exec("node1", "axoneme", "prefilter", "update", "--cidr", "203.0.113.0/33", check=False)
    yield checks.check("so is what is no CIDR", wrong.returncode != 0 and "203.0.113.0/33" in wrong.stderr and "accepted" in wrong.stderr, wrong.stderr)
    cluster.sandbox("agent", "kill", "--all")
    yield services.verdicts(cluster, "without an agent", closed, seconds=3)
    cluster.sandbox("agent", "start", "--all")
    json_ = json.loads(cluster.cli("node1", "prefilter", "list", "-o", "json"))
    yield checks.check("after a restart it is what it was", len(json_["status"]["realized"]["deny"]) == 4, json_)
    text = cluster.cli("node1", "status", "--verbose")
    yield checks.check("status --verbose counts it", re.search(r"(?m)^XDP prefilter:\s+4 CIDRs", text), text)
    for node in cluster.nodes():
        cluster.cli(node, "prefilter", "delete", "--cidr", outside)
    yield services.verdicts(cluster, "off the list again", open_)
