"""Real roles whose REST application is asked over real connections, with users of three kinds."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import pytest
import trio

from skycore.cluster.intake import AgentLink
from skycore.graph.claims import Claim
from skycore.graph.element import canonical_metadata
from skycore.injection.order import Inject, Injected
from skycore.plugin.web import WebPanels
from skycore.role.agent import Agent
from skycore.role.analyzer import Analyzer
from skycore.role.setup import Setup, read
from skycore.server import rest
from skycore.server.access import Caller, Gatekeeper, Identity
from skycore.server.api.services import Services

if TYPE_CHECKING:
    from tests.server.conftest import Serve

Reply = tuple[int, dict[str, str], bytes]
RACKS = WebPanels(Path(__file__).parents[2] / "data" / "webpanels", "racks.js")


class Noting:
    """The role's own gatekeeper; what it is told to take note of can be read here."""

    def __init__(self, real: Gatekeeper) -> None:
        self._real = real
        self.audited: list[tuple[str, str, str, str, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def audit(self, identity: Identity | None, caller: Caller, object: str, action: str, status: int) -> None:
        self.audited.append((identity.name if identity else "", caller.method, object, action, status))
        self._real.audit(identity, caller, object, action, status)


class Ask(Protocol):
    async def __call__(
        self, method: str, path: str, *, user: str = ..., headers: Mapping[str, str] = ..., body: bytes = ...
    ) -> Reply: ...


@attrs.frozen
class Asked:
    """A role, and how its REST application is asked; every request has a connection of its own."""

    role: Any
    services: Services
    audited: list[tuple[str, str, str, str, int]]
    ask: Ask
    connect: Callable[[], Any]

    async def run(self, query: str) -> Any:
        """The result of a query that an admin asks, as bytes."""
        status, _, body = await self.ask("POST", "/api/topology", body=b'{"GremlinQuery":"%s"}' % query.encode())
        assert status == 200, body
        return body


def setup_of(folder: Path) -> Setup:
    """A configuration on a free port, its state below ``folder``."""
    file = folder / "skycore.yml"
    file.write_text(
        f"host_id: here\nstorage: {{embedded: {{driver: embedded, path: {folder / 'state'}}}}}\n"
        "auth: {people: {type: basic, users: {admin: right, guest: right}}}\n"
        "analyzer: {listen: '127.0.0.1:0', auth: {api: {backend: people}}}\n"
        "agent: {listen: '127.0.0.1:0', auth: {api: {backend: people}}, topology: {probes: [-netlink, -netns]}}\n"
    )
    setup, _ = read([str(file)], insecure_listen=False)
    return setup


@pytest.fixture
async def analyzer(tmp_path: Path, serve: Serve, nursery: trio.Nursery) -> AsyncIterator[Asked]:
    """An analyzer that runs."""
    role = Analyzer(setup_of(tmp_path))
    await role.start(nursery)
    try:
        yield _asked(role, serve)
    finally:
        with trio.CancelScope(shield=True):
            await role.stop()
        role.close()


@pytest.fixture
async def sender(analyzer: Asked, nursery: trio.Nursery) -> None:
    """An agent of this analyzer with one interface, from which all that is asked seems to be sent."""
    graph, desk = analyzer.role.graph, analyzer.role.injections.part
    link = AgentLink("far", "here", "agent.far", 1, "test", 0, 0, "1")
    metadata = {"Name": "sender", "Type": "veth", "IfIndex": 7, "MAC": "02:00:00:00:00:01", "IPV4": ["10.9.0.1/24"]}
    text = canonical_metadata(metadata)
    graph.claimant("agent.far", plugin="agent").say(
        Claim("agent.far", "agent", "sender", True, text, host="far", origin="agent.far")
    )

    async def send(message: object) -> None:
        if isinstance(message, Inject):
            await desk.take(link, Injected(message.injection.UUID, message.node, "done", 1, ["f"], ["e"]))

    nursery.start_soon(desk.serve, link, send)


@pytest.fixture
async def agent(tmp_path: Path, serve: Serve, nursery: trio.Nursery) -> AsyncIterator[Asked]:
    """An agent that runs, without probes and analyzers."""
    role = Agent(setup_of(tmp_path))
    await role.start(nursery)
    try:
        yield _asked(role, serve)
    finally:
        with trio.CancelScope(shield=True):
            await role.stop()
        role.close()


def credentials(user: str) -> str:
    """The header line with a user's name and password; everybody but ``stranger`` knows theirs."""
    password = "wrong" if user == "stranger" else "right"
    return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def _asked(role: Any, serve: Serve) -> Asked:
    role.services.panels.use({"racks": RACKS})
    noting = Noting(role.services.gatekeeper)
    services = attrs.evolve(role.services, gatekeeper=noting)
    server = serve(rest.application(services))

    async def ask(
        method: str, path: str, *, user: str = "admin", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        client = server.memory()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [credentials(user)] if user else []
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await client.send("\r\n".join((*lines, "", "")).encode() + body)
        try:
            return await client.response(method)
        finally:
            await client.stream.aclose()

    return Asked(role, services, noting.audited, ask, server.connect)
