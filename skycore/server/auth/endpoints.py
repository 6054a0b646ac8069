"""The HTTP endpoints of access besides `/login`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from skycore.server.endpoint import TEXT, Answer, Endpoint


def logout_endpoint(logout: Callable[[Request], Awaitable[Response]]) -> Endpoint:
    """``POST /logout``: end the session, forget the cookies."""
    return Endpoint(
        method="POST",
        path="/logout",
        handler=logout,
        summary="End the session",
        public=True,
        answers=(
            Answer(200, "the session has ended, if there was one"),
            Answer(403, "another site's page asked for it", media_types=(TEXT,)),
        ),
    )
