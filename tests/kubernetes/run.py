#!/usr/bin/env python3
"""Tests on a real Kubernetes cluster: scenarios one after the other on one cluster of sandbox machines.

Usage: tests/kubernetes/run.py --build BUILD_DIR [--filter TEXT] [--list] [--report FILE] [--keep-logs DIR] [--verbose]

Kubernetes' programs are built once (tests/kubernetes/build.py). Where they cannot be had, nothing is run and the reason is printed.
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]

import build as programs  # noqa: E402
from bed.cluster import COMPONENTS  # noqa: E402
from bed.context import Bed, BedContext  # noqa: E402
from lib import runner  # noqa: E402
from lib.checks import check  # noqa: E402
from lib.scenario import Scenario  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runner.add_arguments(parser, HERE.parent.parent / "build/dev")
    args = parser.parse_args()
    chosen = runner.chosen_scenarios(HERE, args.filter)
    if args.list:
        print("\n".join(item.name for item in chosen))
        return 0
    runner.require_root("Kubernetes tests")
    if reason := programs.unavailable(COMPONENTS):
        print(f"skipped: no Kubernetes here: {reason}")
        return runner.report([], [], args.report) and 0
    bed = Bed(args.build, args.keep_logs or args.build / "kubernetes-logs")

    def run(item):
        return runner.run_scenario(item, BedContext(bed, item.name), args.verbose)

    outcome = [run(item) for item in sorted(chosen, key=lambda item: item.alone)]
    unsteady = [] if args.filter else runner.second_attempts(outcome, run)
    left = bed.end()
    outcome.append((Scenario("the-cluster-itself", None, 0, False, False), [check("leaves nothing behind", not left, "; ".join(left))]))
    return runner.report(outcome, unsteady, args.report)


if __name__ == "__main__":
    sys.exit(main())
