#!/usr/bin/env python3
"""Brings a Kubernetes cluster up on sandbox machines and leaves it there.

Usage: tests/kubernetes/up.py [--build BUILD_DIR] [--cluster NAME] [--nodes N] [--no-axoneme]
       axoneme sandbox down --cluster NAME    takes it down again
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]

from bed.axoneme import Axoneme  # noqa: E402
from bed.cluster import CONTROL, KubernetesCluster  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent.parent / "build/dev")
    parser.add_argument("--cluster", default="kubernetes")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--no-axoneme", action="store_true", help="kubelets without a network plugin")
    args = parser.parse_args()
    cluster = KubernetesCluster(args.build, args.cluster, nodes=args.nodes)
    cluster.up()
    if not args.no_axoneme:
        Axoneme(cluster).install()
    kubectl = " ".join(str(word) for word in cluster.exec_command(CONTROL, cluster.programs["kubectl"], f"--kubeconfig={cluster.pki.path('admin.kubeconfig')}"))
    print(f"cluster {args.cluster} is up ({cluster.timings['up']:.1f} s); logs in {cluster.folder}/logs\n{kubectl} get nodes,pods -A -o wide")
    print(f"{cluster.axoneme} sandbox down --cluster {args.cluster} && rm -r {cluster.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
