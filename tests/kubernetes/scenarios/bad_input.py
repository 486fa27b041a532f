"""An API server that does not give us what we want, and objects that are not as we make them."""
import signal
import sys
import time

from bed import traffic, workloads
from bed.axoneme import AGENT_ACCOUNT, NAMESPACE
from bed.cluster import CONTROL, ROOT
from lib import checks
from lib.scenario import scenario

PROXY_PORT = 6444
SCHEMA_LABEL = "io.cilium.k8s.crd.schema.version"


def agent_back(axoneme, node):
    """The node's agent as it was before a scenario started it in another way."""
    axoneme.agent(node).end(signal.SIGTERM)
    axoneme.start_agent(node)
    axoneme.wait_ready()


@scenario(cost=30, alone=True, only_by_name=True)
def role_without_a_verb(context):
    """RBAC that misses one verb: the agent says which, and of what."""
    axoneme = context.axoneme()
    cluster, api, node = axoneme.cluster, axoneme.cluster.api, axoneme.cluster.node_names[-1]
    role = next(item for item in api.list("rbac.authorization.k8s.io/v1", "ClusterRole") if item["metadata"]["name"] == AGENT_ACCOUNT)
    original = role["rules"]

    def restore():
        api.patch("rbac.authorization.k8s.io/v1", "ClusterRole", None, AGENT_ACCOUNT, {"rules": original})
        agent_back(axoneme, node)

    context.on_end(restore)
    poor = [dict(rule, verbs=[verb for verb in rule["verbs"] if verb != "list"]) if "services" in rule.get("resources", []) else rule for rule in original]
    yield checks.check("the role lists services, and now does not", poor != original, original)
    api.patch("rbac.authorization.k8s.io/v1", "ClusterRole", None, AGENT_ACCOUNT, {"rules": poor})
    checks.wait_until(lambda: api.request("GET", "/readyz")[0] == 200, 5)
    axoneme.agent(node).end(signal.SIGTERM)
    cluster.mark_log(f"agent-{node}")
    axoneme.start_agent(node)

    def named():
        return [line for line in cluster.log_since(f"agent-{node}") if "services" in line and "list" in line and AGENT_ACCOUNT in line]

    yield checks.check("the agent's log names verb, resource and account", checks.wait_until(named, 20), "\n".join(cluster.log_since(f"agent-{node}")[-15:]))
    yield checks.check("and it goes on living", axoneme.agent(node).alive())


@scenario(cost=20, alone=True, only_by_name=True)
def certificate_about_to_expire(context):
    """A client certificate with a day left: said in the log and in status, and gone from there once a new one is in its place."""
    axoneme = context.axoneme()
    cluster, pki, node = axoneme.cluster, axoneme.cluster.pki, axoneme.cluster.node_names[0]
    context.on_end(lambda: agent_back(axoneme, node))
    account = f"system:serviceaccount:{NAMESPACE}:{AGENT_ACCOUNT}"
    config = pki.kubeconfig("expiring", account, days=1)
    axoneme.agent(node).end(signal.SIGTERM)
    cluster.mark_log(f"agent-{node}")
    axoneme.start_agent(node, f"--k8s-kubeconfig-path={config}")
    axoneme.wait_ready()
    log = [line for line in cluster.log_since(f"agent-{node}") if "expires soon" in line and account in line]
    yield checks.check("the log warns of it, once", len(log) == 1, cluster.log_since(f"agent-{node}")[:20])

    def status():
        # It ends with 1 while there is something to warn of.
        return cluster.cli(node, "status", check=False)

    yield checks.check("status warns of it", f"{account} expires at" in status(), status())
    pki.certificate("expiring", account)
    renewed = checks.wait_until(lambda: "expires at" not in status(), 30, 0.5)
    yield checks.check("a new certificate is taken, without a restart", renewed, status())


@scenario(cost=40, alone=True, only_by_name=True)
def api_server_that_misbehaves(context):
    """429, 500, half a document, nothing: what is in force stays so, and the truth arrives when it can."""
    axoneme = context.axoneme()
    cluster, node = axoneme.cluster, axoneme.cluster.node_names[0]
    namespace = context.namespace()
    for name in ("server", "client"):
        cluster.api.create(workloads.pod(name, namespace, node=node))
    pods = {pod["metadata"]["name"]: pod for pod in cluster.wait_pods(namespace, 2)}
    cluster.enter_pod(pods["client"])
    address = pods["server"]["status"]["podIP"]
    mode, pki = cluster.folder / "proxy-mode", cluster.pki
    mode.write_text("pass")
    proxy = cluster.background_in(CONTROL, sys.executable, ROOT / "tests/kubernetes/bad_proxy.py", "--listen", PROXY_PORT, "--to", "127.0.0.1:6443", "--mode", mode,
                                  "--certificate", pki.path("apiserver.crt"), "--key", pki.path("apiserver.key"), "--authority", pki.path("ca.crt"))
    context.on_end(proxy.kill)
    context.on_end(lambda: agent_back(axoneme, node))
    config = pki.token_kubeconfig("through-proxy", axoneme.token(AGENT_ACCOUNT), f"https://{cluster.machines[CONTROL]['ipv4']}:{PROXY_PORT}")
    axoneme.agent(node).end(signal.SIGTERM)
    axoneme.start_agent(node, f"--k8s-kubeconfig-path={config}")
    axoneme.wait_ready()
    for word in ("429", "500", "half", "nothing"):
        mode.write_text(word)
        time.sleep(1)
        # The proxy cuts streams at their next byte.
        cluster.api.create(workloads.ingress_policy(f"none-{word}", namespace, "server", {"app": "nobody"}))
        time.sleep(4)
        yield checks.check(f"{word}: the agent lives", axoneme.agent(node).alive(), cluster.log(f"agent-{node}")[-2000:])
        mode.write_text("pass")
        yield checks.check(f"after {word}: a policy made meanwhile arrives", traffic.becomes(cluster, "client", address, False, 30))
        cluster.api.delete("networking.k8s.io/v1", "NetworkPolicy", namespace, f"none-{word}")
        yield checks.check(f"after {word}: and goes again", traffic.becomes(cluster, "client", address, True, 30))


@scenario(cost=30, alone=True, only_by_name=True)
def other_versions_of_the_definitions(context):
    """CRDs of a newer Cilium stay as they are; those of an older one are brought up to date; unknown fields are kept."""
    axoneme = context.axoneme()
    api, machine = axoneme.cluster.api, axoneme.operators[0]
    crd = "apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "ciliumnodes.cilium.io"
    before = api.get(*crd)["metadata"]["labels"].get(SCHEMA_LABEL)
    yield checks.check(f"the definition says which schema it has: {before}", before)

    def restart_operators():
        for name in axoneme.operators:
            axoneme.operator(name).end(signal.SIGTERM)
        for name in axoneme.operators:
            axoneme.start_operator(name)

    def restore():
        api.patch(*crd, {"metadata": {"labels": {SCHEMA_LABEL: before}}})

    context.on_end(restore)
    newer = {"metadata": {"labels": {SCHEMA_LABEL: "99.0.0"}}, "spec": {"names": {"shortNames": ["cn", "ciliumn", "newer"]}}}
    api.patch(*crd, newer)
    restart_operators()
    time.sleep(6)
    now = api.get(*crd)
    yield checks.check("a newer definition is left alone", now["metadata"]["labels"][SCHEMA_LABEL] == "99.0.0" and "newer" in now["spec"]["names"]["shortNames"], now["metadata"])
    api.patch(*crd, {"metadata": {"labels": {SCHEMA_LABEL: "1.0.0"}}})
    restart_operators()
    upgraded = api.wait_for(lambda: api.get(*crd)["metadata"]["labels"].get(SCHEMA_LABEL) == before, 30)
    names = api.get(*crd)["spec"]["names"]["shortNames"]
    yield checks.check("an older one is brought up to date", upgraded and "newer" not in names, api.get(*crd)["metadata"])
    yield checks.check("the operators live", all(axoneme.operator(name).alive() for name in axoneme.operators), axoneme.cluster.log(f"operator-{machine}")[-1500:])


@scenario(cost=20, alone=True, only_by_name=True)
def unknown_fields_are_kept(context):
    """What the real Cilium writes beside what we know survives our own writes."""
    axoneme = context.axoneme()
    api, node = axoneme.cluster.api, axoneme.cluster.node_names[0]
    kind = "cilium.io/v2", "CiliumNode", None, node
    # Of Cilium's schema, and of no use to us.
    api.patch(*kind, {"spec": {"alibaba-cloud": {"vpc-id": "kept"}}, "metadata": {"annotations": {"example.org/kept": "yes"}}})
    context.on_end(lambda: api.patch(*kind, {"spec": {"alibaba-cloud": None}}))
    agent_back(axoneme, node)
    time.sleep(3)
    now = api.get(*kind)
    yield checks.check("CiliumNode: a field that we do not write", now["spec"].get("alibaba-cloud", {}).get("vpc-id") == "kept", now["spec"])
    yield checks.check("CiliumNode: an annotation", now["metadata"].get("annotations", {}).get("example.org/kept") == "yes", now["metadata"])
