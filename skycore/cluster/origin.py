"""What an analyzer knows of one agent, and what it makes of the agent's entries.

Entries of the agent's current epoch change the live graph, from its first sync on.  What comes before that
sync, among it the entries of earlier epochs that an agent sends after its restart, goes to history only: the
live graph keeps what it had (stale) until the state of the new epoch arrives.  That state is compared by
content, so what did not change gets no new revision.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import structlog

from skycore.cluster import messages
from skycore.cluster.messages import Changes, Element, Gap, Stale, Sync
from skycore.errors import LinkError
from skycore.graph.claimant import Claimant
from skycore.graph.claims import Claim
from skycore.graph.element import Revision, build_revision
from skycore.graph.graph import Graph
from skycore.storage import contract

log = structlog.get_logger(__name__)


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

        Returns whether the agent may go on with its changes; else it has to send its state first.
        """
        self._abandon_sync()
        if epoch != self.current_epoch:
            # An agent always has its host's node: without any element, nothing is here to go on from.
            self.synced = epoch in self.applied and self.elements > 0
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
        """Take one entry in; None when it was taken in before.  Raises LinkError for what breaks the protocol."""
        if entry.epoch > self.current_epoch:
            raise LinkError(f"entry of epoch {entry.epoch}, but the agent said hello in {self.current_epoch}")
        known = self.applied.get(entry.epoch, 0)
        if entry.seq <= known:
            return None
        result = Applied()
        if isinstance(entry, Gap):
            result.records.append(contract.Gap(self.name, entry.start, entry.end, entry.lost))
        elif entry.epoch == self.current_epoch and isinstance(entry, Sync):
            self._sync(entry, known, result)
        elif entry.epoch == self.current_epoch and self.synced:
            with self.graph.transaction():
                for element, owners in _elements(entry):
                    self._live(element, owners)
        else:
            self._record(entry, result)
        self.applied[entry.epoch] = entry.seq
        if self._said_in_sync is None:
            # Half a state is no state: an analyzer that dies here must get all of the sync again.
            result.records.append(contract.Mark(self.name, entry.epoch, entry.seq))
        return result

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

    def withdraw(self) -> None:
        """The agent stayed away for too long: its elements go."""
        self._claimant.withdraw()
        self.synced = False

    # ------------------------------------------------------------------ the current epoch

    def _abandon_sync(self) -> None:
        """A sync that was cut off comes again as a whole."""
        if self._said_in_sync is not None:
            self._said_in_sync = None
            self.applied[self.current_epoch] = self._applied_before_sync

    def _sync(self, entry: Sync, known: int, result: Applied) -> None:
        if entry.part == 0:
            self._applied_before_sync = known
            self._said_in_sync = set()
            self._next_part = 0
        if self._said_in_sync is None or entry.part != self._next_part:
            raise LinkError(f"part {entry.part} of a sync, where part {self._next_part} was due")
        self._next_part += 1
        with self.graph.transaction():
            for element, owners in _elements(entry):
                self._said_in_sync.add(element.ID)
                self._live(element, owners)
            if entry.last:
                for id in [id for id in self._claimant.claims if id not in self._said_in_sync]:
                    self._claimant.drop(id, at=entry.at)
        if entry.last:
            self._catch_up(self._said_in_sync, entry.at, result)
            self._said_in_sync = None
            self.synced = True
            self.graph.mark_fresh(self.name, "")

    def _live(self, element: Element, owners: tuple[str, ...]) -> None:
        if element.DeletedAt is not None:
            self._claimant.drop(element.ID, at=element.DeletedAt)
            return
        self._claimant.say(
            Claim(
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
        )

    def _catch_up(self, said: Iterable[str], at: int, result: Applied) -> None:
        """Bring history, which ran ahead with the entries of earlier epochs, in line with the state of this one."""
        self.graph.renew(self._ahead)
        for id, revision in self._ahead.items():
            if id not in said and revision.deleted_at is None:
                number = self.graph.last_revision(id) + 1
                self.graph.overtake(id, number)
                result.records.append(contract.RevisionRecord(_tombstone(revision, number, at)))
        self._ahead.clear()

    # ------------------------------------------------------------------ earlier epochs

    def _record(self, entry: Changes | Sync, result: Applied) -> None:
        """Write an earlier epoch's entry to history, beside the live graph."""
        for element, owners in _elements(entry):
            before = self._head(element.ID)
            if before is not None and before.deleted_at is None:
                same = before.metadata_json == bytes(element.Metadata) and element.DeletedAt is None
                if same:
                    continue
            elif element.DeletedAt is not None:
                continue
            number = self.graph.last_revision(element.ID) + 1
            revision = build_revision(
                id=element.ID,
                metadata=bytes(element.Metadata),
                revision=number,
                host=element.Host,
                origin=self.name,
                created_at=element.CreatedAt,
                updated_at=element.UpdatedAt,
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


def _elements(entry: Changes | Sync) -> Iterable[tuple[Element, tuple[str, ...]]]:
    if len(entry.elements) != len(entry.owners):
        raise LinkError(f"entry {entry.seq} has {len(entry.elements)} elements but {len(entry.owners)} owner lists")
    # All of them are decoded before the first is applied: a bad entry changes nothing.
    return [
        (messages.element(raw), messages.owner_names(owners))
        for raw, owners in zip(entry.elements, entry.owners, strict=True)
    ]


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
