"""Before an agent's first start, and after its last: preflight, cleanup."""
import json

from lib import checks
from lib.node_state import difference, install_and_clean, snapshot
from lib.scenario import scenario


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
    done = cluster.exec("node1", "axoneme", "preflight", "-o", "json", *cluster.store_flags, "--enable-ipv6=true",
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
    ("a pool of pod CIDRs over the node's own address", "ip link add d0 type bridge && ip address add 10.77.0.1/24 dev d0 && ip link set d0 up", [],
     "warning", "cidr-overlap", "10.77.0.1", "ip link del d0"),
    ("a nameserver in the pool of pods", "cp /etc/resolv.conf /tmp/resolv.$$; echo nameserver 10.0.0.2 >> /etc/resolv.conf", [],
     "warning", "cidr-overlap", "10.0.0.2", "sed -i '/10.0.0.2/d' /etc/resolv.conf"),
    ("an MTU that the wire does not carry", "true", ["--mtu=9000"], "error", "mtu", "9000", "true"),
    ("a device that is not there", "true", ["--devices=bond7"], "error", "devices", "bond7", "true"),
    ("no default route", "ip -4 route save default > /tmp/r4.$(hostname); ip -6 route save default > /tmp/r6.$(hostname); ip -4 route del default; ip -6 route del default", [],
     "error", "devices", "no native device", "ip -4 route restore < /tmp/r4.$(hostname); ip -6 route restore < /tmp/r6.$(hostname); rm /tmp/r[46].$(hostname)"),
    ("no IPv6", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1", [], "error", "devices", "disable_ipv6", "true"),
]


@scenario(cost=20, dir_only="before the first operator there is no kind of policies that the last finding is about")
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
