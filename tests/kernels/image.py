"""Debian's kernels for a virtual machine: fetched once with apt from signed archives, without touching this machine's apt."""
import fcntl
import gzip
import lzma
import os
import pathlib
import shutil
import subprocess

# Kernel series -> the Debian suite that has it.
SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "bookworm-backports"}
MIRROR = os.environ.get("AXO_DEBIAN_MIRROR", "http://deb.debian.org/debian")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
META_PACKAGE = "linux-image-amd64"
# What is needed of a kernel's modules; the rest (graphics, sound …) is most of the package.
MODULE_FOLDERS = ["kernel/arch", "kernel/crypto", "kernel/fs", "kernel/lib", "kernel/net", "kernel/drivers/net", "kernel/drivers/virtio"]
BOOT_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]


class Unavailable(Exception):
    """The kernel cannot be had here (no network, no package): a reason to skip, not to fail."""


def cache_folder():
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "axoneme/kernels"


def run(command, **options):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


class PrivateApt:
    """apt with lists and caches of its own."""

    def __init__(self, root, suite):
        self.root = root
        for folder in ("lists/partial", "cache/archives/partial"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "status").touch()
        (root / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
        settings = {"Dir::Etc::sourcelist": root / "sources.list", "Dir::Etc::sourceparts": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null",
                    "Dir::State::lists": root / "lists", "Dir::State::status": root / "status", "Dir::Cache": root / "cache",
                    "APT::Sandbox::User": "root", "Acquire::Languages": "none", "APT::Update::Error-Mode": "any", "Acquire::Retries": "2", "Acquire::http::Timeout": "20"}
        self.options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def call(self, program, *words, cwd=None):
        done = run([program, *self.options, *words], cwd=cwd)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
            raise Unavailable(f"{program} {' '.join(words)}: {lines[0]}")
        return done.stdout

    def image_package(self):
        """The package with the kernel itself, that the meta package depends on."""
        shown = self.call("apt-cache", "show", META_PACKAGE)
        depends = next((line for line in shown.splitlines() if line.startswith("Depends: ")), "")
        if not depends:
            raise Unavailable(f"no {META_PACKAGE} in {self.root.name}")
        return depends.split()[1]


def decompressed(path):
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    return path.read_bytes()


def boot_modules(tree, release):
    """Files of the modules that the way to the root file system needs, in the order of loading."""
    ordered = []
    for module in BOOT_MODULES:
        done = run(["modprobe", "-d", tree, "-S", release, "--show-depends", module])
        for line in done.stdout.splitlines():
            words = line.split()
            if words[:1] == ["insmod"] and words[1] not in ordered:
                ordered.append(words[1])
    return [pathlib.Path(path) for path in ordered]


def build_initramfs(kernel, target):
    """What the kernel starts with: busybox, the modules for the way to the root file system, and init.sh."""
    tree, release = kernel.tree, kernel.release
    init = pathlib.Path(__file__).resolve().parent / "init.sh"
    work = target.parent / "initramfs"
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("bin", "modules", "proc", "sys", "dev", "host", "rw", "new"):
        (work / folder).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox" if os.path.exists("/usr/bin/busybox") else "/bin/busybox", work / "bin/busybox")
    for number, path in enumerate(boot_modules(tree, release)):
        (work / f"modules/{number:02}-{path.name.split('.ko')[0]}.ko").write_bytes(decompressed(path))
    shutil.copy(init, work / "init")
    (work / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(work)) for path in sorted(work.rglob("*")))
    with open(target, "wb") as out:
        done = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=work, input=names.encode(), stdout=out)
    if done.returncode != 0:
        raise RuntimeError(f"cpio ended with {done.returncode}")
    shutil.rmtree(work)


class Kernel:
    """Paths of a kernel that is ready to boot."""

    def __init__(self, series, folder, release):
        self.series, self.release = series, release
        self.vmlinuz = folder / f"tree/boot/vmlinuz-{release}"
        self.modules = folder / "tree/lib/modules"
        self.tree = folder / "tree"


def unpack(package, folder):
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    wanted = ["./boot/vmlinuz-*", "./boot/config-*", "*/lib/modules/*/modules.*"] + [f"*/lib/modules/*/{name}/*" for name in MODULE_FOLDERS]
    archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", tree, "--no-same-owner", "--wildcards", *wanted], stdin=archive.stdout, stderr=subprocess.DEVNULL)
    if archive.wait() != 0:
        raise RuntimeError(f"{package} does not unpack")
    if (tree / "usr/lib").exists():
        (tree / "usr/lib").rename(tree / "lib")
    release = next((tree / "lib/modules").iterdir()).name
    done = run(["depmod", "-b", tree, release])
    if done.returncode != 0:
        raise RuntimeError(f"depmod: {done.stderr}")
    return release


def obtain(series, offline=False):
    """The kernel of a series, from the cache or from Debian. Raises Unavailable with the reason."""
    folder = cache_folder() / series
    if not offline:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else may be fetching it
            return cached(series, folder, offline)
    return cached(series, folder, offline)


def cached(series, folder, offline):
    marker = folder / "release"
    if not marker.exists():
        if offline:
            raise Unavailable(f"{folder} has no kernel, and --offline forbids to fetch one")
        for program in ("apt-get", "dpkg-deb", "depmod", "cpio"):
            if not shutil.which(program):
                raise Unavailable(f"{program} is not installed")
        apt = PrivateApt(folder / "apt", SUITES[series])
        apt.call("apt-get", "-q", "update")
        name = apt.image_package()
        apt.call("apt-get", "-q", "download", name, cwd=folder)
        package = next(folder.glob(f"{name}_*.deb"), None)
        if package is None:
            raise Unavailable(f"{name} was not downloaded")
        release = unpack(package, folder)
        package.unlink()
        shutil.rmtree(folder / "apt")
        marker.write_text(release + "\n")
    return Kernel(series, folder, marker.read_text().strip())
