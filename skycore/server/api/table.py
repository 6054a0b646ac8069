"""The one table of endpoints: what is served, by which role, to whom.

Routes, access checks, the OpenAPI document and the tests are made from it.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from skycore.server import plugin_web, web
from skycore.server.api import about, flows, history, language, metrics, objects, recordings, topology
from skycore.server.api.body import JSON_ANSWER
from skycore.server.api.openapi import document
from skycore.server.api.services import Services
from skycore.server.api.session import session_endpoint
from skycore.server.endpoint import JSON, Answer, Endpoint, serving


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Everything that a role serves over HTTP."""
    found = serving(
        (
            *about.endpoints(services),
            *topology.endpoints(services),
            *language.endpoints(services),
            *objects.endpoints(services.objects),
            *recordings.endpoints(services),
            *metrics.endpoints(services),
            *history.endpoints(services),
            *flows.endpoints(services),
            *plugin_web.endpoints(services.panels),
            *web.endpoints(),
        ),
        services.role,
    )

    async def show_openapi(_request: Request) -> Response:
        return Response(described, media_type=JSON_ANSWER)

    openapi = Endpoint(
        method="GET",
        path="/api/openapi.json",
        handler=show_openapi,
        summary="This description",
        answers=(Answer(200, "an OpenAPI 3.1 document", {"type": "object"}, (JSON,)),),
    )
    table = (*found, session_endpoint(services, found), openapi)
    described = msgspec.json.encode(document(table, services.role)) + b"\n"
    return table
