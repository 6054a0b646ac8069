"""Cgroups that container engines in tests make, and that nobody but their maker removes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from skycore.testing.lab import FakeHost, LabError


def use_first_version(host: FakeHost) -> None:
    """Take cgroup v2 away from a fake host that has both: crun works with either, and not with both."""
    with contextlib.suppress(LabError):
        host.run("umount", "--lazy", "/sys/fs/cgroup/unified")


def remove_cgroups(name: str) -> None:
    """Remove the cgroup of this name, with all below it, from every hierarchy; those with processes in them stay."""
    for top in _directories(name):
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def _directories(name: str) -> Iterator[Path]:
    """Where a cgroup may lie: in each hierarchy, at its top or below the cgroup of this process (cgroups(7))."""
    own = {line.split(":", 2)[2].lstrip("/") for line in Path("/proc/self/cgroup").read_text().splitlines()}
    for hierarchy in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
        for parent in {"", *own}:
            yield hierarchy / parent / name
