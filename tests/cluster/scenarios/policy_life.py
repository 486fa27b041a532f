"""What happens to policies over time: changes under traffic, restarts, modes, audit, mistakes."""
import json
import threading
import time

from lib import checks, policy
from lib.policy import cilium, clusterwide, endpoints, kubernetes, no, yes
from lib.sandbox import CommandFailed
from lib.scenario import scenario
from lib.talk import Conversation
from scenarios.policy_forms import place

NGINX = "nginx nginx2"
TO_APP2_ONLY = cilium("cut", {"endpointSelector": endpoints(app="app1"), "egress": [{"toEndpoints": [endpoints(app="app2")]}]})
FROM_APP2_ONLY = cilium("cut", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app2")]}]})
DENY_APP1 = clusterwide("cut", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEntities": ["all"]}],
                                "ingressDeny": [{"fromEndpoints": [{"matchLabels": {"app": "app1"}}]}]})
ALLOW_APP1 = cilium("allow", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app1")]}]})


def established(context, **options):
    """An established connection notices a change with its next packet, whichever end sends it."""
    cluster, policies = place(context, **options)
    addresses = cluster.addresses()
    yield policy.ready(cluster, [yes("app1", NGINX, "tcp", "udp")])
    conversations = {}
    for number, (destination, family, protocol) in enumerate([("nginx", "ipv4", "tcp"), ("nginx2", "ipv6", "tcp"), ("nginx2", "ipv4", "udp"),
                                                              ("nginx", "ipv6", "udp")]):
        name = f"{protocol.upper()} to {destination}, {checks.family_name(family)}"
        conversations[name] = Conversation(cluster, "app1", destination, protocol, addresses[destination][family], 9000 + number)

    def all_at_once(back, seconds):
        """Names of the conversations whose next message gets through."""
        found = {}
        threads = [threading.Thread(target=lambda n=name, c=item: found.update({n: c.gets_through(back, seconds)})) for name, item in conversations.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(name for name, ok in found.items() if ok)

    everything = sorted(conversations)
    for back in (False, True):
        way = "replies" if back else "requests"
        got = all_at_once(back, 2)
        yield checks.check(f"open: {way} pass", got == everything, got)
    for title, manifest in (("egress of the client closes", TO_APP2_ONLY), ("ingress of the server closes", FROM_APP2_ONLY),
                            ("a denial comes", DENY_APP1)):
        for back in (False, True):
            way = "reply" if back else "request"
            yield checks.check(f"{title}: in force", policies.use(manifest), policies.state())
            got = all_at_once(back, 0.4)
            yield checks.check(f"{title}: not even the next {way} passes", not got, got)
            yield checks.check(f"{title}: taken back", policies.use(), policies.state())
            datagrams = [name for name in everything if name.startswith("UDP")]
            # TCP sends again what was lost, in its own time; a datagram is there at once.
            got = all_at_once(back, 6)
            yield checks.check(f"{title} and opens again: the same {len(everything)} connections go on, {len(datagrams)} of UDP with the next packet",
                               got == everything, got)


@scenario(cost=18)
def policy_established_vxlan(context):
    yield from established(context)


@scenario(cost=18)
def policy_established_native(context):
    yield from established(context, routing="native")


def load(cluster, source, destination, per_second=400):
    return cluster.start(source, "load", "--to", cluster.addresses()[destination]["ipv4"], "--port", policy.PORT, "--per-second", per_second)


@scenario(cost=15)
def policy_replacement_has_no_gap(context):
    """A policy is replaced again and again: what both versions allow is never lost, what both deny never passes."""
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp", "udp")])
    versions = [cilium("turn", {"endpointSelector": endpoints(app="nginx"), "ingress": [
        {"fromEndpoints": [endpoints(app="app1")], "toPorts": [{"ports": [{"port": str(port), "protocol": protocol}]}]}
        for port, protocol in ((policy.PORT, "ANY"), (other, "TCP"))]}) for other in (80, 443)]
    policies.use(versions[0])
    running = {(source, destination): load(cluster, source, destination) for source in ("app1", "app2") for destination in NGINX.split()}
    turns, end = 0, time.monotonic() + 1.2  # datagrams have to meet them, however fast a replacement is
    while turns < 20 or time.monotonic() < end:
        cluster.apply(policy.text_of([policies.marked(versions[turns % 2])]))
        turns += 1
    last = versions[(turns - 1) % 2]
    policies.applied = {policy.key_of(last): last}
    yield checks.check("the last version is in force", checks.wait_until(policies.in_force, 3, 0.05), policies.state())
    for (source, destination), program in running.items():
        result = program.finish()
        cluster.background.remove(program)
        lost = result["lost"]
        wanted = 0 if source == "app1" else result["sent"]
        yield checks.check(f"{source} → {destination} through {turns} replacements: {result['sent']} datagrams, {lost} lost", result["sent"] > 100 and lost == wanted, result)
    # The other way: a pod that is let in by one version and kept out by the other ends as the last one says.
    final = cilium("turn", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app2")]}]})
    for manifest in (versions[0], final, versions[1], final):
        cluster.apply(policy.text_of([policies.marked(manifest)]))
    policies.applied = {policy.key_of(final): final}
    yield checks.check("many versions at once: the last one counts", checks.wait_until(policies.in_force, 3, 0.05))
    yield from policy.verdicts(cluster, "the last version", [yes("app2", NGINX, "tcp"), no("app1", NGINX, "tcp")])


@scenario(cost=18, every_store=True)
def policy_restart(context):
    """kill -9 of every agent: policies stay in force while nobody is there, and a new agent finds nothing to do."""
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp", "udp"), yes("app1", "outside", "tcp")])
    outside = [cluster.addresses()["outside"]["ipv4"] + "/32", cluster.addresses()["outside"]["ipv6"] + "/128"]
    policies.use(ALLOW_APP1, cilium("world", {"endpointSelector": endpoints(app="app2"), "egress": [{"toCIDR": outside}, {"toEndpoints": [endpoints(app="app1")]}]}),
                 kubernetes("np", {"podSelector": endpoints(app="app1"), "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": endpoints(app="app2")}]}]}))
    rows = [yes("app1", NGINX, "tcp", "icmp"), no("app2 public", NGINX, "tcp"), yes("app2", "app1 outside", "tcp"), no("public", "app1", "tcp"),
            no("app2", "public", "tcp")]
    yield from policy.verdicts(cluster, "before", rows)
    before = {node: cluster.cli(node, "bpf", "ipcache", "list") for node in policies.nodes}
    running = {(source, destination): load(cluster, source, destination) for source in ("app1", "app2") for destination in NGINX.split()}
    cluster.sandbox("agent", "kill", "--all")
    yield from policy.verdicts(cluster, "without agents", rows, explain=False)
    cluster.sandbox("agent", "start", "--all")
    yield checks.check("the same policies are in force", checks.wait_until(policies.in_force, 5, 0.05))
    for (source, destination), program in running.items():
        result = program.finish()
        cluster.background.remove(program)
        wanted = 0 if source == "app1" else result["sent"]
        yield checks.check(f"{source} → {destination} through kill and start: {result['sent']} datagrams, {result['lost']} lost",
                           result["sent"] > 100 and result["lost"] == wanted, result)
    yield from policy.verdicts(cluster, "after", rows)
    for node in policies.nodes:
        reconcilers, _ = checks.restart_report(cluster, node)
        changed = [r for r in reconcilers if r.get("added", 0) or r.get("updated", 0) or r.get("removed", 0) or r.get("failed", 0)]
        ours = [r for r in reconcilers if "policy" in r["name"]]
        yield checks.check(f"{node}: nothing added, updated or removed; {sum(r['unchanged-at-start'] for r in ours)} policies found as they should be",
                           ours and ours[0]["unchanged-at-start"] and not changed, changed or reconcilers)
        after = cluster.cli(node, "bpf", "ipcache", "list")
        yield checks.check(f"{node}: identities of prefixes are the same", after == before[node], (before[node], after))


@scenario(cost=12)
def policy_changed_while_the_agent_is_down(context):
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp")])
    policies.use(ALLOW_APP1)
    cluster.sandbox("agent", "kill", "--all")
    policies.use(FROM_APP2_ONLY, wait=False)
    yield from policy.verdicts(cluster, "while it is down the old one is in force", [yes("app1", NGINX, "tcp"), no("app2", NGINX, "tcp")], explain=False)
    cluster.sandbox("agent", "start", "--all")
    yield checks.check("the new one is in force at the start", checks.wait_until(policies.in_force, 5, 0.05))
    yield from policy.verdicts(cluster, "after the start", [no("app1", NGINX, "tcp"), yes("app2", NGINX, "tcp")])
    cluster.sandbox("agent", "kill", "--all")
    policies.use(wait=False)
    cluster.sandbox("agent", "start", "--all")
    yield checks.check("and gone when it was taken away", checks.wait_until(policies.in_force, 5, 0.05))
    yield from policy.verdicts(cluster, "without policies", [yes("app1 app2", NGINX, "tcp")])


@scenario(cost=12)
def policy_pods_come_and_go(context):
    """A policy is in force for a pod from its first packet, and follows labels."""
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp")])
    policies.use(ALLOW_APP1)
    cluster.add_pod("nginx3", "node2", labels="app=nginx")
    cluster.add_pod("app1b", "node2", labels="app=app1")
    yield from policy.verdicts(cluster, "new pods", [yes("app1 app1b", "nginx3 nginx", "tcp"), no("app2 public", "nginx3", "tcp")])
    cluster.delete_pods("nginx3", "app1b")
    cluster.add_pod("heir", "node2", labels="app=other")
    yield from policy.verdicts(cluster, "a new pod, whoever had its address before", [no("heir", NGINX, "tcp"), yes("app2", "heir", "tcp")])


@scenario(cost=12)
def policy_mode_always(context):
    cluster, policies = place(context, agent_flags=["--enable-policy=always"])
    yield from policy.verdicts(cluster, "no policy: closed", [no("app1", "nginx nginx2 outside node2", "tcp"), no("outside node2", "app1", "tcp")])
    everybody = cilium("open", {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}], "egress": [{"toEndpoints": [{}]}]})
    yield checks.check("in force", policies.use(everybody))
    yield from policy.verdicts(cluster, "open within the namespace", [yes("app1", NGINX, "tcp"), no("app1", "outside node2", "tcp")])
    words = cluster.cli("node1", "endpoint", "list")
    yield checks.check("endpoint list says so", "Enabled" in words, words)


@scenario(cost=12)
def policy_mode_never(context):
    cluster, policies = place(context, agent_flags=["--enable-policy=never"])
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp")])
    policies.use(ALLOW_APP1, DENY_APP1)
    yield from policy.verdicts(cluster, "policies are known and not in force", [yes("app1 app2", NGINX, "tcp")])


def monitored(cluster, node, words, act, wanted, seconds=8):
    """The first line of `axoneme monitor WORDS` for which wanted(line), while act() is done again and again; and all lines."""
    import subprocess
    process = subprocess.Popen([str(word) for word in cluster.exec_command(node, "axoneme", "monitor", *words)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    lines = []
    threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True).start()
    try:
        checks.wait_until(lambda: lines, 3)

        def seen():
            act()
            return next((line.strip() for line in lines if wanted(line)), "")
        return checks.wait_until(seen, seconds, 0.1), "".join(lines[-10:])
    finally:
        process.kill()
        process.wait()


def tries(cluster, source, destination, kind="tcp", port=policy.PORT):
    address = next(iter(cluster.addresses()[destination].values()))
    return lambda: cluster.probe(source, [{"to": address, "port": port, "kind": kind, "timeout-ms": 150}])


@scenario(cost=12)
def policy_audit_of_a_node(context):
    cluster, policies = place(context, agent_flags=["--policy-audit-mode"])
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp")])
    yield checks.check("in force", policies.use(ALLOW_APP1))
    yield from policy.verdicts(cluster, "audit: nothing is dropped", [yes("app1 app2", NGINX, "tcp", "icmp")], explain=False)
    words = cluster.cli("node1", "endpoint", "list")
    yield checks.check("endpoint list: Disabled (Audit)", "Disabled (Audit)" in words, words)
    line, seen = monitored(cluster, "node1", ["-t", "policy-verdict"], tries(cluster, "app2", "nginx"), lambda text: "action audit" in text)
    yield checks.check(f"monitor: {line}", "default deny from CiliumNetworkPolicy default/allow" in line and "match none" in line, seen)


@scenario(cost=12)
def policy_audit_of_an_endpoint(context):
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp")])
    policies.use(ALLOW_APP1)
    rows = [yes("app1", NGINX, "tcp"), no("app2", NGINX, "tcp")]
    yield from policy.verdicts(cluster, "before", rows)
    nginx = checks.endpoint_of(cluster, "nginx")["id"]
    done = cluster.exec("node1", "axoneme", "endpoint", "config", nginx, "PolicyAuditMode=Enabled", check=False)
    yield checks.check("endpoint config ID PolicyAuditMode=Enabled", done.returncode == 0, done.stderr)
    shown = cluster.cli("node1", "endpoint", "config", nginx)
    yield checks.check("endpoint config shows it", any("PolicyAuditMode" in line and "Enabled" in line for line in shown.splitlines()), shown)
    yield from policy.verdicts(cluster, "this one lets pass, the other does not", [yes("app1 app2", "nginx", "tcp"), no("app2", "nginx2", "tcp")], explain=False)
    cluster.sandbox("agent", "kill", "node1")
    cluster.sandbox("agent", "start", "node1")
    yield from policy.verdicts(cluster, "still after a restart", [yes("app2", "nginx", "tcp"), no("app2", "nginx2", "tcp")], explain=False)
    cluster.cli("node1", "endpoint", "config", nginx, "PolicyAuditMode=Disabled")
    yield from policy.verdicts(cluster, "switched off again", rows)
    for bad in ("PolicyAuditMode=Perhaps", "NoSuchOption=Enabled"):
        refused = cluster.exec("node1", "axoneme", "endpoint", "config", nginx, bad, check=False)
        yield checks.check(f"{bad}: {refused.stderr.strip()}", refused.returncode == 1 and "accepted" in refused.stderr, (refused.stdout, refused.stderr))


BAD = {
    "an unknown member": ({"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoint": [endpoints(app="app1")]}]}, "spec.ingress[0].fromEndpoint"),
    "port 0 to …": ({"endpointSelector": endpoints(app="nginx"), "ingress": [{"toPorts": [{"ports": [{"port": "70000"}]}]}]}, "70000"),
    "an unknown entity": ({"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEntities": ["mars"]}]}, "mars"),
    "no CIDR": ({"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromCIDR": ["10.0.0.0/33"]}]}, "10.0.0.0/33"),
    "conflicting selectors": ({"endpointSelector": endpoints(app="nginx"), "nodeSelector": endpoints(a="b"), "ingress": []}, "nodeSelector"),
    "peers of two kinds": ({"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEntities": ["world"], "fromCIDR": ["10.0.0.0/8"]}]}, "spec.ingress[0]"),
    "an operator": ({"endpointSelector": {"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]}, "ingress": []}, "Near"),
    "a label's value": ({"endpointSelector": endpoints(app="ng inx"), "ingress": []}, "ng inx"),
}


@scenario(cost=12, every_store=True)
def policy_mistakes(context):
    """A bad policy is refused as a whole, says why, and leaves its previous version and everything else in force."""
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp")])
    policies.use(ALLOW_APP1)
    rows = [yes("app1", NGINX, "tcp"), no("app2", NGINX, "tcp")]
    key = policy.key_of(ALLOW_APP1)
    for title, (spec, part) in BAD.items():
        if title == "an unknown member" and cluster.prunes:
            continue
        bad = cilium("allow", spec)
        try:
            cluster.apply(policy.text_of([bad]))
        except CommandFailed as refused:
            # By an API server, after the definition of the kind: it never gets as far as an agent.
            yield checks.check(f"{title}: refused: {refused.err}", "422" in refused.err, refused.err)
            continue

        def said():
            shown = policy.objects(cluster, "node1").get(key, {})
            return shown.get("error", "") if part in shown.get("error", "") else ""
        error = checks.wait_until(said, 3, 0.02)
        yield checks.check(f"{title}: {error}", error and "CiliumNetworkPolicy default/allow" in error, policy.objects(cluster, "node1"))
        offline = cluster.exec("node1", "axoneme", "policy", "validate", "-", stdin=policy.text_of([bad]), check=False)
        yield checks.check(f"{title}: policy validate says the same", offline.returncode == 1 and error and error in offline.stdout, offline.stdout)
    yield from policy.verdicts(cluster, "the version before is in force", rows)
    shown = cluster.cli("node1", "policy", "list")
    yield checks.check("policy list shows it", "False" in shown and "previous version stays in force" in shown, shown)
    status = json.dumps(cluster.cli_json("node1", "status")["axoneme"].get("rejected-objects", []))
    yield checks.check("so does the agent's status", "default/allow" in status, status)
    cluster.apply(policy.text_of([cilium("new", BAD["peers of two kinds"][0])]))
    yield from policy.verdicts(cluster, "a new bad one changes nothing", rows)
    cluster.delete(policy.text_of([cilium("new", {})]))
    policies.use(FROM_APP2_ONLY)
    yield checks.check("mended: in force", checks.wait_until(policies.in_force, 3, 0.05), policy.objects(cluster, "node1"))
    yield from policy.verdicts(cluster, "mended", [no("app1", NGINX, "tcp"), yes("app2", NGINX, "tcp")])
    status = json.dumps(cluster.cli_json("node1", "status")["axoneme"].get("rejected-objects", []))
    yield checks.check("the status forgets it", "default/allow" not in status, status)
    warned = cilium("cut", {"endpointSelector": endpoints(app="app1"), "egress": [{"toCIDR": [cluster.addresses()["nginx"]["ipv4"] + "/32"]}]})
    policies.use(warned)
    messages = policy.objects(cluster, "node1")[policy.key_of(warned)]["warnings"]
    yield checks.check(f"a CIDR of pods earns a warning: {messages}", messages and "toCIDR" in messages[0], messages)


@scenario(cost=12)
def policy_that_does_not_fit(context):
    """More rules than an endpoint can have: it is closed and says so, nobody else notices, and it opens when they go."""
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("app1 app2", NGINX + " public", "tcp")])
    big = cilium("big", {"endpointSelector": endpoints(app="nginx"), "ingress": [
        {"fromEndpoints": [endpoints(app="app1")], "toPorts": [{"ports": [{"port": str(10000 + 2 * number), "protocol": "TCP"}]}]} for number in range(4500)]})
    policies.use(ALLOW_APP1, big)
    rows = [no("app1 app2", NGINX, "tcp"), yes("app1 app2", "public", "tcp")]
    yield from policy.verdicts(cluster, "closed, and only this one", rows, explain=False)

    def errors():
        reconcilers, _ = checks.restart_report(cluster, "node1")
        return [error for entry in reconcilers for error in entry["errors"]]
    found = errors()
    yield checks.check(f"the status says so: {found}", len(found) == 1 and "4096" in found[0]["message"], found)
    asked = cluster.exec("node1", "axoneme", "policy", "explain", "--from", "app1", "--to", "nginx", "--port", policy.PORT, check=False)
    yield checks.check(f"so does explain: {asked.stderr.strip()}", asked.returncode == 1 and "4096" in asked.stderr, asked.stdout)
    cluster.sandbox("agent", "kill", "--all")
    cluster.sandbox("agent", "start", "--all")
    yield from policy.verdicts(cluster, "still after a restart", rows, explain=False)
    policies.use(ALLOW_APP1)
    yield from policy.verdicts(cluster, "open again", [yes("app1", NGINX, "tcp"), no("app2", NGINX, "tcp")])
    yield checks.check("the status forgets it", not errors(), errors())


@scenario(cost=12)
def policy_identity_flood(context):
    """10,000 label sets, and labels of every allowed character."""
    cluster, policies = place(context, [("app1", "node1", "app=app1"), ("app2", "node1", "app=app2"), ("nginx", "node2", "app=nginx"),
                                        ("odd", "node1", "example.com/a.B_c-9=V.a_l-9")])
    odd = {"matchLabels": {"example.com/a.B_c-9": "V.a_l-9"}}
    yield policy.ready(cluster, [yes("app1 app2 odd", "nginx", "tcp")])
    taken = {row["id"] for row in cluster.cli_json("node2", "identity", "list")}
    free = [number for number in range(20000, 31000) if number not in taken]
    crowd = [{"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity", "metadata": {"name": str(number)}, "security-labels": {
        "k8s:crowd": "yes", "k8s:number": str(number), "k8s:io.kubernetes.pod.namespace": "default", "k8s:io.cilium.k8s.policy.cluster": "default"}}
             for number in free[:10000]]
    cluster.apply_many(crowd)
    known = checks.wait_until(lambda: cluster.cli("node2", "identity", "list").count("k8s:crowd=yes") == 10000, 10, 0.2)
    yield checks.check("10,000 identities are known", known)
    select = cilium("crowd", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(crowd="yes"), endpoints(app="app1"), odd]}]})
    yield checks.check("a policy that selects all of them is in force", policies.use(select))
    yield from policy.verdicts(cluster, "among 10,000", [yes("app1 odd", "nginx", "tcp"), no("app2", "nginx", "tcp")])
    selected = [row for row in cluster.cli_json("node2", "policy", "selectors") if "crowd=yes" in row["selector"]]
    yield checks.check("policy selectors counts them", selected and len(selected[0]["identities"]) == 10000, [len(row["identities"]) for row in selected])
    yield checks.no_reconciler_errors(cluster, "node2")


@scenario(cost=15)
def policy_commands(context):
    cluster, policies = place(context)
    yield policy.ready(cluster, [yes("app1 app2", NGINX, "tcp"), yes("app1", "outside", "tcp")])
    outside = cluster.addresses()["outside"]["ipv4"] + "/32"
    deny = cilium("deny", {"endpointSelector": endpoints(app="app1"), "egressDeny": [{"toCIDR": [outside]}], "enableDefaultDeny": {"egress": False}})
    yield checks.check("in force", policies.use(ALLOW_APP1, deny))
    nginx = checks.endpoint_of(cluster, "nginx")["id"]
    revision = str(json.loads(cluster.cli("node1", "policy", "get", "-o", "json"))["revision"])
    allow = r"CiliumNetworkPolicy default/allow, spec\.ingress\[0\]"
    explain = ["policy", "explain", "--port", policy.PORT]
    expectations = [
        (["policy", "get"], [r'"endpointSelector"', r"(?m)^Revision: \d+$"]),
        (["policy", "get", "-o", "jsonpath={.revision}"], [r"^\d+"]),
        (["policy", "list"], [r"(?m)^KIND\s+NAMESPACE\s+NAME\s+VALID\s+RULES\s+MESSAGE", r"CiliumNetworkPolicy\s+default\s+allow\s+True\s+1"]),
        (["policy", "rules"], [r"(?m)^COOKIE\s+DIRECTION\s+ACTION\s+RULE\s+MEANING", allow, r"egress\s+Deny\s+CiliumNetworkPolicy default/deny"]),
        (["policy", "selectors"], [r"(?m)^SELECTOR\s+LABELS\s+USERS\s+IDENTITIES", r"app=app1"]),
        (["policy", "wait", revision, "--max-wait-time", "5"], [r"^$"]),
        (explain + ["--from", "app1", "--to", "default/nginx"], [r"^app1 -> default/nginx, TCP/7000: ALLOWED\n", allow]),
        (explain + ["--from", "app2", "--to", "nginx"], [r"^app2 -> nginx, TCP/7000: DENIED\n", r"default deny from CiliumNetworkPolicy default/allow", r"k8s:app=app1|app=app1"]),
        (explain + ["--from", "app1", "--to", "world"], [r"ALLOWED"]),
        (explain + ["--from", "app1", "--to", outside[:-3]], [r"DENIED", r"CiliumNetworkPolicy default/deny, spec\.egressDeny\[0\]"]),
        (["bpf", "policy", "get", nginx], [r"(?m)^POLICY\s+DIRECTION\s+IDENTITY\s+PORT/PROTO\s+PROXY PORT\s+AUTH TYPE", r"(?m)^Allow\s+Ingress\s+k8s:app=app1\s+ANY", allow]),
        (["bpf", "policy", "get", "--all", "-n"], [rf"(?m)^Endpoint ID: {nginx}$", r"(?m)^Deny\s+Egress\s+\d+\s+ANY"]),
        (["endpoint", "list"], [rf"(?m)^{nginx}\s+Enabled\s+Disabled\s"]),
        (["identity", "list"], [rf"(?m)cidr:{outside}"]),
    ]
    import re
    for words, patterns in expectations:
        output = cluster.exec("node1", "axoneme", *words, check=False)
        missing = [pattern for pattern in patterns if not re.search(pattern, output.stdout)]
        yield checks.check(f"axoneme {' '.join(map(str, words))}", output.returncode == 0 and not missing,
                           f"exit status {output.returncode}, without {missing}:\n{output.stdout}{output.stderr}")
    realized = checks.endpoint_of(cluster, "nginx")["status"]["policy"]["realized"]
    yield checks.check("endpoint get: policy-enabled, revision, identities", realized["policy-enabled"] == "ingress" and realized["policy-revision"] >= int(revision)
                       and realized["allowed-ingress-identities"], realized)
    line, seen = monitored(cluster, "node1", ["-t", "drop"], tries(cluster, "app2", "nginx"), lambda text: "Policy denied" in text and "tcp SYN" in text)
    yield checks.check(f"monitor: {line}", "no rule allows it: default deny from CiliumNetworkPolicy default/allow" in line, seen)
    line, seen = monitored(cluster, "node1", ["-t", "drop"], tries(cluster, "app1", "outside"), lambda text: "denylist" in text and "tcp SYN" in text)
    yield checks.check(f"monitor: {line}", "denied by CiliumNetworkPolicy default/deny, spec.egressDeny[0]" in line, seen)
    line, seen = monitored(cluster, "node1", ["-t", "policy-verdict"], tries(cluster, "app1", "nginx"), lambda text: "ingress, action allow" in text)
    yield checks.check(f"monitor: {line}", f"local EP ID {nginx}" in line and "match L3-Only" in line and "allowed by CiliumNetworkPolicy default/allow, spec.ingress[0]" in line, seen)
    # Flows that were just seen, under a policy that is not there yet.
    cluster.probe("app1", [{"to": cluster.addresses()["nginx"]["ipv4"], "port": policy.PORT, "kind": "tcp"}])
    preview = policy.text_of([FROM_APP2_ONLY | {"metadata": ALLOW_APP1["metadata"]}])
    done = cluster.exec("node1", "axoneme", "policy", "diff", "-f", "-", stdin=preview, check=False)
    yield checks.check("policy diff: app1 would be cut off, app2 let in", done.returncode == 0 and re.search(r"(?m)^- default/app1 -> default/nginx, TCP/7000", done.stdout)
                       and re.search(r"(?m)^\+ default/app2 -> default/nginx, TCP/7000", done.stdout), done.stdout + done.stderr)
    done = cluster.exec("node1", "axoneme", "policy", "diff", "--delete", "-f", "-", stdin=policy.text_of([ALLOW_APP1]), check=False)
    yield checks.check("policy diff --delete: app2 would be let in", done.returncode == 0 and "+ default/app2 -> default/nginx" in done.stdout, done.stdout + done.stderr)
    refused = cluster.exec("node1", "axoneme", "policy", "explain", "--from", "nobody", "--to", "nginx", "--port", 80, check=False)
    yield checks.check(f"explain of a pod that is not there: {refused.stderr.strip()}", refused.returncode == 1 and "nobody" in refused.stderr and "accepted" in refused.stderr,
                       refused.stderr)
    late = cluster.exec("node1", "axoneme", "policy", "wait", "99999", "--max-wait-time", "1", check=False)
    yield checks.check(f"policy wait for what does not come: {late.stderr.strip()}", late.returncode == 1 and "99999" in late.stderr, late.stderr)


@scenario(cost=15)
def policy_explain_matrix(context):
    """Several policies at once: everybody to everybody, and what explain says, must agree."""
    cluster, policies = place(context, routing="native")
    machines = ["app1", "app2", "nginx", "nginx2", "public"]
    yield policy.ready(cluster, [yes("app1 app2", NGINX + " public", "tcp")])
    tcp = [{"ports": [{"port": "7000", "protocol": "TCP"}]}]
    policies.use(
        cilium("a", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="app1")], "toPorts": tcp}, {"fromEntities": ["world"]}]}),
        cilium("b", {"endpointSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "egress": [
            {"toEndpoints": [{"matchExpressions": [{"key": "app", "operator": "In", "values": ["nginx", "app2"]}]}, endpoints(role="public")]}, {"toEntities": ["world"]}, {"toEntities": ["remote-node"], "icmps": [
                {"fields": [{"type": 8, "family": "IPv4"}]}]}]}),
        clusterwide("c", {"endpointSelector": endpoints(app="app2"), "ingress": [{}], "ingressDeny": [{"fromEndpoints": [{"matchLabels": {"role": "public"}}]}]}),
        kubernetes("d", {"podSelector": endpoints(role="public"), "policyTypes": ["Ingress", "Egress"], "egress": [{"ports": [{"port": 7000, "protocol": "UDP"}]}, {"to": [{"podSelector": endpoints(app="nginx")}]}],
                         "ingress": [{"from": [{"podSelector": {}}]}]}))
    addresses = cluster.addresses()
    flows = [policy.Flow(source, destination, kind, 0 if kind == "icmp" else policy.PORT, family)
             for source in machines for destination in machines + ["node1", "node2", "outside"] if source != destination
             for kind in ("tcp", "udp", "icmp") for family in ("ipv4", "ipv6")]
    policy.serve(cluster, flows)
    first = policy.passes(cluster, addresses, flows)
    # What failed gets more time: a busy machine is no policy.
    second = policy.passes(cluster, addresses, [flow for flow in flows if first[flow]], 900)
    passed = {flow: not second.get(flow, first[flow]) for flow in flows}
    pods = {pod["name"]: pod for pod in cluster.status()["pods"]}
    wrong = []
    for flow in flows:
        answer = policy.explained(cluster, pods, addresses, flow)
        if answer["allowed"] != passed[flow]:
            wrong.append(f"{flow}: {'passes' if passed[flow] else 'blocked'}, explained as {answer['allowed']}: {answer['text']}")
        elif not answer["allowed"] and not any(part["decided-by"]["description"] for part in answer["parts"] if not part["allowed"]):
            wrong.append(f"{flow}: denied by nobody")
    yield checks.check(f"{len(flows)} flows, {sum(passed.values())} pass: explain agrees with every one", not wrong and 20 < sum(passed.values()) < len(flows) - 20,
                       "; ".join(wrong[:5]))
