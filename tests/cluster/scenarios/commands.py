"""The command line on a running cluster."""
import json

from lib import agent_models, checks, services
from lib.policy import cilium, text_of
from lib.scenario import scenario
from scenarios.connectivity import place_pods


def call_plugin(cluster, node, command, pod, version="1.0.0", **overrides):
    """The plugin itself, with a configuration of a CNI version that has the command."""
    configuration = {"cniVersion": version, "name": "cilium", "type": "cilium-cni", "prevResult": dict(pod["cni-result"], cniVersion=version)}
    environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": pod["container-id"], "CNI_NETNS": pod["netns"], "CNI_IFNAME": "eth0",
                   "CNI_PATH": "/opt/cni/bin",
                   "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={pod['namespace']};K8S_POD_NAME={pod['name']}", **overrides}
    return cluster.exec(node, "env", *[f"{key}={value}" for key, value in environment.items()], "/opt/cni/bin/cilium-cni",
                        stdin=json.dumps(configuration), check=False)


@scenario(cost=15)
def command_line(context):
    cluster = context.cluster()
    place_pods(cluster)
    checks.connectivity(cluster, [("a1", "b1")], kinds=checks.KINDS[:1])
    yield from checks.cli_outputs(cluster, "node1", "a1")
    yield checks.monitor_shows(cluster, "node1", "a1", "a2")


@scenario(cost=15, every_store=True)
def pods_come_and_go(context):
    cluster = context.cluster(nodes=2)
    first = cluster.add_pod("a", "node1", labels="app=web")
    done = call_plugin(cluster, "node1", "CHECK", first)
    yield checks.check("CHECK of a pod that is there", done.returncode == 0, done.stdout + done.stderr)
    cluster.exec("a", "ip", "address", "flush", "dev", "eth0")
    done = call_plugin(cluster, "node1", "CHECK", first)
    yield checks.check("CHECK notices that its addresses are gone", done.returncode != 0, done.stdout)
    labels = checks.endpoint_of(cluster, "a")["status"]["identity"]["labels"]
    yield checks.check("its identity has its labels", "k8s:app=web" in labels, labels)
    cluster.delete_pods("a")
    yield checks.check("its endpoint is gone", first["addresses"][0] not in cluster.cli("node1", "endpoint", "list"))
    links = cluster.exec("node1", "ip", "-o", "link").stdout
    yield checks.check("its device is gone", "lxc" not in links.replace("lxc_health", ""), links)
    names = [f"p{i}" for i in range(20)]
    done = cluster.add_pods(*names, node="node2", parallel=True, check=False)
    yield checks.check("20 pods at once", done.returncode == 0, done.stderr)
    addresses = [address for name, item in cluster.addresses().items() if name in names for address in item.values()]
    yield checks.check("every address once", len(addresses) == 40 and len(set(addresses)) == 40, addresses)
    cluster.serve("node1")
    yield from checks.connectivity(cluster, [(name, "node1") for name in names], kinds=checks.KINDS[:3])
    done = cluster.delete_pods(*names, check=False)
    yield checks.check("and away again", done.returncode == 0, done.stderr)
    left = cluster.cli_json("node2", "endpoint", "list")
    yield checks.check("no endpoint of a pod is left", not [e for e in left if (e["status"].get("external-identifiers") or {}).get("k8s-pod-name")], left)


@scenario(cost=20)
def nodes_come_and_go(context):
    cluster = context.cluster(nodes=2)
    cluster.add_pod("a", "node1")
    cluster.add_node("third")
    cluster.add_pod("b", "third")
    yield from checks.connectivity(cluster, [("a", "b"), ("b", "a"), ("b", "node1"), ("node2", "b"), ("b", "outside")])
    gone = cluster.addresses()["b"]["ipv4"]
    cluster.remove_node("third")
    yield checks.check("the operator removes its CiliumNode", checks.wait_until(lambda: "third" not in cluster.cli("node1", "node", "list"), 20),
                       cluster.cli("node1", "node", "list"))
    yield checks.check("routes and ipcache entries to its pods are gone",
                       checks.wait_until(lambda: gone not in cluster.cli("node1", "bpf", "ipcache", "list"), 20),
                       cluster.cli("node1", "bpf", "ipcache", "list"))


@scenario(cost=15)
def routes_are_kept_right(context):
    """Somebody else removes what the agent needs; it comes back."""
    cluster = context.cluster(nodes=2)
    cluster.add_pod("a", "node1")
    cluster.add_pod("b", "node2")
    routes = [line.split(" expires")[0].strip() for line in cluster.exec("node1", "ip", "route").stdout.splitlines() if "cilium_host" in line]
    yield checks.check("there are routes through cilium_host", routes)
    cluster.exec("node1", "sh", "-c", "ip -o route | grep cilium_host | while read r; do ip route del ${r%%\\\\*}; done")

    def back():
        now = cluster.exec("node1", "ip", "route").stdout
        return all(route.split()[0] in now for route in routes)

    yield checks.check("removed routes come back", checks.wait_until(back, 30), cluster.exec("node1", "ip", "route").stdout)
    yield from checks.connectivity(cluster, [("a", "b"), ("node1", "b"), ("a", "node1")], kinds=checks.KINDS[:3])


# What the agent's API answers, by the model of its answers; {id} of an endpoint, an identity or a map.
ANSWERS = {
    "/healthz": "StatusResponse", "/config": "DaemonConfiguration", "/cluster/nodes": "ClusterNodeStatus", "/debuginfo": "DebugInfo", "/endpoint": "[]Endpoint",
    "/endpoint/{id}": "Endpoint", "/endpoint/{id}/config": "EndpointConfigurationStatus", "/endpoint/{id}/labels": "LabelConfiguration",
    "/endpoint/{id}/log": "EndpointStatusLog", "/endpoint/{id}/healthz": "EndpointHealth", "/identity": "[]Identity", "/identity/{id}": "Identity",
    "/identity/endpoints": "[]IdentityEndpoints", "/ip": "[]IPListEntry", "/node/ids": "[]NodeID", "/policy": "Policy", "/policy/selectors": "SelectorCache",
    "/policy/subject-selectors": "SelectorCache", "/service": "[]Service", "/lrp": "[]LRPSpec", "/prefilter": "Prefilter", "/map": "BPFMapList", "/map/{id}": "BPFMap",
    "/fqdn/names": "NameManager",
}


@scenario(cost=20)
def agent_api_models(context):
    """Cilium's own client can read every answer."""
    cluster = context.cluster(nodes=2, agent_flags=services.replacement("--enable-host-firewall=true", "--enable-xdp-prefilter=true"))
    place_pods(cluster)
    services.Services(cluster).put("web", 1, ("b1",), type_="NodePort")
    cluster.apply(text_of([cilium("models", {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}, {"fromCIDR": ["10.0.0.0/8"]}]})]))
    checks.wait_until(lambda: "web" in cluster.cli("node1", "service", "list", "-o", "json") and cluster.cli_json("node1", "policy", "get")["revision"] > 1, 10)

    def get(path, *options):
        done = cluster.exec("node1", "curl", "-sS", "-w", "\n%{http_code}", *options, "--unix-socket", "/var/run/cilium/cilium.sock", f"http://agent/v1{path}", check=False)
        body, _, status = done.stdout.rpartition("\n")
        return status, body

    ids = {"/endpoint/": [item["id"] for item in json.loads(get("/endpoint")[1])], "/identity/": [item["id"] for item in json.loads(get("/identity")[1])],
           "/map/": [item["path"].rsplit("/", 1)[1] for item in json.loads(get("/map")[1])["maps"]]}
    for pattern, model in ANSWERS.items():
        wrong = []
        for number in ids[pattern.partition("{id}")[0]] if "{id}" in pattern else [""]:
            path = pattern.replace("{id}", str(number))
            status, body = get(path)
            wrong += [f"{path}: {status} {body}"] if status != "200" else agent_models.problems(agent_models.parse_type(model), json.loads(body), path)
        yield checks.check(f"GET {pattern} is {model}", not wrong, wrong[:10])
    status, body = get("/ipam?family=ipv4&owner=models", "-X", "POST", "-H", "expiration: true")
    lease = json.loads(body)
    wrong = list(agent_models.problems(agent_models.parse_type("IPAMResponse"), lease))
    yield checks.check("POST /ipam is IPAMResponse", status == "201" and not wrong, [status, wrong, lease])
    for path in ("/bgp/peers", "/bgp/route-policies"):
        yield checks.check(f"GET {path} says that it is disabled", get(path)[0] == "501", get(path))
