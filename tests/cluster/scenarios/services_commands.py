"""Services in the commands' words, and what is said of those that are not as they should be."""
import json
import re

from lib import checks, services
from lib.policy import text_of
from lib.scenario import scenario
from lib.services import rows
from lib.talk import Talker
from scenarios.services_types import NODE_FRONTENDS, OUTSIDE_RANGE, place

STICKY = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}}


def shows(cluster, node, words, patterns, seconds=4):
    output = {}

    def missing():
        output["text"] = cluster.cli(node, *words, check=False)
        return [pattern for pattern in patterns if not re.search(pattern, output["text"])]

    checks.wait_until(lambda: not missing(), seconds, 0.2)
    left = missing()
    return checks.check(f"axoneme {' '.join(words)}", not left, f"without {left}:\n{output['text']}")


@scenario(cost=25)
def services_commands(context):
    """service list, bpf lb list and their kin, laid out as Cilium prints them."""
    cluster, known = place(context, flags=["--bpf-lb-algorithm=maglev", "--enable-bpf-masquerade=true", "--enable-ipv4-masquerade=true"])
    known.put("both", 1, ("b1", "b2"))
    known.put("port", 2, ("b2",), type_="NodePort", **STICKY)
    known.put("lb", 3, ("b1",), type_="LoadBalancer", externalTrafficPolicy="Local", loadBalancerSourceRanges=OUTSIDE_RANGE)
    known.put("empty", 4)
    yield services.verdicts(cluster, "they serve", [*rows("c1 node1", "cluster", 1, "b1 b2"), *rows("outside", "node:node1", 2, "b2"), *rows("outside", "load-balancer", 3, "b1")])
    b1, b2 = (re.escape(known.addresses[pod]["ipv4"]) for pod in ("b1", "b2"))
    six = re.escape(known.addresses["b2"]["ipv6"])
    node1, outside = (re.escape(known.addresses[machine]["ipv4"]) for machine in ("node1", "outside"))
    expectations = [
        (["service", "list"], [r"(?m)^ID\s+Frontend\s+Service Type\s+Backend", rf"(?m)^\d+\s+10\.96\.0\.1:80/TCP\s+ClusterIP\s+1 => ({b1}|{b2}):7000/TCP \(active\)",
                               rf"(?m)^\s+2 => ({b1}|{b2}):7000/TCP \(active\)", r"10\.96\.0\.1:80/UDP\s+ClusterIP", rf"0\.0\.0\.0:30002/TCP\s+NodePort\s+1 => {b2}:7000/TCP",
                               r"192\.0\.2\.3:80/TCP\s+LoadBalancer", rf"\[fd00:96::1\]:80/TCP\s+ClusterIP\s+\d => \[", r"10\.96\.0\.4:80/TCP\s+ClusterIP"]),
        (["bpf", "lb", "list"], [r"(?m)^SERVICE ADDRESS\s+BACKEND ADDRESS \(REVNAT_ID\) \(SLOT\)", r"10\.96\.0\.1:80/TCP \(0\)\s+0\.0\.0\.0:0 \(\d+\) \(0\) \[ClusterIP, non-routable",
                                 rf"10\.96\.0\.1:80/TCP \(1\)\s+({b1}|{b2}):7000/TCP \(\d+\) \(1\)", rf"10\.96\.0\.1:80/TCP \(2\)\s+({b1}|{b2}):7000/TCP \(\d+\) \(2\)",
                                 r"0\.0\.0\.0:30002/TCP \(0\).*\[NodePort.*sessionAffinity", r"192\.0\.2\.3:80/TCP \(0\).*\[LoadBalancer.*Local.*check source-range"]),
        (["bpf", "lb", "list", "--frontends"], [r"10\.96\.0\.1:80/TCP", r"192\.0\.2\.3:80/TCP"]),
        (["bpf", "lb", "list", "--backends"], [r"(?m)^ID\s+BACKEND ADDRESS", rf"(?m)^\d+\s+(TCP://)?{b1}", rf"{b2}", six]),
        (["bpf", "lb", "list", "--revnat"], [r"(?m)^ID\s+BACKEND ADDRESS \(REVNAT_ID\) \(SLOT\)", r"(?m)^\d+\s+10\.96\.0\.1:80"]),
        (["bpf", "lb", "list", "--affinity"], [r"(?m)^CLIENT \(GROUP\)\s+BACKEND", rf"(?m)^{outside}.*{b2}"]),
        (["bpf", "lb", "list", "--maglev"], [r"(?m)^SVC ID\s+LOOKUP TABLE"]),
        (["bpf", "lb", "list", "--source-ranges"], [r"172\.18\.200\.0/24", r"fd00:18:200::/64"]),
        (["bpf", "lb", "maglev", "list"], [r"(?m)^SVC ID\s+LOOKUP TABLE", r"\[.*\]"]),
        (["bpf", "nat", "list"], [r"30002|" + node1]),
        (["bpf", "ct", "list", "global"], [rf"(?m)^(TCP|UDP) (IN|OUT) .* -> {b2}:7000 "]),
        (["status", "--verbose"], [r"(?m)^KubeProxyReplacement:\s+True", r"(?m)^KubeProxyReplacement Details:", r"Socket LB:\s+Enabled", r"Mode:\s+SNAT", r"Backend Selection:\s+Maglev",
                                   r"Session Affinity:\s+Enabled", r"NodePort:\s+Enabled \(Range: 30000-32767\)", r"LoadBalancer:\s+Enabled", r"externalIPs:\s+Enabled", r"HostPort:\s+Enabled",
                                   r"(?m)^Masquerading:\s+BPF"]),
    ]
    for words, patterns in expectations:
        yield shows(cluster, "node1", words, patterns)
    listed = services.listed(cluster, "node1")
    one = next((item for item in listed if item["spec"]["frontend-address"]["ip"] == "10.96.0.1" and item["spec"]["frontend-address"]["protocol"] == "TCP"), None)
    yield checks.check("service list -o json has Cilium's fields", one and one["status"]["realized"]["flags"]["type"] == "ClusterIP" and len(one["spec"]["backend-addresses"]) == 2, one)
    yield shows(cluster, "node1", ["service", "get", str(one["spec"]["id"]) if one else "1"], [r"10\.96\.0\.1"])
    cluster.cli("node1", "bpf", "nat", "flush")
    yield services.verdicts(cluster, "after a flush of translations", rows("outside", "node:node1", 2, "b2"))


def reported(cluster, name, words, seconds=6):
    """The status of node1 says this of an object; the check says what it says."""
    found = []

    def said():
        found[:] = [item for item in services.problems(cluster, "node1") if name in item["where"]]
        return any(all(word in item["message"] for word in words) for item in found)

    ok = checks.wait_until(said, seconds, 0.2)
    return checks.check(f"{name} is reported: {found[0]['message'] if ok and found else ', '.join(words)}", ok, services.problems(cluster, "node1"))


@scenario(cost=45, dir_only="an API server takes half of these mistakes for none, and refuses the others")
def services_bad_input(context):
    """Each mistake is reported on its object; the other services go on; corrected, the report goes."""
    cluster, known = place(context, flags=["--node-port-range=30000,32767"])
    known.put("good", 1, ("b1", "b2"), type_="NodePort")
    good = [*rows("c1 node1", "cluster", 1, "b1 b2", kinds=("tcp", "udp")), *rows("outside", NODE_FRONTENDS, 1, "b1 b2", kinds=("tcp",))]
    yield services.verdicts(cluster, "a good one", good)
    mistakes = {}
    # Two services claim one external IP and one NodePort; the older keeps it.
    claim = dict(external=True, metadata={"creationTimestamp": "2026-01-02T00:00:00Z"})
    known.put("older", 2, ("b1",), external=True)
    known.put("younger", 3, ("b2",), metadata=claim["metadata"], externalIPs=[services.external_ip(2)["ipv4"], services.external_ip(2)["ipv6"]])
    mistakes["younger"] = ["ExternalIPs", services.external_ip(2)["ipv4"], "default/older"]
    taken = services.service("clash", 4, "NodePort", metadata=claim["metadata"])
    for port in taken["spec"]["ports"]:
        port["nodePort"] = services.node_port(1)
    cluster.apply(text_of([taken, *services.slices("clash", [known.backend("b2")])]))
    mistakes["clash"] = ["NodePort", str(services.node_port(1)), "default/good"]
    doubled = services.service("doubled", 5)
    doubled["spec"]["ports"][1]["name"] = doubled["spec"]["ports"][0]["name"]
    cluster.apply(text_of([doubled, *services.slices("doubled", [known.backend("b1")])]))
    mistakes["doubled"] = ["name", "tcp-80"]
    cluster.apply(text_of([services.slices("nobodys", [known.backend("b1")])[0]]))
    mistakes["nobodys"] = ["nobodys"]
    bad = services.service("bad-address", 6)
    bad["spec"]["clusterIP"], bad["spec"]["clusterIPs"] = "10.96.0.300", ["10.96.0.300"]
    cluster.apply(text_of([bad]))
    mistakes["bad-address"] = ["10.96.0.300"]
    bad_port = services.service("bad-port", 7)
    bad_port["spec"]["ports"][0]["port"] = 70000
    cluster.apply(text_of([bad_port]))
    mistakes["bad-port"] = ["70000"]
    known.put("none-ready", 8, [known.backend("b1", ready=False), known.backend("b2", ready=False)])
    mistakes["none-ready"] = ["0 of 2 endpoints are ready"]
    thousand = [{"addresses": {"ipv4": f"10.200.{number >> 8}.{number & 255}"}, "node": "node2",
                 "conditions": {"ready": False, "serving": False, "terminating": False}} for number in range(1000)]
    cluster.apply(text_of([services.service("thousand", 9, families=("ipv4",)), *services.slices("thousand", thousand, families=("ipv4",))]))
    mistakes["thousand"] = ["0 of 1000 endpoints are ready"]
    # A process that was there first does not keep its port, and hears of it from nobody else.
    listener = Talker(cluster, "node1", "listen", "tcp", known.addresses["node1"]["ipv4"], services.node_port(10))
    known.put("hides", 10, ("b1",), type_="NodePort")
    mistakes["hides"] = [f"NodePort {services.node_port(10)}/TCP", "is hidden by the Service"]
    for name, words in mistakes.items():
        yield reported(cluster, name, words)
    yield services.verdicts(cluster, "the older claimant, the good one, and refusal of the one without backends",
                            [*good, *rows("outside c1", "external", 2, "b1", kinds=("tcp",)), *rows("c1", "cluster", 8, kinds=("tcp",), error="refused"), *rows("c1", "cluster", 3, "b2", kinds=("tcp",)),
                             *rows("outside", "node:node1", 10, "b1", kinds=("tcp",))])
    listener.kill()
    doubled["spec"]["ports"][1]["name"] = "udp-80"
    cluster.apply(text_of([doubled]))
    known.remove("older")
    known.backends("none-ready", ("b1",))
    yield services.verdicts(cluster, "corrected", [*rows("c1", "cluster", 5, "b1", kinds=("tcp", "udp")), *rows("outside", "external", 2, "b2", kinds=("tcp",)),
                                                  *rows("c1", "cluster", 8, "b1", kinds=("tcp",))])
    gone = checks.wait_until(lambda: not [item for item in services.problems(cluster, "node1") if any(name in item["where"] for name in ("doubled", "younger"))], 5, 0.2)
    yield checks.check("what is corrected is no longer reported", gone, services.problems(cluster, "node1"))


@scenario(cost=20)
def services_of_a_family_the_cluster_lacks(context):
    cluster, known = place(context, families="ipv4")
    known.put("four", 1, ("b1", "b2"))
    cluster.apply(text_of([services.service("six", 2, families=("ipv6",)), services.service("dual", 3), *services.slices("dual", [known.backend("b1")], families=("ipv4",))]))
    yield reported(cluster, "six", ["IPv6"])
    yield services.verdicts(cluster, "its IPv4 services go on", [*rows("c1 node2", "cluster", 1, "b1 b2"), *rows("c1 node2", "cluster", 3, "b1")])


@scenario(cost=30)
def services_more_than_fit(context):
    """A full map is reported on the services that have no place; those that have one go on, and places that get free are used."""
    cluster, known = place(context, flags=["--bpf-lb-service-map-max=128"])
    known.put("first", 1, ("b1",))
    yield services.verdicts(cluster, "before", rows("c1 node1", "cluster", 1, "b1", kinds=("tcp",)))
    ports = (("TCP", 80),)
    many = []
    for number in range(20, 200):
        many += [services.service(f"extra-{number}", number, ports=ports), *services.slices(f"extra-{number}", [known.backend("b2")], ports=ports)]
    cluster.apply(text_of(many))
    full = checks.wait_until(lambda: [item for item in services.problems(cluster, "node1") if "extra-" in item["where"]], 8, 0.3)
    yield checks.check(f"{len(full or [])} services are reported: {full[0]['message'] if full else ''}", full and all("full" in item["message"] for item in full), full)
    yield services.verdicts(cluster, "the first goes on", rows("c1 node1", "cluster", 1, "b1", kinds=("tcp",)))
    last = int(re.search(r"extra-(\d+)", full[-1]["where"]).group(1)) if full else 199
    cluster.delete(text_of([{"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"extra-{number}", "namespace": "default"}} for number in range(20, 200) if number != last]))
    yield services.verdicts(cluster, f"with room, extra-{last} is served", rows("c1 node1", "cluster", last, "b2", kinds=("tcp",)), seconds=10)
    quiet = checks.wait_until(lambda: not [item for item in services.problems(cluster, "node1") if f"extra-{last}" in item["where"]], 5, 0.3)
    yield checks.check("and nothing is reported of it", quiet, json.dumps(services.problems(cluster, "node1")))
