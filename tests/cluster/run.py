#!/usr/bin/env python3
"""Cluster tests: scenarios on sandbox clusters, several at a time.

Usage: tests/cluster/run.py --build BUILD_DIR [--filter TEXT] [--jobs N] [--list] [--report FILE] [--keep-logs DIR]
"""
import argparse
import concurrent.futures
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lib import runner  # noqa: E402
from lib.scenario import Context  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    runner.add_arguments(parser, HERE.parent.parent / "build/dev")
    parser.add_argument("--jobs", type=int, default=max(2, os.cpu_count() or 1))
    args = parser.parse_args()
    chosen = runner.chosen_scenarios(HERE, args.filter)
    if args.list:
        print("\n".join(item.name for item in chosen))
        return 0
    runner.require_root("cluster tests")
    keep_logs = args.keep_logs or args.build / "cluster-logs"

    def run(item):
        return runner.run_scenario(item, Context(args.build, item.name, keep_logs), args.verbose)

    together = sorted((item for item in chosen if not item.alone), key=lambda item: -item.cost)
    outcome = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=args.jobs) as pool:
        outcome += pool.map(run, together)
    outcome += [run(item) for item in chosen if item.alone]
    unsteady = [] if args.filter else runner.second_attempts(outcome, run)
    return runner.report(outcome, unsteady, args.report)


if __name__ == "__main__":
    sys.exit(main())
