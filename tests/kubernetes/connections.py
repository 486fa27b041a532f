#!/usr/bin/env python3
"""New TCP connections to one address at a steady rate, each used once; what failed, and the longest time without one that worked.

Usage: connections.py ADDRESS PORT [PER_SECOND]    prints "ready", and at SIGTERM a line of JSON
"""
import collections
import json
import signal
import socket
import sys
import threading
import time

TIMEOUT = 3


def main():
    address, port, per_second = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 50
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    made, errors, longest, last = 0, collections.Counter(), 0.0, time.monotonic()
    print("ready", flush=True)
    due = time.monotonic()
    while not ending.is_set():
        try:
            with socket.create_connection((address, port), TIMEOUT) as connection:
                connection.sendall(b"?")
                if connection.recv(1) != b"?":
                    raise ConnectionError("closed before the answer")
            now = time.monotonic()
            made, longest, last = made + 1, max(longest, now - last), now
        except OSError as error:
            errors[f"{type(error).__name__}: {error}"] += 1
        due = max(due + 1 / per_second, time.monotonic() - 1)
        ending.wait(max(0, due - time.monotonic()))
    print(json.dumps({"made": made, "failed": sum(errors.values()), "errors": errors, "longest-ms": round(1000 * max(longest, time.monotonic() - last))}))


if __name__ == "__main__":
    main()
