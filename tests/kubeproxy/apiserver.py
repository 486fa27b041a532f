#!/usr/bin/env python3
"""As much of a Kubernetes API server as kube-proxy needs: list and watch of objects that lie in a directory as manifests.

Usage: tests/kubeproxy/apiserver.py --store DIR [--listen 127.0.0.1:18080] [--node NAME=ADDRESS,…]…    prints "ready"

The directory is the same that our agents read; manifests in it that are not JSON are passed over. Nodes are made from the
arguments. No writes but events, which are printed. Standard library only.
"""
import argparse
import http.server
import json
import pathlib
import re
import sys
import threading
import time
import urllib.parse

POLL_SECONDS = 0.05
NODES = "/api/v1/nodes"
# What of the store is served where: path of the resource -> (folder of the store, kind of the list, its API version).
RESOURCES = {
    "/api/v1/services": ("services", "ServiceList", "v1"),
    "/api/v1/endpoints": ("endpoints", "EndpointsList", "v1"),
    NODES: (None, "NodeList", "v1"),
    # kube-proxy 1.20 knows no other version; what differs from v1 is translated below.
    "/apis/discovery.k8s.io/v1beta1/endpointslices": ("endpointslices.discovery.k8s.io", "EndpointSliceList", "discovery.k8s.io/v1beta1"),
}
REQUIREMENT = re.compile(r"^(!?)([\w./-]+)(?:(=|==|!=)(.*))?$")


def selected(metadata, selector):
    labels = metadata.get("labels") or {}
    for requirement in filter(None, selector.split(",")):
        absent, key, operator, value = REQUIREMENT.match(requirement.strip()).groups()
        holds = key not in labels if absent else key in labels if not operator else (labels.get(key) == value) == (operator != "!=")
        if not holds:
            return False
    return True


def as_v1beta1(slice_):
    """discovery.k8s.io/v1 took the node out of the topology and gave it a field."""
    changed = dict(slice_, apiVersion="discovery.k8s.io/v1beta1", endpoints=[])
    for endpoint in slice_.get("endpoints") or []:
        endpoint = dict(endpoint)
        node = endpoint.pop("nodeName", None)
        endpoint.pop("hints", None)
        if node:
            endpoint["topology"] = {"kubernetes.io/hostname": node}
        changed["endpoints"].append(endpoint)
    return changed


class Store:
    """The manifests of one directory with a version that every change raises. Waiters are told of changes."""

    def __init__(self, root, nodes):
        self.root, self.nodes = pathlib.Path(root), nodes
        self.changed = threading.Condition()
        self.version = 1
        self.files = {}  # path -> (signature, object)
        self.log = []  # (version, folder, type, object)
        self.look()

    def look(self):
        """Compares the directory with what is known."""
        seen = {}
        for folder in {folder for folder, _, _ in RESOURCES.values() if folder}:
            for path in (self.root / folder).rglob("*.yaml"):
                if not any(part.startswith(".") for part in path.relative_to(self.root).parts):
                    seen[path] = folder
        with self.changed:
            for path in [path for path in self.files if path not in seen]:
                _, folder, item = self.files.pop(path)
                self.note(folder, "DELETED", item)
            for path, folder in seen.items():
                try:
                    info = path.stat()
                    signature = (info.st_ino, info.st_mtime_ns, info.st_size)
                    known = self.files.get(path)
                    if known and known[0] == signature:
                        continue
                    item = json.loads(path.read_text())
                except (OSError, ValueError):
                    continue  # gone again, or not JSON
                item["metadata"].setdefault("namespace", path.parent.name)
                item["metadata"].setdefault("uid", str(path.relative_to(self.root)))
                if folder.startswith("endpointslices"):
                    item = as_v1beta1(item)
                self.note(folder, "MODIFIED" if known else "ADDED", item)
                self.files[path] = (signature, folder, item)
            self.changed.notify_all()

    def note(self, folder, type_, item):
        self.version += 1
        item.setdefault("metadata", {})["resourceVersion"] = str(self.version)
        self.log.append((self.version, folder, type_, item))

    def poll(self):
        while True:
            time.sleep(POLL_SECONDS)
            self.look()

    def list(self, folder):
        with self.changed:
            if folder is None:
                return self.version, self.nodes
            return self.version, [item for _, of, item in self.files.values() if of == folder]

    def after(self, version, folder, seconds):
        """Changes after a version, and the version they lead to; waits for some."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                found = [entry for entry in self.log if entry[0] > version and entry[1] == folder]
                left = end - time.monotonic()
                if found or left <= 0:
                    return found
                self.changed.wait(left)


def node(name, addresses):
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": "1", "labels": {"kubernetes.io/hostname": name}},
            "status": {"addresses": [{"type": "InternalIP", "address": address} for address in addresses.split(",")] + [{"type": "Hostname", "address": name}]}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = None

    def log_message(self, *unused):
        pass

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def not_found(self, path):
        self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": f"{path} not found"})

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/version":
            return self.answer(200, {"major": "1", "minor": "20", "gitVersion": "v1.20.2"})
        if url.path in RESOURCES:
            folder, kind, version = RESOURCES[url.path]
            return self.watch(folder, query) if query.get("watch") in ("true", "1") else self.list(folder, kind, version, query)
        collection, _, name = url.path.rpartition("/")
        if collection in RESOURCES:
            for item in self.store.list(RESOURCES[collection][0])[1]:
                if item["metadata"]["name"] == name:
                    return self.answer(200, item)
        return self.not_found(url.path)

    def chosen(self, item, query):
        field = query.get("fieldSelector", "")
        if field.startswith("metadata.name=") and item["metadata"]["name"] != field.partition("=")[2]:
            return False
        return selected(item["metadata"], query.get("labelSelector", ""))

    def list(self, folder, kind, api_version, query):
        version, items = self.store.list(folder)
        self.answer(200, {"kind": kind, "apiVersion": api_version, "metadata": {"resourceVersion": str(version)},
                          "items": [item for item in items if self.chosen(item, query)]})

    def watch(self, folder, query):
        version, end = int(query.get("resourceVersion") or 0), time.monotonic() + float(query.get("timeoutSeconds") or 300)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while time.monotonic() < end:
                for version, _, type_, item in self.store.after(version, folder, min(1.0, end - time.monotonic())):
                    if self.chosen(item, query):
                        data = json.dumps({"type": type_, "object": item}).encode() + b"\n"
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                        self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # the watcher has gone

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.split("?")[0].endswith("/events"):
            return self.not_found(self.path)
        try:
            event = json.loads(body)
        except ValueError:
            event = {}
        print("event:", event.get("reason", ""), event.get("note") or event.get("message") or "", file=sys.stderr, flush=True)
        return self.answer(201, event)

    do_PATCH = do_POST


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--listen", default="127.0.0.1:18080")
    parser.add_argument("--node", action="append", default=[])
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")
    Handler.store = Store(args.store, [node(*item.split("=")) for item in args.node])
    threading.Thread(target=Handler.store.poll, daemon=True).start()
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
