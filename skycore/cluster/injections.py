"""Injections over the link: asked by an analyzer, carried out by an agent for as long as the two are linked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from skycore.cluster.intake import AgentLink
from skycore.cluster.messages import FromAgent, FromAnalyzer, FromParts, ToParts
from skycore.errors import InjectionError
from skycore.injection.manager import InjectionManager
from skycore.injection.order import Inject, Injected, Withdraw

_QUEUE: Final = 256
"""Messages that wait for their link, at most."""


@final
class InjectionTaker:
    """Implements skycore.cluster.uplink.LinkPart: carries out what an analyzer asks; it ends when the link is lost."""

    def __init__(self, manager: InjectionManager) -> None:
        self._manager = manager
        self._inboxes: dict[str, trio.MemorySendChannel[Inject | Withdraw]] = {}

    async def serve(self, analyzer: str, send: Callable[[FromAgent | bytes], Awaitable[None]]) -> None:
        """Work for as long as the link is up."""
        inbox, orders = trio.open_memory_channel[Inject | Withdraw](_QUEUE)
        self._inboxes[analyzer] = inbox
        running: dict[str, list[trio.CancelScope]] = {}
        try:
            async with trio.open_nursery() as nursery:
                async for order in orders:
                    if isinstance(order, Withdraw):
                        for scope in running.pop(order.uuid, ()):
                            scope.cancel()
                    else:
                        nursery.start_soon(self._carry_out, order, send, running)
        finally:
            del self._inboxes[analyzer]

    async def _carry_out(
        self,
        order: Inject,
        send: Callable[[FromAgent | bytes], Awaitable[None]],
        running: dict[str, list[trio.CancelScope]],
    ) -> None:
        uuid = order.injection.UUID
        with trio.CancelScope() as scope:
            running.setdefault(uuid, []).append(scope)
            await self._manager.carry_out(order, send)
        scopes = running.get(uuid, [])
        if scope in scopes:
            scopes.remove(scope)
        if not scopes:
            running.pop(uuid, None)

    async def take(self, analyzer: str, message: ToParts) -> None:
        """An order; a link whose orders pile up waits."""
        if isinstance(message, Inject | Withdraw) and analyzer in self._inboxes:
            await self._inboxes[analyzer].send(message)


@final
class InjectionDesk:
    """Implements skycore.cluster.intake.IntakePart, and skycore.rule.injecting.Agents: orders go out, reports come in.

    ``on_report`` hears each report with the origin of its agent, ``on_lost`` of agents whose link is lost.
    """

    def __init__(self) -> None:
        self._outboxes: dict[str, trio.MemorySendChannel[Inject | Withdraw]] = {}
        self.on_report: Callable[[str, Injected], None] = lambda _origin, _report: None
        self.on_lost: Callable[[str], None] = lambda _origin: None

    def send(self, origin: str, message: Inject | Withdraw) -> None:
        """Ask an agent.  Raises InjectionError when it is not connected, or has too much to do."""
        outbox = self._outboxes.get(origin)
        if outbox is None:
            raise InjectionError(f"the agent of the source node ({origin}) is not connected")
        try:
            outbox.send_nowait(message)
        except trio.WouldBlock:
            raise InjectionError(f"too many injections wait for the agent of the source node ({origin})") from None

    async def serve(self, link: AgentLink, send: Callable[[FromAnalyzer], Awaitable[None]]) -> None:
        """Hand on what is asked of this agent."""
        outbox, orders = trio.open_memory_channel[Inject | Withdraw](_QUEUE)
        self._outboxes[link.origin] = outbox
        try:
            async for order in orders:
                await send(order)
        finally:
            del self._outboxes[link.origin]
            self.on_lost(link.origin)

    async def take(self, link: AgentLink, message: FromParts) -> None:
        """A report."""
        if isinstance(message, Injected):
            self.on_report(link.origin, message)
