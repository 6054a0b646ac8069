"""One row of the table of endpoints, and what is made of the table: routes, and the access check before each handler.

A handler raises Refusal for every answer that is an error; it is sent as text with a newline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, final

import attrs
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from skycore.errors import Refusal
from skycore.server.access import Caller, Gatekeeper, Identity

Role: TypeAlias = Literal["agent", "analyzer"]
Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Schema: TypeAlias = "type | Mapping[str, Any] | None"
"""A msgspec type or a JSON schema (https://json-schema.org/draft/2020-12); None when there is no JSON."""

BOTH: Final[frozenset[Role]] = frozenset({"agent", "analyzer"})
ANALYZER: Final[frozenset[Role]] = frozenset({"analyzer"})
JSON: Final = "application/json"
TEXT: Final = "text/plain"


@final
@attrs.frozen
class Body:
    """What a request carries: its schema and the media types in which it is taken."""

    schema: Schema
    media_types: tuple[str, ...] = (JSON,)
    required: bool = True


@final
@attrs.frozen
class Answer:
    """One answer of an endpoint; an empty ``media_types`` says that it has no body."""

    status: int
    meaning: str
    schema: Schema = None
    media_types: tuple[str, ...] = ()


@final
@attrs.frozen(kw_only=True)
class Endpoint:
    """A method of a path, who may use it, and what it takes and answers.

    ``object`` and ``action`` are what the policy is asked for; without them a caller who could be identified may.
    ``public``: not even that is asked.  ``says_why``: a refusal has a text; elsewhere it is empty, as in Skydive.
    ``parameters`` explains those in the path's braces,
    ``query`` those after the question mark that are needed, ``options`` those that are not.  A ``GET`` answers
    ``HEAD``, too.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: Handler
    summary: str
    answers: tuple[Answer, ...]
    roles: frozenset[Role] = BOTH
    object: str = ""
    action: str = ""
    public: bool = False
    says_why: bool = False
    body: Body | None = None
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, str] = attrs.field(factory=dict)
    options: Mapping[str, str] = attrs.field(factory=dict)


def serving(endpoints: Iterable[Endpoint], role: Role) -> list[Endpoint]:
    """The endpoints that a role has."""
    return [endpoint for endpoint in endpoints if role in endpoint.roles]


def routes(endpoints: Iterable[Endpoint], gatekeeper: Gatekeeper) -> list[Route]:
    """One route for each path, its handlers behind the gatekeeper."""
    by_path: dict[str, dict[str, Handler]] = {}
    for endpoint in endpoints:
        methods = by_path.setdefault(endpoint.path, {})
        if endpoint.method in methods:
            raise ValueError(f"{endpoint.method} {endpoint.path} stands twice in the table of endpoints")
        methods[endpoint.method] = _guarded(endpoint, gatekeeper)
    return [Route(path, _by_method(methods), methods=list(methods)) for path, methods in by_path.items()]


def identity_of(request: Request) -> Identity:
    """Who made a request that a handler serves; not for public endpoints."""
    identity: Identity = request.scope["skycore.identity"]
    return identity


def caller_of(request: Request) -> Caller:
    """The same request as the gatekeeper sees it."""
    client = request.client
    return Caller(
        request.method,
        request.scope["path"],
        request.headers,
        request.query_params,
        None if client is None else (client.host, client.port),
        request.scope["scheme"] == "https",
    )


def refused(refusal: Refusal) -> Response:
    """The answer that a Refusal asks for; without a text it is empty."""
    text = refusal.text
    answer = PlainTextResponse(text + "\n", refusal.status) if text else Response(status_code=refusal.status)
    for name, value in refusal.headers:
        answer.headers.append(name, value)
    return answer


def _by_method(methods: Mapping[str, Handler]) -> Handler:
    async def serve(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return serve


def _guarded(endpoint: Endpoint, gatekeeper: Gatekeeper) -> Handler:
    if endpoint.public:
        return endpoint.handler
    object, action, handler = endpoint.object, endpoint.action, endpoint.handler
    noted = endpoint.method != "GET" and action != "read"

    async def serve(request: Request) -> Response:
        caller = caller_of(request)
        identity: Identity | None = None
        try:
            identity = await gatekeeper.identify(caller)
            if object and not gatekeeper.allows(identity, object, action):
                why = f"'{identity.name}' has no '{action}' permission on '{object}'" if endpoint.says_why else ""
                raise Refusal(405, why)
        except Refusal as refusal:
            gatekeeper.audit(identity, caller, object, action, refusal.status)
            raise
        request.scope["skycore.identity"] = identity
        if not noted:
            return await handler(request)
        status = 500
        try:
            response = await handler(request)
            status = response.status_code
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            gatekeeper.audit(identity, caller, object, action, status)
        return response

    return serve
