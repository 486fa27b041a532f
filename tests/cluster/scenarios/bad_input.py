"""What is wrong gets one clear message that names the object and the way out, and the rest goes on working."""
import json

from lib import checks
from lib.sandbox import PORT
from lib.scenario import scenario
from scenarios.commands import call_plugin


def still_works(cluster, name):
    """A new pod and traffic: the rest goes on."""
    cluster.add_pod(name, "node1")
    return checks.connectivity(cluster, [(name, "outside")], kinds=checks.KINDS[:3])


def says(cluster, processes, *parts):
    """One line of these logs, or of the agent's status, holds all the parts."""
    def found():
        text = "\n".join(cluster.log(process) for process in processes)
        text += json.dumps(cluster.cli_json("node1", "status").get("axoneme", {}), ensure_ascii=False).replace("}", "}\n")
        return next((line for line in text.splitlines() if all(part in line for part in parts)), "")
    line = checks.wait_until(found, 10, 0.3)
    return checks.check(f"it is said: {line.strip()[:160] or parts}", line, "\n".join(cluster.log(process)[-1500:] for process in processes))


@scenario(cost=15, dir_only="an API server takes no torn document, no unknown kind and no CIDR that is none")
def bad_manifests(context):
    cluster = context.cluster(nodes=1)
    cluster.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: [\n", raw="torn.yaml")
    yield says(cluster, ["node1"], "torn.yaml")
    cluster.apply("apiVersion: v1\nkind: Gadget\nmetadata: {name: odd}\n", raw="gadget.yaml")
    yield says(cluster, ["node1"], "gadget.yaml", "Gadget")
    cluster.apply("apiVersion: cilium.io/v2\nkind: CiliumNode\nmetadata: {name: elsewhere}\nspec: {ipam: {podCIDRs: [10.0.0.0/33]}}\n", raw="cidr.yaml")
    yield says(cluster, ["node1"], "10.0.0.0/33")
    yield from still_works(cluster, "after")


@scenario(cost=15)
def overlapping_pod_cidr(context):
    cluster = context.cluster(nodes=1)
    cidr = cluster.status()["nodes"][0]["pod-cidrs"][0]
    cluster.apply(f"apiVersion: cilium.io/v2\nkind: CiliumNode\nmetadata: {{name: twin}}\nspec: {{addresses: [{{type: InternalIP, ip: 172.18.1.99}}], "
                  f"ipam: {{podCIDRs: [{cidr}]}}}}\n")
    yield says(cluster, ["operator", "node1"], "twin", cidr)
    yield from still_works(cluster, "after")


@scenario(cost=15, every_store=True)
def exhausted_pool(context):
    """Two nodes' worth of CIDRs for three nodes."""
    cluster = context.cluster(nodes=2, families="ipv4", operator_flags=["--cluster-pool-ipv4-cidr=10.50.0.0/23"])
    cluster.add_node("third", wait=False)

    def reported():
        node = cluster.find_object("cilium.io/v2", "CiliumNode", None, "third") or {}
        return node.get("status", {}).get("ipam", {}).get("operator-status", {}).get("error", "")
    line = checks.wait_until(reported, 15, 0.3)
    yield checks.check(f"the CiliumNode says why it has no pod CIDR: {line}", line)
    yield says(cluster, ["operator"], "third")
    yield from still_works(cluster, "after")


@scenario(cost=15)
def exhausted_node(context):
    """More pods than the node's CIDR has addresses: an error for the one too many, none for the others."""
    cluster = context.cluster(nodes=1, families="ipv4", operator_flags=["--cluster-pool-ipv4-cidr=10.50.0.0/24", "--cluster-pool-ipv4-mask-size=29"])
    done = cluster.add_pods(*[f"p{number}" for number in range(8)], check=False)
    # Of eight addresses the first and the last are not handed out, and the router and the health endpoint have theirs.
    yield checks.check("four of eight pods fit", len(cluster.status()["pods"]) == 4, cluster.sandbox("pod", "list").stdout)
    yield checks.check(f"the others are told: {done.stderr.strip()[:160]}", done.returncode == 1 and "cilium-cni ADD failed" in done.stderr, done.stderr)
    cluster.delete_pods("p0")
    yield from still_works(cluster, "after")


@scenario(cost=10)
def bad_cni_requests(context):
    cluster = context.cluster(nodes=1)
    pod = cluster.add_pod("a", "node1")
    for title, overrides, part in (
            ("no pod namespace", {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=x"}, "K8S_POD_NAMESPACE"),
            ("a name that breaks a path", {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=../../etc/passwd"}, "K8S_POD_NAME"),
            ("a container id that breaks a path", {"CNI_CONTAINERID": "../../x"}, "CNI_CONTAINERID"),
            ("a network namespace that is not there", {"CNI_NETNS": "/var/run/netns/nothing"}, "/var/run/netns/nothing"),
            ("an interface name that is too long", {"CNI_IFNAME": "much-too-long-for-linux"}, "CNI_IFNAME")):
        done = call_plugin(cluster, "node1", "ADD", pod, **overrides)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = {}
        message = answer.get("msg", "") + " " + answer.get("details", "")
        yield checks.check(f"ADD with {title}: code {answer.get('code')}: {message[:140]}", done.returncode != 0 and answer.get("code") and part in message,
                           (done.returncode, done.stdout, done.stderr))
    links = [line for line in cluster.exec("node1", "ip", "-o", "link").stdout.splitlines() if ": lxc" in line and "lxc_health" not in line]
    yield checks.check("a failed ADD leaves no device", len(links) == 1, links)
    yield from still_works(cluster, "after")


@scenario(cost=10)
def two_agents_on_one_node(context):
    cluster = context.cluster(nodes=1)
    done = cluster.exec("node1", "axoneme-agent", *cluster.store_flags, "--enable-ipv6=true", "--enable-ipv4-masquerade=false",
                        "--enable-ipv6-masquerade=false", check=False, timeout=20)
    yield checks.check(f"the second one is refused: {done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else ''}",
                       done.returncode not in (0, -11) and "agent" in done.stderr, (done.returncode, done.stderr))
    yield from still_works(cluster, "after")


@scenario(cost=10)
def second_cluster_on_the_same_bpffs(context):
    cluster = context.cluster(nodes=1)
    done = cluster.exec("node1", "timeout", "10", "axoneme-agent", *cluster.store_flags, "--state-dir=/run/other", "--enable-ipv6=true",
                        "--agent-health-port=9899", "--cluster-health-port=4299", "--enable-ipv4-masquerade=false", "--enable-ipv6-masquerade=false", check=False, timeout=20)
    yield checks.check(f"an agent with another state directory is refused: {done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else ''}",
                       done.returncode not in (0, -11, 124) and "/sys/fs/bpf" in done.stderr, (done.returncode, done.stderr))
    yield from still_works(cluster, "after")


@scenario(cost=15)
def full_disk(context):
    cluster = context.cluster(nodes=1)
    cluster.add_pod("a", "node1")
    cluster.exec("node1", "sh", "-c", "dd if=/dev/zero of=/run/fill bs=1M 2>/dev/null; dd if=/dev/zero of=/run/fill2 bs=1 2>/dev/null; true")
    done = cluster.add_pods("b", node="node1", check=False)
    if done.returncode == 0:
        # Taken on without its file: then the agent says that, and which.
        yield says(cluster, ["node1"], "No space left on device")
    else:
        yield checks.check(f"a pod that cannot be stored is refused: {done.stderr.strip()[:200]}", "No space left" in done.stderr, done.stderr)
    yield from checks.connectivity(cluster, [("a", "outside")], kinds=checks.KINDS[:3])
    cluster.exec("node1", "rm", "-f", "/run/fill", "/run/fill2")
    yield from still_works(cluster, "after")


@scenario(cost=15)
def removed_pin(context):
    """A map's pin removed behind the agent's back: traffic goes on, the next start repairs it and says so."""
    cluster = context.cluster(nodes=1)
    cluster.add_pod("a", "node1")
    cluster.exec("node1", "sh", "-c", "rm -f /sys/fs/bpf/tc/globals/cilium_ipcache_v2")
    yield from checks.connectivity(cluster, [("a", "outside")], kinds=checks.KINDS[:3])
    cluster.sandbox("agent", "stop", "node1")
    cluster.sandbox("agent", "start", "node1")
    yield from still_works(cluster, "after")
    yield from checks.connectivity(cluster, [("a", "outside"), ("a", "after")], kinds=checks.KINDS[:3])


@scenario(cost=15)
def missing_kernel_feature(context):
    """A feature that is asked for and that the node's kernel does not have: the agent says which, and what to do."""
    cluster = context.cluster(nodes=1)
    cluster.add_pod("a", "node1")
    cluster.sandbox("agent", "stop", "node1")
    # As on a kernel without IPv6, for whoever asks whether it is there. Addresses go, so only IPv4 is looked at meanwhile.
    cluster.exec("node1", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    done = cluster.sandbox("agent", "start", "node1", check=False)
    line = next((line for line in cluster.log("node1").splitlines() if "enable-ipv6" in line), "")
    yield checks.check(f"the agent is refused: {line[-220:]}", done.returncode != 0 and "no IPv6" in line and "enable-ipv6=false" in line, done.stderr)
    to = cluster.addresses()["outside"]["ipv4"]
    cluster.serve("outside")
    result = cluster.probe("a", [{"to": to, "port": PORT, "kind": "tcp"}])[0]
    yield checks.check("pods go on over IPv4 meanwhile", result["ok"], result)
    cluster.exec("node1", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
    cluster.sandbox("agent", "start", "node1")
    yield checks.check("with it, the agent starts", cluster.cli("node1", "status", "--brief", check=False).strip() == "OK", cluster.log("node1")[-800:])
