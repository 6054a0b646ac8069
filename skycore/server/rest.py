"""The ASGI application of one role: the endpoints of its table, and what all answers have in common.

Texts, status codes and shapes are those that Skydive's clients know (docs/rest.md).
"""

from __future__ import annotations

from urllib.parse import quote

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route

from skycore.errors import Refusal, StorageError
from skycore.server.api.services import Services
from skycore.server.api.table import endpoints
from skycore.server.compression import Compression
from skycore.server.endpoint import refused, routes
from skycore.server.safety import SafetyHeaders

_log = structlog.get_logger(__name__)
_CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_CORS_HEADERS = ("X-Requested-With", "Content-Type", "Authorization", "X-Auth-Token", "X-Resource-TTL")
_CORS_EXPOSED = ("X-Skycore-Gaps",)


def application(services: Services) -> Starlette:
    """The application that serves the endpoints of a role."""
    served = routes(endpoints(services), services.gatekeeper)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code in (404, 405) and (elsewhere := _without_slash(request, served)):
            return elsewhere
        if error.status_code == 404:
            return refused(Refusal(404, "404 page not found"))
        if error.status_code == 405:
            return Response(status_code=405, headers=error.headers)
        return refused(Refusal(error.status_code, str(error.detail)))

    app = Starlette(
        routes=served,
        exception_handlers={HTTPException: http_error, Refusal: _refusal, StorageError: _store_failed},
        middleware=[
            Middleware(SafetyHeaders),
            Middleware(
                # Credentials of a browser are never allowed along: a token must be given by the page itself.
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=_CORS_METHODS,
                allow_headers=_CORS_HEADERS,
                expose_headers=_CORS_EXPOSED,
            ),
            Middleware(Compression),
        ],
    )
    app.router.redirect_slashes = False
    return app


async def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


async def _store_failed(request: Request, error: Exception) -> Response:
    _log.error("the store failed", method=request.method, path=request.url.path, error=str(error))
    return refused(Refusal(500, f"the store failed: {error}"))


def _without_slash(request: Request, served: list[Route]) -> Response | None:
    """The redirect of a path that would be served without the slash at its end."""
    path = request.scope["path"]
    bare = path.rstrip("/")
    if bare == path or not bare:
        return None
    scope = {**request.scope, "path": bare}
    if all(route.matches(scope)[0] == Match.NONE for route in served):
        return None
    query = request.scope["query_string"].decode("ascii")
    return RedirectResponse(quote(bare, safe="/") + (f"?{query}" if query else ""), 301)
