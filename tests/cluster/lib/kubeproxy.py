"""A cluster without us: plain routed pods on the sandbox's machines, and services by kube-proxy; with the same manners as ours."""
import json
import pathlib
import subprocess
import sys

from .checks import wait_until
from .sandbox import Cluster, CommandFailed

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/kubernetes"))
sys.path.insert(0, str(ROOT / "tests/kernels"))

import build as kubernetes_build  # noqa: E402
from image import Unavailable  # noqa: E402, F401

API_SERVER = ROOT / "tests/kubeproxy/apiserver.py"
API_PORT = 18080
STORE_IN_NODE = "/var/lib/axoneme/store"
POD_CIDRS = {"ipv4": "10.61.0.0/16", "ipv6": "fd00:61::/48"}


def configuration(node, cluster_cidrs, mode="iptables"):
    return {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "bindAddress": "0.0.0.0", "hostnameOverride": node, "mode": mode,
            "clientConnection": {"contentType": "application/json", "acceptContentTypes": "application/json"}, "clusterCIDR": ",".join(cluster_cidrs),
            "featureGates": {"IPv6DualStack": len(cluster_cidrs) > 1}, "oomScoreAdj": 0, "healthzBindAddress": "", "metricsBindAddress": "",
            # Connection tracking's sizes belong to the machine, not to a namespace.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "iptables": {"minSyncPeriod": "0s", "syncPeriod": "30s"}}


def program():
    """Path of kube-proxy. Raises Unavailable with the reason when it is not there and cannot be built."""
    return kubernetes_build.binaries(["kube-proxy"])["kube-proxy"]


def start_proxy(cluster, node, cluster_cidrs=None, mode="iptables"):
    """kube-proxy and what it takes for an API server, on one node of any sandbox cluster. Ends with the cluster."""
    binary = program()
    addresses = cluster.addresses()
    nodes = [f"--node={name}={','.join(addresses[name].values())}" for name in cluster.nodes()]
    cidrs = cluster_cidrs or [POD_CIDRS[family] for family in ("ipv4", "ipv6") if family in addresses[node]]
    cluster.exec(node, "sh", "-c", "cat > /run/kube-proxy.conf", stdin=json.dumps(configuration(node, cidrs, mode)))
    cluster.background.append(cluster.background_in(node, sys.executable, API_SERVER, "--store", STORE_IN_NODE, "--listen", f"127.0.0.1:{API_PORT}", *nodes))
    # Its log stays on the node, and in a pipe nobody reads it would stop it.
    process = subprocess.Popen([str(word) for word in cluster.exec_command(
        node, "sh", "-c", 'exec "$0" --config /run/kube-proxy.conf --master "$1" >/run/kube-proxy.log 2>&1', binary, f"http://127.0.0.1:{API_PORT}")],
        stdin=subprocess.DEVNULL)
    cluster.background.append(Running(process))
    if not wait_until(lambda: "KUBE-SERVICES" in cluster.exec(node, "iptables-save", "-t", "nat", check=False).stdout, 20, 0.1):
        raise CommandFailed(["kube-proxy"], process.poll(), "", proxy_log(cluster, node)[-2000:])


def proxy_log(cluster, node):
    return cluster.exec(node, "cat", "/run/kube-proxy.log", check=False).stdout


class Running:
    def __init__(self, process):
        self.process = process

    def kill(self):
        self.process.kill()
        self.process.wait()


class PlainCluster(Cluster):
    """Machines and wires of a sandbox; pods are namespaces of their node, routed one by one, as simple network plugins do it."""

    def __init__(self, build, name, **options):
        super().__init__(build, name, **dict(options, processes=False))
        self.pods = {}  # name -> {node, addresses}
        self.numbers = {}  # node -> how many pods

    def up(self):
        done = super().up()
        self.machines = super().addresses()
        for number, node in enumerate(self.nodes(), 1):
            # A range of its own on each node; the gateway and the other nodes know the way.
            for machine in ["underlay", *(other for other in self.nodes() if other != node)]:
                for family, prefix in (("ipv4", f"10.61.{number}.0/24"), ("ipv6", f"fd00:61:0:{number}::/64")):
                    if family in self.machines[node]:
                        self.exec(machine, "ip", "route", "replace", prefix, "via", self.machines[node][family])
        return done

    def exec_command(self, where, *words):
        if where in self.pods:
            return super().exec_command(self.pods[where]["node"], "ip", "netns", "exec", where, *words)
        return super().exec_command(where, *words)

    def add_pod(self, name, node, **unused):
        number = self.nodes().index(node) + 1
        host = self.numbers[node] = self.numbers.get(node, 9) + 1
        addresses = {"ipv4": f"10.61.{number}.{host}", "ipv6": f"fd00:61:0:{number}::{host:x}"}
        addresses = {family: address for family, address in addresses.items() if family in self.machines[node]}
        device = f"veth-{name}"
        lines = [f"ip netns add {name}", f"ip link add {device} type veth peer name eth0 netns {name}", f"ip link set {device} up",
                 f"ip -n {name} link set lo up", f"ip netns exec {name} sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0",
                 f"ip -n {name} link set eth0 up"]
        if "ipv4" in addresses:
            lines += [f"sysctl -qw net.ipv4.conf.{device}.proxy_arp=1", f"ip -n {name} address add {addresses['ipv4']}/32 dev eth0",
                      f"ip -n {name} route add 169.254.1.1 dev eth0 scope link", f"ip -n {name} route add default via 169.254.1.1",
                      f"ip route add {addresses['ipv4']}/32 dev {device}"]
        if "ipv6" in addresses:
            lines += [f"ip address add fe80::1/64 dev {device} nodad", f"ip -n {name} address add {addresses['ipv6']}/128 dev eth0 nodad",
                      f"ip -n {name} route add default via fe80::1 dev eth0", f"ip route add {addresses['ipv6']}/128 dev {device}"]
        self.exec(node, "sh", "-ec", "\n".join(lines))
        self.pods[name] = {"name": name, "node": node, "addresses": addresses}
        return self.pods[name]

    def status(self):
        status = super().status()
        status["pods"] = [{"name": pod["name"], "node": pod["node"], "namespace": "default", "addresses": list(pod["addresses"].values())} for pod in self.pods.values()]
        return status

    def addresses(self):
        return {**self.machines, **{name: pod["addresses"] for name, pod in self.pods.items()}}
