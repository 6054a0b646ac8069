"""What the graph is told, and how often."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from skycore.plugin import Key, ProbeHost
from skydive_probe_socketinfo.connections import conversations
from skydive_probe_socketinfo.keys import CONNECTION, NODE, PROCESS, Places, Shown, said
from skydive_probe_socketinfo.places import Place
from skydive_probe_socketinfo.processes import Process

_BYTES_PER_SECOND: Final = 24 << 10
"""The history keeps all of a list each time it is told, so long ones are told less often."""

_PASSING: Final = 6
"""A list in which only passing states changed is told so many times less often."""


class Publisher:
    """Tells the graph of sockets that came and went, never more often than ``interval`` seconds for one node."""

    def __init__(self, host: ProbeHost, interval: float, limit: int) -> None:
        self._host = host
        self._interval = interval
        self._limit = limit

    def publish(self, places: Iterable[Place], owners: Mapping[int, Process]) -> tuple[bool, float]:
        """Tell what is due; returns whether anything was, and when (trio's clock) something will be."""
        asked, due = False, math.inf
        now = trio.current_time()
        for place in places:
            inventory = place.inventory
            if not inventory.changed and not inventory.passing:
                continue
            at = place.open_at if inventory.changed else place.passing_at
            if at > now:
                due = min(due, at)
                continue
            asked = True
            listing = inventory.listing(owners, self._limit)
            inventory.told()
            if listing == place.told:
                continue
            place.told = listing
            pause = max(self._interval, listing.size / _BYTES_PER_SECOND)
            place.open_at, place.passing_at = now + pause, now + _PASSING * pause
            found = said(NODE, Places(listing.sockets, listing.omitted))
            metadata = {key: value for key, value in found.items() if value}
            if metadata:
                self._host.graph.annotate(place.key, metadata)
            else:
                self._host.graph.drop(place.key)
        return asked, due

    def left(self, place: Place) -> None:
        """A namespace is looked at no more."""
        self._host.graph.drop(place.key)


class ProcessPublisher:
    """Tells the graph of the processes that have sockets, and who talks to whom."""

    _SCOPE: Final = "processes"

    def __init__(self, host: ProbeHost, interval: float) -> None:
        self._host = host
        self._interval = interval
        self._changed = True
        self._open_at = -math.inf
        # A process's key must not be that of one of an earlier boot, when the ids were the same.
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._boot_time = _boot_time()
        self._ticks = os.sysconf("SC_CLK_TCK")

    def publish(self, places: Sequence[Place], owners: Mapping[int, Process], changed: bool) -> float:
        """Tell of all processes if something may have changed and enough time has passed; returns when to ask again."""
        self._changed |= changed
        if not self._changed:
            return math.inf
        now = trio.current_time()
        if now < self._open_at:
            return self._open_at
        self._changed = False
        self._open_at = now + self._interval
        graph = self._host.graph
        homes = {place.namespace.inode: place.key for place in reversed(places)}
        with graph.snapshot(self._SCOPE):
            for process in {
                owners[socket.inode] for place in places for socket in place.inventory if socket.inode in owners
            }:
                key = self._key(process)
                graph.put(key, self._metadata(process), scope=self._SCOPE)
                graph.link(homes.get(process.netns, self._host.root), key, "ownership", scope=self._SCOPE)
            sockets = ((place.key, place.inventory) for place in places)
            for (client, server), talk in conversations(sockets, owners).items():
                graph.link(
                    self._key(client), self._key(server), "connection", said(CONNECTION, talk), scope=self._SCOPE
                )
        return math.inf

    def _key(self, process: Process) -> Key:
        return Key("process", f"{self._boot}/{process.pid}/{process.start}")

    def _metadata(self, process: Process) -> dict[str, Any]:
        started = self._boot_time + process.start * 1000 // self._ticks
        return {key: value for key, value in said(PROCESS, Shown(process, started)).items() if value != ""}


def _boot_time() -> int:
    """When the kernel started, in ms since the epoch; btime of /proc/stat, proc(5)."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1]) * 1000
    raise OSError("/proc/stat has no line btime")
