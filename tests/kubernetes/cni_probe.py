#!/usr/bin/env python3
"""Stands in a node for the CNI plugin, calls it, and then sends from the new pod's namespace until it is answered.

Configured by cni_probe.json beside it: {"plugin": the real one, "address", "port": of an axoneme-traffic server, "log": a file that gets a
line of JSON for each call: {"command", "ms"}, of an ADD also "first-answer-ms" (both since the kubelet's call), "sent" and "lost": datagrams since ADD
has returned, and those of them that nobody answered within a second after the first answer}.
"""
import ctypes
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
EVERY = 0.005  # seconds between datagrams, as long as none was answered
LATE = 1  # seconds that an answer may take
GIVE_UP = 10
# The head of a datagram as the traffic server takes it (src/app/traffic/net.h): magic, length, nonce; the server fills in the rest.
HEADER, MAGIC, SIZE = struct.Struct("@IIQ"), 0x41584F55, 56


def enter(pin_path):
    with open(pin_path) as pin:
        if ctypes.CDLL(None, use_errno=True).setns(pin.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def first_answer(settings):
    """(seconds until answered or None, sent, lost)"""
    sent, answered, first, end = 0, set(), None, time.monotonic() + GIVE_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.connect((settings["address"], settings["port"]))
        channel.settimeout(EVERY)
        while time.monotonic() < end and len(answered) < max(1, sent):
            try:
                if first is None:
                    channel.send(HEADER.pack(MAGIC, SIZE, sent).ljust(SIZE, b"\0"))
                    sent += 1
                answered.add(HEADER.unpack_from(channel.recv(SIZE))[2])
                if first is None:
                    first = time.monotonic()
                    end = first + LATE
            except OSError:
                time.sleep(0 if first else EVERY / 5)  # a refusal comes at once
    return first, sent, sent - len(answered)


def watcher(settings):
    """A child that is in the pod's namespace before ADD begins, as entering takes longer than ADD. Returns the pipe that starts it."""
    ready, ready_end = os.pipe()
    go_end, go = os.pipe()
    if os.fork() != 0:
        os.close(ready_end)
        os.close(go_end)
        os.read(ready, 1)
        return go
    os.close(go)
    # The runtime waits for the end of our output.
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    enter(os.environ["CNI_NETNS"])
    os.close(ready_end)
    order = os.read(go_end, 4096)
    if order:
        line = json.loads(order)
        started = line.pop("started")
        first, sent, lost = first_answer(settings)
        write(settings, {**line, "first-answer-ms": 1000 * (first - started) if first else None, "sent": sent, "lost": lost})
    os._exit(0)


def write(settings, line):
    with open(settings["log"], "a") as log:
        log.write(json.dumps(line) + "\n")


def main():
    settings = json.loads((pathlib.Path(__file__).resolve().parent / "cni_probe.json").read_text())
    command = os.environ.get("CNI_COMMAND")
    go = watcher(settings) if command == "ADD" else None
    started = time.monotonic()
    done = subprocess.run([settings["plugin"], *sys.argv[1:]], stdin=sys.stdin, stdout=subprocess.PIPE)
    line = {"command": command, "ms": 1000 * (time.monotonic() - started)}
    if command != "ADD" or done.returncode != 0:
        write(settings, line)
    else:
        os.write(go, json.dumps({**line, "started": started}).encode())
    sys.stdout.buffer.write(done.stdout)
    sys.stdout.flush()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
