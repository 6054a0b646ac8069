"""The messages of the agent-analyzer link: `/ws/cluster`, one JSON object per binary WebSocket message.

An agent says hello, the analyzer says what it already has, and then the agent sends *entries*, each numbered
within the agent's epoch (the start of its process), as they stand in its spool: the whole state once
(``sync``), what changed since (``changes``), what could not be kept (``gap``).  The analyzer acknowledges an
entry when the commit that holds it is done.  ``stale`` is a state, not an entry: it is told at the start and
when it changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import msgspec

from skycore.errors import LinkError
from skycore.graph.element import Revision

PATH: Final = "/ws/cluster"
SCHEMA: Final = 1
MAX_MESSAGE: Final = 1 << 20
"""Bytes of one message; only a single element that is larger than this makes a larger one."""
MAX_ELEMENT: Final = 8 << 20
"""Bytes of one element; a larger one is refused where it is made."""


class Stale(msgspec.Struct, frozen=True, tag="stale"):
    """What one of the agent's probes says cannot be vouched for since ``since`` (until ``until``)."""

    claimant: str
    since: int
    until: int | None
    reason: str


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First message, from the agent.

    ``clock`` is its time in milliseconds since the epoch (of Unix), ``epoch`` the start of its process, and
    ``stale`` the state of its probes.
    """

    schema: int
    host: str
    origin: str
    epoch: int
    clock: int
    version: str
    stale: list[Stale]


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The answer.  ``resume``: the agent may go on with its changes; else a sync must come before them."""

    schema: int
    host: str
    clock: int
    resume: bool


class Changes(msgspec.Struct, frozen=True, tag="changes"):
    """Revisions in the order in which they were made: element JSON, and for each the owners' names."""

    epoch: int
    seq: int
    elements: list[msgspec.Raw]
    owners: list[str]


class Sync(msgspec.Struct, frozen=True, tag="sync"):
    """A part of the agent's whole state at the time ``at``; the state is complete with the part that is ``last``."""

    epoch: int
    seq: int
    part: int
    last: bool
    at: int
    elements: list[msgspec.Raw]
    owners: list[str]


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """``lost`` revisions between two times never reached the spool, or were dropped from it."""

    epoch: int
    seq: int
    start: int
    end: int
    lost: int


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """The analyzer has committed every entry of this epoch up to ``seq``."""

    epoch: int
    seq: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The analyzer ends the link, and why."""

    reason: str


class Element(msgspec.Struct, frozen=True, gc=False):
    """An element as it stands in ``elements``: a node, or an edge when it has Parent and Child.

    The agent's own Revision is not read: revisions are counted by the process that serves them.
    """

    ID: str
    Metadata: msgspec.Raw
    Host: str
    Origin: str
    CreatedAt: int
    UpdatedAt: int
    DeletedAt: int | None = None
    Parent: str | None = None
    Child: str | None = None


Entry: TypeAlias = Changes | Sync | Gap
FromAgent: TypeAlias = Hello | Changes | Sync | Gap | Stale
FromAnalyzer: TypeAlias = Welcome | Ack | Refused

_encode = msgspec.json.Encoder().encode
_from_agent: msgspec.json.Decoder[FromAgent] = msgspec.json.Decoder(FromAgent)
_from_analyzer: msgspec.json.Decoder[FromAnalyzer] = msgspec.json.Decoder(FromAnalyzer)
_element = msgspec.json.Decoder(Element)


def encode(message: FromAgent | FromAnalyzer) -> bytes:
    """One message as it stands on the link."""
    return _encode(message)


def from_agent(data: str | bytes) -> FromAgent:
    """Decode what an agent sent; raises LinkError."""
    try:
        _check_text(data)
        return _from_agent.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LinkError(f"the agent sent what is no message of schema {SCHEMA}: {error}") from error


def from_analyzer(data: str | bytes) -> FromAnalyzer:
    """Decode what an analyzer sent; raises LinkError."""
    try:
        _check_text(data)
        return _from_analyzer.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LinkError(f"the analyzer sent what is no message of schema {SCHEMA}: {error}") from error


def element(raw: msgspec.Raw) -> Element:
    """Decode one element; its metadata must be a JSON object.  Raises LinkError."""
    try:
        found = _element.decode(raw)
    except msgspec.DecodeError as error:
        raise LinkError(f"an element is malformed: {error}") from error
    if not bytes(found.Metadata).startswith(b"{"):
        raise LinkError(f"element {found.ID}: Metadata is no JSON object")
    if (found.Parent is None) != (found.Child is None):
        raise LinkError(f"element {found.ID}: an edge has both Parent and Child")
    return found


def parts(
    revisions: Iterable[Revision], limit: int = MAX_MESSAGE - 4096
) -> Iterator[tuple[list[msgspec.Raw], list[str]]]:
    """Cut revisions into lists (elements, owners) whose JSON stays below ``limit`` bytes; at least one, maybe empty."""
    elements: list[msgspec.Raw] = []
    owners: list[str] = []
    size = 0
    for revision in revisions:
        names = ",".join(revision.owners)
        weight = len(revision.json) + len(names) + 4
        if elements and size + weight > limit:
            yield elements, owners
            elements, owners, size = [], [], 0
        elements.append(msgspec.Raw(revision.json))
        owners.append(names)
        size += weight
    yield elements, owners


def owner_names(owners: str) -> tuple[str, ...]:
    """The names in one item of ``owners``."""
    return tuple(owners.split(",")) if owners else ()


def _check_text(data: str | bytes) -> None:
    # msgspec.Raw checks the JSON syntax of what it passes on, but not its UTF-8.
    if isinstance(data, bytes) and not data.isascii():
        data.decode()
