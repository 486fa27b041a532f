#!/usr/bin/env python3
"""Measures a build on sandbox clusters and writes a list of {name, value, unit, baseline, baseline_value, ratio, runs, …}.

Usage: bench/bench.py --build BUILD_DIR --output FILE [--only NAME,…] [--runs N]

Throughput and rates are medians over runs in which pods and the baseline (node to node on the same underlay) take turns,
so that a machine that changes its mind changes both. Rate measurements have client and server pinned to one CPU.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/cluster"))

import hubble_bench  # noqa: E402
import kubernetes_bench  # noqa: E402
import policy_bench  # noqa: E402
import relay_bench  # noqa: E402
import scale_bench  # noqa: E402
import services_bench  # noqa: E402
import ui_bench  # noqa: E402
from lib import checks, node_state  # noqa: E402
from lib.sandbox import PORT, Cluster, CommandFailed, run  # noqa: E402
import bpf_stats  # noqa: E402

CPU = max(0, (os.cpu_count() or 1) - 1)
SECONDS = 2


def row(name, values, unit, baseline="", baseline_values=(), **more):
    value = statistics.median(values)
    base = statistics.median(baseline_values) if baseline_values else None
    return {"name": name, "value": round(value, 3), "unit": unit, "baseline": baseline,
            "baseline_value": round(base, 3) if base is not None else None,
            "ratio": round(value / base, 3) if base else None, "runs": len(values),
            "min": round(min(values), 3), "max": round(max(values), 3), **more}


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(part * (len(ordered) - 1)))]


class Bench:
    def __init__(self, build, runs, only):
        self.build, self.runs, self.only = build, runs, only
        self.results = []

    def wants(self, *names):
        return not self.only or any(name in self.only or any(name.startswith(wanted) for wanted in self.only) for name in names)

    def add(self, result):
        if self.only and not any(result["name"].startswith(wanted) for wanted in self.only):
            return
        self.results.append(result)
        ratio = f"{result['ratio']:.2f} of {result['baseline']}" if result["ratio"] else ""
        print(f"{result['name']:36} {result['value']:>14,.2f} {result['unit']:8} {ratio}", flush=True)

    def cluster(self, name, kind=Cluster, **options):
        return kind(self.build, f"bench{os.getpid()}-{name}", **options)

    # throughput and rates
    def iperf(self, cluster, client, server, address):
        """Mbit/s of one TCP stream."""
        listening = subprocess.Popen([str(w) for w in cluster.exec_command(server, "iperf3", "-s", "-1", "-p", "5201")], stdout=subprocess.DEVNULL)
        try:
            checks.wait_until(lambda: ":5201" in cluster.exec(server, "ss", "-ltn").stdout, 5, 0.02)
            answer = cluster.exec(client, "iperf3", "-c", address, "-p", "5201", "-t", SECONDS, "-J", check=False, timeout=30)
            return json.loads(answer.stdout)["end"]["sum_received"]["bits_per_second"] / 1e6
        finally:
            listening.kill()
            listening.wait()

    def rates(self):
        ways = [("vxlan", "same_node", "p1", "p2"), ("vxlan", "cross_vxlan", "p1", "p3"), ("native", "cross_native", "p1", "p3")]
        for routing in ("vxlan", "native"):
            wanted = [(suffix, client, server) for way, suffix, client, server in ways
                      if way == routing and self.wants("tcp_" + suffix, "rr_" + suffix, "crr_" + suffix)]
            if not wanted and not (routing == "vxlan" and self.wants("agent_cpu_us_per_connection", "agent_cpu_monitored_us_per_connection")):
                continue
            with self.cluster(routing, nodes=2, routing=routing, families="ipv4") as cluster:
                for pod, node in (("p1", "node1"), ("p2", "node1"), ("p3", "node2")):
                    cluster.add_pod(pod, node)
                to = {machine: item["ipv4"] for machine, item in cluster.addresses().items()}
                cluster.serve("p2", "p3", "node2", cpu=CPU)
                for suffix, client, server in wanted:
                    pods, nodes = {"tcp": [], "rr": [], "crr": []}, {"tcp": [], "rr": [], "crr": []}
                    for _ in range(self.runs):
                        for values, source, target in ((nodes, "node1", "node2"), (pods, client, server)):
                            if self.wants("tcp_" + suffix):
                                values["tcp"].append(self.iperf(cluster, source, target, to[target]))
                            for mode in ("rr", "crr"):
                                if self.wants(f"{mode}_{suffix}"):
                                    values[mode].append(cluster.measure(source, mode, "--to", to[target], "--port", PORT, "--seconds", SECONDS,
                                                                        "--cpu", CPU)["per-second"])
                    for mode, unit in (("tcp", "Mbit/s"), ("rr", "1/s"), ("crr", "1/s")):
                        if pods[mode]:
                            self.add(row(f"{mode}_{suffix}", pods[mode], unit, "node to node", nodes[mode]))
                if routing == "vxlan" and self.wants("agent_cpu_us_per_connection", "agent_cpu_monitored_us_per_connection"):
                    self.agent_cpu(cluster, to)

    def agent_cpu(self, cluster, to):
        """CPU time of both agents, all their threads, per new connection across nodes; with nobody listening, and with a monitor on each node.

        Events go to the ring buffer in either case; the agents look at every one, and a monitor gets them decoded. What the agents
        use when nothing happens is taken off. Checked against the ticks of /proc/PID/stat, which are coarse: both are in the row.
        """
        pids = [node["agent"]["pid"] for node in cluster.status()["nodes"]]
        tick = 1e6 / os.sysconf("SC_CLK_TCK")

        def used():
            """Microseconds: by the scheduler's nanoseconds of every thread, and by the process's ticks."""
            threads = ticks = 0.0
            for pid in pids:
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    threads += int((task / "schedstat").read_text().split()[0]) / 1000
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += (int(stat[11]) + int(stat[12])) * tick
            return threads, ticks

        def spent(work):
            before, start = used(), time.monotonic()
            result = work()
            seconds = time.monotonic() - start
            after = used()
            return result, seconds, after[0] - before[0], after[1] - before[1]

        def connections():
            done = cluster.measure("p1", "crr", "--to", to["p3"], "--port", PORT, "--seconds", SECONDS, "--cpu", CPU)
            time.sleep(1)  # what is left in the rings and on its way to monitors
            # The warm-up makes connections too: the measured time is SECONDS of SECONDS + 0.2.
            return done["transactions"] * (SECONDS + 0.2) / SECONDS

        for name, listeners in (("agent_cpu_us_per_connection", 0), ("agent_cpu_monitored_us_per_connection", 1)):
            if not self.wants(name):
                continue
            monitors = [subprocess.Popen([str(word) for word in cluster.exec_command(node, "axoneme", "monitor")], stdout=subprocess.DEVNULL)
                        for node in ("node1", "node2") for _ in range(listeners)]
            try:
                time.sleep(1)
                _, idle_seconds, idle, _ = spent(lambda: time.sleep(2))
                values, by_ticks, counted = [], [], 0
                for _ in range(self.runs):
                    count, seconds, threads, ticks = spent(connections)
                    values.append(max(0.0, threads - idle / idle_seconds * seconds) / count)
                    by_ticks.append(ticks / count)
                    counted += count
            finally:
                for monitor in monitors:
                    monitor.kill()
                    monitor.wait()
            self.add(row(name, values, "us", connections=round(counted), by_ticks_idle_included=round(statistics.median(by_ticks), 3),
                         what=f"new TCP connections across nodes, both agents and all their threads; monitors per node: {listeners}"))

    # the agent itself
    def agent(self):
        if not self.wants("agent_start_ms", "agent_rss_mib", "map_memory_mib", "agent_start_50_pods_ms", "agent_rss_50_pods_mib"):
            return
        with self.cluster("agent", nodes=1) as cluster:
            def restart():
                cluster.sandbox("agent", "stop", "node1")
                start = time.monotonic()
                cluster.sandbox("agent", "start", "node1")
                outside = (time.monotonic() - start) * 1000
                own = cluster.cli_json("node1", "status")["axoneme"]
                return outside, own.get("start-ms", 0), own.get("datapath-ready-ms", 0)

            def rss():
                pid = cluster.status()["nodes"][0]["agent"]["pid"]
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        return int(line.split()[1]) / 1024
                return 0.0

            # From nothing: no pins, no state.
            cold = []
            for number in range(self.runs):
                with self.cluster(f"cold{number}", nodes=1) as fresh:
                    cold.append(fresh.cli_json("node1", "status")["axoneme"].get("start-ms", 0))
            starts = [restart() for _ in range(self.runs)]
            time.sleep(1)
            self.add(row("agent_start_ms", [item[0] for item in starts], "ms", own_ms=statistics.median(item[1] for item in starts),
                         datapath_ready_ms=statistics.median(item[2] for item in starts), what="start command to healthy and datapath ready, restart"))
            self.add(row("agent_start_cold_ms", cold, "ms", what="the agent's own figure, nothing there before, the operator's pod CIDR included"))
            self.add(row("agent_rss_mib", [rss() for _ in range(self.runs)], "MiB"))
            maps = cluster.cli_json("node1", "status")["axoneme"].get("maps", [])
            self.add(row("map_memory_mib", [sum(item["bytes"] for item in maps) / 2**20] * self.runs, "MiB", maps=len(maps)))
            names = [f"p{number}" for number in range(50)]
            cluster.sandbox("pod", "add", *names, "--parallel")
            starts = [restart() for _ in range(self.runs)]
            time.sleep(1)
            self.add(row("agent_start_50_pods_ms", [item[0] for item in starts], "ms", own_ms=statistics.median(item[1] for item in starts)))
            self.add(row("agent_rss_50_pods_mib", [rss() for _ in range(self.runs)], "MiB"))

    def cni(self):
        if not self.wants("cni_add_ms", "cni_del_ms", "cni_add_parallel_ms"):
            return
        with self.cluster("cni", nodes=1) as cluster:
            add, delete, parallel = [], [], []
            cluster.add_pod("warm", "node1")
            for round_number in range(max(20, self.runs * 4)):
                name = f"p{round_number}"
                add.append(cluster.add_pod(name, "node1")["cni-add-us"] / 1000)
            for round_number in range(len(add)):
                answer = json.loads(cluster.sandbox("-o", "json", "pod", "del", f"p{round_number}").stdout)
                delete.append(answer[0]["cni-del-us"] / 1000)
            self.add(row("cni_add_ms", add, "ms", p95=round(percentile(add, 0.95), 3)))
            self.add(row("cni_del_ms", delete, "ms", p95=round(percentile(delete, 0.95), 3)))
            for _ in range(self.runs):
                names = [f"q{number}" for number in range(50)]
                answer = json.loads(cluster.sandbox("-o", "json", "pod", "add", *names, "--parallel").stdout)
                parallel.append(answer["cni-add-us"] / 1000)
                cluster.sandbox("pod", "del", *names)
            self.add(row("cni_add_parallel_ms", parallel, "ms", pods=50))

    def restart(self):
        if not self.wants("restart_lost_packets"):
            return
        with self.cluster("restart", nodes=2) as cluster:
            for pod, node in (("p1", "node1"), ("p2", "node1"), ("p3", "node2")):
                cluster.add_pod(pod, node)
            to = cluster.addresses()
            cluster.serve("p2", "p3", "outside")
            lost, sent = [], 0
            for _ in range(self.runs):
                loads = [cluster.start("p1", "load", "--to", to[target][family], "--port", PORT, "--per-second", 500)
                         for target in ("p2", "p3", "outside") for family in ("ipv4", "ipv6")]
                time.sleep(0.5)
                cluster.sandbox("agent", "kill", "--all")
                cluster.sandbox("operator", "kill")
                time.sleep(0.5)
                cluster.sandbox("operator", "start")
                cluster.sandbox("agent", "start", "--all")
                time.sleep(0.5)
                results = [load.finish() for load in loads]
                cluster.background.clear()
                lost.append(sum(item["lost"] for item in results))
                sent += sum(item["sent"] for item in results)
            self.add(row("restart_lost_packets", lost, "packets", sent=sent, worst=max(lost)))

    def bpf(self):
        names = ["bpf_ns_from_container", "bpf_ns_from_netdev", "xdp_nodeport_cross"]
        binary = pathlib.Path(self.build) / "tests/bpf_test"
        if not self.wants(*names):
            return
        if not binary.exists():
            print(f"bpf_ns_*: {binary} is not built", file=sys.stderr)
            return
        with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as rows:
            done = subprocess.run([str(binary), "--gtest_filter=Bench.*:*Xdp.CostsLittle/IPv4", "--gtest_brief=1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=300, env=dict(os.environ, AXO_BPF_BENCH=rows.name))
            measured = [json.loads(line) for line in rows]
        if done.returncode != 0:
            raise ValueError(f"{binary.name} ended with {done.returncode}:\n{done.stdout}")
        for item in measured:
            self.add(item)

    def overlay(self):
        """cil_from_overlay on live traffic, because BPF_PROG_RUN cannot give a packet its tunnel key.

        One TCP stream over the tunnel device (the fast way does not come by); the kernel's own count of each program's time,
        also of an empty program on the same node's uplink. The count's clock costs both the same some 20 ns.
        """
        if not self.wants("bpf_ns_from_overlay"):
            return
        with tempfile.TemporaryDirectory() as folder, bpf_stats.Counting():
            source, empty = pathlib.Path(folder) / "empty.c", pathlib.Path(folder) / "empty.o"
            source.write_text('__attribute__((section("tc"), used)) int axo_empty(void *skb) { return -1; }\n'
                              'char _license[] __attribute__((section("license"), used)) = "GPL";\n')
            run(["clang-19", "-target", "bpf", "-O2", "-g", "-c", source, "-o", empty])
            with self.cluster("overlay", nodes=2, families="ipv4", agent_flags=["--enable-tunnel-fast-path=false", "--enable-tcx=false"]) as cluster:
                cluster.add_pod("p1", "node1")
                cluster.add_pod("p2", "node2")
                to = cluster.addresses()["p2"]["ipv4"]
                known = {program for program in bpf_stats.every()}
                # On the far end of the uplink, where nothing else is attached: it meets as many packets, or more.
                cluster.exec("underlay", "tc", "qdisc", "add", "dev", "port2", "clsact")
                cluster.exec("underlay", "tc", "filter", "add", "dev", "port2", "egress", "bpf", "da", "obj", empty, "sec", "tc")
                baseline = next(program for program in bpf_stats.every() if program not in known and bpf_stats.read(program)[0] == "axo_empty")
                program = bpf_stats.held_by(cluster.status()["nodes"][1]["agent"]["pid"], "cil_from_overlay")
                self.iperf(cluster, "p1", "p2", to)
                values, baselines, runs = [], [], []
                for _ in range(self.runs):
                    first, before = bpf_stats.read(baseline), bpf_stats.read(program)
                    self.iperf(cluster, "p1", "p2", to)
                    last, after = bpf_stats.read(baseline), bpf_stats.read(program)
                    values.append((after[1] - before[1]) / max(1, after[2] - before[2]))
                    baselines.append((last[1] - first[1]) / max(1, last[2] - first[2]))
                    runs.append(after[2] - before[2])
        self.add(row("bpf_ns_from_overlay", values, "ns", "empty program", baselines, packets_per_run=statistics.median(runs),
                     method="run_time_ns/run_cnt on a live TCP stream, caches and clock included; not BPF_PROG_RUN"))

    def uninstall(self):
        if not self.wants("uninstall_leftovers"):
            return
        with self.cluster("uninstall", nodes=1, processes=False) as cluster:
            _, left = node_state.install_and_clean(cluster, ["--kube-proxy-replacement=true"])
            self.add(row("uninstall_leftovers", [len(left)], "lines", what="links, routes, filters, pins, chains, files, sysctls that differ", left=left[:20]))

    def sizes(self):
        for name, program in (("agent_binary_mb", "axoneme-agent"), ("cni_binary_mb", "axoneme-cni")):
            if not self.wants(name):
                continue
            stripped = pathlib.Path(self.build) / f"{program}.stripped"
            run(["strip", "-o", stripped, pathlib.Path(self.build) / "bin" / program])
            self.add(row(name, [stripped.stat().st_size / 1e6], "MB"))
            stripped.unlink()

    def image(self):
        if not self.wants("image_mib"):
            return
        with tempfile.NamedTemporaryFile(suffix=".tar") as image:
            run([ROOT / "deploy/image/build.sh", "--bin", pathlib.Path(self.build) / "bin", "--output", image.name])
            with tarfile.open(image.name) as layout:
                layers = json.load(layout.extractfile("manifest.json"))[0]["Layers"]
                compressed = sum(layout.getmember(name).size for name in layers)
            self.add(row("image_mib", [compressed / (1 << 20)], "MiB", method="compressed layers"))

    def policy(self):
        policy_bench.measure(self, row)

    def services(self):
        services_bench.measure(self, row)

    def relay(self):
        relay_bench.measure(self, row)

    def ui(self):
        ui_bench.measure(self, row)

    def hubble(self):
        hubble_bench.measure(self, row)

    def kubernetes(self):
        kubernetes_bench.measure(self, row)

    def scale(self):
        scale_bench.measure(self, row)


def table(results):
    print(f"\n{'NAME':36} {'VALUE':>14} {'UNIT':8} {'BASELINE':>14} {'RATIO':>7} {'RUNS':>5}")
    for item in results:
        base = f"{item['baseline_value']:,.1f}" if item["baseline_value"] is not None else ""
        print(f"{item['name']:36} {item['value']:>14,.2f} {item['unit']:8} {base:>14} {item['ratio'] if item['ratio'] else '':>7} {item['runs']:>5}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/bench/results.json")
    parser.add_argument("--only", default="")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("benchmarks make namespaces: run as root", file=sys.stderr)
        return 1
    bench = Bench(args.build, args.runs, [name for name in args.only.split(",") if name])
    failed = []
    for part in (bench.bpf, bench.overlay, bench.sizes, bench.image, bench.cni, bench.agent, bench.restart, bench.rates, bench.policy, bench.services, bench.hubble, bench.relay, bench.ui, bench.kubernetes, bench.scale, bench.uninstall):
        try:
            part()
        except (CommandFailed, KeyError, OSError, StopIteration, ValueError, subprocess.TimeoutExpired) as error:
            failed.append(f"{part.__name__}: {error}")
            print(f"{part.__name__} failed: {error}", file=sys.stderr)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(bench.results, indent=2) + "\n")
    table(bench.results)
    print(f"written to {args.output}")
    return 1 if failed or not bench.results else 0


if __name__ == "__main__":
    sys.exit(main())
