#!/usr/bin/env python3
"""What a Kubernetes cluster runs: Kubernetes' programs built from Debian's source package with Debian's Go, etcd, containerd
and runc out of Debian's packages; once, into the user's cache.

Usage: tests/kubernetes/build.py [NAME…]    prints the programs' paths (without names: all); exit status 2 and a reason when they cannot be had

One `go build` makes all that are not there yet, whichever is asked for: most of the time goes into packages that they share.
Nothing is installed, so that a machine's own container runtime stays what it is: packages are unpacked in the cache. Archives are
checked against Debian's keys by apt.
"""
import argparse
import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/kernels"))

from image import KEYRING, MIRROR, PrivateApt, Unavailable  # noqa: E402

SUITE = "bookworm"
GO_PACKAGES = ["golang-1.19-go", "golang-1.19-src"]
# Kubernetes 1.20 carries a reflect2 that calls Go's map iteration as it was before Go 1.18: built with a newer one, its programs corrupt
# their memory when they write an object with a map as JSON, and die of it sooner or later (an API server at its first custom resources).
REFLECT2 = ("golang-github-modern-go-reflect2-dev", "usr/share/gocode/src/github.com/modern-go/reflect2", "vendor/github.com/modern-go/reflect2")
RECIPE = "2"  # changes with what is compiled: programs that an older one made are made anew
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "axoneme/kubernetes"
COMPILED = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"]
# Program -> package and place in it.
UNPACKED = {"etcd": ("etcd-server", "usr/bin/etcd"), "containerd": ("containerd", "usr/bin/containerd"), "ctr": ("containerd", "usr/bin/ctr"),
            "containerd-shim-runc-v2": ("containerd", "usr/bin/containerd-shim-runc-v2"), "runc": ("runc", "usr/sbin/runc"),
            "loopback": ("containernetworking-plugins", "usr/lib/cni/loopback")}
PROGRAMS = [*COMPILED, *UNPACKED]
# Without the clouds' and Docker's client libraries, which are a good part of the code and of no use here.
TAGS = "providerless,dockerless"
BUILD_SECONDS = 3600


def version_of(binary):
    words = ["version", "--client", "--short"] if binary.name.endswith("kubectl") else ["--version"]
    done = subprocess.run([str(binary), *words], stdout=subprocess.PIPE, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


@contextlib.contextmanager
def one_at_a_time():
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def private_apt(work):
    apt = PrivateApt(work / "apt", SUITE)
    (apt.root / "sources.list").write_text("".join(f"{kind} [signed-by={KEYRING}] {MIRROR} {SUITE} main\n" for kind in ("deb", "deb-src")))
    apt.call("apt-get", "update")
    return apt


def unpack(names, apt, work):
    """Takes programs out of their packages."""
    packages = sorted({UNPACKED[name][0] for name in names})
    apt.call("apt-get", "download", *packages, cwd=work)
    for package in packages:
        archive = next(work.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(archive), str(work / "packages")], check=True)
        archive.unlink()
    for name in names:
        (work / "packages" / UNPACKED[name][1]).rename(CACHE / name)


def fetch(apt, work):
    """Sources of Kubernetes and the Go to build them with."""
    shutil.rmtree(work / "gopath", ignore_errors=True)
    go = work / "go-root"
    if not go.exists():
        apt.call("apt-get", "download", *GO_PACKAGES, REFLECT2[0], cwd=work)
        for package in sorted(work.glob("golang-*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(go)], check=True)
            package.unlink()
    if not list(work.glob("kubernetes-*")):
        apt.call("apt-get", "source", "--only-source", "kubernetes", cwd=work)
    sources = next((path for path in work.glob("kubernetes-*") if path.is_dir()), None)
    if sources is None:
        raise Unavailable("the source package has no folder kubernetes-*")
    shutil.rmtree(sources / REFLECT2[2])
    shutil.copytree(go / REFLECT2[1], sources / REFLECT2[2])
    return next(go.glob("usr/lib/go-*")), sources


class GoTree:
    """Kubernetes' sources as a GOPATH, which is how Debian builds them: it takes modules out of vendor/ and not out of go.mod."""

    def __init__(self, go, sources, work):
        with open(sources / "debian/changelog") as changelog:  # kubernetes (1.20.5+really1.20.2-1.1…) …
            self.version = changelog.readline().split("(")[1].split(")")[0].split("really")[-1].split("-")[0]
        self.go = go / "bin/go"
        self.place = work / "gopath/src/k8s.io/kubernetes"
        self.place.parent.mkdir(parents=True, exist_ok=True)
        sources.rename(self.place)
        self.environment = dict(os.environ, GOROOT=str(go), GOPATH=str(work / "gopath"), GOCACHE=str(work / "gocache"), GO111MODULE="off", GOFLAGS="", CGO_ENABLED="0",
                                GOMAXPROCS="2")

    def run(self, *words):
        done = subprocess.run(["nice", "-n", "19", *[str(word) for word in words]], cwd=self.place, env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(str(word) for word in words[:2])} ended with {done.returncode}:\n{done.stdout[-3000:]}")

    def build(self, output, *packages):
        major, minor, _ = self.version.split(".")
        stamps = {"gitVersion": "v" + self.version, "gitMajor": major, "gitMinor": minor}
        flags = " ".join(f"-X k8s.io/{package}/version.{name}={value}" for name, value in stamps.items()
                         for package in ("kubernetes/vendor/k8s.io/component-base", "kubernetes/vendor/k8s.io/client-go/pkg"))
        self.run(self.go, "build", "-p", "2", "-trimpath", "-tags", TAGS, "-ldflags", f"-s -w {flags}", "-o", output, *[f"k8s.io/kubernetes/{package}" for package in packages])

    def generate_openapi(self, work):
        """The API server's description of its types: the one generated file that the source package does not have."""
        found = subprocess.run(["grep", "-rl", "--include=*.go", "+k8s:openapi-gen=true", "pkg", "staging"], cwd=self.place, stdout=subprocess.PIPE, text=True, check=True)
        folders = sorted({os.path.dirname(path) for path in found.stdout.split() if "code-generator" not in path and "sample-apiserver" not in path})
        packages = ",".join("k8s.io/kubernetes/" + folder.replace("staging/src/", "vendor/", 1) for folder in folders)
        self.build(work / "openapi-gen", "vendor/k8s.io/kube-openapi/cmd/openapi-gen")
        self.run(work / "openapi-gen", "--logtostderr", "-i", packages, "-p", "k8s.io/kubernetes/pkg/generated/openapi", "-O", "zz_generated.openapi",
                 "-h", "hack/boilerplate/boilerplate.generatego.txt", "-r", "/dev/null")


def compile_into(folder, names, go, sources, work):
    tree = GoTree(go, sources, work)
    if "kube-apiserver" in names:
        tree.generate_openapi(work)
    tree.build(f"{folder}/", *[f"cmd/{name}" for name in names])


def missing_of(names):
    recipe = CACHE / "recipe"
    current = recipe.exists() and recipe.read_text() == RECIPE
    return [name for name in names if not (CACHE / name).exists() or (name in COMPILED and not current)]


def binaries(names=tuple(PROGRAMS), build=True):
    """Paths of programs by name. Raises Unavailable with the reason when one is not there and cannot be fetched."""
    if missing_of(names) and not build:
        raise Unavailable(f"{', '.join(missing_of(names))} not built in {CACHE}: tests/kubernetes/build.py builds them")
    if missing_of(names):
        with one_at_a_time():
            make(missing_of(PROGRAMS))
    return {name: CACHE / name for name in names}


def unavailable(names):
    """Why these programs cannot be had here, empty when they can (and are there, then)."""
    try:
        binaries(names)
    except Unavailable as reason:
        return str(reason)
    return ""


def make(names):
    if not names:
        return
    work, unfinished = CACHE / "work", CACHE / "unfinished"
    for folder in (work, unfinished):
        folder.mkdir(exist_ok=True)
    apt = private_apt(work)
    unpacked, compiled = [name for name in names if name in UNPACKED], [name for name in names if name in COMPILED]
    if unpacked:
        unpack(unpacked, apt, work)
    if compiled:
        compile_into(unfinished, compiled, *fetch(apt, work), work)
    for name in compiled:
        if not version_of(unfinished / name):
            raise RuntimeError(f"the {name} that was built does not run")
        (unfinished / name).rename(CACHE / name)
    if compiled:
        (CACHE / "recipe").write_text(RECIPE)
    for folder in (work, unfinished):
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=PROGRAMS + [[]])
    names = parser.parse_args().names or PROGRAMS
    started = time.monotonic()
    try:
        paths = binaries(names)
    except Unavailable as reason:
        print(f"{', '.join(names)} cannot be built here: {reason}", file=sys.stderr)
        return 2
    for path in paths.values():
        print(f"{path} {version_of(path) if path.name in COMPILED else ''}".rstrip())
    print(f"{time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
