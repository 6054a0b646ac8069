"""Many readers of one log: what changed is encoded once, and the same bytes go to all who keep up.

A *feed* reads every change of a picture's log and keeps the newest frames, joined to chunks, in a bounded ring.  Its
*followers* each have a place in the ring.  One that keeps up is handed each chunk without waiting; one that does not is
served by a task of its own, from the ring as long as that reaches back, else with the newest revision of each element
that it missed.  Nobody waits for anybody.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, final
from uuid import uuid4

import attrs
import trio

from skycore.bus import Batch, Cursor
from skycore.graph.element import Revision, build_revision
from skycore.server.envelope import Message, Protocol, encode
from skycore.server.handshake import GRAPH, Client
from skycore.server.partial import partial_update
from skycore.server.picture import Picture
from skycore.server.websocket import WebSocket, encode_frame

SHORTEST_TICK: Final = 0.005
LONGEST_TICK: Final = 0.02
"""Seconds between two sends of one feed under load; when idle, a change is sent at once."""
_CHUNK = 128 << 10
_AT_A_TIME = 1024
_HANDED_AT_A_TIME = 32
_CACHED = 4 << 20


@final
@attrs.frozen
class Style:
    """How messages are written for a client; clients of one style share frames."""

    protocol: Protocol = "json"
    partial: bool = False
    window_bits: int = 0


@final
class Frames:
    """Makes the frames of one style; a frame that several feeds need is made once."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._known: OrderedDict[tuple[str, int, str], bytes] = OrderedDict()
        self._size = 0

    def of(self, revision: Revision, event: str) -> bytes:
        """The frame that tells of a revision as a whole."""
        key = (revision.id, revision.revision, event)
        frame = self._known.get(key)
        if frame is None:
            frame = self._known[key] = self.of_obj(event, revision.json)
            self._size += len(frame)
            while self._size > _CACHED:
                self._size -= len(self._known.popitem(last=False)[1])
        return frame

    def of_obj(self, event: str, obj: bytes) -> bytes:
        style = self._style
        message = Message(GRAPH, event, str(uuid4()), 200, obj)
        return encode_frame(encode(message, style.protocol), style.protocol == "json", style.window_bits)


@final
@attrs.frozen(eq=False)
class Chunk:
    """Frames joined; ``end`` is the place in the log after the last of them, ``count`` how many they are."""

    data: bytes
    end: int
    count: int


@final
class Feed:
    """The frames of one picture in one style, for all who follow it; at most ``bound`` bytes of them are kept."""

    def __init__(self, picture: Picture, style: Style, frames: Frames) -> None:
        self.picture = picture
        self.followers: dict[Follower, None] = {}
        self._style = style
        self._frames = frames
        self._cursor: Cursor[Revision] = picture.log.cursor(every=True)
        self._chunks: deque[Chunk] = deque()
        self._size = 0
        self.bound = 1 << 20
        # The number of the first chunk in the ring; numbers go on for ever.
        self._first = 0
        self._joining: dict[int, list[Follower]] = {}
        self._told: dict[str, Revision] = {}

    @property
    def end(self) -> int:
        """The number of the chunk that comes next."""
        return self._first + len(self._chunks)

    def chunk(self, number: int) -> Chunk | None:
        """A chunk that exists; None when the ring has let go of it."""
        return self._chunks[number - self._first] if number >= self._first else None

    async def run(self) -> None:
        """Read the log and hand out what is new, until cancelled; closes its place in the log then."""
        try:
            while True:
                await self._cursor.wait()
                began = time.monotonic()
                self._read()
                await self._hand_out()
                # Under load, larger portions: what a send costs depends little on its size.
                took = time.monotonic() - began
                await trio.sleep(min(max(SHORTEST_TICK, 4 * took), LONGEST_TICK))
        finally:
            self.close()

    def close(self) -> None:
        """Give up the feed's place in the log; idempotent."""
        self._cursor.close()

    async def _hand_out(self) -> None:
        for count, follower in enumerate(list(self.followers), 1):
            follower.hand_over()
            if count % _HANDED_AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()

    def join(self, follower: Follower, position: int) -> None:
        """Have a follower, that knows everything before ``position``, get what comes from there on."""
        follower.next = None
        if position == self._cursor.position:
            follower.next = self.end
        else:
            self._joining.setdefault(position, []).append(follower)

    def leave(self, follower: Follower) -> None:
        """Have no more to do with a follower; idempotent."""
        self.followers.pop(follower, None)
        for position, joining in list(self._joining.items()):
            if follower in joining:
                joining.remove(follower)
            if not joining:
                del self._joining[position]

    def _read(self) -> None:
        """Encode what came to the log, up to the next place where somebody joins."""
        ends = [position - self._cursor.position for position in self._joining if position > self._cursor.position]
        batch = self._cursor.read(min(_AT_A_TIME, *ends) if ends else _AT_A_TIME)
        if batch.lost:
            # Nobody can be told every change any more: each gets the newest of what it missed.
            self._first, self._size = self.end + 1, 0
            self._chunks.clear()
            self._told.clear()
        else:
            self._encode(batch)
        for position in [position for position in self._joining if position <= batch.end]:
            for follower in self._joining.pop(position):
                follower.next = self.end if position == batch.end else self._first - 1
                follower.hand_over()

    def _encode(self, batch: Batch[Revision]) -> None:
        waiting: list[bytes] = []
        size = 0
        for number, revision in enumerate(batch.changes, batch.start + 1):
            frame = self._frame(revision, event_of(revision, number - 1))
            waiting.append(frame)
            size += len(frame)
            if size >= _CHUNK:
                self._add(Chunk(b"".join(waiting), number, len(waiting)))
                waiting, size = [], 0
        if waiting:
            self._add(Chunk(b"".join(waiting), batch.end, len(waiting)))

    def _add(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk.data)
        while self._size > self.bound and len(self._chunks) > 1:
            self._size -= len(self._chunks.popleft().data)
            self._first += 1

    def _frame(self, revision: Revision, event: str) -> bytes:
        if not self._style.partial:
            return self._frames.of(revision, event)
        before = self._told.pop(revision.id, None)
        if revision.deleted_at is None:
            self._told[revision.id] = revision
            if before is not None and event.endswith("Updated"):
                update = partial_update(before, revision)
                if update is not None:
                    return self._frames.of_obj(event.replace("Updated", "PartiallyUpdated"), update)
        return self._frames.of(revision, event)

    def missed(self, cursor: Cursor[Revision]) -> tuple[int, Iterator[bytes]]:
        """The newest of all that changed since a reader's last look: how many changes that leaves out, and frames."""
        batch = cursor.read()
        return batch.end - batch.start - len(batch.changes), self._newest(batch)

    def _newest(self, batch: Batch[Revision]) -> Iterator[bytes]:
        changes = batch.changes
        if len(changes) < batch.end - batch.start:
            # Of what was born again the end was left out, and a client that knows the former life takes no second one.
            again = [one for one in changes if one.deleted_at is None and one.reborn and one.born >= batch.start]
            changes = presentable([*map(tombstone, again), *changes])
        for revision in changes:
            yield self._frames.of(revision, event_of(revision, batch.start))


@final
class Follower:
    """One client's place in a feed.

    ``run`` is the task that serves it when it does not keep up.  ``turn`` is held by whoever sends messages to it.
    """

    def __init__(self, socket: WebSocket, client: Client, feed: Feed, turn: trio.Lock) -> None:
        self.client = client
        self.next: int | None = None
        self.turn = turn
        self._socket = socket
        self._behind = trio.Event()
        self._feed = feed
        self._cursor = feed.picture.log.cursor()
        feed.followers[self] = None
        feed.join(self, self._cursor.position)

    def move(self, feed: Feed) -> None:
        """Follow a feed from now on, as one who knows the present state of its picture; only by who has the turn."""
        self.close()
        self._feed = feed
        self._cursor = feed.picture.log.cursor()
        feed.followers[self] = None
        feed.join(self, self._cursor.position)

    def close(self) -> None:
        """Follow nothing any more."""
        self._feed.leave(self)
        self._cursor.close()

    def hand_over(self) -> None:
        """Send all that can be sent without waiting; the rest is left to ``run``."""
        if self.next is None or self._behind.is_set() or self.turn.locked():
            return
        while self.next < self._feed.end:
            chunk = self._feed.chunk(self.next)
            if chunk is None or not self._socket.offer_frames(chunk.data):
                self._behind.set()
                return
            self._took(chunk)
            if self._socket.owes:
                self._behind.set()
                return

    def _took(self, chunk: Chunk) -> None:
        assert self.next is not None
        self.next += 1
        self._cursor.position = chunk.end
        self.client.sent += chunk.count

    async def run(self) -> None:
        """Bring the client what it could not take at once.  Raises WebSocketClosed."""
        while True:
            await self._behind.wait()
            self._behind = trio.Event()
            async with self.turn:
                await self._send_rest()
            self.hand_over()

    async def _send_rest(self) -> None:
        await self._socket.send_frames(b"")
        while self.next is not None and self.next < self._feed.end:
            chunk = self._feed.chunk(self.next)
            if chunk is not None:
                self._took(chunk)
                await self._socket.send_frames(chunk.data)
                continue
            left_out, frames = self._feed.missed(self._cursor)
            self.client.coalesced += left_out
            self._feed.join(self, self._cursor.position)
            for count, data in joined(frames):
                self.client.sent += count
                await self._socket.send_frames(data)


def joined(frames: Iterable[bytes], size: int = 64 << 10) -> Iterator[tuple[int, bytes]]:
    """Frames put together to portions of some 64 KiB, with the number of frames in each."""
    waiting: list[bytes] = []
    held = 0
    for frame in frames:
        waiting.append(frame)
        held += len(frame)
        if held >= size:
            yield len(waiting), b"".join(waiting)
            waiting, held = [], 0
    if waiting:
        yield len(waiting), b"".join(waiting)


def event_of(revision: Revision, since: int) -> str:
    """What a change is to somebody who knows all before a place in the log."""
    what = "Node" if revision.parent is None else "Edge"
    if revision.deleted_at is not None:
        return what + "Deleted"
    return what + ("Added" if revision.born >= since else "Updated")


_ORDER: Final[tuple[Callable[[Revision], bool], ...]] = (
    lambda revision: revision.deleted_at is not None and revision.parent is not None,
    lambda revision: revision.deleted_at is not None and revision.parent is None,
    lambda revision: revision.deleted_at is None and revision.parent is None,
    lambda revision: revision.deleted_at is None and revision.parent is not None,
)


def presentable(changes: list[Revision]) -> list[Revision]:
    """Changes in an order that makes sense to a client where some were left out: edges go, nodes go, nodes, edges."""
    return [revision for wanted in _ORDER for revision in changes if wanted(revision)]


def tombstone(revision: Revision) -> Revision:
    """The end of an element's former life, for somebody who was not told of it."""
    return build_revision(
        id=revision.id,
        metadata=revision.metadata_json,
        revision=revision.revision,
        host=revision.host,
        origin=revision.origin,
        created_at=revision.created_at,
        updated_at=revision.created_at,
        deleted_at=revision.created_at,
        parent=revision.parent,
        child=revision.child,
    )
