"""The value of any key of an element: metadata, and the fields beside it.

Keys are those of skycore.filter: dotted metadata paths, the pseudo fields that begin with ``@``, and ``Parent`` and
``Child`` of edges.  ``@DeletedAt`` is missing while the element lives; a key that begins with ``Metadata.`` is always
looked up in the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable
from typing import Any, Final

from skycore.filter import MISSING, FieldGetter, lookup, metadata_path
from skycore.graph.element import Revision

StaleTest = Callable[[Revision], bool]
"""Tells whether the claimants that own an element cannot be reached at present."""

_PSEUDO_FIELDS: Final[dict[str, Callable[[Revision], Any]]] = {
    "@ID": lambda revision: revision.id,
    "@Host": lambda revision: revision.host,
    "@Origin": lambda revision: revision.origin,
    "@CreatedAt": lambda revision: revision.created_at,
    "@UpdatedAt": lambda revision: revision.updated_at,
    "@DeletedAt": lambda revision: MISSING if revision.deleted_at is None else revision.deleted_at,
    "@Revision": lambda revision: revision.revision,
}


def field(revision: Revision, key: str, stale: StaleTest | None = None) -> Any:
    """The value of one key, MISSING where there is none; ``stale`` answers ``@Stale`` (without it: False)."""
    return fields(revision, stale)(key)


def fields(revision: Revision, stale: StaleTest | None = None) -> FieldGetter:
    """A function that gives the value of any key; the metadata is decoded once, when first needed."""
    metadata: dict[str, Any] | None = None

    def get(key: str) -> Any:
        nonlocal metadata
        if key.startswith("@"):
            pseudo = _PSEUDO_FIELDS.get(key)
            if pseudo is not None:
                return pseudo(revision)
            if key == "@Stale":
                return stale is not None and stale(revision)
        elif revision.parent is not None and key in ("Parent", "Child"):
            return revision.parent if key == "Parent" else revision.child
        if metadata is None:
            metadata = revision.metadata()
        return lookup(metadata, metadata_path(key))

    return get


def is_stale(stale: Container[tuple[str, str]], origin: str, owners: tuple[str, ...]) -> bool:
    """Whether nobody vouches for an element: all that comes from its origin, or all of its owners, are ``stale``.

    ``stale`` holds (origin, claimant); an empty claimant means all that comes from the origin.
    """
    return (origin, "") in stale or (bool(owners) and all((origin, owner) in stale for owner in owners))


def freeze(value: Any) -> Hashable:
    """A hashable form of a value: equal exactly when the JSON values are (1 and 1.0 are, 1 and true are not)."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", tuple(map(freeze, value)))
    if isinstance(value, dict):
        return ("object", frozenset((key, freeze(member)) for key, member in value.items()))
    return value  # type: ignore[no-any-return]
