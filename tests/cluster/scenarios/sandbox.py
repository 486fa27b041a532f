"""The sandbox itself: no agents needed."""
import subprocess
import time

from lib import checks
from lib.sandbox import leftovers, root_namespace
from lib.scenario import scenario


@scenario(cost=5, dir_only="of the sandbox itself: there is no object in it")
def sandbox_machines(context):
    before = root_namespace()
    start = time.monotonic()
    cluster = context.cluster(processes=False, second_segment=1)
    took = time.monotonic() - start
    yield checks.check(f"three machines and an underlay within 2 s ({took * 1000:.0f} ms)", took < 2)
    pairs = [("node1", "node2"), ("node2", "node3"), ("node3", "node1"), ("node1", "outside"), ("node3", "outside")]
    yield from checks.connectivity(cluster, pairs)
    seen = cluster.exec("node2", "sh", "-c", "hostname; ls /sys/class/net; ls /sys/fs/bpf /run/netns; cat /proc/self/cgroup | grep ^0").stdout
    yield checks.check("a node has a name, devices, a bpffs and a cgroup of its own", seen.split() == ["node2", "eth0", "lo", "/run/netns:", "/sys/fs/bpf:", "0::/system"]
                       or {"node2", "eth0", "lo", "0::/system"} <= set(seen.split()), seen)
    cluster.exec("node1", "sh", "-c", "touch /run/mine /etc/mine /var/lib/cilium/mine /opt/cni/bin/mine")
    other = cluster.exec("node2", "sh", "-c", "ls /run/mine /etc/mine /var/lib/cilium/mine /opt/cni/bin/mine", check=False)
    yield checks.check("nodes do not see each other's files", not other.stdout, other.stdout)
    yield checks.check("nor does the machine", subprocess.run("ls /run/mine /etc/mine", shell=True, capture_output=True).returncode != 0)
    yield checks.check("the machine's own links, routes and rules are untouched", root_namespace() == before)


@scenario(cost=5, dir_only="of the sandbox itself: there is no object in it")
def sandbox_leaves_nothing(context):
    cluster = context.cluster(processes=False, nodes=2)
    # A program in a node, one in the background of another, and a namespace of the user's making.
    sleeper = subprocess.Popen([str(w) for w in cluster.exec_command("node1", "sleep", "600")])
    cluster.exec("node2", "sh", "-c", "ip netns add extra; sleep 600 >/dev/null 2>&1 </dev/null & ")
    second = context.cluster(processes=False, nodes=1)
    done = cluster.sandbox("down", check=False)
    yield checks.check("down with programs still running in it", done.returncode == 0, done.stderr)
    yield checks.check("the programs have ended", sleeper.wait(timeout=5) is not None)
    yield checks.check("nothing is left", not leftovers(cluster.name), leftovers(cluster.name))
    yield checks.check("down again is fine", cluster.sandbox("down", check=False).returncode == 0)
    yield checks.check("the other cluster still works", second.exec("node1", "hostname").stdout.strip() == "node1")


@scenario(cost=5, dir_only="of the sandbox itself: there is no object in it")
def sandbox_bad_input(context):
    cluster = context.cluster(processes=False, nodes=1)

    def refused(words, *parts, stdin=None):
        done = cluster.sandbox(*words, check=False, stdin=stdin)
        lines = done.stderr.strip().splitlines()
        good = done.returncode == 1 and len(lines) == 1 and all(part in lines[0] for part in parts)
        return checks.check(f"sandbox {' '.join(words)}: {lines[0] if lines else 'no message'}", good, (done.returncode, done.stderr))

    yield refused(["up"], "is there already", "sandbox down --cluster " + cluster.name)
    yield refused(["exec", "nowhere", "true"], "no 'nowhere'", "node1", "outside")
    yield refused(["pod", "add", "../x"], "pod name")
    yield refused(["pod", "add", "x", "--node", "node9"], "'node9'", "node1")
    yield refused(["pod", "add", "x"], "no network configuration", "the agent writes it when it is ready")
    yield refused(["pod", "add", "x", "--labels", "oops"], "'oops'", "key=value")
    yield refused(["pod", "add", "x", "y", "--uid", "1"], "1 given for 2 pods", "one for each")
    yield refused(["apply", "-"], "document 1", "v1 Gadget", stdin="apiVersion: v1\nkind: Gadget\nmetadata: {name: a}\n")
    yield refused(["node", "del", "node9"], "node9")
    yield refused(["agent", "start", "node9"], "node9")
    yield refused(["logs", "node1"], "no log of 'node1'")
