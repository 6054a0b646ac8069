"""Who says what about an element, and which of it counts.

A claim is what one claimant says about one element.  Each top-level metadata key of an element comes from
exactly one claim: precedence is declared per plugin and key; without it the plugin whose name sorts first
wins, and a difference between the two is a *conflict*, which status shows.  There is no deep merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
import msgspec

from skycore.graph.element import Revision, join_parts, metadata_parts

Naming = tuple[object, object, object, object]
"""Name, Type, Path and UUID of an element: what its TID is made of."""


class _Naming(msgspec.Struct, gc=False):
    Name: object = None
    Type: object = None
    Path: object = None
    UUID: object = None


_decode_naming = msgspec.json.Decoder(_Naming).decode


def naming_of(metadata: bytes) -> Naming:
    """The parts of canonical metadata that the TID depends on."""
    naming = _decode_naming(metadata)
    return naming.Name, naming.Type, naming.Path, naming.UUID


class Claim(msgspec.Struct, eq=False, gc=False):
    """What one claimant says about one element; replaced as a whole, never changed in what it says.

    ``content`` is canonical JSON.  ``naming`` is what it says of the element's name, where TIDs are computed.
    ``parent`` and ``child`` are node IDs for edges and None for nodes.  ``host``, ``origin``, ``created_at``,
    ``updated_at`` and ``owners`` are given where the claim came over a link: they are then those of the process that
    made the element.  ``generation`` counts the runs of the claimant: claims of an earlier run are replaced by its
    first snapshot.
    """

    claimant: str
    plugin: str
    id: str
    owning: bool
    content: bytes
    scope: str = ""
    generation: int = 0
    parent: str | None = None
    child: str | None = None
    host: str | None = None
    origin: str | None = None
    created_at: int | None = None
    updated_at: int | None = None
    owners: tuple[str, ...] = ()
    naming: Naming | None = None

    @property
    def metadata(self) -> bytes:
        """What is claimed, as canonical JSON."""
        return self.content

    def says_the_same_as(self, other: Claim) -> bool:
        """Whether replacing one by the other would change nothing but the generation."""
        return (
            self.content == other.content
            and self.owning == other.owning
            and self.scope == other.scope
            and self.parent == other.parent
            and self.child == other.child
            and self.owners == other.owners
        )


class Voice(msgspec.Struct, eq=False, frozen=True, gc=False):
    """How a claimant speaks: what many of its claims have in common, held once for all of them.

    Where an element has one claim, all else of the claim stands in the element's revision; the voice is then the whole
    record of it.  ``afar``: the claim came with host, origin, times and owners of the process that made the element.
    """

    claimant: str
    plugin: str
    owning: bool
    scope: str
    generation: int
    afar: bool

    def claim(self, revision: Revision) -> Claim:
        """The one claim on an element."""
        afar = self.afar
        return Claim(
            self.claimant,
            self.plugin,
            revision.id,
            self.owning,
            revision.metadata_json,
            self.scope,
            self.generation,
            revision.parent,
            revision.child,
            revision.host if afar else None,
            revision.origin if afar else None,
            revision.created_at if afar else None,
            revision.updated_at if afar else None,
            revision.owners if afar else (),
        )

    def says(self, claim: Claim, revision: Revision) -> bool:
        """Whether ``claim`` would change nothing but the generation of the one claim on an element."""
        return (
            revision.metadata_json == claim.content
            and self.owning == claim.owning
            and self.scope == claim.scope
            and revision.parent == claim.parent
            and revision.child == claim.child
            and revision.owners == (claim.owners or (claim.claimant,))
        )


@attrs.frozen
class Conflict:
    """Two claims give one key different values and neither plugin declares precedence."""

    key: str
    kept: str
    ignored: str


Precedence = Mapping[str, Mapping[str, frozenset[str]]]
"""plugin → metadata key → plugins whose claims on that key it overrides."""


def merge(claims: Iterable[Claim], precedence: Precedence) -> tuple[bytes, tuple[Conflict, ...]]:
    """Merge the claims on one element into its metadata.

    The result depends on the set of claims only, not on their order of arrival.
    """
    ordered = sorted(claims, key=lambda claim: (claim.plugin, claim.claimant))
    if len(ordered) == 1:
        return ordered[0].metadata, ()
    parts: dict[str, bytes] = {}
    holders: dict[str, Claim] = {}
    conflicts: list[Conflict] = []
    for claim in ordered:
        for key, value in metadata_parts(claim.metadata).items():
            holder = holders.get(key)
            if holder is None or _overrides(claim, holder, key, precedence):
                parts[key], holders[key] = value, claim
            elif value != parts[key] and not _overrides(holder, claim, key, precedence):
                conflicts.append(Conflict(key, holder.claimant, claim.claimant))
    return join_parts(parts), tuple(conflicts)


def _overrides(claim: Claim, holder: Claim, key: str, precedence: Precedence) -> bool:
    return holder.plugin in precedence.get(claim.plugin, {}).get(key, ())
