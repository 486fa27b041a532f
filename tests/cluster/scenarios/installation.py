"""Before an agent's first start, and after its last: preflight, cleanup."""
import json

from lib import checks
from lib.scenario import scenario

# Runs on the node; one process per tool, not per object.
SNAPSHOT = r"""
import json, os, re, subprocess

def lines(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.splitlines()

def without(pattern, found):
    return [re.sub(pattern, "", line) for line in found]

def tree(*roots, skip=()):
    for root in roots:
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if os.path.join(folder, name) not in skip]
            for name in folders + files:
                path = os.path.join(folder, name)
                yield path + (f" {os.path.getsize(path)}" if os.path.isfile(path) and not os.path.islink(path) else "")

def sysctls():
    for folder, _, files in os.walk("/proc/sys/net"):
        for name in files:
            # Counters, secrets, and what every new neighbour moves.
            if "/neigh/" in folder or re.search("flush|stat|count|random|secret|fastopen_key|nf_log", name):
                continue
            try:
                yield f"{folder}/{name} = {open(os.path.join(folder, name)).read().split()}"
            except OSError:
                pass

links = os.listdir("/sys/class/net")
state = {
    "links": without(r" promiscuity.*| qlen \d+", lines("ip", "-o", "link")),
    "addresses": without(r" valid_lft.*", lines("ip", "-o", "address")),
    "routes": without(r" expires \d+sec", [line for family in ("-4", "-6") for line in lines("ip", family, "route", "show", "table", "all")]),
    "rules": [line for family in ("-4", "-6") for line in lines("ip", family, "rule")],
    "neighbours": lines("ip", "neigh", "show", "nud", "permanent"),
    "qdiscs": lines("tc", "qdisc", "show"),
    "filters": [f"{link} {way} " + re.sub(r" (id|tag|jited).*", "", line) for link in links for way in ("ingress", "egress") for line in lines("tc", "filter", "show", "dev", link, way)],
    "pins": list(tree("/sys/fs/bpf")),
    "nftables": lines("nft", "list", "ruleset"),
    "mounts": [" ".join(line.split()[4:5] + line.split(" - ")[1].split()[:2]) for line in open("/proc/self/mountinfo") if " /run/netns/" not in line],
    "files": list(tree("/etc/cni", "/opt/cni", "/run", "/var/lib/cilium", "/var/lib/other", skip=("/run/cilium/cgroupv2", "/run/axoneme", "/run/netns"))),
    "sysctls": list(sysctls()),
}
print(json.dumps({name: [" ".join(line.split()) for line in found] for name, found in state.items()}))
"""


def snapshot(cluster, node):
    """What is on a node, by kind. The lock of iptables is a file that its tools make and never remove."""
    state = json.loads(cluster.exec(node, "python3", "-c", SNAPSHOT).stdout)
    return {name: sorted(line for line in lines if not line.startswith("/run/xtables.lock")) for name, lines in state.items()}


def difference(before, after):
    return [f"{'-' if line in before[name] else '+'} {name}: {line}" for name in before for line in sorted(set(before[name]) ^ set(after[name]))]


FOREIGN = r"""
set -e
echo 0 > /proc/sys/net/ipv4/ip_forward
echo 0 > /proc/sys/net/ipv6/conf/all/forwarding
echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra
echo 20000 60999 > /proc/sys/net/ipv4/ip_local_port_range
echo 8472,40000-40010 > /proc/sys/net/ipv4/ip_local_reserved_ports
mkdir -p /sys/fs/bpf/other /etc/cni/net.d /var/lib/other
echo '{"cniVersion":"0.3.1","name":"other","plugins":[{"type":"bridge"}]}' > /etc/cni/net.d/10-other.conflist
ip link add other0 type bridge
ip address add 10.200.0.1/24 dev other0
ip link set other0 up
ip route add 10.201.0.0/24 via 10.200.0.2 proto static
tc qdisc add dev other0 clsact
tc filter add dev other0 ingress prio 7 protocol all bpf bytecode '1,6 0 0 4294967295,' flowid 1:1
tc qdisc add dev eth0 clsact
tc filter add dev eth0 egress prio 9 protocol all bpf bytecode '1,6 0 0 4294967295,' flowid 1:1
iptables -t filter -N OTHER && iptables -t filter -A OTHER -j RETURN
iptables -t mangle -A POSTROUTING -o other0 -j ACCEPT
nft add table inet others
"""

# The sandbox makes the plugin known by a link; an installation copies it.
OWN_PLUGIN = 'p=$(readlink /opt/cni/bin/cilium-cni) && rm /opt/cni/bin/cilium-cni && touch /opt/cni/bin/other && echo "$p"'


def install_and_clean(cluster, flags):
    """One node from before its first agent to after cleanup, beside others' objects and with a pod left. Returns what the steps said, and what differs."""
    plugin = cluster.exec("node1", "sh", "-c", OWN_PLUGIN).stdout.strip()
    cluster.exec("node1", "sh", "-c", FOREIGN)
    before = snapshot(cluster, "node1")
    cluster.exec("node1", "cp", plugin, "/opt/cni/bin/cilium-cni")
    cluster.sandbox("operator", "start")
    cluster.sandbox("agent", "start", "node1", *[f"--flag={flag}" for flag in flags])
    for name in ("gone", "stays"):
        cluster.add_pod(name, "node1")
    cluster.serve("node1")
    said = {"traffic": checks.connectivity(cluster, [("stays", "node1"), ("stays", "outside")], kinds=checks.KINDS[:1])}
    cluster.stop_servers()
    cluster.sandbox("pod", "del", "gone")
    said["while running"] = cluster.exec("node1", "axoneme", "cleanup", "-f", check=False)
    cluster.sandbox("agent", "stop", "node1")
    said["dry run"] = cluster.exec("node1", "axoneme", "cleanup", "--dry-run").stdout
    said["cleanup"] = cluster.exec("node1", "axoneme", "cleanup", "-f", check=False)
    return said, difference(before, snapshot(cluster, "node1"))


def leftovers_after_cleanup(cluster, flags):
    said, left = install_and_clean(cluster, flags)
    yield from said["traffic"]
    running, announced, done = said["while running"], said["dry run"], said["cleanup"]
    yield checks.check("cleanup refuses while the agent runs", running.returncode == 1 and "is running" in running.stderr, running.stdout + running.stderr)
    wanted = ["BPF pin /sys/fs/bpf/tc/globals/cilium_lxc", "device cilium_host", "sysctl net.ipv4.ip_forward = 1", "CNI configuration /etc/cni/net.d/05-cilium.conflist",
              "10-other.conflist.cilium_bak", "CNI plugin /opt/cni/bin/cilium-cni", "file /var/run/cilium/state", "pod default/stays loses its network"]
    missing = [text for text in wanted if text not in announced]
    yield checks.check(f"the dry run lists what would go ({len(announced.splitlines()) - 1} things)", not missing, f"without {missing}:\n{announced}")
    yield checks.check("cleanup ends well", done.returncode == 0, done.stdout + done.stderr)
    yield checks.check("links, addresses, routes, rules, filters, pins, chains, files and sysctls are as before the first start", not left, "\n".join(left))
    again = cluster.exec("node1", "axoneme", "cleanup", "-f").stdout
    yield checks.check("a second cleanup finds nothing", "Nothing of the agent" in again, again)


@scenario(cost=25)
def cleanup_leaves_nothing(context):
    cluster = context.cluster(nodes=1, processes=False)
    yield from leftovers_after_cleanup(cluster, ["--kube-proxy-replacement=true"])


@scenario(cost=25)
def cleanup_leaves_nothing_native_legacy(context):
    cluster = context.cluster(nodes=1, processes=False, routing="native")
    yield from leftovers_after_cleanup(cluster, ["--enable-tcx=false", "--enable-host-legacy-routing=true", "--auto-direct-node-routes=true"])


def preflight(cluster, *flags):
    done = cluster.exec("node1", "axoneme", "preflight", "-o", "json", "--object-store=dir:/var/lib/axoneme/store", "--enable-ipv6=true",
                        "--write-cni-conf-when-ready=/etc/cni/net.d", *flags, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, {"findings": [], "errors": -1, "raw": done.stdout + done.stderr}


# How a node is broken, what is found, how it is put right: (name, commands, flags, severity, check, words, undo).
BROKEN = [
    ("the tunnel's port is another VXLAN device's", "ip link add vx7 type vxlan id 7 dstport 8472 dev eth0 && ip link set vx7 up", [],
     "error", "tunnel-port", "vx7", "ip link del vx7"),
    ("another CNI's configuration comes first", "echo '{\"type\":\"multus\"}' > /etc/cni/net.d/00-multus.conf", ["--cni-exclusive=false"],
     "error", "cni-config", "00-multus.conf", "rm /etc/cni/net.d/00-multus.conf"),
    ("a CNI configuration that is not JSON", "echo '{' > /etc/cni/net.d/99-torn.conf", [], "warning", "cni-config", "99-torn.conf", "rm /etc/cni/net.d/99-torn.conf"),
    ("Calico's devices", "ip link add cali1234 type bridge", [], "warning", "other-cni", "cali1234", "ip link del cali1234"),
    ("kube-proxy's chains", "iptables -t nat -N KUBE-SERVICES", ["--kube-proxy-replacement=true"], "warning", "kube-proxy", "KUBE-SERVICES",
     "iptables -t nat -X KUBE-SERVICES"),
    ("chains of Cilium's", "iptables -N CILIUM_FORWARD", [], "warning", "leftovers", "CILIUM_FORWARD", "iptables -X CILIUM_FORWARD"),
    ("pod CIDRs over the node's own address", "ip link add d0 type bridge && ip address add 10.77.0.1/24 dev d0 && ip link set d0 up", [],
     "error", "cidr-overlap", "10.77.0.1", "ip link del d0"),
    ("a nameserver among the pods", "cp /etc/resolv.conf /tmp/resolv.$$; echo nameserver 10.0.0.2 >> /etc/resolv.conf", [],
     "error", "cidr-overlap", "10.0.0.2", "sed -i '/10.0.0.2/d' /etc/resolv.conf"),
    ("an MTU that the wire does not carry", "true", ["--mtu=9000"], "error", "mtu", "9000", "true"),
    ("a device that is not there", "true", ["--devices=bond7"], "error", "devices", "bond7", "true"),
    ("no default route", "ip -4 route save default > /tmp/r4.$(hostname); ip -6 route save default > /tmp/r6.$(hostname); ip -4 route del default; ip -6 route del default", [],
     "error", "devices", "no native device", "ip -4 route restore < /tmp/r4.$(hostname); ip -6 route restore < /tmp/r6.$(hostname); rm /tmp/r[46].$(hostname)"),
    ("no IPv6", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1", [], "error", "devices", "disable_ipv6", "true"),
]


@scenario(cost=20)
def preflight_finds_what_is_broken(context):
    cluster = context.cluster(nodes=1, processes=False)
    cluster.exec("node1", "sh", "-c", "sed -i '/^nameserver 10\\./d' /etc/resolv.conf")
    before = snapshot(cluster, "node1")
    status, report = preflight(cluster)
    yield checks.check(f"a node that is in order: {len(report.get('passed', []))} checks passed", status == 0 and report["errors"] == 0 and not report["warnings"], report)
    left = difference(before, snapshot(cluster, "node1"))
    yield checks.check("preflight changes nothing", not left, "\n".join(left))
    for name, commands, flags, severity, what, words, undo in BROKEN:
        cluster.exec("node1", "sh", "-c", commands)
        status, report = preflight(cluster, *flags)
        found = [item for item in report["findings"] if item["severity"] == severity and item["check"] == what and words in item["message"]]
        yield checks.check(f"{name}: {severity}, with a way out", found and found[0]["way-out"] and status == (1 if severity == "error" else 0), report)
        cluster.exec("node1", "sh", "-c", undo)
    cluster.apply("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: default}\nspec:\n  endpointSelector: {}\n"
                  "  egress: [{toCIDR: [10.0.3.0/24]}]\n")
    status, report = preflight(cluster)
    yield checks.check("a CIDR policy over pods: a warning", [item for item in report["findings"] if item["check"] == "cidr-policies" and "default/p" in item["message"]], report)
    done = cluster.exec("node1", "setpriv", "--bounding-set=-net_raw,-sys_module,-sys_resource", "--inh-caps=-net_raw,-sys_module,-sys_resource", "axoneme", "preflight", "--object-store=dir:/nowhere",
                        check=False)
    yield checks.check("a missing capability and a store that is not there are named in the text", done.returncode == 1 and "CAP_NET_RAW" in done.stdout and "dir:/nowhere" in done.stdout
                       and "SYS_MODULE" not in done.stdout, done.stdout + done.stderr)
