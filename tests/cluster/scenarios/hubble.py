"""Flows as Hubble tells them: real traffic, and what the agents of both nodes write, keep and count of it."""
import json
import subprocess
import time

from lib import checks, policy
from lib.policy import cilium, endpoints
from lib.sandbox import CommandFailed
from lib.scenario import scenario

FILE = "/var/run/cilium/hubble/flows.log"
FLAGS = [f"--hubble-export-file-path={FILE}", "--hubble-history-path=/var/run/cilium/hubble/history",
         "--hubble-metrics=drop:sourceContext=pod;destinationContext=pod flow tcp icmp policy port-distribution"]
FROM_APP1 = cilium("only-app1", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app1")]}]})
DENY = cilium("deny-app3", {"endpointSelector": endpoints(app="nginx"), "ingressDeny": [{"fromEndpoints": [endpoints(app="app3")]}]})
READ_METRICS = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9965/metrics').read().decode())"


class Observed:
    """The flows that a node has written."""

    def __init__(self, cluster, node):
        self.cluster, self.node = cluster, node

    def all(self):
        try:
            text = self.cluster.exec(self.node, "cat", FILE).stdout
        except CommandFailed:
            return []
        # The last line may be half written.
        return [json.loads(line)["flow"] for line in text.splitlines() if line.endswith("}") and '"flow"' in line]

    def some(self, fits):
        return [flow for flow in self.all() if fits(flow)]

    def soon(self, fits, seconds=5):
        return checks.wait_until(lambda: self.some(fits), seconds, 0.2)


def pods(flow):
    return flow["source"].get("pod_name", ""), flow["destination"].get("pod_name", "")


def between(source, destination, **fields):
    """Flows between two pods whose other fields are these; "a.b": of a member's member."""
    def fits(flow):
        def value(path):
            found = flow
            for part in path.split("__"):
                found = found.get(part) if isinstance(found, dict) else None
            return found
        return pods(flow) == (source, destination) and all(value(path) == wanted for path, wanted in fields.items())
    return fits


def seen(cluster, node, title, fits):
    observed = Observed(cluster, node)
    found = observed.soon(fits)
    return checks.check(title, found, [(pods(flow), flow.get("verdict"), flow.get("Summary"), flow.get("traffic_direction")) for flow in observed.all()[-20:]])


def send(cluster, source, destination, kind="tcp", family="ipv4", port=policy.PORT):
    target = {"to": cluster.addresses()[destination][family] if destination in cluster.addresses() else destination, "port": port, "kind": kind,
              "bytes": 64 if kind != "tcp" else 0, "timeout-ms": 1500, "label": "x"}
    return cluster.probe(source, [target])


def verdicts(cluster, client_node, server_node):
    for family in ("ipv4", "ipv6"):
        version = {"ipv4": "IPv4", "ipv6": "IPv6"}[family]
        send(cluster, "app1", "nginx", family=family)
        send(cluster, "app1", "nginx", kind="udp", family=family)
        send(cluster, "app1", "nginx", kind="icmp", family=family)
        send(cluster, "app2", "nginx", family=family)
        send(cluster, "app3", "nginx", family=family)
        allowed = dict(IP__ipVersion=version, verdict="FORWARDED")
        yield seen(cluster, server_node, f"{version}: the request arrives", between("app1", "nginx", trace_observation_point="TO_ENDPOINT", traffic_direction="INGRESS",
                                                                                 is_reply=False, event_type__type=4, l4__TCP__flags__SYN=True, **allowed))
        yield seen(cluster, server_node, f"{version}: its reply leaves", between("nginx", "app1", is_reply=True, traffic_direction="INGRESS", **allowed))
        yield seen(cluster, client_node, f"{version}: the request leaves", between("app1", "nginx", traffic_direction="EGRESS", is_reply=False, **allowed))
        yield seen(cluster, client_node, f"{version}: the reply arrives", between("nginx", "app1", traffic_direction="EGRESS", is_reply=True, **allowed))
        yield seen(cluster, server_node, f"{version}: UDP", lambda flow, v=version: pods(flow) == ("app1", "nginx") and "UDP" in flow.get("l4", {}) and flow["IP"]["ipVersion"] == v)
        icmp = "ICMPv4" if family == "ipv4" else "ICMPv6"
        yield seen(cluster, server_node, f"{version}: ICMP", lambda flow, n=icmp: pods(flow) == ("app1", "nginx") and n in flow.get("l4", {}))
        yield seen(cluster, server_node, f"{version}: the verdict names the policy that allowed it",
                   lambda flow, v=version: between("app1", "nginx", event_type__type=5, verdict="FORWARDED", IP__ipVersion=v)(flow)
                   and [(p["kind"], p["namespace"], p["name"]) for p in flow.get("ingress_allowed_by", [])] == [("CiliumNetworkPolicy", "default", "only-app1")])
        yield seen(cluster, server_node, f"{version}: what no rule allows is dropped",
                   between("app2", "nginx", event_type__type=1, verdict="DROPPED", drop_reason_desc="POLICY_DENIED", traffic_direction="INGRESS", IP__ipVersion=version))
        yield seen(cluster, server_node, f"{version}: what a rule denies names it",
                   lambda flow, v=version: between("app3", "nginx", event_type__type=1, drop_reason_desc="POLICY_DENY", IP__ipVersion=v)(flow)
                   and [p["name"] for p in flow.get("ingress_denied_by", [])] == ["deny-app3"])


def named(cluster, server_node):
    """Everything a flow says of its ends."""
    flow = (Observed(cluster, server_node).some(between("app1", "nginx", trace_observation_point="TO_ENDPOINT")) or [{}])[-1]
    source, destination = flow.get("source", {}), flow.get("destination", {})
    yield checks.check("both ends have their labels", "k8s:app=app1" in source.get("labels", []) and "k8s:app=nginx" in destination.get("labels", []), flow)
    yield checks.check("and identities, namespaces, cluster", source.get("identity", 0) >= 256 and destination.get("identity", 0) >= 256
                       and source.get("namespace") == destination.get("namespace") == "default" and source.get("cluster_name") == "default", flow)
    yield checks.check("only the local one has an endpoint's number", destination.get("ID", 0) > 0 and "ID" not in source, flow)
    yield checks.check("the node's name and the interface", flow.get("node_name") == f"default/{server_node}" and flow.get("interface", {}).get("name", "").startswith("lxc"), flow)
    uuids = [one["uuid"] for one in Observed(cluster, server_node).all()]
    yield checks.check("no two flows have one uuid", len(uuids) == len(set(uuids)) and len(uuids) > 10, len(uuids))


def observe(cluster, node, *words):
    return cluster.exec(node, "axoneme", "observe", *words).stdout


def served(cluster, client_node, server_node):
    """Through the socket and, from another node, through the port."""
    words = ["--from-pod", "default/app1", "--to-pod", "default/nginx", "-o", "jsonpb"]
    here = [json.loads(line)["flow"] for line in observe(cluster, server_node, "--last", "3", *words).splitlines()]
    yield checks.check("the socket answers with what was asked for", len(here) == 3 and all(pods(flow) == ("app1", "nginx") for flow in here), here)
    for family in ("ipv4", "ipv6"):
        address = cluster.addresses()[server_node][family]
        address = f"[{address}]:4244" if family == "ipv6" else f"{address}:4244"
        there = observe(cluster, client_node, "--server", address, "--last", "1", *words)
        yield checks.check(f"so does the port, over {checks.family_name(family)}", f'"node_name":"default/{server_node}"' in there.replace(" ", ""), there)
    bad = cluster.exec(server_node, "axoneme", "observe", "--http-path", "([", check=False)
    yield checks.check("a mistake is named", bad.returncode != 0 and "whitelist[0].http_path" in bad.stderr, bad.stderr)
    events = cluster.exec(server_node, "axoneme", "observe", "agent-events", "--last", "200").stdout
    kinds = ("AGENT_STARTED", "ENDPOINT_CREATED", "ENDPOINT_REGENERATE_SUCCESS", "POLICY_UPDATED", "IPCACHE_UPSERTED")
    yield checks.check("agent events tell what the agent did", all(kind in events for kind in kinds), events)
    with open("/dev/null", "rb") as nothing:
        follower = subprocess.Popen([str(word) for word in cluster.exec_command(server_node, "axoneme", "observe", "-f", *words)], stdin=nothing, stdout=subprocess.PIPE,
                                    text=True)
    try:
        time.sleep(1)
        send(cluster, "app1", "nginx")
        line = follower.stdout.readline()
        yield checks.check("who follows gets what comes", pods(json.loads(line)["flow"]) == ("app1", "nginx"), line)
    finally:
        follower.kill()
        follower.wait()


def metrics_of(cluster, node):
    return cluster.exec(node, "python3", "-c", READ_METRICS).stdout


@scenario(cost=30)
def hubble_flows(context):
    cluster = context.cluster(nodes=2, agent_flags=[*FLAGS, "--bpf-ct-timeout-regular-any=5s"])
    client_node, server_node = cluster.nodes()
    for pod, node in (("app1", client_node), ("app2", client_node), ("app3", client_node), ("nginx", server_node)):
        cluster.add_pod(pod, node, labels=f"app={pod}")
    cluster.serve("nginx")
    policies = policy.Policies(cluster)
    yield checks.check("policies are in force", policies.use(FROM_APP1, DENY), policies.state())
    yield from verdicts(cluster, client_node, server_node)
    # One datagram, three packets: the first one opens the flow, the others are told when it has ended.
    cluster.probe("app1", [{"to": cluster.addresses()["nginx"]["ipv4"], "port": policy.PORT, "kind": "udp", "bytes": 4000, "timeout-ms": 1500, "label": "x"}])
    ended = lambda flow: pods(flow) == ("app1", "nginx") and "UDP" in flow.get("l4", {}) and flow.get("trace_reason") == "ESTABLISHED"
    yield from named(cluster, server_node)
    yield from served(cluster, client_node, server_node)

    text = metrics_of(cluster, server_node)
    yield checks.check("metrics count drops by the pods that they are of",
                       'hubble_drop_total{reason="POLICY_DENIED",protocol="TCP",source="default/app2",destination="default/nginx"}' in text, text)
    yield checks.check("and verdicts", 'hubble_policy_verdicts_total{direction="ingress",match="l3-only",action="forwarded"}' in text, text)
    cluster.delete_pods("app2")
    gone = checks.wait_until(lambda: "default/app2" not in metrics_of(cluster, server_node), 25, 1)
    yield checks.check("series of a pod that is gone go", gone, metrics_of(cluster, server_node))

    for node, where in ((client_node, "TO_OVERLAY"), (server_node, "TO_ENDPOINT")):
        observed = Observed(cluster, node)
        told = observed.soon(lambda flow, w=where: ended(flow) and flow.get("trace_observation_point") == w, 40)
        yield checks.check(f"a UDP flow's end is told, {where}", told and len(told) == 1, told or [flow for flow in observed.all() if "UDP" in flow.get("l4", {})])
    before = cluster.cli_json(server_node, "status")["hubble"]
    yield checks.check("status shows the observer", before["state"] == "Ok" and before["observer"]["seen-flows"] > 20 and before["history"]["error"] == "", before)
    cluster.sandbox("agent", "stop", server_node)
    cluster.sandbox("agent", "start", server_node)
    send(cluster, "app1", "nginx")
    after = checks.wait_until(lambda: (lambda hubble: hubble if hubble.get("observer", {}).get("seen-flows", 0) > 0
                                       and hubble["history"]["flows"] >= before["history"]["flows"] else None)(cluster.cli_json(server_node, "status")["hubble"]), 15, 0.5)
    yield checks.check("an agent that starts again has the history of the one before", after, (before, cluster.cli_json(server_node, "status")["hubble"]))
    yield seen(cluster, server_node, "and goes on telling", lambda flow: pods(flow) == ("app1", "nginx"))


@scenario(cost=15)
def hubble_is_off(context):
    """Without it there is no socket, no port, no thread."""
    cluster = context.cluster(nodes=1, agent_flags=["--enable-hubble=false"])
    node = cluster.nodes()[0]
    yield checks.check("status says so", cluster.cli_json(node, "status")["hubble"]["state"] == "Disabled", cluster.cli(node, "status"))
    yield checks.check("there is no socket", cluster.exec(node, "test", "-e", "/var/run/cilium/hubble.sock", check=False).returncode != 0)
    yield checks.check("nor a port", "4244" not in cluster.exec(node, "ss", "-ltn").stdout)
