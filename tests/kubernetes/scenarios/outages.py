"""Bad days: the operator dies, agents are killed under load, the API server goes away."""
import json
import signal
import time

from bed import traffic, workloads
from lib import checks
from lib.scenario import scenario

OUR_LISTS_PER_AGENT = 60  # kinds that an agent lists, several times over: a storm is hundreds


def busy(context):
    """A server on each node behind a Service, a client on the first node, and a stranger that a policy shuts out."""
    cluster = context.axoneme().cluster
    namespace = context.namespace()
    for node in cluster.node_names:
        cluster.api.create(workloads.pod(f"server-{node}", namespace, {"app": "server"}, node=node))
    for name in ("client", "stranger"):
        cluster.api.create(workloads.pod(name, namespace, node=cluster.node_names[0]))
    cluster.api.create(workloads.service("server", namespace))
    cluster.api.create(workloads.ingress_policy("clients", namespace, "server", {"app": "client"}))
    pods = {pod["metadata"]["name"]: pod for pod in cluster.wait_pods(namespace, len(cluster.node_names) + 2, 90)}
    for pod in pods.values():
        cluster.enter_pod(pod)
    address = cluster.api.get("v1", "Service", namespace, "server")["spec"]["clusterIP"]
    traffic.becomes(cluster, "client", address, True)
    traffic.becomes(cluster, "stranger", address, False)
    return namespace, address, {name: pod["status"]["podIP"] for name, pod in pods.items()}


def start_traffic(cluster, address, pods):
    servers = [pods[name] for name in pods if name.startswith("server-")]
    streams = traffic.Streams(cluster, [("client", to) for to in servers])
    return streams, traffic.Load(cluster, "client", address)


@scenario(cost=40, alone=True, only_by_name=True)
def agents_killed_under_load(context):
    axoneme = context.axoneme()
    cluster = axoneme.cluster
    namespace, address, pods = busy(context)
    streams, load = start_traffic(cluster, address, pods)
    for node in cluster.node_names:
        axoneme.stop_agent(node, signal.SIGKILL)
    time.sleep(2)
    yield checks.check("no agent: the stranger is shut out still", not traffic.reaches(cluster, "stranger", address))
    for node in cluster.node_names:
        axoneme.start_agent(node)
    axoneme.wait_ready()
    time.sleep(1)
    yield from streams.nothing_lost("a kill and a start of all agents")
    yield load.without_an_error("a kill and a start of all agents")
    for node in cluster.node_names:
        own = cluster.cli_json(node, "status")["axoneme"]
        changed = [item for item in own.get("reconcilers", []) if item.get("added", 0) or item.get("updated", 0) or item.get("removed", 0) or item.get("failed", 0)]
        yield checks.check(f"{node}: the new agent found everything as it should be", not changed, changed)
    cluster.api.create(workloads.pod("late", namespace, {"app": "client"}))
    cluster.wait_pods(namespace, len(cluster.node_names) + 3, 60)
    cluster.enter_pod(cluster.api.get("v1", "Pod", namespace, "late"))
    yield checks.check("and a pod made afterwards is let in", traffic.becomes(cluster, "late", address, True))


@scenario(cost=40, alone=True, only_by_name=True)
def operator_failover(context):
    """The leading operator is killed: another leads soon, and nothing that runs notices."""
    axoneme = context.axoneme()
    cluster, api = axoneme.cluster, axoneme.cluster.api
    namespace, address, pods = busy(context)
    streams, load = start_traffic(cluster, address, pods)
    leader = api.wait_for(lambda: leading(api), 20)
    machine = next((name for name in axoneme.operators if (leader or "").startswith(f"{name}-")), None)
    yield checks.check(f"the lease is held by {leader}", machine, f"none of {axoneme.operators}")
    if machine is None:
        return
    context.on_end(lambda: axoneme.operator(machine).alive() or axoneme.start_operator(machine))
    axoneme.operator(machine).end(signal.SIGKILL)
    started = time.monotonic()
    followed = api.wait_for(lambda: leading(api) not in (leader, None, ""), 40)
    yield checks.check(f"another one holds it after {time.monotonic() - started:.1f} s: {leading(api)}", followed, leading(api))
    before = axoneme.identity_of(namespace, "client")
    api.patch("v1", "Pod", namespace, "client", {"metadata": {"labels": {"term": "second"}}})
    yield checks.check("identities are given out still", api.wait_for(lambda: axoneme.identity_of(namespace, "client") not in (before, None), 15), before)
    yield from streams.nothing_lost("an operator's failover")
    yield load.without_an_error("an operator's failover")


def leading(api):
    lease = api.find("coordination.k8s.io/v1", "Lease", "kube-system", "cilium-operator-resource-lock") or {}
    return lease.get("spec", {}).get("holderIdentity")


@scenario(cost=120, alone=True, only_by_name=True)
def api_server_gone(context):
    yield from without_api_server(context, 70)


@scenario(cost=700, alone=True, only_by_name=True)
def api_server_gone_for_ten_minutes(context):
    yield from without_api_server(context, 600)


def without_api_server(context, seconds):
    """Stopped (connections hang) for one half of the time and dead (connections are refused) for the other, an agent's restart in each."""
    axoneme = context.axoneme()
    cluster = axoneme.cluster
    namespace, address, pods = busy(context)
    streams, load = start_traffic(cluster, address, pods)
    server = cluster.processes["kube-apiserver"]
    first, second = cluster.node_names[:2]
    context.on_end(lambda: cluster.processes["kube-apiserver"].alive() or cluster.start_api_server())
    context.on_end(lambda: server.send(signal.SIGCONT))
    server.send(signal.SIGSTOP)
    yield from restart_without_api(axoneme, first, "the API server hangs", address, seconds / 2)
    server.end(signal.SIGKILL)
    yield from restart_without_api(axoneme, second, "the API server is dead", address, seconds / 2)
    cluster.start_api_server()
    yield checks.check("the API server is back", cluster.api.wait_for(cluster.api.ready, 60))
    returned = time.time()
    axoneme.wait_ready(60)
    time.sleep(10)
    yield from streams.nothing_lost(f"{seconds} s without an API server")
    yield load.without_an_error(f"{seconds} s without an API server")
    yield from no_storm(cluster, returned - 5)
    cluster.api.patch("v1", "Pod", namespace, "stranger", {"metadata": {"labels": {"app": "client"}}})
    yield checks.check("changes made afterwards arrive: the stranger is let in with the client's label", traffic.becomes(cluster, "stranger", address, True, 30))


def restart_without_api(axoneme, node, when, address, seconds):
    cluster, end = axoneme.cluster, time.monotonic() + seconds
    time.sleep(min(5, seconds / 4))
    yield checks.check(f"{when}: the stranger is shut out", not traffic.reaches(cluster, "stranger", address))
    axoneme.stop_agent(node, signal.SIGKILL)
    axoneme.start_agent(node)
    started = time.monotonic()
    ready = checks.wait_until(lambda: agent_answers(cluster, node), min(30, seconds), 0.2)
    yield checks.check(f"{when}: {node}'s agent is started anew and serves after {time.monotonic() - started:.1f} s", ready, cluster.log(f"agent-{node}")[-2000:])
    yield checks.check(f"{when}, and the agent is new: the client is let in", traffic.reaches(cluster, "client", address))
    yield checks.check(f"{when}, and the agent is new: the stranger is shut out", not traffic.reaches(cluster, "stranger", address))
    def ill():
        done = cluster.exec(node, "axoneme", "status", "--brief", check=False)
        return done.returncode == 1 and "Kubernetes service is not ready" in done.stdout

    # Of a server that hangs the agent knows when its first request has waited long enough.
    yield checks.check(f"{when}: status says that Kubernetes is out of reach, and ends with 1", checks.wait_until(ill, min(30, seconds), 0.5))
    well = cluster.exec(node, "axoneme", "status", "--require-k8s-connectivity=false", check=False)
    yield checks.check(f"{when}: who does not need it is told that the agent is well", well.returncode == 0, well.stdout + well.stderr)
    time.sleep(max(0, end - time.monotonic()))
    yield checks.check(f"{when}, {seconds:.0f} s on: the agent is alive", axoneme.agent(node).alive(), cluster.log(f"agent-{node}")[-2000:])


def agent_answers(cluster, node):
    return cluster.exec(node, "axoneme", "endpoint", "list", check=False).returncode == 0


def no_storm(cluster, since):
    """What our agents and operators asked of the API server after it came back, by its own audit log."""
    ours = [event for event in cluster.audit(since) if event["user"]["username"].startswith("system:serviceaccount:kube-system:cilium")]
    asked = {}
    for event in ours:
        key = f"{event['user']['username'].rpartition(':')[2]} {event['verb']} {event.get('objectRef', {}).get('resource', event['requestURI'])}"
        asked[key] = asked.get(key, 0) + 1
    processes = len(cluster.node_names) + 2
    most = OUR_LISTS_PER_AGENT * processes
    yield checks.check(f"no storm: {len(ours)} requests of {processes} agents and operators", 0 < len(ours) <= most,
                       json.dumps(dict(sorted(asked.items(), key=lambda item: -item[1])[:15])))
