"""Headers that keep browsers from guessing types and, once they came over TLS, from coming without it."""

from __future__ import annotations

from typing import Final, final

from skycore.server.asgi import ASGIApp, Message, Receive, Scope, Send

_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
# RFC 6797; a year, as Skydive says.
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


@final
class SafetyHeaders:
    """ASGI middleware that adds them to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        added = (_NO_SNIFF, _HSTS) if scope["scheme"] == "https" else (_NO_SNIFF,)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, with_headers)
