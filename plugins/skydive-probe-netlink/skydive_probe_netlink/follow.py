"""From the kernel's messages to the known interfaces: inventory, changes, regular refresh."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator
from typing import Final

import attrs
import trio

from skycore.plugin import NodeView, ProbeHost, netlink
from skydive_probe_netlink import codec
from skydive_probe_netlink.metrics import Sampler
from skydive_probe_netlink.model import Interfaces
from skydive_probe_netlink.peers import PeerNamespaces, names_peer
from skydive_probe_netlink.programs import Programs
from skydive_probe_netlink.publish import Publisher
from skydive_probe_netlink.socket import RequestSocket
from skydive_probe_netlink.sources import Sources
from skydive_probe_netlink.tables import OF_LINKS, Tables

GROUPS: Final = (codec.RTNLGRP_LINK, codec.RTNLGRP_IPV4_IFADDR, codec.RTNLGRP_IPV6_IFADDR, codec.RTNLGRP_NSID)
"""What the event socket must hear."""

_NUMBERS: Final = frozenset({codec.RTM_NEWNSID, codec.RTM_DELNSID})
_INVENTORY_TRIES: Final = 4
_INVENTORY_PAUSE: Final = 0.05
"""Seconds before an interrupted inventory is tried again, doubled each time."""
_INVENTORY_RETRY: Final = 2.0
"""Seconds until the next inventory when each try of the last one was interrupted."""

_PACE: Final = 0.001
"""Least seconds between two readings of the event socket; the kernel keeps what comes meanwhile."""
_REST: Final = 1.5
"""How much longer than the work on what was read the pause after it is."""
_SLICE: Final = 128
_SLICES: Final = 32
"""How many messages are read before others get their turn, and how many times that before they are said."""
_HALF_VETH_PAUSE: Final = 0.1
"""Seconds after which a veth announced without its peer is read again."""
_NAME_PAUSE: Final = 0.5
"""Seconds in which changes of the graph are gathered before names of peer namespaces are compared."""
_PEER_SEARCH_PAUSE: Final = 0.1
"""Least seconds between two searches for peer namespaces, as each reads every netns node."""
_VIEW_SECONDS: Final = 30.0
"""Seconds after which the netns nodes are looked at though nobody asks: a path may mean something by now."""


class Follower:
    """Keeps the graph in step with one namespace.

    ``interval`` is the number of seconds between two samples of the counters, infinite for none; ``hints`` hears the
    groups of ``tables``.
    """

    def __init__(
        self,
        host: ProbeHost,
        interval: float,
        events: netlink.EventSocket,
        hints: netlink.EventSocket,
        requests: RequestSocket,
        view: NodeView,
    ) -> None:
        self._host = host
        self._interval = interval
        self._events = events
        self._requests = requests
        self._view = view
        self._interfaces = Interfaces()
        self._sampler = Sampler()
        self._peers = PeerNamespaces(host, requests, view)
        self._tables = Tables(hints, requests, self._say_tables)
        programs = Programs()
        self._sources = Sources(host, self._interfaces, self._peers, requests, self._tables, programs)
        self._tables.prepare = self._sources.prepare
        self._publisher = Publisher(
            host, self._interfaces, self._sampler, self._peers, self._tables, programs, requests.fileno()
        )
        self._peers_wanted = trio.Event()
        self._refresh_wanted = trio.Event()
        self._inventory_due = math.inf
        self._inventories = 0
        self._overruns = 0
        self._undecodable = 0
        self._shown_failures: dict[str, str] = {}

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Call ``started`` when the first inventory is in the graph, and go on until cancelled."""
        try:
            await self._take_inventory()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._refresh_regularly)
                nursery.start_soon(self._search_peers)
                nursery.start_soon(self._tables.run)
                await self._follow()
        finally:
            self._sources.close()

    async def _follow(self) -> None:
        while True:
            with trio.move_on_at(self._inventory_due):
                await self._events.wait()
            began = time.perf_counter()
            complete = more = True
            for _ in range(_SLICES):
                taken, more = self._take_events()
                complete &= taken
                if not (complete and more):
                    break
                await trio.lowlevel.checkpoint()
            if complete and trio.current_time() < self._inventory_due:
                self._say()
                # What comes in a burst is said together, and takes a part of a core only.
                await trio.sleep(max(_PACE, _REST * (time.perf_counter() - began)))
            else:
                await self._take_inventory()

    def _take_events(self) -> tuple[bool, bool]:
        """Apply a slice of what waits at the socket; returns whether nothing was lost, and whether more may wait."""
        events = self._events.read(_SLICE)
        complete = not events.lost
        for body in self._decode(events.buffers):
            if isinstance(body, codec.Overrun):
                complete = False
            elif isinstance(body, codec.NamespaceId):
                self._renumber(body)
            else:
                self._interfaces.apply(body)
        if events.buffers:
            self._tables.touch(OF_LINKS)
        self._overruns += not complete
        return complete, len(events.buffers) == _SLICE

    def _renumber(self, body: codec.NamespaceId) -> None:
        if not body.gone:
            self._peers.assigned()
            self._peers_wanted.set()
        elif body.nsid is not None:
            self._peers.forget(body.nsid)
            self._sources.forget(body.nsid)
            self._interfaces.mark(self._interfaces.over({body.nsid}))

    async def _take_inventory(self) -> None:
        """Read everything anew; the graph then holds this and nothing else."""
        for attempt in range(_INVENTORY_TRIES):
            if attempt:
                await trio.sleep(_INVENTORY_PAUSE * 2 ** (attempt - 1))
            self._empty_socket()
            dumps = [await self._requests.dump(self._ask_links), await self._requests.dump(codec.address_dump_request)]
            complete = not any(dump.interrupted for dump in dumps)
            if complete:
                break
        # Without a pause in the changes no inventory is known to be whole: what was read is true, may lack something,
        # and is said without taking anything back.
        self._inventory_due = math.inf if complete else trio.current_time() + _INVENTORY_RETRY
        links, addresses = [await self._read(dump) for dump in dumps]
        self._interfaces.replace(
            [attrs.evolve(body, counters=None) for body in links if isinstance(body, codec.Link)],
            [body for body in addresses if isinstance(body, codec.Address)],
            complete=complete,
        )
        self._sample(links)
        # Meanwhile others may have said the links without what is found here.
        found = await self._peers.search()
        self._interfaces.mark(self._interfaces.over(found | self._peers.named_anew()))
        self._interfaces.mark(await self._tables.load_all())
        self._interfaces.mark(self._sources.find_programs())
        self._inventories += 1
        if complete:
            dirty = self._interfaces.take_dirty()
            self._publisher.say_all()
            self._follow_up(dirty)
        else:
            self._say()
        self._show_status()

    def _empty_socket(self) -> None:
        """Take what waits, as far as an inventory does not show it.

        After an overrun the kernel adds nothing more until the socket has been emptied.
        """
        for _ in range(256):
            events = self._events.read()
            for body in self._decode(events.buffers, only=_NUMBERS):
                if isinstance(body, codec.NamespaceId):
                    self._renumber(body)
            if not events.buffers and not events.lost:
                return

    def _ask_links(self, sequence: int) -> bytes:
        return codec.link_dump_request(sequence, counters=self._interval < math.inf)

    async def _refresh_regularly(self) -> None:
        """Sample the counters, and see what the kernel does not announce."""
        due = trio.current_time() + self._interval
        while True:
            with trio.move_on_at(due):
                await self._refresh_wanted.wait()
                await trio.sleep(_HALF_VETH_PAUSE)
            self._refresh_wanted = trio.Event()
            sampling = trio.current_time() >= due
            if sampling:
                due = max(due, trio.current_time() - self._interval) + self._interval
            elif not self._interfaces.half_veths():
                continue
            since = self._interfaces.clock
            links = await self._read(await self._requests.dump(self._ask_links))
            self._interfaces.refresh((body for body in links if isinstance(body, codec.Link)), since)
            if sampling:
                self._interfaces.mark(self._sample(links))
                self._interfaces.mark(self._sources.find_programs())
                self._tables.touch()
            self._say()

    def _sample(self, bodies: Iterable[codec.Body]) -> set[int]:
        counters = {
            body.index: body.counters
            for body in bodies
            if isinstance(body, codec.Link) and body.counters is not None and body.index in self._interfaces.links
        }
        return self._sampler.sample(time.time_ns() // 1_000_000, counters)

    async def _search_peers(self) -> None:
        """Find the namespaces behind the numbers of links, as they appear in the graph."""
        while True:
            self._peers_wanted = trio.Event()
            if self._unknown_numbers():
                found = await self._peers.search()
                # A number that never becomes known must not keep the names of the others from being followed.
                self._interfaces.mark(self._interfaces.over(found | self._peers.named_anew()))
                self._say()
                await trio.sleep(_PEER_SEARCH_PAUSE)
                with trio.move_on_after(_VIEW_SECONDS):
                    await _first(self._view.changed, self._peers_wanted.wait)
            else:
                with trio.move_on_after(_VIEW_SECONDS):
                    if self._peers.named:
                        await _first(self._view.changed, self._peers_wanted.wait)
                        await trio.sleep(_NAME_PAUSE)
                    else:
                        await self._peers_wanted.wait()
                self._interfaces.mark(self._interfaces.over(self._peers.named_anew()))
                self._say()

    def _unknown_numbers(self) -> bool:
        return any(map(self._lacks_peer, self._interfaces.links.values()))

    def _lacks_peer(self, link: codec.Link) -> bool:
        return link.lower_nsid is not None and names_peer(link) and self._peers.get(link.lower_nsid) is None

    def _say_tables(self, changed: set[int]) -> None:
        self._interfaces.mark(changed)
        self._say()
        if self._shown_failures != self._tables.failures:
            self._show_status()

    def _say(self) -> None:
        dirty = self._interfaces.take_dirty()
        if dirty:
            self._publisher.say(dirty)
            self._follow_up(dirty)

    def _follow_up(self, said: Iterable[int]) -> None:
        """Start what the links just said still need."""
        for index in said:
            link = self._interfaces.links.get(index)
            if link is None:
                continue
            if self._lacks_peer(link):
                self._peers_wanted.set()
            if link.kind == "veth" and not link.lower:
                self._refresh_wanted.set()

    async def _read(self, dump: netlink.Dump) -> list[codec.Body]:
        """The messages of a dump, without holding up the loop."""
        bodies: list[codec.Body] = []
        for buffer in dump.buffers:
            bodies += self._decode([buffer], counters=True)
            await trio.lowlevel.checkpoint()
        return bodies

    def _decode(
        self, buffers: Iterable[bytes], *, counters: bool = False, only: Container[int] | None = None
    ) -> Iterator[codec.Body]:
        """The messages of some buffers (of the types in ``only``); what cannot be read is reported and passed over."""
        for buffer in buffers:
            try:
                for frame in netlink.frames(buffer):
                    if only is not None and frame.type not in only:
                        continue
                    try:
                        body = codec.decode(frame, counters=counters)
                    except netlink.DecodeError as error:
                        self._report(error)
                    else:
                        if body is not None:
                            yield body
            except netlink.DecodeError as error:
                self._report(error)

    def _report(self, error: netlink.DecodeError) -> None:
        if not self._undecodable:
            self._host.log.warning("a message of the kernel cannot be read and is passed over", error=str(error))
        self._undecodable += 1

    def _show_status(self) -> None:
        self._shown_failures = dict(self._tables.failures)
        self._host.status(
            interfaces=len(self._interfaces.links),
            inventories=self._inventories,
            overruns=self._overruns,
            undecodable=self._undecodable or None,
            unread=dict(self._tables.failures) or None,
        )


async def _first(*waits: Callable[[], Awaitable[None]]) -> None:
    """Return when one of them has."""
    async with trio.open_nursery() as nursery:

        async def race(wait: Callable[[], Awaitable[None]]) -> None:
            await wait()
            nursery.cancel_scope.cancel()

        for wait in waits:
            nursery.start_soon(race, wait)
