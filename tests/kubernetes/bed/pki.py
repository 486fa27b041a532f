"""The cluster's certificates and kubeconfigs: an authority of its own, made with openssl."""
import base64
import json
import pathlib
import subprocess

DAYS = "30"


def openssl(*words, stdin=None):
    done = subprocess.run(["openssl", *[str(word) for word in words]], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr.strip()}")
    return done.stdout


class Authority:
    """Keys, certificates and kubeconfigs in one folder: NAME.key, NAME.crt, NAME.kubeconfig."""

    def __init__(self, folder, server):
        """server: the API server's URL for kubeconfigs."""
        self.folder, self.server = pathlib.Path(folder), server
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key("ca")
        openssl("req", "-x509", "-new", "-key", self.path("ca.key"), "-days", DAYS, "-subj", "/CN=axoneme-test-ca", "-out", self.path("ca.crt"))
        self.key("service-account")
        self.path("service-account.pub").write_text(openssl("ec", "-in", self.path("service-account.key"), "-pubout"))

    def path(self, name):
        return self.folder / name

    def key(self, name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.path(f"{name}.key"))

    def certificate(self, name, user, groups=(), hosts=(), days=DAYS):
        """A certificate for a user (and its groups), or for a server's host names and addresses."""
        self.key(name)
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        lines = ["keyUsage = digitalSignature, keyEncipherment", "extendedKeyUsage = clientAuth, serverAuth"]
        if hosts:
            lines.append("subjectAltName = " + ", ".join(("IP:" if ":" in host or host.replace(".", "").isdigit() else "DNS:") + host for host in hosts))
        extensions = self.path(f"{name}.ext")
        extensions.write_text("\n".join(lines) + "\n")
        request = openssl("req", "-new", "-key", self.path(f"{name}.key"), "-subj", subject)
        openssl("x509", "-req", "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"), "-CAcreateserial", "-days", days, "-extfile", extensions,
                "-out", self.path(f"{name}.crt"), stdin=request)

    def kubeconfig(self, name, user, groups=(), server=None, days=DAYS):
        """A client that shows a certificate; returns the file's path."""
        self.certificate(name, user, groups, days=days)
        return self.write_kubeconfig(name, {"client-certificate": str(self.path(f"{name}.crt")), "client-key": str(self.path(f"{name}.key"))}, server)

    def token_kubeconfig(self, name, token, server=None):
        return self.write_kubeconfig(name, {"token": token}, server)

    def write_kubeconfig(self, name, credentials, server):
        authority = base64.b64encode(self.path("ca.crt").read_bytes()).decode()
        path = self.path(f"{name}.kubeconfig")
        # JSON is YAML.
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server or self.server, "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": credentials}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}]}, indent=1))
        return path
