"""The injections of one agent: each carried out once on its node, and shown in the node's metadata while it runs."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, Protocol, final

import attrs
import structlog
import trio

from skycore.errors import InjectionError
from skycore.graph.graph import Graph
from skycore.injection.child import Sent, run
from skycore.injection.order import Inject, Injected, Injection, InjectionLimits
from skycore.injection.tracking import tracking_of

log = structlog.get_logger(__name__)

CLAIMANT: Final = "injections"
"""Who says ``PacketInjections`` of a node."""
_SHOW_EACH: Final = 3.0
_ETHERNET, _RAW_IP = 1, 101
_LINK_TYPES: Final = {"ether": _ETHERNET, "loopback": _ETHERNET}
"""LINKTYPE_ numbers (tcpdump.org/linktypes.html) of frames, by ``EncapType``; what has no Ethernet begins with IP."""

Tell = Callable[[Injected], Awaitable[None]]


class Injector(Protocol):
    """Which program makes packets."""

    def module(self) -> str:
        """The Python module to run.  Raises InjectionError when there is none."""
        ...


@final
@attrs.define(eq=False)
class _Active:
    injection: Injection
    node: str
    sent: int = 0

    def entry(self) -> dict[str, Any]:
        """What stands in ``PacketInjections``: as Skydive shows it, but for the bytes of a recording."""
        one = self.injection
        return {
            "UUID": one.UUID,
            "SrcIP": one.SrcIP,
            "SrcMAC": _hardware(one.SrcMAC),
            "SrcPort": one.SrcPort,
            "DstIP": one.DstIP,
            "DstMAC": _hardware(one.DstMAC),
            "DstPort": one.DstPort,
            "Type": one.Type,
            "Count": one.Count,
            "ICMPID": one.ICMPID,
            "Interval": one.Interval,
            "Mode": one.Mode,
            "IncrementPayload": one.IncrementPayload,
            "Payload": one.Payload,
            "Pcap": None,
            "TTL": one.TTL,
            "ID": one.UUID,
            "State": "active",
            "PacketCount": self.sent,
        }


@final
class InjectionManager:
    """All injections of one agent.

    ``namespace_of`` finds the path of the namespace in which an interface with an ID and index is, None when it is not
    known.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        injector: Injector,
        limits: InjectionLimits,
        namespace_of: Callable[[str, int], str | None],
    ) -> None:
        self._graph = graph
        self._claimant = graph.claimant(CLAIMANT, plugin=CLAIMANT)
        self._injector = injector
        self._limits = limits
        self._namespace_of = namespace_of
        self._active: list[_Active] = []
        self.packets = 0
        """Sent by all that have been and are."""

    def status(self) -> list[dict[str, Any]]:
        """What status shows: each injection on each node."""
        return [
            {"Node": one.node, "ID": one.injection.UUID, "Type": one.injection.Type, "PacketCount": one.sent}
            for one in self._active
        ]

    async def carry_out(self, order: Inject, tell: Tell) -> None:
        """Send what is asked, and tell how it goes; what is wrong is told, never raised.  Cancelling ends it."""
        active = _Active(order.injection, order.node)
        uuid, node = order.injection.UUID, order.node
        try:
            self._admit()
            self._active.append(active)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._show_each)
                    await self._send(active, tell)
                    nursery.cancel_scope.cancel()
            finally:
                self._active.remove(active)
                self._show(node)
        except* InjectionError as group:
            reason = str(_leaf(group))
            log.warning("an injection failed", node=node, uuid=uuid, error=reason)
            await tell(Injected(uuid, node, "error", active.sent, reason=reason[:4000]))
        else:
            await tell(Injected(uuid, node, "done", active.sent))

    def _admit(self) -> None:
        limits = self._limits
        if not limits.enabled:
            raise InjectionError("this agent sends nothing for others (its key agent.injection.enabled)")
        if len(self._active) >= limits.max_active:
            raise InjectionError(
                f"{limits.max_active} injections run on this agent already (its key agent.injection.max_active)"
            )

    async def _send(self, active: _Active, tell: Tell) -> None:
        order = active.injection
        request = self._request(order, active.node)
        link_type = _ETHERNET if request["ethernet"] else _RAW_IP
        log.info("injection begins", node=active.node, uuid=order.UUID)
        lines: AsyncIterator[Sent] = run(self._injector.module(), request)
        async with aclosing(lines):  # type: ignore[type-var]  # it is a generator
            async for line in lines:
                if line.event == "frame":
                    await self._tell_flow(active, line.bytes_of_frame(), link_type, tell)
                    continue
                self.packets += max(0, line.count - active.sent)
                active.sent = line.count
                if line.event == "sent":
                    await tell(Injected(order.UUID, active.node, "active", active.sent))
        log.info("injection ends", node=active.node, uuid=order.UUID, packets=active.sent)

    async def _tell_flow(self, active: _Active, frame: bytes, link_type: int, tell: Tell) -> None:
        if not active.sent:
            self.packets += 1
            active.sent = 1
            self._show(active.node)
        tracking = tracking_of(frame, link_type)
        ids = ([], []) if tracking is None else ([tracking.tracking_id], [tracking.l3_tracking_id])
        await tell(Injected(active.injection.UUID, active.node, "active", active.sent, *ids))

    def _request(self, order: Injection, node: str) -> Mapping[str, Any]:
        revision = self._graph.nodes.get(node)
        if revision is None:
            raise InjectionError("the node is gone")
        metadata = revision.metadata()
        flags = metadata.get("LinkFlags")
        down = "UP" not in flags if isinstance(flags, list) else metadata.get("State") == "DOWN"
        if down:
            raise InjectionError("the interface is down")
        index, name = metadata.get("IfIndex"), metadata.get("Name")
        if not isinstance(index, int) or not isinstance(name, str):
            raise InjectionError("the node is no interface: it has no IfIndex or no Name")
        namespace = self._namespace_of(node, index)
        if namespace is None:
            raise InjectionError("its network namespace cannot be entered by this agent")
        return {
            "namespace": _for_others(namespace),
            "interface": name,
            "ethernet": str(metadata.get("EncapType", "ether")) in _LINK_TYPES,
            "type": order.Type,
            "src_ip": order.SrcIP,
            "dst_ip": order.DstIP,
            "src_mac": order.SrcMAC,
            "dst_mac": order.DstMAC,
            "src_port": order.SrcPort,
            "dst_port": order.DstPort,
            "icmp_id": order.ICMPID,
            "payload": order.Payload,
            "increment": order.IncrementPayload,
            "count": order.Count,
            "interval_ms": order.Interval,
            "random": order.Mode == "random",
            "ttl": order.TTL,
            "rate": self._limits.max_rate,
            "pcap": order.Pcap or "",
        }

    # ------------------------------------------------------------------ metadata

    async def _show_each(self) -> None:
        while True:
            await trio.sleep(_SHOW_EACH)
            for node in {one.node for one in self._active}:
                self._show(node)

    def _show(self, node: str) -> None:
        entries = [one.entry() for one in self._active if one.node == node]
        if entries and node in self._graph.nodes:
            self._claimant.put(node, {"PacketInjections": entries}, owning=False)
        else:
            self._claimant.drop(node)


def _for_others(path: str) -> str:
    """The same file for another process: what we hold open ourselves stands under ``/proc/self``, proc(5)."""
    for own in ("/proc/self/", "/proc/thread-self/"):
        if path.startswith(own):
            return f"/proc/{os.getpid()}/{path.removeprefix(own)}"
    return path


def _hardware(mac: str) -> str:
    """A MAC address as Go writes a net.HardwareAddr in JSON: base64 of its bytes."""
    try:
        return base64.b64encode(binascii.unhexlify(mac.replace(":", ""))).decode()
    except binascii.Error:
        return ""


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
