"""The objects that users create by the API; what the fields mean is in docs/rules.md."""

from __future__ import annotations

from typing import Any, Literal, final

import msgspec


@final
class NodeRule(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a node of its metadata (``create``), or gives them to all nodes of a query (``update``)."""

    uuid: str = msgspec.field(name="UUID", default="")
    name: str = msgspec.field(name="Name", default="")
    description: str = msgspec.field(name="Description", default="")
    action: Literal["create", "update"] = msgspec.field(name="Action")
    query: str = msgspec.field(name="Query", default="")
    metadata: dict[str, Any] = msgspec.field(name="Metadata", default_factory=dict)


@final
class EdgeRule(msgspec.Struct, frozen=True, kw_only=True):
    """Keeps an edge between the nodes that two queries, ``src`` and ``dst``, select."""

    uuid: str = msgspec.field(name="UUID", default="")
    name: str = msgspec.field(name="Name", default="")
    description: str = msgspec.field(name="Description", default="")
    src: str = msgspec.field(name="Src")
    dst: str = msgspec.field(name="Dst")
    metadata: dict[str, Any] = msgspec.field(name="Metadata", default_factory=dict)


@final
class UserMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """A value under ``UserMetadata.<key>`` of all nodes of a query."""

    uuid: str = msgspec.field(name="UUID", default="")
    gremlin: str = msgspec.field(name="GremlinQuery")
    key: str = msgspec.field(name="Key")
    value: Any = msgspec.field(name="Value", default=None)
