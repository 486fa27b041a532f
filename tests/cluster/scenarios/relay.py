"""One relay over the agents of a cluster, and what the command line shows of it."""
import subprocess

from lib import checks
from lib.policy import cilium, endpoints, text_of
from lib.sandbox import PORT
from lib.scenario import scenario

ONLY_APP1 = cilium("only-app1", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app1")]}]})


def start_relay(cluster, node):
    program = cluster.bin / "axoneme-relay"
    return subprocess.Popen([str(word) for word in cluster.exec_command(
        node, program, "--config=/dev/null", "--peer-service=unix:///var/run/cilium/hubble.sock", "--listen-address=127.0.0.1:4245",
        "--web-listen-address=", "--disable-client-tls", "--disable-server-tls", "--retry-timeout=1s", "--sort-buffer-drain-timeout=200ms")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@scenario(cost=20)
def relay_over_two_nodes(context):
    cluster = context.cluster(nodes=2)
    cluster.add_pod("nginx", "node2", "app=nginx")
    cluster.add_pod("app1", "node1", "app=app1")
    cluster.add_pod("app2", "node1", "app=app2")
    cluster.serve("nginx")
    relay = start_relay(cluster, "node1")
    try:
        def hubble(*words):
            return cluster.cli("node1", "hubble", *words, "--server", "127.0.0.1:4245", check=False)

        yield checks.check("the relay is connected to both nodes", checks.wait_until(lambda: "Connected Nodes: 2/2\n" in hubble("status"), 20, 0.3), hubble("status"))
        yield checks.check("it lists them", hubble("list", "nodes").count("Connected ") == 2, hubble("list", "nodes"))
        cluster.apply(text_of([ONLY_APP1]))
        address = cluster.addresses()["nginx"]["ipv4"]

        def connect(pod):
            cluster.exec(pod, "python3", "-c", f"import socket; socket.create_connection(('{address}', {PORT}), 1)", check=False)

        def flows(*words):
            return hubble("observe", "--last", "200", "--print-node-name", *words)

        def denied():
            connect("app2")
            return "Policy denied DROPPED" in flows("--from-pod", "app2", "--verdict", "DROPPED")

        yield checks.check("a drop on one node is seen from the other", checks.wait_until(denied, 15, 0.5), flows("--from-pod", "app2"))
        text = flows("--from-pod", "app2", "--verdict", "DROPPED", "--type", "drop", "--explain")
        yield checks.check("the node and the ends are named", "node2]: default/app2:" in text and "default/nginx:" in text, text)
        yield checks.check("why it was dropped, and what would allow it", "only-app1" in text and "kind: CiliumNetworkPolicy" in text and "app: app2" in text, text)
        # The policy that is shown does what it says.
        lines = text.split("    allowed by:\n", 1)[1].splitlines()
        end = next((number for number, line in enumerate(lines) if not line.startswith("      ")), len(lines))
        cluster.apply("\n".join(line[6:] for line in lines[:end]) + "\n")
        connect("app1")

        def allowed():
            connect("app2")
            return "FORWARDED" in hubble("observe", "--last", "5", "--from-pod", "app2", "--to-pod", "nginx", "--type", "trace:to-endpoint")

        yield checks.check("with that policy the traffic passes", checks.wait_until(allowed, 15, 0.5), flows("--from-pod", "app2"))
        both = flows("--from-pod", "app1", "--to-pod", "nginx")
        yield checks.check("one connection is seen on both nodes", "node1]:" in both and "node2]:" in both, both)
    finally:
        relay.terminate()
        relay.wait(10)
