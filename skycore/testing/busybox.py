"""A root file system for containers in tests: Debian's static busybox with its applets."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shutil
import tarfile
from typing import Any

from skycore.testing.lab import LabError, run_checked

COMMAND = ("/bin/sleep", "3600")
"""What a container does unless told otherwise."""


@functools.cache
def root_file_system() -> bytes:
    """A tar of a root file system that holds busybox and its applets."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("busybox is missing; the Debian package busybox-static brings it")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(busybox, "bin/busybox")
        for applet in run_checked([busybox, "--list"]).split():
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
    return buffer.getvalue()


def image_archive(name: str) -> bytes:
    """The same as an image, in the form that ``docker save`` writes (Docker Image Specification v1.2)."""
    layer = root_file_system()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": list(COMMAND), "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest: list[dict[str, Any]] = [{"Config": f"{digest}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in (
            ("manifest.json", json.dumps(manifest).encode()),
            (f"{digest}.json", config),
            ("layer.tar", layer),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
