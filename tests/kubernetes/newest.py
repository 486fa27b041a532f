#!/usr/bin/env python3
"""An API server of the newest Kubernetes that Debian has libraries of, etcd and kubectl beside it; once, into the user's cache.

Usage: tests/kubernetes/newest.py    prints the programs' paths; exit status 2 and a reason when they cannot be had

Debian's source package `kubernetes` is 1.20's, or kubectl alone. Of newer Kubernetes its unstable suite has the libraries that kube-apiserver is made of
(k8s.io/apiserver, apiextensions-apiserver, api, client-go), etcd and kubectl. tests/kubernetes/apiserver makes an API server out of them: lists, watches, patches,
custom resources and discovery are that Kubernetes' own; what it decides about Services or Pods is ours. Unstable moves: what is built says its version.
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

from build import BUILD_SECONDS, CACHE, one_at_a_time  # noqa: E402
from image import PrivateApt, Unavailable  # noqa: E402

SUITE = "sid"
LIBRARIES = ["golang-k8s-apiserver-dev", "golang-k8s-apiextensions-apiserver-dev", "golang-k8s-api-dev", "golang-k8s-client-go-dev"]
GO = "1.26"
GO_PACKAGES = [f"golang-{GO}-go", f"golang-{GO}-src"]
UNPACKED = {"etcd": ("etcd-server", "usr/bin/etcd"), "kubectl": ("kubectl", "usr/bin/kubectl")}
PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
FOLDER = CACHE / "newest"
SOURCES = HERE / "apiserver"


def recipe():
    """Changes with what is compiled."""
    return "\n".join(path.read_text() for path in sorted(SOURCES.glob("*.go")))


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


def compile_server(work, version, output):
    place = work / "gopath/src/axoneme/apiserver"
    shutil.copytree(SOURCES, place)
    root = work / f"root/usr/lib/go-{GO}"
    environment = dict(os.environ, GOROOT=str(root), GOPATH=f"{work / 'gopath'}:{work / 'root/usr/share/gocode'}", GOCACHE=str(work / "gocache"), GO111MODULE="off", GOFLAGS="",
                       GOTOOLCHAIN="local", CGO_ENABLED="0", GOMAXPROCS="2")
    major, minor, _ = version.split(".")
    stamps = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in (("gitVersion", "v" + version), ("gitMajor", major), ("gitMinor", minor)))
    done = subprocess.run(["nice", "-n", "19", str(root / "bin/go"), "build", "-p", "2", "-trimpath", "-ldflags", f"-s -w {stamps}", "-o", str(output), "axoneme/apiserver"],
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS)
    if done.returncode != 0:
        raise Unavailable(f"{SUITE}'s libraries of {version} do not make an API server: {done.stdout[-3000:]}")


def make():
    work = FOLDER / "work"
    shutil.rmtree(work / "gopath", ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    apt = PrivateApt(work / "apt", SUITE)
    apt.call("apt-get", "update")
    version = version_of_library(apt)
    unpack(apt, [*closure(apt, LIBRARIES), *GO_PACKAGES, *[package for package, _ in UNPACKED.values()]], work)
    compile_server(work, version, work / "kube-apiserver")
    # Somebody may be running the ones that are there.
    (work / "kube-apiserver").replace(FOLDER / "kube-apiserver")
    for name, (_, path) in UNPACKED.items():
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
