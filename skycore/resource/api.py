"""What a user may do with API objects, whatever their kind: the calls behind ``/api/<kind>``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, final
from uuid import uuid4

import msgspec
import trio

from skycore.errors import InvalidResource, NotModified, ResourceNotFound
from skycore.resource.contract import Resource, ResourceStore
from skycore.resource.kind import Kind
from skycore.resource.patch import PatchError, apply_patch
from skycore.resource.ttl import parse_ttl
from skycore.resource.value import equal

_encode = msgspec.json.Encoder().encode


class ObjectApi(Protocol):
    """The objects of one kind.

    Results encode with ``msgspec.json.encode``.  All calls raise subclasses of Refusal, whose status and text are the
    answer, and StorageError when an object could not be made durable.
    """

    @property
    def name(self) -> str:
        """The word in paths and permissions: ``noderule``."""
        ...

    @property
    def title(self) -> str: ...

    def list(self) -> Mapping[str, Any]:
        """All objects by their ID."""
        ...

    def get(self, id: str) -> Any: ...

    async def create(self, body: object, *, ttl: str | None = None) -> Any:
        """Make an object of decoded JSON; ``ttl`` is the text of ``X-Resource-TTL``.  Returns when it is durable."""
        ...

    async def patch(self, id: str, operations: object) -> Any:
        """Change an object by a decoded JSON Patch.  Raises NotModified when that changes nothing."""
        ...

    async def delete(self, id: str) -> None: ...


@final
class ResourceApi:
    """Implements ObjectApi for a kind of objects that a store keeps."""

    def __init__(
        self, store: ResourceStore, kind: Kind, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._store = store
        self._kind = kind
        self._clock = clock
        self.name = kind.name
        self.title = kind.title
        # What a change is compared with must not change before it is written.
        self._turn = trio.Lock()

    def list(self) -> Mapping[str, Any]:
        return {id: msgspec.Raw(one.json) for id, one in self._store.list(self._kind.name).items()}

    def get(self, id: str) -> Any:
        return msgspec.Raw(self._find(id).json)

    async def create(self, body: object, *, ttl: str | None = None) -> Any:
        kind = self._kind
        uuid = str(uuid4())
        value = kind.read(body, uuid)
        lives = parse_ttl(ttl)
        try:
            json = _encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidResource(f"the {kind.title} cannot be written as JSON: {error}") from error
        async with self._turn:
            kind.compare(value, (other.value for other in self._store.list(kind.name).values()))
            now = self._clock()
            await self._store.create(Resource(kind.name, uuid, json, now, None if lives is None else now + lives))
        return msgspec.Raw(json)

    async def patch(self, id: str, operations: object) -> Any:
        if not self._kind.updatable:
            raise InvalidResource("updating resource with patched version: resource not updatable")
        async with self._turn:
            return await self._patch(id, operations)

    async def _patch(self, id: str, operations: object) -> Any:
        resource = self._store.get(self._kind.name, id)
        if resource is None:
            raise ResourceNotFound()
        value = resource.value
        try:
            patched = apply_patch(value, operations)
        except PatchError as error:
            raise InvalidResource(f"applying patch: {error}") from error
        try:
            changed = self._kind.read(patched, id)
        except InvalidResource as error:
            raise InvalidResource(f"validating patched resource: {error.text}") from error
        if equal(changed, value):
            raise NotModified()
        changed_resource = resource.with_value(changed)
        await self._store.replace(changed_resource)
        return msgspec.Raw(changed_resource.json)

    async def delete(self, id: str) -> None:
        self._find(id)
        try:
            await self._store.delete(self._kind.name, id)
        except ResourceNotFound:
            raise self._not_found(id) from None

    def _find(self, id: str) -> Resource:
        if not id:
            raise InvalidResource(f"the ID of the {self.title} is missing")
        resource = self._store.get(self._kind.name, id)
        if resource is None:
            raise self._not_found(id)
        return resource

    def _not_found(self, id: str) -> ResourceNotFound:
        return ResourceNotFound(f"{self.title} '{id}' not found")
