"""What is on a node, and what an installation leaves of itself there."""
import json

from . import checks

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
    "nftables": lines("nft", "--stateless", "list", "ruleset"),
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
    cluster.delete_pods("gone")
    said["while running"] = cluster.exec("node1", "axoneme", "cleanup", "-f", check=False)
    cluster.sandbox("agent", "stop", "node1")
    said["dry run"] = cluster.exec("node1", "axoneme", "cleanup", "--dry-run").stdout
    said["cleanup"] = cluster.exec("node1", "axoneme", "cleanup", "-f", check=False)
    return said, difference(before, snapshot(cluster, "node1"))
