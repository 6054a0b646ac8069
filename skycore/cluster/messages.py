"""The messages of the agent-analyzer link: `/ws/cluster`, one JSON object per binary WebSocket message.

An agent says hello, the analyzer says whether it may go on from where it was, and then the agent sends
*entries*, as they stand in its spool: the whole state once (``sync``), what changed since (``changes``), what
could not be kept (``gap``).  What they hold is numbered within the agent's epoch (the start of its process),
without holes: each revision of ``changes`` takes a number, so does each part of a ``sync``, and a ``gap`` takes
those of what it lost.  The analyzer acknowledges an
entry when the commit that holds it is done.  ``stale`` is a state, not an entry: it is told at the start and
when it changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, TypeAlias

import msgspec

from skycore.errors import ClaimError, LinkError
from skycore.flow.order import CaptureOrder
from skycore.graph.element import Revision, canonical_metadata, decode_metadata
from skycore.injection.order import Inject, Injected, Withdraw

PATH: Final = "/ws/cluster"
SCHEMA: Final = 1
MAX_MESSAGE: Final = 1 << 20
"""Bytes of one message; only a single element that is larger than this makes a larger one."""
MAX_ORDER: Final = 8 << 20
"""Bytes of a message to an agent: all captures that are wanted of it, or an injection with its recording."""
MAX_ELEMENT: Final = 8 << 20
"""Bytes of one element; a larger one is refused where it is made."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""Times, epochs and numbers: what a store can hold, and JavaScript too."""
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=1024)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Stale(msgspec.Struct, frozen=True, tag="stale"):
    """What one of the agent's probes says cannot be vouched for since ``since`` (until ``until``)."""

    claimant: Text
    since: Count
    until: Count | None
    reason: Text


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First message, from the agent.

    ``clock`` is its time in milliseconds since the epoch (of Unix), ``epoch`` the start of its process, and
    ``stale`` the state of its probes.  ``link`` is how the agent calls this analyzer: two links that differ in nothing
    else are two ways to the same one.
    """

    schema: Count
    host: Name
    origin: Name
    epoch: Count
    clock: Count
    version: Text
    link: Name
    stale: list[Stale]


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The answer.  ``resume``: the agent may go on with its changes; else a sync must come before them.

    ``ping_delay``: so many milliseconds apart the analyzer pings; one that is silent for longer is not there any more.
    """

    schema: Count
    host: Name
    clock: Count
    ping_delay: Count
    resume: bool


class Changes(msgspec.Struct, frozen=True, tag="changes"):
    """Revisions in the order in which they were made: element JSON, and for each the owners' names.

    ``seq`` is the number of the last one.
    """

    epoch: Count
    seq: Count
    elements: list[msgspec.Raw]
    owners: list[str]

    @property
    def first(self) -> int:
        return self.seq - len(self.elements) + 1


class Sync(msgspec.Struct, frozen=True, tag="sync"):
    """A part of the agent's whole state at the time ``at``; the state is complete with the part that is ``last``."""

    epoch: Count
    seq: Count
    part: Count
    last: bool
    at: Count
    elements: list[msgspec.Raw]
    owners: list[str]

    @property
    def first(self) -> int:
        return self.seq


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """``lost`` revisions between two times never reached the spool, or were dropped from it."""

    epoch: Count
    seq: Count
    start: Count
    end: Count
    lost: Count

    @property
    def first(self) -> int:
        return self.seq - self.lost + 1


class Clock(msgspec.Struct, frozen=True, tag="clock"):
    """The sender's time, in milliseconds since the epoch (of Unix); the analyzer answers one with its own.

    ``skew``, by the agent: the analyzer's clock minus its own, as the answer to the one before has shown.
    """

    clock: Count
    skew: Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)] | None = None


class Flows(msgspec.Struct, frozen=True, tag="flows"):
    """Records of flows and packets kept of them, in their own epochs and numbers; ``seq`` counts batches."""

    epoch: Count
    seq: Count
    flows: list[msgspec.Raw]
    raw: list[msgspec.Raw]


class FlowGap(msgspec.Struct, frozen=True, tag="flowgap"):
    """Batches ``first`` to ``seq`` were dropped from the agent's spool of flows."""

    epoch: Count
    first: Count
    seq: Count


class CaptureStats(msgspec.Struct, frozen=True):
    """One capture on one node: flows in its table now, and what was counted since the last time."""

    node: Name
    capture: Name
    flows: Count
    evicted: Count
    received: Count
    dropped: Count


class FlowStats(msgspec.Struct, frozen=True, tag="flowstats"):
    """What the captures of an agent have counted, told every few seconds."""

    captures: list[CaptureStats]


class FlowAsk(msgspec.Struct, frozen=True, tag="flowquery"):
    """A question about the flows in the agent's tables; the rest as in skycore.flow.query.FlowQuery.

    ``number`` tells questions of one link apart.  ``filter`` has the JSON form of docs/native.md.  ``packets_of``: not
    the flows are wanted, but packets kept of those with these UUIDs.  ``pieces``: so many answers may be sent at once.
    """

    number: Count
    filter: msgspec.Raw
    pieces: Count
    nodes: list[str] | None = None
    sort_by: str | None = None
    descending: bool = False
    dedup_by: str | None = None
    limit: Count | None = None
    packets_of: list[str] | None = None


class FlowMore(msgspec.Struct, frozen=True, tag="flowmore"):
    """So many answers more may be sent."""

    number: Count
    pieces: Count


class FlowStop(msgspec.Struct, frozen=True, tag="flowstop"):
    """The question is of no interest any more."""

    number: Count


class FlowAnswer(msgspec.Struct, frozen=True, tag="flowanswer"):
    """A piece of the answer to a question: records in its order, or packets; ``error``: why there are no more."""

    number: Count
    records: list[msgspec.Raw]
    last: bool = False
    error: Text | None = None


class FlowAck(msgspec.Struct, frozen=True, tag="flowack"):
    """The analyzer has committed every batch of flows of this epoch up to ``seq``."""

    epoch: Count
    seq: Count


class Captures(msgspec.Struct, frozen=True, tag="captures"):
    """All captures that the analyzer wants on the agent's nodes from now on."""

    orders: list[CaptureOrder]


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """The analyzer has committed every entry of this epoch up to ``seq``."""

    epoch: Count
    seq: Count


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The analyzer ends the link, and why.  ``twin``: it is linked to this process already, by the one of that name."""

    reason: Text
    twin: Text | None = None


class Element(msgspec.Struct, frozen=True, gc=False):
    """An element as it stands in ``elements``: a node, or an edge when it has Parent and Child.

    The agent's own Revision is not read: revisions are counted by the process that serves them.
    """

    ID: Name
    Metadata: msgspec.Raw
    Host: Name
    Origin: Name
    CreatedAt: Count
    UpdatedAt: Count
    DeletedAt: Count | None = None
    Parent: Name | None = None
    Child: Name | None = None


Entry: TypeAlias = Changes | Sync | Gap
ToParts: TypeAlias = FlowAck | Captures | Inject | Withdraw | FlowAsk | FlowMore | FlowStop
"""What is for the parts of an agent's link (skycore.cluster.uplink.LinkPart)."""
FromParts: TypeAlias = Flows | FlowGap | FlowStats | Injected | FlowAnswer
"""What is for the parts of an analyzer's links (skycore.cluster.intake.IntakePart)."""
FromAgent: TypeAlias = Hello | Changes | Sync | Gap | Stale | Clock | FromParts
FromAnalyzer: TypeAlias = Welcome | Ack | Clock | Refused | ToParts

_encode = msgspec.json.Encoder().encode
_from_agent: msgspec.json.Decoder[FromAgent] = msgspec.json.Decoder(FromAgent)
_from_analyzer: msgspec.json.Decoder[FromAnalyzer] = msgspec.json.Decoder(FromAnalyzer)
_element = msgspec.json.Decoder(Element)
_UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


def encode(message: FromAgent | FromAnalyzer) -> bytes:
    """One message as it stands on the link."""
    return _encode(message)


def from_agent(data: str | bytes) -> FromAgent:
    """Decode what an agent sent; raises LinkError."""
    try:
        _check_text(data)
        return _from_agent.decode(data)
    except _UNDECODABLE as error:
        raise LinkError(f"the agent sent what is no message of schema {SCHEMA}: {error}") from error


def from_analyzer(data: str | bytes) -> FromAnalyzer:
    """Decode what an analyzer sent; raises LinkError."""
    try:
        _check_text(data)
        return _from_analyzer.decode(data)
    except _UNDECODABLE as error:
        raise LinkError(f"the analyzer sent what is no message of schema {SCHEMA}: {error}") from error


def element(raw: msgspec.Raw) -> Element:
    """Decode one element; its metadata comes out as canonical JSON.  Raises LinkError."""
    try:
        found = _element.decode(raw)
        metadata = canonical_metadata(decode_metadata(bytes(found.Metadata)))
    except (*_UNDECODABLE, ClaimError) as error:
        raise LinkError(f"an element is malformed: {error}") from error
    if (found.Parent is None) != (found.Child is None):
        raise LinkError(f"element {found.ID}: an edge has both Parent and Child")
    return msgspec.structs.replace(found, Metadata=msgspec.Raw(metadata))


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
