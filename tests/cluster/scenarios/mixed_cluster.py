"""One cluster, a node of ours and one that runs Cilium: its objects are those that Cilium 1.19 writes, and the kernel's own VXLAN device does on the wire what
Cilium's datapath does, an identity for a network identifier in either direction."""
import json

from lib import checks, services
from lib.sandbox import PORT
from lib.scenario import scenario

NODE = "cilium1"
PODS = {"ipv4": "10.0.77.0/24", "ipv6": "fd00::4d00/120"}
ROUTER = {"ipv4": "10.0.77.1", "ipv6": "fd00::4d01"}
HEALTH = {"ipv4": "10.0.77.2", "ipv6": "fd00::4d02"}
REMOTE = {"ipv4": "10.0.77.5", "ipv6": "fd00::4d05"}
IDENTITY, OTHER_IDENTITY = 23456, 23457
PORTS = {"tcp": 0, "udp": 64, "icmp": 56}
NAMESPACE_LABEL = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name"
# What its agent needs of the kernel: packets for any identity, whatever Ethernet address is inside.
WIRE = """
ip link add cilium_vxlan address 02:00:00:00:77:01 mtu 1450 type vxlan external dstport 8472
ip link set cilium_vxlan arp off up
nft add table netdev wire
nft 'add chain netdev wire inside { type filter hook ingress device cilium_vxlan priority 0; }'
nft add rule netdev wire inside meta pkttype set host
nft 'add chain netdev wire outside { type filter hook ingress device eth0 priority 0; }'
"""


def security_labels(app):
    return {"k8s:app": app, f"k8s:{NAMESPACE_LABEL}": "default", "k8s:io.cilium.k8s.policy.cluster": "default", "k8s:io.cilium.k8s.policy.serviceaccount": "default",
            "k8s:io.kubernetes.pod.namespace": "default"}


def node_object(machine):
    """To the member as Cilium 1.19 has it, empty clouds and all."""
    addresses = [{"ip": machine[family], "type": "InternalIP"} for family in PODS] + [{"ip": ROUTER[family], "type": "CiliumInternalIP"} for family in PODS]
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNode",
            "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}, "annotations": {"network.cilium.io/wg-pub-key": ""}},
            "spec": {"addresses": addresses, "alibaba-cloud": {}, "azure": {}, "bootid": "f3a1c8c0-0000-4000-8000-000000000077", "encryption": {}, "eni": {},
                     "health": dict(HEALTH), "ingress": {}, "ipam": {"podCIDRs": list(PODS.values()), "pools": {}}}}


def identity_object(number, app):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity", "metadata": {"name": str(number), "labels": {"app": app, "io.kubernetes.pod.namespace": "default"}},
            "security-labels": security_labels(app)}


def pod_object(name, app):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
            "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "sandbox"}], "terminationGracePeriodSeconds": 0}}


def endpoint_object(machine):
    labels = [f"{key}={value}" for key, value in sorted(security_labels("remote").items())]
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint", "metadata": {"name": "remote", "namespace": "default", "labels": {"app": "remote"}},
            "status": {"encryption": {}, "id": 1234, "identity": {"id": IDENTITY, "labels": labels}, "state": "ready",
                       "external-identifiers": {"cni-attachment-id": "0d9:eth0", "container-id": "0d9", "k8s-namespace": "default", "k8s-pod-name": "remote", "pod-name": "default/remote"},
                       "named-ports": [{"name": "echo", "port": PORT, "protocol": "TCP"}],
                       "networking": {"addressing": [dict(REMOTE)], "node": machine["ipv4"]}}}


def join(cluster):
    """The node without an agent of ours, and what its own would write."""
    cluster.sandbox("node", "add", NODE, "--no-agent")
    machine = cluster.addresses()[NODE]
    if hasattr(cluster, "create_node"):
        cluster.create_node(dict(machine, name=NODE))
    for thing in (node_object(machine), identity_object(IDENTITY, "remote"), identity_object(OTHER_IDENTITY, "other"), pod_object("remote", "remote"), endpoint_object(machine)):
        cluster.apply(json.dumps(thing))
    cluster.exec(NODE, "sh", "-ec", WIRE)
    for family, address in REMOTE.items():
        cluster.exec(NODE, "ip", "address", "add", f"{address}/{128 if family == 'ipv6' else 32}", "dev", "lo", *(["nodad"] if family == "ipv6" else []))
    return machine


def send_as(cluster, identity, own):
    """Routes of the remote pod to our node's pods, with an identity on the way."""
    spec = cluster.find_object("cilium.io/v2", "CiliumNode", None, "node1")["spec"]
    for cidr in spec["ipam"]["podCIDRs"]:
        family = "ipv6" if ":" in cidr else "ipv4"
        cluster.exec(NODE, "ip", "-6" if family == "ipv6" else "-4", "route", "replace", cidr, "encap", "ip", "id", str(identity), "dst", own["ipv4"], "dev", "cilium_vxlan",
                     "src", REMOTE[family])


def answers(cluster, machine, addresses):
    targets = [{"to": address, "port": PORT, "kind": kind, "bytes": size, "timeout-ms": 1500, "label": f"{kind} {address}"}
               for address in addresses.values() for kind, size in PORTS.items()]
    return {answer["label"]: answer["ok"] for answer in cluster.probe(machine, targets)}


def becomes(cluster, machine, addresses, wanted):
    return checks.wait_until(lambda: set(answers(cluster, machine, addresses).values()) == {wanted}, 10, 0.3)


def policy(name, app, **rules):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": name, "namespace": "default"},
            "spec": {"endpointSelector": {"matchLabels": {"app": app}}, **rules}}


@scenario(cost=40)
def mixed_with_a_node_of_cilium(context):
    cluster = context.cluster(nodes=1)
    for name in ("local", "stranger"):
        cluster.add_pod(name, "node1", labels=f"app={name}")
    own = cluster.addresses()["node1"]
    join(cluster)
    send_as(cluster, IDENTITY, own)
    cluster.serve(NODE, "local", "stranger")
    before = {name: cluster.find_object(*name) for name in foreign()}
    yield from talk(cluster)
    yield from serve_together(cluster)
    yield from on_the_wire(cluster)
    yield from keep_policy(cluster, own)
    yield from are_seen(cluster)
    cluster.sandbox("agent", "stop", "node1")
    cluster.sandbox("agent", "start", "node1")
    yield checks.check("pods of both kinds of node talk after our agent started again", becomes(cluster, "local", REMOTE, True), answers(cluster, "local", REMOTE))
    changed = [name for name, thing in before.items() if not same(thing, cluster.find_object(*name))]
    yield checks.check("what Cilium wrote is as it was", not changed, changed)


def foreign():
    return [("cilium.io/v2", "CiliumNode", None, NODE), ("cilium.io/v2", "CiliumIdentity", None, str(IDENTITY)), ("cilium.io/v2", "CiliumEndpoint", "default", "remote")]


def same(one, other):
    """But for what an API server and the owner of a node's object put into metadata."""
    return other is not None and all(one.get(part) == other.get(part) for part in ("spec", "status", "security-labels")) and one["metadata"].get("labels") == other["metadata"].get("labels")


def talk(cluster):
    local = cluster.addresses()["local"]
    yield checks.check("our pod reaches Cilium's", becomes(cluster, "local", REMOTE, True), answers(cluster, "local", REMOTE))
    yield checks.check("Cilium's pod reaches ours", becomes(cluster, NODE, local, True), answers(cluster, NODE, local))
    node = cluster.find_object("cilium.io/v2", "CiliumNode", None, "node1")["spec"]
    kinds = {(item["type"], ":" in item["ip"]) for item in node["addresses"]}
    yield checks.check("our node's object has what Cilium routes by", {(kind, six) for kind in ("InternalIP", "CiliumInternalIP") for six in (False, True)} <= kinds
                       and len(node["ipam"]["podCIDRs"]) == 2 and node["health"].get("ipv4"), node)


def serve_together(cluster):
    """One Service of pods on both kinds of node."""
    known = services.Services(cluster)
    known.put("both", 1, ("stranger", {"addresses": REMOTE, "conditions": {"ready": True}, "node": NODE}))
    for family, address in services.cluster_ip(1).items():
        # A server says by which of its addresses it was reached.
        targets = [{"to": address, "port": services.SERVICE_PORT, "kind": kind, "bytes": size, "timeout-ms": 1500, "label": kind} for kind, size in (("tcp", 0), ("udp", 64))] * 8
        servers = {}

        def all_answer(targets=targets, servers=servers):
            done = cluster.probe("local", targets)
            for answer in done:
                servers.setdefault(answer["label"], set()).add(answer.get("server", ""))
            return all(answer["ok"] for answer in done) and all(len(names - {""}) == 2 for names in servers.values())

        yield checks.check(f"{checks.family_name(family)}: a Service's backends are pods of both", checks.wait_until(all_answer, 15, 0.2), servers)


def on_the_wire(cluster):
    """The identity that Cilium finds in our packets is the one of the pod's object."""
    number = checks.endpoint_of(cluster, "local")["status"]["identity"]["id"]
    named = cluster.find_object("cilium.io/v2", "CiliumIdentity", None, str(number))
    yield checks.check("our pod's identity is an object that Cilium reads", named and named["security-labels"]["k8s:app"] == "local", named)
    # RFC 7348: behind 8 bytes of UDP and 4 of flags.
    cluster.exec(NODE, "nft", "add", "rule", "netdev", "wire", "outside", "udp", "dport", "8472", "@th,96,24", str(number), "counter")
    answers(cluster, "local", REMOTE)
    rules = json.loads(cluster.exec(NODE, "nft", "-j", "list", "chain", "netdev", "wire", "outside").stdout)["nftables"]
    packets = [part["counter"]["packets"] for rule in rules if "rule" in rule for part in rule["rule"]["expr"] if "counter" in part]
    yield checks.check(f"{packets} packets with identity {number} arrive at Cilium's node", packets and packets[0] >= len(answers(cluster, "local", REMOTE)), rules)


def keep_policy(cluster, own):
    local = cluster.addresses()["local"]
    cluster.apply(json.dumps(policy("from-remote", "local", ingress=[{"fromEndpoints": [{"matchLabels": {"app": "remote"}}]}])))
    yield checks.check("a policy that names Cilium's pod keeps ours out", becomes(cluster, "stranger", local, False), answers(cluster, "stranger", local))
    yield checks.check("and lets Cilium's in", becomes(cluster, NODE, local, True), answers(cluster, NODE, local))
    send_as(cluster, OTHER_IDENTITY, own)
    yield checks.check("by the identity in the packet: with another one it is refused", becomes(cluster, NODE, local, False), answers(cluster, NODE, local))
    flows = [json.loads(line)["flow"] for line in cluster.exec("node1", "axoneme", "observe", "--last", "50", "--verdict", "DROPPED", "--to-pod", "default/local", "-o", "jsonpb").stdout.splitlines()]
    seen = [flow for flow in flows if flow["source"].get("identity") == OTHER_IDENTITY]
    yield checks.check("which the drop says, with that identity's labels", seen and "k8s:app=other" in seen[-1]["source"]["labels"], flows[-3:])
    send_as(cluster, IDENTITY, own)
    cluster.apply(json.dumps(policy("to-remote", "local", egress=[{"toEndpoints": [{"matchLabels": {"app": "remote"}}], "toPorts": [{"ports": [{"port": "echo", "protocol": "TCP"}]}]}])))
    only_tcp = {f"{kind} {address}": kind == "tcp" for address in REMOTE.values() for kind in PORTS}
    yield checks.check("and out: by label, and by the name of a port of Cilium's pod", checks.wait_until(lambda: answers(cluster, "local", REMOTE) == only_tcp, 10, 0.3),
                       answers(cluster, "local", REMOTE))
    for name in ("from-remote", "to-remote"):
        cluster.delete(json.dumps(policy(name, "local")))


def are_seen(cluster):
    becomes(cluster, "local", REMOTE, True)
    flows = [json.loads(line)["flow"] for line in cluster.exec("node1", "axoneme", "observe", "--last", "50", "--from-pod", "default/local", "--to-pod", "default/remote", "-o",
                                                               "jsonpb").stdout.splitlines()]
    yield checks.check("Hubble names Cilium's pod", flows and flows[-1]["destination"]["identity"] == IDENTITY and "k8s:app=remote" in flows[-1]["destination"]["labels"], flows[-1:])
    nodes = cluster.cli("node1", "node", "list")
    yield checks.check("node list has Cilium's node", f"default/{NODE}" in nodes and PODS["ipv4"] in nodes, nodes)
