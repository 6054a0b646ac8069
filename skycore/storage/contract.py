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
from typing import Any, ClassVar, Protocol, TypeAlias, final

import attrs
import msgspec

from skycore.graph.element import Revision
from skycore.graph.view import Difference, Gap, GraphView

__all__ = ["Gap", "Mark", "Record", "RevisionRecord", "StaleInterval", "Store"]


class RevisionRecord(msgspec.Struct, frozen=True, gc=False):
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
    """The contract; it includes ``skycore.graph.view.History``."""

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

    def maintain(self) -> bool:
        """Do one bounded piece of what the store has to do besides: compaction, retention, giving space back.

        Called again and again in a worker thread, also while ``commit`` runs in another, which it never delays by
        more than some milliseconds.  Returns whether there was something to do, so that there may be more.  It
        changes no answer, but for what retention removes.
        """
        ...

    def status(self) -> dict[str, Any]:
        """How the store is, for people: values of JSON types.  Answers also while the store is failing or closed.

        All stores have ``Error`` (text, None when all is well) and ``Bytes``; what else is there has names as plain.
        """
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

    def revisions_between(self, start: int, end: int, limit: int | None = None) -> list[Revision]:
        """Every revision, of all elements, that was current at some moment of [start, end].

        That is each that began at ``end`` or before, and was superseded or deleted at ``start`` or after, or never.
        Sorted by UpdatedAt, then ID, then number, tombstones by DeletedAt.  Edges are there whether or not their ends
        are.  Raises StorageError when there are more than ``limit``.
        """
        ...

    def diff(self, start: int, end: int) -> Difference:
        """What appeared, vanished and changed from ``start`` to ``end`` (start ≤ end).

        An element that was deleted and made again in between lives at both moments, so it has at most changed.
        Elements whose metadata are the same at both moments are not named, nor is what came and went in between;
        edges are named whether or not their ends are there.
        """
        ...

    def revisions(self, id: str) -> list[Revision]:
        """All revisions of one element, tombstones among them, lowest first; empty when it is not known."""
        ...

    def density(self, start: int, end: int, parts: int) -> list[int]:
        """How many changes began in each of ``parts`` equal parts of [start, end] (start < end), for drawing.

        A revision that brings only new counters (``Metric``, ``LastUpdateMetric``) does not count.
        A store may estimate.
        """
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
