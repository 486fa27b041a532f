"""Our agents and operator as processes of a Kubernetes cluster's nodes, each with a service account's token."""
import base64
import json
import pathlib
import signal

from lib.checks import wait_until
from lib.sandbox import CommandFailed

from .cluster import CONTROL, ROOT, TAINT

NAMESPACE = "kube-system"
AGENT_ACCOUNT, OPERATOR_ACCOUNT = "cilium", "cilium-operator"
AGENT_FLAGS = ["--object-store=kubernetes:", "--enable-ipv4=true", "--enable-ipv6=true", "--routing-mode=tunnel", "--tunnel-protocol=vxlan",
               "--kube-proxy-replacement=true", "--write-cni-conf-when-ready=/etc/cni/net.d/05-cilium.conflist"]
# Garbage is collected as soon as a test can wait for it.
OPERATOR_FLAGS = ["--object-store=kubernetes:", "--enable-ipv4=true", "--enable-ipv6=true", "--cilium-endpoint-gc-interval=5s", "--identity-gc-interval=5s",
                  "--identity-heartbeat-timeout=10s"]


class Axoneme:
    def __init__(self, cluster, agent_flags=(), operator_flags=()):
        self.cluster, self.agent_flags, self.operator_flags = cluster, list(agent_flags), list(operator_flags)
        self.operators = [CONTROL, cluster.node_names[0]]  # machines that run one

    def install(self):
        """RBAC, accounts, the operator, the agents; until every node is ready."""
        self.apply_rbac()
        for account in (AGENT_ACCOUNT, OPERATOR_ACCOUNT):
            self.cluster.pki.token_kubeconfig(account, self.token(account))
        for machine in self.operators:
            self.start_operator(machine)
        for node in self.cluster.node_names:
            self.start_agent(node)
        self.wait_ready()
        # The operator does that for nodes whose agents are pods.
        for node in self.cluster.node_names:
            self.cluster.kubectl("taint", "node", node, f"{TAINT}-")

    def apply_rbac(self):
        """As the chart has it."""
        self.cluster.apply(rbac())

    def token(self, account):
        """Of the secret that the controller manager makes for each service account."""
        api = self.cluster.api

        def secret():
            names = (api.find("v1", "ServiceAccount", NAMESPACE, account) or {}).get("secrets", [])
            return names and api.find("v1", "Secret", NAMESPACE, names[0]["name"])

        found = api.wait_for(secret, 30)
        if not found:
            raise CommandFailed(["token", account], 1, "", f"service account {account} got no token")
        return base64.b64decode(found["data"]["token"]).decode()

    # agents
    def agent(self, node):
        return self.cluster.processes[f"agent-{node}"]

    def start_agent(self, node, *flags):
        return self.cluster.run_in(node, f"agent-{node}", [
            self.cluster.bin / "axoneme-agent", *AGENT_FLAGS, f"--k8s-node-name={node}", f"--k8s-kubeconfig-path={self.cluster.pki.path(AGENT_ACCOUNT + '.kubeconfig')}",
            *self.agent_flags, *flags], {"K8S_NODE_NAME": node})

    def stop_agent(self, node, number=signal.SIGTERM):
        self.agent(node).end(number)

    def healthy(self, node):
        """Whether the agent answers and says that all is well."""
        done = self.cluster.exec(node, "axoneme", "status", "-o", "json", check=False)
        if done.returncode != 0:
            return False
        return json.loads(done.stdout).get("cilium", {}).get("state") == "Ok"

    def wait_ready(self, seconds=180):
        for node in self.cluster.node_names:
            if not wait_until(lambda: self.healthy(node) or not self.agent(node).alive(), seconds, 0.1) or not self.agent(node).alive():
                raise CommandFailed([f"agent-{node}"], self.agent(node).process.poll(), "", f"not healthy within {seconds} s; its log ends:\n{self.cluster.log(f'agent-{node}')[-3000:]}")
            if not self.cluster.api.wait_for(lambda: self.cluster.node_ready(node), seconds):
                raise CommandFailed([f"kubelet-{node}"], 1, "", f"the node is not ready: {self.cluster.conditions(node).get('Ready')}")

    # operators
    def operator(self, machine):
        return self.cluster.processes[f"operator-{machine}"]

    def start_operator(self, machine, *flags):
        return self.cluster.run_in(machine, f"operator-{machine}", [
            self.cluster.bin / "axoneme-operator", *OPERATOR_FLAGS, f"--k8s-kubeconfig-path={self.cluster.pki.path(OPERATOR_ACCOUNT + '.kubeconfig')}",
            *self.operator_flags, *flags], {"POD_NAME": f"operator-{machine}", "K8S_NODE_NAME": machine})

    # objects
    def endpoint(self, namespace, pod):
        return self.cluster.api.find("cilium.io/v2", "CiliumEndpoint", namespace, pod)

    def identity_of(self, namespace, pod):
        return ((self.endpoint(namespace, pod) or {}).get("status", {}).get("identity") or {}).get("id")


def rbac():
    """Service accounts and roles of the chart's manifests."""
    texts = []
    for path in sorted(pathlib.Path(ROOT / "deploy/kubernetes").glob("*.yaml")):
        texts += [text for text in path.read_text().split("\n---") if any(f"\nkind: {kind}\n" in f"\n{text}\n" for kind in (
            "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"))]
    return "\n---\n".join(texts)
