#!/usr/bin/env python3
"""A client of Hubble's protocol that shares nothing with ours: Python's gRPC, bytes read and written by hand after
tests/proto/wire_table.txt. It talks to a real axoneme-relay before peers, and reads what `axoneme hubble observe` prints.

Usage: tests/relay/client_test.py BUILD_DIR
"""
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SCALARS = {"google.protobuf.Timestamp": [(1, "seconds", "i"), (2, "nanos", "i")],
           "google.protobuf.BoolValue": [(1, "value", "b")], "google.protobuf.UInt32Value": [(1, "value", "u")],
           "google.protobuf.Int32Value": [(1, "value", "i")], "google.protobuf.Any": [(1, "type_url", "s"), (2, "value", "s")]}


def read_table():
    messages, enums = {}, {}
    for line in (HERE.parent / "proto/wire_table.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        enum, name, rest = re.match(r"(enum )?(\S+) ?(.*)", line).groups()
        fields = [part.split() for part in rest.split(", ") if part]
        if enum:
            enums[name] = {int(number): word for number, word in fields}
        else:
            messages[name] = {int(number): (word, kind) for number, word, kind in fields}
    for name, fields in SCALARS.items():
        messages[name] = {number: (word, kind) for number, word, kind in fields}
    return messages, enums


MESSAGES, ENUMS = read_table()


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
        shift += 7


def put_varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def encode(message, **values):
    """Numbers, booleans and bytes (of messages) only: what requests need."""
    out = b""
    for number, (word, _) in MESSAGES[message].items():
        for value in values.get(word, []) if isinstance(values.get(word), list) else [values[word]] if word in values else []:
            if isinstance(value, bytes):
                out += put_varint(number << 3 | 2) + put_varint(len(value)) + value
            else:
                out += put_varint(number << 3) + put_varint(int(value))
    return out


def decode(message, data):
    fields, out, at = MESSAGES[message], {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        word, kind = fields[tag >> 3]  # KeyError: the server sends what the protocol does not have
        many, kind = kind.startswith("*"), kind.lstrip("*")
        if tag & 7 == 0:
            value, at = varint(data, at)
            if kind == "i" and value >= 1 << 63:
                value -= 1 << 64
            if kind == "b":
                value = bool(value)
            if kind.startswith("="):
                value = ENUMS[kind[1:]][value]
        elif tag & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif tag & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
            if kind == "s":
                value = value.decode(errors="surrogateescape")
            elif kind.startswith("@"):
                value = decode(kind[1:], value)
        else:
            raise ValueError(f"{message}.{word}: wire type {tag & 7}")
        if many:
            out.setdefault(word, []).append(value)
        else:
            out[word] = value
    return out


def same(mine, printed):
    """Whether a message as decoded here is the JSON that our command line printed."""
    if isinstance(mine, dict) and set(mine) <= {"seconds", "nanos"} and isinstance(printed, str):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(mine.get("seconds", 0)))
        return printed.startswith(stamp) and float("0" + printed[19:-1] or 0) == round(mine.get("nanos", 0) / 1e9, 9)
    if isinstance(mine, dict) and not isinstance(printed, dict):  # a wrapper
        return mine.get("value", type(printed)()) == printed
    if isinstance(mine, dict):
        return mine.keys() == printed.keys() and all(same(mine[key], printed[key]) for key in mine)
    if isinstance(mine, list):
        return len(mine) == len(printed) and all(map(same, mine, printed))
    return mine == printed or str(mine) == printed


class Client:
    def __init__(self, grpc, address):
        self.grpc, self.channel = grpc, grpc.insecure_channel(address)

    def ask(self, method, response, request=b""):
        return decode(response, self.channel.unary_unary(method)(request, timeout=20, wait_for_ready=True))

    def stream(self, method, response, request=b""):
        for data in self.channel.unary_stream(method)(request, timeout=20):
            yield decode(response, data)


def check(build):
    import grpc
    problems = []

    def expect(what, condition, seen=None):
        if not condition:
            problems.append(f"{what}: {seen}")

    with tempfile.TemporaryDirectory(prefix="axo-client-test-") as folder:
        relay = subprocess.Popen([build / "bin/axoneme-relay", "--config=/dev/null", f"--peer-service=unix://{folder}/peers.sock",
                                  f"--listen-address=unix://{folder}/relay.sock", "--health-listen-address=",
                                  "--web-listen-address=", "--disable-client-tls", "--disable-server-tls"],
                                 stderr=subprocess.DEVNULL)
        load = subprocess.Popen([build / "tests/relay_load", folder, "3", "200", "1", "1", "0"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            sent = json.loads(load.stdout.readline())["sent"]
            server = f"unix://{folder}/relay.sock"
            client = Client(grpc, f"unix:{folder}/relay.sock")
            health = client.ask("/grpc.health.v1.Health/Check", "grpc.health.v1.HealthCheckResponse",
                                b"\x0a\x11observer.Observer")
            expect("health", health == {"status": "SERVING"}, health)
            status = client.ask("/observer.Observer/ServerStatus", "observer.ServerStatusResponse")
            expect("status: connected nodes", status["num_connected_nodes"] == {"value": 3}, status)
            expect("status: flows", status["num_flows"] == sent, status)
            nodes = client.ask("/observer.Observer/GetNodes", "observer.GetNodesResponse")["nodes"]
            expect("nodes", [node["name"] for node in nodes] == ["default/n0", "default/n1", "default/n2"], nodes)
            expect("nodes: state", {node["state"] for node in nodes} == {"NODE_CONNECTED"}, nodes)
            everything = encode("observer.GetFlowsRequest", number=(1 << 64) - 1)
            responses = list(client.stream("/observer.Observer/GetFlows", "observer.GetFlowsResponse", everything))
            expect("the first response", responses[0]["node_status"]["state_change"] == "NODE_CONNECTED", responses[0])
            flows = [response for response in responses if "flow" in response]
            expect("flows", len(flows) == sent, len(flows))
            times = [(flow["time"].get("seconds", 0), flow["time"].get("nanos", 0)) for flow in flows]
            expect("order of flows", times == sorted(times))
            try:
                list(client.stream("/observer.Observer/GetAgentEvents", "observer.GetAgentEventsResponse"))
                problems.append("GetAgentEvents is answered")
            except grpc.RpcError as error:
                expect("GetAgentEvents", error.code() == grpc.StatusCode.UNIMPLEMENTED, error)
            printed = subprocess.run([build / "bin/axoneme", "hubble", "observe", "--server", server, "--all", "-o", "jsonpb"],
                                     capture_output=True, text=True, timeout=30)
            lines = [json.loads(line) for line in printed.stdout.splitlines()]
            expect("axoneme hubble observe", printed.returncode == 0 and len(lines) == sent, printed.stderr or len(lines))
            # Flows of one instant may change places.
            by_time = {}
            for flow in flows:
                by_time.setdefault(flow["time"].get("nanos", 0), []).append(flow)
            nanos = [int(line["time"].partition(".")[2].rstrip("Z").ljust(9, "0") or 0) for line in lines]
            odd = [line for line, at in zip(lines, nanos) if not any(same(flow, line) for flow in by_time.get(at, []))]
            expect("its flows", not odd, odd[:1])
            text = subprocess.run([build / "bin/axoneme", "hubble", "status", "--server", server], capture_output=True,
                                  text=True, timeout=30).stdout
            expect("axoneme hubble status", "Ok\n" in text and "Connected Nodes: 3/3\n" in text, text)
            # `watch peers | head` ends when nobody reads any more.
            unread, written = os.pipe()
            os.close(unread)
            watch = subprocess.Popen([build / "bin/axoneme", "hubble", "watch", "peers", "--server", f"unix://{folder}/peers.sock"],
                                     stdout=written, stderr=subprocess.DEVNULL)
            os.close(written)
            try:
                expect("axoneme hubble watch peers without a reader", watch.wait(20) == 0, watch.returncode)
            except subprocess.TimeoutExpired:
                watch.kill()
                problems.append("axoneme hubble watch peers goes on without a reader")
        finally:
            for process in (load, relay):
                process.terminate()
                process.wait(20)
    return problems


def main():
    try:
        import grpc  # noqa: F401
    except ImportError:
        print("skip client_test: there is no python3-grpcio")
        return 0
    problems = check(pathlib.Path(sys.argv[1]))
    for problem in problems:
        print(f"FAIL {problem}")
    print("client_test: " + ("failed" if problems else "passed"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
