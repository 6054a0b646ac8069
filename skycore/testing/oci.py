"""Containers that a low-level runtime (runc, crun) runs inside a fake host, with nobody above it."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from skycore.testing.busybox import COMMAND, root_file_system
from skycore.testing.cgroup import remove_cgroups, use_first_version
from skycore.testing.lab import Closing, FakeHost, LabError, unique_name


class OciRuntime(Closing):
    """``runc`` or ``crun`` inside a fake host, which it does not end; ``root`` is its state folder there."""

    def __init__(self, host: FakeHost, program: str = "runc", root: str | None = None) -> None:
        self.host = host
        self.program = program
        self.root = root or f"/run/{program}"
        self.bundles = Path(tempfile.mkdtemp(prefix="skt-oci-"))
        self._cgroup = unique_name()
        if program == "crun":
            use_first_version(host)
        with tarfile.open(fileobj=io.BytesIO(root_file_system())) as tar:
            tar.extractall(self.bundles / "rootfs", filter="fully_trusted")

    def bundle(
        self,
        name: str,
        *,
        annotations: Mapping[str, str] | None = None,
        netns: str | None = "",
        mounts: Sequence[Mapping[str, Any]] = (),
        resources: Mapping[str, Any] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> Path:
        """Write a bundle and return its folder.

        ``netns``: "" for a namespace of its own, a path for that one, None for the host's.
        """
        folder = self.bundles / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").unlink(missing_ok=True)
        self.host.run(self.program, "spec", "--bundle", str(folder))
        document = json.loads((folder / "config.json").read_text())
        document["process"].update(terminal=False, args=list(command))
        document["root"] = {"path": str(self.bundles / "rootfs"), "readonly": True}
        document["annotations"] = dict(annotations or {})
        document["mounts"] += mounts
        linux = document["linux"]
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] not in ("network", "cgroup")]
        if netns is not None:
            linux["namespaces"].append({"type": "network", **({"path": netns} if netns else {})})
        linux["resources"] = dict(resources or {})
        linux["cgroupsPath"] = f"/{self._cgroup}/{name}"
        (folder / "config.json").write_text(json.dumps(document))
        return folder

    def call(self, *arguments: str) -> str:
        """Run the runtime; what it printed.  LabError when it fails."""
        return self.host.run(self.program, "--root", self.root, *arguments)

    async def acall(self, *arguments: str) -> str:
        """``call``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.call(*arguments))

    def create(self, name: str, **what: Any) -> None:
        """Create a container that waits for ``start``; ``what`` is that of ``bundle``."""
        self._begin("create", name, [], **what)

    def run(self, name: str, **what: Any) -> None:
        """Create and start a container in the background."""
        self._begin("run", name, ["--detach"], **what)

    async def arun(self, name: str, **what: Any) -> None:
        """``run``, in a worker thread."""
        await trio.to_thread.run_sync(lambda: self.run(name, **what))

    def _begin(self, verb: str, name: str, options: Sequence[str], **what: Any) -> None:
        folder = self.bundle(name, **what)
        log = folder / "log"
        # The container inherits what its maker prints to; a pipe would stay open for as long as it lives.
        command = [self.program, "--root", self.root, verb, *options, "--bundle", str(folder), name]
        try:
            self.host.run("sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1 </dev/null', "sh", str(log), *command)
        except LabError as error:
            raise LabError(f"{error} {log.read_text(errors='replace')}") from error

    def state(self, name: str) -> dict[str, Any]:
        """What the runtime says of a container (``state``)."""
        document: dict[str, Any] = json.loads(self.call("state", name))
        return document

    def list(self) -> list[dict[str, Any]]:
        """All containers, as the runtime lists them."""
        found: list[dict[str, Any]] = json.loads(self.call("list", "--format", "json")) or []
        return found

    def delete(self, name: str) -> None:
        """Kill and delete a container."""
        self.call("delete", "--force", name)

    async def adelete(self, name: str) -> None:
        """``delete``, in a worker thread."""
        await trio.to_thread.run_sync(lambda: self.delete(name))

    def close(self) -> None:
        """Remove all containers and the bundles."""
        try:
            for container in self.list():
                self.delete(container["id"])
        finally:
            shutil.rmtree(self.bundles, ignore_errors=True)
            remove_cgroups(self._cgroup)
