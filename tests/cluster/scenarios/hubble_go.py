"""Hubble as the field's programs see it: gRPC for Go, TLS of Go, messages that protoc compiled for Go. The agent and the relay answer it."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

from lib import checks, services
from lib.sandbox import CommandFailed
from lib.scenario import scenario

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests/kubernetes")]

from bed.pki import Authority  # noqa: E402

SOURCE = ROOT / "tests/cluster/hubble_client/main.go"
PROTOS = ("flow/flow", "flow/events", "flow/filter", "relay/relay", "observer/observer", "peer/peer")
LIBRARIES = "/usr/share/gocode"
SOCKET = "unix:///var/run/cilium/hubble.sock"
BUILDING = threading.Lock()
STREAMS = 50


def command(*words, **how):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **how)
    if done.returncode != 0:
        raise CommandFailed(words, done.returncode, done.stdout, done.stderr)


def client_program(cluster):
    """The compiled client, beside the programs that are tested."""
    program = cluster.bin / "hubble_client"
    sources = [SOURCE, *(ROOT / f"proto/{name}.proto" for name in PROTOS)]
    with BUILDING:
        if program.exists() and all(program.stat().st_mtime > source.stat().st_mtime for source in sources):
            return program
        for tool in ("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"):
            if not shutil.which(tool):
                raise RuntimeError(f"there is no {tool} to make a client in Go with (scripts/packages.txt)")
        with tempfile.TemporaryDirectory(prefix="axoneme-go-") as folder:
            made = pathlib.Path(folder, "src")
            made.mkdir()
            places = ",".join(f"M{name}.proto=axoneme/{name.split('/')[0]}" for name in PROTOS)
            command("protoc", "-I", ROOT / "proto", f"--go_out={made}", f"--go_opt={places}", f"--go-grpc_out={made}", f"--go-grpc_opt={places}",
                    *(ROOT / f"proto/{name}.proto" for name in PROTOS))
            environment = os.environ | {"GO111MODULE": "off", "CGO_ENABLED": "0", "GOFLAGS": "-p=2", "GOPATH": f"{folder}:{LIBRARIES}"}
            command("go", "build", "-o", program, SOURCE, env=environment)
    return program


def ask(cluster, machine, *words):
    done = cluster.exec(machine, client_program(cluster), *words, check=False, timeout=90)
    return (json.loads(done.stdout), done.stderr) if done.returncode == 0 else (None, done.stderr)


def answered(what, heard, problem, nodes, limit):
    """limit: of the ring that is asked, or of all of them."""
    yield checks.check(f"{what}: no call fails", heard and not heard["errors"], heard["errors"] if heard else problem)
    if not heard:
        return
    yield checks.check(f"{what}: status and health", heard["serving"] and "axoneme" in heard["version"] and heard["seen"] > 3000, heard)
    yield checks.check(f"{what}: nodes", sorted(heard["nodes"]) == [f"default/{node} NODE_CONNECTED" for node in nodes], heard["nodes"])
    yield checks.check(f"{what}: namespaces", "default/default" in heard["namespaces"], heard["namespaces"])
    yield checks.check(f"{what}: the whole ring, {heard['flows']} flows, with their pods", 3000 < heard["flows"] <= limit and heard["pods"].get("client", 0) > 1000, heard["pods"])
    yield checks.check(f"{what}: {STREAMS} streams of one connection get no less", len(heard["streamed"]) == STREAMS and min(heard["streamed"]) >= heard["flows"], heard["streamed"])
    yield checks.check(f"{what}: follows until it has enough, {heard['followed']} flows", heard["followed"] > 0 and heard["follow-end"] == "DeadlineExceeded",
                       (heard["followed"], heard["follow-end"]))
    yield checks.check(f"{what}: a filter that is none is refused by its name", heard["bad-filter-code"] == "InvalidArgument" and 'source_ip: "nonsense"' in heard["bad-filter"],
                       (heard["bad-filter-code"], heard["bad-filter"]))


@scenario(cost=60)
def hubble_go_client(context):
    with tempfile.TemporaryDirectory(prefix="axoneme-hubble-go-") as folder:
        os.chmod(folder, 0o755)  # nodes read it
        pki = Authority(folder, "")
        pki.certificate("server", "server", hosts=["*.default.hubble-grpc.cilium.io"])
        pki.certificate("client", "client")
        yield from asked(context, pki)


def asked(context, pki):
    cluster = context.cluster(nodes=2, agent_flags=["--hubble-disable-tls=false", f"--hubble-tls-cert-file={pki.path('server.crt')}", f"--hubble-tls-key-file={pki.path('server.key')}",
                                                    f"--hubble-tls-client-ca-files={pki.path('ca.crt')}"])
    near, far = cluster.nodes()
    for pod, node in (("client", near), ("web", far)):
        cluster.add_pod(pod, node, labels=f"app={pod}")
    cluster.serve("web")
    to = cluster.addresses()["web"]["ipv4"]
    cluster.probe("client", [{"to": to, "port": services.PORT, "kind": "tcp", "times": 1500, "timeout-ms": 1500}])
    enough = threading.Event()

    def chat():
        while not enough.wait(0.2):
            cluster.probe("client", [{"to": to, "port": services.PORT, "kind": "tcp", "times": 1, "timeout-ms": 1500}])
    chatter = threading.Thread(target=chat)
    chatter.start()
    try:
        heard, problem = ask(cluster, near, "--idle", "13s", "--follow", "2s", SOCKET)
        yield from answered("the agent's socket", heard, problem, [near], 4095 + 2000)
        if heard:
            yield checks.check("the agent's socket: agent events", "ENDPOINT_CREATED" in heard["agent-events"], heard["agent-events"])
            names = [f"default/{node} {cluster.addresses()[node]['ipv4']}:4244 PEER_ADDED {node}.default.hubble-grpc.cilium.io" for node in (near, far)]
            yield checks.check("the agent's socket: peers, and their names in certificates", sorted(heard["peers"]) == names, heard["peers"])
        address = f"{cluster.addresses()[near]['ipv4']}:4244"
        secure = [pki.path("ca.crt"), pki.path("client.crt"), pki.path("client.key")]
        name = f"{near}.default.hubble-grpc.cilium.io"
        heard, problem = ask(cluster, far, "--follow", "2s", address, *secure, name)
        yield from answered("the agent's port, mutual TLS", heard, problem, [near], 4095 + 2000)
        heard, problem = ask(cluster, far, address, secure[0], "", "", name)
        yield checks.check(f"without a certificate there is no answer: {problem.strip()}", heard is None and problem, heard)
        heard, problem = ask(cluster, far, address, *secure, "another.example.com")
        yield checks.check("nor under another name", heard is None and "another.example.com" in problem, (heard, problem))
        heard, problem = ask(cluster, far, address)
        yield checks.check("nor without TLS", heard is None and problem, heard)
    finally:
        enough.set()
        chatter.join()
