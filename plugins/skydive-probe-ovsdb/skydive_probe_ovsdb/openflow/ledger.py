"""The rules and groups of one bridge as the graph has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import trio
import trio.lowlevel

from skycore.plugin import Key, ProbeHost

BATCH: Final = 400
"""So many nodes are said at one go before the others on the event loop have their turn."""


class Ledger:
    """Says nodes below a bridge; ``kind`` is ``ofrule`` or ``ofgroup``.  Outlives connections."""

    def __init__(self, host: ProbeHost, bridge: str, kind: str) -> None:
        self._graph = host.graph
        self._bridge = bridge
        self._kind = kind
        self._said: set[str] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._said)

    @property
    def said(self) -> frozenset[str]:
        return frozenset(self._said)

    def put(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """Say these nodes (by what names them on their bridge), in one transaction; nothing after ``close``."""
        if self._closed:
            return
        with self._graph.transaction():
            for name, metadata in nodes.items():
                key = self._key(name)
                self._graph.put(key, {"Type": self._kind, **metadata}, scope=self._scope)
                if name not in self._said:
                    self._said.add(name)
                    self._graph.link(Key("ovsbridge", self._bridge), key, "ownership", scope=self._scope)

    def drop(self, names: set[str]) -> None:
        """Take these back, in one transaction."""
        with self._graph.transaction():
            for name in names & self._said:
                self._said.discard(name)
                key = self._key(name)
                self._graph.unlink(Key("ovsbridge", self._bridge), key, "ownership")
                self._graph.drop(key)

    async def replace(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """These are all there are."""
        names = list(nodes)
        for start in range(0, len(names), BATCH):
            self.put({name: nodes[name] for name in names[start : start + BATCH]})
            await trio.lowlevel.checkpoint()
        await self.keep_only(nodes.keys())

    async def keep_only(self, names: Any) -> None:
        """Take back all others."""
        gone = sorted(self._said.difference(names))
        for start in range(0, len(gone), BATCH):
            self.drop(set(gone[start : start + BATCH]))
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The bridge is gone, and what its task may still have in hand is of no account."""
        self._closed = True
        self.drop(set(self._said))

    @property
    def _scope(self) -> str:
        return f"{self._kind}/{self._bridge}"

    def _key(self, name: str) -> Key:
        return Key(self._kind, f"{self._bridge}/{name}")


def name_of(table: int, priority: int, filters: str) -> str:
    """What names a rule on its bridge: OpenFlow keeps no two rules of the same table, priority and match."""
    return f"{table}/{priority}/{hashlib.blake2b(filters.encode(), digest_size=12).hexdigest()}"
