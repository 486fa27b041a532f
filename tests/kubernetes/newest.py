#!/usr/bin/env python3
"""An API server of the newest Kubernetes that Debian has libraries of, with etcd, kubectl and containerd beside it; once, into the user's cache.

Usage: tests/kubernetes/newest.py    prints the programs' paths; exit status 2 and a reason when they cannot be had

Debian's source package `kubernetes` is 1.20's, or kubectl alone. Of newer Kubernetes its unstable suite has the libraries that kube-apiserver is made of
(k8s.io/apiserver, apiextensions-apiserver, api, client-go), etcd, kubectl and containerd. tests/kubernetes/apiserver makes an API server out of them: lists,
watches, patches, custom resources and discovery are that Kubernetes' own; what it decides about Services or Pods is ours. tests/kubernetes/cri_pods asks
containerd for pods as a kubelet does. Unstable moves: what is built says its version.
Nothing is installed: packages are unpacked in the cache, checked against Debian's keys by apt.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "kernels")]

from build import BUILD_SECONDS, CACHE, SUITE as STABLE, one_at_a_time  # noqa: E402
from image import PrivateApt, Unavailable  # noqa: E402

SUITE = "sid"
LIBRARIES = ["golang-k8s-apiserver-dev", "golang-k8s-apiextensions-apiserver-dev", "golang-k8s-api-dev", "golang-k8s-client-go-dev", "golang-k8s-cri-api-dev"]
GO = "1.26"
GO_PACKAGES = [f"golang-{GO}-go", f"golang-{GO}-src"]
UNPACKED = {"etcd": ("etcd-server", "usr/bin/etcd"), "kubectl": ("kubectl", "usr/bin/kubectl"), "containerd": ("containerd", "usr/bin/containerd"),
            "ctr": ("containerd", "usr/bin/ctr"), "containerd-shim-runc-v2": ("containerd", "usr/bin/containerd-shim-runc-v2")}
# Unstable's want a newer C library than a stable machine's.
OF_STABLE = {"runc.real": ("runc", "usr/sbin/runc"), "loopback": ("containernetworking-plugins", "usr/lib/cni/loopback")}
COMPILED = {"kube-apiserver": "apiserver", "cri_pods": "cri_pods"}  # program: folder here
PROGRAMS = (*COMPILED, *UNPACKED, *OF_STABLE, "runc")
FOLDER = CACHE / "newest"
# A node's cgroup tree has no controllers, and containerd 2 no setting for that any more.
RUNC = """#!/usr/bin/env python3
import json, os, sys
words = sys.argv[1:]
if "--bundle" in words:
    path = os.path.join(words[words.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    config["linux"].pop("resources", None)
    with open(path, "w") as file:
        json.dump(config, file)
program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runc.real")
os.execv(program, [program, *words])
"""


def recipe():
    """Changes with what is compiled."""
    return "\n".join([RUNC, *PROGRAMS, *(path.read_text() for folder in COMPILED.values() for path in sorted((HERE / folder).glob("*.go")))])


def closure(apt, packages):
    """The packages' names with those of all libraries that they need."""
    told = apt.call("apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances", *packages)
    return sorted({line for line in told.splitlines() if re.fullmatch(r"golang-[a-z0-9.+-]+-dev", line)})


def unpack(apt, packages, work):
    """Into work/root. A name that only others provide is left out: those others are in the list themselves."""
    known = set(apt.call("apt-cache", "pkgnames").split())
    downloads = work / "downloads"
    downloads.mkdir(exist_ok=True)
    apt.call("apt-get", "download", *[name for name in packages if name in known], cwd=downloads)
    for archive in sorted(downloads.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(archive), str(work / "root")], check=True)
        archive.unlink()


def version_of_library(apt):
    """1.36.4 of the client's library 0.36.4-1."""
    shown = apt.call("apt-cache", "show", "--no-all-versions", "golang-k8s-apiserver-dev")
    return "1." + re.search(r"^Version: 0\.([0-9]+\.[0-9]+)", shown, re.MULTILINE)[1]


def compile_programs(work, version):
    for folder in COMPILED.values():
        shutil.copytree(HERE / folder, work / "gopath/src/axoneme" / folder)
    root = work / f"root/usr/lib/go-{GO}"
    environment = dict(os.environ, GOROOT=str(root), GOPATH=f"{work / 'gopath'}:{work / 'root/usr/share/gocode'}", GOCACHE=str(work / "gocache"), GO111MODULE="off", GOFLAGS="",
                       GOTOOLCHAIN="local", CGO_ENABLED="0", GOMAXPROCS="2")
    major, minor, _ = version.split(".")
    stamps = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in (("gitVersion", "v" + version), ("gitMajor", major), ("gitMinor", minor)))
    for name, folder in COMPILED.items():
        done = subprocess.run(["nice", "-n", "19", str(root / "bin/go"), "build", "-p", "2", "-trimpath", "-ldflags", f"-s -w {stamps}", "-o", str(work / name), f"axoneme/{folder}"],
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS)
        if done.returncode != 0:
            raise Unavailable(f"{SUITE}'s libraries of {version} do not make a {name}: {done.stdout[-3000:]}")


def make():
    work = FOLDER / "work"
    shutil.rmtree(work / "gopath", ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    apt = PrivateApt(work / "apt", SUITE)
    apt.call("apt-get", "update")
    version = version_of_library(apt)
    unpack(apt, [*closure(apt, LIBRARIES), *GO_PACKAGES, *sorted({package for package, _ in UNPACKED.values()})], work)
    stable = PrivateApt(work / "apt-stable", STABLE)
    stable.call("apt-get", "update")
    unpack(stable, sorted({package for package, _ in OF_STABLE.values()}), work)
    compile_programs(work, version)
    (work / "runc").write_text(RUNC)
    (work / "runc").chmod(0o755)
    # Somebody may be running the ones that are there.
    for name in (*COMPILED, "runc"):
        (work / name).replace(FOLDER / name)
    for name, (_, path) in (UNPACKED | OF_STABLE).items():
        (work / "root" / path).replace(FOLDER / name)
    (FOLDER / "version").write_text(version)
    (FOLDER / "recipe").write_text(recipe())
    shutil.rmtree(work, ignore_errors=True)


def current():
    return all((FOLDER / name).exists() for name in (*PROGRAMS, "recipe", "version")) and (FOLDER / "recipe").read_text() == recipe()


def binaries():
    """Paths of programs by name. Raises Unavailable with the reason when they cannot be had."""
    if not current():
        with one_at_a_time():
            if not current():
                make()
    return {name: FOLDER / name for name in PROGRAMS}


def version():
    """(1, 36) of what is there."""
    return tuple(int(part) for part in (FOLDER / "version").read_text().split(".")[:2])


def main():
    started = time.monotonic()
    try:
        paths = binaries()
    except Unavailable as reason:
        print(f"no newest Kubernetes here: {reason}", file=sys.stderr)
        return 2
    print("\n".join(str(path) for path in paths.values()))
    print(f"Kubernetes {(FOLDER / 'version').read_text()}, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
