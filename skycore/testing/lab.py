"""Real systems for tests: hosts made of the kernel's namespaces, and wires between them.

Nothing here touches the machine's own network: every interface is made inside a namespace that this module
made, and what a host started dies with the host.  The exception is ``make_netns``, which makes *named*
namespaces under ``/run/netns`` for tests of what watches that directory.

Everything blocks; the names that begin with ``a`` (``arun`` …) do the same in a worker thread for use
under trio.  Root is needed, and the programs that ``PROGRAMS`` names.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trio

PROGRAMS: Final[Mapping[str, str]] = {
    "busybox": "busybox-static",
    "chromium": "chromium",
    "containerd": "containerd",
    "crun": "crun",
    "ctr": "containerd",
    "curl": "curl",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "editcap": "wireshark-common",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "iptables": "iptables",
    "losetup": "mount",
    "node": "nodejs",
    "nfcapd": "nfdump",
    "nfdump": "nfdump",
    "nsenter": "util-linux",
    "ovs-ofctl": "openvswitch-common",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "podman": "podman",
    "runc": "runc",
    "tcpdump": "tcpdump",
    "tshark": "tshark",
    "unshare": "util-linux",
}
"""Programs that parts of the lab need, and the Debian package that brings each."""

_NETWORK = "10.200.0"
_counter = itertools.count(1)

# Pid 1 of a fake host.  bash, because it reaps orphans while a builtin waits; ``read`` returns when the maker of
# the host has gone, however it went.
_INIT = r"""
set -e
exec 2>&1
hostname "$1"
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock /run/cgroup.keep
if [ -d /sys/fs/cgroup ]; then mount --rbind /sys/fs/cgroup /run/cgroup.keep; fi
mount -t sysfs sysfs /sys
if mountpoint -q /run/cgroup.keep; then mount --rbind /run/cgroup.keep /sys/fs/cgroup; umount -l /run/cgroup.keep; fi
rmdir /run/cgroup.keep
ip link set lo up
echo ready
while read -r _; do :; done
"""


def unique_name() -> str:
    """A name (``skt-…``) that nothing else on this machine has."""
    return f"skt-{os.getpid()}-{next(_counter)}"


class LabError(Exception):
    """A real system did not do what the test asked of it; the message holds what it printed."""


def missing_programs(programs: Sequence[str]) -> list[str]:
    """Those of ``programs`` that cannot be run here; ``root`` stands for being root."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return [
        name for name in programs if (os.geteuid() != 0 if name == "root" else shutil.which(name, path=path) is None)
    ]


def environment_here() -> dict[str, str]:
    """This process's environment, with the administrator's programs on PATH."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


def run_checked(
    command: Sequence[str],
    *,
    data: bytes | None = None,
    timeout: float = 30.0,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a command on this machine and return what it printed; LabError when it fails or takes too long."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment or environment_here(),
    ) as process:
        try:
            printed, complaints = process.communicate(data, timeout)
        except BaseException as error:
            _kill(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise LabError(f"{' '.join(command)} did not end within {timeout} s") from error
            raise
    if process.returncode:
        text = (complaints + printed).decode(errors="replace").strip()
        raise LabError(f"{' '.join(command)} ended with {process.returncode}: {text}")
    return printed.decode(errors="replace")


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in path.read_text().split()] if process.poll() is None else []


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, and first its children: a killed nsenter would leave its child to the machine's init."""
    for child in _children(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    process.kill()


def _child_of(process: subprocess.Popen[bytes], seconds: float = 5.0) -> int | None:
    """The pid of a process's only child, as soon as there is one; None when the process has ended."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        for child in _children(process):
            return child
        if time.monotonic() > deadline:
            raise LabError(f"{process.args!r} started nothing within {seconds} s")
        time.sleep(0.001)
    return None


class Closing:
    """A context manager that ends with ``close``."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Inside:
    """A command that runs inside a fake host.

    ``pid`` is its process ID as this machine counts (−1 when it ended at once); ``outer`` is the nsenter process
    that waits for it and ends as it ended.
    """

    def __init__(self, outer: subprocess.Popen[bytes]) -> None:
        self.outer = outer
        self.pid = _child_of(outer) or -1

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal; no error when it has ended."""
        if self.pid > 0 and self.outer.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def freeze(self) -> None:
        """Stop it where it is (SIGSTOP), until ``thaw``."""
        self.kill(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after ``freeze``; no error when it has ended."""
        self.kill(signal.SIGCONT)
        # nsenter stops itself when its child is stopped, and would not see it end.
        self.outer.send_signal(signal.SIGCONT)

    def wait(self, timeout: float = 10.0) -> int:
        """Its exit status (negative: the signal that ended it)."""
        try:
            return self.outer.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.outer.args!r} did not end within {timeout} s") from error


class FakeHost(Closing):
    """A host made of its own network, mount, UTS, PID and IPC namespaces, with its own /run, /proc and /sys.

    ``pid`` is that of its init, as this machine counts.  The init reaps orphans and ends with the process that made
    the host, which ends everything inside.  Not isolated: the file system apart from /run, and cgroups.
    """

    def __init__(self, hostname: str | None = None) -> None:
        self.hostname = hostname or unique_name()
        self._started: list[Inside] = []
        command = ["unshare", "-n", "-m", "-u", "-p", "-i", "--fork", "--kill-child", "--propagation", "private"]
        self._unshare = subprocess.Popen(
            [*command, "bash", "-c", _INIT, "init", self.hostname],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=environment_here(),
        )
        try:
            init = _child_of(self._unshare)
            if init is None:
                raise LabError(f"unshare ended with {self._unshare.returncode}; a fake host needs root")
            self.pid = init
            self._pidfd = os.pidfd_open(self.pid)
        except BaseException:
            self._unshare.kill()
            self._unshare.wait()
            raise
        try:
            self._await_ready(5.0)
        except BaseException:
            self.close()
            raise

    def _await_ready(self, seconds: float) -> None:
        assert self._unshare.stdout is not None
        output, printed = self._unshare.stdout.fileno(), b""
        deadline = time.monotonic() + seconds
        while not printed.endswith(b"ready\n"):
            readable, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(output, 4096) if readable else b""
            if not piece:
                raise LabError(f"the fake host {self.hostname} did not start: {printed.decode(errors='replace')}")
            printed += piece

    @property
    def netns_path(self) -> str:
        """A file through which this host's network namespace can be entered."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def proc_path(self) -> str:
        """This host's /proc as seen from here; its process IDs are those that programs inside see."""
        return f"/proc/{self.pid}/root/proc"

    def path(self, inside: str) -> str:
        """Where a file of this host (absolute path) is seen from here."""
        return f"/proc/{self.pid}/root{inside}"

    def _command(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "-p", "-i", "--", *command]

    def run(self, *command: str, data: bytes | None = None, timeout: float = 30.0) -> str:
        """Run a command inside and return what it printed; LabError when it fails."""
        return run_checked(self._command(command), data=data, timeout=timeout)

    async def arun(self, *command: str, data: bytes | None = None) -> str:
        """``run``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.run(*command, data=data))

    def popen(self, *command: str, output: int | io.BufferedWriter = subprocess.DEVNULL) -> Inside:
        """Start a command inside; ``output`` gets what it prints (both streams).  It dies with the host."""
        outer = subprocess.Popen(
            self._command(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment_here(),
        )
        try:
            inside = Inside(outer)
        except BaseException:
            outer.kill()
            outer.wait()
            raise
        self._started.append(inside)
        return inside

    def close(self) -> None:
        """Kill everything inside and wait until it is gone.  Idempotent."""
        if self._pidfd < 0:
            return
        pidfd, self._pidfd = self._pidfd, -1
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            for inside in self._started:
                inside.thaw()
            if not select.select([pidfd], [], [], 10.0)[0]:
                raise LabError(f"the fake host {self.hostname} (init {self.pid}) did not die within 10 s of SIGKILL")
        finally:
            os.close(pidfd)
            self._unshare.kill()
            self._unshare.wait()
            for inside in self._started:
                inside.outer.wait(10.0)
            for stream in (self._unshare.stdin, self._unshare.stdout):
                assert stream is not None
                stream.close()


class Underlay(Closing):
    """A wire between fake hosts: each gets ``eth0`` on one bridge, which lies in a namespace of its own.

    The addresses are 10.200.0.1, 10.200.0.2 … in the order of ``hosts``, with a prefix length of 24.
    """

    def __init__(self, hosts: Sequence[FakeHost]) -> None:
        self.host = FakeHost()
        self.addresses = {host.hostname: f"{_NETWORK}.{number}" for number, host in enumerate(hosts, 1)}
        try:
            self.host.run("ip", "link", "add", "underlay", "type", "bridge")
            self.host.run("ip", "link", "set", "underlay", "up")
            for number, host in enumerate(hosts, 1):
                # Only the network namespace is entered here: ``ip`` is to read the host's pid in this machine's /proc.
                veth = ["type", "veth", "peer", "name", "eth0", "netns", str(host.pid)]
                run_checked(
                    ["nsenter", "-t", str(self.host.pid), "-n", "--", "ip", "link", "add", f"host{number}", *veth]
                )
                self.host.run("ip", "link", "set", f"host{number}", "master", "underlay", "up")
                host.run("ip", "address", "add", f"{_NETWORK}.{number}/24", "dev", "eth0")
                host.run("ip", "link", "set", "eth0", "up")
        except BaseException:
            self.host.close()
            raise

    def close(self) -> None:
        """Cut the wire: the hosts lose ``eth0``."""
        self.host.close()


@contextlib.contextmanager
def make_netns(name: str | None = None) -> Iterator[NamedNetns]:
    """A named network namespace (``/run/netns/skt-…``), deleted at the end, whatever happened."""
    netns = NamedNetns(name or unique_name())
    try:
        run_checked(["ip", "netns", "add", netns.name])
        yield netns
    finally:
        netns.delete()


class NamedNetns:
    """A network namespace with a name in /run/netns."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = f"/run/netns/{name}"

    def run(self, *command: str, timeout: float = 30.0) -> str:
        """Run a command inside and return what it printed; LabError when it fails."""
        return run_checked(["nsenter", f"--net={self.path}", "--", *command], timeout=timeout)

    async def arun(self, *command: str) -> str:
        """``run``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.run(*command))

    def delete(self) -> None:
        """Take the name away; the namespace goes with its last process.  Idempotent."""
        if os.path.exists(self.path):
            run_checked(["ip", "netns", "delete", self.name])
