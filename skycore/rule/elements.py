"""Nodes and edges that users make, and what users say of those that others found: ``/api/node`` and ``/api/edge``.

What a user said is kept in the store of API objects, of three kinds: ``node`` and ``edge`` are elements that users
made, ``annotation`` holds keys that a user gave to an element of somebody else.  All of it is claimed by one claimant,
whose word counts before every other's, so that it outlives updates and restarts of agents and of the analyzer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, final

import attrs
import msgspec
import trio

from skycore.errors import ClaimError, DuplicatedResource, InvalidResource, NotModified, ResourceNotFound
from skycore.graph.claims import Claim
from skycore.graph.element import Revision, canonical_metadata
from skycore.graph.graph import Graph
from skycore.resource.contract import Resource, ResourceStore
from skycore.resource.kind import fold
from skycore.resource.patch import PatchError, apply_patch
from skycore.resource.ttl import parse_ttl
from skycore.resource.value import equal, normalise
from skycore.rule import precedence
from skycore.rule.schema import edge_fault, node_fault

_FIELDS: Final = ("ID", "Metadata", "Host", "Origin", "CreatedAt", "UpdatedAt", "Parent", "Child")
_KEPT: Final = ("TID", "Name", "Type")
_KINDS: Final = ("node", "edge", "annotation")
_TIME_LIMIT: Final = 1 << 53


@final
class UserElements:
    """What users said of nodes and edges, in the graph and in the store.

    Call ``restore`` when the graph is restored.  Calls raise what ``ObjectApi`` says.
    """

    def __init__(self, graph: Graph, store: ResourceStore) -> None:
        self._graph = graph
        self._store = store
        self._watch = store.watch(*_KINDS)
        self._claimant = precedence.user(graph)
        self._turn = trio.Lock()
        self.nodes = ElementApi(self, "node")
        self.edges = ElementApi(self, "edge")

    def restore(self) -> None:
        """Say again what the store knows; what else was left of users' elements goes (unless it knows nothing)."""
        if self._store.fault is not None:
            return
        with self._claimant.snapshot():
            for kind in _KINDS:
                for resource in self._store.list(kind).values():
                    self._claim(resource.id)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow what the store lets expire (and others change in it), until cancelled."""
        task_status.started()
        try:
            while True:
                await self._watch.wait()
                for event in self._watch.read():
                    self._claim(event.resource.id)
        finally:
            self._watch.close()

    # ------------------------------------------------------------------ what the two APIs do

    def table(self, kind: str) -> dict[str, Revision]:
        return self._graph.nodes if kind == "node" else self._graph.edges

    async def create(self, kind: str, body: object, ttl: str | None) -> Any:
        value = self._read(kind, body)
        lives = parse_ttl(ttl)
        now = self._graph.clock()
        async with self._turn:
            self._check_new(kind, value)
            resource = Resource(
                kind, value["ID"], msgspec.json.encode(value), now, None if lives is None else now + lives
            )
            try:
                await self._store.create(resource)
            except DuplicatedResource:
                raise InvalidResource(f"{kind.capitalize()} ID conflict") from None
            self._claim(resource.id)
        revision = self.table(kind).get(resource.id)
        return msgspec.Raw(resource.json if revision is None else revision.json)

    async def patch(self, kind: str, id: str, operations: object) -> Any:
        async with self._turn:
            current = self.table(kind).get(id)
            if current is None:
                raise ResourceNotFound()
            before = current.metadata()
            after = _patched(kind, current, operations)
            if equal(before, after):
                raise NotModified()
            given = {key: value for key, value in after.items() if key not in before or not equal(before[key], value)}
            await self._keep(kind, current, given, [key for key in before if key not in after])
            self._claim(id)
            revision = self.table(kind).get(id)
            if revision is None:
                raise ResourceNotFound()
            if revision.metadata_json == current.metadata_json:
                raise NotModified()
            return msgspec.Raw(revision.json)

    async def delete(self, kind: str, id: str) -> None:
        if not id:
            raise InvalidResource(f"the ID of the {kind} is missing")
        async with self._turn:
            own, annotation = self._store.get(kind, id), self._store.get("annotation", id)
            current = self.table(kind).get(id)
            if own is None and (annotation is None or current is not None):
                if current is None:
                    raise ResourceNotFound(f"{kind.capitalize()} '{id}' not found")
                raise InvalidResource(
                    f"{kind.capitalize()} '{id}' was found by {current.origin} ({', '.join(current.owners)}) and not "
                    "made by a user: it goes when it is no longer found"
                )
            if kind == "node":
                # An edge without its node is no edge; those of others wait for the node.
                for edge in [one for one in self._store.list("edge").values() if id in _ends(one)]:
                    await self._forget(edge)
            for resource in (own, annotation):
                if resource is not None:
                    await self._forget(resource)

    # ------------------------------------------------------------------ parts of it

    async def _forget(self, resource: Resource) -> None:
        try:
            await self._store.delete(resource.kind, resource.id)
        except ResourceNotFound:
            pass
        self._claim(resource.id)

    async def _keep(self, kind: str, current: Revision, given: Mapping[str, Any], removed: list[str]) -> None:
        """Have the store know what a patch said."""
        id = current.id
        own = self._store.get(kind, id)
        known = own or self._store.get("annotation", id)
        value: dict[str, Any] = {"ID": id, "Metadata": {}} if known is None else known.value
        if known is None and current.parent is not None:
            value |= {"Parent": current.parent, "Child": current.child}
        metadata: dict[str, Any] = value["Metadata"]
        for key in removed:
            if key not in metadata:
                raise InvalidResource(
                    f"Metadata.{key} is not the user's to remove: {current.origin} ({', '.join(current.owners)}), "
                    "or a rule, says it; give it another value instead"
                )
            del metadata[key]
        metadata.update(given)
        _check(metadata)
        if known is None:
            await self._store.create(Resource("annotation", id, msgspec.json.encode(value), self._graph.clock()))
        elif own is None and not metadata:
            await self._store.delete("annotation", id)
        else:
            await self._store.replace(known.with_value(value))

    def _claim(self, id: str) -> None:
        """Have the graph say what the store says of an element."""
        claimant = self._claimant
        own = self._store.get("node", id) or self._store.get("edge", id)
        annotation = self._store.get("annotation", id)
        if own is None and annotation is None:
            claimant.drop(id)
            return
        if own is None:
            assert annotation is not None
            value = annotation.value
            ends = value.get("Parent"), value.get("Child")
            content = canonical_metadata(value["Metadata"])
            claimant.say(Claim(claimant.name, claimant.plugin, id, False, content, parent=ends[0], child=ends[1]))
            return
        value = own.value
        claimant.say(
            Claim(
                claimant.name,
                claimant.plugin,
                id,
                True,
                canonical_metadata(value["Metadata"]),
                parent=value.get("Parent"),
                child=value.get("Child"),
                host=value["Host"],
                origin=value["Origin"],
                created_at=value["CreatedAt"],
                updated_at=value["UpdatedAt"],
            )
        )

    def _check_new(self, kind: str, value: Mapping[str, Any]) -> None:
        id, graph = value["ID"], self._graph
        if id in graph.nodes or id in graph.edges or any(self._store.get(one, id) for one in ("node", "edge")):
            raise InvalidResource(f"{kind.capitalize()} ID conflict")
        if kind == "edge":
            for end in ("Parent", "Child"):
                if value[end] not in graph.nodes:
                    raise InvalidResource(f"{end} node not found")

    def _read(self, kind: str, body: object) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise InvalidResource(f"a {kind} is a JSON object")
        given = fold(body, _FIELDS)
        value: dict[str, Any] = {"ID": _text(given, "ID", "No ID found for graph element")}
        if kind == "edge":
            value["Parent"] = _text(given, "Parent", "parent ID wrong format")
            value["Child"] = _text(given, "Child", "child ID wrong format")
        metadata = given.get("Metadata")
        if not isinstance(metadata, dict):
            raise InvalidResource("invalid schema: (root): Metadata is required")
        metadata = normalise(metadata)
        fault = node_fault(metadata) if kind == "node" else edge_fault(metadata)
        if fault is not None:
            raise InvalidResource(fault)
        _check(metadata)
        now = self._graph.clock()
        created = _time(given, "CreatedAt") or now
        return {
            **value,
            "Metadata": metadata,
            "Host": _optional_text(given, "Host"),
            "Origin": _optional_text(given, "Origin") or f"api.{self._graph.host}",
            "CreatedAt": created,
            "UpdatedAt": max(_time(given, "UpdatedAt") or created, created),
        }


@final
@attrs.frozen
class ElementApi:
    """Implements skycore.resource.api.ObjectApi for all nodes, or all edges, of the graph."""

    _elements: UserElements
    name: Literal["node", "edge"]

    @property
    def title(self) -> str:
        return self.name.capitalize()

    def list(self) -> Mapping[str, Any]:
        return {id: msgspec.Raw(revision.json) for id, revision in self._elements.table(self.name).items()}

    def get(self, id: str) -> Any:
        if not id:
            raise InvalidResource(f"the ID of the {self.name} is missing")
        revision = self._elements.table(self.name).get(id)
        if revision is None:
            raise ResourceNotFound(f"{self.title} '{id}' not found")
        return msgspec.Raw(revision.json)

    async def create(self, body: object, *, ttl: str | None = None) -> Any:
        return await self._elements.create(self.name, body, ttl)

    async def patch(self, id: str, operations: object) -> Any:
        return await self._elements.patch(self.name, id, operations)

    async def delete(self, id: str) -> None:
        await self._elements.delete(self.name, id)


def _patched(kind: str, current: Revision, operations: object) -> dict[str, Any]:
    """The metadata after a patch of the whole element; TID, Name and Type of nodes stay what they are."""
    document = msgspec.json.decode(current.json)
    before = document["Metadata"]
    try:
        document = apply_patch(document, operations)
    except PatchError as error:
        raise InvalidResource(f"applying patch: {error}") from error
    after = document.get("Metadata") if isinstance(document, dict) else None
    if not isinstance(after, dict):
        raise InvalidResource("validating patched resource: invalid schema: (root): Metadata is required")
    metadata: dict[str, Any] = normalise(after)
    fault = node_fault(metadata) if kind == "node" else edge_fault(metadata)
    if fault is not None:
        raise InvalidResource(f"validating patched resource: {fault}")
    for key in _KEPT if kind == "node" else ():
        metadata.pop(key, None)
        if key in before:
            metadata[key] = before[key]
    return metadata


def _ends(edge: Resource) -> tuple[str, str]:
    value = edge.value
    return value["Parent"], value["Child"]


def _check(metadata: Mapping[str, Any]) -> None:
    try:
        canonical_metadata(metadata)
    except ClaimError as error:
        raise InvalidResource(f"Metadata: {error}") from error


def _text(given: Mapping[str, Any], name: str, fault: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidResource(fault)
    return value


def _optional_text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is None:
        return ""
    return _text({name: value}, name, f"{name}: must be a string") if value != "" else ""


def _time(given: Mapping[str, Any], name: str) -> int | None:
    """Milliseconds since the epoch; None for null, 0 and nothing."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _TIME_LIMIT:
        raise InvalidResource(f"{name}: must be milliseconds since the epoch, or null")
    return value or None
