#!/usr/bin/env python3
"""deploy/image/build.sh: an image that is whole, has no shell, and whose programs run in it.

Usage: tests/deploy/image_test.py --build DIR     the programs of DIR/bin are put in
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build/dev"
MOST_MIB = 40


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.work = pathlib.Path(cls.directory.name)
        cls.said = subprocess.run([ROOT / "deploy/image/build.sh", "--bin", BUILD / "bin", "--output", cls.work / "image.tar"],
                                  check=True, capture_output=True, text=True).stdout
        with tarfile.open(cls.work / "image.tar") as archive:
            archive.extractall(cls.work / "layout")
        cls.index = json.loads((cls.work / "layout/index.json").read_text())
        cls.manifest = cls.blob(cls.index["manifests"][0])
        cls.config = cls.blob(cls.manifest["config"])
        cls.layer = cls.path(cls.manifest["layers"][0])
        with tarfile.open(cls.layer) as layer:
            cls.members = {member.name.removeprefix("./"): member for member in layer.getmembers()}
            layer.extractall(cls.work / "root")

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @classmethod
    def path(cls, descriptor):
        return cls.work / "layout/blobs" / descriptor["digest"].replace(":", "/")

    @classmethod
    def blob(cls, descriptor):
        return json.loads(cls.path(descriptor).read_text())

    def run_inside(self, *command):
        return subprocess.run(["unshare", "-n", "chroot", self.work / "root", *command], capture_output=True, text=True)

    def test_digests_and_sizes(self):
        for descriptor in [self.index["manifests"][0], self.manifest["config"], *self.manifest["layers"]]:
            content = self.path(descriptor).read_bytes()
            self.assertEqual(descriptor["digest"], "sha256:" + hashlib.sha256(content).hexdigest())
            self.assertEqual(descriptor["size"], len(content))
        docker = json.loads((self.work / "layout/manifest.json").read_text())[0]
        self.assertEqual(docker["RepoTags"], [self.index["manifests"][0]["annotations"]["io.containerd.image.name"]])
        for name in [docker["Config"], *docker["Layers"]]:
            self.assertTrue((self.work / "layout" / name).is_file())

    def test_small(self):
        self.assertLess(self.layer.stat().st_size, MOST_MIB << 20, self.said)

    def test_what_is_inside(self):
        for name in ("usr/bin/cilium", "usr/bin/cilium-dbg", "usr/bin/cilium-agent", "usr/bin/cilium-operator", "usr/bin/hubble",
                     "usr/bin/hubble-relay", "opt/cni/bin/cilium-cni", "etc/ssl/certs/ca-certificates.crt", "usr/share/doc/axoneme/LICENSE", "usr/share/doc/libc6/copyright"):
            self.assertIn(name, self.members)
        names = {name.rsplit("/", 1)[-1] for name in self.members}
        self.assertEqual(names & {"sh", "bash", "dash", "busybox", "gcc", "clang", "python3", "perl"}, set())
        owners = {(member.uid, member.gid, member.uname) for member in self.members.values()}
        self.assertEqual(owners, {(0, 0, "")})
        self.assertFalse([name for name, member in self.members.items() if member.mode & 0o6000])

    def test_programs_run(self):
        for program in ("cilium-agent", "cilium-operator"):
            done = self.run_inside(f"/usr/bin/{program}", "--version")
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.run_inside("/usr/bin/cilium", "--help").returncode, 0)
        for kind in ("nft", "legacy"):
            for tool in ("iptables", "ip6tables"):
                done = self.run_inside(f"/usr/sbin/{tool}-{kind}-save", "--version")
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_nothing_else_is_needed(self):
        for program in (self.work / "root/usr/bin").iterdir():
            done = self.run_inside("/lib64/ld-linux-x86-64.so.2", "--list", f"/usr/bin/{program.name}")
            self.assertNotIn("not found", done.stdout + done.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=BUILD)
    arguments, rest = parser.parse_known_args()
    BUILD = arguments.build.resolve()
    sys.exit(unittest.main(argv=[sys.argv[0], *rest], verbosity=0))
