#!/usr/bin/env python3
"""Cluster tests: scenarios on sandbox clusters, several at a time.

Usage: tests/cluster/run.py --build BUILD_DIR [--store dir|kubernetes|kubernetes-newest] [--every-store] [--filter TEXT] [--jobs N] [--list] [--report FILE] [--keep-logs DIR]

With --store kubernetes the objects of each cluster are kept by an etcd and a kube-apiserver of its own, which are built once (tests/kubernetes/build.py: 1.20);
kubernetes-newest takes an API server of the newest Kubernetes that Debian has libraries of (tests/kubernetes/newest.py). Where they cannot be had, nothing is
run and the reason is printed. Scenarios that are about the files of `dir:` say so, and are left out.
"""
import argparse
import concurrent.futures
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lib import runner  # noqa: E402
from lib.sandbox import Cluster  # noqa: E402
from lib.scenario import Context  # noqa: E402


def of_store(chosen, args):
    """The kind of clusters, the scenarios that run on it, and why there can be none."""
    if args.every_store:
        chosen = [item for item in chosen if item.every_store]
    if args.store == "dir":
        return Cluster, [item for item in chosen if not item.api_only], ""
    from lib.api_server import ApiServerCluster, NewestApiServerCluster
    kind = ApiServerCluster if args.store == "kubernetes" else NewestApiServerCluster
    reason = "" if args.list else kind.unavailable()
    kept = []
    for item in chosen:
        too_new = item.since and not args.list and not reason and not kind.has_since(item.since)
        if item.dir_only or too_new:
            print(f"left out: {item.name}: {item.dir_only or f'what it asks for came with Kubernetes {item.since}'}")
        else:
            kept.append(item)
    return kind, kept, reason


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runner.add_arguments(parser, HERE.parent.parent / "build/dev")
    parser.add_argument("--store", choices=("dir", "kubernetes", "kubernetes-newest"), default="dir", help="where the clusters' objects are")
    parser.add_argument("--every-store", action="store_true", help="only the scenarios that `make test` runs on every store")
    parser.add_argument("--jobs", type=int, default=max(2, os.cpu_count() or 1))
    args = parser.parse_args()
    kind, chosen, reason = of_store(runner.chosen_scenarios(HERE, args.filter), args)
    if args.list:
        print("\n".join(item.name for item in chosen))
        return 0
    runner.require_root("cluster tests")
    if reason:
        print(f"skipped: no Kubernetes here: {reason}")
        return runner.report([], [], args.report) and 0
    keep_logs = args.keep_logs or args.build / ("cluster-logs" if args.store == "dir" else f"cluster-logs-{args.store}")

    def run(item):
        return runner.run_scenario(item, Context(args.build, item.name, keep_logs, kind), args.verbose)

    together = sorted((item for item in chosen if not item.alone), key=lambda item: -item.cost)
    outcome = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=args.jobs) as pool:
        outcome += pool.map(run, together)
    outcome += [run(item) for item in chosen if item.alone]
    unsteady = [] if args.filter else runner.second_attempts(outcome, run)
    return runner.report(outcome, unsteady, args.report)


if __name__ == "__main__":
    sys.exit(main())
