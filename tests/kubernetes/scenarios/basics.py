"""What one does with a cluster on the first day: it is installed, a Deployment, a Service, policies."""
from bed import traffic, workloads
from lib import checks
from lib.scenario import scenario


@scenario(cost=30)
def installed(context):
    """Agents and operator start, and the nodes become nodes that pods may run on."""
    axoneme = context.axoneme()
    cluster, api = axoneme.cluster, axoneme.cluster.api
    for node in cluster.node_names:
        yield checks.check(f"{node}: ready", cluster.node_ready(node), cluster.conditions(node))
        thing = api.find("cilium.io/v2", "CiliumNode", None, node) or {}
        addresses = [item["ip"] for item in thing.get("spec", {}).get("addresses", [])]
        yield checks.check(f"{node}: CiliumNode with its addresses", cluster.machines[node]["ipv4"] in addresses, thing)
        yield checks.check(f"{node}: CiliumNode with pod CIDRs", thing.get("spec", {}).get("ipam", {}).get("podCIDRs"), thing)
    names = {item["metadata"]["name"] for item in api.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")}
    for kind in ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "ciliumendpoints", "ciliumidentities", "ciliumnodes"):
        yield checks.check(f"{kind}.cilium.io is registered", f"{kind}.cilium.io" in names, names)


@scenario(cost=60)
def deployment_service_and_policies(context):
    axoneme = context.axoneme()
    cluster, api = axoneme.cluster, axoneme.cluster.api
    namespace = context.namespace()
    api.create(workloads.deployment("web", namespace, 3))
    api.create(workloads.service("web", namespace, "NodePort"))
    for name in ("friend", "stranger"):
        api.create(workloads.pod(name, namespace))
    servers = cluster.wait_pods(namespace, 3, 90, "app=web")
    for name in ("friend", "stranger"):
        cluster.enter_pod(cluster.wait_pods(namespace, 1, 60, f"app={name}")[0])
    yield checks.check(f"3 pods of a Deployment are ready, on {len({pod['spec']['nodeName'] for pod in servers})} nodes", True)
    for pod in servers:
        published = api.wait_for(lambda: axoneme.endpoint(namespace, pod["metadata"]["name"]), 10)
        state = (published or {}).get("status", {})
        yield checks.check(f"{pod['metadata']['name']}: CiliumEndpoint ready, with an identity and its address",
                           state.get("state") == "ready" and state.get("identity", {}).get("id", 0) >= 256
                           and pod["status"]["podIP"] in str(state.get("networking")), published)
    yield from pods_and_services(cluster, namespace, servers)
    yield from network_policy(cluster, namespace)
    yield from cilium_network_policy(cluster, namespace)


def pods_and_services(cluster, namespace, servers):
    for pod in servers:
        for family, address in cluster.pod_addresses(pod).items():
            yield checks.check(f"friend → {pod['metadata']['name']} over {checks.family_name(family)}", traffic.becomes(cluster, "friend", address, True, 10))
    service = cluster.api.get("v1", "Service", namespace, "web")
    address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    yield checks.check(f"friend → ClusterIP {address}", traffic.becomes(cluster, "friend", address, True))
    for node in cluster.node_names:
        yield checks.check(f"{node} → ClusterIP {address}", traffic.becomes(cluster, node, address, True))
        yield checks.check(f"outside → {node}'s NodePort {port}", traffic.becomes(cluster, "outside", cluster.machines[node]["ipv4"], True, port=port))
    answered = cluster.probe("friend", [dict(traffic.tcp(address), times=60)])[0]
    yield checks.check("60 connections to the ClusterIP reach all 3 servers", answered["ok"] and len(answered["servers"]) == 3, answered)
    api = cluster.probe("friend", [{"to": "10.96.0.1", "port": 443, "kind": "closed", "timeout-ms": 2000}])[0]
    yield checks.check("friend → the API server's ClusterIP is not refused", not api["ok"], api)


def network_policy(cluster, namespace):
    address = cluster.api.get("v1", "Service", namespace, "web")["spec"]["clusterIP"]
    cluster.api.create(workloads.ingress_policy("only-friends", namespace, "web", {"app": "friend"}))
    yield checks.check("NetworkPolicy: the stranger is shut out", traffic.becomes(cluster, "stranger", address, False))
    yield checks.check("NetworkPolicy: the friend is let in", traffic.becomes(cluster, "friend", address, True))
    ready = len(cluster.ready_pods(namespace, "app=web"))
    yield checks.check("NetworkPolicy: the kubelets' probes go on", ready == 3, f"{ready} of 3 pods ready")
    cluster.api.delete("networking.k8s.io/v1", "NetworkPolicy", namespace, "only-friends")
    yield checks.check("NetworkPolicy deleted: the stranger is let in again", traffic.becomes(cluster, "stranger", address, True))


def cilium_network_policy(cluster, namespace):
    api = cluster.api
    address = api.get("v1", "Service", namespace, "web")["spec"]["clusterIP"]
    api.create(workloads.cilium_policy("only-friends", namespace, "web", {"app": "friend"}))

    def valid():
        thing = api.get("cilium.io/v2", "CiliumNetworkPolicy", namespace, "only-friends")
        return any(item["type"] == "Valid" and item["status"] == "True" for item in thing.get("status", {}).get("conditions", []))

    yield checks.check("CiliumNetworkPolicy: its status says Valid", api.wait_for(valid, 15), api.get("cilium.io/v2", "CiliumNetworkPolicy", namespace, "only-friends"))
    yield checks.check("CiliumNetworkPolicy: the stranger is shut out", traffic.becomes(cluster, "stranger", address, False))
    yield checks.check("CiliumNetworkPolicy: the friend is let in", traffic.becomes(cluster, "friend", address, True))
    yield checks.check("CiliumNetworkPolicy: the friend's other port is not", traffic.becomes(cluster, "friend", address, False, port=workloads.RATES_PORT))
    api.delete("cilium.io/v2", "CiliumNetworkPolicy", namespace, "only-friends")
    yield checks.check("CiliumNetworkPolicy deleted: the stranger is let in again", traffic.becomes(cluster, "stranger", address, True))
