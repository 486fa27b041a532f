#!/usr/bin/env python3
"""The relay's row of bench.py: its memory with many peers, flows and clients, some of which do not read.

Usage alone: bench/relay_bench.py BUILD_DIR [--peers N] [--rate N] [--seconds N] [--readers N] [--slow N]
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time


def rss_mib(pid, field="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {field} of process {pid}")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(build, peers=100, rate=500, seconds=20, readers=1, slow=0):
    """{rss_mib, peak_mib, cpu, sent, received, lost} of a relay that is fresh."""
    build = pathlib.Path(build)
    with tempfile.TemporaryDirectory(prefix="axo-relay-bench-") as folder:
        relay = subprocess.Popen(
            [build / "bin/axoneme-relay", "--config", "/dev/null", f"--peer-service=unix://{folder}/peers.sock",
             f"--listen-address=unix://{folder}/relay.sock", "--health-listen-address=", "--web-listen-address=",
             "--disable-client-tls", "--disable-server-tls"], stderr=subprocess.DEVNULL)
        load = None
        try:
            load = subprocess.Popen([build / "tests/relay_load", folder, str(peers), str(rate), str(seconds), str(readers), str(slow)],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if load.stderr.readline().strip() != "sending":
                raise ValueError("relay_load: " + load.stderr.read())
            before, began = cpu_seconds(relay.pid), time.monotonic()
            line = load.stdout.readline()
            if not line:
                raise ValueError("relay_load ended: " + load.stderr.read())
            result = json.loads(line)
            result["cpu"] = (cpu_seconds(relay.pid) - before) / (time.monotonic() - began)
            result["rss_mib"], result["peak_mib"] = rss_mib(relay.pid), rss_mib(relay.pid, "VmHWM")
            load.communicate("done\n", timeout=30)
            return result
        finally:
            for process in (load, relay):
                if process is not None and process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(10)
                    except subprocess.TimeoutExpired:
                        process.kill()


def measure(bench, row):
    if not bench.wants("relay_rss_mib"):
        return
    result = run(bench.build)
    if result["received"] + result["lost"] != result["sent"] or result["lost"]:
        raise ValueError(f"relay: a client that reads got {result['received']} of {result['sent']} flows, {result['lost']} lost")
    bench.add(row("relay_rss_mib", [result["rss_mib"]], "MiB", peak=round(result["peak_mib"], 1),
                  peers=100, flows_per_second=500, cpu_cores=round(result["cpu"], 3)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    for name, preset in (("peers", 100), ("rate", 500), ("seconds", 20), ("readers", 1), ("slow", 0)):
        parser.add_argument("--" + name, type=int, default=preset)
    arguments = vars(parser.parse_args())
    print(json.dumps(run(**arguments)))
    sys.exit(0)
