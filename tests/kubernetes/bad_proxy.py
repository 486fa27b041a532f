#!/usr/bin/env python3
"""An API server's front that misbehaves as it is told: what the file says decides about each request.

Usage: bad_proxy.py --listen PORT --to HOST:PORT --certificate FILE --key FILE --authority FILE --mode FILE    prints "ready"
The file's word: pass; 429 or 500 (with a Status); half (a part of the document, then the end); nothing (the connection is closed);
clock (everything is passed on, but the Date is an hour ahead). Streams that are open when the
word changes are cut.
"""
import argparse
import http.client
import http.server
import json
import pathlib
import ssl
import sys
import time


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *unused):
        pass

    def mode(self):
        return self.server.options.mode.read_text().strip()

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + 3600 if self.mode() == "clock" else timestamp)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0) or 0))
        mode = self.mode()
        if mode in ("429", "500"):
            return self.refuse(int(mode))
        if mode == "nothing":
            self.close_connection = True
            return None
        return self.forward(body, mode)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def refuse(self, status):
        reason = "TooManyRequests" if status == 429 else "InternalError"
        text = json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "as it was told", "reason": reason, "code": status}).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def forward(self, body, mode):
        host, _, port = self.server.options.to.rpartition(":")
        upstream = http.client.HTTPSConnection(host, int(port), context=self.server.upstream)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length", "connection", "accept-encoding")}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "date"):
                    self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while data := answer.read1(65536):
                if mode == "half":
                    data = data[:len(data) // 2 + 1]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                if mode == "half" or self.mode() != mode:
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")
        finally:
            upstream.close()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *unused):
        pass  # Clients go when they like.


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=int, required=True)
    for name in ("to", "certificate", "key", "authority"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--mode", type=pathlib.Path, required=True)
    options = parser.parse_args()
    server = Server(("0.0.0.0", options.listen), Front)
    server.options = options
    server.upstream = ssl.create_default_context(cafile=options.authority)
    server.upstream.check_hostname = False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    # The handshake is the client thread's, not the listener's.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
