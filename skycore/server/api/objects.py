"""What users create, show, change and delete: one way for all kinds of objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import islice
from typing import Any, Final, final

import attrs
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from skycore.errors import Refusal
from skycore.resource.api import ObjectApi
from skycore.server.api.body import JSON_ANSWER, YAML, decode, json_answer, read_body
from skycore.server.api.schemas import EDGE, NODE, ref
from skycore.server.endpoint import ANALYZER, JSON, TEXT, Answer, Body, Endpoint

_TTL: Final = "X-Resource-TTL"
_CHUNK: Final = 512


@final
@attrs.frozen
class Described:
    """What the documentation says of a kind."""

    plural: str
    schema: Mapping[str, Any]
    updatable: bool = False


KINDS: Final[Mapping[str, Described]] = {
    "node": Described("nodes", NODE, updatable=True),
    "edge": Described("edges", EDGE, updatable=True),
    "noderule": Described("rules that make nodes, or give nodes metadata", ref("NodeRule")),
    "edgerule": Described("rules that make edges", ref("EdgeRule")),
    "capture": Described("captures", ref("Capture")),
    "injectpacket": Described("injections of packets", ref("PacketInjection")),
    "usermetadata": Described("metadata that users gave to nodes", ref("UserMetadata")),
}
"""The kinds by the word in their path, which is also the object of their permissions."""


def endpoints(objects: Mapping[str, ObjectApi]) -> Iterator[Endpoint]:
    """Those of every kind that the role has."""
    for name, api in objects.items():
        yield from _of_kind(name, KINDS[name], _Handlers(name, api))


@final
class _Handlers:
    def __init__(self, name: str, api: ObjectApi) -> None:
        self._name = name
        self._api = api

    async def list(self, _request: Request) -> Response:
        return StreamingResponse(_pieces(self._api.list()), headers={"Content-Type": JSON_ANSWER})

    async def show(self, request: Request) -> Response:
        id = request.path_params["id"]
        if not id:
            raise HTTPException(404)
        return json_answer(self._api.get(id))

    async def create(self, request: Request) -> Response:
        body = await decode(request, await read_body(request))
        made = await self._api.create(body, ttl=request.headers.get(_TTL))
        return json_answer(made, 201, newline=False)

    async def patch(self, request: Request) -> Response:
        operations = await decode(request, await read_body(request))
        return json_answer(await self._api.patch(self._id(request), operations), newline=False)

    async def delete(self, request: Request) -> Response:
        await self._api.delete(self._id(request))
        return Response(media_type="text/plain")

    def _id(self, request: Request) -> str:
        id: str = request.path_params["id"]
        if not id:
            raise Refusal(400, f"the id is missing: the path is /api/{self._name}/ID")
        return id


async def _pieces(objects: Mapping[str, Any]) -> AsyncIterator[bytes]:
    """One JSON object in pieces that each take a millisecond or so to encode."""
    before = b"{"
    remaining = iter(objects.items())
    while part := dict(islice(remaining, _CHUNK)):
        yield before + msgspec.json.encode(part)[1:-1]
        before = b","
    yield b"{}\n" if before == b"{" else b"}\n"


def _of_kind(name: str, kind: Described, handlers: _Handlers) -> Iterator[Endpoint]:
    one, many = f"/api/{name}/{{id:path}}", f"/api/{name}"
    written = Body(kind.schema, (JSON, YAML))
    wrong = Answer(400, "the text says what is wrong", media_types=(TEXT,))
    unknown = Answer(404, "there is none with this id", media_types=(TEXT,))
    refused = Answer(405, "no permission", media_types=(TEXT,))
    broken = Answer(500, "the store cannot be written", media_types=(TEXT,))
    parameters = {"id": "the object's `UUID`; of a node or edge, its `ID`"}
    yield Endpoint(
        method="GET",
        path=many,
        handler=handlers.list,
        summary=f"All {kind.plural}",
        roles=ANALYZER,
        object=name,
        action="read",
        answers=(
            Answer(200, "an object, keyed by id", {"type": "object", "additionalProperties": kind.schema}, (JSON,)),
            Answer(405, "no permission"),
        ),
    )
    yield Endpoint(
        method="POST",
        path=many,
        handler=handlers.create,
        summary=f"Create one of the {kind.plural}",
        roles=ANALYZER,
        object=name,
        action="write",
        says_why=True,
        headers={_TTL: "how long it lives, as Go writes durations (`1h30m`); without it, for ever"},
        body=written,
        answers=(
            Answer(201, "the object as it was kept", kind.schema, (JSON,)),
            wrong,
            refused,
            Answer(409, "there is one like it", media_types=(TEXT,)),
            Answer(429, "too many are made, or at work; `Retry-After` may say when to try again", media_types=(TEXT,)),
            broken,
        ),
    )
    yield Endpoint(
        method="GET",
        path=one,
        handler=handlers.show,
        summary=f"One of the {kind.plural}",
        roles=ANALYZER,
        object=name,
        action="read",
        says_why=True,
        parameters=parameters,
        answers=(Answer(200, "the object", kind.schema, (JSON,)), unknown, refused),
    )
    yield Endpoint(
        method="PATCH",
        path=one,
        handler=handlers.patch,
        summary=f"Change one of the {kind.plural}" if kind.updatable else "Not possible: these are never changed",
        roles=ANALYZER,
        object=name,
        action="write",
        parameters=parameters,
        body=Body(ref("JSONPatch"), (JSON, YAML)),
        answers=(
            *((Answer(200, "the object as it is now", kind.schema, (JSON,)),) if kind.updatable else ()),
            *((Answer(304, "nothing changed"),) if kind.updatable else ()),
            wrong,
            Answer(404, "there is none with this id"),
            Answer(405, "no permission"),
            broken,
        ),
    )
    yield Endpoint(
        method="DELETE",
        path=one,
        handler=handlers.delete,
        summary=f"Delete one of the {kind.plural}",
        roles=ANALYZER,
        object=name,
        action="write",
        says_why=True,
        parameters=parameters,
        answers=(Answer(200, "it is gone", media_types=(TEXT,)), wrong, unknown, refused, broken),
    )
