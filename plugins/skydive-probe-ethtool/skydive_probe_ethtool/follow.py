"""From the kernel's messages to what is known of a namespace's interfaces: inventory, changes, regular refresh."""

from __future__ import annotations

import math
import os
import random
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import attrs
import trio

from skycore.plugin import Key, ProbeHost, netlink
from skydive_probe_ethtool import genetlink
from skydive_probe_ethtool.aspects import BY_NOTIFICATION, ETHTOOL_A_HEADER, LINK_ASPECTS, device
from skydive_probe_ethtool.counters import Counters
from skydive_probe_ethtool.ioctl import Ioctl
from skydive_probe_ethtool.metadata import Interface, Names, interface_metadata
from skydive_probe_ethtool.pci import pci_facts
from skydive_probe_ethtool.reader import DRIVER, EVERY, TRANSCEIVER, Reader, Readings, Wanted
from skydive_probe_ethtool.socket import RequestSocket
from skydive_probe_ethtool.strings import ETH_SS_FEATURES, ETH_SS_LINK_MODES

LINK_CHANGES: Final = LINK_ASPECTS | {TRANSCEIVER}
"""What is asked again when a link goes up or down."""

_LINK_FLAGS: Final = 0x1 | 0x40 | 0x10000  # IFF_UP, IFF_RUNNING, IFF_LOWER_UP of linux/if.h
_LEAST_PAUSE: Final = 0.05
_MOST_PAUSE: Final = 1.0
_SHARE: Final = 4.0
"""After reading, the probe rests so many times as long as it read: a burst of changes is read as one."""
_READERS: Final = trio.CapacityLimiter(2)  # they queue for one lock in the kernel anyway


class Follower:
    """Keeps the annotations of one namespace's interfaces in step with the kernel.

    ``interval`` and ``sampling`` are seconds between two refreshes and two samples of the counters, infinite for none;
    ``open_requests`` opens a socket inside the namespace; ``family`` is None on kernels without ethtool netlink.
    """

    def __init__(
        self,
        host: ProbeHost,
        interval: float,
        sampling: float,
        limit: int,
        family: netlink.Family | None,
        open_requests: Callable[[], RequestSocket],
    ) -> None:
        self._host = host
        self._interval = interval
        self._sampling = sampling
        self._family = family
        self._open_requests = open_requests
        self._names = Names()
        self._counters = Counters(limit)
        self._known: dict[int, Interface] = {}
        self._flags: dict[int, int] = {}
        self._dirty: dict[int, set[str]] = {}
        self._died: set[int] = set()
        self._wake = trio.Event()
        self._all_wanted = False
        self._readings = 0
        self._lost = 0
        self._undecodable = 0

    async def run(
        self, links: netlink.EventSocket, monitor: netlink.EventSocket | None, task_status: trio.TaskStatus[None]
    ) -> None:
        """Call ``started`` when the first inventory is in the graph, and go on until cancelled.  Raises OSError."""
        self._names = await self._in_thread(_read_names)
        await self._read("all")
        await self._read({index: {TRANSCEIVER} for index in self._known})
        await self._count()
        with self._host.graph.snapshot():
            self._say(self._known)
        self._show_status()
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, links, self._hear_link)
            if monitor is not None:
                nursery.start_soon(self._hear, monitor, self._hear_notification)
            await self._keep_up()

    async def _keep_up(self) -> None:
        # The probes of many namespaces start together and should not look together.
        early = random.uniform(0.5, 1.0)
        refresh_due = trio.current_time() + self._interval * early
        sample_due = trio.current_time() + self._sampling * early
        while True:
            with trio.move_on_at(min(refresh_due, sample_due)):
                await self._wake.wait()
            self._wake = trio.Event()
            began = trio.current_time()
            if self._all_wanted or began >= refresh_due:
                self._all_wanted = False
                await self._refresh("all")
                refresh_due = began + self._interval
            if self._dirty:
                dirty, self._dirty = self._dirty, {}
                await self._refresh(dirty)
            if began >= sample_due:
                await self._sample()
                sample_due = began + self._sampling
            self._show_status()
            await trio.sleep(min(max(_LEAST_PAUSE, _SHARE * (trio.current_time() - began)), _MOST_PAUSE))

    # ------------------------------------------------------------------ hearing

    async def _hear(self, events: netlink.EventSocket, hear: Callable[[netlink.Frame], None]) -> None:
        while True:
            await events.wait()
            heard = events.read()
            if heard.lost:
                # Until the socket is empty the kernel adds nothing more, so only what is asked after that is whole.
                while events.read().buffers:
                    pass
                self._lost += 1
                self._all_wanted = True
                self._wake.set()
            for buffer in heard.buffers:
                try:
                    for frame in netlink.frames(buffer):
                        hear(frame)
                except netlink.DecodeError as error:
                    self._report(error)

    def _hear_link(self, frame: netlink.Frame) -> None:
        event = genetlink.link_event(frame)
        if event is None:
            return
        if event.gone:
            self._flags.pop(event.index, None)
            self._dirty.pop(event.index, None)
            self._died.add(event.index)
            if self._known.pop(event.index, None) is not None:
                self._host.graph.drop(self._key(event.index))
                self._wake.set()
            return
        flags = event.flags & _LINK_FLAGS
        known = self._known.get(event.index)
        if known is None:
            self._mark(event.index, EVERY | {TRANSCEIVER})
        else:
            if event.name and event.name != known.name:
                known.name = event.name
                self._mark(event.index, {DRIVER})
            if flags != self._flags.get(event.index):
                self._mark(event.index, LINK_CHANGES)
        self._flags[event.index] = flags

    def _hear_notification(self, frame: netlink.Frame) -> None:
        """Ask again for what is announced: an answer cannot be older than one that was read meanwhile."""
        if self._family is None or frame.type != self._family.id:
            return
        aspect = BY_NOTIFICATION.get(genetlink.command(frame.payload))
        if aspect is not None:
            header = next((value for type, value in genetlink.body(frame.payload) if type == ETHTOOL_A_HEADER), b"")
            self._mark(device(header)[0], {aspect.name})

    def _mark(self, index: int, what: frozenset[str] | set[str]) -> None:
        self._dirty.setdefault(index, set()).update(what)
        self._wake.set()

    # ------------------------------------------------------------------ asking

    async def _refresh(self, wanted: Wanted) -> None:
        changed, gone = await self._read(wanted)
        with self._host.graph.transaction():
            for index in gone:
                self._host.graph.drop(self._key(index))
            self._say(changed)

    async def _read(self, wanted: Wanted) -> tuple[set[int], set[int]]:
        """Ask what is wanted; returns the interfaces that changed and those that went."""
        self._died.clear()
        present = self._present() if self._family is None else []
        buses = {index: known.driver.bus for index, known in self._known.items() if known.driver}

        def work(
            wanted: Wanted, one_by_one: bool, requests: RequestSocket, ioctl: Ioctl, family: netlink.Family | None
        ) -> tuple[Readings, dict[int, Any]]:
            readings = Reader(requests, ioctl, family).read(wanted, present, one_by_one=one_by_one)
            return readings, _pci(readings, buses)

        readings, pci = await self._in_thread(partial(work, wanted, False))
        if readings.broken:
            everything = {index: EVERY for index, _ in self._present()} if wanted == "all" else wanted
            readings, pci = await self._in_thread(partial(work, everything, True))
            if wanted == "all":
                readings = attrs.evolve(readings, complete=True)
        self._readings += 1
        self._undecodable += readings.undecodable
        return self._merge(readings, pci)

    def _present(self) -> list[tuple[int, bytes]]:
        return self._host.in_netns(self._host.namespace.path, _interfaces)

    def _merge(self, readings: Readings, pci: dict[int, Any]) -> tuple[set[int], set[int]]:
        changed: set[int] = set()
        gone = set(readings.gone)
        if readings.complete:
            gone |= self._known.keys() - readings.interfaces.keys()
        gone &= self._known.keys()
        for index in gone:
            del self._known[index]
        for index, reading in readings.interfaces.items():
            if index in self._died or not (reading.name or index in self._known):
                continue
            before = self._known.get(index, Interface(reading.name))
            now = attrs.evolve(before, aspects={**before.aspects, **reading.aspects})
            if readings.complete or reading.driver is not None:
                now.name, now.driver = reading.name or before.name, reading.driver
            if reading.transceiver is not None:
                now.transceiver = reading.transceiver
            if index not in self._known or now != before:
                changed.add(index)
            self._known[index] = now
        for index, facts in pci.items():
            known = self._known.get(index)
            if known is not None and known.pci != facts:
                known.pci = facts
                changed.add(index)
        return changed, gone

    async def _sample(self) -> None:
        changed = await self._count()
        with self._host.graph.transaction():
            self._say(changed)

    async def _count(self) -> set[int]:
        """Read the counters; returns the interfaces of which one has changed."""
        if self._sampling == math.inf:
            return set()
        listed = [(index, known.name, bool(known.transceiver)) for index, known in self._known.items()]
        found = await self._in_thread(
            lambda requests, ioctl, family: self._counters.read(requests, ioctl, family, listed)
        )
        changed = set()
        for index, name, _ in listed:
            known = self._known.get(index)
            # Meanwhile the index may have gone to another interface.
            if known is not None and known.name == name and known.statistics != found.get(index, {}):
                known.statistics = found.get(index, {})
                changed.add(index)
        return changed

    async def _in_thread(self, work: Callable[[RequestSocket, Ioctl, netlink.Family | None], Any]) -> Any:
        # Asking waits for the kernel's RTNL lock, which others may hold for long.
        with self._open_requests() as requests:

            def run() -> Any:
                with Ioctl(requests.fileno()) as ioctl:
                    return work(requests, ioctl, self._family)

            return await trio.to_thread.run_sync(run, limiter=_READERS)

    # ------------------------------------------------------------------ saying

    def _say(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            self._host.graph.annotate(self._key(index), interface_metadata(self._known[index], self._names))

    def _key(self, index: int) -> Key:
        return self._host.interface_key(self._host.namespace, index)

    def _report(self, error: netlink.DecodeError) -> None:
        if not self._undecodable:
            self._host.log.warning("a message of the kernel cannot be read and is passed over", error=str(error))
        self._undecodable += 1

    def _show_status(self) -> None:
        self._host.status(
            source="ioctl" if self._family is None else "netlink",
            interfaces=len(self._known),
            readings=self._readings,
            overruns=self._lost or None,
            undecodable=self._undecodable or None,
        )


def _read_names(requests: RequestSocket, ioctl: Ioctl, family: netlink.Family | None) -> Names:
    reader = Reader(requests, ioctl, family)
    return Names(reader.names(ETH_SS_FEATURES), reader.names(ETH_SS_LINK_MODES))


def _pci(readings: Readings, buses: dict[int, str]) -> dict[int, Any]:
    """Keys of PCI functions by ifindex; of all when one was read, as a virtual function changes its physical one."""
    read = {index: reading.driver.bus for index, reading in readings.interfaces.items() if reading.driver}
    if not any(pci_facts(bus) for bus in read.values()):
        return {index: {} for index in read}
    return {index: pci_facts(bus) for index, bus in {**buses, **read}.items()}


def _interfaces() -> list[tuple[int, bytes]]:
    return [(index, os.fsencode(name)) for index, name in socket.if_nameindex()]
