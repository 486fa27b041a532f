"""containerd on a machine of a cluster, asked for pods as a kubelet asks: by the container runtime interface."""
import json
import pathlib
import sys

from .checks import wait_until
from .sandbox import CommandFailed

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "kubernetes")]

from bed import images, node as node_programs  # noqa: E402
from bed.cluster import Running  # noqa: E402
from bed.node import CONTAINERD_SOCKET  # noqa: E402

READY_SECONDS = 30


class Containerd:
    """Its programs and images are the API server's Kubernetes' (tests/kubernetes/newest.py). Ends with the cluster."""

    def __init__(self, cluster, node):
        self.cluster, self.node, self.programs = cluster, node, cluster.programs()
        self.name = f"containerd-{node}"
        cluster.exec(node, "sh", "-ec", node_programs.prepare_script(self.programs), stdin=node_programs.containerd_configuration(self.programs))
        self.start()
        archive = cluster.folder / "images.tar"
        images.write_archive(archive, cluster.traffic)
        cluster.exec(node, self.programs["ctr"], "-n", "k8s.io", "images", "import", archive, timeout=120)

    def start(self):
        self.cluster.processes[self.name] = Running(self.name, self.cluster.exec_command(self.node, *node_programs.containerd(self.programs)),
                                                    self.cluster.folder / f"logs/{self.name}.log", {})
        if not wait_until(lambda: self.ask("ready", check=False), READY_SECONDS, 0.3):
            raise CommandFailed(["containerd"], 1, "", f"does not answer; its log ends:\n{self.cluster.log(self.name)[-2000:]}")

    def kill(self):
        self.cluster.processes[self.name].end()

    def ask(self, *words, check=True):
        done = self.cluster.exec(self.node, self.programs["cri_pods"], CONTAINERD_SOCKET, *words, check=check, timeout=150)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def why_not(self, *words):
        """The error of what must fail; empty when it did not."""
        done = self.cluster.exec(self.node, self.programs["cri_pods"], CONTAINERD_SOCKET, *words, check=False, timeout=150)
        return done.stderr if done.returncode != 0 else ""

    def run(self, pod, *ports, failing=False):
        """A pod that is an object already: what ADD gave it."""
        about = pod["metadata"]
        words = ("run", about["namespace"], about["name"], about["uid"], images.TEST, *ports)
        return self.why_not(*words) if failing else self.ask(*words)

    def stop(self, made):
        self.ask("stop", made["sandbox"])
