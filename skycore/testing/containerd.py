"""A real containerd for tests, inside a fake host."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from skycore.testing.busybox import image_archive
from skycore.testing.cgroup import remove_cgroups
from skycore.testing.cri import Cri
from skycore.testing.lab import Closing, FakeHost, Inside, LabError, unique_name

IMAGE: Final = "docker.io/skt/busybox:1"

_SOCKET: Final = "/run/containerd/containerd.sock"
_ALONE: Final = """\
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
"""
_WITH_CRI: Final = """\
version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
restrict_oom_score_adj = true
containerd.snapshotter = "native"
cni.bin_dir = "/usr/lib/cni"
cni.conf_dir = "{data}/networks"
"""
_NAMESPACE: Final = "k8s.io"
"""Where the CRI plugin has all its images and containers."""

NETWORK: Final = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {"type": "host-local", "subnet": "10.22.0.0/16"},
        }
    ],
}
"""A network for pods (CNI specification 0.4.0): a bridge on the host, addresses given in turn."""


class Containerd(Closing):
    """Debian's containerd (with its runc shim v2) inside a fake host, which it does not end; it has one image.

    Its state lies in /run/containerd of the host, that of runc in /run/containerd/runc.  With ``cri`` it also has
    the CRI plugin and a network for pods.
    """

    def __init__(self, host: FakeHost, log: Path, *, cri: bool = False) -> None:
        self.host = host
        self.log = log
        self.data = Path(tempfile.mkdtemp(prefix="skt-containerd-"))
        self._cgroup = unique_name()
        self._daemon: Inside | None = None
        self._cri = Cri(host.path(_SOCKET), self._cgroup, IMAGE) if cri else None
        try:
            if cri:
                self._make_network()
            configuration = _WITH_CRI.format(image=IMAGE, data=self.data) if cri else _ALONE
            (self.data / "config.toml").write_text(configuration)
            self._start(20.0)
            namespace = _NAMESPACE if cri else "default"
            self.ctr("image", "import", "--snapshotter", "native", "-", namespace=namespace, data=image_archive(IMAGE))
        except BaseException:
            self.close()
            raise

    @property
    def cri(self) -> Cri:
        """Its Container Runtime Interface."""
        assert self._cri is not None, "this containerd was made without cri=True"
        return self._cri

    def _make_network(self) -> None:
        """A bridge for pods, in the fake host only; what CNI notes of it is not to meet the machine's."""
        self.host.run("mkdir", "-p", "/var/lib/cni")
        self.host.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/cni")
        (self.data / "networks").mkdir()
        (self.data / "networks" / "10-pods.conflist").write_text(json.dumps(NETWORK))

    def _start(self, timeout: float) -> None:
        with self.log.open("ab") as log:
            self._daemon = self.host.popen(
                "containerd", "--config", str(self.data / "config.toml"), "--root", str(self.data / "root"),
                "--state", "/run/containerd", "--address", _SOCKET, output=log,
            )  # fmt: skip
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.ctr("version")
                if self._cri is not None:
                    self._cri.version()
                return
            except LabError as error:
                if time.monotonic() > deadline or self._daemon.outer.poll() is not None:
                    printed = self.log.read_text(errors="replace")[-4096:]
                    raise LabError(f"containerd does not answer; it printed:\n{printed}") from error
            time.sleep(0.05)

    def ctr(self, *arguments: str, namespace: str = "default", data: bytes | None = None) -> str:
        """Run containerd's client; what it printed, stripped.  LabError when it fails."""
        command = ["ctr", "--address", _SOCKET, "--namespace", namespace, *arguments]
        return self.host.run(*command, data=data, timeout=60).strip()

    async def actr(self, *arguments: str, namespace: str = "default") -> str:
        """``ctr``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.ctr(*arguments, namespace=namespace))

    def run(self, name: str, *options: str, namespace: str = "default", command: Sequence[str] = ()) -> None:
        """Run a container of IMAGE in the background; ``options`` are those of ``ctr run``."""
        if namespace != "default":
            with contextlib.suppress(LabError):
                self.ctr("image", "import", "-", namespace=namespace, data=image_archive(IMAGE))
        cgroup = ["--cgroup", f"/{self._cgroup}/{namespace}-{name}"]
        fixed = ["run", "--detach", "--null-io", "--snapshotter", "native", *cgroup]
        self.ctr(*fixed, *options, IMAGE, name, *command, namespace=namespace)

    async def arun(self, name: str, *options: str, namespace: str = "default") -> None:
        """``run``, in a worker thread."""
        await trio.to_thread.run_sync(lambda: self.run(name, *options, namespace=namespace))

    def remove(self, name: str, *, namespace: str = "default") -> None:
        """Kill a container's task and remove both."""
        with contextlib.suppress(LabError):
            self.ctr("task", "delete", "--force", name, namespace=namespace)
        self.ctr("container", "delete", name, namespace=namespace)

    async def aremove(self, name: str, *, namespace: str = "default") -> None:
        """``remove``, in a worker thread."""
        await trio.to_thread.run_sync(lambda: self.remove(name, namespace=namespace))

    def close(self) -> None:
        """End containerd with all containers, and remove its data and cgroups."""
        daemon, self._daemon = self._daemon, None
        try:
            if daemon is not None:
                if self._cri is not None:
                    self._cri.remove_all()
                for namespace in self.ctr("namespace", "list", "--quiet").split():
                    for name in self.ctr("container", "list", "--quiet", namespace=namespace).split():
                        self.remove(name, namespace=namespace)
                daemon.kill()
                daemon.wait()
        finally:
            shutil.rmtree(self.data, ignore_errors=True)
            remove_cgroups(self._cgroup)
