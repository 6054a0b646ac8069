"""Access to WebSockets: every handshake is checked before it is answered, and ends with its session."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Protocol

import trio

from skycore.errors import Refusal, WebSocketClosed
from skycore.server.access import Caller, Identity
from skycore.server.auth import audit
from skycore.server.auth.session import Session
from skycore.server.upgrade import UpgradeHandler, UpgradeRequest

OBJECT = "websocket"
"""The policy's object; the action is the path."""


class WebSocketGate(Protocol):
    """What a gatekeeper offers for WebSockets."""

    async def admit(self, caller: Caller) -> tuple[Identity, Session | None]:
        """Who asks, and their session.  Raises Refusal."""
        ...

    def allows(self, identity: Identity, object: str, action: str) -> bool:
        """Whether the policy lets them."""
        ...

    def audit(self, identity: Identity | None, caller: Caller, object: str, action: str, status: int) -> None:
        """Take note."""
        ...


def guarded(upgrades: Mapping[str, UpgradeHandler], gate: WebSocketGate) -> dict[str, UpgradeHandler]:
    """The same handlers behind the gate: 401 or 403 before the upgrade."""
    return {path: _guarded(handler, gate) for path, handler in upgrades.items()}


def _guarded(handler: UpgradeHandler, gate: WebSocketGate) -> UpgradeHandler:
    async def serve(request: UpgradeRequest) -> None:
        caller = caller_of(request)
        identity: Identity | None = None
        try:
            identity, session = await gate.admit(caller)
            if not gate.allows(identity, OBJECT, request.path):
                raise Refusal(403, f"{identity.name!r} has no permission on {OBJECT} {request.path!r}")
        except Refusal as refusal:
            gate.audit(identity, caller, OBJECT, request.path, refusal.status)
            raise
        gate.audit(identity, caller, OBJECT, request.path, 101)
        if session is None:
            await handler(request)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_with, session, request)
            await handler(request)
            nursery.cancel_scope.cancel()

    return serve


async def _end_with(session: Session, request: UpgradeRequest) -> None:
    with trio.move_on_at(session.deadline):
        await session.ended.wait()
    if request.socket is not None:
        try:
            await request.socket.close(1008, "the session has ended; log in again")
        except WebSocketClosed:
            pass


def caller_of(request: UpgradeRequest) -> Caller:
    """The handshake as a gatekeeper sees it."""
    return Caller("GET", request.path, request.headers, request.query, request.client, request.secure)


def cluster_guarded(handler: UpgradeHandler, gate: WebSocketGate | None, *, token: str | None) -> UpgradeHandler:
    """The agents' links: whoever shows the cluster token, or whom the gate admits, may report.

    Without a gate the handler checks the token itself.  The agent in this process needs neither.
    """

    async def serve(request: UpgradeRequest) -> None:
        caller = caller_of(request)
        try:
            if gate is not None and not request.local and not _shows(caller, token):
                await gate.admit(caller)
            await handler(request)
        except Refusal as refusal:
            if refusal.status in (401, 403):
                audit.request(None, caller, OBJECT, request.path, refusal.status)
            raise

    return serve


def _shows(caller: Caller, token: str | None) -> bool:
    scheme, _, given = caller.headers.get("authorization", "").partition(" ")
    return token is not None and scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode())
