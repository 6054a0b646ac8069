"""Who serves, how it is doing, and how it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from skycore import __version__
from skycore.server.api.body import JSON_ANSWER, json_answer
from skycore.server.api.schemas import About, Login, Session, ref
from skycore.server.api.services import Services
from skycore.server.auth.endpoints import logout_endpoint
from skycore.server.endpoint import ANALYZER, JSON, TEXT, Answer, Body, Endpoint

_encode = msgspec.json.Encoder().encode


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """`/api`, `/login`, `/api/status`, `/api/config/{key}` and `/healthz`."""
    about = _encode(About(services.host, __version__, services.role)) + b"\n"

    async def show_about(_request: Request) -> Response:
        return Response(about, media_type=JSON_ANSWER)

    async def login(request: Request) -> Response:
        return await services.gatekeeper.login(request)

    async def to_login(_request: Request) -> Response:
        return RedirectResponse("/", 302)

    async def show_status(_request: Request) -> Response:
        return json_answer(services.status())

    async def show_config(request: Request) -> Response:
        return json_answer(_looked_up(services.config, request.path_params["key"]))

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return (
        Endpoint(
            method="GET",
            path="/api",
            handler=show_about,
            summary="Who serves",
            answers=(Answer(200, "host, version and role", About, (JSON,)),),
        ),
        Endpoint(
            method="POST",
            path="/login",
            handler=login,
            summary="Exchange a password for a session",
            public=True,
            body=Body(Login, ("application/x-www-form-urlencoded", "multipart/form-data"), required=False),
            answers=(
                Answer(200, "the session's token, and what the user may do", Session, (JSON,)),
                Answer(400, "this is not a form", media_types=(TEXT,)),
                Answer(401, "wrong credentials", media_types=(TEXT,)),
                Answer(403, "another site's page asked for it", media_types=(TEXT,)),
                Answer(413, "the form is too large", media_types=(TEXT,)),
                Answer(429, "too many wrong credentials", media_types=(TEXT,)),
                Answer(503, "credentials cannot be checked at present", media_types=(TEXT,)),
            ),
        ),
        logout_endpoint(services.gatekeeper.logout),
        Endpoint(
            method="GET",
            path="/login",
            handler=to_login,
            summary="To the page where one logs in",
            public=True,
            answers=(Answer(302, "to `/`"),),
        ),
        Endpoint(
            method="GET",
            path="/api/status",
            handler=show_status,
            summary="Links, clients, plugins, history",
            object="status",
            action="read",
            answers=(
                Answer(200, "the state at this moment", ref(f"{services.role.title()}Status"), (JSON,)),
                Answer(405, "no permission"),
            ),
        ),
        Endpoint(
            method="GET",
            path="/api/config/{key}",
            handler=show_config,
            summary="A value of the configuration",
            roles=ANALYZER,
            object="config",
            action="read",
            parameters={"key": "the dotted key, in any case, such as `analyzer.listen`"},
            answers=(
                Answer(200, "the value; an empty string for an unknown key; secrets are asterisks", {}, (JSON,)),
                Answer(405, "no permission"),
            ),
        ),
        Endpoint(
            method="GET",
            path="/healthz",
            handler=health,
            summary="Whether the process answers",
            public=True,
            answers=(Answer(200, "`ok`", media_types=(TEXT,)),),
        ),
    )


def _looked_up(config: Mapping[str, Any], dotted: str) -> Any:
    value: Any = config
    rest = dotted.lower()
    if rest.endswith("."):
        return ""
    while rest:
        if not isinstance(value, Mapping):
            return ""
        # Names of storages, plugins and log files may have dots themselves; the longest that fits counts.
        name = max(
            (name for name in value if rest == name.lower() or rest.startswith(f"{name.lower()}.")),
            key=len,
            default=None,
        )
        if name is None:
            return ""
        value = value[name]
        rest = rest[len(name) + 1 :]
    return value
