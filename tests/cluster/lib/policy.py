"""Policies on a running cluster: put into force, compared with what traffic gets through, and with what `policy explain` says."""
import concurrent.futures
import copy
import dataclasses
import itertools
import json
import time

from .checks import check, family_name, wait_until
from .sandbox import PORT, CommandFailed

TOKENS = itertools.count(1)
BRIEF_MS = 450  # long enough for an answer on one machine; a blocked probe costs this much
LONG_MS = 1500
KINDS = {"fragments": {"kind": "udp", "bytes": 4000}}  # of one datagram: only the first has ports


# Manifests. JSON is YAML too.

def cilium(name, spec, namespace="default"):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def clusterwide(name, spec):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": name}, "spec": spec}


def kubernetes(name, spec, namespace="default"):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def api_server(cluster, machine):
    """A machine as what stands behind Service kubernetes."""
    cluster_ip = "fd00:96::50" if cluster.families == "ipv6" else "10.96.0.80"
    return [service("kubernetes", cluster_ip=cluster_ip), *endpoint_slices("kubernetes", list(cluster.addresses()[machine].values()))]


def cidr_group(name, cidrs, labels=None):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumCIDRGroup", "metadata": {"name": name, "labels": labels or {}}, "spec": {"externalCIDRs": cidrs}}


def service(name, selector=None, labels=None, namespace="default", cluster_ip="10.96.0.80"):
    spec = {"ports": [{"port": 80, "targetPort": PORT, "protocol": "TCP"}], "clusterIP": cluster_ip}
    if selector:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace, "labels": labels or {}}, "spec": spec}


def endpoint_slices(name, addresses, namespace="default"):
    """One per family, as Kubernetes makes them."""
    slices = []
    for kind, list_ in (("IPv4", [a for a in addresses if ":" not in a]), ("IPv6", [a for a in addresses if ":" in a])):
        if list_:
            slices.append({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
                           "metadata": {"name": f"{name}-{kind.lower()}", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
                           "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in list_],
                           "ports": [{"port": PORT, "protocol": "TCP"}]})
    return slices


def namespace(name, labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels, **{"kubernetes.io/metadata.name": name})}}


def endpoints(**labels):
    return {"matchLabels": labels}


def text_of(manifests):
    return "\n---\n".join(item if isinstance(item, str) else json.dumps(item, indent=1) for item in manifests)


# In force

def objects(cluster, node):
    return {(row["kind"], row["namespace"], row["name"]): row for row in cluster.cli_json(node, "policy", "list")}


def key_of(manifest):
    metadata = manifest["metadata"]
    cluster_scoped = manifest["kind"] in ("CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup")
    return manifest["kind"], "" if cluster_scoped else metadata.get("namespace", "default"), metadata["name"]


class Policies:
    """What is applied to a cluster; `use` replaces all of it."""

    def __init__(self, cluster):
        self.cluster, self.applied, self.others = cluster, {}, []
        self.nodes = cluster.nodes()

    def use(self, *manifests, others=(), wait=True):
        """Exactly these policies, and before them the objects that they refer to."""
        # Copies: scenarios beside this one mark the same manifests.
        wanted = {key_of(item): self.marked(copy.deepcopy(item)) for item in manifests}
        gone = [item for key, item in self.applied.items() if key not in wanted]
        if others:
            self.cluster.apply(text_of(others))
        if wanted:
            self.cluster.apply(text_of(wanted.values()))
        if gone:
            self.cluster.delete(text_of(gone))
        kept = {key_of(item) for item in others}
        left = [item for item in self.others if key_of(item) not in kept]
        if left:
            self.cluster.delete(text_of(left))
        self.applied, self.others = wanted, list(others)
        return wait_until(self.in_force, 15, 0.02) if wait else True

    def marked(self, manifest):
        """A description nobody else has tells when this very version has arrived."""
        if manifest["kind"] != "NetworkPolicy" and "spec" in manifest:
            manifest["spec"]["description"] = f"version {next(TOKENS)}"
        return manifest

    def in_force(self):
        return all(self.in_force_on(node) for node in self.nodes)

    def in_force_on(self, node):
        known = objects(self.cluster, node)
        if set(known) != set(self.applied) or not all(row["valid"] for row in known.values()):
            return False
        marks = [item["spec"]["description"] for item in self.applied.values() if "description" in item.get("spec", {})]
        text = self.cluster.cli(node, "policy", "get") if marks else ""
        return all(f'"{mark}"' in text for mark in marks)


    def state(self):
        """What each node says of its policies, for a check that fails."""
        return {node: (list(objects(self.cluster, node).values()), self.cluster.cli(node, "policy", "get")) for node in self.nodes}


# Traffic

@dataclasses.dataclass(frozen=True)
class Flow:
    source: str
    destination: str
    kind: str = "tcp"
    port: int = PORT
    family: str = "ipv4"

    def __str__(self):
        what = "ICMP" if self.kind == "icmp" else f"{self.kind.upper()} {self.port}"
        return f"{self.source} → {self.destination}, {family_name(self.family)}, {what}"


def row(source, destination, *kinds, allowed):
    """kinds: "tcp", "udp", "icmp", "tcp/80", "fragments/53"; none: TCP, UDP and ICMP. Machines: several, separated by blanks."""
    for one, other in itertools.product(source.split(), destination.split()):
        for kind in kinds or ("tcp", "udp", "icmp"):
            name, _, port = kind.partition("/")
            yield (one, other, name, int(port or (0 if name == "icmp" else PORT)), allowed)


def yes(source, destination, *kinds):
    return list(row(source, destination, *kinds, allowed=True))


def no(source, destination, *kinds):
    return list(row(source, destination, *kinds, allowed=False))


def expand(addresses, rows, families=None):
    """{flow: whether it is to pass} for every family that both ends have."""
    flows = {}
    for source, destination, kind, port, allowed in itertools.chain.from_iterable(rows):
        for family in sorted(set(addresses[source]) & set(addresses[destination])):
            if families is None or family in families:
                flows[Flow(source, destination, kind, port, family)] = allowed
    return flows


def serve(cluster, flows):
    for flow in flows:
        cluster.serve(flow.destination)
        if flow.port:
            cluster.serve(flow.destination, port=flow.port)


def passes(cluster, addresses, flows, timeout_ms=BRIEF_MS):
    """{flow: error, "" when it passed}; sources at the same time."""
    by_source = {}
    for flow in flows:
        by_source.setdefault(flow.source, []).append(flow)

    def one(source):
        targets = [{"to": addresses[flow.destination][flow.family], "port": flow.port, "timeout-ms": timeout_ms, **KINDS.get(flow.kind, {"kind": flow.kind, "bytes": 64})}
                   for flow in by_source[source]]
        return zip(by_source[source], cluster.probe(source, targets))

    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        return {flow: result.get("error", "") for results in pool.map(one, by_source) for flow, result in results}


def disagreements(cluster, addresses, flows):
    """Flows that do not fare as they should, with what happened. A second look with more time: machines may be busy."""
    seen = passes(cluster, addresses, flows)
    wrong = [flow for flow, error in seen.items() if (error == "") != flows[flow]]
    if wrong:
        again = passes(cluster, addresses, wrong, LONG_MS)
        wrong = [flow for flow in wrong if (again[flow] == "") != flows[flow]]
        seen.update(again)
    return {flow: seen[flow] for flow in wrong}


def party(cluster_pods, addresses, flow, machine):
    pod = cluster_pods.get(machine)
    return f"{pod['namespace']}/{pod['name']}" if pod else addresses[machine][flow.family]


def explained(cluster, pods, addresses, flow):
    """What `policy explain` says of a flow, on the node of its source, or else of its destination."""
    node = pods[flow.source]["node"] if flow.source in pods else pods[flow.destination]["node"]
    protocol = {"icmp": {"ipv4": "ICMP", "ipv6": "ICMPv6"}[flow.family], "fragments": "UDP"}.get(flow.kind, flow.kind)
    words = ["policy", "explain", "--from", party(pods, addresses, flow, flow.source), "--to", party(pods, addresses, flow, flow.destination),
             "--protocol", protocol] + (["--port", flow.port] if flow.port else [])
    # An agent that has just started knows policies a moment before it has computed what they say.
    until = time.monotonic() + 5
    while True:
        try:
            return cluster.cli_json(node, *words)
        except CommandFailed as failure:
            if "has not been computed yet" not in str(failure) or time.monotonic() > until:
                raise
            time.sleep(0.1)


def verdicts(cluster, title, rows, families=None, explain=True):
    """Traffic fares as the rows say, in every family; and `policy explain` says the same."""
    addresses = cluster.addresses()
    flows = expand(addresses, rows, families)
    serve(cluster, flows)
    wrong = disagreements(cluster, addresses, flows)
    allowed = sum(flows.values())
    details = [f"{flow}: {'blocked: ' + error if flows[flow] else 'passed'}" for flow, error in wrong.items()]
    yield check(f"{title}: {allowed} flows pass, {len(flows) - allowed} do not", flows and not wrong, "; ".join(details))
    if not explain:
        return
    pods = {pod["name"]: pod for pod in cluster.status()["pods"]}
    asked = [flow for flow in flows if flow.source in pods or flow.destination in pods]

    def differs(flow):
        answer = explained(cluster, pods, addresses, flow)
        return "" if answer["allowed"] == flows[flow] else f"{flow}: explained as {answer['allowed']}: {answer['text']}"

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        other = [text for text in pool.map(differs, asked) if text]
    yield check(f"{title}: explain says so for {len(asked)} flows", not other, "; ".join(other[:5]))


def ready(cluster, rows, seconds=10):
    """All of it passes without any policy: identities and routes have got around."""
    addresses = cluster.addresses()
    flows = expand(addresses, rows)
    serve(cluster, flows)
    wrong = wait_until(lambda: not disagreements(cluster, addresses, flows), seconds, 0.1)
    return check(f"without a policy all {len(flows)} flows pass", wrong, "; ".join(map(str, disagreements(cluster, addresses, flows) if not wrong else [])))


def pause(seconds):
    time.sleep(seconds)
