"""What a node runs besides us: containerd with runc, and a kubelet."""
import json

from . import images
from .control_plane import DUAL

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"

# As a kubelet wants them; they belong to the whole machine, so a node sees files in their place that already say so.
KERNEL_SETTINGS = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1, "kernel/keys/root_maxkeys": 1000000,
                   "kernel/keys/root_maxbytes": 25000000}

# No controllers in the node's cgroup tree, no right to lower a process's out-of-memory score: containers run without limits.
CONTAINERD = f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
                    "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  disable_cgroup = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def containerd_configuration(programs):
    return CONTAINERD + f"""      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{programs['runc']}"
"""


def kubelet_configuration(pki):
    return {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}, "x509": {"clientCAFile": str(pki.path("ca.crt"))}},
            "authorization": {"mode": "AlwaysAllow"}, "cgroupsPerQOS": False, "enforceNodeAllocatable": [], "cgroupDriver": "cgroupfs", "failSwapOn": False,
            "protectKernelDefaults": True, "oomScoreAdj": 0, "hairpinMode": "none", "maxPods": 250, "kubeAPIQPS": 100, "kubeAPIBurst": 200,
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%"},
            "imageGCHighThresholdPercent": 100, "healthzPort": 10248, "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local",
            "nodeStatusUpdateFrequency": "5s", "runtimeRequestTimeout": "2m", "featureGates": {"IPv6DualStack": True}}


def prepare_script(programs):
    """Run once on a node: file systems of its own for containers, settings that look as a kubelet wants them, the loopback plugin."""
    lines = ["mount --make-rshared /", "mkdir -p /var/lib/containerd /var/lib/kubelet /run/kernel-settings /etc/containerd /opt/cni/bin",
             "mount -t tmpfs -o size=4g,mode=711 tmpfs /var/lib/containerd", "mount -t tmpfs -o size=1g,mode=755 tmpfs /var/lib/kubelet",
             # A kubelet removes the logs of pods that it does not know.
             "mkdir -p /var/log/pods /var/log/containers", "mount -t tmpfs -o size=256m,mode=755 tmpfs /var/log/pods",
             "mount -t tmpfs -o size=16m,mode=755 tmpfs /var/log/containers"]
    for name, value in KERNEL_SETTINGS.items():
        file = "/run/kernel-settings/" + name.replace("/", "-")
        lines += [f"echo {value} > {file}", f"mount --bind {file} /proc/sys/{name}"]
    lines += [f"ln -sf {programs['loopback']} /opt/cni/bin/loopback", "cat > /etc/containerd/config.toml"]
    return "\n".join(lines)


def containerd(programs, own_processes=False):
    """own_processes: in a process namespace whose first process is the node's own, for pods that enter that one's namespaces."""
    first = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=unchanged", "sh", "-c", '"$@" & wait', "init"] if own_processes else []
    # It looks for its shim in PATH.
    return [*first, "env", f"PATH={programs['containerd'].parent}:/usr/sbin:/usr/bin:/sbin:/bin", programs["containerd"], "--config=/etc/containerd/config.toml", "--log-level=warn"]


def kubelet(program, pki, node, addresses):
    return [program, f"--config={pki.path('kubelet.json')}", f"--kubeconfig={pki.path(f'kubelet-{node}.kubeconfig')}", "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{CONTAINERD_SOCKET}", f"--hostname-override={node}", f"--node-ip={addresses['ipv4']}",
            f"--pod-infra-container-image={images.PAUSE}", "--root-dir=/var/lib/kubelet", "--register-with-taints=node.cilium.io/agent-not-ready=true:NoSchedule", DUAL]


def make_credentials(pki, nodes):
    pki.path("kubelet.json").write_text(json.dumps(kubelet_configuration(pki)))
    for node in nodes:
        pki.kubeconfig(f"kubelet-{node}", f"system:node:{node}", ["system:nodes"])
