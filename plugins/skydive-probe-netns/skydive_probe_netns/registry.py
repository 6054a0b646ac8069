"""Which namespace each name of the directory means, and what the graph is told of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from skycore.plugin import Hold, Key, Namespace, ProbeHost
from skydive_probe_netns import keys


class Registry:
    """The namespaces that have names in ``directory``; several names may mean one, and count as one.

    ``unready`` holds the names of files that cannot be entered, with the reason: often no namespace is mounted on it
    yet, or any more.
    """

    def __init__(self, host: ProbeHost, directory: str) -> None:
        self._host = host
        self._directory = directory
        self._named: dict[bytes, Namespace] = {}
        self._holds: dict[bytes, Hold] = {}
        self._said: set[Key] = set()
        self.unready: dict[bytes, OSError] = {}

    def __len__(self) -> int:
        """How many namespaces there are, however many names they have."""
        return len(self.keys())

    def keys(self) -> set[Key]:
        """The namespaces that have names."""
        return {namespace.key for namespace in self._named.values()}

    def check(self, names: Iterable[bytes], *, inventory: bool = False) -> None:
        """Look what these names mean now, and tell the graph.  With ``inventory`` they are all there are."""
        graph = self._host.graph
        changed: set[Key] = set()
        renewed: set[bytes] = set()
        for name in {*names, *self._named} if inventory else set(names):
            before, now = self._named.get(name), self._resolve(name)
            if before is not None and now is not None and before.key == now.key and name in self._holds:
                continue
            renewed.add(name)
            if before is not None:
                changed.add(before.key)
                del self._named[name]
            if now is not None:
                changed.add(now.key)
                self._named[name] = now
        # A namespace that only changed its name keeps its sub-probe: the new name holds it before the old one lets go.
        released = [self._holds.pop(name) for name in renewed & self._holds.keys()]
        for name in renewed & self._named.keys():
            try:
                self._holds[name] = self._host.children("netlink", self._named[name])
            except OSError as error:
                self.unready[name] = error
        # Before their namespace goes, so that its interfaces are not seen without it.
        for hold in released:
            hold.release()
        with graph.snapshot() if inventory else graph.transaction():
            for key in self.keys() if inventory else changed:
                self._say(key)

    def look_again(self) -> None:
        """Something was mounted or unmounted: look at the names that may have come to mean something else by it."""
        self.check({name for name in self._named if not self._same(name)} | self.unready.keys())

    def _same(self, name: bytes) -> bool:
        """Whether a file is still the namespace that it was; cheap, as it is asked of all of them."""
        try:
            status = os.stat(self._path(os.fsdecode(name)))
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == (self._named[name].device, self._named[name].inode)

    def _resolve(self, name: bytes) -> Namespace | None:
        """The namespace behind a name; None for the host's own, which is no node of its own, and when there is none."""
        self.unready.pop(name, None)
        path = self._path(os.fsdecode(name))
        try:
            # A namespace is a regular file of nsfs; opening other kinds might wait for somebody.
            if not stat.S_ISREG(os.stat(path).st_mode):
                return None
            namespace = self._host.netns(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.unready[name] = error
            return None
        return None if namespace.key == self._host.namespace.key else namespace

    def _say(self, key: Key) -> None:
        names = sorted(name for name, namespace in self._named.items() if namespace.key == key)
        if not names:
            self._host.graph.unlink(self._host.root, key, "ownership")
            self._host.graph.drop(key)
            return
        namespace = self._named[names[0]]
        # Bytes that are no UTF-8 are shown as \xNN.
        name = names[0].decode("utf-8", "backslashreplace")
        self._host.graph.put(key, keys.metadata(name, self._path(name), namespace))
        self._host.graph.link(self._host.root, key, "ownership")

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"
