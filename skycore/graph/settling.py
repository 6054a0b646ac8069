"""Settling: the elements of a graph, and how they are brought in line with the claims on them.

Settling works out which elements begin, change and end, in an order that readers can follow (ends: edges before nodes;
beginnings: nodes before edges); each change is one immutable revision, appended to the change log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from operator import attrgetter
from sys import intern
from typing import TYPE_CHECKING

from skycore.bus import ChangeLog
from skycore.graph.claims import Claim, Conflict, Voice, merge, naming_of
from skycore.graph.element import Kind, Revision, build_revision, next_revision
from skycore.graph.identity import uuid_of
from skycore.graph.pin import Pin
from skycore.graph.record import Record
from skycore.graph.tid import tid_of, with_tid

if TYPE_CHECKING:
    from skycore.graph.claimant import Claimant

_TOMBSTONES = 65536
_born = attrgetter("born")


class Settlement:
    """The elements of a graph; see Graph for what the arguments mean.

    ``moves`` counts the elements that have begun and ended: while it stays, the tables keep their order and members.
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
        self.claimants: dict[str, Claimant] = {}
        self.log: ChangeLog[Revision] = ChangeLog(
            key=attrgetter("id"),
            size=lambda revision: len(revision.json),
        )
        self.moves = 0
        self.conflicts: dict[str, tuple[Conflict, ...]] = {}
        self.precedence: dict[str, Mapping[str, frozenset[str]]] = {}
        self.pins: set[Pin] = set()
        self.with_tids = with_tids
        self._host_tid = uuid_of(host) if with_tids else None
        # A voice stands for the record of an element whose one claim is what its revision says: most are such.
        self._records: dict[str, Record | Voice] = {}
        self._waiting: dict[str, set[str]] = {}
        self._owner: dict[str, str] = {}
        self._last_revision: dict[str, int] = {}
        self._overtaken: dict[str, int] = {}
        self._ended_at: dict[str, int] = {}

    def in_order(self, kind: Kind, ids: Iterable[str]) -> list[str]:
        """Elements, each given once, in the order of their appearance."""
        table = self.nodes if kind == "node" else self.edges
        return [one.id for one in sorted(map(table.__getitem__, ids), key=_born)]

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

    # Records

    def claim_of(self, claimant: Claimant, id: str) -> Claim:
        """What a claimant says of an element; KeyError when it says nothing."""
        record = self._records[id]
        if isinstance(record, Record):
            return record.of(claimant.name)
        return claimant.voices[id].claim(self._living(id))

    def _living(self, id: str) -> Revision:
        return self.nodes.get(id) or self.edges[id]

    def _id(self, id: str) -> str:
        """The one text that is a node's ID wherever the graph mentions it."""
        current = self.nodes.get(id)
        return self._record(id).id if current is None else current.id

    def _record(self, id: str) -> Record:
        """The claims on an element that has some, ready to be changed."""
        record = self._records[id]
        if isinstance(record, Record):
            return record
        revision = self._living(id)
        unfolded = self._records[id] = Record(id, revision.parent, revision.child)
        unfolded.add(record.claim(revision))
        return unfolded

    # Settling

    def _settle(self, dirty: Collection[str]) -> None:
        """Bring the elements in line with their claims, and tell the log."""
        nodes: dict[str, None] = {}
        edges: dict[str, None] = {}
        ended: dict[str, None] = {}
        begun: set[str] = set()
        for id in dirty:
            record = self._record(id)
            if record.parent is not None:
                edges[id] = None
                continue
            nodes[id] = None
            owned = record.owned
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
            self._record(id).tid = None
            self.edges_out.pop(id, None)
            self.edges_in.pop(id, None)
            self._owner.pop(id, None)
        self._settle_nodes(nodes, begun, regrouped, now)
        for id in edges:
            self._settle_edge(id, now)
        for id in dirty:
            left = self._records[id]
            if isinstance(left, Record) and left.first is None:
                self._forget(left)

    def _settle_edges(
        self, edges: Collection[str], begun: Collection[str], ended: Collection[str], now: int
    ) -> set[str]:
        """End the edges that lost an end or their last owner, connect those that begin.

        Returns the children whose owner changed.  The revisions of edges that begin come later, after those
        of their nodes.
        """
        regrouped: set[str] = set()
        gone_out: dict[str, set[str]] = {}
        gone_in: dict[str, set[str]] = {}
        for id in edges:
            record = self._record(id)
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
                parent, child = self._id(parent), self._id(child)
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
                    gone_out.setdefault(parent, set()).add(id)
                if child not in ended:
                    gone_in.setdefault(child, set()).add(id)
                    if self._owner.get(child) == parent and _ownership(current.metadata_json):
                        self._find_owner(child)
                        regrouped.add(child)
        # All at once: a node with very many edges may lose them all.
        _disconnect(self.edges_out, gone_out)
        _disconnect(self.edges_in, gone_in)
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
            record = self._record(id)
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
            record = self._record(id)
            known = merged.get(id)
            self._revise_by(
                self.nodes, record, with_tid(self._merge(record) if known is None else known, record.tid), now
            )

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
            record = self._record(id)
            owner = self._owner.get(id)
            owner_tid = self._record(owner).tid if owner is not None else None
            tid = tid_of(record.naming, self._host_tid, owner_tid)
            if tid != record.tid:
                record.tid = tid
                changed[id] = None
                for edge in self.edges_out.get(id, ()):
                    current = self.edges.get(edge)
                    child = self._record(edge).child if current is None else current.child
                    if child is not None and self._owner.get(child) == id:
                        queue.append(child)
        return list(changed)

    def _settle_edge(self, id: str, now: int) -> None:
        record = self._record(id)
        if record.owned and record.parent in self.nodes and record.child in self.nodes:
            self._revise_by(self.edges, record, self._merge(record), now)

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

    def _revise_by(self, table: dict[str, Revision], record: Record, metadata: bytes, now: int) -> None:
        """Make the element's next revision as its claims want it."""
        claim = record.lead
        assert claim is not None
        updated = claim.updated_at if claim.updated_at is not None and not record.others else now
        revision = self._revise(table, claim, record.owners, metadata, updated, now)
        if revision is not None and not record.others:
            self._fold(claim, metadata, revision)

    def _fold(self, claim: Claim, metadata: bytes, revision: Revision) -> None:
        """Have a voice stand for the record, if the revision says all else of the one claim on the element."""
        if metadata is not claim.content or (self.with_tids and claim.parent is None):
            return
        if claim.host is None:
            whole = not claim.owners and claim.origin is None and claim.created_at is None and claim.updated_at is None
        else:
            times = claim.created_at is not None and claim.updated_at is not None
            whole = times and claim.host == revision.host and claim.origin == revision.origin
        claimant = self.claimants.get(claim.claimant)
        if whole and claimant is not None:
            self._records[revision.id] = claimant.voices[revision.id]

    def _revise(
        self,
        table: dict[str, Revision],
        claim: Claim,
        owners: tuple[str, ...],
        metadata: bytes,
        updated: int,
        now: int,
    ) -> Revision | None:
        """Make the element's next revision, unless nothing that readers see has changed; ``claim`` is the leading one.

        Returns the revision made.
        """
        id = claim.id
        current = table.get(id)
        if (
            current is not None
            and current.metadata_json == metadata
            and current.owners == owners
            and id not in self._overtaken
        ):
            return None
        if current is not None:
            number = max(self._given(current), self._overtaken.pop(id, 0) if self._overtaken else 0) + 1
            revision = next_revision(
                current, metadata, revision=number, updated_at=max(updated, current.created_at), owners=owners
            )
        else:
            self.moves += 1
            reborn = id in self._last_revision
            number = self._last_revision.pop(id, self.floor) + 1
            created = claim.created_at if claim.created_at is not None else now
            revision = build_revision(
                id=id,
                metadata=metadata,
                revision=number,
                # A link brings a text of its own for each mention of a host or a node.
                host=intern(claim.host) if claim.host is not None else self.host,
                origin=intern(claim.origin) if claim.origin is not None else self.origin,
                created_at=created,
                updated_at=max(updated, created),
                parent=None if claim.parent is None else self.nodes[claim.parent].id,
                child=None if claim.child is None else self.nodes[claim.child].id,
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
        return revision

    def _end(self, table: dict[str, Revision], id: str, now: int) -> None:
        current = table.pop(id)
        self.moves += 1
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


def _disconnect(table: dict[str, tuple[str, ...]], gone: Mapping[str, Collection[str]]) -> None:
    """Take edges, by node, out of a table of edges by node."""
    for node, edges in gone.items():
        left = tuple(id for id in table[node] if id not in edges)
        if left:
            table[node] = left
        else:
            del table[node]


def _ownership(metadata: bytes) -> bool:
    # Cheap and exact: canonical JSON has no spaces, and a quote inside a string is escaped.
    return b'"RelationType":"ownership"' in metadata
