"""A small cluster for another kernel: every way through the datapath once. Run by tests/kernels/run.py in a virtual machine."""
from lib import checks, services
from lib.scenario import scenario
from lib.services import rows
from scenarios.connectivity import place_pods
from scenarios.path_mtu import learns_at
from scenarios.restart import restart
from scenarios.services_types import place

PAIRS = [("a1", "a2"), ("a1", "b1"), ("b1", "c1"), ("a1", "node1"), ("node1", "a2"), ("b1", "node1"), ("node1", "b1"), ("node1", "node2"),
         ("a1", "outside"), ("outside", "b1")]
SLOW = 100  # seconds for an emulator to start three agents


def explained(cluster, node):
    """What this kernel lacks stands in `status --verbose`, with the kernel that has it."""
    missing = cluster.cli_json(node, "status")["axoneme"].get("missing-kernel-features", [])
    shown = cluster.cli(node, "status", "--verbose")
    for item in missing:
        yield checks.check(f"status --verbose names what the kernel lacks: {item['feature']} ({item['kernel']})",
                           item["feature"] in shown and item["kernel"] in shown, shown)
    for decision in cluster.cli_json(node, "status")["axoneme"]["datapath"]["reasons"]:
        yield checks.check(f"decided: {decision['what']}: {decision['choice']} ({decision['reason']})", decision["what"] in shown and decision["reason"] in shown, shown)


def smoke(context, **options):
    cluster = context.cluster(timeout=SLOW, **options)
    place_pods(cluster)
    yield from explained(cluster, "node1")
    yield from checks.connectivity(cluster, PAIRS)
    for node in cluster.nodes():
        yield checks.reachable_nodes(cluster, node, 60)
        yield checks.no_reconciler_errors(cluster, node)
    yield checks.monitor_shows(cluster, "node1", "a1", "b1")


@scenario(cost=60, only_by_name=True)
def kernel_smoke_vxlan(context):
    yield from smoke(context)


@scenario(cost=60, only_by_name=True)
def kernel_smoke_native(context):
    yield from smoke(context, routing="native", second_segment=1)


@scenario(cost=60, only_by_name=True)
def kernel_smoke_legacy(context):
    yield from smoke(context, agent_flags=["--enable-host-legacy-routing=true", "--enable-tcx=false"])


@scenario(cost=60, only_by_name=True)
def kernel_smoke_geneve(context):
    """Needs a kernel with Geneve devices, as Debian's are."""
    yield from smoke(context, routing="geneve")


BY_GENEVE = ["--tunnel-protocol=geneve", "--bpf-lb-mode=dsr", "--bpf-lb-dsr-dispatch=geneve"]


def carried(cluster, node):
    """Packets that the tunnel's device has received: with native routing only what DSR sends on comes that way."""
    return int(cluster.exec(node, "cat", "/sys/class/net/cilium_geneve/statistics/rx_packets").stdout)


def dsr_by_geneve(context, native):
    cluster, known = place(context, flags=BY_GENEVE, routing="native" if native else "geneve", timeout=SLOW)
    known.put("there", 1, ("b2",), type_="NodePort")
    known.put("hosts", 2, ("node2",), type_="NodePort")
    known.put("balanced", 3, ("b2",), type_="LoadBalancer")
    shown = cluster.cli("node1", "status", "--verbose")
    yield checks.check("status names the way", "DSR Dispatch Mode" in shown and "Geneve" in shown, shown)
    before = carried(cluster, "node2")
    kinds = ("tcp", "udp")
    yield services.verdicts(cluster, "the backend sees the client", [
        *rows("outside", "node:node1", 1, "b2", kinds=kinds, peer="client"), *rows("outside", "node:node1", 2, "node2", kinds=kinds, peer="client"),
        *rows("outside", "load-balancer", 3, "b2", kinds=kinds, peer="client"), *rows("outside", "node:node2", 1, "b2", kinds=kinds, peer="client"),
        *rows("outside", "node:node1", 1, "b2", kinds=("upload", "download", "fragments"), times=2)], seconds=SLOW)
    yield checks.check("by the tunnel", carried(cluster, "node2") > before, f"{before} packets before, {carried(cluster, 'node2')} now")
    for family, size in (("ipv4", 1500 - 50 - 12), ("ipv6", 1500 - 50 - 24)):
        # The uploads above have taught the client already, and of connections only the first packet tells the tunnel more.
        cluster.exec("outside", "ip", "-4" if family == "ipv4" else "-6", "route", "flush", "cache")
        yield learns_at(cluster, "outside", f"NodePort, {checks.family_name(family)}", known.addresses["node1"][family], services.node_port(1), 1500, size)
    before = carried(cluster, "node2")
    yield from checks.connectivity(cluster, [("c1", "b2"), ("b2", "c1"), ("c1", "node2"), ("node1", "b2")])
    if native:
        yield checks.check("pods' packets go without it", carried(cluster, "node2") == before, f"{before} packets before, {carried(cluster, 'node2')} now")
    for node in cluster.nodes():
        yield checks.no_reconciler_errors(cluster, node)


@scenario(cost=60, only_by_name=True)
def kernel_dsr_geneve(context):
    yield from dsr_by_geneve(context, native=False)


@scenario(cost=60, only_by_name=True)
def kernel_dsr_geneve_native(context):
    yield from dsr_by_geneve(context, native=True)


@scenario(cost=60, only_by_name=True)
def kernel_smoke_restart(context):
    # An emulator does not carry the load that a machine does, and stalls; every datagram must arrive all the same.
    yield from restart(context, flows=[("a1", "a2"), ("a1", "b1"), ("outside", "a2")], rate=30, steady=False, timeout=SLOW)
