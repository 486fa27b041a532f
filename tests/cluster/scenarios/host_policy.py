"""The node's own policy (nodeSelector), over the wire, through the tunnel and with its pods; connections that exist; its agent's end and start."""
from lib import checks, policy
from lib.policy import clusterwide, no, yes
from lib.scenario import scenario
from lib.talk import Conversation
from scenarios.policy_forms import place
from scenarios.policy_life import monitored, tries

PODS = [("app1", "node1", "app=app1"), ("nginx", "node2", "app=nginx")]
FIREWALL = ["--enable-host-firewall=true"]
NODE1 = {"matchLabels": {"kubernetes.io/hostname": "node1"}}
HEALTH = [{"ports": [{"port": "4240", "protocol": "TCP"}]}]
OPEN = [{"ports": [{"port": str(policy.PORT), "protocol": "TCP"}]}]
OTHER = "tcp/7500"
# What a policy of node1 has nothing to do with: between pods, between pods and outside, and the other node.
UNCONCERNED = [yes("app1", "nginx outside node2", OTHER), yes("nginx outside", "app1", OTHER), yes("outside app1", "node2", OTHER)]
OTHERS = "outside node2 app1 nginx"


def only(side, name, more=()):
    """node1 and others talk on one port, and about health."""
    peers = "fromEntities" if side == "ingress" else "toEntities"
    return clusterwide(name, {"nodeSelector": NODE1, side: [{peers: ["remote-node"], "toPorts": HEALTH}, {peers: ["all"], "toPorts": OPEN}, *more]})


def host_endpoint(cluster, node):
    """The number of the node's own endpoint."""
    return next(item["id"] for item in cluster.cli_json(node, "endpoint", "list")
                if "reserved:host" in item["status"]["labels"]["security-relevant"])


def enforced(context, **options):
    cluster, policies = place(context, PODS, agent_flags=FIREWALL + options.pop("agent_flags", []), **options)
    addresses = cluster.addresses()
    ingress, egress = only("ingress", "in"), only("egress", "out", cluster.way_to_objects())
    yield policy.ready(cluster, [yes(OTHERS, "node1", "tcp", OTHER), yes("node1", OTHERS, "tcp", OTHER)])
    yield checks.check("everything allowed: in force", policies.use(clusterwide("all", {"nodeSelector": {}, "ingress": [{"fromEntities": ["all"]}],
                                                                                     "egress": [{"toEntities": ["all"]}]})), policies.state())
    # Fragments and segments pass a firewall as they pass none.
    others = OTHERS.split()
    yield from checks.connectivity(cluster, [(other, "node1") for other in others] + [("node1", other) for other in others])
    policies.use()
    talks = {checks.family_name(family): Conversation(cluster, "outside", "node1", "tcp", addresses["node1"][family], 9000 + number)
             for number, family in enumerate(sorted(addresses["node1"]))}
    for family, talk in talks.items():
        yield checks.check(f"outside → node1, {family}: a connection", talk.gets_through(seconds=2) and talk.gets_through(back=True, seconds=2))
    yield checks.check("ingress: in force", policies.use(ingress), policies.state())
    for family, talk in talks.items():
        yield checks.check(f"the connection, {family}, ends: not even the next request passes", not talk.gets_through())
        yield checks.check(f"nor the next answer, {family}", not talk.gets_through(back=True))
    inward = [yes(OTHERS, "node1", "tcp"), no(OTHERS, "node1", OTHER), no("outside", "node1", "udp", "icmp"),
              yes("node1", OTHERS, OTHER), *UNCONCERNED]
    yield from policy.verdicts(cluster, "ingress of node1", inward, explain=False)
    line, seen = monitored(cluster, "node1", ["-t", "drop"], tries(cluster, "outside", "node1", port=7500), lambda text: "Policy denied" in text and ":7500 tcp SYN" in text)
    yield checks.check(f"monitor: {line}", "CiliumClusterwideNetworkPolicy in" in line and str(host_endpoint(cluster, "node1")) in line, seen)
    yield checks.check("taken back", policies.use(), policies.state())
    for family, talk in talks.items():
        yield checks.check(f"the same connection goes on, {family}", talk.gets_through(seconds=6) and talk.gets_through(back=True, seconds=6))
    yield checks.check("egress: in force", policies.use(egress), policies.state())
    outward = [yes("node1", OTHERS, "tcp"), no("node1", OTHERS, OTHER), no("node1", "outside", "udp", "icmp"),
               yes(OTHERS, "node1", OTHER), *UNCONCERNED]
    yield from policy.verdicts(cluster, "egress of node1", outward, explain=False)
    yield checks.check("both: in force", policies.use(ingress, egress), policies.state())
    both = [yes(OTHERS, "node1", "tcp"), no(OTHERS, "node1", OTHER), yes("node1", OTHERS, "tcp"), no("node1", OTHERS, OTHER), *UNCONCERNED]
    cluster.sandbox("agent", "kill", "node1")
    yield from policy.verdicts(cluster, "without its agent", both, explain=False)
    cluster.sandbox("agent", "start", "node1")
    yield checks.check("in force after the start", checks.wait_until(policies.in_force, 15, 0.05), policies.state())
    yield from policy.verdicts(cluster, "after the start", both, explain=False)
    reconcilers, datapath = checks.restart_report(cluster, "node1")
    changed = [r for r in reconcilers if r.get("added", 0) or r.get("updated", 0) or r.get("removed", 0) or r.get("failed", 0)]
    yield checks.check("the start changed nothing in the kernel", datapath.get("programs") == "adopted" and not changed, changed or datapath)
    rejected = cluster.cli_json("node1", "status")["axoneme"].get("rejected-objects", [])
    yield checks.check("nothing was rolled back: probes get through", not rejected, rejected)


@scenario(cost=25)
def host_policy_vxlan(context):
    yield from enforced(context)


@scenario(cost=25)
def host_policy_native(context):
    yield from enforced(context, routing="native")


@scenario(cost=25)
def host_policy_legacy_routing(context):
    yield from enforced(context, agent_flags=["--enable-host-legacy-routing=true"])
