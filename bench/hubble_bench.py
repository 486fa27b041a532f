"""What Hubble costs: new connections with it and without it, the agent's work per flow, its memory, the history's size and speed."""
import os
import pathlib
import re
import subprocess
import sys
import time

from lib.sandbox import PORT

SECONDS = 2
CPU = max(0, (os.cpu_count() or 1) - 1)
UNITS = {"us": "us", "1/s": "1/s", "%": "%", "ms": "ms", "B": "B"}


def engine(bench, row):
    """Figures that the code's own tests print."""
    if not bench.wants("hubble_cpu_us_per_flow", "hubble_events_per_s", "hubble_events_accounted", "hubble_query_ms", "hubble_bytes_per_flow"):
        return
    binary = pathlib.Path(bench.build) / "src/hubble_test"
    if not binary.exists():
        print(f"hubble: {binary} is not built", file=sys.stderr)
        return
    found = {}
    for _ in range(bench.runs):
        done = subprocess.run([str(binary), "--gtest_filter=HubbleFigures.*"], stdout=subprocess.PIPE, text=True, timeout=300, check=True)
        for name, value, unit in re.findall(r"^ +(hubble_[^0-9]*?) +([0-9.]+) (us|1/s|%|ms|B)$", done.stdout, re.MULTILINE):
            found.setdefault((name, unit), []).append(float(value))
    what = {"hubble_cpu_us_per_flow": "decoded, named, in the ring; 2,000 pods", "hubble_query_ms": "a label and a verdict, over 1,000,000 stored flows"}
    for (name, unit), values in found.items():
        key = name.replace(", ", "_").replace(" ", "_")
        bench.add(row(key, values, UNITS[unit], **({"what": what[key]} if key in what else {})))


def memory(cluster):
    """MiB of the agents, by what is theirs alone and what is shared but mapped."""
    total, count = 0.0, 0
    for process in pathlib.Path("/proc").iterdir():
        try:
            if not process.name.isdigit() or f"/axoneme-{cluster.name}/" not in (process / "cgroup").read_text() or (process / "comm").read_text().strip() != "axoneme-agent":
                continue
            total += int(re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())[1]) / 1024
            count += 1
        except OSError:
            continue
    return total / max(1, count)


def connections(bench, row):
    if not bench.wants("hubble_crr", "hubble_agent_rss_mib"):
        return
    # Pinned to one CPU each, as rates() does; both clusters take turns.
    with bench.cluster("hubon", nodes=2) as on, bench.cluster("huboff", nodes=2, agent_flags=["--enable-hubble=false"]) as off:
        rates, sizes = {}, {}
        for cluster in (on, off):
            for pod, node in (("p1", "node1"), ("p3", "node2")):
                cluster.add_pod(pod, node)
            cluster.serve("p3", cpu=0)
            rates[cluster.name] = []
        time.sleep(3)
        for cluster in (on, off):
            sizes[cluster.name] = memory(cluster)
        for _ in range(max(3, bench.runs)):
            for cluster in (on, off):
                done = cluster.measure("p1", "crr", "--to", cluster.addresses()["p3"]["ipv4"], "--port", PORT, "--seconds", SECONDS, "--cpu", CPU)
                rates[cluster.name].append(done["per-second"])
        bench.add(row("hubble_crr", rates[on.name], "1/s", "Hubble off", rates[off.name]))
        bench.add(row("hubble_agent_rss_mib", [sizes[on.name]], "MiB", "Hubble off", [sizes[off.name]]))
        bench.add(row("hubble_agent_rss_busy_mib", [memory(on)], "MiB", "Hubble off", [memory(off)], what="with the ring full"))


def measure(bench, row):
    engine(bench, row)
    connections(bench, row)
