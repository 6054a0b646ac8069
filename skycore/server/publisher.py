"""What publishers say: messages checked against the schemas of nodes and edges, and made claims of their own.

A publisher is a claimant named after the origin that it is given, ``<client type>.<host id>``.  What it adds it owns;
what it updates of others' elements are further metadata keys, which go with the element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

import msgspec

from skycore.errors import ClaimError
from skycore.graph.claimant import Claimant
from skycore.graph.claims import Claim, naming_of
from skycore.graph.element import Kind, Revision, canonical_metadata
from skycore.graph.graph import Graph
from skycore.server.envelope import Message
from skycore.server.handshake import Client

PLUGIN: Final = "publisher"
_PERSISTENT: Final = "publisher:"
_VISITOR: Final = "visitor:"
_LONGEST_ID: Final = 1024
_LAST_TIME: Final = 253402300799999
MOST_ELEMENTS: Final = 500_000
"""That one publisher may claim."""

_decode = msgspec.json.Decoder().decode


class PublishRefused(Exception):
    """A message that cannot be carried out; its text is for the publisher."""


def publisher_of(graph: Graph, revision: Revision) -> Claimant | None:
    """The publisher that owned an element which a store kept; None when it was none."""
    for owner in revision.owners:
        if owner.startswith((_PERSISTENT, _VISITOR)):
            return graph.claimant(owner, plugin=PLUGIN)
    return None


def is_publisher(claimant: str) -> bool:
    """Whether a claimant of this name is a publisher."""
    return claimant.startswith((_PERSISTENT, _VISITOR))


def withdraw_visitors(graph: Graph) -> None:
    """Take back what publishers with DeleteOnDisconnect have left from before a restart."""
    for claimant in list(graph.claimants.values()):
        if claimant.name.startswith(_VISITOR):
            claimant.withdraw()
            _forget(graph, claimant)


def _forget(graph: Graph, claimant: Claimant) -> None:
    # Names are the clients' choice: those that claim nothing must not pile up.
    if not claimant.claims:
        graph.claimants.pop(claimant.name, None)


@final
class Publisher:
    """One connected publisher."""

    def __init__(self, graph: Graph, client: Client) -> None:
        self._graph = graph
        self._client = client
        self._claimant = graph.claimant(
            f"{_PERSISTENT if client.persistent else _VISITOR}{client.origin}", plugin=PLUGIN
        )
        self._verbs: dict[str, Callable[[Any], None]] = {
            "NodeAdded": lambda obj: self._add("node", obj),
            "EdgeAdded": lambda obj: self._add("edge", obj),
            "NodeUpdated": lambda obj: self._update("node", obj),
            "EdgeUpdated": lambda obj: self._update("edge", obj),
            "NodePartiallyUpdated": lambda obj: self._patch("node", obj),
            "EdgePartiallyUpdated": lambda obj: self._patch("edge", obj),
            "NodeDeleted": lambda obj: self._delete("node", obj),
            "EdgeDeleted": lambda obj: self._delete("edge", obj),
            "Sync": self._sync,
        }

    def take(self, message: Message) -> None:
        """Carry out a message.  Raises PublishRefused; then nothing of it was done."""
        verb = self._verbs.get(message.type)
        if verb is None:
            known = ", ".join(("SyncRequest", *self._verbs))
            raise PublishRefused(f"unknown type of message {message.type[:60]!r}; a publisher sends {known}")
        try:
            verb(_decode(message.obj))
        except (msgspec.DecodeError, RecursionError) as error:
            raise PublishRefused(f"Obj is no JSON: {error}") from None
        except ClaimError as error:
            raise PublishRefused(str(error)) from None

    def leave(self) -> None:
        """The connection is over."""
        if not self._client.persistent:
            self._claimant.withdraw()
        _forget(self._graph, self._claimant)

    # ------------------------------------------------------------------ verbs

    def _add(self, kind: Kind, obj: Any) -> None:
        claim = self._claim(kind, obj)
        if claim.id not in self._claimant.claims and self._known(claim.id):
            # Somebody else's: that it exists is no news (as in Skydive).
            return
        self._say(claim)

    def _update(self, kind: Kind, obj: Any) -> None:
        claim = self._claim(kind, obj)
        if claim.id not in self._claimant.claims:
            if not self._known(claim.id):
                raise PublishRefused(f"{kind} {claim.id!r} is not known; add it first")
            claim.owning = False
        self._say(claim)

    def _patch(self, kind: Kind, obj: Any) -> None:
        id = _id(obj)
        own = self._claimant.claims.get(id)
        current = self._graph.nodes.get(id) if kind == "node" else self._graph.edges.get(id)
        if own is None and current is None:
            raise PublishRefused(f"{kind} {id!r} is not known; add it first")
        metadata = msgspec.json.decode(own.metadata) if own is not None else {}
        for operation in _operations(obj):
            apply_operation(metadata, operation)
        parent, child = (own.parent, own.child) if own is not None else (current.parent, current.child)  # type: ignore[union-attr]
        if (parent is None) != (kind == "node"):
            raise PublishRefused(f"{id!r} is no {kind}")
        claim = self._claim_of(id, metadata, parent, child, obj)
        if own is None:
            claim.owning = False
        elif own.owning:
            _check_metadata(kind, metadata)
        self._say(claim)

    def _delete(self, kind: Kind, obj: Any) -> None:
        id = _id(obj)
        claim = self._claimant.claims.get(id)
        if claim is None or (claim.parent is None) != (kind == "node"):
            raise PublishRefused(f"{kind} {id!r} was not published by {self._client.origin}")
        self._claimant.drop(id, at=_time(obj, "DeletedAt"))

    def _sync(self, obj: Any) -> None:
        if not isinstance(obj, dict):
            raise PublishRefused("Obj of a Sync is a graph: an object with Nodes and Edges")
        claims: list[Claim] = []
        for kind, name in (("node", "Nodes"), ("edge", "Edges")):
            elements = obj.get(name) or []
            if not isinstance(elements, list):
                raise PublishRefused(f"{name} is a list or null")
            claims += [self._claim("node" if kind == "node" else "edge", element) for element in elements]
        if len(claims) > MOST_ELEMENTS:
            raise PublishRefused(f"a publisher may claim {MOST_ELEMENTS} elements, not {len(claims)}")
        with self._claimant.snapshot():
            for claim in claims:
                if claim.id in self._claimant.claims or not self._known(claim.id):
                    self._claimant.say(claim)

    # ------------------------------------------------------------------ claims

    def _say(self, claim: Claim) -> None:
        known = self._claimant.claims.get(claim.id)
        if known is None and len(self._claimant.claims) >= MOST_ELEMENTS:
            raise PublishRefused(f"a publisher may claim {MOST_ELEMENTS} elements; {claim.id!r} would be one more")
        if known is not None:
            claim.owning = known.owning
        self._claimant.say(claim)

    def _known(self, id: str) -> bool:
        return id in self._graph.nodes or id in self._graph.edges

    def _claim(self, kind: Kind, obj: Any) -> Claim:
        """A claim of what a message says of one element, as one who owns it."""
        id = _id(obj)
        metadata = obj.get("Metadata")
        if not isinstance(metadata, dict):
            raise PublishRefused(f"{kind} {id!r}: Metadata is required: an object")
        _check_metadata(kind, metadata)
        for name in ("Host", "Origin"):
            if not isinstance(obj.get(name), str | None):
                raise PublishRefused(f"{kind} {id!r}: {name} must be a string or null")
        parent = child = None
        if kind == "edge":
            parent, child = _id(obj, "Parent"), _id(obj, "Child")
        return self._claim_of(id, metadata, parent, child, obj)

    def _claim_of(self, id: str, metadata: dict[str, Any], parent: str | None, child: str | None, obj: Any) -> Claim:
        for known in (self._graph.nodes.get(id), self._graph.edges.get(id), self._claimant.claims.get(id)):
            if known is not None and (known.parent, known.child) != (parent, child):
                raise PublishRefused(f"{id!r} is known as {_ends(known.parent, known.child)}; an ID is never reused")
        content = canonical_metadata(metadata)
        host = obj.get("Host")
        created, updated = _time(obj, "CreatedAt"), _time(obj, "UpdatedAt")
        return Claim(
            self._claimant.name,
            PLUGIN,
            id,
            owning=True,
            content=content,
            parent=parent,
            child=child,
            host=host if isinstance(host, str) else self._client.host,
            origin=self._client.origin,
            created_at=created,
            updated_at=updated,
            naming=naming_of(content) if self._graph.with_tids else None,
        )


def _ends(parent: str | None, child: str | None) -> str:
    return "a node" if parent is None else f"an edge from {parent!r} to {child!r}"


def _id(obj: Any, name: str = "ID") -> str:
    if not isinstance(obj, dict):
        raise PublishRefused("Obj is an object with ID and Metadata")
    id = obj.get(name)
    if not isinstance(id, str) or not id:
        raise PublishRefused(f"{name} is required: a string that is not empty")
    if len(id) > _LONGEST_ID:
        raise PublishRefused(f"{name} is longer than {_LONGEST_ID} characters")
    return id


def _time(obj: dict[str, Any], name: str) -> int | None:
    value = obj.get(name)
    if value is None or value == 0:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LAST_TIME:
        raise PublishRefused(f"{name} must be null or milliseconds since 1970 as an integer, not {value!r:.40}")
    return value


def _text(metadata: dict[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""


def _check_metadata(kind: Kind, metadata: dict[str, Any]) -> None:
    """The schemas of Skydive: what an element must say of itself."""
    if kind == "edge":
        if not _text(metadata, "RelationType"):
            raise PublishRefused("Metadata.RelationType is required: a string that is not empty")
        return
    type = _text(metadata, "Type")
    needed = {"netns": ("Name", "Path"), "ovsport": ("Name", "UUID")}.get(type, ("Name", "Type"))
    for key in needed:
        if not _text(metadata, key):
            of = f" of a node of type {type}" if type else ""
            raise PublishRefused(f"Metadata.{key}{of} is required: a string that is not empty")


_SET, _DELETE = 1, 2


def _operations(obj: dict[str, Any]) -> list[dict[str, Any]]:
    operations = obj.get("Ops") or []
    if not isinstance(operations, list):
        raise PublishRefused("Ops is a list or null")
    for operation in operations:
        if not isinstance(operation, dict) or operation.get("Type") not in (_SET, _DELETE):
            raise PublishRefused('an operation is {"Type":1,"Key":…,"Value":…} to set, {"Type":2,"Key":…} to delete')
        if not isinstance(operation.get("Key"), str) or not operation["Key"]:
            raise PublishRefused("Key of an operation is a dotted path")
    return operations


def apply_operation(metadata: dict[str, Any], operation: dict[str, Any]) -> None:
    """Carry out one operation of a partial update: objects on the way are made, and taken away when they get empty."""
    *way, last = operation["Key"].split(".")
    place, objects = metadata, [metadata]
    for part in way:
        inner = place.get(part)
        if not isinstance(inner, dict):
            if operation["Type"] == _DELETE:
                return
            inner = place[part] = {}
        place = inner
        objects.append(place)
    if operation["Type"] == _SET:
        place[last] = operation.get("Value")
        return
    place.pop(last, None)
    for outer, part in zip(reversed(objects[:-1]), reversed(way), strict=True):
        if outer[part]:
            break
        del outer[part]
