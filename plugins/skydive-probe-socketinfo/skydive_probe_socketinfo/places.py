"""The namespaces that are looked at: the probe's own, and those that have a node in the graph."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import Final

import attrs
import trio

from skycore.plugin import Equals, Key, Namespace, ProbeHost, netlink
from skydive_probe_socketinfo.diag import CloseSocket, ListSocket
from skydive_probe_socketinfo.inventory import Inventory, Listing

_NEWS: Final = 256
_NEWS_PAUSE: Final = 0.2
"""At most so many closed sockets are taken in at once, and then none for so many seconds.

What exceeds that, the kernel drops at no cost to us, and the next look shows it.
"""

_VIEW_PAUSE: Final = 0.5
_VIEW_SHARE: Final = 100
"""The nodes of namespaces are read again after so many seconds at least, and so many times as long as it takes."""

_OWN: Final = ""


@attrs.define(eq=False)
class Place:
    """A namespace that is looked at; ``key`` is the node that carries what is found there.

    ``open_at`` and ``passing_at`` say when the node may next be told of sockets that came or went, and of those that
    only changed between passing states (trio's clock); ``told`` is what it was told last.
    """

    key: Key
    namespace: Namespace
    lists: ListSocket
    closes: CloseSocket
    inventory: Inventory = attrs.field(factory=Inventory)
    open_at: float = -math.inf
    passing_at: float = -math.inf
    told: Listing = attrs.field(factory=lambda: Listing([], 0, 0))
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Places:
    """Keeps one Place for each namespace, and hears of the sockets that are closed there.

    ``unseen`` counts sockets that were closed before they had been seen, ``overruns`` how often the kernel dropped
    such news, ``undecodable`` how often it could not be read.  ``unreachable`` says why a path cannot be entered.
    """

    def __init__(self, host: ProbeHost, nursery: trio.Nursery) -> None:
        self._host = host
        self._nursery = nursery
        self._view = host.graph.view(Equals("Type", "netns"), ("Path",))
        self._paths: dict[str, str] = {}
        self._outdated = True
        self._pause = _VIEW_PAUSE
        self._woken = trio.Event()
        self._places = {_OWN: self._open(host.root, host.namespace)}
        nursery.start_soon(self._follow_view, name="nodes of namespaces")
        self.unreachable: dict[str, str] = {}
        self.unseen = self.overruns = self.undecodable = 0

    def close(self) -> None:
        """End it, when the tasks of the nursery have ended."""
        self._view.close()
        for place in self._places.values():
            place.lists.close()

    def all(self) -> list[Place]:
        """The places, that of the probe's own namespace first."""
        return list(self._places.values())

    def update(self) -> list[Place]:
        """Look which namespaces there are now; returns the places that are no more.

        Not while a place's sockets are being listed.
        """
        if self._outdated:
            self._read_view()
        left = [self._places.pop(id) for id in self._places.keys() - self._paths.keys() - {_OWN}]
        for place in left:
            place.scope.cancel()
            place.lists.close()
        self.unreachable = {}
        for id in self._paths.keys() - self._places.keys():
            path = self._paths[id]
            try:
                namespace = self._host.netns(path)
                # The agent's own namespace is the host, whatever other names it has.  And for a moment the path of a
                # node that is about to go may mean a namespace that has a node of its own.
                if all(namespace.key != place.namespace.key for place in self._places.values()):
                    self._places[id] = self._open(namespace.key, namespace)
            except (OSError, ValueError) as error:
                self.unreachable[path] = str(error)
        return left

    async def changed(self) -> None:
        """Return when a socket that was known has been closed, or other namespaces may be there."""
        await self._woken.wait()
        self._woken = trio.Event()

    async def _follow_view(self) -> None:
        """A namespace that we look at lives on, so it is to be let go soon after its node has gone."""
        while True:
            await self._view.changed()
            self._outdated = True
            self._woken.set()
            await trio.sleep(self._pause)

    def _read_view(self) -> None:
        begin = time.perf_counter()
        nodes = self._view.all()
        self._paths = {id: path for id, metadata in nodes if isinstance(path := metadata.get("Path"), str)}
        self._outdated = False
        # The nodes carry our own lists, so there may be much to decode.
        self._pause = max(_VIEW_PAUSE, _VIEW_SHARE * (time.perf_counter() - begin))

    def _open(self, key: Key, namespace: Namespace) -> Place:
        with ExitStack() as stack:
            lists = ListSocket(lambda call: self._host.in_netns(namespace.path, call))
            stack.callback(lists.close)
            closes = CloseSocket(lambda call: self._host.in_netns(namespace.path, call))
            place = Place(key, namespace, lists, closes)
            self._nursery.start_soon(self._listen, place, name=f"closed sockets of {namespace.path}")
            stack.pop_all()
        return place

    async def _listen(self, place: Place) -> None:
        """Take closed sockets out of the place's inventory."""
        try:
            with place.scope:
                while True:
                    await place.closes.wait()
                    try:
                        closed, lost = place.closes.closed(_NEWS)
                    except netlink.DecodeError:
                        self.undecodable += 1
                        continue
                    self.overruns += lost
                    self.unseen += place.inventory.close(closed)
                    if place.inventory.changed:
                        self._woken.set()
                    await trio.sleep(_NEWS_PAUSE)
        finally:
            place.closes.close()
