"""The REST API: what both roles serve under `/api`.

Texts, status codes and shapes are those that Skydive's clients know (docs/rest.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from skycore import __version__, gremlin
from skycore.errors import GremlinError, StorageError
from skycore.gremlin import QueryContext

_encode = msgspec.json.Encoder().encode
_NO_SNIFF = {"X-Content-Type-Options": "nosniff"}


def application(
    *, service: Literal["agent", "analyzer"], host: str, queries: QueryContext, status: Callable[[], dict[str, Any]]
) -> Starlette:
    """The ASGI application of one role; ``status`` gives what `/api/status` shows."""

    async def about(_request: Request) -> Response:
        return JSONResponse({"Host": host, "Version": __version__, "Service": service})

    async def show_status(_request: Request) -> Response:
        return Response(_encode(status()) + b"\n", media_type="application/json; charset=UTF-8")

    async def topology(request: Request) -> Response:
        text = "G" if request.method != "POST" else _query_text(await request.body())
        if not text:
            return Response(status_code=204)
        try:
            result = await gremlin.run(text, queries)
        except GremlinError as error:
            return _error(400, str(error))
        except StorageError as error:
            return _error(500, f"history cannot be read: {error}")
        if request.method != "POST" and isinstance(result, gremlin.GraphResult):
            return _stream(_line(result))
        return _stream(result.json_chunks())

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route("/api", about, methods=["GET"]),
            Route("/api/status", show_status, methods=["GET"]),
            Route("/api/topology", topology, methods=["GET", "POST"]),
            Route("/healthz", health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error},
    )


def _query_text(body: bytes) -> str:
    """The query in a request body ``{"GremlinQuery": "…"}``; empty for an empty body or query."""
    if not body.strip():
        return ""
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise HTTPException(400, 'the body must be a JSON object: {"GremlinQuery": "G.V()"}')
    # Skydive's decoder takes field names in any case.
    for name, value in message.items():
        if name.lower() == "gremlinquery":
            if not isinstance(value, str):
                raise HTTPException(400, "GremlinQuery must be a string")
            return value
    return ""


def _stream(chunks: Iterator[bytes]) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return StreamingResponse(pieces(), media_type="application/json; charset=UTF-8")


def _line(result: gremlin.GraphResult) -> Iterator[bytes]:
    yield from result.object_chunks()
    yield b"\n"


def _error(status: int, text: str) -> Response:
    return PlainTextResponse(text + "\n", status_code=status, headers=_NO_SNIFF)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _error(404, "404 page not found")
    if error.status_code == 405:
        return Response(status_code=405, headers=error.headers)
    return _error(error.status_code, str(error.detail))
