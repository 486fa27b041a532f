"""The cluster's images, made here: busybox and our traffic program in one layer, as an archive that `ctr images import` takes."""
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile

TEST = "localhost/axoneme/traffic:1"
PAUSE = "localhost/axoneme/pause:1"


def libraries_of(program):
    """The shared objects that a program loads, and the loader itself."""
    done = subprocess.run(["ldd", str(program)], stdout=subprocess.PIPE, text=True)
    return sorted(set(re.findall(r"(?:=> )?(/\S+) \(0x", done.stdout)))


def add(archive, name, data, mode=0o755):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def layer(traffic):
    """A root file system: busybox with its names, the traffic program with its libraries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for folder in ("bin", "etc", "tmp", "proc", "sys", "dev", "var", "var/run", "root"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        busybox = pathlib.Path("/usr/bin/busybox" if os.path.exists("/usr/bin/busybox") else "/bin/busybox")
        add(archive, "bin/busybox", busybox.read_bytes())
        for applet in ("sh", "sleep", "tail", "cat", "ip", "nc", "wget", "ls", "true", "id", "grep"):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
        add(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n", 0o644)
        add(archive, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644)
        add(archive, "bin/axoneme-traffic", pathlib.Path(traffic).read_bytes())
        for library in libraries_of(traffic):
            add(archive, library.lstrip("/"), pathlib.Path(library).read_bytes())
    return out.getvalue()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def write_archive(path, traffic):
    """Two images of one layer: what pods run, and what holds a pod's namespaces."""
    tar = layer(traffic)
    compressed = gzip.compress(tar, 1, mtime=0)
    images = {TEST: ["/bin/axoneme-traffic", "serve", "--port", "7000"], PAUSE: ["/bin/tail", "-f", "/dev/null"]}
    blobs, manifests = {digest(compressed): compressed}, []
    for name, command in images.items():
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Entrypoint": command},
                             "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(tar)}"]}, "history": [{"created_by": "tests/kubernetes"}]}).encode()
        manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                               "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{digest(config)}", "size": len(config)},
                               "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{digest(compressed)}",
                                           "size": len(compressed)}]}).encode()
        blobs[digest(config)], blobs[digest(manifest)] = config, manifest
        manifests.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{digest(manifest)}", "size": len(manifest),
                          "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}})
    with tarfile.open(path, "w") as archive:
        add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}', 0o644)
        add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode(), 0o644)
        for name, data in blobs.items():
            add(archive, f"blobs/sha256/{name}", data, 0o644)
