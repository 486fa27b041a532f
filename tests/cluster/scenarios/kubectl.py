"""The kinds of cilium.io as kubectl shows, explains, checks and changes them."""
import json
import pathlib

from lib import checks
from lib.scenario import scenario

ROOT = pathlib.Path(__file__).resolve().parents[3]

POLICY = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "from-client", "namespace": "default"},
          "spec": {"endpointSelector": {"matchLabels": {"app": "server"}},
                   "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "client"}}], "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}]}}


def changed(**spec):
    return json.dumps(dict(POLICY, spec=dict(POLICY["spec"], **spec)))


def header(cluster, *words):
    lines = cluster.kubectl("get", *words).stdout.splitlines()
    return [word for word in lines[0].split("  ") if word.strip()] if lines else []


@scenario(cost=20, since="1.30", api_only=True, every_store=True)
def kubectl_and_our_kinds(context):
    cluster = context.cluster(nodes=1)
    for name in ("client", "server"):
        cluster.add_pod(name, "node1", labels=f"app={name}")
    yield from shown(cluster)
    yield from explained(cluster)
    yield from refused(cluster)
    yield from taken(cluster)
    yield from applied(cluster)


def shown(cluster):
    for kind, words, columns in (
            ("nodes", ("ciliumnodes",), ["NAME", "CILIUMINTERNALIP", "INTERNALIP", "AGE"]),
            ("endpoints", ("cep",), ["NAME", "SECURITY IDENTITY", "ENDPOINT STATE", "IPV4", "IPV6"]),
            ("endpoints to the full", ("cep", "-o", "wide"), ["NAME", "SECURITY IDENTITY", "INGRESS ENFORCEMENT", "EGRESS ENFORCEMENT", "ENDPOINT STATE", "IPV4", "IPV6"]),
            ("identities", ("ciliumid",), ["NAME", "NAMESPACE", "AGE"])):
        there = checks.wait_until(lambda w=words: cluster.kubectl("get", *w).stdout.count("\n") > 1, 10, 0.3)
        found = [word.strip() for word in header(cluster, *words)]
        yield checks.check(f"kubectl get shows {kind} in Cilium's columns", there and found == columns, (found, cluster.kubectl("get", *words).stdout))
    names = cluster.kubectl("api-resources", "--api-group=cilium.io", "--categories=cilium", "-o", "name").stdout.split()
    yield checks.check("the kinds are in the category cilium", {"ciliumnetworkpolicies.cilium.io", "ciliumendpoints.cilium.io", "ciliumnodes.cilium.io", "ciliumidentities.cilium.io"}
                       <= set(names), names)
    group = json.loads(cluster.kubectl("get", "--raw", "/apis/cilium.io").stdout)
    yield checks.check("v2 is the group's preferred version", group["preferredVersion"]["version"] == "v2", group)
    definitions = json.loads(cluster.kubectl("get", "crd", "-o", "json").stdout)["items"]
    conditions = {item["metadata"]["name"]: {one["type"]: one["status"] for one in item["status"]["conditions"]} for item in definitions}
    wrong = {name: states for name, states in conditions.items()
             if states.get("Established") != "True" or states.get("NamesAccepted") != "True" or states.get("NonStructuralSchema") == "True"}
    yield checks.check("every definition is established, with accepted names and a structural schema", len(conditions) >= 19 and not wrong, wrong or conditions)


def explained(cluster):
    text = ""

    def known():
        nonlocal text
        text = cluster.kubectl("explain", "cnp.spec.ingress.toPorts.ports", check=False).stdout
        return "protocol" in text

    yield checks.check("kubectl explain knows the fields", checks.wait_until(known, 20, 0.5) and "endPort" in text, text)


def refused(cluster):
    port = cluster.kubectl("apply", "-f", "-", check=False, stdin=changed(ingress=[{"toPorts": [{"ports": [{"port": "80", "protocol": "TCPX"}]}]}]))
    yield checks.check("a protocol that is none is refused by its path", port.returncode != 0 and 'toPorts[0].ports[0].protocol: Unsupported value: "TCPX"' in port.stderr, port.stderr)
    unknown = cluster.kubectl("apply", "--validate=strict", "-f", "-", check=False, stdin=changed(ingresss=[]))
    yield checks.check("so is a field that is none", unknown.returncode != 0 and 'unknown field "spec.ingresss"' in unknown.stderr, unknown.stderr)
    dry = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(POLICY)).stdout
    gone = cluster.kubectl("get", "cnp", "from-client", check=False)
    yield checks.check("a dry run changes nothing", "server dry run" in dry and gone.returncode != 0, dry)


def taken(cluster):
    """What a cluster without Helm is given, by types and fields that this Kubernetes knows."""
    done = cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", ROOT / "deploy/kubernetes/axoneme.yaml", check=False)
    yield checks.check("deploy/kubernetes/axoneme.yaml is taken to the field, without a warning", done.returncode == 0 and not done.stderr and "daemonset.apps/cilium" in done.stdout,
                       done.stderr)


def applied(cluster):
    """By the server: fields belong to who applies them, also while the agents write status."""
    made = cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(POLICY)).stdout
    valid = cluster.kubectl("wait", "--for=condition=Valid", "--timeout=20s", "cnp/from-client", check=False)
    yield checks.check("an applied policy becomes valid", "serverside-applied" in made and valid.returncode == 0, (made, valid.stderr))
    shown_valid = cluster.kubectl("get", "cnp").stdout
    yield checks.check("and is shown so", shown_valid.splitlines()[0].split() == ["NAME", "AGE", "VALID"] and shown_valid.splitlines()[1].split()[-1] == "True", shown_valid)
    again = cluster.kubectl("apply", "--server-side", "-f", "-", check=False, stdin=changed(endpointSelector={"matchLabels": {"app": "server"}}, egress=[{}]))
    yield checks.check("it is changed without a conflict with whoever wrote its status", again.returncode == 0, again.stderr)
    both = cluster.kubectl("get", "cnp", "from-client", "-o", "jsonpath={.spec.egress}{.status.conditions[0].type}").stdout
    yield checks.check("spec and status are both there", both.startswith("[{}]") and both.endswith("Valid"), both)
    cluster.kubectl("patch", "cnp", "from-client", "--type=json", "-p", '[{"op": "remove", "path": "/spec/egress"}]')
    cluster.kubectl("label", "pod", "client", "app=other", "--overwrite")
    changed_identity = checks.wait_until(lambda: "k8s:app=other" in json.dumps(checks.endpoint_of(cluster, "client")), 10, 0.3)
    yield checks.check("a pod's label reaches its endpoint", changed_identity, checks.endpoint_of(cluster, "client"))
    cluster.kubectl("delete", "cnp", "from-client", "--wait=true")
    left = checks.wait_until(lambda: "from-client" not in cluster.cli("node1", "policy", "get"), 10, 0.3)
    yield checks.check("a deleted policy is gone from the agent", left, cluster.cli("node1", "policy", "get"))
