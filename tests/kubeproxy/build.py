#!/usr/bin/env python3
"""kube-proxy from Debian's source package `kubernetes`, with Debian's Go: built once into the user's cache.

Usage: tests/kubeproxy/build.py    prints the binary's path; exit status 2 and a reason when it cannot be had

Nothing is installed: Go's packages are unpacked beside the sources. Archives are checked against Debian's keys by apt.
"""
import argparse
import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/kernels"))

from image import KEYRING, MIRROR, PrivateApt, Unavailable  # noqa: E402

SUITE = "bookworm"
GO_PACKAGES = ["golang-1.19-go", "golang-1.19-src"]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "axoneme/kube-proxy"
BUILD_SECONDS = 3600


def version_of(binary):
    done = subprocess.run([str(binary), "--version"], stdout=subprocess.PIPE, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


@contextlib.contextmanager
def one_at_a_time():
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(work):
    """Sources of Kubernetes and the Go to build them with."""
    shutil.rmtree(work / "gopath", ignore_errors=True)
    apt = PrivateApt(work / "apt", SUITE)
    (apt.root / "sources.list").write_text("".join(f"{kind} [signed-by={KEYRING}] {MIRROR} {SUITE} main\n" for kind in ("deb", "deb-src")))
    apt.call("apt-get", "update")
    go = work / "go-root"
    if not go.exists():
        apt.call("apt-get", "download", *GO_PACKAGES, cwd=work)
        for package in sorted(work.glob("golang-*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(go)], check=True)
            package.unlink()
    if not list(work.glob("kubernetes-*")):
        apt.call("apt-get", "source", "--only-source", "kubernetes", cwd=work)
    sources = next((path for path in work.glob("kubernetes-*") if path.is_dir()), None)
    if sources is None:
        raise Unavailable("the source package has no folder kubernetes-*")
    return next(go.glob("usr/lib/go-*")), sources


def compile_into(target, go, sources, work):
    with open(sources / "debian/changelog") as changelog:  # kubernetes (1.20.5+really1.20.2-1.1…) …
        version = changelog.readline().split("(")[1].split(")")[0].split("really")[-1].split("-")[0]
    # Debian takes modules out of vendor/ and not out of go.mod; it builds as before there were modules, and so does this.
    place = work / "gopath/src/k8s.io/kubernetes"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        sources.rename(place)
    environment = dict(os.environ, GOROOT=str(go), GOPATH=str(work / "gopath"), GOCACHE=str(work / "gocache"), GO111MODULE="off", GOFLAGS="", CGO_ENABLED="0",
                       GOMAXPROCS="2")
    stamp = "-X k8s.io/kubernetes/vendor/k8s.io/component-base/version.gitVersion=v" + version
    done = subprocess.run(["nice", "-n", "19", str(go / "bin/go"), "build", "-p", "2", "-trimpath", "-ldflags", f"-s -w {stamp}", "-o", str(target), "k8s.io/kubernetes/cmd/kube-proxy"],
                          cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS)
    if done.returncode != 0:
        raise RuntimeError(f"go build ended with {done.returncode}:\n{done.stdout[-3000:]}")


def binary(build=True):
    """Path of kube-proxy. Raises Unavailable with the reason when it is not there and cannot be fetched."""
    target = CACHE / "kube-proxy"
    if target.exists():
        return target
    if not build:
        raise Unavailable(f"{target} is not built: tests/kubeproxy/build.py builds it")
    with one_at_a_time():
        if target.exists():
            return target
        work = CACHE / "work"
        work.mkdir(exist_ok=True)
        go, sources = fetch(work)
        unfinished = CACHE / ".kube-proxy"
        compile_into(unfinished, go, sources, work)
        if not version_of(unfinished):
            raise RuntimeError("the kube-proxy that was built does not run")
        unfinished.rename(target)
        shutil.rmtree(work, ignore_errors=True)
        return target


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        path = binary()
    except Unavailable as reason:
        print(f"kube-proxy cannot be built here: {reason}", file=sys.stderr)
        return 2
    print(f"{path} {version_of(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
