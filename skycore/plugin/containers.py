"""Containers and the network namespaces they are in, as nodes and edges: what all probes of containers say alike.

A probe finds out what containers there are, and says so to its ``Containers``.  Each is a node below its namespace, or
below the probe's root when it has none of its own; a namespace is a node below the root, with the plugin ``netlink``
running inside.  Two probes that name a container by the same ``container_key`` share its node.

Imported only by plugins that ask for it: ``from skycore.plugin import containers``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from skycore.errors import ClaimError
from skycore.graph.identity import Key
from skycore.plugin.api import Hold, Namespace, ProbeHost

SCOPE: Final = "containers"


def container_key(id: str) -> Key:
    """The key of a container whose ID is never used again, such as the 64 hexadecimal digits of docker and podman."""
    return Key("container", id)


@attrs.frozen
class Located:
    """A container and its network namespace.

    ``shares`` tells that it uses another container's namespace, ``started`` orders those in one namespace (ms since
    the epoch): the first gives it its name.  ``namespace`` is None when it has none of its own, or when it cannot be
    told which; ``path`` is a lasting file through which the namespace can be entered.
    """

    key: Key
    name: str
    metadata: Mapping[str, Any] = attrs.field(repr=False)
    namespace: Namespace | None = None
    path: str = ""
    shares: bool = False
    started: int = 0

    @property
    def rank(self) -> tuple[bool, int, str]:
        return self.shares, self.started, self.key.value


class Containers:
    """Keeps the graph equal to the containers that a probe knows; ``said_of_namespaces`` is added to each of those."""

    def __init__(self, host: ProbeHost, said_of_namespaces: Mapping[str, Any]) -> None:
        self._host = host
        self._extra = said_of_namespaces
        self._known: dict[Key, Located] = {}
        self._members: dict[Key, dict[Key, Located]] = {}
        self._said: dict[Key, dict[str, Any]] = {}
        self._holds: dict[Key, Hold] = {}
        self.refused: dict[Key, str] = {}
        """Containers whose metadata the graph cannot hold, with the reason; of them only the name is shown."""

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Key) -> Located | None:
        return self._known.get(key)

    def replace(self, located: Iterable[Located]) -> None:
        """These are all containers there are; what is not among them goes."""
        self._known = {one.key: one for one in located}
        self._members, self._said, self.refused = {}, {}, {}
        for one in self._known.values():
            self._join(one)
        self._let_go(self._holds.keys() - self._members.keys())
        with self._host.graph.snapshot(SCOPE):
            for one in self._known.values():
                self._say_container(one)
            for namespace in self._members:
                self._say_namespace(namespace)
        self._hold(self._members)

    def update(self, changes: Mapping[Key, Located | None]) -> None:
        """These containers have changed, or are no more (None); all others stay as they are."""
        before = {key: self._known.get(key) for key in changes}
        changes = {key: now for key, now in changes.items() if now != before[key]}
        touched: dict[Key, None] = {}
        for key, now in changes.items():
            for one in (before[key], now):
                if one is not None and one.namespace is not None:
                    touched[one.namespace.key] = None
            self._leave(before[key])
            if now is None:
                self._known.pop(key, None)
                self.refused.pop(key, None)
            else:
                self._known[key] = now
                self._join(now)
        self._let_go(namespace for namespace in touched if namespace not in self._members)
        graph = self._host.graph
        with graph.transaction():
            for key, now in changes.items():
                was = before[key]
                if was is not None and (now is None or self._owner(was) != self._owner(now)):
                    graph.unlink(self._owner(was), key, "ownership")
                if now is None:
                    graph.drop(key)
                else:
                    self._say_container(now)
            for namespace in touched:
                self._say_namespace(namespace)
        self._hold(namespace for namespace in touched if namespace in self._members)

    # ------------------------------------------------------------------ who is where

    def _owner(self, one: Located) -> Key:
        return self._host.root if one.namespace is None else one.namespace.key

    def _join(self, one: Located) -> None:
        if one.namespace is not None:
            self._members.setdefault(one.namespace.key, {})[one.key] = one

    def _leave(self, one: Located | None) -> None:
        if one is not None and one.namespace is not None:
            members = self._members[one.namespace.key]
            del members[one.key]
            if not members:
                del self._members[one.namespace.key]

    # ------------------------------------------------------------------ the graph

    def _say_container(self, one: Located) -> None:
        graph = self._host.graph
        self.refused.pop(one.key, None)
        try:
            graph.put(one.key, one.metadata, scope=SCOPE)
        except ClaimError as error:
            self.refused[one.key] = str(error)
            graph.put(one.key, {"Name": one.name[:256], "Type": "container"}, scope=SCOPE)
        graph.link(self._owner(one), one.key, "ownership", scope=SCOPE)

    def _say_namespace(self, key: Key) -> None:
        graph, root = self._host.graph, self._host.root
        members = self._members.get(key)
        if members is None:
            if self._said.pop(key, None) is not None:
                graph.unlink(root, key, "ownership")
                graph.drop(key)
            return
        first = min(members.values(), key=lambda one: one.rank)
        assert first.namespace is not None
        metadata = {
            "Name": first.name,
            "Type": "netns",
            **self._extra,
            "Path": first.path,
            "Inode": first.namespace.inode,
            "Device": first.namespace.device,
        }
        if self._said.get(key) != metadata:
            self._said[key] = metadata
            graph.put(key, metadata, scope=SCOPE)
            graph.link(root, key, "ownership", scope=SCOPE)

    # ------------------------------------------------------------------ netlink inside

    def _let_go(self, namespaces: Iterable[Key]) -> None:
        """End netlink where no container is any more: interfaces go before their namespace."""
        for key in list(namespaces):
            hold = self._holds.pop(key, None)
            if hold is not None:
                hold.release()

    def _hold(self, namespaces: Iterable[Key]) -> None:
        """Keep netlink running where containers are."""
        for key in namespaces:
            if key in self._holds:
                continue
            for one in self._members[key].values():
                assert one.namespace is not None
                try:
                    self._holds[key] = self._host.children("netlink", one.namespace)
                    break
                except OSError as error:
                    # Its process is gone; what says so is on its way.
                    self._host.log.debug("namespace vanished", path=one.namespace.path, error=str(error))
