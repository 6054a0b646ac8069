"""A graph in the DOT language (https://graphviz.org/doc/info/lang.html), laid out as Skydive's clients know it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from skycore.graph.element import Revision

_KEYS: Final = ("Type", "IfIndex", "State", "TID", "IPV4", "IPV6")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "", "\0": ""})
_CHUNK: Final = 256


def dot_chunks(nodes: Sequence[Revision], edges: Sequence[Revision]) -> Iterator[bytes]:
    """The text in pieces, each made of some hundred elements."""
    titles: dict[str, str] = {}
    taken: set[str] = set()
    yield b"digraph g {\n"
    for start in range(0, len(nodes), _CHUNK):
        lines = []
        for node in nodes[start : start + _CHUNK]:
            metadata = node.metadata()
            title = f"{_text(metadata.get('Name', ''))}-{node.id[:8]}"
            if title in taken:
                title = f"{_text(metadata.get('Name', ''))}-{node.id}"
            taken.add(title)
            titles[node.id] = title
            details = (f"{key} = {_text(metadata[key])}" for key in _KEYS if key in metadata)
            lines.append(f"{_quoted(title)} [label={_quoted(chr(10).join((title, *details)))}]\n")
        yield "".join(lines).encode("utf-8", "replace")
    for start in range(0, len(edges), _CHUNK):
        lines = []
        for edge in edges[start : start + _CHUNK]:
            # A query's graph may hold an edge without its ends.
            parent = titles.get(edge.parent or "", edge.parent or "")
            child = titles.get(edge.child or "", edge.child or "")
            relation = _text(edge.metadata().get("RelationType", ""))
            both = "both" if relation == "layer2" else "forward"
            lines.append(f"{_quoted(parent)} -> {_quoted(child)} [label={_quoted(relation)},dir={both}]\n")
        yield "".join(lines).encode("utf-8", "replace")
    yield b"}\n"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)


def _quoted(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'
