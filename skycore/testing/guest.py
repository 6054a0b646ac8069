"""A guest with Debian's own kernel, for what the machine's kernel lacks: link kinds, modules, datapaths.

QEMU boots the kernel without KVM.  The guest's root is this machine's file system, read-only under a layer in memory,
so that the same programs and the same Python environment run there; it has no network but the namespaces made inside.
A first command takes some 16 s; the kernel's package is downloaded by apt once, unpacked into a cache, never installed.

Needs Debian on x86-64, and the programs that ``PROGRAMS`` names.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from skycore.testing.lab import LabError, environment_here, run_checked

PROGRAMS: Final[Mapping[str, str]] = {
    "apt-get": "apt",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "modprobe": "kmod",
    "qemu-system-x86_64": "qemu-system-x86",
}
"""Programs that a guest needs, and the Debian package that brings each."""

_PACKAGE: Final = "linux-image-amd64"
_DRIVERS: Final = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_OUTPUT_LIMIT: Final = 16 << 20
_LAYOUT: Final = "1"
"""Changes when a cache made by an earlier version of this module is of no use."""

# Pid 1 of the initial file system: drivers, the machine's files under a layer in memory, then the job.
_INIT: Final = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod "/modules/$module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose machine /machine
mount -t tmpfs -o size=75% layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/machine,upperdir=/layer/upper,workdir=/layer/work overlay /root
mkdir -p /root/mnt
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 job /root/mnt
exec switch_root /root /bin/sh /mnt/start
"""

_START: Final = """\
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
for folder in /dev/shm /run; do mount -t tmpfs tmpfs $folder; done
mkdir -p /run/netns /lib/modules
mount --bind {modules} /lib/modules
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
{environment}
hostname guest
ip link set lo up
cd {folder} && {command} >/mnt/output 2>&1
echo $? >/mnt/status
sync
echo o >/proc/sysrq-trigger
sleep 60
"""


@attrs.frozen
class GuestResult:
    """How a command ended inside a guest: its exit status, and what it printed (both streams)."""

    status: int
    output: str


def default_cache() -> Path:
    """The folder in which the kernel is kept: ``guest`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skycore" / "guest"


def run_in_guest(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    cache: Path | None = None,
    memory: int = 1024,
    timeout: float = 170.0,
) -> GuestResult:
    """Run a command as root inside a fresh guest, in ``folder`` (default: here), and wait for its end.

    ``memory`` is in MiB; nothing that the command writes outlives the guest.  Raises LabError when the guest cannot be
    made or started, or is not done within ``timeout`` seconds; its message holds what was printed until then.
    """
    cache = cache or default_cache()
    prepare(cache)
    with tempfile.TemporaryDirectory(prefix="skycore-guest-") as name:
        job = Path(name)
        start = _START.format(
            modules=shlex.quote(str(cache / "lib" / "modules")),
            environment="\n".join(f"export {key}={shlex.quote(value)}" for key, value in (environment or {}).items()),
            folder=shlex.quote(str(folder or Path.cwd())),
            command=shlex.join(command),
        )
        (job / "start").write_text(start)
        ended = _boot(cache, job, memory, timeout)
        output = _text(job / "output")
        if not (job / "status").exists():
            reason = "ended early" if ended else f"was not done within {timeout:g} s"
            raise LabError(f"the guest {reason}; printed: {output[-4000:]}\nconsole: {_text(job / 'console')[-2000:]}")
        return GuestResult(int((job / "status").read_text()), output)


def prepare(cache: Path) -> None:
    """Fetch the kernel and make the initial file system, unless the cache holds them.  Raises LabError."""
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock"):
        if _text(cache / "layout") == _LAYOUT:
            return
        for entry in ("lib", "kernel", "initrd", "layout"):
            path = cache / entry
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as name:
            making = Path(name)
            _unpack_kernel(making)
            (version,) = os.listdir(making / "root" / "lib" / "modules")
            run_checked(["depmod", "-b", str(making / "root"), version], timeout=120)
            (making / "initrd").write_bytes(_initial_files(making / "root", version))
            shutil.move(making / "root" / "boot" / f"vmlinuz-{version}", cache / "kernel")
            shutil.move(making / "root" / "lib", cache / "lib")
            shutil.move(making / "initrd", cache / "initrd")
        (cache / "layout").write_text(_LAYOUT)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_OUTPUT_LIMIT).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _unpack_kernel(folder: Path) -> None:
    depends = run_checked(["apt-cache", "depends", _PACKAGE])
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if found is None:
        raise LabError(f"apt knows no kernel behind {_PACKAGE}; run apt-get update. It said: {depends}")
    download = ["sh", "-c", f"cd {shlex.quote(str(folder))} && apt-get -qq download {shlex.quote(found[1])}"]
    # The sandbox user of apt may not write into our folder.
    run_checked(download, timeout=300, environment={**environment_here(), "APT_CONFIG": _apt_configuration(folder)})
    (package,) = folder.glob("*.deb")
    run_checked(["dpkg-deb", "-x", str(package), str(folder / "root")], timeout=120)


def _apt_configuration(folder: Path) -> str:
    file = folder / "apt.conf"
    file.write_text('APT::Sandbox::User "root";\n')
    return str(file)


def _initial_files(root: Path, version: str) -> bytes:
    """The initial file system as a compressed archive: busybox, our init, and the drivers in the order of loading."""
    busybox = shutil.which("busybox", path=environment_here()["PATH"])
    if busybox is None:
        raise LabError("busybox is missing (Debian package: busybox-static)")
    order: dict[str, Path] = {}
    for driver in _DRIVERS:
        shown = run_checked(["modprobe", "-d", str(root), "-S", version, "--show-depends", driver])
        for path in re.findall(r"^insmod (\S+)", shown, flags=re.MULTILINE):
            order.setdefault(Path(path).name, Path(path))
    archive = _Archive()
    for folder in ("bin", "modules", "proc", "sys", "dev", "machine", "layer", "root"):
        archive.add(folder, stat.S_IFDIR | 0o755)
    archive.add("bin/busybox", stat.S_IFREG | 0o755, Path(busybox).read_bytes())
    archive.add("init", stat.S_IFREG | 0o755, _INIT.encode())
    archive.add("modules/order", stat.S_IFREG | 0o644, "\n".join(order).encode())
    for name, path in order.items():
        archive.add(f"modules/{name}", stat.S_IFREG | 0o644, path.read_bytes())
    return gzip.compress(archive.end(), 1)


class _Archive:
    """A cpio archive in the format "newc", as Documentation/driver-api/early-userspace/buffer-format.rst tells."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def add(self, name: str, mode: int, content: bytes = b"") -> None:
        self._count += 1
        encoded = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._parts += [_padded(header + encoded), _padded(content)]

    def end(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _boot(cache: Path, job: Path, memory: int, timeout: float) -> bool:
    """Run a guest until it has switched itself off (True) or the time is over."""
    command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]
    command += ["-m", str(memory), "-kernel", str(cache / "kernel"), "-initrd", str(cache / "initrd")]
    command += ["-append", "console=ttyS0 quiet panic=-1", "-display", "none", "-no-reboot", "-nic", "none"]
    command += ["-monitor", "none", "-serial", f"file:{job / 'console'}"]
    shared = "local,mount_tag={},path={},security_model=none"
    command += ["-virtfs", shared.format("machine", "/") + ",readonly=on,multidevs=remap"]
    command += ["-virtfs", shared.format("job", job)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment_here()
    ) as process:
        try:
            printed, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return False
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise LabError(f"qemu ended with {process.returncode}: {printed.decode(errors='replace').strip()}")
    return True
