#!/usr/bin/env python3
"""Runs the BPF programs and a small cluster of a build on other kernels, each in a virtual machine without KVM.

Usage: tests/kernels/run.py --build BUILD_DIR [--kernel 5.10 …] [--only bpf,unit,cluster] [--scenarios NAME …] [--quick] [--command 'sh …'] [--report FILE]

Kernels are Debian's: 5.10 (bullseye), 6.1 (bookworm), 6.12 (bookworm-backports), fetched once into ~/.cache/axoneme/kernels.
A kernel that cannot be fetched is skipped with the reason; logs are in BUILD_DIR/kernels/<kernel>/.
"""
import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

import image  # noqa: E402

KINDS = ["bpf", "unit", "cluster"]
# One cluster per way through the datapath that kernels differ in, and a restart; TCG is some ten times slower than a machine.
SCENARIOS = ["kernel-smoke-vxlan", "kernel-smoke-native", "kernel-smoke-geneve", "kernel-dsr-geneve", "kernel-dsr-geneve-native", "kernel-smoke-restart"]
UNIT_TESTS = ["kernel_test", "maps_test", "datapath_test"]
# What measures time, or expects this machine's speed, says nothing in an emulator.
UNIT_FILTER = "-*Quick*"
# Every object in the configurations that differ most meets the verifier, and its programs meet packets: a sixth of the tests.
QUICK_TESTS = {
    "Netdev": ["DeliversToPods*", "Legacy*"], "Host": ["NodeToLocalPod*"], "ToNetdev": ["*"], "PodNeighbours": ["Arp*"],
    "*/PodEgress": ["NewConnection*", "NativeRouting*", "LegacyRouting*", "TunnelPushes*", "PlainTunnel*"],
    "*/Policy": ["DefaultDeny*", "PeersPorts*", "FromTheWire*"], "*/HostPolicy": ["WhatArrives*", "WhatLeaves*", "WhatComesThrough*"],
    "*/HostFrontend": ["EveryWay*"], "*/NodePort": ["ALocalBackend*", "ARemoteBackend*", "ThroughTheTunnel*", "WithLegacyRouting*"],
    "*/Masquerade": ["PodsLeave*", "AtTheUplink*"], "*/Dsr": ["TheFirstPacket*", "TheBackendsNode*"], "*/DsrGeneve": ["TheTunnelTells*", "TheBackendsNode*"], "*/PodService": ["TcpToALocal*", "Datagrams*"], "*/Dns": ["WhatAPodAsks*", "LengthsThatLie*"],
    "*/Decapsulation": ["PodsPackets*"], "*/Xdp": ["ForwardsWhat*"], "SockTest": ["InternalScope*"],
}
# One family: an object holds the programs for both.
QUICK_FILTER = ":".join(f"{suite}.{name}{'/IPv4*' if '/' in suite else ''}" for suite, names in QUICK_TESTS.items() for name in names)


def steps(build, only, command, quick, scenarios):
    found = []
    if command:
        found.append({"name": "command", "command": ["sh", "-c", command], "timeout": 600})
    if "bpf" in only:
        found.append({"name": "bpf_test", "command": [str(build / "tests/bpf_test"), "--gtest_output=json:/mnt/out/bpf_test.json",
                                                      f"--gtest_filter={QUICK_FILTER if quick else '*'}"], "timeout": 1200})
    if "unit" in only:
        for name in UNIT_TESTS:
            found.append({"name": name, "command": [str(build / "src" / name), f"--gtest_output=json:/mnt/out/{name}.json", f"--gtest_filter={UNIT_FILTER}"],
                          "timeout": 300})
    if "cluster" in only:
        for name in scenarios:
            found.append({"name": name, "command": [sys.executable, "tests/cluster/run.py", "--build", str(build), "--filter", f"^{name}$", "--jobs", "1", "--verbose",
                                                    "--report", f"/mnt/out/{name}.json", "--keep-logs", "/mnt/out/logs"], "timeout": 600})
    for step in found:
        step["folder"] = str(ROOT)
    return found


def boot(kernel, out, seconds, processors, memory):
    """Runs the machine to its end; returns why it did not come to its end, or nothing."""
    def share(tag, path, readonly):
        return ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap" + (",readonly=on" if readonly else ""),
                "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    initramfs = out / "initramfs.cpio"
    image.build_initramfs(kernel, initramfs)
    command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(processors), "-m", str(memory),
               "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", f"file:{out / 'console.log'}",
               "-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng",
               "-kernel", str(kernel.vmlinuz), "-initrd", str(initramfs),
               "-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable random.trust_cpu=on",
               *share("root", "/", True), *share("modules", kernel.modules, True), *share("out", out, False)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"no end after {seconds} s"
    return "" if done.returncode == 0 else f"qemu ended with {done.returncode}: {done.stdout.strip()}"


def counts(out, result):
    """(passed, failed, names of failures) of a step, from its report, or from its exit status when there is none."""
    try:
        report = json.loads((out / f"{result['name']}.json").read_text())
    except (OSError, ValueError):
        return (1, 0, []) if result["code"] == 0 else (0, 1, [f"{result['name']}: {result['code']}"])
    if "testsuites" in report:
        cases = [(f"{suite['name']}.{case['name']}", case) for suite in report["testsuites"] for case in suite["testsuite"]]
        ran = [(name, case) for name, case in cases if case.get("result") == "COMPLETED"]
        failures = [name for name, case in ran if case.get("failures")]
        return len(ran) - len(failures), len(failures), failures
    return report["passed"], report["failed"], report["failures"]


def test_kernel(series, args):
    """Prints one line per step; returns (passed, failed, skipped, names of what failed)."""
    start = time.monotonic()
    try:
        kernel = image.obtain(series, args.offline)
    except image.Unavailable as reason:
        print(f"SKIP kernel {series}: {reason}", flush=True)
        return 0, 0, 1, []
    out = args.build / "kernels" / series
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    todo = steps(args.build, args.only, args.command, args.quick, args.scenarios)
    (out / "steps.json").write_text(json.dumps(todo, indent=1))
    shutil.copy(HERE / "guest.py", out)
    problem = boot(kernel, out, args.timeout, args.processors, args.memory)
    try:
        results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    except OSError:
        results = []
    passed, failed, failures = 0, 0, []
    for result in results:
        if result["name"] == "boot":
            print(f"---- kernel {series}: {result['release']}, up after {result['seconds']:.0f} s", flush=True)
            continue
        good, bad, names = counts(out, result)
        if result["code"] != 0 and bad == 0:
            bad, names = 1, [f"{result['name']}: {result['code']}"]
        passed, failed, failures = passed + good, failed + bad, failures + [f"{series}: {name}" for name in names]
        print(f"{'ok  ' if bad == 0 else 'FAIL'} {series:5} {result['name']:24} {good:4} passed {bad:3} failed {result['seconds']:7.1f} s", flush=True)
        for name in names[:12]:
            print(f"     ✗ {name}", flush=True)
        if bad:
            print(f"     log: {out / (result['name'] + '.log')}", flush=True)
    missing = [step["name"] for step in todo if step["name"] not in [result["name"] for result in results]]
    if problem or missing:
        failed, failures = failed + 1, failures + [f"{series}: {problem or 'the machine ended early'}"]
        print(f"FAIL {series:5} {problem or 'the machine ended early'}; not run: {', '.join(missing) or 'nothing'}; console: {out / 'console.log'}", flush=True)
    print(f"---- kernel {series}: {passed} passed, {failed} failed, {time.monotonic() - start:.0f} s", flush=True)
    return passed, failed, 0, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/dev")
    parser.add_argument("--kernel", nargs="+", default=list(image.SUITES), choices=list(image.SUITES))
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--command", default="", help="a shell command to run first, for looking around")
    parser.add_argument("--scenarios", nargs="+", default=SCENARIOS, help="clusters other than the usual ones")
    parser.add_argument("--offline", action="store_true", help="only kernels that are in the cache")
    parser.add_argument("--timeout", type=int, default=2700, help="seconds per kernel")
    parser.add_argument("--quick", action="store_true", help="a part of the BPF tests")
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("--memory", type=int, default=3072, help="MiB")
    parser.add_argument("--report", type=pathlib.Path)
    args = parser.parse_args()
    args.build = args.build.resolve()
    args.only = [kind for kind in args.only.split(",") if kind]
    unknown = set(args.only) - set(KINDS) - {"command"}
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if not shutil.which("qemu-system-x86_64"):
        print("SKIP kernels: qemu-system-x86_64 is not installed (package qemu-system-x86)")
        if args.report:
            args.report.write_text(json.dumps({"passed": 0, "failed": 0, "skipped": len(args.kernel), "failures": []}))
        return 0
    # Told to end, it takes the machine with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    totals = [test_kernel(series, args) for series in args.kernel]
    passed, failed, skipped = (sum(column) for column in list(zip(*totals))[:3])
    if args.report:
        args.report.write_text(json.dumps({"passed": passed, "failed": failed, "skipped": skipped, "failures": [name for item in totals for name in item[3]][:40]}))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} kernels skipped" if skipped else ""))
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
