"""A small cluster for another kernel: every way through the datapath once. Run by tests/kernels/run.py in a virtual machine."""
from lib import checks
from lib.scenario import scenario
from scenarios.connectivity import place_pods
from scenarios.restart import restart

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
def kernel_smoke_restart(context):
    # An emulator does not carry the load that a machine does, and stalls; every datagram must arrive all the same.
    yield from restart(context, flows=[("a1", "a2"), ("a1", "b1"), ("outside", "a2")], rate=30, steady=False, timeout=SLOW)
