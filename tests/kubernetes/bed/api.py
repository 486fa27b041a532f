"""A small client of the API server: objects in and out as JSON over one connection per thread, much faster than a kubectl each."""
import http.client
import json
import ssl
import threading
import time
import urllib.parse

from lib.kinds import CLUSTER_WIDE, plural_of


class ApiError(Exception):
    def __init__(self, status, text):
        self.status = status
        super().__init__(f"{status}: {text}")


def path_of(api_version, kind, namespace=None, name=None):
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    path = root + (f"/namespaces/{namespace}" if namespace and kind not in CLUSTER_WIDE else "") + f"/{plural_of(kind)}"
    return path + (f"/{name}" if name else "")


class Api:
    def __init__(self, host, port, authority, certificate, key, dial=None):
        """dial: makes a connected socket to the API server from wherever it can be reached."""
        self.host, self.port, self.dial = host, port, dial
        self.context = ssl.create_default_context(cafile=str(authority))
        self.context.load_cert_chain(str(certificate), str(key))
        self.context.check_hostname = False
        self.local = threading.local()

    def connection(self):
        if getattr(self.local, "connection", None) is None:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=30, context=self.context)
            if self.dial:
                connection.sock = self.context.wrap_socket(self.dial(), server_hostname=self.host)
            self.local.connection = connection
        return self.local.connection

    def request(self, method, path, body=None, content_type="application/json"):
        """Status and text. A connection that broke is made anew once."""
        data = None if body is None else body if isinstance(body, str) else json.dumps(body)
        for attempt in (0, 1):
            try:
                connection = self.connection()
                connection.request(method, path, data, {"Content-Type": content_type, "Accept": "application/json"})
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except (http.client.HTTPException, OSError):
                self.local.connection = None
                if attempt:
                    raise

    def call(self, method, path, body=None, content_type="application/json"):
        status, text = self.request(method, path, body, content_type)
        if status >= 400:
            try:
                text = json.loads(text)["message"]
            except (ValueError, KeyError):
                pass
            raise ApiError(status, f"{method} {path}: {text}")
        return json.loads(text) if text.startswith(("{", "[")) else text

    def get(self, api_version, kind, namespace=None, name=None, query=""):
        return self.call("GET", path_of(api_version, kind, namespace, name) + (f"?{query}" if query else ""))

    def find(self, *words):
        """The object, None when there is none."""
        try:
            return self.get(*words)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, api_version, kind, namespace=None, selector=""):
        return self.get(api_version, kind, namespace, query=urllib.parse.urlencode({"labelSelector": selector}) if selector else "")["items"]

    def create(self, thing):
        meta = thing["metadata"]
        return self.call("POST", path_of(thing["apiVersion"], thing["kind"], meta.get("namespace")), thing)

    def apply(self, thing):
        """Creates it, or merges it over what is there."""
        try:
            return self.create(thing)
        except ApiError as error:
            if error.status != 409:
                raise
        meta = thing["metadata"]
        return self.patch(thing["apiVersion"], thing["kind"], meta.get("namespace"), meta["name"], thing)

    def patch(self, api_version, kind, namespace, name, change, part=""):
        return self.call("PATCH", path_of(api_version, kind, namespace, name) + part, change, "application/merge-patch+json")

    def delete(self, api_version, kind, namespace, name, grace=None):
        options = {"propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            return self.call("DELETE", path_of(api_version, kind, namespace, name), options)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def ready(self):
        try:
            return self.request("GET", "/readyz")[0] == 200
        except (http.client.HTTPException, OSError):
            return False

    def metrics(self):
        """The API server's counters: {name{labels}: value}."""
        found = {}
        for line in self.call("GET", "/metrics").splitlines():
            if not line.startswith("#") and " " in line:
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def wait_for(self, condition, seconds, pause=0.1):
        end = time.monotonic() + seconds
        while True:
            try:
                value = condition()
            except (ApiError, http.client.HTTPException, OSError):
                value = None
            if value or time.monotonic() > end:
                return value
            time.sleep(pause)
