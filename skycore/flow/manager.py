"""The captures of one agent: what its analyzers ask for, kept in line with the nodes that there are.

Each analyzer says which captures it wants on which nodes, as a whole; what any of them wants is made, once for each
(node, capture).  How each is stands in the node's metadata ``Captures``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, final

import structlog
import trio

from skycore.errors import CaptureError
from skycore.flow.batch import FlowBatch
from skycore.flow.options import FlowOptions
from skycore.flow.order import CaptureOrder
from skycore.flow.running import Place, Running, Sources, add
from skycore.flow.shown import Shown, following
from skycore.flow.source import Counts, Interface
from skycore.flow.spec import CaptureSpec, type_on
from skycore.flow.table import TableCounts
from skycore.graph.graph import Graph

log = structlog.get_logger(__name__)

CLAIMANT: Final = "captures"
"""Who says ``Captures`` of a node."""
_ETHERNET, _RAW_IP = 1, 101
_LINK_TYPES: Final = {"ether": _ETHERNET, "loopback": _ETHERNET}
"""LINKTYPE_ numbers (tcpdump.org/linktypes.html) of frames, by ``EncapType``; what has no Ethernet begins with IP."""


@final
class CaptureManager:
    """All captures of one agent.

    ``namespace_of`` finds the path of the namespace in which an interface with an ID and index is, None when it is not
    known; ``inside`` runs a call there; ``exclude`` is a filter for our own traffic; ``forward`` takes what tables
    give.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        sources: Sources,
        options: FlowOptions,
        namespace_of: Callable[[str, int], str | None],
        inside: Callable[[str, Callable[[], Any]], Any],
        forward: Callable[[FlowBatch], Awaitable[None]],
        exclude: Callable[[], str] = lambda: "",
    ) -> None:
        self._graph = graph
        self._claimant = graph.claimant(CLAIMANT, plugin=CLAIMANT)
        self._sources = sources
        self._options = options
        self._namespace_of = namespace_of
        self._inside = inside
        self._forward = forward
        self._exclude = exclude
        self._wanted: dict[str, dict[tuple[str, str], CaptureSpec]] = {}
        self._running: dict[tuple[str, str], Running] = {}
        self._shown: dict[str, Shown] = {}
        self._news = trio.Event()
        self._ended = (Counts(), TableCounts())
        self._leaving = self._linked = False

    # ------------------------------------------------------------------ what others ask

    def want(self, analyzer: str, orders: Sequence[CaptureOrder]) -> None:
        """All that one analyzer wants from now on."""
        self._wanted[analyzer] = {(node, order.capture.UUID): order.capture for order in orders for node in order.nodes}
        # The link is new, maybe, and with it what our own traffic is.
        self._linked = True
        self._news.set()

    def __iter__(self) -> Iterator[Running]:
        return iter(self._running.values())

    def totals(self) -> tuple[Counts, TableCounts]:
        """Packets and flows of all captures that are and have been."""
        counts, table = self._ended
        for running in self._running.values():
            counts, table = add(counts, running.counts()), add(table, running.table_counts())
        return counts, table

    def status(self) -> list[dict[str, Any]]:
        """What status shows: each capture on each node."""
        return [
            {
                "Node": running.node,
                **running.entry(),
                "Flows": table.flows,
                "FlowsCreated": table.created,
                "FlowsEvicted": table.evicted,
                "PacketsCounted": table.packets,
                "PacketsIgnored": table.ignored,
                "Damaged": table.damaged,
            }
            for running in self._running.values()
            for table in [running.table_counts()]
        ]

    # ------------------------------------------------------------------ running

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow what is wanted and the graph, until cancelled."""
        cursor = self._graph.log.cursor()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._publish_each)
                task_status.started()
                while True:
                    self._news = trio.Event()
                    changed = {change.id for change in cursor.read().changes}
                    self._follow(nursery)
                    for running in [one for one in self._running.values() if self._linked or one.node in changed]:
                        running.moved()
                    self._linked = False
                    self.publish()
                    async with trio.open_nursery() as waiting:

                        async def wait(for_something: Callable[[], Awaitable[None]]) -> None:
                            await for_something()
                            waiting.cancel_scope.cancel()

                        if self._running:
                            waiting.start_soon(wait, cursor.wait)
                        waiting.start_soon(wait, self._news.wait)
        finally:
            cursor.close()

    async def stop(self) -> None:
        """End all captures; what their tables hold is forwarded."""
        self._leaving = True
        for running in self._running.values():
            running.stop()
        for running in list(self._running.values()):
            await running.ended.wait()

    def _follow(self, nursery: trio.Nursery) -> None:
        if self._leaving:
            return
        wanted: dict[tuple[str, str], CaptureSpec] = {}
        for orders in self._wanted.values():
            wanted.update(orders)
        for key, running in self._running.items():
            if wanted.get(key) != running.capture:
                running.stop()
        for (node, uuid), capture in wanted.items():
            if (node, uuid) not in self._running:
                self._running[node, uuid] = running = self._make(node, capture)
                nursery.start_soon(self._keep, running)

    async def _keep(self, running: Running) -> None:
        log.info("capture begins", node=running.node, capture=running.capture.UUID)
        try:
            await running.run()
        finally:
            counts, table = self._ended
            self._ended = add(counts, running.counts()), add(table, running.table_counts())
            del self._running[running.node, running.capture.UUID]
            self._news.set()
        log.info("capture ends", node=running.node, capture=running.capture.UUID)

    def _make(self, node: str, capture: CaptureSpec) -> Running:
        return Running(
            node,
            capture,
            place=lambda: self._place(node, capture),
            sources=self._sources,
            options=self._options,
            inside=self._inside,
            forward=self._forward,
            news=self._tell,
        )

    def _tell(self) -> None:
        self._news.set()

    def _place(self, id: str, capture: CaptureSpec) -> Place:
        revision = self._graph.nodes.get(id)
        if revision is None:
            return Place(None, error="the node is gone")
        metadata = revision.metadata()
        node_type = str(metadata.get("Type", ""))
        try:
            type = type_on(capture.Type, node_type)
        except CaptureError as error:
            return Place(None, error=str(error))
        flags = metadata.get("LinkFlags")
        down = "UP" not in flags if isinstance(flags, list) else metadata.get("State") == "DOWN"
        if down:
            return Place(None, type, "the interface is down")
        index, tid = metadata.get("IfIndex"), metadata.get("TID")
        if not isinstance(index, int) or not isinstance(tid, str):
            return Place(None, type, "the node has no IfIndex or no TID yet")
        namespace = self._namespace_of(id, index)
        if namespace is None:
            return Place(None, type, "its network namespace cannot be entered by this agent")
        interface = Interface(
            id=id,
            tid=tid,
            name=str(metadata.get("Name", "")),
            type=node_type,
            index=index,
            link_type=_LINK_TYPES.get(str(metadata.get("EncapType", "ether")), _RAW_IP),
            namespace=namespace,
            addresses=tuple(addresses(metadata)),
        )
        port = metadata.get("MPLSUDPPort")
        ports = (port,) if isinstance(port, int) and 0 < port < 1 << 16 else ()
        return Place(interface, type, mpls_ports=ports, exclude=self._exclude())

    # ------------------------------------------------------------------ metadata

    async def _publish_each(self) -> None:
        while True:
            await trio.sleep(self._options.stats_update)
            self.publish()

    def publish(self) -> None:
        """Bring ``Captures`` of all nodes in line."""
        entries: dict[str, list[dict[str, Any]]] = {}
        for running in self._running.values():
            if (running.started or running.error is not None) and running.node in self._graph.nodes:
                entries.setdefault(running.node, []).append(running.entry())
        now, first = trio.current_time(), self._options.stats_update
        shown = {id: following(self._shown.get(id), new, now, first) for id, new in entries.items()}
        if shown == self._shown:
            return
        with self._graph.transaction():
            for id in self._shown.keys() - shown.keys():
                self._claimant.drop(id)
            for id, one in shown.items():
                if one is not self._shown.get(id):
                    self._claimant.put(id, {"Captures": one.entries}, owning=False)
        self._shown = shown


def addresses(metadata: Mapping[str, Any]) -> Iterator[str]:
    for key in ("IPV4", "IPV6"):
        found = metadata.get(key)
        for address in found if isinstance(found, list) else ():
            yield str(address).partition("/")[0]
