"""The claims on one element, where there is more to hold than one claim that its revision repeats."""

from __future__ import annotations

from typing import Final

import msgspec

from skycore.graph.claims import Claim, Naming

_NO_NAMING: Naming = (None, None, None, None)
_OWNERS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {}
_MOST_OWNERS: Final = 4096


def shared_owners(owners: tuple[str, ...]) -> tuple[str, ...]:
    """The same set of owners, held once: few differ, and every element has one."""
    if len(_OWNERS) >= _MOST_OWNERS:
        _OWNERS.clear()
    return _OWNERS.setdefault(owners, owners)


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
        self.owners = shared_owners(tuple(sorted(names)))

    def of(self, claimant: str) -> Claim:
        """What a claimant says; it says something."""
        return next(claim for claim in self.claims if claim.claimant == claimant)

    def replace(self, old: Claim, new: Claim) -> None:
        """One claimant says something else."""
        if self.first is old and old.owning == new.owning and old.owners == new.owners:
            self.first = new
        else:
            self._hold(tuple(new if one is old else one for one in self.claims))
