"""Policies of nodes themselves, beside host_policy.py: denials, audit, and the way back from a policy that cuts its node off."""
from lib import checks, policy
from lib.policy import clusterwide, no, yes
from lib.scenario import scenario
from scenarios.policy_life import monitored, tries

FIREWALL = ["--enable-host-firewall"]
NODE1 = {"matchLabels": {"kubernetes.io/hostname": "node1"}}


def ports(*numbers):
    return [{"ports": [{"port": str(number), "protocol": "TCP"} for number in numbers]}]


def place(context, **options):
    cluster = context.cluster(nodes=2, agent_flags=FIREWALL, **options)
    cluster.add_pod("a", "node1", labels="app=a")
    cluster.add_pod("b", "node2", labels="app=b")
    return cluster, policy.Policies(cluster)


def firewall(context, **options):
    cluster, policies = place(context, **options)
    yield policy.ready(cluster, [yes("outside a b node2", "node1", "tcp"), yes("node1", "outside node2 b a", "tcp")])
    in_cluster = {"fromEntities": ["cluster"]}
    others = [yes("a b node2", "node1", "tcp"), yes("outside", "node2", "tcp"), yes("outside node1", "a b", "tcp"), yes("node1", "outside b node2", "tcp"),
              yes("a b", "outside", "tcp")]
    for title, spec, rows in (
            ("from the cluster only", {"ingress": [in_cluster]}, others + [no("outside", "node1")]),
            ("and to one port from the world", {"ingress": [in_cluster, {"fromEntities": ["world"], "toPorts": ports(6443)}]},
             others + [yes("outside", "node1", "tcp/6443"), no("outside", "node1", "tcp/7000", "icmp")]),
            ("a denial alone", {"ingressDeny": [{"fromEntities": ["world"], "toPorts": ports(6443)}], "enableDefaultDeny": {"ingress": False}},
             others + [no("outside", "node1", "tcp/6443"), yes("outside", "node1", "tcp/7000", "icmp")]),
            ("egress", {"egress": [{"toEntities": ["cluster"]}, *cluster.way_to_objects()]},
             [no("node1", "outside"), yes("node1", "node2 a b", "tcp"), yes("outside", "node1", "tcp"), yes("a", "outside", "tcp")])):
        done = policies.use(clusterwide("host", {"nodeSelector": NODE1, **spec}))
        yield checks.check(f"{title}: in force", done, policies.state())
        yield from policy.verdicts(cluster, title, rows, explain=False)
    policies.use()
    yield from policy.verdicts(cluster, "taken away: as it was", others + [yes("outside", "node1", "tcp", "icmp")], explain=False)


@scenario(cost=15)
def policy_host_vxlan(context):
    yield from firewall(context)


def rejected(cluster, node):
    return str(cluster.cli_json(node, "status")["axoneme"].get("rejected-objects", []))


@scenario(cost=70)
def policy_host_rolled_back(context):
    """A policy that cuts a node off from the others goes by itself within a minute, and says so; a mended one is taken."""
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("node2", "node1", "tcp"), yes("node1", "node2", "tcp")])
    yield checks.reachable_nodes(cluster, "node1")
    policies.use(clusterwide("host", {"nodeSelector": NODE1, "ingressDeny": [{"fromEntities": ["all"]}], "egressDeny": [{"toEntities": ["all"]}]}))
    addresses = cluster.addresses()
    cut = policy.expand(addresses, [no("node2", "node1", "tcp"), no("node1", "node2", "tcp")])
    wrong = policy.disagreements(cluster, addresses, cut)
    yield checks.check("it does what it says", not wrong, wrong)
    back = policy.expand(addresses, [yes("node2", "node1", "tcp"), yes("node1", "node2", "tcp")])
    yield checks.check("within a minute the node is back", checks.wait_until(lambda: not policy.disagreements(cluster, addresses, back), 60, 0.5))
    said = rejected(cluster, "node1")
    yield checks.check(f"and says why: {said}", "rolled back" in said, said)
    policies.use(clusterwide("host", {"nodeSelector": NODE1, "ingress": [{"fromEntities": ["cluster"]}]}))
    yield from policy.verdicts(cluster, "mended", [yes("node2", "node1", "tcp"), no("outside", "node1", "tcp")], explain=False)
    said = rejected(cluster, "node1")
    yield checks.check("the status forgets it", "rolled back" not in said, said)


# What a reboot leaves of an agent's work: nothing.
FORGET = """
find /sys/fs/bpf -mindepth 1 -not -name '*.debug' -delete
for device in $(ip -o link | sed -n 's/^[0-9]*: \\(cilium_[a-z]*\\|lxc[a-z0-9_]*\\).*/\\1/p'); do ip link delete "$device" 2> /dev/null || true; done
find /run/cilium -xdev -mindepth 1 -delete 2> /dev/null || true  # the control groups' file system stays
"""


@scenario(cost=15)
def policy_host_cold_boot(context):
    """A node that boots is open until its policy is known, and then all of it is in force: whom it allows never notices."""
    cluster = context.cluster(nodes=2, agent_flags=FIREWALL)
    policies = policy.Policies(cluster)
    yield policy.ready(cluster, [yes("node2 outside", "node1", "tcp")])
    yield checks.reachable_nodes(cluster, "node1")
    policies.use(clusterwide("host", {"nodeSelector": NODE1, "ingress": [{"fromEntities": ["remote-node"]}], "egress": [{"toEntities": ["remote-node"]}, *cluster.way_to_objects()]}))
    rows = [yes("node2", "node1", "tcp", "udp"), yes("node1", "node2", "tcp"), no("outside", "node1"), no("node1", "outside")]
    yield from policy.verdicts(cluster, "before", rows, explain=False)
    cluster.sandbox("agent", "kill", "node1")
    cluster.exec("node1", "sh", "-c", FORGET)
    yield from policy.verdicts(cluster, "booted, without an agent: open", [yes("node2 outside", "node1", "tcp"), yes("node1", "outside", "tcp")], explain=False)
    running = {checks.family_name(family): cluster.start("node2", "load", "--to", to, "--port", policy.PORT, "--per-second", 400)
               for family, to in sorted(cluster.addresses()["node1"].items())}
    cluster.sandbox("agent", "start", "node1")
    flows = policy.expand(cluster.addresses(), rows)
    settled = checks.wait_until(lambda: not policy.disagreements(cluster, cluster.addresses(), flows), 10, 0.1)
    yield checks.check("in force soon after the start", settled, policy.disagreements(cluster, cluster.addresses(), flows) if not settled else "")
    for family, program in running.items():
        result = program.finish()
        cluster.background.remove(program)
        yield checks.check(f"node2 → node1, {family}, meanwhile: {result['sent']} datagrams, {result['lost']} lost", result["sent"] > 200 and result["lost"] == 0, result)
    said = rejected(cluster, "node1")
    yield checks.check("nothing was rolled back", "rolled back" not in said, said)


@scenario(cost=15)
def policy_host_audit(context):
    """Audit of the host endpoint: it says what would be dropped."""
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("node2 outside", "node1", "tcp")])
    host = next(item["id"] for item in cluster.cli_json("node1", "endpoint", "list") if item["status"]["identity"]["id"] == 1)
    cluster.cli("node1", "endpoint", "config", host, "PolicyAuditMode=Enabled")
    policies.use(clusterwide("host", {"nodeSelector": NODE1, "ingress": [{"fromEntities": ["cluster"]}]}))
    line, seen = monitored(cluster, "node1", ["-t", "policy-verdict"], tries(cluster, "outside", "node1"), lambda text: "action audit" in text)
    yield checks.check(f"monitor: {line}", "default deny from CiliumClusterwideNetworkPolicy host" in line, seen)
    yield from policy.verdicts(cluster, "audited", [yes("node2 outside", "node1", "tcp")], explain=False)
    cluster.cli("node1", "endpoint", "config", host, "PolicyAuditMode=Disabled")
    yield from policy.verdicts(cluster, "in force", [yes("node2", "node1", "tcp"), no("outside", "node1", "tcp")], explain=False)
