"""The answer to a query, and its JSON.

Elements are written from the bytes of their revisions.  A result holds revisions, which never change, so it may be
written long after the query ran.  Every JSON text ends with a newline.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import attrs
import msgspec

from skycore.flow.query import Unanswered
from skycore.graph.element import Revision
from skycore.graph.view import Gap
from skycore.gremlin.operation import COUNT, DIFFERENCE, FLOWS, GRAPH, OBJECT, PATHS, REVISIONS, VALUES, Kind, chunks

_encode = msgspec.json.Encoder().encode


@attrs.frozen
class Result(ABC):
    """An answer; ``kind`` tells what it holds.

    ``gaps`` are the times, among those that the query was about, of which history is incomplete; ``unanswered`` the
    agents whose flows are missing.
    """

    kind: Kind = attrs.field(init=False)
    gaps: tuple[Gap, ...] = attrs.field(default=(), kw_only=True)
    unanswered: tuple[Unanswered, ...] = attrs.field(default=(), kw_only=True)

    @abstractmethod
    def json_chunks(self) -> Iterator[bytes]:
        """The answer's JSON in pieces of bounded size."""

    def json(self) -> bytes:
        """The answer's JSON as one text."""
        return b"".join(self.json_chunks())


_SHOWN_GAPS = 32


def gap_object(gap: Gap) -> dict[str, Any]:
    """How a gap is shown: ``{"Origin", "Start", "End", "Lost"}``."""
    return {"Origin": gap.origin, "Start": gap.start_ms, "End": gap.end_ms, "Lost": gap.lost}


def gaps_header(gaps: Sequence[Gap]) -> str:
    """Gaps as the value of an HTTP header: a list in JSON, printable ASCII, of the latest ones when there are many."""
    return _header([gap_object(gap) for gap in gaps[-_SHOWN_GAPS:]])


def missing_object(unanswered: Unanswered) -> dict[str, str]:
    """How an agent whose flows are missing is shown: ``{"Host", "Reason"}``."""
    return {"Host": unanswered.host, "Reason": unanswered.reason}


def missing_header(unanswered: Sequence[Unanswered]) -> str:
    """Agents whose flows are missing as the value of an HTTP header, like gaps; of many the first ones."""
    return _header([missing_object(one) for one in unanswered[:_SHOWN_GAPS]])


def _header(shown: list[Any]) -> str:
    text = _encode(shown).decode()
    # As RFC 8259, section 7 allows, so that any name of an origin passes through a header.
    units = (text[place : place + 1].encode("utf-16-be").hex() for place in range(len(text)))
    return "".join(
        char if " " <= char <= "~" else "".join(f"\\u{unit[at : at + 4]}" for at in range(0, len(unit), 4))
        for char, unit in zip(text, units, strict=True)
    )


@final
@attrs.frozen
class ElementsResult(Result):
    """Nodes (kind ``V``) or edges (kind ``E``): a list of elements, ``[]`` when there are none."""

    kind: Kind
    elements: Sequence[Revision]

    def json_chunks(self) -> Iterator[bytes]:
        return _framed(b"[", _joined(one.json for one in self.elements), b"]\n")


@final
@attrs.frozen
class GraphResult(Result):
    """A whole graph: a list of one object, whose empty lists are ``null``."""

    nodes: Sequence[Revision]
    edges: Sequence[Revision]
    kind: Kind = attrs.field(default=GRAPH, init=False)

    def json_chunks(self) -> Iterator[bytes]:
        return _framed(b"[", self.object_chunks(), b"]\n")

    def object_chunks(self) -> Iterator[bytes]:
        """The object alone, without the list and without the newline, as REST and WebSocket give a graph."""
        yield b'{"Nodes":'
        yield from _list_or_null(one.json for one in self.nodes)
        yield b',"Edges":'
        yield from _list_or_null(one.json for one in self.edges)
        yield b"}"


@final
@attrs.frozen
class ValuesResult(Result):
    """Values of JSON types: a list, ``null`` when there are none."""

    values: Sequence[Any]
    kind: Kind = VALUES

    def json_chunks(self) -> Iterator[bytes]:
        yield from _list_or_null(map(_encode, self.values))
        yield b"\n"


@final
@attrs.frozen
class NumberResult(Result):
    """A bare number."""

    value: int | float
    kind: Kind = COUNT

    def json_chunks(self) -> Iterator[bytes]:
        yield _encode(self.value) + b"\n"


@final
@attrs.frozen
class PathsResult(Result):
    """A list of paths, each a list of nodes; ``[]`` when there are none."""

    paths: Sequence[Sequence[Revision]]
    kind: Kind = attrs.field(default=PATHS, init=False)

    def json_chunks(self) -> Iterator[bytes]:
        texts = (b"[" + b",".join(node.json for node in path) + b"]" for path in self.paths)
        return _framed(b"[", _joined(texts), b"]\n")


@final
@attrs.frozen
class KeyedResult(Result):
    """A list of one object that maps IDs to values; ``[]`` when there are none."""

    values: Mapping[str, Any]
    kind: Kind

    def json_chunks(self) -> Iterator[bytes]:
        if not self.values:
            yield b"[]\n"
            return
        pairs = (_encode(id) + b":" + _encode(value) for id, value in self.values.items())
        yield from _framed(b"[{", _joined(pairs), b"}]\n")


@final
@attrs.frozen
class FlowsResult(Result):
    """A list of flows, each the JSON that its table or store gave; ``[]`` when there are none."""

    flows: Sequence[bytes]
    kind: Kind = attrs.field(default=FLOWS, init=False)

    def json_chunks(self) -> Iterator[bytes]:
        return _framed(b"[", _joined(self.flows), b"]\n")


@final
@attrs.frozen
class ObjectResult(Result):
    """One bare JSON value."""

    value: Any
    kind: Kind = OBJECT

    def json_chunks(self) -> Iterator[bytes]:
        yield _encode(self.value) + b"\n"


@final
@attrs.frozen
class DifferenceResult(Result):
    """One object: ``Start`` and ``End``, and what ``Appeared``, ``Vanished`` and ``Changed``, lists of nodes and edges.

    Each of ``changed`` is a revision, and the JSON of its entry.
    """

    start: int
    end: int
    appeared: Sequence[Revision]
    vanished: Sequence[Revision]
    changed: Sequence[tuple[Revision, bytes]]
    kind: Kind = attrs.field(default=DIFFERENCE, init=False)

    @property
    def rows(self) -> int:
        return len(self.appeared) + len(self.vanished) + len(self.changed)

    def json_chunks(self) -> Iterator[bytes]:
        yield b'{"Start":%d,"End":%d' % (self.start, self.end)
        for name, found in (("Appeared", self.appeared), ("Vanished", self.vanished)):
            yield from self._lists(name, [(one, one.json) for one in found])
        yield from self._lists("Changed", self.changed)
        yield b"}\n"

    def _lists(self, name: str, found: Sequence[tuple[Revision, bytes]]) -> Iterator[bytes]:
        yield b',"%b":{"Nodes":[' % name.encode()
        yield from _joined(text for one, text in found if one.kind == "node")
        yield b'],"Edges":['
        yield from _joined(text for one, text in found if one.kind == "edge")
        yield b"]}"


@final
@attrs.frozen
class RevisionsResult(Result):
    """A list of one object that maps IDs to lists of revisions, each already JSON; ``[]`` when there are none."""

    revisions: Mapping[str, Sequence[bytes]]
    kind: Kind = attrs.field(default=REVISIONS, init=False)

    @property
    def rows(self) -> int:
        return sum(map(len, self.revisions.values()))

    def json_chunks(self) -> Iterator[bytes]:
        if not self.revisions:
            yield b"[]\n"
            return
        start = b"[{"
        for id, entries in self.revisions.items():
            yield start + _encode(id) + b":["
            yield from _joined(entries)
            yield b"]"
            start = b","
        yield b"}]\n"


def _joined(texts: Iterable[bytes]) -> Iterator[bytes]:
    separator = b""
    for part in chunks(texts, 1024):
        yield separator + b",".join(part)
        separator = b","


def _framed(start: bytes, texts: Iterator[bytes], end: bytes) -> Iterator[bytes]:
    yield start
    yield from texts
    yield end


def _list_or_null(texts: Iterable[bytes]) -> Iterator[bytes]:
    parts = _joined(texts)
    first = next(parts, None)
    if first is None:
        yield b"null"
        return
    yield b"[" + first
    yield from parts
    yield b"]"
