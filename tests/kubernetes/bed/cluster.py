"""A Kubernetes cluster on sandbox machines: a control-plane machine, and nodes with containerd and a kubelet each."""
import concurrent.futures
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/kubernetes"), str(ROOT / "tests/cluster")]

import build as programs  # noqa: E402
from lib.sandbox import Cluster, CommandFailed  # noqa: E402

from . import control_plane, images, netns, node as node_programs  # noqa: E402
from .api import Api  # noqa: E402
from .pki import Authority  # noqa: E402

CONTROL = "control"
TAINT = "node.cilium.io/agent-not-ready"
COMPONENTS = tuple(name for name in programs.PROGRAMS if name != "kube-proxy")


class Running:
    """A process of the cluster, in a session of its own so that it outlives the harness when it is told to."""

    def __init__(self, name, command, log, environment):
        self.name, self.log = name, log
        with open(log, "a") as out:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                            env=dict(os.environ, **environment))

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def send(self, number):
        if self.alive():
            self.process.send_signal(number)

    def end(self, number=signal.SIGKILL, seconds=20):
        self.send(number)
        self.process.wait(seconds)


class KubernetesCluster(Cluster):
    def __init__(self, build, name, **options):
        """Options: nodes (a number), families, mtu, own_processes (nodes with a process namespace each)."""
        super().__init__(build, name, **dict(options, processes=False))
        self.node_names = [f"node{number}" for number in range(1, options.get("nodes", 2) + 1)]
        self.processes = {}
        self.folder = None
        self.timings = {}
        self.log_starts = {}
        self.pod_namespaces = {}  # pods that were entered: name -> (node, pinned namespace)

    # life
    def up(self):
        self.programs = programs.binaries(COMPONENTS)
        started = time.monotonic()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"axoneme-{self.name}-"))
        self.folder.chmod(0o755)
        self.make_machines()
        self.machines = super().addresses()
        self.server = f"https://{self.machines[CONTROL]['ipv4']}:{control_plane.PORT}"
        self.pki = Authority(self.folder / "pki", self.server)
        control_plane.make_credentials(self.pki, self.machines[CONTROL])
        node_programs.make_credentials(self.pki, self.node_names)
        pin = f"/run/axoneme/sandbox/{self.name}/machines/nodes/{CONTROL}/net"
        self.api = Api("127.0.0.1", control_plane.PORT, self.pki.path("ca.crt"), self.pki.path("admin.crt"), self.pki.path("admin.key"),
                       dial=lambda: netns.connected(pin, "127.0.0.1", control_plane.PORT))
        self.start_control_plane()
        archive = self.folder / "images.tar"
        images.write_archive(archive, self.traffic)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: self.start_node(node, archive), self.node_names))
        self.timings["up"] = time.monotonic() - started

    def make_machines(self):
        spec = {"name": self.name, "families": self.families, "mtu": self.options.get("mtu", 1500), "nodes": [{"name": name} for name in (CONTROL, *self.node_names)]}
        self.sandbox("up", "--no-processes", "-f", "-", stdin=json.dumps(spec))

    def down(self, keep_logs=None):
        for server in list(self.servers.values()) + self.background:
            server.kill()
        self.servers, self.background = {}, []
        if keep_logs:
            self.keep_logs(keep_logs)
        # What agents attach and pin is the namespaces', and goes with them.
        done = self.sandbox("down")
        for running in self.processes.values():
            running.process.wait(20)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        return done

    def keep_logs(self, folder):
        if self.folder and (self.folder / "logs").exists():
            shutil.copytree(self.folder / "logs", folder, dirs_exist_ok=True)

    # processes
    def run_in(self, machine, name, words, environment=None):
        """A process on a machine, whose output is logs/NAME.log."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        self.processes[name] = Running(name, self.exec_command(machine, *words), logs / f"{name}.log", environment or {})
        return self.processes[name]

    def log(self, name):
        return (self.folder / f"logs/{name}.log").read_text(errors="replace")

    def mark_log(self, name):
        self.log_starts[name] = len(self.log(name))

    def log_since(self, name):
        """Lines of a process's log that came after mark_log."""
        return self.log(name)[self.log_starts.get(name, 0):].splitlines()

    def must(self, what, condition, seconds, process):
        if not self.api.wait_for(lambda: condition() or not self.processes[process].alive(), seconds) or not self.processes[process].alive():
            raise CommandFailed([process], self.processes[process].process.poll(), "", f"{what}: not within {seconds} s; its log ends:\n{self.log(process)[-3000:]}")

    def start_control_plane(self):
        self.exec(CONTROL, "sh", "-ec", "mkdir -p /var/lib/etcd && mount -t tmpfs -o size=3g,mode=700 tmpfs /var/lib/etcd")
        self.run_in(CONTROL, "etcd", control_plane.etcd(self.programs["etcd"]))
        self.start_api_server()
        self.must("the API server is ready", self.api.ready, 90, "kube-apiserver")
        self.run_in(CONTROL, "kube-controller-manager", control_plane.controller_manager(self.programs["kube-controller-manager"], self.pki))
        self.run_in(CONTROL, "kube-scheduler", control_plane.scheduler(self.programs["kube-scheduler"], self.pki))
        # Pods need it, and a kubelet's first one would fail without.
        self.must("service accounts", lambda: self.api.find("v1", "ServiceAccount", "default", "default"), 60, "kube-controller-manager")

    def start_api_server(self):
        return self.run_in(CONTROL, "kube-apiserver", control_plane.api_server(self.programs["kube-apiserver"], self.pki, self.machines[CONTROL],
                                                                                        self.folder / "logs/audit.log", [control_plane.DUAL]))

    def audit(self, since):
        """Requests of kube-system's service accounts after a point in time (seconds since the epoch)."""
        events = []
        for line in (self.folder / "logs/audit.log").read_text().splitlines():
            event = json.loads(line)
            at = datetime.datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00")).timestamp()
            if at >= since:
                events.append(event)
        return events

    def start_node(self, node, archive):
        self.exec(node, "sh", "-ec", node_programs.prepare_script(self.programs), stdin=node_programs.containerd_configuration(self.programs))
        self.run_in(node, f"containerd-{node}", node_programs.containerd(self.programs, self.options.get("own_processes")))
        self.must("containerd answers", lambda: self.exec(node, self.programs["ctr"], "version", check=False).returncode == 0, 30, f"containerd-{node}")
        self.import_image(node, archive)
        self.start_kubelet(node)
        self.must("the node is registered", lambda: self.api.find("v1", "Node", None, node), 60, f"kubelet-{node}")

    def import_image(self, node, archive):
        self.exec(node, self.programs["ctr"], "-n", "k8s.io", "images", "import", archive, timeout=120)

    def start_kubelet(self, node):
        return self.run_in(node, f"kubelet-{node}", node_programs.kubelet(self.programs["kubelet"], self.pki, node, self.machines[node]))

    # nodes
    def conditions(self, node):
        """The node's conditions by type."""
        thing = self.api.find("v1", "Node", None, node) or {}
        return {item["type"]: item for item in thing.get("status", {}).get("conditions", [])}

    def taints(self, node):
        return [taint["key"] for taint in self.api.get("v1", "Node", None, node)["spec"].get("taints", [])]

    def node_ready(self, node):
        return self.conditions(node).get("Ready", {}).get("status") == "True"

    # pods
    def pods(self, namespace, selector=""):
        """Pods that are not on their way out."""
        return [pod for pod in self.api.list("v1", "Pod", namespace, selector) if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, namespace, selector=""):
        return [pod for pod in self.pods(namespace, selector) if any(
            item["type"] == "Ready" and item["status"] == "True" for item in pod.get("status", {}).get("conditions", []))]

    def wait_pods(self, namespace, count, seconds=60, selector=""):
        """So many pods, all of them ready; raises with what they say when they are not."""
        found = self.api.wait_for(lambda: len(self.pods(namespace, selector)) == len(self.ready_pods(namespace, selector)) == count
                                  and self.ready_pods(namespace, selector), seconds)
        if not found:
            events = [f"{event['involvedObject']['name']}: {event['message']}" for event in self.api.list("v1", "Event", namespace) if event["type"] != "Normal"]
            raise CommandFailed(["wait", namespace, selector], 1, "", f"{len(self.ready_pods(namespace, selector))} of {count} pods ready after {seconds} s; {events[-5:]}")
        return found

    def enter_pod(self, pod):
        """Lets exec, serve, probe and the like work on the pod by its name, in its network namespace."""
        name, node, address = pod["metadata"]["name"], pod["spec"]["nodeName"], pod["status"]["podIP"]
        find = f'for n in /run/netns/cni-*; do ip -n ${{n##*/}} -o address show dev eth0 2>/dev/null | grep -q " {address}/" && echo $n; done; true'
        pins = self.exec(node, "sh", "-c", find).stdout.split()
        if len(pins) != 1:
            raise CommandFailed(["enter", name], 1, "", f"pod {name} with {address} on {node}: network namespaces {pins}")
        self.pod_namespaces[name] = (node, pins[0])
        return name

    def exec_command(self, where, *words):
        if where in self.pod_namespaces:
            node, pin = self.pod_namespaces[where]
            return super().exec_command(node, "nsenter", f"--net={pin}", "--", *words)
        return super().exec_command(where, *words)

    def pod_addresses(self, pod):
        return {"ipv6" if ":" in item["ip"] else "ipv4": item["ip"] for item in pod["status"].get("podIPs", [])}

    # commands
    def kubectl(self, *words, check=True, stdin=None, timeout=120):
        return self.exec(CONTROL, self.programs["kubectl"], f"--kubeconfig={self.pki.path('admin.kubeconfig')}", *words, check=check, stdin=stdin, timeout=timeout)

    def apply(self, text, raw=None):
        return self.kubectl("apply", "-f", "-", stdin=text if isinstance(text, str) else json.dumps(text))
