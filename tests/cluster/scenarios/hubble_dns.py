"""DNS as flows tell it: a real server, a real resolver, and the names that addresses then have. No proxy is in between."""
import datetime
import json
import re

from lib import agent_models, checks, services
from lib.scenario import scenario
from scenarios.hubble import metrics_of

NAME = "web.example.com"
METRICS = "--hubble-metrics=dns:query;sourceContext=pod tcp:destinationContext=dns"
STATE = "/var/run/cilium/state/dns-names.json"
# The C library's resolver with a server of its own; the pod's other files stay as they are.
RESOLVE = "t=$(mktemp); echo nameserver $1 >$t; mount --bind $t /etc/resolv.conf; rm $t; exec getent ahosts $2"


def serve_names(cluster, pod, target, name=NAME):
    """A DNS server in the pod that knows one name, and another one for it."""
    address, records = cluster.addresses()[pod], ",".join([name, *target.values()])
    return cluster.background_in(pod, "sh", "-c", "echo ready; exec dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= "
                                 f"--bind-interfaces --listen-address={','.join(address.values())} --host-record={records} --local-ttl=60 --cname=www.example.com,{name}")


def resolve(cluster, pod, server, name):
    """The addresses that the name has for the pod."""
    out = cluster.exec(pod, "unshare", "-m", "sh", "-c", RESOLVE, "resolve", server, name, check=False, timeout=30).stdout
    return {line.split()[0] for line in out.splitlines()}


def observe(cluster, node, *words):
    return [json.loads(line)["flow"] for line in cluster.exec(node, "axoneme", "observe", "--last", "100", "-o", "jsonpb", *words).stdout.splitlines()]


def messages(cluster, node, query, *words):
    """DNS flows of the pod about a name, questions and answers."""
    flows = [flow for flow in observe(cluster, node, "--protocol", "dns", *words) if flow["l7"]["dns"]["query"] == query]
    return [flow for flow in flows if flow["l7"]["type"] == "REQUEST"], [flow for flow in flows if flow["l7"]["type"] == "RESPONSE"]


def asked(cluster, node, server, where):
    """A name with both families' addresses, by a server of that family and place."""
    web = cluster.addresses()["web"]
    for family, address in server.items():
        what = f"{where}, over {checks.family_name(family)}"
        known = len(messages(cluster, node, f"{NAME}.")[1])
        found = resolve(cluster, "client", address, NAME)
        yield checks.check(f"{what}: the pod gets its answer", found == set(web.values()), found)
        told = checks.wait_until(lambda n=known: (lambda both: both if len(both[1]) >= n + 2 else None)(messages(cluster, node, f"{NAME}.")), 5, 0.2)
        yield checks.check(f"{what}: and Hubble what was asked and answered", told, messages(cluster, node, f"{NAME}."))
        if not told:
            continue
        questions, answers = told[0][-2:], told[1][-2:]
        yield checks.check(f"{what}: for both families' addresses", {flow["l7"]["dns"]["qtypes"][0] for flow in questions} == {"A", "AAAA"}, questions)
        yield checks.check(f"{what}: with the addresses and their time to live",
                           {flow["l7"]["dns"]["ips"][0] for flow in answers} == set(web.values()) and all(flow["l7"]["dns"]["ttl"] == 60 for flow in answers), answers)
        yield checks.check(f"{what}: and how long it took", all(0 < int(flow["l7"]["latency_ns"]) < 5e9 for flow in answers), answers)
        yield checks.check(f"{what}: as flows of the pod", all(flow["source"]["pod_name"] == "client" and flow["traffic_direction"] == "EGRESS" and flow["Type"] == "L7"
                                                          and flow["is_reply"] is False for flow in questions)
                           and all(flow["destination"]["pod_name"] == "client" and flow["is_reply"] is True for flow in answers), told)


@scenario(cost=25)
def hubble_dns(context):
    cluster = context.cluster(nodes=2, agent_flags=[METRICS, "--hubble-history-path=/var/run/cilium/hubble/history"])
    yield from every_way(cluster)
    yield from kept(cluster, cluster.nodes()[0])
    server = serve_names(cluster, "names", cluster.addresses()["web"])
    try:
        yield from known_over_a_restart(cluster, cluster.nodes()[0])
    finally:
        server.kill()


@scenario(cost=25)
def hubble_dns_through_the_stack(context):
    """Routed by the kernel, and Services translated in the packet's path."""
    cluster = context.cluster(nodes=2, routing="native", agent_flags=[METRICS, "--enable-host-legacy-routing=true", "--kube-proxy-replacement=true", "--bpf-lb-sock=false"])
    yield from every_way(cluster)


def every_way(cluster):
    near, far = cluster.nodes()
    for pod, node in (("client", near), ("names", far), ("names-here", near), ("web", far), ("other", near)):
        cluster.add_pod(pod, node, labels=f"app={pod}")
    cluster.serve("web")
    addresses = cluster.addresses()
    servers = [serve_names(cluster, pod, addresses["web"]) for pod in ("names", "names-here", near)]
    try:
        up = checks.wait_until(lambda: all(resolve(cluster, "other", addresses[pod]["ipv4"], NAME) for pod in ("names", "names-here", near)), 10, 0.5)
        yield checks.check("all servers answer", up)
        yield from asked(cluster, near, addresses["names"], "a server on another node")
        yield from asked(cluster, near, addresses["names-here"], "a server on this node")
        yield from asked(cluster, near, addresses[near], "a server of the node itself")
        services.Services(cluster).put("dns", 1, ("names", "names-here"), ports=(("UDP", 53),), target=53)
        ready = checks.wait_until(lambda: resolve(cluster, "other", services.cluster_ip(1)["ipv4"], NAME), 10, 0.5)
        yield checks.check("a Service stands for them", ready)
        yield from asked(cluster, near, services.cluster_ip(1), "a server behind a Service")
        yield from named(cluster, near, far)
        yield from listed(cluster, near)
        yield from failed(cluster, near)
    finally:
        for server in servers:
            server.kill()


def named(cluster, near, far):
    web = cluster.addresses()["web"]
    for family, address in web.items():
        cluster.probe("client", [{"to": address, "port": services.PORT, "kind": "tcp", "bytes": 0, "timeout-ms": 1500, "label": "x"}])
        version = {"ipv4": "IPv4", "ipv6": "IPv6"}[family]
        flows = checks.wait_until(lambda v=version: [flow for flow in observe(cluster, near, "--from-pod", "default/client", "--to-fqdn", "*.example.com", "--protocol", "tcp")
                                                     if flow["IP"]["ipVersion"] == v], 5, 0.2)
        yield checks.check(f"{version}: what the pod then sends there has the name", flows and all(flow["destination_names"] == [NAME] for flow in flows),
                           observe(cluster, near, "--from-pod", "default/client"))
        back = [flow for flow in observe(cluster, near, "--to-pod", "default/client", "--from-fqdn", NAME) if flow["IP"]["ipVersion"] == version]
        yield checks.check(f"{version}: and what comes back", back and all(flow["source_names"] == [NAME] for flow in back), back)
    cluster.probe("names-here", [{"to": web["ipv4"], "port": services.PORT, "kind": "tcp", "bytes": 0, "timeout-ms": 1500, "label": "x"}])
    others = checks.wait_until(lambda: observe(cluster, near, "--from-pod", "default/names-here", "--protocol", "tcp"), 5, 0.2)
    yield checks.check("another pod, that has not asked, does not", others and not any("destination_names" in flow for flow in others), others)
    yield checks.check("a server's node tells of its pods' own questions only", not observe(cluster, far, "--protocol", "dns"), observe(cluster, far, "--protocol", "dns"))


def listed(cluster, node):
    """What pods were answered, as cilium-dbg's `fqdn cache list` has it."""
    web = cluster.addresses()["web"]
    number = checks.endpoint_of(cluster, "client")["id"]
    whole = cluster.cli_json(node, "fqdn", "cache", "list")
    wrong = list(agent_models.problems(agent_models.parse_type("[]DNSLookup"), whole))
    yield checks.check("GET /fqdn/cache is []DNSLookup", whole and not wrong, wrong or whole)
    mine = cluster.cli_json(node, "fqdn", "cache", "list", "-e", number, "-p", "*.example.com", "-s", "lookup")
    yield checks.check("it has the pod's names and addresses", {(one["fqdn"], ip) for one in mine for ip in one["ips"]} >= {(f"{NAME}.", ip) for ip in web.values()}
                       and all(one["endpoint-id"] == number and 0 < one["ttl"] <= 60 for one in mine), mine)
    none = cluster.cli_json(node, "fqdn", "cache", "list", "-p", "*.example.org")
    bad = cluster.exec(node, "axoneme", "fqdn", "cache", "list", "-p", "a b", check=False)
    yield checks.check("a pattern that fits nothing, and one that is none", none == [] and bad.returncode != 0 and 'matchpattern: "a b"' in bad.stderr, (none, bad.stderr))
    cluster.cli(node, "fqdn", "cache", "clean", "-f", "-p", NAME)
    left = cluster.cli(node, "fqdn", "cache", "list")
    yield checks.check("names can be forgotten", f" {NAME}." not in left and left.startswith("Endpoint   Source"), left)


def failed(cluster, node):
    servers = cluster.addresses()["names"]
    resolve(cluster, "client", servers["ipv4"], "nobody.example.com")
    # Without records of its own for other names, and nobody to ask, dnsmasq refuses.
    answers = checks.wait_until(lambda: messages(cluster, node, "nobody.example.com.")[1], 5, 0.2)
    yield checks.check("an answer without addresses says why", answers and all(flow["l7"]["dns"].get("rcode", 0) in (3, 5) and "ips" not in flow["l7"]["dns"] for flow in answers), answers)
    found = resolve(cluster, "client", servers["ipv4"], "www.example.com")
    answers = checks.wait_until(lambda: messages(cluster, node, "www.example.com.")[1], 5, 0.2)
    yield checks.check("an alias is told", found and answers and any(flow["l7"]["dns"].get("cnames") == [f"{NAME}."] for flow in answers), answers)
    some = observe(cluster, node, "--allowlist", json.dumps({"dns_query": ["^nobody"]}))
    yield checks.check("questions can be filtered by expression", some and all(flow["l7"]["dns"]["query"] == "nobody.example.com." for flow in some), some)
    text = cluster.exec(node, "axoneme", "observe", "--last", "50", "--type", "l7").stdout
    yield checks.check("the compact output reads as Hubble's", f"dns-request datapath FORWARDED (DNS Query {NAME}. A)" in text
                       and "dns-response datapath FORWARDED (DNS Answer RCode:" in text, text)
    metrics = metrics_of(cluster, node)
    yield checks.check("metrics count questions and answers", f'hubble_dns_queries_total{{rcode="",qtypes="A",ips_returned="0",query="{NAME}.",source="default/client"}}' in metrics
                       and f'hubble_dns_responses_total{{rcode="No Error",qtypes="AAAA",ips_returned="1",query="{NAME}."' in metrics
                       and 'hubble_dns_response_types_total{type="CNAME",qtypes="A",query="www.example.com."' in metrics, metrics)
    yield checks.check("and name the ends of connections", f'hubble_tcp_flags_total{{flag="SYN",family="IPv4",destination="{NAME}"}}' in metrics, metrics)
    # Bytes on that port that are no DNS: nothing breaks, and they are counted.
    cluster.probe("client", [{"to": servers["ipv4"], "port": 53, "kind": "udp", "bytes": 64, "timeout-ms": 300, "label": "x"}])
    unread = checks.wait_until(lambda: re.search(r"^hubble_dns_unread_total [1-9]", metrics_of(cluster, node), re.M), 5, 0.3)
    yield checks.check("what is no DNS is counted", unread, metrics_of(cluster, node)[-300:])


def kept(cluster, node):
    before = len(messages(cluster, node, f"{NAME}.")[1])
    cluster.sandbox("agent", "stop", node)
    cluster.sandbox("agent", "start", node)
    after = checks.wait_until(lambda: (lambda found: found if len(found) >= before else None)(messages(cluster, node, f"{NAME}.", "--since", "10m")[1]), 10, 0.3)
    yield checks.check("the history has them after a restart", after, (before, messages(cluster, node, f"{NAME}.", "--since", "10m")))
    names = observe(cluster, node, "--since", "10m", "--to-fqdn", NAME)
    yield checks.check("and the names", names, names)


def known_over_a_restart(cluster, node):
    """Nothing is asked again: what the agent knew is all there is. Killed, it has what it had kept some seconds before."""
    for how in ("stop", "kill"):
        cluster.exec(node, "rm", "-f", STATE)
        checks.wait_until(lambda: resolve(cluster, "client", cluster.addresses()["names"]["ipv4"], NAME), 10, 0.5)
        # The answer is an event that the agent reads when it gets to it.
        checks.wait_until(lambda: f" {NAME}." in cluster.cli(node, "fqdn", "cache", "list"), 10, 0.3)
        if how == "kill":
            checks.wait_until(lambda: NAME in cluster.exec(node, "cat", STATE, check=False).stdout, 30, 0.5)
        cluster.sandbox("agent", how, node)
        cluster.sandbox("agent", "start", node)
        known = checks.wait_until(lambda: f" {NAME}." in cluster.cli(node, "fqdn", "cache", "list"), 5, 0.3)
        yield checks.check(f"after a {how} the next agent knows what pods were answered", known, cluster.cli(node, "fqdn", "cache", "list"))
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        cluster.probe("client", [{"to": cluster.addresses()["web"]["ipv4"], "port": services.PORT, "kind": "tcp", "bytes": 0, "timeout-ms": 1500, "label": "x"}])
        flows = checks.wait_until(lambda since=now: observe(cluster, node, "--since", since, "--from-pod", "default/client", "--to-fqdn", NAME, "--protocol", "tcp"), 5, 0.2)
        yield checks.check(f"after a {how} a new connection's flows have the name", flows, observe(cluster, node, "--from-pod", "default/client"))
