"""The live graph: what the claims of all claimants add up to.

Data's way through this module: a claimant's verbs become operations, and a transaction applies them to the records
(who claims what); settling (skycore.graph.settling) works out what that changes.  Nothing is locked: the writer is the
event loop, and what readers hold are values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from sys import intern

import attrs
import msgspec

from skycore.bus import ChangeLog
from skycore.graph.claimant import Claimant, Withdrawal
from skycore.graph.claims import Claim, Voice
from skycore.graph.element import Revision
from skycore.graph.fields import is_stale
from skycore.graph.record import Record, shared_owners
from skycore.graph.settling import Settlement
from skycore.graph.tid import with_tid


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@attrs.frozen
class Staleness:
    """What a claimant says cannot be vouched for at present.

    ``claimant`` is empty when all that comes from the origin is meant.  ``since`` and ``until`` are
    milliseconds since the epoch; ``until`` is None while it lasts.
    """

    origin: str
    claimant: str
    since: int
    until: int | None
    reason: str


class Graph(Settlement):
    """The live graph of one process.

    ``host`` and ``origin`` are given to elements whose claims do not bring their own.  ``with_tids`` makes the graph
    compute TIDs (agents do; on analyzers they come from the agents).  ``floor`` is a revision number that no element
    has exceeded before: elements seen for the first time continue from it.  ``lost`` is one that restored elements may
    have reached in a process that was killed before it stored them.  ``highest`` is the highest revision number given
    so far.
    A reader that gives control to the event loop puts a Pin into ``pins`` first, and takes it out when done.
    """

    def __init__(
        self,
        *,
        host: str,
        origin: str,
        with_tids: bool,
        floor: int = 0,
        lost: int = 0,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        super().__init__(host=host, origin=origin, with_tids=with_tids, floor=floor, lost=lost, clock=clock)
        self.stale_log: ChangeLog[Staleness] = ChangeLog(
            key=attrgetter("origin", "claimant"),
            size=lambda staleness: 64,
        )
        self.stale: dict[tuple[str, str], Staleness] = {}
        self._operations: list[Claim | Withdrawal] | None = None

    # ------------------------------------------------------------------ claimants

    def claimant(
        self, name: str, *, plugin: str | None = None, precedence: Mapping[str, frozenset[str]] | None = None
    ) -> Claimant:
        """Somebody who claims, by a name that is unique in this graph; the same name is the same claimant."""
        claimant = self.claimants.get(name)
        if claimant is None:
            claimant = self.claimants[name] = Claimant(self, name, plugin or name)
        if precedence is not None:
            self.precedence[claimant.plugin] = precedence
        return claimant

    def is_stale(self, revision: Revision) -> bool:
        """Whether nobody can vouch for the element at present: its origin, or all of its owners, are stale."""
        return bool(self.stale) and is_stale(self.stale, revision.origin, revision.owners)

    def mark_stale(self, origin: str, claimant: str, reason: str, since: int | None = None) -> None:
        """Begin an interval in which what the claimant says cannot be vouched for; no-op while one lasts."""
        if (origin, claimant) not in self.stale:
            staleness = Staleness(origin, claimant, since if since is not None else self.clock(), None, reason)
            self.stale[origin, claimant] = staleness
            self.stale_log.append(staleness)

    def continue_stale(self, origin: str, claimant: str, since: int) -> None:
        """Go on with an interval that a store knows already, when the process starts again."""
        self.stale[origin, claimant] = Staleness(origin, claimant, since, None, "stale since before the start")

    def mark_fresh(self, origin: str, claimant: str, until: int | None = None) -> None:
        """End that interval; no-op when there is none."""
        staleness = self.stale.pop((origin, claimant), None)
        if staleness is not None:
            self.stale_log.append(attrs.evolve(staleness, until=until if until is not None else self.clock()))

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several operations that take effect together at the end, or not at all when the body raises."""
        if self._operations is not None:
            mark = len(self._operations)
            try:
                yield
            except BaseException:
                del self._operations[mark:]
                raise
            return
        operations: list[Claim | Withdrawal] = []
        self._operations = operations
        try:
            yield
        finally:
            self._operations = None
        self._apply(operations)

    def do(self, operation: Claim | Withdrawal) -> None:
        """Carry out one operation now, or at the end of the transaction that is open."""
        if self._operations is not None:
            self._operations.append(operation)
        elif not isinstance(operation, Claim) or not self._restate(operation):
            self._apply((operation,))

    def _restate(self, claim: Claim) -> bool:
        """The common case, by a short way: a node that lives is said to have other metadata.

        False when it is another case; then nothing was done.
        """
        id = claim.id
        claimant = self.claimants[claim.claimant]
        before, current = claimant.voices.get(id), self.nodes.get(id)
        if before is None or current is None or before.owning != claim.owning:
            return False
        voice = claimant.voice(claim)
        record = self._records[id]
        if isinstance(record, Voice):
            claimant.voices[id] = self._records[id] = voice
            if record.says(claim, current):
                return True
            record = self._records[id] = Record(current.id, None, None)
            record.add(claim)
        else:
            claimant.voices[id] = voice
            old = record.of(claim.claimant)
            if old.says_the_same_as(claim):
                return True
            record.replace(old, claim)
            if self._host_tid is not None and claim.naming != old.naming:
                self._settle((id,))
                return True
        self._revise_by(self.nodes, record, with_tid(self._merge(record), record.tid), self.clock())
        return True

    def _apply(self, operations: Iterable[Claim | Withdrawal]) -> None:
        dirty: dict[str, None] = {}
        for operation in operations:
            if isinstance(operation, Claim):
                if self._accept(operation):
                    dirty[operation.id] = None
            else:
                for id in operation.ids():
                    if self._withdraw(operation.claimant, id):
                        dirty[id] = None
                        if operation.at is not None:
                            self._ended_at[id] = operation.at
        if dirty:
            self._settle(dirty)
            self._ended_at.clear()

    def _accept(self, claim: Claim) -> bool:
        claimant = self.claimants[claim.claimant]
        id, voice = claim.id, claimant.voice(claim)
        known = self._records.get(id)
        said = id in claimant.voices
        if isinstance(known, Voice):
            if said and known.says(claim, self._living(id)):
                claimant.voices[id] = self._records[id] = voice
                return False
            record = self._record(id)
        elif known is None:
            record = self._records[id] = Record(id, claim.parent, claim.child)
        else:
            record = known
        claimant.voices[record.id] = voice
        if not said:
            record.add(claim)
            return True
        old = record.of(claim.claimant)
        if old.says_the_same_as(claim):
            return False
        record.replace(old, claim)
        return True

    def _withdraw(self, claimant: Claimant, id: str) -> bool:
        if id not in claimant.voices:
            return False
        record = self._record(id)
        record.remove(record.of(claimant.name))
        del claimant.voices[id]
        return True

    # ------------------------------------------------------------------ beside the log

    def restore(self, revisions: Iterable[Revision], claimant_of: Callable[[Revision], Claimant]) -> None:
        """Take over elements as a store kept them: revision and times go on, and the log is told nothing.

        For a graph that is still empty.  They come in any order; an edge without both ends is left out.
        """
        for revision in sorted(revisions, key=lambda revision: revision.parent is not None):
            table = self.nodes if revision.parent is None else self.edges
            parent = child = None
            if revision.parent is not None and revision.child is not None:
                if revision.parent not in self.nodes or revision.child not in self.nodes:
                    self._remember(revision.id, max(revision.revision, self._lost))
                    continue
                parent, child = self.nodes[revision.parent].id, self.nodes[revision.child].id
                self.edges_out[parent] = (*self.edges_out.get(parent, ()), revision.id)
                self.edges_in[child] = (*self.edges_in.get(child, ()), revision.id)
            claimant = claimant_of(revision)
            taken = table[revision.id] = msgspec.structs.replace(
                revision,
                parent=parent,
                child=child,
                host=intern(revision.host),
                origin=intern(revision.origin),
                owners=shared_owners(revision.owners),
                born=len(self.nodes) + len(self.edges) - (1 << 40),
            )
            claim = Claim(
                claimant.name,
                claimant.plugin,
                taken.id,
                owning=True,
                content=taken.metadata_json,
                parent=taken.parent,
                child=taken.child,
                host=taken.host,
                origin=taken.origin,
                created_at=taken.created_at,
                updated_at=taken.updated_at,
                owners=taken.owners,
            )
            self._accept(claim)
            self._fold(claim, claim.content, taken)
