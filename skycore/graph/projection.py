"""Reading a few keys of an element without decoding the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from skycore.filter import MISSING, lookup, metadata_path
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import field

UNINDEXED: Final = "@Stale"
"""The one field that changes without a revision."""


def canonical_key(kind: Kind, key: str) -> str:
    """The usual spelling of a key: without ``Metadata.`` where nothing else is meant then."""
    short = key.removeprefix("Metadata.")
    return key if _beside_metadata(kind, short) else short


def _beside_metadata(kind: Kind, key: str) -> bool:
    return key.startswith("@") or (kind == "edge" and key in ("Parent", "Child"))


def projection(kind: Kind, keys: Sequence[str]) -> Callable[[Revision], list[Any]]:
    """A function that gives the values of several keys of a revision, MISSING for a key that is not there.

    Keys are those of skycore.graph.fields, except ``@Stale``.
    """
    outside = [key for key in keys if _beside_metadata(kind, key)]
    paths = {key: metadata_path(key) for key in keys if key not in outside}
    tops = list(dict.fromkeys(path[0] for path in paths.values()))
    struct = msgspec.defstruct(
        "Projection",
        [(f"f{number}", Any, MISSING) for number, _ in enumerate(tops)],
        rename={f"f{number}": top for number, top in enumerate(tops)},
        gc=False,
    )
    decode = msgspec.json.Decoder(struct).decode
    names = {top: f"f{number}" for number, top in enumerate(tops)}
    plain = [names[paths[key][0]] for key in keys if key in paths and len(paths[key]) == 1]
    if len(plain) == len(keys):
        return lambda revision: _attributes(decode(revision.metadata_json), plain)

    def extract(revision: Revision) -> list[Any]:
        found = decode(revision.metadata_json) if tops else None
        values: list[Any] = []
        for key in keys:
            path = paths.get(key)
            if path is None:
                values.append(field(revision, key))
                continue
            value = getattr(found, names[path[0]])
            values.append(value if len(path) == 1 or value is MISSING else lookup({path[0]: value}, path))
        return values

    return extract


def _attributes(found: Any, names: Sequence[str]) -> list[Any]:
    return [getattr(found, name) for name in names]
