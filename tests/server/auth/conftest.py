"""A guard with users of its own, and requests to it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
import structlog
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request

from skycore.config.schema import RBAC
from skycore.errors import AuthUnavailable
from skycore.plugin.auth import User
from skycore.server.access import Caller
from skycore.server.auth.guard import Guard
from skycore.server.auth.origin import Origins
from skycore.server.auth.policy import Policy

CLIENT = ("192.0.2.1", 40000)


@attrs.define(repr=False)
class Directory:
    """A backend whose users and state a test sets; counts what it is asked."""

    users: dict[str, str] = attrs.field(factory=lambda: {"root": "root's", "bob": "bob's", "ann": "ann's"})
    tokens: dict[str, str] = attrs.field(factory=dict)
    down: bool = False
    asked: int = 0

    async def by_password(self, name: str, password: str) -> User | None:
        self.asked += 1
        if self.down:
            raise AuthUnavailable("the directory is away")
        return User(name, password) if self.users.get(name) == password else None

    async def by_token(self, token: str) -> User | None:
        self.asked += 1
        name = self.tokens.get(token)
        return None if name is None else User(name, token)

    async def still(self, user: User) -> bool:
        return self.users.get(user.name) == user.stamp or self.tokens.get(user.stamp) == user.name


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def guard(directory: Directory) -> Guard:
    """Root is admin, bob guest; ann has the default role, guest."""
    policy = Policy(RBAC(policy=("g, root, admin", "g, bob, guest")))
    origins = Origins(["https://ui.example"])
    return Guard(directory, role="guest", policy=policy, origins=origins, session_time=3600)  # type: ignore[arg-type]


def basic(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def caller(
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    path: str = "/api",
    query: str = "",
    client: tuple[str, int] | None = CLIENT,
    secure: bool = False,
) -> Caller:
    return Caller(method, path, Headers(dict(headers or {})), QueryParams(query), client, secure)


def post(
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    scheme: str = "http",
    client: tuple[str, int] = CLIENT,
) -> Request:
    """A request as Starlette hands it to a handler."""
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": sent,
        "client": client,
        "scheme": scheme,
        "server": ("192.0.2.9", 8082),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


@pytest.fixture
def noted() -> Any:
    """Every log line of the test."""
    lines: list[dict[str, Any]] = []

    def keep(_logger: Any, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        lines.append(dict(entry))
        raise structlog.DropEvent

    old = structlog.get_config()
    structlog.configure(processors=[structlog.processors.add_log_level, keep], cache_logger_on_first_use=False)
    try:
        yield lines
    finally:
        structlog.configure(**old)
