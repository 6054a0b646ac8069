"""Namespaces without a name in the watched directory: those of processes, and those bound to a file anywhere else.

The kernel announces neither, so they are looked for again and again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from typing import Final

import attrs

from skycore.plugin import Hold, Key, Namespace, ProbeHost
from skydive_probe_netns import keys

_SCOPE: Final = "unnamed"
"""The scope of what is said here; inventories of the directory leave it alone."""

_NSFS: Final = "nsfs"
_MOUNT = re.compile(r"^\d+ \d+ \d+:\d+ net:\[(\d+)\] (\S+) .* - (\S+) ", flags=re.MULTILINE)
"""A line of /proc/PID/mountinfo (proc(5)) of a network namespace: inode, mount point, type of the file system."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


@attrs.frozen
class Found:
    """A namespace as it was found: a file through which it can be entered, and what it is called."""

    path: str
    name: str


def bound(mountinfo: str) -> Iterator[tuple[int, Found]]:
    """(inode, where) of the network namespaces bound to files, from the text of /proc/PID/mountinfo."""
    for inode, point, kind in _MOUNT.findall(mountinfo):
        if kind == _NSFS:
            path = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), point)
            yield int(inode), Found(path, os.path.basename(path))


def of_processes(proc: str = "/proc") -> Iterator[tuple[int, Found]]:
    """(inode, where) of the network namespaces of processes; of each the process with the lowest number comes first."""
    for number in sorted(int(entry) for entry in os.listdir(proc) if entry.isdigit()):
        path = f"{proc}/{number}/ns/net"
        try:
            inode = os.stat(path).st_ino
            with open(f"{proc}/{number}/comm", "rb") as file:
                command = file.read(64).rstrip(b"\n").decode("utf-8", "backslashreplace")
        except OSError:
            # It has ended, or is a zombie.
            continue
        yield inode, Found(path, f"{command}-{number}")


class Unnamed:
    """Keeps the graph in step with the namespaces that have no name in the directory."""

    def __init__(self, host: ProbeHost) -> None:
        self._host = host
        self._holds: dict[Key, Hold] = {}

    def __len__(self) -> int:
        return len(self._holds)

    def look(self, named: Collection[Key]) -> None:
        """Look for namespaces; those in ``named`` are the directory's, whose claims have replaced ours."""
        graph = self._host.graph
        found = self._find()
        wanted = {key: entry for key, entry in found.items() if key not in named}
        with graph.snapshot(_SCOPE):
            for key, (namespace, where) in wanted.items():
                graph.put(key, keys.metadata(where.name, where.path, namespace), scope=_SCOPE)
                graph.link(self._host.root, key, "ownership", scope=_SCOPE)
        for key in self._holds.keys() - wanted.keys():
            self._holds.pop(key).release()
        for key in wanted.keys() - self._holds.keys():
            try:
                self._holds[key] = self._host.children("netlink", wanted[key][0])
            except OSError:
                # It has ended meanwhile, which the next look sees.
                continue

    def _find(self) -> dict[Key, tuple[Namespace, Found]]:
        places: dict[int, Found] = {}
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for inode, where in bound(file.read()):
                places.setdefault(inode, where)
        for inode, where in of_processes():
            places.setdefault(inode, where)
        places.pop(self._host.namespace.inode, None)
        found: dict[Key, tuple[Namespace, Found]] = {}
        for where in places.values():
            try:
                namespace = self._host.netns(where.path)
            except OSError:
                continue
            if namespace.key != self._host.namespace.key:
                found.setdefault(namespace.key, (namespace, where))
        return found
