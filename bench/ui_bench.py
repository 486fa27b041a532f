#!/usr/bin/env python3
"""The page's rows of bench.py: how soon there is a picture of 2,000 pods, and how even its frames are while it is dragged about.

Usage alone: bench/ui_bench.py BUILD_DIR [--runs N]
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS_PER_RUN = 120  # far beyond what one takes


def run(build, runs=5):
    """What tests/ui/measure.test.ts measures: {ready_ms, frame_p95_ms: {workload, pod}, frame_worst_ms, pods, flows_per_s}."""
    if shutil.which("npm") is None:
        raise OSError("ui: no npm here; scripts/install-deps.sh installs it")
    page = pathlib.Path(build).resolve() / "share/axoneme/ui"
    subprocess.run([ROOT / "scripts/build-ui.sh", "--output", page], check=True)
    with tempfile.TemporaryDirectory(prefix="axo-ui-bench-") as folder:
        figures = pathlib.Path(folder, "figures.json")
        environment = {**os.environ, "AXONEME_UI_OUT": str(page), "AXONEME_UI_BENCH": str(figures), "AXONEME_UI_BENCH_RUNS": str(runs)}
        done = subprocess.run(["node", "node_modules/vitest/vitest.mjs", "run", "--project", "e2e", "measure"], cwd=ROOT / "ui", env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 + runs * SECONDS_PER_RUN)
        if done.returncode != 0 or not figures.exists():
            raise ValueError(f"measure.test.ts: exit status {done.returncode}: {done.stdout[-2000:]}")
        return json.loads(figures.read_text())


def measure(bench, row):
    if not bench.wants("ui_ready_ms", "ui_frame_p95_ms"):
        return
    result = run(bench.build, bench.runs)
    more = {"pods": result["pods"], "flows_per_s": result["flows_per_s"]}
    bench.add(row("ui_ready_ms", result["ready_ms"], "ms", **more))
    frames = result["frame_p95_ms"]
    # Of the heavier picture; the other one is beside it.
    bench.add(row("ui_frame_p95_ms", frames["pod"], "ms", **more, of_workloads=max(frames["workload"]), worst=max(result["frame_worst_ms"])))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    print(json.dumps(run(args.build, args.runs), indent=2))


if __name__ == "__main__":
    sys.exit(main())
