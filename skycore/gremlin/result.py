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

from skycore.graph.element import Revision
from skycore.gremlin.operation import COUNT, GRAPH, OBJECT, PATHS, VALUES, Kind, chunks

_encode = msgspec.json.Encoder().encode


class Result(ABC):
    """An answer; ``kind`` tells what it holds."""

    kind: Kind

    @abstractmethod
    def json_chunks(self) -> Iterator[bytes]:
        """The answer's JSON in pieces of bounded size."""

    def json(self) -> bytes:
        """The answer's JSON as one text."""
        return b"".join(self.json_chunks())


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
class ObjectResult(Result):
    """One bare JSON value."""

    value: Any
    kind: Kind = OBJECT

    def json_chunks(self) -> Iterator[bytes]:
        yield _encode(self.value) + b"\n"


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
