#!/usr/bin/env python3
"""Stands in a node for the CNI plugin, calls it, and then sends from the new pod's namespace until it is answered.

Configured by cni_probe.json beside it: {"plugin": the real one, "address", "port": of a UDP echo server, "log": a file that gets a
line of JSON for each call: {"command", "ms"}, of an ADD also "first-answer-ms" (both since the kubelet's call) and "unanswered" (sent after ADD
had returned)}.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
PATIENCE = 0.02  # seconds for an answer
GIVE_UP = 10


def first_answer(settings):
    """(seconds until answered or None, datagrams without an answer)"""
    import ctypes
    with open(os.environ["CNI_NETNS"]) as pin:
        if ctypes.CDLL(None, use_errno=True).setns(pin.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    unanswered, end = 0, time.monotonic() + GIVE_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.connect((settings["address"], settings["port"]))
        channel.settimeout(PATIENCE)
        while time.monotonic() < end:
            try:
                channel.send(b"?")
                channel.recv(64)
                return time.monotonic(), unanswered
            except OSError:
                unanswered += 1
    return None, unanswered


def main():
    started = time.monotonic()
    settings = json.loads((pathlib.Path(__file__).resolve().parent / "cni_probe.json").read_text())
    done = subprocess.run([settings["plugin"], *sys.argv[1:]], stdin=sys.stdin, stdout=subprocess.PIPE)
    returned = time.monotonic()
    sys.stdout.buffer.write(done.stdout)
    sys.stdout.flush()
    line = {"command": os.environ.get("CNI_COMMAND"), "ms": 1000 * (returned - started)}
    if os.fork() == 0:
        # The runtime waits for the end of our output.
        nothing = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        if line["command"] == "ADD" and done.returncode == 0:
            answered, unanswered = first_answer(settings)
            line.update({"first-answer-ms": 1000 * (answered - started) if answered else None, "unanswered": unanswered})
        with open(settings["log"], "a") as log:
            log.write(json.dumps(line) + "\n")
        os._exit(0)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
