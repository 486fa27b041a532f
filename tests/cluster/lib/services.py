"""Services on a running cluster: manifests, and who answers at their addresses."""
import concurrent.futures
import dataclasses
import itertools
import json
import re

from .checks import check, family_name, wait_until
from .policy import text_of
from .sandbox import PORT

FAMILIES = ("ipv4", "ipv6")
FAMILY_OF = {"ipv4": "IPv4", "ipv6": "IPv6"}
SERVICE_PORT = 80
PROTOCOLS = (("TCP", SERVICE_PORT), ("UDP", SERVICE_PORT))
# What is sent, by the name that rows use.
KINDS = {"tcp": {"kind": "tcp"}, "udp": {"kind": "udp", "bytes": 64}, "unconnected": {"kind": "udp", "bytes": 64, "unconnected": True},
         "fragments": {"kind": "udp", "bytes": 4000}, "large": {"kind": "udp", "bytes": 30000}, "upload": {"kind": "upload", "bytes": 2_000_000},
         "download": {"kind": "download", "bytes": 2_000_000}}
PLAIN_KINDS = ("tcp", "udp", "unconnected")
TIMES = 10  # connections, to see each of two backends
BRIEF_MS, LONG_MS = 900, 2500
SETTLE_SECONDS = 6


# Addresses of services. Documentation's own prefixes stand for what a load balancer gives out.

def cluster_ip(number):
    return {"ipv4": f"10.96.{number >> 8}.{number & 255}", "ipv6": f"fd00:96::{number:x}"}


def load_balancer_ip(number):
    return {"ipv4": f"192.0.2.{number}", "ipv6": f"2001:db8:1::{number:x}"}


def external_ip(number):
    return {"ipv4": f"198.51.100.{number}", "ipv6": f"2001:db8:2::{number:x}"}


def node_port(number):
    return 30000 + number


ROUTED = ("10.96.0.0/16", "fd00:96::/112", "192.0.2.0/24", "2001:db8:1::/64", "198.51.100.0/24", "2001:db8:2::/64")


def route_through(cluster, node, prefixes=ROUTED):
    """The world's way to services' addresses leads to one node, as one that was announced there."""
    addresses = cluster.addresses()[node]
    for prefix in prefixes:
        family = "ipv6" if ":" in prefix else "ipv4"
        if family in addresses:
            cluster.exec("underlay", "ip", "route", "replace", prefix, "via", addresses[family])


def like_real_wires(cluster, *machines):
    """For XDP. Between namespaces a sender leaves checksums to a device that is never met, and a veth takes what XDP sends back only where its peer polls."""
    for machine in machines:
        cluster.exec(machine, "ethtool", "-K", "eth0", "tx", "off")
    switch_takes_frames(cluster, True)


def switch_takes_frames(cluster, on):
    """Whether the switch's ends of the nodes' uplinks poll."""
    for number, _ in enumerate(cluster.nodes(), 1):
        cluster.exec("underlay", "ethtool", "-K", f"port{number}", "gro", "on" if on else "off")


# Manifests

def service(name, number, type_="ClusterIP", ports=PROTOCOLS, families=FAMILIES, external=False, balanced=None, target=PORT, metadata=None, **spec):
    """external: with external IPs. balanced: addresses that a load balancer gave, by default those of its number."""
    entries = []
    for protocol, port in ports:
        entry = {"name": f"{protocol.lower()}-{port}", "protocol": protocol, "port": port, "targetPort": target}
        if type_ != "ClusterIP" and spec.get("allocateLoadBalancerNodePorts", True):
            entry["nodePort"] = node_port(number) + port - SERVICE_PORT
        entries.append(entry)
    addresses = [cluster_ip(number)[family] for family in families]
    whole = {"type": type_, "ports": entries, "clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilies": [FAMILY_OF[family] for family in families],
             "ipFamilyPolicy": "SingleStack" if len(families) == 1 else "RequireDualStack", **spec}
    if external:
        whole["externalIPs"] = [external_ip(number)[family] for family in families]
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z",
                                                                  **(metadata or {}), "name": name}, "spec": whole}
    if type_ == "LoadBalancer":
        given = balanced if balanced is not None else [load_balancer_ip(number)[family] for family in families]
        manifest["status"] = {"loadBalancer": {"ingress": [{"ip": address} for address in given]}}
    return manifest


def backend(cluster_addresses, machine, node, ready=True, terminating=False, serving=None, **more):
    return {"addresses": cluster_addresses[machine], "node": node, "machine": machine,
            "conditions": {"ready": ready, "serving": ready if serving is None else serving, "terminating": terminating}, **more}


def slices(name, backends, ports=PROTOCOLS, families=FAMILIES, target=PORT, namespace="default"):
    """The EndpointSlices of a Service, one per family. Without backends too: an empty slice is what Kubernetes leaves."""
    found = []
    for family in families:
        endpoints = []
        for item in backends:
            if family not in item["addresses"]:
                continue
            entry = {"addresses": [item["addresses"][family]], "conditions": item["conditions"], "nodeName": item["node"]}
            for key in ("zone", "hints"):
                if key in item:
                    entry[key] = item[key]
            endpoints.append(entry)
        found.append({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": FAMILY_OF[family],
                      "metadata": {"name": f"{name}-{family}", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
                      "endpoints": endpoints, "ports": [{"name": f"{protocol.lower()}-{port}", "protocol": protocol, "port": target} for protocol, port in ports]})
    return found


class Services:
    """What is applied to a cluster. Backends by machine: their nodes are looked up."""

    def __init__(self, cluster, families=None):
        self.cluster = cluster
        self.addresses = cluster.addresses()
        self.families = families or tuple(family for family in FAMILIES if family in self.addresses["node1"])
        self.nodes = {pod["name"]: pod["node"] for pod in cluster.status()["pods"]}
        self.nodes.update({node: node for node in cluster.nodes()})

    def backend(self, machine, **how):
        return backend(self.addresses, machine, self.nodes[machine], **how)

    def manifests(self, name, number, backends=(), type_="ClusterIP", ports=PROTOCOLS, target=PORT, **spec):
        items = [item if isinstance(item, dict) else self.backend(item) for item in backends]
        return [service(name, number, type_, ports=ports, families=self.families, target=target, **spec),
                *slices(name, items, ports=ports, families=self.families, target=target)]

    def put(self, *args, **kwargs):
        self.cluster.apply(text_of(self.manifests(*args, **kwargs)))

    def backends(self, name, backends, ports=PROTOCOLS, target=PORT):
        """Only the slices anew."""
        items = [item if isinstance(item, dict) else self.backend(item) for item in backends]
        self.cluster.apply(text_of(slices(name, items, ports=ports, families=self.families, target=target)))

    def remove(self, *names, services=True):
        gone = []
        for name in names:
            if services:
                gone.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}})
            gone += [{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": f"{name}-{family}", "namespace": "default"}}
                     for family in self.families]
        self.cluster.delete(text_of(gone))


# Who answers

@dataclasses.dataclass(frozen=True)
class Row:
    """One client, one frontend, and who has to answer.

    frontend: "cluster", "load-balancer", "external", "node:NAME", or a machine's own name; number: the service's. servers: machines
    that answer, each of them at least once; none: nobody does. peer: "" any, "client" its own address, or a machine's name that has
    the address which the backend sees. error: how it fails, of "refused" (told at once), "silent", "" either.
    """
    client: str
    frontend: str
    number: int
    servers: tuple = ()
    peer: str = ""
    kinds: tuple = PLAIN_KINDS
    port: int = SERVICE_PORT
    error: str = ""
    some: bool = False  # of the servers; not each
    single: bool = False  # one of the servers, the same for every connection
    times: int = TIMES
    families: tuple = ()
    target: int = PORT

    def address(self, addresses, family):
        if self.frontend == "cluster":
            return cluster_ip(self.number)[family]
        if self.frontend == "load-balancer":
            return load_balancer_ip(self.number)[family]
        if self.frontend == "external":
            return external_ip(self.number)[family]
        return addresses[self.frontend.partition(":")[2] or self.frontend][family]

    def dport(self):
        return node_port(self.number) + self.port - SERVICE_PORT if self.frontend.startswith("node:") else self.port

    def title(self, family, kind):
        wanted = "+".join(self.servers) if self.servers else "nobody"
        return f"{self.client} → {self.frontend} {self.dport()} of {self.number}, {family_name(family)}, {kind}: {wanted}"


def rows(clients, frontends, number, servers=(), **how):
    """Clients and frontends: several, separated by blanks."""
    return [Row(client, frontend, number, tuple(servers.split()) if isinstance(servers, str) else tuple(servers), **how)
            for client in clients.split() for frontend in frontends.split()]


REFUSED = ("ECONNREFUSED", "EHOSTUNREACH", "EPERM", "ENETUNREACH")


def judge(row, family, result, addresses, sources):
    """What is wrong with a result; "" when it is as the row says. Kept between attempts: the servers seen."""
    if not row.servers:
        if result["ok"]:
            return f"answered by {result['server'] or 'somebody'}"
        told = result["errno"] in REFUSED
        if row.error == "refused" and not told or row.error == "silent" and told:
            return f"failed, but {result['errno'] or result['error']}"
        return ""
    if not result["ok"]:
        return result["error"]
    if result["kind"] == "download":
        return ""
    wanted = {f"{addresses[machine][family] if family == 'ipv4' else '[' + addresses[machine][family] + ']'}:{row.target}": machine for machine in row.servers}
    seen = set(result["servers"])
    if seen - set(wanted):
        return f"answered by {sorted(seen - set(wanted))}"
    if row.single and len(seen) != 1:
        return f"answered by {sorted(seen)} in turn"
    if not row.some and not row.single and set(wanted) - seen:
        return f"never answered by {[wanted[item] for item in set(wanted) - seen]} in {row.times} connections"
    believed = f"[{result['to']}]:{result['port']}" if ":" in result["to"] else f"{result['to']}:{result['port']}"
    if result["believed"] != believed:
        return f"the client's socket believes to talk to {result['believed']} instead of {believed}"
    if row.peer:
        owner = row.client if row.peer == "client" else row.peer
        allowed = sources(owner, family)
        if set(result["peers"]) - allowed:
            return f"the backend saw {sorted(result['peers'])} instead of an address of {owner}"
    return ""


def families_of(row, addresses):
    return [family for family in row.families or FAMILIES if family in addresses[row.client] and family in addresses["node1"]]


def wrong_rows(cluster, all_rows, addresses, seen):
    """{(row, family, kind): what is wrong}. `seen` adds up who has answered before."""
    nodes = set(cluster.nodes())
    own = {}

    def sources(machine, family):
        if machine not in nodes:
            return {addresses[machine][family]}
        if machine not in own:
            shown = cluster.exec(machine, "ip", "-o", "address", "show").stdout
            own[machine] = {match for match in re.findall(r"inet6? ([0-9a-f.:]+)", shown)}
        return own[machine]

    by_client = {}
    for row in all_rows:
        for family, kind in itertools.product(families_of(row, addresses), row.kinds):
            by_client.setdefault(row.client, []).append((row, family, kind))

    def one(client):
        targets = [{**KINDS[kind], "to": row.address(addresses, family), "port": row.dport(), "times": row.times if row.servers and not kind == "download" else 1,
                    # A sender on the refusing machine itself is told with its second SYN, after a second: the first error finds its socket busy.
                    "timeout-ms": LONG_MS if row.servers or row.error == "refused" else BRIEF_MS} for row, family, kind in by_client[client]]
        return list(zip(by_client[client], cluster.probe(client, targets, timeout=300)))

    found = {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        for results in pool.map(one, by_client):
            for key, result in results:
                result["servers"] = {**seen.get(key, {}), **result["servers"]} if result["ok"] else result["servers"]
                text = judge(key[0], key[1], result, addresses, sources)
                if text.startswith("never answered"):
                    seen[key] = result["servers"]
                if text:
                    found[key] = text
    return found


def serve(cluster, all_rows):
    for machine, port in {(machine, row.target) for row in all_rows for machine in row.servers}:
        cluster.serve(machine, port=port)


def verdicts(cluster, title, all_rows, seconds=SETTLE_SECONDS):
    """One check for all rows: within some seconds every client gets the answers that the rows say."""
    all_rows = list(all_rows)
    serve(cluster, all_rows)
    addresses, seen, left = cluster.addresses(), {}, all_rows
    count = sum(len(row.kinds) * len(families_of(row, addresses)) for row in all_rows)
    attempts, wrong = 0, {}

    def agrees():
        nonlocal wrong, left, attempts
        attempts += 1
        wrong = wrong_rows(cluster, left, addresses, seen)
        left = list(dict.fromkeys(row for row, _, _ in wrong))
        return not wrong

    if wait_until(agrees, seconds, 0.2) and attempts > 1:
        # What agreed early may have done so by the state before: all of it once more.
        left = all_rows
        wait_until(agrees, seconds, 0.2)
    return check(f"{title}: {count} flows", count and not wrong,
                 "; ".join(f"{row.title(family, kind)}, but {text}" for (row, family, kind), text in wrong.items()))


def listed(cluster, node):
    return json.loads(cluster.cli(node, "service", "list", "-o", "json"))


def problems(cluster, node):
    """What the status says of objects that are not as they should be."""
    return cluster.cli_json(node, "status")["axoneme"].get("rejected-objects") or []


def replacement(*more, routing="vxlan"):
    """Flags of an agent that takes kube-proxy's place."""
    return ["--kube-proxy-replacement=true", *more]
