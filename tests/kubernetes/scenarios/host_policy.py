"""The node's firewall, where the API server is what a policy cuts the node off from."""
from bed.axoneme import Axoneme
from lib import checks
from lib.scenario import scenario

POLICIES = "cilium.io/v2", "CiliumClusterwideNetworkPolicy"
ASK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"


@scenario(cost=110, alone=True, only_by_name=True)
def host_policy_that_cuts_off_the_api_server(context):
    """It goes by itself within a minute, and the node says so; other nodes, which answer all the while, are no consolation."""
    cluster = context.own_cluster(nodes=2)
    axoneme = Axoneme(cluster, agent_flags=["--enable-host-firewall=true"])
    axoneme.install()
    node, other = cluster.node_names
    host, port = cluster.server.removeprefix("https://").rsplit(":", 1)

    def reaches(machine):
        return cluster.exec(machine, "python3", "-c", ASK, host, port, check=False).returncode == 0

    def rejected():
        return str(cluster.cli_json(node, "status")["axoneme"].get("rejected-objects", []))

    yield checks.check("the node reaches the API server", reaches(node))
    denial = {"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": node}}, "egressDeny": [{"toEntities": ["kube-apiserver"]}],
              "enableDefaultDeny": {"egress": False}}
    cluster.api.apply({"apiVersion": POLICIES[0], "kind": POLICIES[1], "metadata": {"name": "cut"}, "spec": denial})
    yield checks.check("it does what it says", checks.wait_until(lambda: not reaches(node), 15, 0.1))
    yield checks.check("and not to the other node", reaches(other))
    yield checks.check("within a minute the node is back", checks.wait_until(lambda: reaches(node), 60, 0.5))
    said = rejected()
    yield checks.check(f"and says why: {said}", "rolled back" in said, said)
    cluster.api.delete(*POLICIES, None, "cut")
    yield checks.check("gone, the status forgets it", checks.wait_until(lambda: "rolled back" not in rejected(), 20, 0.5), rejected())
    yield checks.check("and the node stays", reaches(node))
