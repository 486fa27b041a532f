"""Two programs that say things to each other over one connection, message by message, as a scenario tells them.

In a pod: talk.py listen|connect tcp|udp ADDRESS PORT. Lines on standard input are sent; what arrives is printed.
"""
import pathlib
import queue
import socket
import subprocess
import sys
import threading
import time


def talk(role, protocol, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    end = socket.socket(family, kind)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if role == "listen":
        end.bind((address, port))
        if protocol == "tcp":
            end.listen()
        print("ready", flush=True)
        if protocol == "tcp":
            end, _ = end.accept()
    else:
        end.settimeout(5)
        end.connect((address, port))
        end.settimeout(None)
        print("ready", flush=True)
    if protocol == "tcp":
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def hear():
        pending = b""
        while True:
            if role == "listen" and protocol == "udp":
                data, peer = end.recvfrom(2048)
                end.connect(peer)
            else:
                data = end.recv(2048)
            if not data:
                break
            pending += data
            while b"\n" in pending:
                line, _, pending = pending.partition(b"\n")
                print(line.decode(), flush=True)

    threading.Thread(target=hear, daemon=True).start()
    for line in sys.stdin:
        end.send(line.encode())


class Talker:
    def __init__(self, cluster, machine, role, protocol, address, port):
        self.process = subprocess.Popen([str(word) for word in cluster.exec_command(machine, sys.executable, pathlib.Path(__file__).resolve(),
                                                                                    role, protocol, address, port)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        cluster.background.append(self)
        self.heard = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        if self.hear("ready", 5) is None:
            raise RuntimeError(f"{machine}: {role} {protocol} {address} {port}: " + (self.process.stderr.read() if self.process.poll() is not None else "not ready"))

    def read(self):
        for line in self.process.stdout:
            self.heard.put(line.strip())

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def hear(self, text, seconds):
        """Seconds until the text arrived; None: it did not. What arrives before it is forgotten."""
        start = time.monotonic()
        while True:
            left = start + seconds - time.monotonic()
            if left <= 0:
                return None
            try:
                if self.heard.get(timeout=left) == text:
                    return time.monotonic() - start
            except queue.Empty:
                return None

    def kill(self):
        self.process.kill()
        self.process.communicate()


class Conversation:
    """via: (address, port) that the client connects to where it is not the server's own: a service's."""

    def __init__(self, cluster, source, destination, protocol, address, port, via=None):
        self.numbers = 0
        self.server = Talker(cluster, destination, "listen", protocol, address, port)
        self.client = Talker(cluster, source, "connect", protocol, *(via or (address, port)))

    def gets_through(self, back=False, seconds=0.4):
        """One message, as one packet."""
        self.numbers += 1
        sender, receiver = (self.server, self.client) if back else (self.client, self.server)
        sender.say(f"message {self.numbers}")
        return receiver.hear(f"message {self.numbers}", seconds) is not None


if __name__ == "__main__":
    talk(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
