"""The contract of stores of API objects.

Objects are small, few, and changed by people: a store has all of them in memory and answers reads from there, and a
change is durable before the call that makes it returns.  Who follows the objects has a Watch, which never delays the
store and costs memory by the number of objects, not of changes.  ``skycore.testing.resources`` holds every store to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias, final

import attrs
import msgspec
import trio

from skycore.bus import ChangeLog, Cursor

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode

Action: TypeAlias = Literal["created", "updated", "deleted", "expired"]


@final
@attrs.frozen
class Resource:
    """One API object.

    ``json`` is the object as JSON.  ``created_at`` and ``expires_at`` are milliseconds since the epoch; an object
    without ``expires_at`` stays until it is deleted.
    """

    kind: str
    id: str
    json: bytes
    created_at: int
    expires_at: int | None = None

    @property
    def value(self) -> dict[str, Any]:
        """The object decoded; a new dict at each call."""
        return _decode(self.json)

    def with_value(self, value: Mapping[str, Any]) -> Resource:
        return attrs.evolve(self, json=_encode(value))


@final
@attrs.frozen
class Event:
    """What became of an object; with ``deleted`` and ``expired`` the object is as it was at last."""

    action: Action
    resource: Resource


class ResourceStore(Protocol):
    """A store of API objects.

    ``open`` and ``close`` block; reads answer at once; changes are awaited.  Changes raise StorageError when the object
    could not be made durable; then nothing was changed.  ``fault`` says why the store cannot be used, so that what it
    holds is not known; None when it can.
    """

    fault: str | None

    def open(self) -> None:
        """Find what is stored; what has expired meanwhile is gone.  Raises StorageError."""
        ...

    def close(self) -> None:
        """Let go of everything.  Idempotent."""
        ...

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let objects expire (and follow what others change, where the store is shared), until cancelled."""
        ...

    def list(self, kind: str) -> Mapping[str, Resource]:
        """All objects of a kind by ID, in the order of their creation."""
        ...

    def get(self, kind: str, id: str) -> Resource | None: ...

    async def create(self, resource: Resource) -> None:
        """Add an object.  Raises DuplicatedResource when its kind and ID are taken."""
        ...

    async def replace(self, resource: Resource) -> None:
        """Give an object another value.  Raises ResourceNotFound when it is not there."""
        ...

    async def delete(self, kind: str, id: str) -> Resource:
        """Remove an object and return it.  Raises ResourceNotFound when it is not there."""
        ...

    def watch(self, *kinds: str) -> Watch:
        """Follow what becomes of objects of these kinds from now on; close it when done."""
        ...


@final
class Watch:
    """Who follows objects: what it has not read yet is the last event of each object, however many there were."""

    def __init__(self, log: ChangeLog[Event], kinds: tuple[str, ...]) -> None:
        self._kinds = frozenset(kinds)
        self._cursor: Cursor[Event] = log.cursor()

    def read(self) -> list[Event]:
        """The events since the last read, of each object the last one; never waits."""
        return [event for event in self._cursor.read().changes if event.resource.kind in self._kinds]

    async def wait(self) -> None:
        """Return when something may have to be read (at once when there is; always a checkpoint)."""
        await self._cursor.wait()

    def close(self) -> None:
        self._cursor.close()


def event_log() -> ChangeLog[Event]:
    """The log that a store appends to and its watches read."""
    return ChangeLog(
        key=lambda event: (event.resource.kind, event.resource.id),
        size=lambda event: len(event.resource.json),
    )


def in_order(resources: Iterator[Resource]) -> dict[tuple[str, str], Resource]:
    """Objects by kind and ID, in the order of their creation."""
    ordered = sorted(resources, key=lambda one: (one.created_at, one.id))
    return {(one.kind, one.id): one for one in ordered}
