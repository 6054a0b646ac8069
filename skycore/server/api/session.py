"""`/api/session`: who the asker is, and what they may do of what is served here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from skycore.server.api.body import json_answer
from skycore.server.api.schemas import Rights
from skycore.server.api.services import Services
from skycore.server.endpoint import JSON, Answer, Endpoint, identity_of

_BESIDES: Final = (("websocket", "/ws/subscriber"),)
_WITHIN: Final = {"capture": (("capture", "rawpackets"),)}
"""Permissions that no endpoint has as its own, by the object with which they are announced."""


def session_endpoint(services: Services, served: Iterable[Endpoint]) -> Endpoint:
    """Made from the table, so that what is not served is not told of."""
    asked = {(endpoint.object, endpoint.action) for endpoint in served if endpoint.object}
    asked |= {more for object, _ in asked for more in _WITHIN.get(object, ())}
    permissions = sorted(asked | set(_BESIDES))
    history = services.queries.history is not None

    async def show(request: Request) -> Response:
        identity = identity_of(request)
        allows = services.gatekeeper.allows
        told = [
            {"Object": object, "Action": action, "Allowed": allows(identity, object, action)}
            for object, action in permissions
        ]
        answer = {"User": identity.name, "Roles": list(identity.roles), "Permissions": told, "History": history}
        response = json_answer(answer)
        response.headers["Cache-Control"] = "no-store"
        return response

    return Endpoint(
        method="GET",
        path="/api/session",
        handler=show,
        summary="Who asks, and what they may do of what is served here",
        answers=(Answer(200, "user, roles and permissions", Rights, (JSON,)),),
    )
