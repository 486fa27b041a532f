"""Runs scenarios and counts their checks; what all runners of scenarios have in common."""
import importlib
import json
import os
import pathlib
import re
import sys
import threading
import time
import traceback

from . import scenario as scenarios
from .checks import Check

PRINT = threading.Lock()
SECOND_ATTEMPTS = 4  # more failures than that are no accident


def add_arguments(parser, build):
    parser.add_argument("--build", type=pathlib.Path, default=build)
    parser.add_argument("--filter", default="", help="of scenarios' names, a regular expression")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--keep-logs", type=pathlib.Path, help="where the logs of failed scenarios go")
    parser.add_argument("--verbose", action="store_true", help="also what passed")


def chosen_scenarios(folder, wanted):
    """The scenarios of a folder whose names the filter (a regular expression) is found in; without one, all but those that run by name only."""
    for path in sorted((folder / "scenarios").glob("[a-z]*.py")):
        importlib.import_module(f"scenarios.{path.stem}")
    return [item for item in scenarios.REGISTRY if re.search(wanted, item.name) and (wanted or not item.only_by_name)]


def require_root(what):
    if os.geteuid() != 0:
        print(f"{what} make namespaces: run as root", file=sys.stderr)
        sys.exit(1)


def run_scenario(item, context, verbose):
    """All checks of one scenario, and that it leaves nothing behind."""
    start, results = time.monotonic(), []
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


def second_attempts(outcome, run):
    """Scenarios share two cores with whatever else the machine does: what fails once and passes alone is named, for somebody to look at."""
    tried = []
    for index, (item, results) in enumerate(outcome):
        if len(tried) < SECOND_ATTEMPTS and any(not result.ok for result in results):
            tried.append(item.name)
            outcome[index] = run(item)
    return [item.name for item, results in outcome if item.name in tried and all(result.ok for result in results)]


def report(outcome, unsteady, path):
    """Prints the sums and writes them; the program's exit status."""
    passed = sum(result.ok for _, results in outcome for result in results)
    failures = [f"{item.name}: {result.what}" for item, results in outcome for result in results if not result.ok]
    if path:
        path.write_text(json.dumps({"passed": passed, "failed": len(failures), "failures": failures[:40], "unsteady": unsteady}))
    for name in unsteady:
        print(f"unsteady: {name} failed, and passed when run again")
    print(f"{passed} passed, {len(failures)} failed")
    return 0 if passed and not failures else 1
