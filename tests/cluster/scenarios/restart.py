"""The control plane goes and comes back; traffic does not notice."""
from lib import checks
from lib.scenario import scenario
from scenarios.connectivity import place_pods

FLOWS = [("a1", "a2"), ("a1", "b1"), ("b1", "node1"), ("c1", "outside"), ("outside", "a2"), ("node2", "c1")]


def restart(context, flows=FLOWS, rate=500, steady=True, **options):
    cluster = context.cluster(**options)
    place_pods(cluster)
    yield from checks.restart_under_load(cluster, flows, rate=rate, steady=steady)
    # And it still works: old pods, a new one, and new connections.
    cluster.add_pod("late", "node2")
    yield from checks.connectivity(cluster, [("a1", "late"), ("late", "c1"), ("a1", "b1")])


@scenario(cost=30, alone=True)
def restart_under_load_vxlan(context):
    yield from restart(context)


@scenario(cost=30, alone=True)
def restart_under_load_native(context):
    yield from restart(context, routing="native", second_segment=1)


@scenario(cost=30, alone=True)
def restart_under_load_legacy(context):
    yield from restart(context, agent_flags=["--enable-tunnel-fast-path=false", "--enable-host-legacy-routing=true", "--enable-tcx=false"])


@scenario(cost=20)
def pod_deleted_while_the_agent_is_down(context):
    """DEL is queued and applied when the agent is back."""
    cluster = context.cluster(nodes=1)
    cluster.add_pod("a", "node1")
    address = cluster.addresses()["a"]["ipv4"]
    cluster.sandbox("agent", "kill", "node1")
    done = cluster.delete_pods("a", check=False)
    yield checks.check("DEL succeeds with the agent down", done.returncode == 0, done.stderr)
    cluster.sandbox("agent", "start", "node1")
    yield checks.check("its endpoint is gone after the start", checks.wait_until(lambda: address not in cluster.cli("node1", "endpoint", "list"), 10),
                       cluster.cli("node1", "endpoint", "list"))
    yield checks.check("its address is gone from cilium_lxc", address not in cluster.cli("node1", "bpf", "endpoint", "list"))
    cluster.add_pod("b", "node1")
    yield from checks.connectivity(cluster, [("b", "node1"), ("b", "outside")], kinds=checks.KINDS[:3])


@scenario(cost=20)
def torn_endpoint_state(context):
    """A corrupt file of one endpoint costs only itself and is reported."""
    cluster = context.cluster(nodes=1)
    for name in ("a", "b"):
        cluster.add_pod(name, "node1")
    victim = checks.endpoint_of(cluster, "a")["id"]
    cluster.sandbox("agent", "kill", "node1")
    cluster.exec("node1", "sh", "-c", f'for f in $(find /var/run/cilium/state/{victim} -type f); do printf "{{\\"id\\": 1" > $f; done')
    cluster.sandbox("agent", "start", "node1")
    own = cluster.cli_json("node1", "status")["axoneme"]
    rejected = own.get("rejected-state", [])
    yield checks.check("the torn file is named in the status", any(f"/{victim}" in item["path"] for item in rejected), rejected)
    cluster.serve("b")
    yield from checks.connectivity(cluster, [("node1", "b"), ("b", "outside")], kinds=checks.KINDS[:3])
