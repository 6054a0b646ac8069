"""Nodes, edges and graphs as an analyzer or agent tells them; the field names on the wire are those of Skydive."""

from __future__ import annotations

from typing import Any, TypeAlias, final

import msgspec


class Element(msgspec.Struct, frozen=True, kw_only=True):
    """What nodes and edges have in common.

    Times are milliseconds since 1970 UTC; ``deleted_at`` is None while it lives, and so are the others of an element
    that was not sent yet.  ``origin`` is who said it (``agent.web1``), ``revision`` grows with each change.
    """

    id: str = msgspec.field(name="ID")
    metadata: dict[str, Any] = msgspec.field(name="Metadata", default_factory=dict)
    host: str = msgspec.field(name="Host", default="")
    origin: str = msgspec.field(name="Origin", default="")
    created_at: int | None = msgspec.field(name="CreatedAt", default=None)
    updated_at: int | None = msgspec.field(name="UpdatedAt", default=None)
    deleted_at: int | None = msgspec.field(name="DeletedAt", default=None)
    revision: int = msgspec.field(name="Revision", default=0)


@final
class Node(Element, frozen=True, kw_only=True):
    """A node at one revision."""

    @property
    def name(self) -> str:
        """``Name`` of its metadata; empty when that is no text."""
        return _text(self.metadata, "Name")

    @property
    def type(self) -> str:
        """``Type`` of its metadata."""
        return _text(self.metadata, "Type")


@final
class Edge(Element, frozen=True, kw_only=True):
    """An edge at one revision; ``parent`` and ``child`` are IDs of nodes."""

    parent: str = msgspec.field(name="Parent")
    child: str = msgspec.field(name="Child")

    @property
    def relation(self) -> str:
        """``RelationType`` of its metadata, such as ``ownership`` or ``layer2``."""
        return _text(self.metadata, "RelationType")


AnyElement: TypeAlias = Node | Edge


@final
class Graph(msgspec.Struct, frozen=True):
    """Nodes, and edges between them.  On the wire an empty list is null."""

    wire_nodes: tuple[Node, ...] | None = msgspec.field(name="Nodes")
    wire_edges: tuple[Edge, ...] | None = msgspec.field(name="Edges")

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its nodes."""
        return self.wire_nodes or ()

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Its edges."""
        return self.wire_edges or ()


def _text(metadata: dict[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""
