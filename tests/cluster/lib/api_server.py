"""Sandbox clusters whose objects an API server keeps: etcd and kube-apiserver on the underlay, no kubelet and no controllers. For scenarios as they are."""
import concurrent.futures
import http.client
import json
import pathlib
import shutil
import sys
import tempfile

import yaml

from .sandbox import Cluster, CommandFailed

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/kubernetes")]

import build as programs  # noqa: E402
import newest  # noqa: E402
from bed import control_plane, netns  # noqa: E402
from bed.api import Api, ApiError, path_of  # noqa: E402
from bed.axoneme import AGENT_ACCOUNT, NAMESPACE, OPERATOR_ACCOUNT, rbac  # noqa: E402
from bed.cluster import Running  # noqa: E402
from bed.pki import Authority  # noqa: E402

PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
ADDRESSES = {"ipv4": "172.18.1.1", "ipv6": "fd00:18:1::1"}  # the underlay's on the nodes' first segment
# Of lib.services. The API server's own Service takes the first address, which is a scenario's: it gets another one.
SERVICE_CIDRS = {"ipv4": "10.96.0.0/16", "ipv6": "fd00:96::/112"}
KUBERNETES_IP = {"ipv4": "10.96.255.254", "ipv6": "fd00:96::fffe"}
# Nobody makes service accounts; what stands behind Service kubernetes is a scenario's.
FLAGS = ("--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none")
# Alpha in 1.20, and plain Kubernetes since.
GATES = "--feature-gates=" + ",".join(f"{gate}=true" for gate in ("IPv6DualStack", "EndpointSliceTerminatingCondition", "EndpointSliceNodeName", "ServiceLBNodePortControl",
                                                                 "MixedProtocolLBService", "ServiceTopology"))
# Families of a cluster's Services, the first one's first.
FAMILIES = {"ipv4": ("ipv4", "ipv6"), "dual": ("ipv4", "ipv6"), "ipv6": ("ipv6",)}
UP_SECONDS = 180  # on a machine that does much else
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What a manifest says and an API server decides.
DECIDED = ("uid", "creationTimestamp", "resourceVersion", "generation", "managedFields")
FOLLOWED = [("cilium.io/v2", kind) for kind in ("CiliumNode", "CiliumIdentity", "CiliumEndpoint", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup")] + [
    ("cilium.io/v2alpha1", "CiliumPodIPPool")]
# What the chart's annotateK8sNode adds to the agents' role.
ANNOTATES = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["update"]}
WITH_STATUS = ("Service", "Node", "Pod")


def beta_slice(slice_):
    """As 1.20 has it: a node's name and zone are topology, and there are no hints."""
    endpoints = []
    for endpoint in slice_.get("endpoints") or []:
        topology = {key: endpoint[field] for field, key in (("nodeName", "kubernetes.io/hostname"), ("zone", "topology.kubernetes.io/zone")) if endpoint.get(field)}
        endpoints.append({**{key: value for key, value in endpoint.items() if key not in ("zone", "hints")}, **({"topology": topology} if topology else {})})
    return dict(slice_, apiVersion="discovery.k8s.io/v1beta1", endpoints=endpoints)


def prepared(manifest, version):
    """The manifest as an API server of that version takes it, and its status."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in DECIDED}
    if "/namespaces/" in path_of(manifest["apiVersion"], manifest["kind"], "x"):
        metadata.setdefault("namespace", "default")
    thing = dict(manifest, metadata=metadata)
    if version < (1, 21) and (thing["apiVersion"], thing["kind"]) == ("discovery.k8s.io/v1", "EndpointSlice"):
        thing = beta_slice(thing)
    status = thing.pop("status", {}) if thing["kind"] in WITH_STATUS else None
    return thing, status


def pairs(text):
    """{a: b, c: d} of "a=b,c=d"."""
    return dict(item.split("=", 1) for item in text.split(",") if item)


def container_ports(text):
    found = []
    for name, port in pairs(text).items():
        number, _, protocol = port.partition("/")
        found.append({"name": name, "containerPort": int(number), "protocol": protocol or "TCP"})
    return found


class ApiServerCluster(Cluster):
    """Kubernetes 1.20, built from Debian's source package."""
    prunes = True
    validates = True
    more_flags = (control_plane.DUAL, GATES)

    @staticmethod
    def unavailable():
        """Why there is no API server to be had here, empty when there is."""
        return programs.unavailable(PROGRAMS)

    @staticmethod
    def programs():
        return programs.binaries(PROGRAMS)

    @staticmethod
    def kubernetes():
        """Its version."""
        return 1, 20

    @classmethod
    def has_since(cls, version):
        return tuple(int(part) for part in version.split(".")) <= cls.kubernetes()

    def __init__(self, build, name, **options):
        super().__init__(build, name, **options)
        self.folder, self.api, self.mirrored = None, None, {}
        self.processes = {}

    # life
    def up(self):
        paths = self.programs()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"axoneme-{self.name}-"))
        self.folder.chmod(0o755)  # nodes read kubeconfigs there
        address = ADDRESSES["ipv6" if self.families == "ipv6" else "ipv4"]
        server = f"https://{f'[{address}]' if ':' in address else address}:{control_plane.PORT}"
        self.pki = Authority(self.folder / "pki", server)
        wanted = self.options
        self.options = dict(wanted, processes=False)
        for what, account in (("agent", AGENT_ACCOUNT), ("operator", OPERATOR_ACCOUNT)):
            flags = ["--object-store=kubernetes:", f"--k8s-kubeconfig-path={self.pki.path(account + '.kubeconfig')}"]
            self.options[f"{what}_flags"] = [*flags, *wanted.get(f"{what}_flags", [])]
            if what == "agent":
                self.store_flags = tuple(flags)
        done = super().up()
        self.start_api_server(paths)
        if wanted.get("processes", True):
            self.sandbox("operator", "start")
            # An agent that starts before its kinds are defined looks for them ever more rarely.
            if not self.api.wait_for(lambda: all(self.api.list(*kind) is not None for kind in FOLLOWED), UP_SECONDS):
                raise CommandFailed(["axoneme-operator"], 1, "", f"without the definitions of its kinds after {UP_SECONDS} s; its log ends:\n{self.log('operator')[-3000:]}")
            self.sandbox("agent", "start", "--all", "--timeout", wanted.get("timeout", UP_SECONDS), timeout=2 * UP_SECONDS)
            self.mirror_nodes()
        return done

    def start_api_server(self, paths):
        control_plane.make_credentials(self.pki, ADDRESSES)
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
        for account in (AGENT_ACCOUNT, OPERATOR_ACCOUNT):
            self.pki.kubeconfig(account, f"system:serviceaccount:{NAMESPACE}:{account}", groups)
        sandbox = pathlib.Path("/run/axoneme/sandbox") / self.name
        self.run_in_underlay("etcd", control_plane.etcd(paths["etcd"], sandbox / "etcd"))
        families = FAMILIES[self.families]
        flags = [*FLAGS, *self.more_flags, "--service-cluster-ip-range=" + ",".join(SERVICE_CIDRS[family] for family in families), f"--advertise-address={ADDRESSES[families[0]]}"]
        self.run_in_underlay("kube-apiserver", control_plane.api_server(paths["kube-apiserver"], self.pki, ADDRESSES, self.folder / "audit.log", flags))
        pin = sandbox / "machines/underlay/net"
        self.api = Api("127.0.0.1", control_plane.PORT, self.pki.path("ca.crt"), self.pki.path("admin.crt"), self.pki.path("admin.key"),
                       dial=lambda: netns.connected(pin, "127.0.0.1", control_plane.PORT))
        if not self.api.wait_for(lambda: self.api.ready() or not self.alive(), UP_SECONDS) or not self.alive():
            raise CommandFailed(["kube-apiserver"], 1, "", f"not ready within {UP_SECONDS} s; its log ends:\n{self.log('kube-apiserver')[-3000:]}")
        self.move_kubernetes_service()
        for document in [item for item in yaml.safe_load_all(rbac()) if item]:
            if (document["kind"], document["metadata"]["name"]) == ("ClusterRole", AGENT_ACCOUNT) and "--annotate-k8s-node=true" in self.options["agent_flags"]:
                document["rules"].append(ANNOTATES)
            self.put(document)
        for node in super().status()["nodes"]:
            self.create_node(node)

    def run_in_underlay(self, name, words):
        (self.folder / "logs").mkdir(exist_ok=True)
        self.processes[name] = Running(name, self.exec_command("underlay", *words), self.folder / f"logs/{name}.log", {})

    def alive(self):
        return all(process.alive() for process in self.processes.values())

    def move_kubernetes_service(self):
        found = self.api.wait_for(lambda: self.api.find("v1", "Service", "default", "kubernetes"), 20)
        if not found:
            raise CommandFailed(["kube-apiserver"], 1, "", "there is no Service default/kubernetes")
        spec = {"type": "ClusterIP", "clusterIP": KUBERNETES_IP[FAMILIES[self.families][0]], "ports": found["spec"]["ports"]}
        self.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default", "labels": found["metadata"]["labels"]}, "spec": spec})

    def down(self, keep_logs=None):
        if keep_logs and self.processes:
            shutil.copytree(self.folder / "logs", pathlib.Path(keep_logs) / "control", dirs_exist_ok=True)
        # A large process takes its time to end: before its machine goes.
        for running in self.processes.values():
            running.end(seconds=60)
        try:
            return super().down(keep_logs)
        finally:
            if self.folder:
                shutil.rmtree(self.folder, ignore_errors=True)

    # commands
    def log(self, process):
        return (self.folder / f"logs/{process}.log").read_text(errors="replace") if process in self.processes else super().log(process)

    def status(self):
        self.mirror_nodes()
        return super().status()

    def mirror_nodes(self):
        """CiliumNodes into the sandbox's own folder, where nobody but it looks: it has the gateway's routes to pods from there."""
        try:
            items = self.api.list("cilium.io/v2", "CiliumNode") if self.api else []
        except ApiError as error:
            if error.status != 404:
                raise
            items = []  # the operator has not made the definition yet
        nodes = {item["metadata"]["name"]: {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": item["metadata"]["name"]},
                                            "spec": {"ipam": item.get("spec", {}).get("ipam", {})}} for item in items}
        for verb, changed in (("apply", [item for name, item in nodes.items() if self.mirrored.get(name) != item]),
                              ("delete", [item for name, item in self.mirrored.items() if name not in nodes])):
            if changed:
                self.sandbox(verb, "-", stdin="\n---\n".join(json.dumps(item) for item in changed))
        self.mirrored = nodes

    # machines
    def create_node(self, machine):
        """What a kubelet registers."""
        addresses = [{"type": "InternalIP", "address": machine[family]} for family in ("ipv4", "ipv6") if machine[family]]
        self.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": machine["name"], "labels": {"kubernetes.io/hostname": machine["name"], "kubernetes.io/os": "linux"}},
                  "spec": {"taints": [{"key": "node.cilium.io/agent-not-ready", "effect": "NoSchedule"}]},
                  "status": {"addresses": [*addresses, {"type": "Hostname", "address": machine["name"]}]}})

    def add_node(self, name, wait=True):
        self.sandbox("node", "add", name, "--no-agent")
        self.create_node(next(node for node in super().status()["nodes"] if node["name"] == name))
        done = self.sandbox("agent", "start", name, *([] if wait else ["--no-wait"]))
        self.mirror_nodes()
        return done

    def remove_node(self, name):
        pods = [pod for pod in super().status()["pods"] if pod["node"] == name]
        done = super().remove_node(name)
        for pod in pods:
            self.api.delete("v1", "Pod", pod["namespace"], pod["name"], grace=0)
        self.api.delete("v1", "Node", None, name)
        return done

    def add_pods(self, *names, node=None, namespace="default", labels="", annotations="", ports="", parallel=False, check=True, host_ports=()):
        node = node or self.nodes()[0]
        if not self.api.find("v1", "Namespace", None, namespace):
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}}})
        container = {"name": "main", "image": "sandbox", "ports": [*container_ports(ports), *host_ports]}
        uids = [self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": pairs(labels), "annotations": pairs(annotations)},
                                 "spec": {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0}})["metadata"]["uid"] for name in names]
        done = super().add_pods(*names, node=node, namespace=namespace, labels=labels, annotations=annotations, ports=ports, parallel=parallel, check=False, uids=uids)
        status = self.status()
        host = next(machine["ipv4"] or machine["ipv6"] for machine in status["nodes"] if machine["name"] == node)
        running = {pod["name"]: pod["addresses"] for pod in status["pods"] if pod["namespace"] == namespace}
        for name in names:
            if name in running:
                self.put_status("v1", "Pod", namespace, name, {"phase": "Running", "hostIP": host, "podIP": running[name][0], "podIPs": [{"ip": ip} for ip in running[name]]})
            else:
                self.api.delete("v1", "Pod", namespace, name, grace=0)
        if check and done.returncode != 0:
            raise CommandFailed(done.args, done.returncode, done.stdout, done.stderr)
        return done

    def add_pod(self, name, node, labels="", host_ports=(), **how):
        return json.loads(self.add_pods(name, node=node, labels=labels, host_ports=host_ports, **how).stdout)["pods"][0]

    def delete_pods(self, *names, namespace="default", check=True):
        done = super().delete_pods(*names, namespace=namespace, check=check)
        for name in names:
            self.api.delete("v1", "Pod", namespace, name, grace=0)
        return done

    def kubectl(self, *words, check=True, stdin=None):
        """kubectl of the same Kubernetes, as an administrator."""
        return self.exec("underlay", self.programs()["kubectl"], "--kubeconfig", self.pki.path("admin.kubeconfig"), *words, check=check, stdin=stdin)

    # objects
    def api_since(self, version):
        return self.has_since(version)

    def way_to_objects(self):
        return [{"toCIDR": [f"{ADDRESSES['ipv4']}/32", f"{ADDRESSES['ipv6']}/128"]}]

    def put(self, manifest):
        """Creates it, or puts it in the place of what is there."""
        thing, status = prepared(manifest, self.kubernetes())
        metadata = thing["metadata"]
        where = thing["apiVersion"], thing["kind"], metadata.get("namespace"), metadata["name"]
        try:
            self.api.create(thing)
        except ApiError as error:
            # Of a Service that is there already it says first that its address is taken.
            if error.status != 409 and not (error.status == 422 and thing["kind"] == "Service" and self.api.find(*where)):
                raise
            self.replace(thing, where)
        if status:
            self.put_status(*where, status)

    def replace(self, thing, where):
        for _ in range(5):
            now = self.api.get(*where)
            spec = now.get("spec", {})
            # An address once given stays.
            if thing["kind"] == "Service" and any(thing["spec"].get(key, spec.get(key)) != spec.get(key) for key in ("clusterIP", "clusterIPs")):
                self.api.delete(*where)
                self.api.create(thing)
                return
            try:
                self.api.call("PUT", path_of(*where), dict(thing, metadata=dict(thing["metadata"], resourceVersion=now["metadata"]["resourceVersion"])))
                return
            except ApiError as error:
                if error.status != 409:  # somebody else was faster
                    raise
        raise CommandFailed(["apply"], 1, "", f"{where}: changed by somebody else again and again")

    def put_status(self, api_version, kind, namespace, name, status):
        self.api.patch(api_version, kind, namespace, name, {"status": status}, part="/status")

    def apply(self, text, raw=None):
        for document in yaml.load_all(text, Loader=LOADER):
            if document:
                self.refused(document, self.put)

    def delete(self, text):
        for document in yaml.load_all(text, Loader=LOADER):
            if document:
                thing, _ = prepared(document, self.kubernetes())
                self.refused(thing, lambda item: self.api.delete(item["apiVersion"], item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]))

    def refused(self, document, function):
        try:
            function(document)
        except (ApiError, http.client.HTTPException, OSError) as error:
            raise CommandFailed(["apply", document["kind"], document["metadata"]["name"]], 1, "", str(error)) from error

    def apply_many(self, manifests):
        with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(self.put, manifests))

    def delete_many(self, api_version, kind, namespace, names):
        with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda name: self.delete(json.dumps({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}})), names))

    def find_object(self, api_version, kind, namespace, name):
        return self.api.find(api_version, kind, namespace, name)

    def list_objects(self, api_version, kind):
        return self.api.list(api_version, kind)

    def label_node(self, node, labels):
        self.api.patch("v1", "Node", None, node, {"metadata": {"labels": labels}})

    def give_pod_cidr(self, node, cidr):
        self.api.patch("v1", "Node", None, node, {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})


class NewestApiServerCluster(ApiServerCluster):
    """The newest Kubernetes that Debian has libraries of."""
    more_flags = ()

    @staticmethod
    def kubernetes():
        return newest.version()

    @staticmethod
    def unavailable():
        try:
            newest.binaries()
        except programs.Unavailable as reason:
            return str(reason)
        return ""

    @staticmethod
    def programs():
        return newest.binaries()
