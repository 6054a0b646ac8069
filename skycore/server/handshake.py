"""Who connects to a WebSocket endpoint, and how it wants to be spoken to."""

from __future__ import annotations

from typing import Literal, final
from uuid import uuid4

import attrs

from skycore.server.envelope import Protocol
from skycore.server.upgrade import UpgradeRequest

GRAPH = "Graph"
_WILDCARD = "*"


@final
@attrs.define(eq=False, kw_only=True)
class Client:
    """One connected client: what it asked for, and what status shows of it.

    ``fault`` says why it is to be closed as soon as it is connected, as Skydive does; empty when all is well.
    ``namespaces`` are those in which it wants to be told of something; empty: all.
    """

    host: str
    kind: str
    address: str
    connected_at: int
    protocol: Protocol = "json"
    namespaces: frozenset[str] = frozenset()
    filter: str = ""
    policy: Literal["full", "partial"] = "full"
    persistent: bool = True
    fault: str = ""
    sent: int = 0
    coalesced: int = 0
    refused: int = 0

    @property
    def origin(self) -> str:
        """The origin of what it publishes."""
        return f"{self.kind}.{self.host}"

    def wants(self, namespace: str) -> bool:
        return not self.namespaces or namespace in self.namespaces


def identify(request: UpgradeRequest, now: int) -> Client:
    """Read headers, or query parameters of the same names in lower case (browsers cannot set headers)."""

    def given(name: str) -> str:
        return request.headers.get(name) or request.query.get(name.lower()) or ""

    namespaces = request.headers.getlist("X-Websocket-Namespace") or request.query.getlist("x-websocket-namespace")
    protocol, policy = given("X-Client-Protocol") or "json", given("X-Update-Policy") or "full"
    client = Client(
        host=given("X-Host-ID") or request.address or str(uuid4()),
        kind=given("X-Client-Type"),
        address=request.address,
        connected_at=now,
        namespaces=frozenset() if _WILDCARD in namespaces else frozenset(namespaces),
        filter=given("X-Gremlin-Filter"),
        persistent=given("X-Persistence-Policy") != "DeleteOnDisconnect",
    )
    if not client.kind:
        client.fault = "X-Client-Type is missing"
    elif protocol not in ("json", "protobuf"):
        client.fault = f"X-Client-Protocol {protocol[:30]!r} is not spoken here; use json or protobuf"
    elif policy not in ("full", "partial"):
        client.fault = f"X-Update-Policy {policy[:30]!r} is unknown; use full or partial"
    else:
        client.protocol = "protobuf" if protocol == "protobuf" else "json"
        client.policy = "partial" if policy == "partial" else "full"
    return client
