#!/usr/bin/env python3
"""Cluster tests: scenarios on sandbox clusters, several at a time.

Usage: tests/cluster/run.py --build BUILD_DIR [--filter TEXT] [--jobs N] [--list] [--report FILE] [--keep-logs DIR]
"""
import argparse
import concurrent.futures
import importlib
import json
import os
import pathlib
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lib import scenario as scenarios  # noqa: E402
from lib.checks import Check  # noqa: E402

PRINT = threading.Lock()
SECOND_ATTEMPTS = 4  # more failures than that are no accident


def run_scenario(item, build, keep_logs, verbose):
    """All checks of one scenario, and that it leaves nothing behind."""
    start, results = time.monotonic(), []
    context = scenarios.Context(build, item.name, keep_logs)
    try:
        for result in item.function(context):
            results.append(result)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is this scenario's failure
        where = traceback.extract_tb(error.__traceback__)[-1]
        results.append(Check(f"runs to its end ({pathlib.Path(where.filename).name}:{where.lineno})", False, f"{type(error).__name__}: {error}"))
    failed = any(not result.ok for result in results)
    left = context.end(failed)
    results.append(Check("leaves nothing behind", not left, "; ".join(left)))
    bad = [result for result in results if not result.ok]
    with PRINT:
        print(f"{'ok  ' if not bad else 'FAIL'} {item.name:44} {len(results) - len(bad):5} passed {len(bad):4} failed  "
              f"{time.monotonic() - start:6.1f} s", flush=True)
        for result in (results if verbose else bad[:12]):
            print(f"     {'✓' if result.ok else '✗'} {result.what}" + (f"\n         {result.detail[:2000]}" if result.detail else ""), flush=True)
        if len(bad) > 12 and not verbose:
            print(f"     … and {len(bad) - 12} more", flush=True)
    return item, results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent.parent / "build/dev")
    parser.add_argument("--filter", default="")
    parser.add_argument("--jobs", type=int, default=max(2, os.cpu_count() or 1))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--keep-logs", type=pathlib.Path, help="where the logs of failed scenarios go")
    parser.add_argument("--verbose", action="store_true", help="also what passed")
    args = parser.parse_args()
    for path in sorted((HERE / "scenarios").glob("[a-z]*.py")):
        importlib.import_module(f"scenarios.{path.stem}")
    chosen = [item for item in scenarios.REGISTRY if args.filter in item.name and (args.filter or not item.only_by_name)]
    if args.list:
        print("\n".join(item.name for item in chosen))
        return 0
    if os.geteuid() != 0:
        print("cluster tests make namespaces: run as root", file=sys.stderr)
        return 1
    keep_logs = args.keep_logs or args.build / "cluster-logs"
    together = sorted((item for item in chosen if not item.alone), key=lambda item: -item.cost)
    outcome = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=args.jobs) as pool:
        outcome += pool.map(lambda item: run_scenario(item, args.build, keep_logs, args.verbose), together)
    for item in chosen:
        if item.alone:
            outcome.append(run_scenario(item, args.build, keep_logs, args.verbose))
    # These scenarios share two cores with whatever else the machine does: what fails once and passes alone is named, for somebody to look at.
    unsteady = []
    if not args.filter:
        for index, (item, results) in enumerate(outcome):
            if len(unsteady) < SECOND_ATTEMPTS and any(not result.ok for result in results):
                unsteady.append(item.name)
                outcome[index] = run_scenario(item, args.build, keep_logs, args.verbose)
        unsteady = [item.name for item, results in outcome if item.name in unsteady and all(result.ok for result in results)]
    passed = sum(result.ok for _, results in outcome for result in results)
    failures = [f"{item.name}: {result.what}" for item, results in outcome for result in results if not result.ok]
    if args.report:
        args.report.write_text(json.dumps({"passed": passed, "failed": len(failures), "failures": failures[:40], "unsteady": unsteady}))
    for name in unsteady:
        print(f"unsteady: {name} failed, and passed when run again")
    print(f"{passed} passed, {len(failures)} failed")
    return 0 if passed and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
