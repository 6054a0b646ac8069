"""Claimants: how a probe, an agent's link or a user says what is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, final

import attrs

from skycore.errors import ClaimError
from skycore.graph.claims import Claim, Voice
from skycore.graph.element import canonical_metadata
from skycore.graph.identity import edge_id

if TYPE_CHECKING:
    from skycore.graph.graph import Graph

_SHARED: Final = 1024
"""Voices that a claimant remembers for its next claims; there are few more than scopes."""


@attrs.frozen
class Withdrawal:
    """Take back claims: one by its ID, or all of a scope (or of every scope) that ``keep`` does not name."""

    claimant: Claimant
    id: str | None = None
    scope: str | None = None
    keep: Collection[str] | None = None
    before_generation: int | None = None
    at: int | None = None

    def ids(self) -> list[str]:
        if self.id is not None:
            return [self.id]
        return [
            id
            for id, voice in self.claimant.voices.items()
            if (self.scope is None or voice.scope == self.scope)
            and (self.keep is None or id not in self.keep)
            and (self.before_generation is None or voice.generation < self.before_generation)
        ]


@final
class Claims(Mapping[str, Claim]):
    """The claims of one claimant, by the ID of the element; each is made when it is asked for."""

    def __init__(self, claimant: Claimant) -> None:
        self._claimant = claimant

    def __getitem__(self, id: str) -> Claim:
        if id not in self._claimant.voices:
            raise KeyError(id)
        return self._claimant.graph.claim_of(self._claimant, id)

    def __contains__(self, id: object) -> bool:
        return id in self._claimant.voices

    def __iter__(self) -> Iterator[str]:
        return iter(self._claimant.voices)

    def __len__(self) -> int:
        return len(self._claimant.voices)


class Claimant:
    """One who claims: a probe, an agent's link, a user.  Its verbs are those of the plugin contract, by ID.

    A claimant that starts anew (``restart``) keeps what it claimed; the claims of earlier runs are replaced
    scope by scope by its snapshots, and what is left of them goes at ``settled``.
    ``voices`` has a member for each claim: in which voice it is said.
    """

    def __init__(self, graph: Graph, name: str, plugin: str) -> None:
        self.graph = graph
        self.name = name
        self.plugin = plugin
        self.generation = 0
        self.voices: dict[str, Voice] = {}
        self.claims: Mapping[str, Claim] = Claims(self)
        self._shared: dict[tuple[bool, str, int, bool], Voice] = {}
        self._said: set[str] | None = None

    def put(
        self,
        id: str,
        metadata: Mapping[str, Any],
        *,
        owning: bool = True,
        scope: str = "",
        parent: str | None = None,
        child: str | None = None,
    ) -> None:
        """Claim an element whose ID is known; raises ClaimError when the metadata is no JSON object."""
        naming = None
        if self.graph.with_tids:
            naming = (metadata.get("Name"), metadata.get("Type"), metadata.get("Path"), metadata.get("UUID"))
        content = canonical_metadata(metadata)
        claim = Claim(self.name, self.plugin, id, owning, content, scope, self.generation, parent, child, naming=naming)
        self.say(claim)

    def voice(self, claim: Claim) -> Voice:
        """In which voice this claimant says a claim."""
        manner = (claim.owning, claim.scope, claim.generation, claim.host is not None)
        voice = self._shared.get(manner)
        if voice is None:
            if len(self._shared) >= _SHARED:
                self._shared.clear()
            voice = self._shared[manner] = Voice(claim.claimant, claim.plugin, *manner)
        return voice

    def link(
        self, parent: str, child: str, relation_type: str, metadata: Mapping[str, Any] | None = None, *, scope: str = ""
    ) -> None:
        """Claim an edge between two nodes, by their IDs."""
        self.put(
            edge_id(parent, child, relation_type),
            {**(metadata or {}), "RelationType": relation_type},
            scope=scope,
            parent=parent,
            child=child,
        )

    def say(self, claim: Claim) -> None:
        """Make a claim that is ready made."""
        if self._said is not None:
            self._said.add(claim.id)
        self.graph.do(claim)

    def drop(self, id: str, *, at: int | None = None) -> None:
        """Take a claim back; ``at`` is when that happened (milliseconds since the epoch), if not now."""
        if self._said is not None:
            self._said.discard(id)
        self.graph.do(Withdrawal(self, id=id, at=at))

    @contextmanager
    def snapshot(self, scope: str = "") -> Iterator[None]:
        """What is not claimed inside the body is taken back at its end, if it is of this scope."""
        if self._said is not None:
            raise ClaimError("a snapshot inside a snapshot: end the first one before beginning another")
        said: set[str] = set()
        self._said = said
        try:
            with self.graph.transaction():
                yield
                self.graph.do(Withdrawal(self, scope=scope, keep=said))
        finally:
            self._said = None
        self.graph.mark_fresh(self.graph.origin, self.name)

    def restart(self) -> None:
        """A new run begins."""
        self.generation += 1

    def settled(self) -> None:
        """The first inventory of this run is complete: what only earlier runs said is taken back."""
        self.graph.do(Withdrawal(self, before_generation=self.generation))

    def withdraw(self) -> None:
        """Take everything back, and leave."""
        self.graph.do(Withdrawal(self))
        self.graph.mark_fresh(self.graph.origin, self.name)
