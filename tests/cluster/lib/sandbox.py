"""A cluster of the sandbox, used only through `axoneme sandbox …`."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading

import yaml

from .kinds import folder_of

PORT = 7000


class CommandFailed(Exception):
    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err
        super().__init__(f"`{' '.join(command)}` ended with {code}: {(err or out).strip()}")


def run(command, timeout=120, check=True, stdin=None):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout, input=stdin if stdin is not None else "")
    if check and done.returncode != 0:
        raise CommandFailed([str(word) for word in command], done.returncode, done.stdout, done.stderr)
    return done


class Background:
    """A program in the cluster that runs until it is told to end; its last line of output is its result."""

    def __init__(self, command):
        self.command = [str(word) for word in command]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = self.process.stdout.readline().strip()
        if line != "ready":
            self.process.wait()
            self.errors.seek(0)
            raise CommandFailed(self.command, self.process.returncode, line, self.errors.read())

    def finish(self, timeout=30):
        """Asks it to end and returns its JSON result, None when it printed none."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=timeout)
        self.errors.close()
        lines = out.strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.errors.close()


class Cluster:
    """Objects are manifests in a folder, the store that agents and operator know as `dir:`."""

    store_flags = ("--object-store=dir:/var/lib/axoneme/store",)  # of a program on a node
    prunes = False  # whether members that a kind does not have are dropped before anybody sees them
    validates = False  # whether objects are held against their kind's schema, which has done with fromRequires and toRequires

    def __init__(self, build, name, **options):
        """Options: nodes, families, routing, second_segment, mtu, timeout (s), agent_flags, operator_flags, processes."""
        self.bin = pathlib.Path(build).resolve() / "bin"
        self.axoneme = self.bin / "axoneme"
        self.traffic = self.bin / "axoneme-traffic"
        self.name, self.options = name, options
        self.families = options.get("families", "dual")
        self.servers, self.background = {}, []
        self.places = {}  # machines that `sandbox exec` knows by a longer name
        self.lock = threading.Lock()

    # life
    def up(self):
        command = ["up"]
        for key in ("nodes", "families", "routing", "mtu", "second_segment", "timeout"):
            if self.options.get(key):
                command += ["--" + key.replace("_", "-"), self.options[key]]
        for flag in self.options.get("agent_flags", []):
            command += ["--agent-flag", flag]
        for flag in self.options.get("operator_flags", []):
            command += ["--operator-flag", flag]
        if not self.options.get("processes", True):
            command += ["--no-processes"]
        return self.sandbox(*command).stdout.strip()

    def down(self, keep_logs=None):
        for server in list(self.servers.values()) + self.background:
            server.kill()
        self.servers, self.background = {}, []
        return self.sandbox("down", *(["--keep-logs", keep_logs] if keep_logs else []))

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *unused):
        self.down()

    # commands
    def command(self, *words):
        return [self.axoneme, "sandbox", "--cluster", self.name, *words]

    def sandbox(self, *words, check=True, stdin=None, timeout=120):
        return run(self.command(*words), check=check, stdin=stdin, timeout=timeout)

    def exec_command(self, where, *words):
        return [self.axoneme, "sandbox", "exec", "--cluster", self.name, self.places.get(where, where), "--", *words]

    def exec(self, where, *words, check=True, stdin=None, timeout=60):
        return run(self.exec_command(where, *words), check=check, stdin=stdin, timeout=timeout)

    def cli(self, node, *words, check=True, timeout=60):
        """Output of `axoneme …` on a node."""
        return self.exec(node, "axoneme", *words, check=check, timeout=timeout).stdout

    def cli_json(self, node, *words):
        return json.loads(self.cli(node, *words, "-o", "json"))

    def status(self):
        return json.loads(self.sandbox("-o", "json", "status").stdout)

    def log(self, process):
        return self.sandbox("logs", process).stdout

    # machines
    def nodes(self):
        return [node["name"] for node in self.status()["nodes"]]

    def add_node(self, name, wait=True):
        return self.sandbox("node", "add", name, *([] if wait else ["--no-wait"]))

    def remove_node(self, name):
        return self.sandbox("node", "del", name)

    def add_pods(self, *names, node=None, namespace="default", labels="", annotations="", ports="", parallel=False, check=True, uids=()):
        """What `pod add` says, as JSON. labels, annotations, ports: as the command takes them; uids: of Pods that an API server has."""
        for name in names:
            if namespace != "default":
                self.places[name] = f"{namespace}/{name}"
            # A pod of this name that is gone has taken its servers with it.
            for machine, port in [key for key in self.servers if key[0] == name]:
                self.servers.pop((machine, port)).kill()
        words = [*(["--node", node] if node else []), "--namespace", namespace, *(["--labels", labels] if labels else []),
                 *(["--annotations", annotations] if annotations else []), *(["--ports", ports] if ports else []), *(["--parallel"] if parallel else [])]
        return self.sandbox("-o", "json", "pod", "add", *names, *words, *[f"--uid={uid}" for uid in uids], check=check)

    def add_pod(self, name, node, labels="", host_ports=(), **how):
        """host_ports: as in the Pod's containers[].ports; the rest as add_pods has it."""
        pod = json.loads(self.add_pods(name, node=node, labels=labels, **how).stdout)["pods"][0]
        if host_ports:
            self.edit_object(f"pods/{pod['namespace']}", name, "    image: sandbox", ["    ports: " + json.dumps(host_ports)])
        return pod

    def delete_pods(self, *names, namespace="default", check=True):
        return self.sandbox("pod", "del", *names, "--namespace", namespace, check=check)

    # objects
    def api_since(self, version):
        """Whether objects keep what Kubernetes has had since a version ("1.21"); an older API server drops it without a word."""
        return True

    def way_to_objects(self):
        """Egress rules that a node's own policy needs, so that its agent goes on hearing of changes."""
        return []

    def apply(self, text, raw=None):
        """raw: the file's name in the store, for text that must not be looked at."""
        if raw is None:
            return self.sandbox("apply", "-", stdin=text)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / raw
            path.write_text(text)
            return self.sandbox("apply", "--raw", path)

    def delete(self, text):
        return self.sandbox("delete", "-", stdin=text)

    def store(self):
        return pathlib.Path(self.status()["store"])

    def apply_many(self, manifests):
        """Straight into the store, one file each, as a controller would leave them."""
        root = self.store()
        for manifest in manifests:
            path = root / folder_of(manifest["apiVersion"], manifest["kind"], manifest["metadata"].get("namespace")) / f"{manifest['metadata']['name']}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.new")
            temporary.write_text(json.dumps(manifest))
            temporary.rename(path)

    def delete_many(self, api_version, kind, namespace, names):
        root = self.store() / folder_of(api_version, kind, namespace)
        for name in names:
            (root / f"{name}.yaml").unlink()

    def find_object(self, api_version, kind, namespace, name):
        """The object, None when there is none."""
        try:
            return yaml.safe_load((self.store() / folder_of(api_version, kind, namespace) / f"{name}.yaml").read_text())
        except FileNotFoundError:
            return None

    def list_objects(self, api_version, kind):
        return [yaml.safe_load(path.read_text()) for path in sorted((self.store() / folder_of(api_version, kind)).rglob("[!.]*.yaml"))]

    def edit_object(self, folder, name, below, lines):
        """Adds lines to a manifest that the sandbox has written, below its first line that reads so."""
        path = self.store() / folder / f"{name}.yaml"
        before = path.read_text().split("\n")
        at = before.index(below) + 1
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text("\n".join(before[:at] + lines + before[at:]))
        temporary.rename(path)

    def label_node(self, node, labels):
        self.edit_object("nodes", node, "  labels:", [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in labels.items()])

    def give_pod_cidr(self, node, cidr):
        """What a controller of nodes' ranges does."""
        self.edit_object("nodes", node, "spec:", [f"  podCIDR: {cidr}", f"  podCIDRs: [{cidr}]"])

    def addresses(self):
        """Every machine of the cluster with the addresses it is to be reached at, by family."""
        status, found = self.status(), {}
        for machine in status["nodes"] + [dict(status["outside"], name="outside")]:
            found[machine["name"]] = {family: machine[family] for family in ("ipv4", "ipv6") if machine[family]}
        for pod in status["pods"]:
            found[pod["name"]] = {"ipv6" if ":" in address else "ipv4": address for address in pod["addresses"]}
        return found

    # traffic
    def serve(self, *machines, cpu=None, port=PORT):
        for machine in machines:
            if (machine, port) in self.servers:
                continue
            words = ["serve", "--port", port] + (["--cpu", cpu] if cpu is not None else [])
            self.servers[machine, port] = Background(self.exec_command(machine, self.traffic, *words))

    def stop_servers(self):
        for server in self.servers.values():
            server.kill()
        self.servers = {}

    def start(self, where, *words):
        """A load or stream in the background."""
        running = Background(self.exec_command(where, self.traffic, *words))
        self.background.append(running)
        return running

    def background_in(self, where, *words):
        """A program that says "ready" and runs until it is ended; the caller keeps it."""
        return Background(self.exec_command(where, *words))

    def probe(self, where, targets, timeout=120):
        return json.loads(self.exec(where, self.traffic, "probe", stdin=json.dumps(targets), timeout=timeout).stdout)

    def measure(self, where, mode, *words):
        return json.loads(self.exec(where, self.traffic, mode, *words).stdout)


def leftovers(name):
    """What a cluster that was taken down must not leave: a list of findings, empty when all is clean."""
    found = []
    root = pathlib.Path("/run/axoneme/sandbox") / name
    if root.exists():
        found.append(f"directory {root}")
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point == str(root) or point.startswith(f"{root}/"):
            found.append(f"mount {point}")
        kind = line.split(" - ")[1].split()[0]
        if kind == "cgroup2" and os.path.exists(f"{point}/axoneme-{name}"):
            found.append(f"cgroup {point}/axoneme-{name}")
    for process in pathlib.Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            # A zombie has ended; init collects it when it likes.
            ended = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not ended and f"/axoneme-{name}/" in (process / "cgroup").read_text():
                found.append(f"process {process.name} ({(process / 'comm').read_text().strip()})")
        except OSError:
            pass
    return found


def root_namespace():
    """Links, routes, rules and namespaces of the machine itself, which a sandbox leaves as they are."""
    state = {}
    for what in (["link"], ["-4", "route"], ["-6", "route"], ["-4", "rule"], ["-6", "rule"]):
        done = subprocess.run(["ip", "-o", *what], stdout=subprocess.PIPE, text=True)
        state[" ".join(what)] = sorted(" ".join(line.split()) for line in done.stdout.splitlines())
    return state
