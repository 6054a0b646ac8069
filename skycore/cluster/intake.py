"""The analyzer's end of the agent links: takes entries in, and acknowledges what history has committed."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from logging import INFO, WARNING
from typing import Protocol

import attrs
import structlog
import trio

from skycore.cluster import messages
from skycore.cluster.messages import (
    Ack,
    Changes,
    Clock,
    FromAnalyzer,
    FromParts,
    Gap,
    Hello,
    Refused,
    Stale,
    Sync,
    Welcome,
)
from skycore.cluster.origin import Origin
from skycore.errors import LinkError, Refusal, WebSocketClosed
from skycore.graph.graph import Graph
from skycore.server.upgrade import UpgradeRequest
from skycore.server.websocket import KeepAlive, WebSocket
from skycore.storage.contract import Mark
from skycore.storage.keeper import HistoryKeeper

log = structlog.get_logger(__name__)

_HELLO_TIME = 10.0


class _Twin(LinkError):
    """The process is linked already, under another name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"this analyzer is linked to this agent already, as {name!r}")
        self.name = name


@attrs.define(eq=False)
class AgentLink:
    """What status shows of one connected agent.

    ``skew`` is its clock minus ours, in milliseconds; ``name`` is how it calls us.
    """

    host: str
    name: str
    origin: str
    epoch: int
    address: str
    connected_at: int
    skew: int
    version: str
    entries: int = 0
    revisions: int = 0
    acknowledged: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)


class IntakePart(Protocol):
    """What else goes over the links to an analyzer."""

    async def serve(self, link: AgentLink, send: Callable[[FromAnalyzer], Awaitable[None]]) -> None:
        """Work for as long as an agent's link is up; then it is cancelled."""
        ...

    async def take(self, link: AgentLink, message: FromParts) -> None:
        """A message of this agent that the link itself has no use for; maybe meant for another part."""
        ...


class Intake:
    """All agent links of one analyzer.

    ``run`` is started in a nursery and keeps the deadlines of agents that are away: after ``patience`` seconds
    their elements are withdrawn.  ``serve`` handles one link.
    """

    def __init__(
        self,
        graph: Graph,
        keeper: HistoryKeeper,
        *,
        token: str | None,
        patience: float,
        keep_alive: KeepAlive,
        parts: Sequence[IntakePart] = (),
    ) -> None:
        self._parts = parts
        self._graph = graph
        self._keeper = keeper
        self._token = token
        self._patience = patience
        self._keep_alive = keep_alive
        self._origins: dict[str, Origin] = {}
        self._away: dict[str, float] = {}
        self._away_changed = trio.Event()
        self._paused = False
        self.links: dict[str, AgentLink] = {}

    def restore(self, origins: Iterable[str], marks: dict[tuple[str, int], int]) -> None:
        """Know the agents that the store knows: what they said is stale until they come back."""
        applied: dict[str, dict[int, int]] = {origin: {} for origin in origins}
        for (origin, epoch), seq in marks.items():
            applied.setdefault(origin, {})[epoch] = seq
        for origin, epochs in applied.items():
            self._origins[origin] = Origin(self._graph, origin, epochs)
            if self._origins[origin].elements:
                self._leave(origin, "the analyzer was started again")

    @property
    def away(self) -> list[str]:
        """The origins of agents whose link is lost and who are expected back."""
        return list(self._away)

    def pause(self) -> None:
        """Take nothing more in, as the process ends: else a last commit would not be the last while agents speak.

        What was taken in is still acknowledged when it is committed; agents send the rest again.
        """
        self._paused = True

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Withdraw what belongs to agents that stay away for too long, until cancelled."""
        task_status.started()
        while True:
            self._away_changed = trio.Event()
            deadline = min(self._away.values(), default=float("inf"))
            with trio.move_on_at(deadline):
                await self._away_changed.wait()
            now = trio.current_time()
            for name in [name for name, until in self._away.items() if until <= now]:
                del self._away[name]
                log.info("agent stays away; its elements are withdrawn", origin=name, after=self._patience)
                self._keeper.put(*self._origins[name].withdraw().records)

    async def serve(self, request: UpgradeRequest) -> None:
        """One link, from before its upgrade to its end (an UpgradeHandler)."""
        self._authenticate(request)
        socket = await request.accept(
            [("X-Host-ID", self._graph.host), ("X-Service-Type", "analyzer")],
            keep_alive=self._keep_alive,
            message_size=2 * messages.MAX_ELEMENT,
        )
        try:
            await self._talk(socket, request.address)
        except LinkError as error:
            twin = error.name if isinstance(error, _Twin) else None
            log.log(INFO if twin else WARNING, "agent link refused", client=request.address, error=str(error))
            with suppress(WebSocketClosed):
                await socket.send(messages.encode(Refused(str(error)[:500], twin)))
            await socket.close(1008, "see the message before")

    def _authenticate(self, request: UpgradeRequest) -> None:
        if self._token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token.encode()):
            raise Refusal(
                401,
                "the cluster token is missing or wrong; give agent and analyzer the same cluster.token_file",
                (("WWW-Authenticate", "Bearer"),),
            )

    async def _talk(self, socket: WebSocket, address: str) -> None:
        hello = None
        with trio.move_on_after(_HELLO_TIME):
            hello = messages.from_agent(await socket.receive())
        if not isinstance(hello, Hello):
            raise LinkError(f"the first message of a link is hello, within {_HELLO_TIME:g} s")
        if hello.schema != messages.SCHEMA:
            raise LinkError(
                f"this analyzer speaks schema {messages.SCHEMA}, the agent {hello.schema}; upgrade the older"
            )
        if hello.origin != f"agent.{hello.host}":
            # Other names are those of this analyzer's own claimants.
            raise LinkError(f"an agent's origin is 'agent.' and its host id, not {hello.origin!r}")
        origin = self._origins.get(hello.origin)
        if origin is None:
            origin = self._origins[hello.origin] = Origin(self._graph, hello.origin, {})
        await self._supersede(hello)
        now = self._graph.clock()
        skew = hello.clock - now
        link = AgentLink(hello.host, hello.link, hello.origin, hello.epoch, address, now, skew, hello.version)
        self.links[hello.origin] = link
        self._away.pop(hello.origin, None)
        resume = origin.connected(hello.epoch, hello.stale)
        log.info("agent connected", origin=hello.origin, epoch=hello.epoch, resume=resume, skew_ms=link.skew)
        reason = "the link was closed"
        failure: LinkError | WebSocketClosed | None = None
        try:
            with link.scope:
                pings = int(self._keep_alive.ping_delay * 1000)
                await socket.send(messages.encode(Welcome(messages.SCHEMA, self._graph.host, now, pings, resume)))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._acknowledge, socket, link, nursery.cancel_scope)
                    for part in self._parts:
                        nursery.start_soon(self._serve, part, socket, link, nursery.cancel_scope)
                    try:
                        await self._take(socket, origin, link)
                    except (LinkError, WebSocketClosed) as error:
                        failure = error
                    nursery.cancel_scope.cancel()
            if isinstance(failure, LinkError):
                raise failure
            if failure is not None:
                reason = f"the link was closed: {failure.code} {failure.reason}".strip()
        except LinkError as error:
            reason = f"the link was refused: {error}"
            raise
        except WebSocketClosed as error:
            reason = f"the link was closed: {error.code} {error.reason}".strip()
        finally:
            link.ended.set()
            if self.links.get(hello.origin) is link:
                del self.links[hello.origin]
                self._leave(hello.origin, reason)
                log.info("agent disconnected", origin=hello.origin, reason=reason)

    async def _supersede(self, hello: Hello) -> None:
        """A newer link of the same agent ends the older one; an older process must not push out a newer one.

        A process that knows us by two names would have its two links end each other for ever: the first one stays.
        """
        while (rival := self.links.get(hello.origin)) is not None:
            if rival.epoch > hello.epoch:
                raise LinkError(
                    f"host id {hello.host!r} is in use by a process that was started later, at {rival.address}; "
                    "give each agent a host_id of its own"
                )
            if rival.epoch == hello.epoch and rival.name != hello.link:
                raise _Twin(rival.name)
            log.info("agent connected again; its older link is closed", origin=hello.origin)
            rival.scope.cancel()
            await rival.ended.wait()

    def _leave(self, name: str, reason: str) -> None:
        self._origins[name].lost(reason)
        self._away[name] = trio.current_time() + self._patience
        self._away_changed.set()

    async def _take(self, socket: WebSocket, origin: Origin, link: AgentLink) -> None:
        while True:
            message = messages.from_agent(await socket.receive())
            match message:
                case Changes() | Sync() | Gap():
                    await self._keeper.room()
                    if self._paused:
                        await trio.sleep_forever()
                    result = origin.apply(message)
                    link.entries += 1
                    if not isinstance(message, Gap):
                        link.revisions += len(message.elements)
                    if result is not None:
                        self._keeper.put(*result.records)
                    else:
                        # Had before: the acknowledgement may have been lost with the older link.
                        self._keeper.put(Mark(origin.name, message.epoch, message.seq))
                case Stale():
                    origin.stale(message)
                case Clock():
                    now = self._graph.clock()
                    link.skew = message.clock - now if message.skew is None else -message.skew
                    await socket.send(messages.encode(Clock(now)))
                case Hello():
                    raise LinkError("hello a second time")
                case _:
                    for part in self._parts:
                        await part.take(link, message)

    async def _serve(self, part: IntakePart, socket: WebSocket, link: AgentLink, scope: trio.CancelScope) -> None:
        async def send(message: FromAnalyzer) -> None:
            await socket.send(messages.encode(message))

        try:
            await part.serve(link, send)
        except WebSocketClosed:
            scope.cancel()

    async def _acknowledge(self, socket: WebSocket, link: AgentLink, scope: trio.CancelScope) -> None:
        """Send one acknowledgement for all that each commit held of this agent."""
        committed: dict[int, int] = {}
        news = trio.Event()

        def listen(mark: Mark) -> None:
            if mark.origin == link.origin:
                committed[mark.epoch] = max(mark.seq, committed.get(mark.epoch, 0))
                news.set()

        end = self._keeper.on_commit(listen)
        try:
            while True:
                await news.wait()
                news = trio.Event()
                for epoch, seq in sorted(committed.items()):
                    await socket.send(messages.encode(Ack(epoch, seq)))
                    link.acknowledged = seq
                    if committed.get(epoch) == seq:
                        del committed[epoch]
        except WebSocketClosed:
            scope.cancel()
        finally:
            end()
