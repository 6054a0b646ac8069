"""What an analyzer knows of one agent, and what it makes of the agent's entries.

Entries of the agent's current epoch change the live graph, from the first sync that this process sees on.  What
comes before that sync, among it the entries of earlier epochs that an agent sends after its restart, goes to
history only: the live graph keeps what it had (stale) until the state arrives.  That state is compared by
content, so what did not change gets no new revision, in the live graph and in history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import attrs

from skycore.cluster import messages
from skycore.cluster.messages import Changes, Element, Gap, Stale, Sync
from skycore.errors import LinkError
from skycore.graph.claimant import Claimant
from skycore.graph.claims import Claim
from skycore.graph.element import Revision, build_revision
from skycore.graph.graph import Graph
from skycore.storage import contract

_Elements: TypeAlias = Sequence[tuple[Element, tuple[str, ...]]]


@attrs.define
class Applied:
    """What came of one entry: records for history beside the live graph's own revisions."""

    records: list[contract.Record] = attrs.field(factory=list)


class Origin:
    """One agent, over all its connections; the graph knows it as one claimant."""

    def __init__(self, graph: Graph, name: str, applied: dict[int, int]) -> None:
        self.graph = graph
        self.name = name
        self.applied = applied
        self.current_epoch = 0
        self.synced = False
        self._applied_before_sync = 0
        self._sync_epoch = 0
        self._claimant: Claimant = graph.claimant(name, plugin="agent")
        self._said_in_sync: set[str] | None = None
        self._next_part = 0
        # Elements of which history holds later revisions than the live graph: the last of each.
        self._ahead: dict[str, Revision] = {}

    @property
    def elements(self) -> int:
        """How many elements the agent has in the live graph."""
        return len(self._claimant.claims)

    def connected(self, epoch: int, stale: Iterable[Stale]) -> bool:
        """A link of this epoch begins; ``stale`` are the probes that are stale on the agent's side.

        Returns whether the agent may go on with its changes; else it has to send its state first.  That is so
        when this process has not seen its state yet: what a store kept may be half of a state.
        """
        self._abandon_sync()
        if epoch != self.current_epoch:
            self.synced = False
        self.current_epoch = epoch
        told = {message.claimant: message for message in stale}
        for origin, claimant in list(self.graph.stale):
            if origin == self.name and claimant and claimant not in told:
                self.graph.mark_fresh(origin, claimant)
        for message in told.values():
            self.stale(message)
        if self.synced:
            self.graph.mark_fresh(self.name, "")
        return self.synced

    def apply(self, entry: Changes | Sync | Gap) -> Applied | None:
        """Take one entry in; None when it was taken in before.

        Raises LinkError for what breaks the protocol; then nothing of the entry was taken in.
        """
        if entry.epoch > self.current_epoch:
            raise LinkError(f"entry of epoch {entry.epoch}, but the agent said hello in {self.current_epoch}")
        known = self.applied.get(entry.epoch, 0)
        if entry.seq <= known:
            return None
        self._check_continues(entry, known)
        result = Applied()
        if self._said_in_sync is not None and entry.epoch != self._sync_epoch:
            # The agent died while it wrote that state.
            self._said_in_sync = None
            result.records.append(contract.Mark(self.name, self._sync_epoch, self.applied[self._sync_epoch]))
        if isinstance(entry, Gap):
            # What follows a sync that has a hole is no state; the agent will send another one.
            self._said_in_sync = None
            result.records.append(contract.Gap(self.name, entry.start, entry.end, entry.lost))
        elif isinstance(entry, Sync):
            self._sync(entry, known, result)
        else:
            self._take(entry.epoch, self._elements(entry), result)
        self.applied[entry.epoch] = entry.seq
        if self._said_in_sync is None:
            # Half a state is no state: an analyzer that dies here must get all of the sync again.
            result.records.append(contract.Mark(self.name, entry.epoch, entry.seq))
        return result

    def _check_continues(self, entry: Changes | Sync | Gap, known: int) -> None:
        """An entry that was acknowledged and is not here any more (a store set back) makes the state unknown."""
        if known and entry.epoch == self.current_epoch and self.synced and entry.first > known + 1:
            self.synced = False
            raise LinkError(f"entries {known + 1} to {entry.first - 1} are missing; the whole state is needed")

    def stale(self, message: Stale) -> None:
        """One of the agent's probes lost, or found again, what it looks at."""
        if message.until is None:
            self.graph.mark_stale(self.name, message.claimant, message.reason, message.since)
        else:
            self.graph.mark_fresh(self.name, message.claimant, message.until)

    def lost(self, reason: str) -> None:
        """The link is gone: all that came over it is stale from now on."""
        self._abandon_sync()
        self.graph.mark_stale(self.name, "", reason)

    def withdraw(self) -> Applied:
        """The agent stayed away for too long: its elements go."""
        result = Applied()
        now = self.graph.clock()
        self._end(list(self._claimant.claims), now)
        self._end_in_history(list(self._ahead), now, result)
        self._ahead.clear()
        self.synced = False
        return result

    # ------------------------------------------------------------------ the current epoch

    def _take(self, epoch: int, elements: _Elements, result: Applied) -> None:
        """Changes go to the live graph when it has the state that they change, else to history."""
        if epoch != self.current_epoch or not self.synced:
            self._record(elements, result)
            return
        # One by one: a transaction would keep only the last of several revisions of one element.
        for element, owners in elements:
            self._live(element, owners)

    def _abandon_sync(self) -> None:
        """A sync that was cut off comes again as a whole."""
        if self._said_in_sync is not None:
            self._said_in_sync = None
            self.applied[self._sync_epoch] = self._applied_before_sync

    def _sync(self, entry: Sync, known: int, result: Applied) -> None:
        elements = self._elements(entry)
        if entry.part == 0:
            self._applied_before_sync, self._sync_epoch = known, entry.epoch
            self._said_in_sync = set()
            self._next_part = 0
        elif self._said_in_sync is None:
            # Its beginning was lost, as a gap has told: what is left is true, but is no state.
            self._take(entry.epoch, elements, result)
            return
        if entry.part != self._next_part:
            raise LinkError(f"part {entry.part} of a sync, where part {self._next_part} was due")
        self._next_part += 1
        self._said_in_sync.update(element.ID for element, _ in elements)
        if entry.epoch != self.current_epoch:
            self._record(elements, result)
            if entry.last:
                gone = [id for id in {**self._claimant.claims, **self._ahead} if id not in self._said_in_sync]
                self._end_in_history(gone, entry.at, result)
                self._said_in_sync = None
            return
        for element, owners in elements:
            self._live(element, owners)
        if entry.last:
            self._end([id for id in self._claimant.claims if id not in self._said_in_sync], entry.at)
            self._end_in_history(list(self._ahead), entry.at, result)
            self._ahead.clear()
            self._said_in_sync = None
            self.synced = True
            self.graph.mark_fresh(self.name, "")

    def _live(self, element: Element, owners: tuple[str, ...]) -> None:
        if element.DeletedAt is not None:
            self._end([element.ID], element.DeletedAt)
            return
        claim = Claim(
            self._claimant.name,
            self._claimant.plugin,
            element.ID,
            owning=True,
            content=bytes(element.Metadata),
            parent=element.Parent,
            child=element.Child,
            host=element.Host,
            origin=self.name,
            created_at=element.CreatedAt,
            updated_at=element.UpdatedAt,
            owners=owners,
        )
        ahead = self._ahead.pop(element.ID, None)
        if ahead is None:
            self._claimant.say(claim)
            return
        if ahead.deleted_at is None and ahead.metadata_json == claim.content and self._adopt(ahead):
            claim.created_at, claim.updated_at = ahead.created_at, ahead.updated_at
        else:
            claim.updated_at = max(element.UpdatedAt, ahead.updated_at)
        with self.graph.transaction():
            # Said anew, else a content that the live graph had before history ran ahead would be no revision.
            self._claimant.drop(element.ID)
            self._claimant.say(claim)

    def _adopt(self, ahead: Revision) -> bool:
        """Have the live graph's next revision of the element be the one that history holds already, if it can be.

        The store ignores a revision that it has, so history gets no second one with the same content.
        """
        id = ahead.id
        current = self.graph.nodes.get(id) or self.graph.edges.get(id)
        if current is not None and current.revision >= ahead.revision:
            return False
        if any(id in other.claims for other in self.graph.claimants.values() if other is not self._claimant):
            return False
        self.graph.overtake(id, ahead.revision - 1)
        return True

    def _end(self, ids: Iterable[str], at: int) -> None:
        """Take claims back."""
        with self.graph.transaction():
            for id in ids:
                ahead = self._ahead.pop(id, None) if id in self._claimant.claims else None
                ended = at
                if ahead is not None:
                    ended = max(at, ahead.updated_at)
                    if ahead.deleted_at is not None and self._adopt(ahead):
                        ended = ahead.deleted_at
                self._claimant.drop(id, at=ended)

    def _end_in_history(self, ids: Iterable[str], at: int, result: Applied) -> None:
        """End what lives in history, beside the live graph."""
        for id in ids:
            head = self._head(id)
            if head is not None and head.deleted_at is None:
                number = self.graph.last_revision(id) + 1
                self.graph.overtake(id, number)
                self._ahead[id] = _tombstone(head, number, at)
                result.records.append(contract.RevisionRecord(self._ahead[id]))

    # ------------------------------------------------------------------ earlier epochs

    def _record(self, elements: _Elements, result: Applied) -> None:
        """Write to history alone, beside the live graph."""
        for element, owners in elements:
            before = self._head(element.ID)
            lives = before is not None and before.deleted_at is None
            if element.DeletedAt is not None and not lives:
                continue
            metadata = bytes(element.Metadata)
            created = element.CreatedAt
            if before is not None and lives:
                if element.DeletedAt is None and before.metadata_json == metadata:
                    continue
                created = before.created_at
            number = self.graph.last_revision(element.ID) + 1
            revision = build_revision(
                id=element.ID,
                metadata=metadata,
                revision=number,
                host=element.Host,
                origin=self.name,
                created_at=created,
                updated_at=max(element.UpdatedAt, created),
                deleted_at=element.DeletedAt,
                parent=element.Parent,
                child=element.Child,
                owners=owners,
            )
            self.graph.overtake(element.ID, number)
            self._ahead[element.ID] = revision
            result.records.append(contract.RevisionRecord(revision))

    def _head(self, id: str) -> Revision | None:
        """The element's last revision in history."""
        return self._ahead.get(id) or self.graph.nodes.get(id) or self.graph.edges.get(id)

    def _elements(self, entry: Changes | Sync) -> _Elements:
        """Decode and check all elements of an entry before the first of them changes anything."""
        if len(entry.elements) != len(entry.owners):
            raise LinkError(f"entry {entry.seq} has {len(entry.elements)} elements but {len(entry.owners)} owner lists")
        elements = [
            (messages.element(raw), messages.owner_names(owners))
            for raw, owners in zip(entry.elements, entry.owners, strict=True)
        ]
        ends: dict[str, tuple[str | None, str | None]] = {}
        for element, _ in elements:
            claim, head = self._claimant.claims.get(element.ID), self._head(element.ID)
            for known in (claim, head):
                if known is not None:
                    ends.setdefault(element.ID, (known.parent, known.child))
            if ends.setdefault(element.ID, (element.Parent, element.Child)) != (element.Parent, element.Child):
                raise LinkError(
                    f"element {element.ID} is known with other ends; an edge with other ends has another ID"
                )
        return elements


def _tombstone(revision: Revision, number: int, at: int) -> Revision:
    return build_revision(
        id=revision.id,
        metadata=revision.metadata_json,
        revision=number,
        host=revision.host,
        origin=revision.origin,
        created_at=revision.created_at,
        updated_at=max(at, revision.updated_at),
        deleted_at=max(at, revision.updated_at),
        parent=revision.parent,
        child=revision.child,
        owners=revision.owners,
    )
