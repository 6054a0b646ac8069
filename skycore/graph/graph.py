"""The live graph: what the claims of all claimants add up to.

Data's way through this module: a claimant's verbs become operations; a transaction applies them to the
records (who claims what); ``_settle`` works out which elements begin, change and end, in an order that
readers can follow (ends: edges before nodes; beginnings: nodes before edges); each change is one immutable
revision, appended to the change log.  Nothing is locked: the writer is the event loop, and what readers
hold are values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter

import attrs
import msgspec

from skycore.bus import ChangeLog
from skycore.graph.claimant import Claimant, Withdrawal
from skycore.graph.claims import Claim, Conflict, Naming, merge, naming_of
from skycore.graph.element import Revision, build_revision, next_revision
from skycore.graph.identity import uuid_of
from skycore.graph.pin import Pin
from skycore.graph.tid import tid_of, with_tid

OWNERSHIP = "ownership"
_NO_NAMING: Naming = (None, None, None, None)
_TOMBSTONES = 65536


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@attrs.define(eq=False)
class _Record:
    """All claims on one element, and what the last settling made of them."""

    id: str
    parent: str | None = None
    child: str | None = None
    claims: list[Claim] = attrs.field(factory=list)
    metadata: bytes = b""
    naming: Naming = _NO_NAMING
    tid: str | None = None
    lead: Claim | None = None
    owners: tuple[str, ...] = ()

    @property
    def owned(self) -> bool:
        return self.lead is not None

    def regroup(self) -> None:
        """Work out anew who owns the element; after each change of its claims."""
        owning = [claim for claim in self.claims if claim.owning]
        self.lead = owning[0] if owning else None
        names = {name for claim in owning for name in claim.owners or (claim.claimant,)}
        self.owners = tuple(sorted(names))

    def replace(self, old: Claim, new: Claim) -> None:
        """One claimant says something else."""
        self.claims[self.claims.index(old)] = new
        if old.owning != new.owning or old.owners != new.owners:
            self.regroup()
        elif self.lead is old:
            self.lead = new


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


class Graph:
    """The live graph of one process.

    ``host`` and ``origin`` are given to elements whose claims do not bring their own.  ``with_tids`` makes the graph
    compute TIDs (agents do; on analyzers they come from the agents).  ``floor`` is a revision number that no element
    has exceeded before: elements seen for the first time continue from it.  ``highest`` is the highest revision
    number given so far.
    A reader that gives control to the event loop puts a Pin into ``pins`` first, and takes it out when done.
    """

    def __init__(
        self,
        *,
        host: str,
        origin: str,
        with_tids: bool,
        floor: int = 0,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.host = host
        self.origin = origin
        self.clock = clock
        self.floor = floor
        self.highest = floor
        self.nodes: dict[str, Revision] = {}
        self.edges: dict[str, Revision] = {}
        self.edges_out: dict[str, tuple[str, ...]] = {}
        self.edges_in: dict[str, tuple[str, ...]] = {}
        self.log: ChangeLog[Revision] = ChangeLog(
            key=attrgetter("id"),
            ended=attrgetter("deleted_at"),
            size=lambda revision: len(revision.json),
        )
        self.stale_log: ChangeLog[Staleness] = ChangeLog(
            key=attrgetter("origin", "claimant"),
            ended=attrgetter("until"),
            size=lambda staleness: 64,
        )
        self.stale: dict[tuple[str, str], Staleness] = {}
        self.conflicts: dict[str, tuple[Conflict, ...]] = {}
        self.claimants: dict[str, Claimant] = {}
        self.precedence: dict[str, Mapping[str, frozenset[str]]] = {}
        self.pins: set[Pin] = set()
        self._host_tid = uuid_of(host) if with_tids else None
        self._records: dict[str, _Record] = {}
        self._claimed_edges: dict[str, set[str]] = {}
        self._owner: dict[str, str] = {}
        self._last_revision: dict[str, int] = {}
        self._overtaken: dict[str, int] = {}
        self._ended_at: dict[str, int] = {}
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
        stale = self.stale
        if not stale:
            return False
        origin = revision.origin
        if (origin, "") in stale:
            return True
        return bool(revision.owners) and all((origin, owner) in stale for owner in revision.owners)

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

    def owner_of(self, id: str) -> str | None:
        """ID of the node that owns a node, by an edge of RelationType ``ownership``; None when it has no owner."""
        return self._owner.get(id)

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
        old = claimant.claims.get(id)
        if old is None or id not in self.nodes or old.owning != claim.owning:
            return False
        if old.says_the_same_as(claim):
            old.generation = claim.generation
            return True
        record = self._records[id]
        record.replace(old, claim)
        claimant.claims[id] = claim
        self._merge(record)
        if self._host_tid is not None and claim.naming != old.naming:
            self._settle((id,))
            return True
        self._revise(self.nodes, record, with_tid(record.metadata, record.tid), self.clock())
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
        old = claimant.claims.get(claim.id)
        if old is not None and old.says_the_same_as(claim):
            old.generation = claim.generation
            return False
        record = self._records.get(claim.id)
        if record is None:
            record = self._records[claim.id] = _Record(claim.id, claim.parent, claim.child)
            if claim.parent is not None and claim.child is not None:
                self._claimed_edges.setdefault(claim.parent, set()).add(claim.id)
                self._claimed_edges.setdefault(claim.child, set()).add(claim.id)
        if old is None:
            record.claims.append(claim)
            record.regroup()
        else:
            record.replace(old, claim)
        claimant.claims[claim.id] = claim
        return True

    def _withdraw(self, claimant: Claimant, id: str) -> bool:
        claim = claimant.claims.pop(id, None)
        if claim is None:
            return False
        record = self._records[id]
        record.claims.remove(claim)
        record.regroup()
        return True

    # ------------------------------------------------------------------ beside the log

    def restore(self, revisions: Iterable[Revision], claimant_of: Callable[[Revision], Claimant]) -> None:
        """Take over elements as a store kept them: revision and times go on, and the log is told nothing.

        For a graph that is still empty.  They come in any order; an edge without both ends is left out.
        """
        for revision in sorted(revisions, key=lambda revision: revision.parent is not None):
            table = self.nodes if revision.parent is None else self.edges
            if revision.parent is not None and revision.child is not None:
                if revision.parent not in self.nodes or revision.child not in self.nodes:
                    self._remember(revision.id, revision.revision)
                    continue
                self.edges_out[revision.parent] = (*self.edges_out.get(revision.parent, ()), revision.id)
                self.edges_in[revision.child] = (*self.edges_in.get(revision.child, ()), revision.id)
            claimant = claimant_of(revision)
            self._accept(
                Claim(
                    claimant.name,
                    claimant.plugin,
                    revision.id,
                    owning=True,
                    content=revision.metadata_json,
                    parent=revision.parent,
                    child=revision.child,
                    host=revision.host,
                    origin=revision.origin,
                    created_at=revision.created_at,
                    updated_at=revision.updated_at,
                    owners=revision.owners,
                )
            )
            table[revision.id] = msgspec.structs.replace(revision, born=len(self.nodes) + len(self.edges) - (1 << 40))

    def overtake(self, id: str, revision: int) -> None:
        """History already holds revisions of the element up to this one: the next one that is made comes after it.

        For an element that lives, the next revision is made even when its content is the same.  The last call
        counts: one with a lower number makes the next revision one that history holds already.
        """
        if id in self.nodes or id in self.edges:
            self._overtaken[id] = revision
        else:
            self._remember(id, revision)

    def last_revision(self, id: str) -> int:
        """The highest revision number that the element has had in this process, or could have had before."""
        current = self.nodes.get(id) or self.edges.get(id)
        known = current.revision if current is not None else self._last_revision.get(id, self.floor)
        return max(known, self._overtaken.get(id, 0))

    # ------------------------------------------------------------------ settling

    def _settle(self, dirty: Collection[str]) -> None:
        """Bring the elements in line with their claims, and tell the log."""
        nodes: dict[str, None] = {}
        edges: dict[str, None] = {}
        ended: dict[str, None] = {}
        begun: set[str] = set()
        for id in dirty:
            if self._records[id].parent is not None:
                edges[id] = None
                continue
            nodes[id] = None
            owned = self._records[id].owned
            if owned != (id in self.nodes):
                edges.update(dict.fromkeys(self._claimed_edges.get(id, ())))
                if owned:
                    begun.add(id)
                else:
                    ended[id] = None
        now = self.clock()
        regrouped = self._settle_edges(edges, begun, ended, now)
        for id in ended:
            self._end(self.nodes, id, now)
            self._records[id].tid = None
            for table in (self.edges_out, self.edges_in, self._owner):
                table.pop(id, None)
        self._settle_nodes(nodes, begun, regrouped, now)
        for id in edges:
            self._settle_edge(id, now)
        for id in dirty:
            record = self._records[id]
            if not record.claims:
                self._forget(record)

    def _settle_edges(
        self, edges: Collection[str], begun: Collection[str], ended: Collection[str], now: int
    ) -> set[str]:
        """End the edges that lost an end or their last owner, connect those that begin.

        Returns the children whose owner changed.  The revisions of edges that begin come later, after those
        of their nodes.
        """
        regrouped: set[str] = set()
        for id in edges:
            record = self._records[id]
            parent, child = record.parent, record.child
            assert parent is not None
            assert child is not None
            possible = record.owned and all(
                end in begun or (end in self.nodes and end not in ended) for end in (parent, child)
            )
            current = self.edges.get(id)
            if possible and current is None:
                self._keep_adjacent(parent, child)
                self.edges_out[parent] = (*self.edges_out.get(parent, ()), id)
                self.edges_in[child] = (*self.edges_in.get(child, ()), id)
                if child not in self._owner and any(_ownership(claim.content) for claim in record.claims):
                    self._owner[child] = parent
                    regrouped.add(child)
            elif current is not None and not possible:
                self._keep_adjacent(parent, child)
                self._end(self.edges, id, now)
                if parent not in ended:
                    _disconnect(self.edges_out, parent, id)
                if child not in ended:
                    _disconnect(self.edges_in, child, id)
                    if self._owner.get(child) == parent and _ownership(current.metadata_json):
                        self._find_owner(child)
                        regrouped.add(child)
        return regrouped

    def _find_owner(self, child: str) -> None:
        """The owner left: the next one, if several claimed to be, is the one whose edge has the lowest ID."""
        del self._owner[child]
        for id in sorted(self.edges_in.get(child, ())):
            edge = self.edges.get(id)
            if edge is not None and edge.parent is not None and _ownership(edge.metadata_json):
                self._owner[child] = edge.parent
                return

    def _settle_nodes(
        self, nodes: Collection[str], begun: Collection[str], regrouped: Collection[str], now: int
    ) -> None:
        retitle: dict[str, None] = dict.fromkeys(id for id in regrouped if id in self.nodes or id in begun)
        merged: dict[str, None] = {}
        for id in nodes:
            record = self._records[id]
            if id not in begun and id not in self.nodes:
                continue
            self._merge(record)
            merged[id] = None
            if self._host_tid is not None:
                naming = naming_of(record.metadata)
                if naming != record.naming or id in begun:
                    record.naming = naming
                    retitle[id] = None
        changed = self._assign_tids(retitle, begun)
        for id in (*merged, *(id for id in changed if id not in merged)):
            record = self._records[id]
            self._revise(self.nodes, record, with_tid(record.metadata, record.tid), now)

    def _assign_tids(self, retitle: Collection[str], begun: Collection[str]) -> list[str]:
        """Compute TIDs from the top down; returns the nodes whose TID changed."""
        if self._host_tid is None:
            return []
        changed: dict[str, None] = {}
        queue = list(retitle)
        # A ring of owners would go on for ever; no tree of owners is as deep as the graph has nodes.
        budget = 4 * (len(self.nodes) + len(begun)) + 64
        while queue and budget:
            budget -= 1
            id = queue.pop(0)
            record = self._records[id]
            owner = self._owner.get(id)
            owner_tid = self._records[owner].tid if owner is not None else None
            tid = tid_of(record.naming, self._host_tid, owner_tid)
            if tid != record.tid:
                record.tid = tid
                changed[id] = None
                for edge in self.edges_out.get(id, ()):
                    child = self._records[edge].child
                    if child is not None and self._owner.get(child) == id:
                        queue.append(child)
        return list(changed)

    def _settle_edge(self, id: str, now: int) -> None:
        record = self._records[id]
        if record.owned and record.parent in self.nodes and record.child in self.nodes:
            self._merge(record)
            self._revise(self.edges, record, record.metadata, now)

    def _merge(self, record: _Record) -> None:
        if len(record.claims) == 1:
            record.metadata = record.claims[0].content
            if self.conflicts:
                self.conflicts.pop(record.id, None)
            return
        record.metadata, conflicts = merge(record.claims, self.precedence)
        if conflicts:
            self.conflicts[record.id] = conflicts
        else:
            self.conflicts.pop(record.id, None)

    def _revise(self, table: dict[str, Revision], record: _Record, metadata: bytes, now: int) -> None:
        """Make the element's next revision, unless nothing that readers see has changed."""
        id = record.id
        current = table.get(id)
        claim, owners = record.lead, record.owners
        assert claim is not None
        if (
            current is not None
            and current.metadata_json == metadata
            and current.owners == owners
            and id not in self._overtaken
        ):
            return
        updated = claim.updated_at if claim.updated_at is not None and len(record.claims) == 1 else now
        if current is not None:
            number = max(current.revision, self._overtaken.pop(id, 0) if self._overtaken else 0) + 1
            revision = next_revision(
                current, metadata, revision=number, updated_at=max(updated, current.created_at), owners=owners
            )
        else:
            reborn = id in self._last_revision
            number = self._last_revision.pop(id, self.floor) + 1
            created = claim.created_at if claim.created_at is not None else now
            revision = build_revision(
                id=id,
                metadata=metadata,
                revision=number,
                host=claim.host if claim.host is not None else self.host,
                origin=claim.origin if claim.origin is not None else self.origin,
                created_at=created,
                updated_at=max(updated, created),
                parent=claim.parent,
                child=claim.child,
                born=self.log.end,
                owners=owners,
                reborn=reborn,
            )
        if self.pins:
            self._keep(id, current)
        table[id] = revision
        if number > self.highest:  # noqa: PLR1730 (a call to max costs more than the rest of this line)
            self.highest = number
        self.log.append(revision)

    def _end(self, table: dict[str, Revision], id: str, now: int) -> None:
        current = table.pop(id)
        self._keep(id, current)
        deleted = max(self._ended_at.get(id, now), current.updated_at)
        tombstone = build_revision(
            id=id,
            metadata=current.metadata_json,
            revision=max(current.revision, self._overtaken.pop(id, 0)) + 1,
            host=current.host,
            origin=current.origin,
            created_at=current.created_at,
            updated_at=deleted,
            deleted_at=deleted,
            parent=current.parent,
            child=current.child,
            born=current.born,
            owners=current.owners,
            reborn=current.reborn,
        )
        self._remember(id, tombstone.revision)
        self.highest = max(self.highest, tombstone.revision)
        self.log.append(tombstone)

    def _keep(self, id: str, current: Revision | None) -> None:
        """Before the change of an element: let those who pinned the graph have what it was."""
        for pin in self.pins:
            pin.elements.setdefault(id, current)

    def _keep_adjacent(self, parent: str, child: str) -> None:
        """The same before an edge between two nodes begins or ends."""
        for pin in self.pins:
            pin.edges_out.setdefault(parent, self.edges_out.get(parent, ()))
            pin.edges_in.setdefault(child, self.edges_in.get(child, ()))

    def _remember(self, id: str, revision: int) -> None:
        """Keep the last revision of what is gone; what is forgotten raises the floor for all newcomers."""
        self._last_revision[id] = revision
        if len(self._last_revision) > _TOMBSTONES:
            oldest = next(iter(self._last_revision))
            self.floor = max(self.floor, self._last_revision.pop(oldest))

    def _forget(self, record: _Record) -> None:
        del self._records[record.id]
        self.conflicts.pop(record.id, None)
        for end in (record.parent, record.child):
            if end is not None and (claimed := self._claimed_edges.get(end)) is not None:
                claimed.discard(record.id)
                if not claimed:
                    del self._claimed_edges[end]


def _disconnect(table: dict[str, tuple[str, ...]], node: str, edge: str) -> None:
    left = tuple(id for id in table[node] if id != edge)
    if left:
        table[node] = left
    else:
        del table[node]


def _ownership(metadata: bytes) -> bool:
    # Cheap and exact: canonical JSON has no spaces, and a quote inside a string is escaped.
    return b'"RelationType":"ownership"' in metadata
