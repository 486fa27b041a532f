#!/usr/bin/env python3
"""The demo: a cluster on this machine, shown step by step with real packets. Same checks as the cluster tests.

Usage: tests/cluster/demo.py --build BUILD_DIR [--keep] [--routing vxlan|native] [--families dual|ipv4|ipv6]
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lib import checks, policy, services  # noqa: E402
from lib.sandbox import Cluster, CommandFailed, leftovers, root_namespace  # noqa: E402
from lib.talk import Conversation  # noqa: E402
from scenarios import hubble_dns, policy_forms, policy_life, relay, services_policy  # noqa: E402
from scenarios.connectivity import place_pods  # noqa: E402
from scenarios.restart import FLOWS  # noqa: E402

BOLD, GREEN, RED, DIM, PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("",) * 5


class Demo:
    def __init__(self):
        self.passed = self.failed = 0

    def step(self, title):
        print(f"\n{BOLD}{title}{PLAIN}", flush=True)

    def command(self, text):
        print(f"  {DIM}$ {text}{PLAIN}", flush=True)

    def show(self, result):
        self.passed += result.ok
        self.failed += not result.ok
        mark = f"{GREEN}✓{PLAIN}" if result.ok else f"{RED}✗{PLAIN}"
        print(f"  {mark} {result.what}" + (f"\n      {result.detail[:1500]}" if result.detail else ""), flush=True)

    def show_all(self, results):
        for result in results:
            self.show(result)

    def show_together(self, title, results):
        """One line for a group that holds, the failing ones by name; every one counts."""
        bad = [result for result in results if not result.ok]
        self.passed += len(results) - len(bad)
        self.failed += len(bad)
        mark = f"{GREEN}✓{PLAIN}" if results and not bad else f"{RED}✗{PLAIN}"
        print(f"  {mark} {title}  {DIM}({len(results) - len(bad)} of {len(results)} checks){PLAIN}", flush=True)
        for result in bad[:10]:
            print(f"      {result.what}: {result.detail[:300]}", flush=True)

    def excerpt(self, text, lines=12):
        for line in text.rstrip().splitlines()[:lines]:
            print(f"      {line.rstrip()[:150]}", flush=True)


GROUPS = [
    ("node → node", [("node1", "node2"), ("node2", "node3"), ("node3", "node1")]),
    ("pod → pod on the same node", [("a1", "a2"), ("a2", "a1")]),
    ("pod → pod on another node", [("a1", "b1"), ("b1", "c1"), ("c1", "a2")]),
    ("pod → its own node, and back", [("a1", "node1"), ("node1", "a1"), ("b1", "node2")]),
    ("pod → another node, and back", [("a1", "node2"), ("node3", "a1"), ("c1", "node1")]),
    ("pod → outside, and back", [("a1", "outside"), ("b1", "outside"), ("outside", "c1")]),
]


def traffic(demo, cluster):
    count = {"dual": 2}.get(cluster.families, 1)
    print(f"  {DIM}each pair: TCP, UDP, ICMP, fragments of both, 2 MB each way in super-packets; {count} address "
          f"famil{'ies' if count > 1 else 'y'}; the receiver must see the sender's own address{PLAIN}")
    for title, pairs in GROUPS:
        demo.show_together(title, checks.connectivity(cluster, pairs))


def policies_in_force(demo, cluster):
    """The articles' policies, who decided and why, and changes that reach connections that are there already."""
    for name, node, labels in policy_forms.PODS:
        cluster.add_pod(name, node, labels=labels)
    print(f"  {DIM}app1, app2 (app=…) and nginx on node1; nginx2 (app=nginx) and public (role=public) on node2; each row: TCP, UDP, ICMP, "
          f"both directions where it matters; `policy explain` has to agree with every packet{PLAIN}")
    in_force = policy.Policies(cluster)
    demo.show(policy.ready(cluster, [policy.yes("app1 app2 public", "nginx nginx2", "tcp")]))
    results = list(policy_forms.seed_policies(cluster, in_force))
    for name in policy_forms.SEED_ROWS:
        demo.command(f"axoneme sandbox apply {name}.yaml")
        own = [result for result in results if result.what.startswith(name + ": ")]
        count = next((result.what.partition(": ")[2] for result in own if "flows pass" in result.what), "")
        demo.show_together(f"{policy_forms.SEED_SAYS[name]}: {count}, explain agrees", own)
    demo.command("axoneme policy validate from-world-to-role-public.yaml    # as the article prints it, without a list's dash")
    refused = cluster.exec("node1", "axoneme", "policy", "validate", "-", stdin=policy_forms.FIFTH_AS_WRITTEN, check=False)
    demo.show(checks.check(refused.stdout.strip()[:170], refused.returncode == 1))

    in_force.use(policy_life.ALLOW_APP1)
    words = ["policy", "explain", "--from", "app2", "--to", "nginx", "--port", "80"]
    demo.command("axoneme " + " ".join(words))
    said = cluster.cli("node1", *words)
    demo.excerpt(said, 12)
    demo.show(checks.check("it says who denies and what would have to change", "DENIED" in said and "default deny from CiliumNetworkPolicy default/allow" in said
                           and "would need label" in said, said))
    demo.command("axoneme monitor -t drop    # while app2 tries")
    line, seen = policy_life.monitored(cluster, "node1", ["-t", "drop"], policy_life.tries(cluster, "app2", "nginx"), lambda text: "Policy denied" in text)
    demo.show(checks.check(line or "a drop that names its policy", "default deny from CiliumNetworkPolicy default/allow" in line, seen))
    in_force.use()

    addresses = cluster.addresses()
    family = next(iter(addresses["nginx2"]))
    conversation = Conversation(cluster, "app1", "nginx2", "tcp", addresses["nginx2"][family], 9000)
    before = conversation.gets_through(seconds=2)
    in_force.use(policy_life.DENY_APP1)
    during = conversation.gets_through()
    in_force.use()
    demo.show(checks.check("an established connection: open, cut by a policy before its next packet, open again when the policy goes",
                           before and not during and conversation.gets_through(seconds=6), (before, during)))
    cluster.sandbox("pod", "del", *(name for name, _, _ in policy_forms.PODS))


def services_in_force(demo, cluster):
    """kube-proxy's work: who answers at a Service's addresses, and whom the client's socket believes to talk to."""
    known = services.Services(cluster)
    services.route_through(cluster, "node1")
    demo.command("axoneme sandbox apply web.yaml    # type LoadBalancer; backends b1 on node2, c1 on node3")
    known.put("web", 21, ("b1", "c1"), type_="LoadBalancer")
    backends = "b1 c1"
    for title, rows in (
            ("ClusterIP 10.96.0.21, fd00:96::15: from a pod, from two nodes", services.rows("a1 node1 node3", "cluster", 21, backends)),
            ("NodePort 30021: from outside, a pod and a node, at every node", services.rows("outside a1 node2", "node:node1 node:node2 node:node3", 21, backends)),
            ("the load balancer's address: from outside, a pod and a node", services.rows("outside a1 node2", "load-balancer", 21, backends)),
            ("a pod reaches itself through the Service", services.rows(backends, "cluster", 21, backends)),
            ("2 MB through ClusterIP and NodePort, datagrams in fragments", [
                *services.rows("a1", "cluster", 21, backends, kinds=("upload", "fragments")),
                *services.rows("outside", "node:node1", 21, backends, kinds=("upload", "fragments"))])):
        demo.show(services.verdicts(cluster, title, rows))
    for words, lines in ((["service", "list"], 12), (["bpf", "lb", "list"], 9)):
        demo.command(f"axoneme sandbox exec node1 -- axoneme {' '.join(words)}")
        demo.excerpt(cluster.exec("node1", "axoneme", *words, check=False).stdout, lines)
    demo.command("axoneme sandbox apply web-endpoints.yaml    # b1 is terminating, then nobody is left")
    known.backends("web", (known.backend("b1", ready=False, serving=True, terminating=True), "c1"))
    demo.show(services.verdicts(cluster, "a terminating backend gets nothing new", services.rows("outside a1 node1", "node:node1", 21, "c1", kinds=("tcp", "udp"))))
    known.backends("web", ())
    demo.show(services.verdicts(cluster, "without a backend clients are refused at once",
                                services.rows("a1 node1", "cluster", 21, error="refused", kinds=("tcp",))))
    known.remove("web")

    for name, node in services_policy.PODS:
        cluster.add_pod(name, node, labels=f"app={'nginx' if name == 'nginx2' else name}")
    known = services.Services(cluster)
    services_policy.put_services(known)
    demo.command("axoneme sandbox apply l3-rule-allow-app1-to-nginx-svc.yaml    # the article's toServices policy, at the Service's address")
    demo.show_all(services_policy.article(cluster, known))
    known.remove("nginx", "other")
    cluster.sandbox("pod", "del", *(name for name, _ in services_policy.PODS))


SHOP = [("cart", "node2"), ("web", "node1"), ("batch", "node3")]
ONLY_WEB = policy.cilium("cart", {"endpointSelector": policy.endpoints(app="cart"), "ingress": [{"fromEndpoints": [policy.endpoints(app="web")]}]})


def flows_seen(demo, cluster):
    """Hubble: every flow of every node at one relay, why one was dropped, and the page."""
    for name, node in SHOP:
        cluster.add_pod(name, node, labels=f"app={name}")
    cluster.serve("cart")
    cluster.apply(policy.text_of([ONLY_WEB]))
    demo.command("axoneme sandbox relay start")
    url = relay.start_relay(cluster)
    hubble = relay.hubble_on(cluster, "node1")
    demo.show(checks.check("the relay follows every node", checks.wait_until(lambda: "Connected Nodes: 3/3\n" in hubble("status"), 20, 0.3), hubble("status")))
    demo.excerpt(hubble("status"), 5)

    def told():
        for pod in ("web", "batch"):
            relay.connect(cluster, pod, "cart")
        seen = hubble("observe", "--last", "200", "--to-pod", "cart", "--print-node-name")
        return "default/web" in seen and "Policy denied DROPPED" in seen

    demo.command("axoneme hubble observe --to-pod cart --last 9 --print-node-name    # web may, batch may not")
    demo.show(checks.check("the client's node and the server's are both seen, and the drop", checks.wait_until(told, 15, 0.5), hubble("observe", "--last", "20")))
    demo.excerpt(hubble("observe", "--last", "9", "--to-pod", "cart", "--print-node-name"), 9)
    demo.command("axoneme hubble observe --from-pod batch --verdict DROPPED --explain --last 1")
    text = hubble("observe", "--from-pod", "batch", "--verdict", "DROPPED", "--type", "drop", "--explain", "--last", "1")
    demo.excerpt(text, 24)
    demo.show(checks.check("it says why, and prints the policy that would allow it", "kind: CiliumNetworkPolicy" in text and "app: batch" in text, text))
    names_seen(demo, cluster, hubble)
    told_of = relay.web_flows(url, destination_pod=["default/cart"])
    demo.show(checks.check(f"the page is at {url}?ns=default (and knows {len(told_of)} of these flows)", "<title>Axoneme" in relay.read(url) and told_of, told_of))
    cluster.delete(policy.text_of([ONLY_WEB]))


def names_seen(demo, cluster, hubble):
    """DNS as the datapath sees it: no proxy is in between."""
    cluster.add_pod("names", "node2", labels="app=names")
    addresses = cluster.addresses()
    server = hubble_dns.serve_names(cluster, "names", addresses["cart"], "cart.example.com")
    try:
        at = next(iter(addresses["names"].values()))
        found = checks.wait_until(lambda: hubble_dns.resolve(cluster, "web", at, "cart.example.com"), 10, 0.5)
        demo.show(checks.check("a pod asks a DNS server in another pod", found == set(addresses["cart"].values()), found))
        relay.connect(cluster, "web", "cart")
        demo.command("axoneme hubble observe --pod web --protocol dns --last 4; … --from-pod web --to-fqdn cart.example.com --last 1")
        asked = checks.wait_until(lambda: hubble("observe", "--last", "4", "--pod", "web", "--protocol", "dns"), 10, 0.3)
        named = checks.wait_until(lambda: hubble("observe", "--last", "1", "--from-pod", "web", "--to-fqdn", "cart.example.com"), 10, 0.3)
        demo.excerpt(asked + named)
        demo.show(checks.check("its question and the answer are flows, and what it sends there has the name", "DNS Answer" in asked and "default/cart" in named, asked + named))
    finally:
        server.kill()
    cluster.delete_pods("names")


def walk(demo, cluster):
    demo.step("1. A cluster: an underlay, an outside host, three nodes; one operator and three agents from a directory of manifests")
    demo.command(" ".join(["axoneme sandbox --cluster", cluster.name, "up"] + [f"--{k} {v}" for k, v in cluster.options.items() if isinstance(v, str)]))
    start = time.monotonic()
    print("  " + cluster.up())
    demo.show(checks.check(f"every agent healthy, every node known, after {time.monotonic() - start:.1f} s", True))

    demo.step("2. Pods, created by calling the CNI plugin as a container runtime would")
    place_pods(cluster)
    for pod in cluster.status()["pods"]:
        demo.command(f"axoneme sandbox pod add {pod['name']} --node {pod['node']}")
        demo.show(checks.check(f"{pod['name']} on {pod['node']}: {', '.join(pod['addresses'])}  (CNI ADD {pod['cni-add-us'] / 1000:.1f} ms)", pod["addresses"]))

    demo.step(f"3. Kubernetes' network model, without NAT, over {cluster.options.get('routing', 'vxlan')}")
    traffic(demo, cluster)

    demo.step("4. What the agent says")
    for words, lines in ((["status"], 24), (["endpoint", "list"], 10), (["bpf", "ipcache", "list"], 8), (["node", "list"], 5)):
        demo.command(f"axoneme sandbox exec node1 -- axoneme {' '.join(words)}")
        demo.excerpt(cluster.exec("node1", "axoneme", *words, check=False).stdout, lines)
    demo.show_all(checks.cli_outputs(cluster, "node1", "a1"))
    demo.show(checks.monitor_shows(cluster, "node1", "a1", "a2"))
    for node in cluster.nodes():
        demo.show(checks.reachable_nodes(cluster, node))

    demo.step("5. Policy")
    policies_in_force(demo, cluster)

    demo.step("6. Services, without kube-proxy")
    services_in_force(demo, cluster)

    demo.step("7. Hubble: who talks to whom, and why not")
    flows_seen(demo, cluster)

    demo.step("8. kill -9 of every agent and of the operator, under load")
    demo.command("axoneme sandbox agent kill --all; axoneme sandbox operator kill")
    demo.show_all(checks.restart_under_load(cluster, FLOWS))


def other_modes(demo, build, cluster):
    variants = []
    if cluster.options.get("routing") != "native":
        variants.append(("native routing with a node in another L2 segment, routes through the gateway", dict(routing="native", second_segment=1)))
    variants.append(("IPv6 only, over VXLAN", dict(families="ipv6")))
    variants.append(("IPv4 only, native routing", dict(families="ipv4", routing="native")))
    for number, (title, options) in enumerate(variants, 9):
        demo.step(f"{number}. The same over {title}")
        other = Cluster(build, f"{cluster.name}-{number}", **options)
        try:
            print("  " + other.up())
            place_pods(other)
            traffic(demo, other)
        except CommandFailed as error:
            demo.show(checks.check(title, False, str(error)))
        finally:
            other.down()
        demo.show(checks.check("taken down, nothing left", not leftovers(other.name), leftovers(other.name)))


def what_next(cluster):
    name = "" if cluster.name == "demo" else f" --cluster {cluster.name}"
    page = next((line.rpartition(" ")[2] for line in cluster.sandbox("status").stdout.splitlines() if line.startswith("Relay:")), "")
    print(f"""
{BOLD}The cluster stays up.{PLAIN} Its page: {BOLD}{page}{PLAIN}    Try:
  build/dev/bin/axoneme sandbox{name} status
  build/dev/bin/axoneme sandbox exec{name} node1 -- axoneme status --verbose
  build/dev/bin/axoneme sandbox exec{name} node1 -- axoneme monitor
  build/dev/bin/axoneme sandbox exec{name} a1 -- ping 172.18.200.10
  build/dev/bin/axoneme sandbox{name} pod add web --node node2 --labels app=web
  build/dev/bin/axoneme sandbox{name} agent kill node1      # and watch that traffic goes on
  build/dev/bin/axoneme sandbox{name} down""")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent.parent / "build/dev")
    parser.add_argument("--cluster", default="demo")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--routing", default="vxlan", choices=["vxlan", "native"])
    parser.add_argument("--families", default="dual", choices=["dual", "ipv4", "ipv6"])
    args = parser.parse_args()
    if os.geteuid() != 0:
        sudo = subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0 if pathlib.Path("/usr/bin/sudo").exists() else False
        if sudo:
            os.execvp("sudo", ["sudo", sys.executable, *sys.argv])
        print("the demo makes network namespaces: run as root", file=sys.stderr)
        return 1
    demo = Demo()
    untouched = root_namespace()
    cluster = Cluster(args.build, args.cluster, routing=args.routing, families=args.families, agent_flags=services.replacement())
    kept = False
    try:
        walk(demo, cluster)
        other_modes(demo, args.build, cluster)
        kept = args.keep
        if kept:
            cluster.stop_servers()
    except (CommandFailed, KeyboardInterrupt, subprocess.TimeoutExpired) as error:
        demo.show(checks.check("the demo runs to its end", False, str(error) or type(error).__name__))
    finally:
        demo.step("Taking everything down" if not kept else "Leaving the cluster up")
        if not kept:
            try:
                cluster.down()
            except CommandFailed as error:
                print(f"  {error}")
            left = leftovers(cluster.name)
            demo.show(checks.check("no namespace, mount, cgroup, process or file is left", not left, left))
        demo.show(checks.check("the machine's own links, routes and rules are as they were", root_namespace() == untouched))
    print(f"\n{demo.passed} checks passed, {demo.failed} failed")
    if kept:
        what_next(cluster)
    return 0 if demo.failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
