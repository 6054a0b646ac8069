"""What a store is: where an analyzer keeps the graph's past.

A store is a class, found by its entry point in the group ``skycore.storage``, whose name is the word that the
configuration gives as backend::

    class ExampleStore:
        section = "storage.example"              # where its settings stand in the configuration

        @attrs.frozen
        class Settings:
            host: str = "127.0.0.1:9200"

        def __init__(self, settings: Settings) -> None: ...

All methods block and are called in worker threads, never on the event loop.  Any of them may be called while
another one runs in another thread; ``commit`` alone has one caller at a time.  Whatever goes wrong with the
disk, the server behind or the data is raised as StorageError, with the reason and what to do about it.

A store passes the tests of ``skycore.testing.storage.StorageConformance``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol, TypeAlias, final

import attrs

from skycore.graph.element import Revision
from skycore.graph.view import GraphView


@final
@attrs.frozen
class RevisionRecord:
    """One revision of an element, or its tombstone."""

    revision: Revision


@final
@attrs.frozen
class Mark:
    """All of ``epoch`` of ``origin`` up to and including ``seq`` is in this commit or in earlier ones.

    An agent's acknowledgement is sent after the commit that holds its mark, never before.
    """

    origin: str
    epoch: int
    seq: int


@final
@attrs.frozen
class Gap:
    """``lost`` revisions of ``origin``, made in [start_ms, end_ms], never reached the store (0: unknown how many)."""

    origin: str
    start_ms: int
    end_ms: int
    lost: int


@final
@attrs.frozen
class StaleInterval:
    """What ``claimant`` of ``origin`` said could not be vouched for in [start_ms, end_ms[.

    An empty ``claimant`` means all that comes from the origin.  ``end_ms`` is None while it lasts; a later
    record with the same origin, claimant and start closes the interval.
    """

    origin: str
    claimant: str
    start_ms: int
    end_ms: int | None


Record: TypeAlias = RevisionRecord | Mark | Gap | StaleInterval


class Store(Protocol):
    """The contract; it includes ``skycore.graph.view.HistoryReader``."""

    section: ClassVar[str]

    def open(self) -> None:
        """Make the store ready; called once, before anything else.

        Raises StorageError when it is in use by another process, damaged, or written by a newer version.  What
        is there already is never deleted.
        """
        ...

    def close(self) -> None:
        """Let go of everything.  Idempotent; every other method raises StorageError afterwards."""
        ...

    def commit(self, records: Sequence[Record]) -> None:
        """Store the records, all or none; they survive the death of this process once this has returned.

        Revisions of one element come in ascending order.  Repetitions change nothing: a revision of an element
        that is there already, a lower mark, a gap or an interval as before.  When it raises, nothing was
        stored and the same call may be repeated.
        """
        ...

    def sync(self) -> None:
        """What was committed before this call survives a power cut once this has returned; asked for each second."""
        ...

    def current(self) -> Iterator[Revision]:
        """The last revision of each element that lives; for the analyzer's start.  Read it to its end soon."""
        ...

    def marks(self) -> dict[tuple[str, int], int]:
        """The highest mark of each (origin, epoch)."""
        ...

    def highest_revision(self) -> int:
        """The highest revision number ever stored, 0 when there is none."""
        ...

    def graph_at(self, at: int, duration: int = 0) -> GraphView:
        """The graph as it was at ``at`` (milliseconds since the epoch).

        Of each element the highest revision is taken whose UpdatedAt (DeletedAt for a tombstone) is not later
        than ``at``.  An element deleted before ``at − duration`` is left out; one deleted in
        [at − duration, at] is there as its tombstone.
        """
        ...

    def revisions(self, id: str) -> list[Revision]:
        """All revisions of one element, tombstones among them, lowest first; empty when it is not known."""
        ...

    def gaps(self, start: int, end: int) -> list[Gap]:
        """The gaps that overlap [start, end] (milliseconds since the epoch), earliest first."""
        ...

    def stale_at(self, at: int) -> frozenset[tuple[str, str]]:
        """(origin, claimant) of the stale intervals that hold ``at``."""
        ...

    def open_stale_intervals(self) -> list[StaleInterval]:
        """The intervals that no record has closed; an analyzer closes or continues them when it starts."""
        ...
