"""Keeps the fabric in the graph, and its links to what agents find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar
from uuid import NAMESPACE_OID, uuid5

import attrs
import trio

from skycore.plugin import All, Equals, Filter, Key, ProbeHost
from skydive_probe_fabric.language import Fabric, Found, Link, parse

_GATHER = 0.2


def _fabric(_settings: object, _attribute: object, lines: Iterable[str]) -> None:
    parse(lines)


class FabricProbe:
    """Static nodes and links of the configuration."""

    roles: ClassVar = frozenset({"analyzer"})

    @attrs.frozen
    class Settings:
        """``links`` are the lines of ``analyzer.topology.fabric``."""

        links: tuple[str, ...] = attrs.field(default=(), validator=_fabric)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._fabric: Fabric = parse(settings.links)
        self._host = host

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        graph = self._host.graph
        searches = [(link, link.child) for link in self._fabric.links if isinstance(link.child, Found)]
        views = [
            (link, graph.view(_filter(found.parent)), graph.view(_filter(found.child))) for link, found in searches
        ]
        change = graph.view(keys=())
        while True:
            with graph.snapshot():
                self._say()
                count = 0
                for link, parents, children in views:
                    known = {id for id, _ in parents.all()}
                    for id, _ in children.all():
                        if not known.isdisjoint(children.parents(id)):
                            self._connect(link, Key("@id", id))
                            count += 1
            self._host.status(nodes=len(self._fabric.nodes), found=count)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            if not views:
                await trio.sleep_forever()
            await change.changed()
            await trio.sleep(_GATHER)

    def _say(self) -> None:
        for node in self._fabric.nodes.values():
            key = _key(node.key)
            self._host.graph.put(key, {**node.metadata, "TID": key.value})
        for link in self._fabric.links:
            if isinstance(link.child, str):
                self._connect(link, _key(link.child))

    def _connect(self, link: Link, child: Key) -> None:
        parent = _key(link.parent)
        if link.owns and isinstance(link.child, str):
            self._host.graph.link(parent, child, "ownership")
        self._host.graph.link(parent, child, "layer2", link.metadata)


def _key(name: str) -> Key:
    """A node of the fabric: its ID is UUIDv5(OID, "fabric" + name), as in Skydive."""
    return Key("@id", str(uuid5(NAMESPACE_OID, "fabric" + name)))


def _filter(metadata: Mapping[str, str]) -> Filter:
    return All(tuple(Equals(key, value) for key, value in metadata.items()))
