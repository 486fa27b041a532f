"""An API server that does not give us what we want, and objects that are not as we make them."""
import json
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


def through_proxy(context, axoneme):
    """An API server's front that does what the file's word says, and a kubeconfig for it."""
    cluster, pki = axoneme.cluster, axoneme.cluster.pki
    mode = cluster.folder / "proxy-mode"
    mode.write_text("pass")
    proxy = cluster.background_in(CONTROL, sys.executable, ROOT / "tests/kubernetes/bad_proxy.py", "--listen", PROXY_PORT, "--to", "127.0.0.1:6443", "--mode", mode,
                                  "--certificate", pki.path("apiserver.crt"), "--key", pki.path("apiserver.key"), "--authority", pki.path("ca.crt"))
    context.on_end(proxy.kill)
    return mode, pki.token_kubeconfig("through-proxy", axoneme.token(AGENT_ACCOUNT), f"https://{cluster.machines[CONTROL]['ipv4']}:{PROXY_PORT}")


def agent_through_proxy(context, axoneme, node):
    mode, config = through_proxy(context, axoneme)
    context.on_end(lambda: agent_back(axoneme, node))
    axoneme.agent(node).end(signal.SIGTERM)
    axoneme.cluster.mark_log(f"agent-{node}")
    axoneme.start_agent(node, f"--k8s-kubeconfig-path={config}")
    axoneme.wait_ready()
    return mode


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
        return cluster.cli(node, "status")

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
    mode = agent_through_proxy(context, axoneme, node)
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


@scenario(cost=30, alone=True, only_by_name=True)
def clocks_an_hour_apart(context):
    """Said in the log, in status and by preflight; and the cluster goes on."""
    axoneme = context.axoneme()
    cluster, node = axoneme.cluster, axoneme.cluster.node_names[0]
    mode = agent_through_proxy(context, axoneme, node)
    mode.write_text("clock")
    warned = checks.wait_until(lambda: "clock is 36" in cluster.cli(node, "status"), 60, 0.5)
    yield checks.check("status: the API server's clock is an hour ahead, set both by NTP", warned and "ahead of this machine's: set both by NTP" in cluster.cli(node, "status"),
                       cluster.cli(node, "status"))
    log = [line for line in cluster.log_since(f"agent-{node}") if "clock and this machine's differ" in line]
    yield checks.check("the log says it, once", len(log) == 1, cluster.log_since(f"agent-{node}")[-10:])
    status, report = preflight(cluster, node, cluster.pki.path("through-proxy.kubeconfig"))
    found = named(report, "error", "clock")
    yield checks.check("preflight: an error, with the way out", status == 1 and found and "behind" in found[0]["message"] and "NTP" in found[0]["way-out"], report)
    namespace = context.namespace()
    address = traffic.web_and_client(cluster, namespace)
    yield checks.check("a pod made meanwhile on the node reaches a Service", traffic.becomes(cluster, "client", address, True))
    mode.write_text("pass")
    yield checks.check("the clock is right again: nothing is said of it", checks.wait_until(lambda: "set both by NTP" not in cluster.cli(node, "status"), 60, 0.5),
                       cluster.cli(node, "status"))


def preflight(cluster, node, config, *flags):
    done = cluster.exec(node, "axoneme", "preflight", "-o", "json", "--object-store=kubernetes:", f"--k8s-kubeconfig-path={config}", f"--k8s-node-name={node}",
                        "--enable-ipv6=true", "--write-cni-conf-when-ready=/etc/cni/net.d", *flags, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {"findings": [], "raw": done.stdout + done.stderr}


def named(report, severity, check, words=""):
    return [item for item in report["findings"] if (item["severity"], item["check"]) == (severity, check) and words in item["message"]]


@scenario(cost=30, alone=True, only_by_name=True)
def preflight_on_a_node(context):
    """What a node's preflight says of a cluster that is not in order, from what is in its API server."""
    axoneme = context.axoneme()
    cluster, api, node = axoneme.cluster, axoneme.cluster.api, axoneme.cluster.node_names[0]
    config = cluster.pki.path(f"{AGENT_ACCOUNT}.kubeconfig")
    status, report = preflight(cluster, node, config)
    yield checks.check("a node in use: no errors", status == 0, report)
    clusterip = api.get("v1", "Service", "default", "kubernetes")["spec"]["clusterIP"]
    status, report = preflight(cluster, node, config, "--ipam=cluster-pool", "--cluster-pool-ipv4-cidr=10.96.0.0/16")
    yield checks.check(f"pods' addresses over the ClusterIP {clusterip}", named(report, "warning", "cidr-overlap", clusterip) or named(report, "error", "cidr-overlap", clusterip), report)
    old = {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": "gone", "labels": {"of": "an-earlier-installation"}},
           "spec": {"addresses": [{"ip": "192.0.2.77", "type": "InternalIP"}], "ipam": {"podCIDRs": ["10.99.77.0/24"]}}}
    api.create(old)
    context.on_end(lambda: api.delete("cilium.io/v2", "CiliumNode", None, "gone"))
    status, report = preflight(cluster, node, config)
    found = named(report, "warning", "stale-objects", "CiliumNode gone")
    yield checks.check("a CiliumNode of an earlier installation, with the way out", found and "kubectl delete ciliumnode gone" in found[0]["way-out"], report)
    own = api.get("cilium.io/v2", "CiliumNode", None, node)["spec"]["ipam"]["podCIDRs"]
    api.patch("cilium.io/v2", "CiliumNode", None, "gone", {"spec": {"ipam": {"podCIDRs": own[:1]}}})
    status, report = preflight(cluster, node, config)
    yield checks.check(f"the same pod CIDR {own[0]} twice: an error", status == 1 and named(report, "error", "stale-objects", own[0]), report)
    api.create({"apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "over-pods"},
                "spec": {"endpointSelector": {"matchLabels": {"app": "nobody"}}, "egress": [{"toCIDR": own[:1]}]}})
    context.on_end(lambda: api.delete("cilium.io/v2", "CiliumClusterwideNetworkPolicy", None, "over-pods"))
    status, report = preflight(cluster, node, config)
    yield checks.check("a CIDR policy over pods", named(report, "warning", "cidr-policies", "over-pods"), report)
    status, report = preflight(cluster, node, cluster.pki.token_kubeconfig("nobody", "not-a-token"))
    yield checks.check("a token that the API server does not take: an error", status == 1 and named(report, "error", "store"), report)
    # Not where the agent looks, which would set it aside.
    foreign = "/run/other-cni"
    cluster.exec(node, "sh", "-c", f"mkdir {foreign} && cat > {foreign}/00-other.conflist", stdin=OTHER_PLUGIN)
    context.on_end(lambda: cluster.exec(node, "rm", "-r", foreign))
    status, report = preflight(cluster, node, config, "--cni-exclusive=false", f"--write-cni-conf-when-ready={foreign}/05-cilium.conflist")
    yield checks.check("another network's configuration that comes first: an error", status == 1 and named(report, "error", "cni-config", "00-other.conflist"), report)


OTHER_PLUGIN = '{"cniVersion":"0.3.1","name":"other","plugins":[{"type":"no-such-plugin"}]}'


@scenario(cost=30, alone=True, only_by_name=True)
def two_network_configurations(context):
    """Another network's file in the directory, before ours and after: ours is taken, the other is kept aside."""
    axoneme = context.axoneme()
    cluster, node = axoneme.cluster, axoneme.cluster.node_names[0]
    namespace = context.namespace()
    folder, names = "/etc/cni/net.d", ("00-other.conflist", "99-other.conf")
    context.on_end(lambda: cluster.exec(node, "sh", "-c", f"rm -f {folder}/*other*"))
    for name in names:
        cluster.exec(node, "sh", "-c", f"cat > {folder}/{name}", stdin=OTHER_PLUGIN)
    aside = checks.wait_until(lambda: sorted(cluster.exec(node, "ls", folder).stdout.split()) == sorted(["05-cilium.conflist", *(f"{name}.cilium_bak" for name in names)]), 10)
    yield checks.check("both are kept aside", aside, cluster.exec(node, "ls", folder).stdout)
    cluster.api.create(workloads.pod("first", namespace, node=node))
    yield checks.check("a pod gets our network", "first" == cluster.enter_pod(cluster.wait_pods(namespace, 1, 60, "app=first")[0]))
    axoneme.agent(node).end(signal.SIGTERM)
    cluster.exec(node, "sh", "-c", f"cat > {folder}/00-other.conflist", stdin=OTHER_PLUGIN)
    agent_back(axoneme, node)
    yield checks.check("also one that was put there while no agent ran", "00-other.conflist" not in cluster.exec(node, "ls", folder).stdout.split(), cluster.exec(node, "ls", folder).stdout)
    cluster.api.create(workloads.pod("second", namespace, node=node))
    yield checks.check("a pod gets our network", "second" == cluster.enter_pod(cluster.wait_pods(namespace, 1, 60, "app=second")[0]))
