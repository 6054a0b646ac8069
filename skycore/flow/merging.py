"""Several answers to one FlowQuery made one: in its order, without repetitions, cut to its window."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, final

import attrs

from skycore.flow.evaluation import decode, order_of, same_as
from skycore.flow.query import FlowQuery


@final
class Merger:
    """Takes records of several sources, each in the query's order, and gives them as one.

    Each source has left out repetitions among its own records, if the query asks for it, and flows beyond the window's
    end.  ``put`` and ``end`` say what came; ``take`` gives what nothing that is still to come can stand before.
    """

    def __init__(self, query: FlowQuery, sources: Sequence[Hashable]) -> None:
        self._order = None if query.sort_by is None else order_of(query)
        self._dedup_by = query.dedup_by
        self._seen: set[Hashable] = set()
        self._skip = query.offset
        self._left = query.limit
        self._open = dict.fromkeys(sources)
        self._numbers = {source: number for number, source in enumerate(sources)}
        self._waiting: dict[Hashable, deque[bytes]] = {source: deque() for source in sources}
        # Of each source that has something the first record: its order, the source, and its JSON.
        self._heads: list[tuple[Any, int, Hashable, bytes]] = []
        self._headless = set(sources)
        self._ready: list[bytes] = []

    @property
    def done(self) -> bool:
        """Nothing more is wanted, or nothing more can come; what ``take`` gives then is the last."""
        return self._left == 0 or not self._open

    @property
    def wanting(self) -> list[Hashable]:
        """The open sources without whose next records nothing more can be given; without an order: all open ones."""
        return [source for source in self._open if self._order is None or source in self._headless]

    def put(self, source: Hashable, records: Sequence[bytes]) -> None:
        """The next records of a source."""
        if self._order is None:
            self._ready += records
            return
        self._waiting[source].extend(records)
        if source in self._headless:
            self._advance(source)

    def end(self, source: Hashable) -> None:
        """Nothing more comes of a source."""
        self._open.pop(source, None)

    def take(self) -> list[bytes]:
        """What can be given now."""
        while self._heads and not any(source in self._headless for source in self._open):
            _, _, source, json = heapq.heappop(self._heads)
            self._ready.append(json)
            self._headless.add(source)
            self._advance(source)
        ready, self._ready = self._ready, []
        return self._window(self._first_of_each(ready))

    def _advance(self, source: Hashable) -> None:
        waiting = self._waiting[source]
        if waiting:
            assert self._order is not None
            json = waiting.popleft()
            heapq.heappush(self._heads, (self._order(decode(json)), self._numbers[source], source, json))
            self._headless.discard(source)

    def _first_of_each(self, records: list[bytes]) -> list[bytes]:
        if self._dedup_by is None:
            return records
        kept: list[bytes] = []
        for json in records:
            identity = same_as(decode(json), self._dedup_by)
            if identity is None or identity not in self._seen:
                self._seen.add(identity)
                kept.append(json)
        return kept

    def _window(self, records: list[bytes]) -> list[bytes]:
        skipped = min(self._skip, len(records))
        self._skip -= skipped
        records = records[skipped:]
        if self._left is not None:
            records = records[: self._left]
            self._left -= len(records)
        return records


def part_of(query: FlowQuery) -> FlowQuery:
    """What one of several is asked: the whole window from its start, as nobody knows what others put before it."""
    limit = None if query.limit is None else query.offset + query.limit
    return attrs.evolve(query, offset=0, limit=limit)


async def merge(
    query: FlowQuery, answers: Sequence[AsyncGenerator[Sequence[bytes]]]
) -> AsyncGenerator[Sequence[bytes]]:
    """The answers to ``part_of`` a query as the answer to the query; they are closed when it ends."""
    merger = Merger(query, range(len(answers)))
    async with AsyncExitStack() as closing:
        for answer in answers:
            await closing.enter_async_context(aclosing(answer))
        while not merger.done:
            wanting = merger.wanting
            for source in wanting if query.sort_by is not None else wanting[:1]:
                assert isinstance(source, int)
                try:
                    merger.put(source, await anext(answers[source]))
                except StopAsyncIteration:
                    merger.end(source)
            ready = merger.take()
            if ready:
                yield ready
