#!/usr/bin/env python3
"""Tests of the page (ui/): types, unit tests, and the built page in headless Chromium against a relay that is made up.

Usage: tests/ui/run.py --build BUILD_DIR [--report FILE] [--filter TEXT] [--only unit,e2e]
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
UI = ROOT / "ui"
SECONDS = 1500  # far beyond what is needed; a machine with other work must not fail


def types(report):
    done = subprocess.run(["node_modules/.bin/tsc", "--noEmit"], cwd=UI, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, end="")
        report["failed"] += 1
        report["failures"].append("ui: types")
    else:
        report["passed"] += 1


def vitest(project, environment, pattern, report):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = ["node", "--max-old-space-size=1024", "node_modules/vitest/vitest.mjs", "run", "--project", project, "--retry", "1",
                   "--reporter=json", f"--outputFile={file.name}", *(["-t", pattern] if pattern else [])]
        try:
            done = subprocess.run(command, cwd=UI, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
            output = done.stdout
        except subprocess.TimeoutExpired:
            output = f"no end after {SECONDS} s\n"
        try:
            result = json.loads(pathlib.Path(file.name).read_text())
        except ValueError:
            print(output, end="")
            report["failed"] += 1
            report["failures"].append(f"ui {project}: no report")
            return
    for suite in result["testResults"]:
        name = pathlib.Path(suite["name"]).name
        if suite["status"] == "failed" and not suite["assertionResults"]:
            print(f"{name}: {suite.get('message', '')}")
            report["failed"] += 1
            report["failures"].append(f"ui: {name}")
        for case in suite["assertionResults"]:
            if case["status"] == "passed":
                report["passed"] += 1
            elif case["status"] == "failed":
                print(f"{name}: {case['fullName']}\n" + "\n".join(case["failureMessages"]))
                report["failed"] += 1
                report["failures"].append(f"ui: {case['fullName']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/dev")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--filter", default="")
    parser.add_argument("--only", default="unit,e2e")
    args = parser.parse_args()
    report = {"passed": 0, "failed": 0, "failures": []}
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
    print(f"ui: {report['passed']} passed, {report['failed']} failed")
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
