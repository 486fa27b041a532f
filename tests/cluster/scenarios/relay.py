"""One relay over the agents of a cluster, and what the command line shows of it."""
import json
import urllib.parse
import urllib.request

from lib import checks
from lib.policy import cilium, endpoints, text_of
from lib.sandbox import PORT
from lib.scenario import scenario
from scenarios.hubble_go import ask

ONLY_APP1 = cilium("only-app1", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app1")]}]})


def start_relay(cluster, *words):
    """Where this machine sees its page."""
    return json.loads(cluster.sandbox("-o", "json", "relay", "start", *words).stdout)["url"]


def read(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def web_flows(url, **filter_):
    """What the relay's web API tells of flows like this one."""
    asked = f"{url}api/v1/flows?last=200&filter={urllib.parse.quote(json.dumps(filter_))}"
    return [flow for line in read(asked).splitlines() for flow in json.loads(line).get("flows", ())]


def connect(cluster, source, destination):
    """Once, at each of its addresses; whether it gets through is for the flows to say."""
    for address in cluster.addresses()[destination].values():
        cluster.exec(source, "python3", "-c", f"import socket; socket.create_connection(('{address}', {PORT}), 1)", check=False)


def hubble_on(cluster, node):
    return lambda *words: cluster.cli(node, "hubble", *words, "--server", "127.0.0.1:4245", check=False)


@scenario(cost=20, dir_only="the sandbox starts its relay over the folder")
def relay_over_two_nodes(context):
    cluster = context.cluster(nodes=2)
    cluster.add_pod("nginx", "node2", "app=nginx")
    cluster.add_pod("app1", "node1", "app=app1")
    cluster.add_pod("app2", "node1", "app=app2")
    cluster.serve("nginx")
    url = start_relay(cluster, "--port", "0", "--flag=--retry-timeout=1s", "--flag=--sort-buffer-drain-timeout=200ms")
    hubble = hubble_on(cluster, "node1")
    yield checks.check("the relay is connected to both nodes", checks.wait_until(lambda: "Connected Nodes: 2/2\n" in hubble("status"), 20, 0.3), hubble("status"))
    yield checks.check("it lists them", hubble("list", "nodes").count("Connected ") == 2, hubble("list", "nodes"))
    cluster.apply(text_of([ONLY_APP1]))
    def flows(*words):
        return hubble("observe", "--last", "200", "--print-node-name", *words)

    def denied():
        connect(cluster, "app2", "nginx")
        return "Policy denied DROPPED" in flows("--from-pod", "app2", "--verdict", "DROPPED")

    yield checks.check("a drop on one node is seen from the other", checks.wait_until(denied, 15, 0.5), flows("--from-pod", "app2"))
    text = flows("--from-pod", "app2", "--verdict", "DROPPED", "--type", "drop", "--explain")
    yield checks.check("the node and the ends are named", "node2]: default/app2:" in text and "default/nginx:" in text, text)
    yield checks.check("why it was dropped, and what would allow it", "only-app1" in text and "kind: CiliumNetworkPolicy" in text and "app: app2" in text, text)
    # The policy that is shown does what it says.
    lines = text.split("    allowed by:\n", 1)[1].splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("      ")), len(lines))
    cluster.apply("\n".join(line[6:] for line in lines[:end]) + "\n")
    connect(cluster, "app1", "nginx")

    def allowed():
        connect(cluster, "app2", "nginx")
        return "FORWARDED" in hubble("observe", "--last", "5", "--from-pod", "app2", "--to-pod", "nginx", "--type", "trace:to-endpoint")

    yield checks.check("with that policy the traffic passes", checks.wait_until(allowed, 15, 0.5), flows("--from-pod", "app2"))
    both = flows("--from-pod", "app1", "--to-pod", "nginx")
    yield checks.check("one connection is seen on both nodes", "node1]:" in both and "node2]:" in both, both)
    heard, problem = ask(cluster, "node1", "127.0.0.1:4245")
    yield checks.check("a client in Go is answered all that Hubble's relay answers", heard and set(heard["errors"]) <= {"GetAgentEvents", "Notify"}
                       and all("unknown" in error or "Unimplemented" in error for error in heard["errors"].values()), heard["errors"] if heard else problem)
    yield checks.check("and gets both nodes' flows", heard and heard["serving"] and heard["nodes"] == ["default/node1 NODE_CONNECTED", "default/node2 NODE_CONNECTED"]
                       and heard["pods"].get("app1", 0) > 0 and min(heard["streamed"]) >= heard["flows"] > 20, heard)
    yield checks.check("its page opens in this machine's browser", "<title>Axoneme" in read(url), read(url)[:200])
    flows_told = web_flows(url, source_pod=["default/app1"], destination_pod=["default/nginx"])
    yield checks.check("and is told of the same flows", {flow["node_name"].rpartition("/")[2] for flow in flows_told} == {"node1", "node2"}, flows_told[-2:])
    yield checks.check("status has its address", f", {url}" in cluster.sandbox("status").stdout, cluster.sandbox("status").stdout)
    again = cluster.sandbox("relay", "start", check=False)
    yield checks.check("a second one is refused", again.returncode == 1 and "relay is running already" in again.stderr, again.stderr)
    port = url.rstrip("/").rpartition(":")[2]
    cluster.sandbox("relay", "stop")
    wrong = cluster.sandbox("relay", "start", "--flag=--retry-timeout=soon", check=False)
    yield checks.check("what it says when it cannot start is shown", wrong.returncode == 1 and "the relay has ended" in wrong.stderr and "'soon'" in wrong.stderr, wrong.stderr)
    yield checks.check("started again at the same port", start_relay(cluster, "--port", port, "--node", "node2") == url)
