"""Elements of the graph: immutable revisions of nodes and edges, and their JSON form.

A revision is a value.  Its JSON is encoded once, when the revision is made, and the same bytes go to
queries, subscribers, the store and the link.  The field order is fixed and ``Metadata`` stands last, so
that the metadata's own bytes can be cut out without decoding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from skycore.errors import ClaimError

Kind: TypeAlias = Literal["node", "edge"]

_encode_metadata = msgspec.json.Encoder(order="deterministic").encode
_quote = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_METADATA_KEY = b'"Metadata":'

MAX_METADATA: Final = 4 << 20
"""Bytes of JSON that the metadata of one element may take."""
MAX_DEPTH: Final = 64
"""Objects and lists inside each other, the metadata itself included."""

_MARKS: Final = bytes(ord("0") if byte in b"0123456789" else ord("[") if byte in b"[{" else byte for byte in range(256))
_LONG_DIGITS: Final = b"0" * 19
# Most of them stand in a string; a number follows one of these in canonical JSON.
_LONG_NUMBER: Final = re.compile(rb"[:,\[-]0{19}")


class Revision(msgspec.Struct, frozen=True, gc=False):
    """One element at one revision.

    Times are milliseconds since the epoch, of the clock of the host that made the element.
    ``revision`` counts changes of the element as the serving process has seen them and grows for ever.
    ``deleted_at`` is None while the element lives; a revision that has it is a *tombstone*.
    ``parent`` and ``child`` are IDs of nodes, and None for nodes.
    ``born`` is the place in the change log of the first revision of this life of the element.
    ``owners`` names the claimants with an owning claim, sorted.
    ``reborn``: the element had lived before, in this process, and was deleted.
    """

    id: str
    json: bytes
    metadata_start: int
    revision: int
    host: str
    origin: str
    created_at: int
    updated_at: int
    deleted_at: int | None
    parent: str | None
    child: str | None
    born: int
    owners: tuple[str, ...]
    reborn: bool = False

    @property
    def kind(self) -> Kind:
        return "node" if self.parent is None else "edge"

    @property
    def metadata_json(self) -> bytes:
        """The metadata as canonical JSON (one object)."""
        return self.json[self.metadata_start : -1]

    def metadata(self) -> dict[str, Any]:
        """The metadata decoded; a new dict at each call."""
        return _decode_object(self.metadata_json)


def build_revision(
    *,
    id: str,
    metadata: bytes,
    revision: int,
    host: str,
    origin: str,
    created_at: int,
    updated_at: int,
    deleted_at: int | None = None,
    parent: str | None = None,
    child: str | None = None,
    born: int = 0,
    owners: tuple[str, ...] = (),
    reborn: bool = False,
) -> Revision:
    """Make a revision and encode it; ``metadata`` is one JSON object in canonical form."""
    head = (
        f'{{"ID":{_quote(id).decode()},"Host":{_quote(host).decode()},"Origin":{_quote(origin).decode()},'
        f'"CreatedAt":{created_at},"UpdatedAt":{updated_at},'
        f'"DeletedAt":{"null" if deleted_at is None else deleted_at},"Revision":{revision},'
    )
    if parent is not None and child is not None:
        head += f'"Parent":{_quote(parent).decode()},"Child":{_quote(child).decode()},'
    start = head.encode() + b'"Metadata":'
    return Revision(
        id, start + metadata + b"}", _place(start), revision, host, origin, created_at, updated_at, deleted_at,
        parent, child, born, owners, reborn,
    )  # fmt: skip


# Numbers beyond 256 are objects of their own; nearly all revisions share these.
_PLACES: Final = tuple(range(1024))


def _place(start: bytes) -> int:
    """Where the metadata begin."""
    place = len(start)
    return _PLACES[place] if place < len(_PLACES) else place


class _Head(msgspec.Struct, gc=False):
    """The fields of an element's JSON that stand before its metadata."""

    id: str = msgspec.field(name="ID")
    host: str = msgspec.field(name="Host")
    origin: str = msgspec.field(name="Origin")
    created_at: int = msgspec.field(name="CreatedAt")
    updated_at: int = msgspec.field(name="UpdatedAt")
    deleted_at: int | None = msgspec.field(name="DeletedAt")
    revision: int = msgspec.field(name="Revision")
    parent: str | None = msgspec.field(name="Parent", default=None)
    child: str | None = msgspec.field(name="Child", default=None)


_decode_head = msgspec.json.Decoder(_Head).decode


def revision_from_json(json: bytes, *, born: int = 0, owners: tuple[str, ...] = ()) -> Revision:
    """Make a revision again from the JSON that ``build_revision`` encoded; the same bytes are kept.

    Raises ValueError for other bytes.  The metadata is taken on trust: it is not decoded here.
    """
    try:
        head = _decode_head(json)
    except msgspec.DecodeError as error:
        raise ValueError(f"this is no revision of an element: {error}") from error
    # A quote inside a string is escaped, so the first such text is the key itself.
    start = json.find(_METADATA_KEY) + len(_METADATA_KEY)
    if not json.startswith(b"{", start) or not json.endswith(b"}}"):
        raise ValueError("this is no revision of an element: its metadata does not stand last")
    return Revision(
        head.id, json, start, head.revision, head.host, head.origin, head.created_at, head.updated_at, head.deleted_at,
        head.parent, head.child, born, owners,
    )  # fmt: skip


def next_revision(
    current: Revision, metadata: bytes, *, revision: int, updated_at: int, owners: tuple[str, ...]
) -> Revision:
    """The same element with other metadata; what did not change is taken from the JSON that is there."""
    json = current.json
    unchanged = json[: json.index(b'"UpdatedAt":')]
    ends = b"" if current.parent is None else json[json.index(b'"Parent":') : current.metadata_start - 11]
    start = b'%b"UpdatedAt":%d,"DeletedAt":null,"Revision":%d,%b"Metadata":' % (unchanged, updated_at, revision, ends)
    return Revision(
        current.id, start + metadata + b"}", _place(start), revision, current.host, current.origin,
        current.created_at, updated_at, None, current.parent, current.child, current.born, owners,
        current.reborn,
    )  # fmt: skip


def canonical_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Encode metadata as canonical JSON: keys sorted, no white space, UTF-8.

    Raises ClaimError for what is no JSON object (other key types, unknown value types, NaN and infinities, integers
    outside −2⁶³…2⁶⁴−1, strings with lone surrogates), and for more than MAX_METADATA bytes or MAX_DEPTH levels.
    """
    try:
        encoded = _encode_metadata(metadata)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ClaimError(f"metadata cannot be written as JSON: {error}") from error
    if not encoded.startswith(b"{"):
        raise ClaimError(f"metadata is a dict with text keys, not {type(metadata).__name__}")
    if len(encoded) > MAX_METADATA:
        raise ClaimError(
            f"metadata takes {len(encoded)} bytes as JSON, and {MAX_METADATA} are the most that an element may have; "
            f"the largest key is {max(metadata, key=lambda key: len(_encode_metadata(metadata[key])))!r}"
        )
    # The encoder writes NaN as null and any integer; only what may hold one, or is deep, is looked at in Python.
    marks = encoded.translate(_MARKS)
    if (
        b"null" in encoded
        or (_LONG_DIGITS in marks and _LONG_NUMBER.search(marks) is not None)
        or marks.count(b"[") > MAX_DEPTH
    ):
        _check_values(metadata)
    return encoded


def _check_values(metadata: Mapping[str, Any]) -> None:
    ahead: list[tuple[str, Any, int]] = [("metadata", metadata, 1)]
    while ahead:
        place, value, depth = ahead.pop()
        if depth > MAX_DEPTH + 1:
            raise ClaimError(f"metadata is nested deeper than {MAX_DEPTH} levels")
        if type(value) is str:
            continue
        if type(value) is dict or isinstance(value, Mapping):
            ahead += [(f"the value of {key!r}", member, depth + 1) for key, member in value.items()]
        elif isinstance(value, list | tuple):
            ahead += [(place, member, depth + 1) for member in value]
        elif isinstance(value, float) and not math.isfinite(value):
            raise ClaimError(f"{place} is {value}, which JSON cannot say; leave the key out")
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
            raise ClaimError(f"{place} is an integer outside −2⁶³…2⁶⁴−1; say it as text")


def decode_metadata(metadata: bytes) -> dict[str, Any]:
    """The reverse of canonical_metadata."""
    return _decode_object(metadata)


def metadata_parts(metadata: bytes) -> dict[str, bytes]:
    """Cut a JSON object into its top-level keys and the bytes of their values, without decoding these."""
    return {key: bytes(raw) for key, raw in _decode_parts(metadata).items()}


def join_parts(parts: dict[str, bytes]) -> bytes:
    """Build a canonical JSON object from its top-level keys; the reverse of metadata_parts."""
    return b"{" + b",".join(_quote(key) + b":" + parts[key] for key in sorted(parts)) + b"}"
