"""Inside the virtual machine: runs the steps of /mnt/out/steps.json, one line of /mnt/out/results.jsonl each."""
import json
import os
import pathlib
import signal
import subprocess
import time

OUT = pathlib.Path("/mnt/out")


def run_step(step):
    log = OUT / f"{step['name']}.log"
    start = time.monotonic()
    environment = dict(os.environ, **step.get("environment", {}))
    with open(log, "wb") as sink:
        process = subprocess.Popen(step["command"], stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=step["folder"],
                                   env=environment, start_new_session=True)
        try:
            code = process.wait(timeout=step["timeout"])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = f"no end after {step['timeout']} s"
    return {"name": step["name"], "code": code, "seconds": round(time.monotonic() - start, 1)}


def main():
    for path, value in (("/proc/sys/kernel/panic_on_oops", "1"), ("/proc/sys/net/core/bpf_jit_enable", "1")):
        pathlib.Path(path).write_text(value)
    with open(OUT / "results.jsonl", "w") as results:
        print(json.dumps({"name": "boot", "release": os.uname().release, "seconds": float(open("/proc/uptime").read().split()[0])}), file=results, flush=True)
        for step in json.loads((OUT / "steps.json").read_text()):
            print(f"guest: {step['name']}", flush=True)
            result = run_step(step)
            print(json.dumps(result), file=results, flush=True)
            print(f"guest: {step['name']} ended with {result['code']} after {result['seconds']} s", flush=True)
    os.sync()


if __name__ == "__main__":
    main()
