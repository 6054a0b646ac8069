"""A real docker daemon for tests, inside a fake host."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from skycore.testing.busybox import COMMAND, root_file_system
from skycore.testing.cgroup import remove_cgroups
from skycore.testing.lab import Closing, FakeHost, Inside, LabError, environment_here, run_checked, unique_name

IMAGE: Final = "skt/busybox:1"
"""The image that every ``Dockerd`` has: Debian's static busybox, which sleeps unless told otherwise."""

_SOCKET = "/run/docker.sock"


class Dockerd(Closing):
    """Debian's docker daemon inside a fake host, with one imported image and no way to the outside.

    Containers survive the daemon's death (live restore).  ``socket`` is its API's unix socket as seen from here;
    inside the host it is /run/docker.sock.  ``log`` keeps what the daemon printed, ``data`` is its data root.
    """

    def __init__(self, host: FakeHost, log: Path) -> None:
        self.host = host
        self.log = log
        self.socket = host.path(_SOCKET)
        self.data = Path(tempfile.mkdtemp(prefix="skt-docker-"))
        self._cgroup = unique_name()
        self._daemon: Inside | None = None
        try:
            self._driver = self._storage_driver()
            # Else the daemon reads the machine's configuration and writes its key beside it.
            configuration = {"deprecated-key-path": str(self.data / "key.json")}
            (self.data / "daemon.json").write_text(json.dumps(configuration))
            self.restart()
            self.docker("import", "--change", f"CMD {json.dumps(list(COMMAND))}", "-", IMAGE, data=root_file_system())
        except BaseException:
            self.close()
            raise

    def _storage_driver(self) -> str:
        """overlay2 where the file system below the data can carry it, else vfs."""
        trial = self.data / "trial"
        for name in ("lower", "upper", "work", "merged"):
            (trial / name).mkdir(parents=True)
        options = f"lowerdir={trial}/lower,upperdir={trial}/upper,workdir={trial}/work"
        try:
            self.host.run("mount", "-t", "overlay", "overlay", "-o", options, f"{trial}/merged")
            self.host.run("umount", f"{trial}/merged")
        except LabError:
            return "vfs"
        finally:
            shutil.rmtree(trial, ignore_errors=True)
        return "overlay2"

    @property
    def pid(self) -> int:
        """The daemon's pid, as this machine counts."""
        if self._daemon is None:
            raise LabError("the docker daemon does not run; call restart() first")
        return self._daemon.pid

    def freeze(self) -> None:
        """Stop the daemon where it is (SIGSTOP): it accepts connections and does not answer."""
        if self._daemon is not None:
            self._daemon.freeze()

    def thaw(self) -> None:
        """Let the daemon go on after ``freeze``."""
        if self._daemon is not None:
            self._daemon.thaw()

    def kill9(self) -> None:
        """Kill the daemon (SIGKILL); its containers go on."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.thaw()
            self._daemon.wait()
            self._daemon = None

    def restart(self, timeout: float = 20.0) -> None:
        """Kill the daemon if it runs, start it and wait until it answers."""
        self.kill9()
        with self.log.open("ab") as log:
            self._daemon = self.host.popen(
                "dockerd", "--data-root", str(self.data), "--exec-root", "/run/docker",
                "--pidfile", "/run/docker.pid", "--host", f"unix://{_SOCKET}", "--live-restore",
                "--storage-driver", self._driver, "--exec-opt", "native.cgroupdriver=cgroupfs",
                "--cgroup-parent", self._cgroup, "--config-file", str(self.data / "daemon.json"),
                output=log,
            )  # fmt: skip
        deadline = time.monotonic() + timeout
        while not self.answers():
            if time.monotonic() > deadline or self._daemon.outer.poll() is not None:
                raise LabError(f"dockerd does not answer; it printed:\n{self.tail()}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether the daemon answers ``GET /_ping``."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(self.socket)
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                return connection.recv(64).split(b" ", 2)[1:2] == [b"200"]
            except OSError:
                return False

    def docker(self, *arguments: str, data: bytes | None = None, timeout: float = 30.0) -> str:
        """Run Debian's docker client against this daemon; what it printed, stripped.  LabError when it fails."""
        environment = {**environment_here(), "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.data)}
        return run_checked(["docker", *arguments], data=data, timeout=timeout, environment=environment).strip()

    async def adocker(self, *arguments: str, data: bytes | None = None) -> str:
        """``docker``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.docker(*arguments, data=data))

    def container(self, name: str, *options: str, command: Sequence[str] = ()) -> str:
        """Run a container of IMAGE in the background and return its full ID."""
        return self.docker("run", "--detach", "--name", name, *options, IMAGE, *command)

    async def acontainer(self, name: str, *options: str, command: Sequence[str] = ()) -> str:
        """``container``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.container(name, *options, command=command))

    def remove_all(self) -> None:
        """Remove every container, running or not, and the networks that were made."""
        containers = self.docker("ps", "--all", "--quiet").split()
        if containers:
            self.docker("rm", "--force", *containers)
        networks = self.docker("network", "ls", "--quiet", "--filter", "type=custom").split()
        if networks:
            self.docker("network", "rm", *networks)

    def tail(self, size: int = 4096) -> str:
        """The end of what the daemon printed."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_bytes()[-size:].decode(errors="replace")
        return ""

    def close(self) -> None:
        """Kill the whole fake host with its containers, and remove the daemon's data and cgroups."""
        self._daemon = None
        try:
            self.host.close()
        finally:
            shutil.rmtree(self.data, ignore_errors=True)
            remove_cgroups(self._cgroup)
