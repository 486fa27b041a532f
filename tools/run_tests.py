#!/usr/bin/env python3
"""Runs lint, what deploy/ holds, unit tests, the page's tests, BPF tests (also on the oldest kernel), cluster tests (a part of them
also on Kubernetes' store) and Kubernetes tests; prints "N passed, N failed" last.

Usage: tools/run_tests.py --build BUILD_DIR [--only lint,deploy,unit,ui,bpf,kernel,cluster,store,kubernetes] [--filter TEXT]
Exit status 1 when anything failed or nothing ran.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = ["lint", "deploy", "unit", "ui", "bpf", "kernel", "cluster", "store", "kubernetes"]


class Tally:
    def __init__(self):
        self.passed, self.failed, self.failures, self.unsteady = 0, 0, [], []

    def add(self, name, passed, failed, seconds, failures=()):
        self.passed += passed
        self.failed += failed
        self.failures += failures
        mark = "ok  " if failed == 0 else "FAIL"
        print(f"{mark} {name:28} {passed:5} passed {failed:3} failed  {seconds:7.1f} s", flush=True)


def run_step(tally, name, command):
    """A step without counts of its own is one check."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    good = done.returncode == 0
    if not good:
        print(done.stdout, end="")
    tally.add(name, int(good), int(not good), time.monotonic() - start, [] if good else [name])


def gtest_report(binary, pattern, timeout):
    """Passed, names of what failed, output; a crash or a time-out is one more failure."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [str(binary), f"--gtest_output=json:{report.name}", "--gtest_brief=1"]
        if pattern:
            command.append(f"--gtest_filter={pattern}")
        try:
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=timeout)
            output, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired as expired:
            output = (expired.stdout or b"").decode(errors="replace") if isinstance(expired.stdout, bytes) else expired.stdout or ""
            code = f"no end after {timeout} s"
        try:
            result = json.loads(pathlib.Path(report.name).read_text())
            failed = result["failures"] + result.get("errors", 0)
            passed = result["tests"] - failed - result.get("disabled", 0)
            names = [f"{suite['name']}.{case['name']}" for suite in result["testsuites"] for case in suite["testsuite"]
                     if case.get("failures")]
        except (ValueError, KeyError):
            passed, failed, names = 0, 1, [f"{binary.name}: {code}"]
    if failed == 0 and code != 0:
        failed, names = 1, [f"{binary.name}: exit status {code}"]
    return passed, failed, names, output


SECOND_ATTEMPTS = 4  # more failures than that are no accident


def run_gtest(tally, binary, pattern, timeout):
    """Few failures are run again, alone: what passes then is named as unsteady, for somebody to look at."""
    start = time.monotonic()
    passed, failed, names, output = gtest_report(binary, f"*{pattern}*" if pattern else "", timeout)
    if failed:
        print(output, end="")
    if failed and failed == len(names) <= SECOND_ATTEMPTS and all(": " not in name for name in names):
        passed_now, failed, still, output = gtest_report(binary, ":".join(names), timeout)
        passed += passed_now
        tally.unsteady += [f"{binary.name}: {name}" for name in names if name not in still]
        names = still
        if failed:
            print(output, end="")
    tally.add(binary.name, passed, failed, time.monotonic() - start, names)


def run_reporter(tally, name, build, *words, title=""):
    """A runner of its own that prints as it goes and writes {passed, failed, failures}."""
    title = title or name
    start = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, f"tests/{name}/run.py", "--build", str(build), "--report", report.name, *words]
        code = subprocess.run(command, cwd=ROOT).returncode
        try:
            result = json.loads(pathlib.Path(report.name).read_text())
        except ValueError:
            result = {"passed": 0, "failed": 1, "failures": [f"{title}: exit status {code}, no report"]}
    if result["passed"] or result["failed"]:
        tally.add(title, result["passed"], result["failed"], time.monotonic() - start, result["failures"])
        tally.unsteady += result.get("unsteady", [])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/dev")
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--filter", default="")
    args = parser.parse_args()
    only = args.only.split(",")
    unknown = set(only) - set(KINDS)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    build = args.build.resolve()
    tally = Tally()
    if "lint" in only:
        run_step(tally, "include directions: own test", ["tools/check_layers_test.py"])
        run_step(tally, "include directions", ["tools/check_layers.py"])
        run_step(tally, "format", ["make", "-s", "lint-format"])
    if "deploy" in only and not args.filter:
        run_step(tally, "CRDs", ["tests/deploy/crds_test.py"])
        run_step(tally, "dashboards and alerts", ["tests/deploy/monitoring_test.py"])
        run_reporter(tally, "helm", build)
        run_step(tally, "install --dry-run", ["tests/deploy/install_test.py", "--build", str(build)])
        run_step(tally, "image", ["tests/deploy/image_test.py", "--build", str(build)])
    if "unit" in only:
        for binary in sorted((build / "src").glob("*_test")):
            run_gtest(tally, binary, args.filter, 300)
    if "ui" in only:
        run_reporter(tally, "ui", build, *(["--filter", args.filter] if args.filter else []))
    if "bpf" in only:
        for binary in sorted((build / "tests").glob("bpf_test")):
            run_gtest(tally, binary, args.filter, 600)
    if "kernel" in only and not args.filter:
        # The oldest kernel's verifier refuses most; `make kernel-test` runs everything on all of them.
        run_reporter(tally, "kernels", build, "--kernel", "5.10", "--only", "bpf", "--quick")
    for kind, name, words in (("cluster", "cluster", []), ("store", "cluster", ["--store", "kubernetes", "--every-store"]), ("kubernetes", "kubernetes", [])):
        if kind in only:
            run_reporter(tally, name, build, *words, *(["--filter", args.filter] if args.filter else []), title=name if kind == name else f"{name}, Kubernetes' store")
    for name in tally.unsteady:
        print(f"unsteady: {name} failed, and passed when run again")
    for name in tally.failures:
        print(f"failed: {name}")
    if tally.passed + tally.failed == 0:
        print("nothing was run")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 0 if tally.failed == 0 and tally.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
