"""Traffic between what runs in the cluster, and what is asked of it."""
from lib import checks
from lib.sandbox import Background

from . import workloads
from .cluster import ROOT
from .workloads import PORT, RATES_PORT

CLIENT = ROOT / "tests/kubernetes/connections.py"


def tcp(address, port=PORT, label="", timeout=2000):
    return {"to": address, "port": port, "kind": "tcp", "timeout-ms": timeout, "label": label}


def reaches(cluster, where, address, port=PORT):
    """One new connection: whether it was answered."""
    return cluster.probe(where, [tcp(address, port, timeout=1000)])[0]["ok"]


def becomes(cluster, where, address, wanted, seconds=15, port=PORT):
    """Waits until connections are answered, or are not."""
    return checks.wait_until(lambda: reaches(cluster, where, address, port) == wanted, seconds, 0.2)


def web_and_client(cluster, namespace):
    """Deployment and Service "web" and, on the first node, a pod "client" that is entered; the Service's address."""
    cluster.api.create(workloads.deployment("web", namespace, 2))
    cluster.api.create(workloads.service("web", namespace))
    cluster.api.create(workloads.pod("client", namespace, node=cluster.node_names[0]))
    cluster.wait_pods(namespace, 2, 90, "app=web")
    cluster.enter_pod(cluster.wait_pods(namespace, 1, 60, "app=client")[0])
    return cluster.api.get("v1", "Service", namespace, "web")["spec"]["clusterIP"]


class Load:
    """New TCP connections at a steady rate until it is ended."""

    def __init__(self, cluster, where, address, port=RATES_PORT, per_second=50):
        self.cluster, self.what = cluster, f"{where} → {address}"
        self.program = Background(cluster.exec_command(where, CLIENT, address, port, per_second))
        cluster.background.append(self.program)

    def end(self):
        result = self.program.finish()
        self.cluster.background.remove(self.program)
        return result

    def without_an_error(self, during):
        result = self.end()
        return checks.check(f"{self.what}: {result['made']} new connections during {during}, {result['failed']} failed, longest gap {result['longest-ms']} ms",
                            result["failed"] == 0 and result["made"] > 20, result)


class Streams:
    """UDP datagrams and one TCP connection per pair, that run until they are ended; nothing may get lost."""

    def __init__(self, cluster, pairs, rate=200):
        """pairs: (machine, address)."""
        self.cluster, self.running = cluster, []
        for where, address in pairs:
            # The first packets of a flow meet neighbours that are not resolved yet.
            cluster.probe(where, [tcp(address), dict(tcp(address), kind="udp", bytes=64)])
            for kind, mode, per_second in (("UDP", "load", rate), ("TCP", "stream", rate // 5)):
                self.running.append((f"{where} → {address}", kind, cluster.start(where, mode, "--to", address, "--port", PORT, "--per-second", per_second)))

    def nothing_lost(self, during):
        for name, kind, program in self.running:
            result = program.finish()
            self.cluster.background.remove(program)
            if kind == "UDP":
                yield checks.check(f"{name}: {result['sent']} UDP datagrams during {during}, {result['lost']} lost", result["lost"] == 0 and result["sent"] > 100, result)
            else:
                yield checks.check(f"{name}: TCP connection alive during {during}, {result['rounds']} rounds", result["alive"] and result["rounds"] > 20, result)
        self.running = []
