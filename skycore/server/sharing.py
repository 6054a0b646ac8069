"""Pictures and feeds, each made once for all clients that want the same, and let go with the last of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Final, final

import attrs
import trio

from skycore.bus import Cursor
from skycore.graph.element import Revision
from skycore.graph.graph import Graph
from skycore.graph.pin import Pin
from skycore.gremlin import QueryContext
from skycore.server.fanout import LONGEST_TICK, SHORTEST_TICK, Feed, Frames, Style
from skycore.server.filtered import ElementPicture, QueryPicture, graph_of
from skycore.server.gremlin_filter import ByElement, Everything, FilterRefused, read_filter
from skycore.server.picture import Changes, PartOfGraph, Picture, WholeGraph

_MOST_FILTERS: Final = 1024
_AT_A_TIME: Final = 512
# Bytes of frames that are kept for slower readers: by all feeds together, and by one at most and at least.
_RINGS, _LARGEST_RING, _SMALLEST_RING = 64 << 20, 8 << 20, 1 << 20


@attrs.define(eq=False)
class _Filtered:
    """A picture that several may use; ``early`` holds what changed while its first state was being looked for."""

    text: str
    picture: PartOfGraph
    users: int = 1
    early: dict[str, Revision] | None = attrs.field(factory=dict)
    ready: trio.Event = attrs.field(factory=trio.Event)
    fault: str = ""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define(eq=False)
class _Running:
    feed: Feed
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@final
class Sharing:
    """All pictures and feeds of one graph; ``run`` is started in a nursery before anything is asked for."""

    def __init__(self, graph: Graph, queries: QueryContext) -> None:
        self._graph = graph
        self._queries = queries
        self._whole = WholeGraph(graph)
        self._filtered: dict[str, _Filtered] = {}
        self._feeds: dict[tuple[Picture, Style], _Running] = {}
        self._frames: dict[Style, Frames] = {}
        self._cursor: Cursor[Revision] | None = None
        self._pin: Pin | None = None
        self._opened = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep pictures and feeds up to date until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self._follow()

    def _start(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("Sharing.run is not running")
        return self._nursery

    # ------------------------------------------------------------------ pictures

    async def picture(self, text: str) -> Picture:
        """The picture of a Gremlin filter (empty: the whole graph); to be given back by ``release``.

        Raises FilterRefused.
        """
        known = self._filtered.get(text)
        if known is None:
            selection = read_filter(text, self._queries.planner)
            if isinstance(selection, Everything):
                return self._whole
            if len(self._filtered) >= _MOST_FILTERS:
                raise FilterRefused(f"more than {_MOST_FILTERS} different filters are in use; use one that others use")
            if isinstance(selection, ByElement):
                known = _Filtered(text, ElementPicture(self._graph, selection))
            else:
                known = _Filtered(text, QueryPicture(self._graph, text, selection, self._queries))
            self._filtered[text] = known
            self._open()
            self._start().start_soon(self._keep, known)
        else:
            known.users += 1
        try:
            await known.ready.wait()
            if known.fault:
                raise FilterRefused(known.fault)
            if isinstance(known.picture, QueryPicture):
                await known.picture.refresh()
        except BaseException:
            self.release(known.picture)
            raise
        return known.picture

    def release(self, picture: Picture) -> None:
        """One user less."""
        for text, known in list(self._filtered.items()):
            if known.picture is picture:
                known.users -= 1
                if known.users == 0:
                    known.scope.cancel()
                    del self._filtered[text]
        if not self._filtered:
            self._close()

    async def _keep(self, known: _Filtered) -> None:
        """Find a picture's first state, then run what it needs to run."""
        with known.scope:
            try:
                found = await graph_of(known.text, self._queries)
            except FilterRefused as error:
                known.fault = str(error)
                known.ready.set()
                return
            known.picture.fill(found.nodes, found.edges)
            early, known.early = known.early, None
            known.picture.follow(Changes(self._graph, early or {}, {}))
            known.ready.set()
            if isinstance(known.picture, QueryPicture):
                await known.picture.run()

    # ------------------------------------------------------------------ following the graph

    def _open(self) -> None:
        if self._cursor is None:
            self._cursor = self._graph.log.cursor()
            self._pin = Pin()
            self._graph.pins.add(self._pin)
            self._opened.set()

    def _close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
            self._opened = trio.Event()
        if self._pin is not None:
            self._graph.pins.discard(self._pin)
            self._pin = None

    async def _follow(self) -> None:
        while True:
            await self._opened.wait()
            cursor = self._cursor
            if cursor is None:
                continue
            await cursor.wait()
            began = time.monotonic()
            newest, before = self._read()
            ids = iter(newest)
            while part := {id: newest[id] for id in islice(ids, _AT_A_TIME)}:
                self._work_in(Changes(self._graph, part, before))
                await trio.lowlevel.checkpoint()
            took = time.monotonic() - began
            await trio.sleep(min(max(SHORTEST_TICK, 2 * took), LONGEST_TICK))

    def _read(self) -> tuple[Mapping[str, Revision], Mapping[str, Revision | None]]:
        if self._cursor is None or self._cursor.closed or self._pin is None:
            return {}, {}
        newest = {revision.id: revision for revision in self._cursor.read().changes}
        before = self._pin.elements
        self._graph.pins.discard(self._pin)
        self._pin = Pin()
        self._graph.pins.add(self._pin)
        return newest, before

    def _work_in(self, changes: Changes) -> None:
        for known in self._filtered.values():
            if known.early is not None:
                known.early.update(changes.newest)
            else:
                known.picture.follow(changes)

    async def catch_up(self, picture: Picture) -> None:
        """Have a picture show what is in the graph now."""
        if self._cursor is not None and self._cursor.pending <= _AT_A_TIME:
            self._work_in(Changes(self._graph, *self._read()))
        if isinstance(picture, QueryPicture):
            await picture.refresh()
        else:
            await trio.lowlevel.checkpoint()

    # ------------------------------------------------------------------ feeds

    def feed(self, picture: Picture, style: Style) -> Feed:
        """The feed of a picture in a style; ``settle`` is to be called when a follower has left it."""
        running = self._feeds.get((picture, style))
        if running is None:
            frames = self._frames.setdefault(style, Frames(style))
            running = self._feeds[picture, style] = _Running(Feed(picture, style, frames))
            self._start().start_soon(partial(_run, running))
            self._share_memory()
        return running.feed

    def settle(self) -> None:
        """Let go of feeds that nobody follows."""
        for key, running in list(self._feeds.items()):
            if not running.feed.followers:
                running.scope.cancel()
                del self._feeds[key]
        self._share_memory()
        styles = {style for _, style in self._feeds}
        self._frames = {style: frames for style, frames in self._frames.items() if style in styles}

    def _share_memory(self) -> None:
        each = _RINGS // max(1, len(self._feeds))
        for running in self._feeds.values():
            running.feed.bound = max(_SMALLEST_RING, min(_LARGEST_RING, each))

    def filters(self) -> Iterable[str]:
        """The filters in use."""
        return self._filtered.keys()


async def _run(running: _Running) -> None:
    with running.scope:
        await running.feed.run()
