"""A real podman for tests, inside a fake host, with the service that speaks Docker's API."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

from skycore.testing.busybox import COMMAND, root_file_system
from skycore.testing.cgroup import remove_cgroups, use_first_version
from skycore.testing.lab import Closing, FakeHost, Inside, LabError, unique_name

IMAGE: Final = "localhost/skt/busybox:1"

_SOCKET: Final = "/run/podman.sock"


class Podman(Closing):
    """Debian's podman inside a fake host, which it does not end, with one imported image.

    ``runtime`` is runc or crun, whose state lies in /run/runc or /run/crun of the host; ``socket`` is the service's
    unix socket as seen from here.
    """

    def __init__(self, host: FakeHost, log: Path, runtime: str = "crun") -> None:
        self.host = host
        self.log = log
        self.socket = host.path(_SOCKET)
        self.data = Path(tempfile.mkdtemp(prefix="skt-podman-"))
        self._cgroup = unique_name()
        self._service: Inside | None = None
        if runtime == "crun":
            use_first_version(host)
        try:
            self._configure(runtime)
            change = f"CMD {json.dumps(list(COMMAND))}"
            self.podman("import", "--change", change, "-", IMAGE, data=root_file_system())
            self.start_service()
        except BaseException:
            self.close()
            raise

    def _configure(self, runtime: str) -> None:
        """Nothing of the machine's podman: own storage, own networks and addresses, own locks."""
        self.host.run("mkdir", "-p", "/var/lib/cni")
        self.host.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/cni")
        (self.data / "networks").mkdir()
        (self.data / "containers.conf").write_text(
            f'[containers]\ncgroupns = "host"\n[engine]\nlock_type = "file"\ncgroup_manager = "cgroupfs"\n'
            f'events_logger = "file"\nruntime = "{runtime}"\ntmp_dir = "/run/libpod"\n'
            f'static_dir = "{self.data}/libpod"\nvolume_path = "{self.data}/volumes"\n'
            f'[network]\nnetwork_backend = "cni"\nnetwork_config_dir = "{self.data}/networks"\n'
        )
        (self.data / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "{self.data}/storage"\n'
        )

    def _command(self, *arguments: str) -> list[str]:
        settings = [f"{name}={self.data}/{file}" for name, file in _FILES]
        return ["env", *settings, "podman", *arguments]

    def podman(self, *arguments: str, data: bytes | None = None) -> str:
        """Run podman; what it printed, stripped.  LabError when it fails."""
        return self.host.run(*self._command(*arguments), data=data, timeout=60).strip()

    async def apodman(self, *arguments: str) -> str:
        """``podman``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.podman(*arguments))

    def container(self, name: str, *options: str, command: Sequence[str] = ()) -> str:
        """Run a container of IMAGE in the background and return its full ID."""
        parent = ("--cgroup-parent", f"/{self._cgroup}")
        return self.podman("run", "--detach", "--name", name, *parent, *options, IMAGE, *command)

    async def acontainer(self, name: str, *options: str) -> str:
        """``container``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.container(name, *options))

    def inspect(self, name: str) -> dict[str, Any]:
        """What podman says of a container."""
        (document,) = json.loads(self.podman("inspect", "--type", "container", name))
        found: dict[str, Any] = document
        return found

    def start_service(self, timeout: float = 20.0) -> None:
        """Start the service, and wait until it answers."""
        with self.log.open("ab") as log:
            self._service = self.host.popen(
                *self._command("system", "service", "--time", "0", f"unix://{_SOCKET}"), output=log
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if time.monotonic() > deadline or self._service.outer.poll() is not None:
                raise LabError(f"podman's service does not answer: {self.log.read_text(errors='replace')[-4096:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2.0)
            try:
                connection.connect(self.socket)
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: podman\r\n\r\n")
                return connection.recv(64).split(b" ", 2)[1:2] == [b"200"]
            except OSError:
                return False

    def stop_service(self) -> None:
        """Kill the service; containers go on."""
        service, self._service = self._service, None
        if service is not None:
            service.kill()
            service.wait()

    def remove_all(self) -> None:
        """Remove every container."""
        self.podman("rm", "--all", "--force", "--time", "0")

    def close(self) -> None:
        """Remove all containers, end the service, and remove its data and cgroups."""
        try:
            self.stop_service()
            with contextlib.suppress(LabError):
                self.remove_all()
        finally:
            shutil.rmtree(self.data, ignore_errors=True)
            remove_cgroups(self._cgroup)


_FILES: Final = (("CONTAINERS_CONF", "containers.conf"), ("CONTAINERS_STORAGE_CONF", "storage.conf"))
