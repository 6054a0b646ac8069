"""Settling: the elements of a graph, and how they are brought in line with the claims on them.

Settling works out which elements begin, change and end, in an order that readers can follow (ends: edges before nodes;
beginnings: nodes before edges); each change is one immutable revision, appended to the change log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import attrgetter

import msgspec

from skycore.bus import ChangeLog
from skycore.graph.claims import Claim, Conflict, Naming, merge, naming_of
from skycore.graph.element import Kind, Revision, build_revision, next_revision
from skycore.graph.identity import uuid_of
from skycore.graph.pin import Pin
from skycore.graph.tid import tid_of, with_tid

_NO_NAMING: Naming = (None, None, None, None)
_TOMBSTONES = 65536


_OWNERS: dict[tuple[str, ...], tuple[str, ...]] = {}
"""Each set of owners once: few differ, and every element has one."""


class Record(msgspec.Struct, eq=False, gc=False):
    """All claims on one element, and what the last settling made of them.

    Most elements have one claim: it is ``first``, and a container for it would take more memory than all else here.
    """

    id: str
    parent: str | None = None
    child: str | None = None
    first: Claim | None = None
    others: tuple[Claim, ...] = ()
    naming: Naming = _NO_NAMING
    tid: str | None = None
    owners: tuple[str, ...] = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        return () if self.first is None else (self.first, *self.others)

    @property
    def lead(self) -> Claim | None:
        """The owning claim that was made first."""
        first = self.first
        if first is None or first.owning:
            return first
        return next((claim for claim in self.others if claim.owning), None)

    @property
    def owned(self) -> bool:
        return self.lead is not None

    def add(self, claim: Claim) -> None:
        self._hold((*self.claims, claim))

    def remove(self, claim: Claim) -> None:
        self._hold(tuple(one for one in self.claims if one is not claim))

    def _hold(self, claims: tuple[Claim, ...]) -> None:
        self.first, self.others = (claims[0] if claims else None), claims[1:]
        names = {name for claim in claims if claim.owning for name in claim.owners or (claim.claimant,)}
        owners = tuple(sorted(names))
        self.owners = _OWNERS.setdefault(owners, owners)

    def replace(self, old: Claim, new: Claim) -> None:
        """One claimant says something else."""
        if self.first is old and old.owning == new.owning and old.owners == new.owners:
            self.first = new
        else:
            self._hold(tuple(new if one is old else one for one in self.claims))


class Settlement:
    """The elements of a graph; see Graph for what the arguments mean.

    Whoever changes the claims of records has ``_settle`` called afterwards with the IDs of these.
    """

    def __init__(
        self, *, host: str, origin: str, with_tids: bool, floor: int, lost: int, clock: Callable[[], int]
    ) -> None:
        self.host = host
        self.origin = origin
        self.clock = clock
        self.floor = floor
        self.highest = floor
        self._lost = lost
        self.nodes: dict[str, Revision] = {}
        self.edges: dict[str, Revision] = {}
        self.edges_out: dict[str, tuple[str, ...]] = {}
        self.edges_in: dict[str, tuple[str, ...]] = {}
        self.log: ChangeLog[Revision] = ChangeLog(
            key=attrgetter("id"),
            size=lambda revision: len(revision.json),
        )
        self.conflicts: dict[str, tuple[Conflict, ...]] = {}
        self.precedence: dict[str, Mapping[str, frozenset[str]]] = {}
        self.pins: set[Pin] = set()
        self.with_tids = with_tids
        self._host_tid = uuid_of(host) if with_tids else None
        self._records: dict[str, Record] = {}
        self._waiting: dict[str, set[str]] = {}
        self._owner: dict[str, str] = {}
        self._last_revision: dict[str, int] = {}
        self._overtaken: dict[str, int] = {}
        self._ended_at: dict[str, int] = {}

    def place(self, kind: Kind) -> Callable[[str], int]:
        """What to sort IDs of elements by, to have them in the order of appearance."""
        table = self.nodes if kind == "node" else self.edges
        return lambda id: table[id].born

    def owner_of(self, id: str) -> str | None:
        """ID of the node that owns a node, by an edge of RelationType ``ownership``; None when it has no owner."""
        return self._owner.get(id)

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
        known = self._given(current) if current is not None else self._last_revision.get(id, self.floor)
        return max(known, self._overtaken.get(id, 0))

    def _given(self, current: Revision) -> int:
        """The highest number that a living element can have been given."""
        # Places in the log are negative for restored elements alone.
        return current.revision if current.born >= 0 else max(current.revision, self._lost)

    # Settling

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
                if owned:
                    begun.add(id)
                    edges.update(dict.fromkeys(self._waiting.get(id, ())))
                else:
                    ended[id] = None
                    for table in (self.edges_out, self.edges_in):
                        edges.update(dict.fromkeys(table.get(id, ())))
        now = self.clock()
        regrouped = self._settle_edges(edges, begun, ended, now)
        for id in ended:
            self._end(self.nodes, id, now)
            self._records[id].tid = None
            self.edges_out.pop(id, None)
            self.edges_in.pop(id, None)
            self._owner.pop(id, None)
        self._settle_nodes(nodes, begun, regrouped, now)
        for id in edges:
            self._settle_edge(id, now)
        for id in dirty:
            record = self._records[id]
            if record.first is None:
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
            if possible:
                self._wait_no_more(record)
            elif record.first is not None:
                for end in (parent, child):
                    self._waiting.setdefault(end, set()).add(id)
            if possible and current is None:
                self._keep_adjacent(parent, child)
                self.edges_out[parent] = (*self.edges_out.get(parent, ()), id)
                self.edges_in[child] = (*self.edges_in.get(child, ()), id)
                if child not in self._owner and any(_ownership(claim.metadata) for claim in record.claims):
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
        merged: dict[str, bytes] = {}
        for id in nodes:
            record = self._records[id]
            if id not in begun and id not in self.nodes:
                continue
            merged[id] = metadata = self._merge(record)
            if self._host_tid is not None:
                naming = naming_of(metadata)
                if naming != record.naming or id in begun:
                    record.naming = naming
                    retitle[id] = None
        changed = self._assign_tids(retitle, begun)
        for id in (*merged, *(id for id in changed if id not in merged)):
            record = self._records[id]
            known = merged.get(id)
            self._revise(self.nodes, record, with_tid(self._merge(record) if known is None else known, record.tid), now)

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
            self._revise(self.edges, record, self._merge(record), now)

    def _merge(self, record: Record) -> bytes:
        if record.first is not None and not record.others:
            if self.conflicts:
                self.conflicts.pop(record.id, None)
            return record.first.metadata
        metadata, conflicts = merge(record.claims, self.precedence)
        if conflicts:
            self.conflicts[record.id] = conflicts
        else:
            self.conflicts.pop(record.id, None)
        return metadata

    def _revise(self, table: dict[str, Revision], record: Record, metadata: bytes, now: int) -> None:
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
        updated = claim.updated_at if claim.updated_at is not None and not record.others else now
        if current is not None:
            number = max(self._given(current), self._overtaken.pop(id, 0) if self._overtaken else 0) + 1
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
        if not record.others and (claim.content is None or claim.content is metadata):
            claim.stands_in(revision)
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
            revision=max(self._given(current), self._overtaken.pop(id, 0)) + 1,
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

    def _forget(self, record: Record) -> None:
        del self._records[record.id]
        self.conflicts.pop(record.id, None)
        self._wait_no_more(record)

    def _wait_no_more(self, record: Record) -> None:
        """An edge is there, or its last claim is gone: it does not wait for its ends any more."""
        if not self._waiting:
            return
        for end in (record.parent, record.child):
            if end is not None and (waiting := self._waiting.get(end)) is not None:
                waiting.discard(record.id)
                if not waiting:
                    del self._waiting[end]


def _disconnect(table: dict[str, tuple[str, ...]], node: str, edge: str) -> None:
    left = tuple(id for id in table[node] if id != edge)
    if left:
        table[node] = left
    else:
        del table[node]


def _ownership(metadata: bytes) -> bool:
    # Cheap and exact: canonical JSON has no spaces, and a quote inside a string is escaped.
    return b'"RelationType":"ownership"' in metadata
