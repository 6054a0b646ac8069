"""Who asks, and whether they may: what the server needs of whatever checks credentials and roles.

The objects and actions are those of Skydive's policies (`status` `read`, `node` `write`, …; docs/security.md).
"""

from __future__ import annotations

from typing import Final, Protocol, final

import attrs
import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response


@final
@attrs.frozen
class Caller:
    """What is known of a request before anything is served; ``secure``: it came over TLS."""

    method: str
    path: str
    headers: Headers
    query: QueryParams
    client: tuple[str, int] | None
    secure: bool


@final
@attrs.frozen
class Identity:
    """A user; ``roles`` are told to those who log or show them, ``Gatekeeper.allows`` decides."""

    name: str
    roles: tuple[str, ...] = ()


class Gatekeeper(Protocol):
    """Checks who asks and what they may do; one for each role of the process."""

    async def identify(self, caller: Caller) -> Identity:
        """Who asks.  Raises Refusal (401, 403, 429, 503)."""
        ...

    def allows(self, identity: Identity, object: str, action: str) -> bool:
        """Whether the policy lets them do this; asked at every request, so it must be quick."""
        ...

    async def login(self, request: Request) -> Response:
        """The whole answer to `POST /login`.  Raises Refusal (400, 401, 403, 413, 429, 503)."""
        ...

    async def logout(self, request: Request) -> Response:
        """The whole answer to `POST /logout`.  Raises Refusal (403)."""
        ...

    def audit(self, identity: Identity | None, caller: Caller, object: str, action: str, status: int) -> None:
        """Take note of what was refused, or written; ``identity`` is None when it could not be found out."""
        ...


@final
class _Open:
    """Everybody is ``admin``, as with Skydive's ``noauth``."""

    async def identify(self, caller: Caller) -> Identity:
        return Identity("admin", ("admin",))

    def allows(self, identity: Identity, object: str, action: str) -> bool:
        return True

    async def login(self, request: Request) -> Response:
        return Response(
            msgspec.json.encode({"Token": "", "Permissions": []}), media_type="application/json; charset=UTF-8"
        )

    async def logout(self, request: Request) -> Response:
        return Response(media_type="text/plain")

    def audit(self, identity: Identity | None, caller: Caller, object: str, action: str, status: int) -> None:
        pass


OPEN: Final[Gatekeeper] = _Open()
"""For a port without authentication."""
