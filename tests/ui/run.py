#!/usr/bin/env python3
"""Tests of the page (ui/): types, unit tests, and the built page in headless Chromium against a relay that is made up.

Usage: tests/ui/run.py --build BUILD_DIR [--report FILE] [--filter TEXT] [--only unit,e2e]
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
UI = ROOT / "ui"
SECONDS = 1500  # far beyond what is needed; a machine with other work must not fail
SECOND_ATTEMPTS = 4  # more failures than that are no accident


def types(report):
    done = subprocess.run(["node_modules/.bin/tsc", "--noEmit"], cwd=UI, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, end="")
        report["failed"] += 1
        report["failures"].append("ui: types")
    else:
        report["passed"] += 1


def run_vitest(project, environment, *words):
    """Passed, and what failed: [(file or "" for all, name or "" for all of the file, why)]."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = ["node", "--max-old-space-size=1024", "node_modules/vitest/vitest.mjs", "run", "--project", project,
                   f"--reporter={ROOT / 'tests/ui/report.ts'}", *words]
        try:
            done = subprocess.run(command, cwd=UI, env={**environment, "AXONEME_UI_REPORT": file.name}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=SECONDS)
            output, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired:
            output, code = f"no end after {SECONDS} s", -1
        try:
            result = json.loads(pathlib.Path(file.name).read_text())
        except ValueError:
            return 0, [("", "", f"exit status {code}, no report\n{output}")]
    failures = [(each["file"], each["name"], each["why"]) for each in result["failures"]]
    if code != 0 and not failures:
        failures = [("", "", f"exit status {code}\n{output}")]
    return result["passed"], failures


def vitest(project, environment, pattern, report):
    """Few failures are run again, alone: what passes then is named as unsteady, for somebody to look at."""
    passed, failures = run_vitest(project, environment, *(["-t", pattern] if pattern else []))
    report["passed"] += passed
    again = len(failures) <= SECOND_ATTEMPTS
    for file, name, why in failures:
        title = f"{file or project}: {name}" if name else file or project
        print(f"{title}\n{why}", flush=True)
        if again and file:
            passed, still = run_vitest(project, environment, "--maxConcurrency", "1", f"/{file}", *(["-t", f"^{re.escape(name)}( |$)"] if name else []))
            if passed and not still:
                report["passed"] += passed
                report["unsteady"].append(f"ui: {title}")
                continue
        report["failed"] += 1
        report["failures"].append(f"ui: {title}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/dev")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--filter", default="")
    parser.add_argument("--only", default="unit,e2e")
    args = parser.parse_args()
    report = {"passed": 0, "failed": 0, "failures": [], "unsteady": []}
    web = args.build.resolve() / "share/axoneme/ui"
    if shutil.which("npm") is None:
        sys.exit("tests/ui: no npm here; scripts/install-deps.sh installs it")
    subprocess.run([ROOT / "scripts/build-ui.sh", "--output", web], check=True)
    environment = {**os.environ, "AXONEME_UI_OUT": str(web), "AXONEME_BUILD": str(args.build.resolve())}
    if not args.filter:
        types(report)
    for project in args.only.split(","):
        vitest(project, environment, args.filter, report)
    if args.report:
        args.report.write_text(json.dumps(report))
    for name in report["unsteady"]:
        print(f"unsteady: {name} failed, and passed when run again")
    print(f"ui: {report['passed']} passed, {report['failed']} failed")
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
