"""The lines of ``analyzer.topology.fabric``, in Skydive's notation.

::

    TOR1[Name=tor1] -> TOR1_PORT1[Name=port1, MTU=1500]     owns, and is linked to
    TOR1_PORT1 --> TOR2                                     is linked to
    TOR1 -> [color=red] TOR1_PORT2                          metadata of the link
    TOR1_PORT1 --> *[Type=host, Name=h1]/eth0               is linked to what agents find: eth0 of such a parent
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, final

import attrs

_NAME: Final = r"[^\s\[\]/*=,>-][^\s\[\]/*=,]*?"
_BRACKETS: Final = r"(?:\[(?P<{0}>[^\[\]]*)\])?"
_LINE: Final = re.compile(
    r"\s*(?P<parent>\*|" + _NAME + r")\s*" + _BRACKETS.format("parent_attributes") + r"\s*"
    r"(?P<arrow>-->|->)\s*" + _BRACKETS.format("link_attributes") + r"\s*"
    r"(?:\*\s*" + _BRACKETS.format("host_attributes") + r"\s*/\s*(?P<interface>" + _NAME + r")"
    r"|(?P<child>" + _NAME + r"))"
    r"\s*" + _BRACKETS.format("child_attributes") + r"\s*"
)  # fmt: skip
_LONGEST: Final = 4096


@final
@attrs.frozen
class Node:
    """A node of the fabric: the word by which lines name it, and its metadata (texts)."""

    key: str
    metadata: Mapping[str, str]


@final
@attrs.frozen
class Found:
    """Nodes that agents find: those with ``child`` under a parent with ``parent``."""

    parent: Mapping[str, str]
    child: Mapping[str, str]


@final
@attrs.frozen
class Link:
    """A link from a node of the fabric to another, or to what is found; ``owns``: an ownership edge besides."""

    parent: str
    child: str | Found
    owns: bool
    metadata: Mapping[str, str]


@final
@attrs.frozen
class Fabric:
    nodes: Mapping[str, Node]
    links: tuple[Link, ...]


def parse(lines: Iterable[str]) -> Fabric:
    """Read the lines.  Raises ValueError with the number of the line.

    What a line says in brackets after a name counts where the name stands first.
    """
    nodes: dict[str, Node] = {}
    links: list[Link] = []
    for number, line in enumerate(lines, 1):
        try:
            links.append(_link(line, nodes))
        except ValueError as error:
            raise ValueError(f"line {number} of analyzer.topology.fabric, {line[:200]!r}: {error}") from None
    return Fabric(nodes, tuple(links))


def _link(line: str, nodes: dict[str, Node]) -> Link:
    found = _LINE.fullmatch(line) if len(line) <= _LONGEST else None
    if found is None:
        raise ValueError(
            "is not of the form PARENT[key=value] -> [key=value] CHILD[key=value], or … --> *[key=value]/NAME"
        )
    if found["parent"] == "*":
        raise ValueError("the parent cannot be *: name a node of the fabric")
    parent = _node(found["parent"], found["parent_attributes"], nodes)
    child_attributes = found["child_attributes"]
    child: str | Found
    if found["interface"] is not None:
        child = Found(_pairs(found["host_attributes"]), {"Name": found["interface"], **_pairs(child_attributes)})
    else:
        child = _node(found["child"], child_attributes, nodes)
        if child == parent:
            raise ValueError("a node cannot be linked to itself")
    return Link(parent, child, found["arrow"] == "->", {"Type": "fabric", **_pairs(found["link_attributes"])})


def _node(key: str, attributes: str | None, nodes: dict[str, Node]) -> str:
    pairs = _pairs(attributes)
    if key not in nodes:
        nodes[key] = Node(key, {"Name": key, "Type": "device", **pairs, "Probe": "fabric"})
    return key


def _pairs(text: str | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ValueError(f"{part.strip()!r} is not of the form key=value")
        pairs[key.strip()] = value.strip()
    return pairs
