"""Flows in a role: an agent's captures and where their flows go, and what an analyzer wants and keeps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from skycore.cluster.flow_answer import FlowAnswerer
from skycore.cluster.flow_ask import AgentsFlows
from skycore.cluster.flow_forward import READER, FlowForwarder
from skycore.cluster.flow_intake import FlowIntake, OrderTeller
from skycore.cluster.flow_stats import StatsTaker, StatsTeller
from skycore.cluster.spool import Spool, next_epoch
from skycore.cluster.uplink import LinkPart
from skycore.config import Address, Config
from skycore.errors import StorageError
from skycore.filter import Equals
from skycore.flow.enhance import Enhancer
from skycore.flow.live import LiveFlows
from skycore.flow.manager import CaptureManager
from skycore.flow.options import FlowOptions
from skycore.flow.present_and_past import PresentAndPast
from skycore.flow.query import FlowReader
from skycore.flow.table import FlowTable
from skycore.graph.graph import Graph, now_ms
from skycore.graph.view import GraphView
from skycore.gremlin import QueryContext
from skycore.plugin import namespaces
from skycore.plugin.host import PluginHost
from skycore.resource.api import ResourceApi
from skycore.resource.contract import ResourceStore
from skycore.role.imports import Imports
from skycore.role.port import keep_alive
from skycore.role.setup import Setup
from skycore.rule.capture import capture_kind
from skycore.rule.capture_notices import CaptureNotices
from skycore.rule.capturing import CaptureApi, CaptureEngine, capture_at_start
from skycore.server.flow_hub import FlowHub
from skycore.storage.flow_reader import StoredFlows
from skycore.storage.flows import FlowStore

log = structlog.get_logger(__name__)

_FLUSH_TIME: Final = 2.0
_FEW: Final = 256


class AgentFlows:
    """An agent's captures, and the spool through which their flows go."""

    def __init__(
        self, setup: Setup, graph: Graph, plugins: PluginHost, folder: Path, peers: Callable[[], Iterable[Address]]
    ) -> None:
        config = setup.config
        self.sources = setup.flow_sources()
        self.spool = Spool(folder, next_epoch(folder, now_ms()), config.agent.spool.max_bytes)
        self.forwarder = FlowForwarder(self.spool, self._want)
        self.spool.retain([READER])
        self.manager = CaptureManager(
            graph,
            sources=self.sources,
            options=_options(config),
            namespace_of=lambda id, index: _path(plugins, id, index),
            inside=namespaces.inside,
            forward=self.forwarder.put,
            exclude=lambda: own_traffic([*config.analyzers, *peers()]),
        )

        live = LiveFlows(self._tables, _milliseconds(config.flow.expire))
        self.answerer = FlowAnswerer(live)
        self.reader = _reader(config, live, None)
        self.parts: tuple[LinkPart, ...] = (self.forwarder, StatsTeller(lambda: self.manager), self.answerer)

    def _tables(self) -> list[FlowTable]:
        return [running.table for running in self.manager if running.table is not None]

    def _want(self, analyzer: str, orders: Sequence[Any]) -> None:
        self.manager.want(analyzer, orders)

    async def start(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self.forwarder.run)
        await nursery.start(self.manager.run)

    async def stop(self) -> None:
        """End all captures, and give an analyzer that is connected a moment to take what is left."""
        with trio.move_on_after(_FLUSH_TIME, shield=True):
            await self.manager.stop()
            if self.forwarder.state.analyzer is not None:
                await self.forwarder.drained()

    def close(self) -> None:
        """Let go of the spool."""
        self.spool.close()


class AnalyzerFlows:
    """What an analyzer wants captured, and the flows that it keeps."""

    def __init__(self, setup: Setup, graph: Graph, resources: ResourceStore, queries: QueryContext) -> None:
        config = setup.config
        self.engine = CaptureEngine(graph, resources, queries)
        self._objects = ResourceApi(resources, capture_kind(queries.planner, config.flow.default_layer_key_mode))
        self.api = CaptureApi(self._objects, self.engine)
        self.enhancer = Enhancer(graph)
        store = _store(setup)
        self.past = None if store is None else _past(config, store, self.enhancer)
        self.intake = FlowIntake(store, self.enhancer)
        self.intake.state.error = _open(store)
        self.imports = None if store is None else Imports(self.intake, _options(config), _retention(config))
        self.hub = FlowHub(
            host=config.host_id,
            service="analyzer",
            keep_alive=keep_alive(config),
            clock=graph.clock,
            compression=config.http.ws.enable_write_compression,
        )
        self.intake.on_commit = self.hub.store
        self.agents = AgentsFlows(
            agents_of=partial(agents_of, queries.live),
            patience=config.http.rest.query_timeout / 2,
            expire_ms=_milliseconds(config.flow.expire),
        )
        self.reader = _reader(config, self.agents, self.past, self.enhancer.enhance)
        self.parts = (OrderTeller(self.engine), self.intake, StatsTaker(self.hub.count), self.agents)
        self.notify: Callable[[str, str, bytes], None] | None = None
        self._notices = CaptureNotices(graph, resources, self.api, self._tell)
        self._startup = config.analyzer.startup

    async def start(self, nursery: trio.Nursery) -> None:
        startup = self._startup
        await capture_at_start(self._objects, startup.capture_gremlin, startup.capture_bpf, startup.capture_type)
        await nursery.start(self.engine.run)
        await nursery.start(self._notices.run)
        await nursery.start(self.hub.run)
        await nursery.start(self.intake.run)

    def _tell(self, namespace: str, type: str, obj: bytes) -> None:
        if self.notify is not None:
            self.notify(namespace, type, obj)

    async def stop(self) -> None:
        """Commit what has come."""
        while self.intake.backlog and await self.intake.flush():
            pass

    def close(self) -> None:
        self.enhancer.close()
        if self.intake.store is not None:
            self.intake.store.close()


def agents_of(view: GraphView, tids: Collection[str]) -> dict[str, list[str]] | None:
    """The agents (by origin) that have the nodes with these TIDs, and which each has; None: one of them is unknown."""
    found: dict[str, list[str]] = {}
    if len(tids) > _FEW:
        ids = list(view.ids("node"))
        by_tid = {tid: id for tid, id in zip(view.values("node", "TID", ids), ids, strict=True) if isinstance(tid, str)}
    else:
        by_tid = {tid: id for tid in tids for id in view.match("node", Equals("TID", tid))}
    for tid in tids:
        node = view.get("node", by_tid[tid]) if tid in by_tid else None
        if node is None or not node.origin.startswith("agent."):
            return None
        found.setdefault(node.origin, []).append(tid)
    return found


def _reader(
    config: Config,
    live: FlowReader,
    past: FlowReader | None,
    enhance: Callable[[bytes], bytes] = lambda json: json,
) -> PresentAndPast:
    return PresentAndPast(
        live,
        past,
        now=now_ms,
        update_ms=_milliseconds(config.flow.update),
        expire_ms=_milliseconds(config.flow.expire),
        enhance=enhance,
    )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def own_traffic(analyzers: Iterable[Address]) -> str:
    """A filter that leaves out our own connections to these addresses, "" for none; those that are names say nothing.

    Else flows of a capture on the way to the analyzer would make flows for ever.
    """
    numbers: dict[tuple[IPv4Address | IPv6Address, int], None] = {}
    for analyzer in analyzers:
        try:
            numbers[ip_address(analyzer.host), analyzer.port] = None
        except ValueError:
            continue
    return " and ".join(f"not (host {host} and tcp port {port})" for host, port in numbers)


def _path(plugins: PluginHost, id: str, index: int) -> str | None:
    namespace = plugins.namespace_of_interface(id, index)
    return None if namespace is None else namespace.path


def _options(config: Config) -> FlowOptions:
    flow = config.flow
    return FlowOptions(
        update=flow.update,
        expire=flow.expire,
        max_entries=flow.max_entries,
        layer_key_mode=flow.default_layer_key_mode,
        tcp_names=flow.application_ports.tcp,
        udp_names=flow.application_ports.udp,
        timeouts=flow.application_timeout,
        stats_update=config.agent.capture.stats_update,
    )


def _retention(config: Config) -> float:
    """Days that flows are kept, 0 for ever."""
    days: float = config.storage[config.analyzer.flow.backend].settings.retention_days
    return days


def _store(setup: Setup) -> FlowStore | None:
    """The store of flows, None where flows are not kept."""
    section = setup.config.storage[setup.config.analyzer.flow.backend]
    if section.driver != "embedded":
        return None
    settings = section.settings
    return FlowStore(setup.folder("analyzer"), retention_days=settings.retention_days, max_bytes=settings.max_bytes)


def _past(config: Config, store: FlowStore, enhancer: Enhancer) -> StoredFlows:
    return StoredFlows(store, expire_ms=int(config.flow.expire * 1000), enhance=enhancer.enhance)


def _open(store: FlowStore | None) -> str | None:
    """Why the store cannot be used yet, None when it can."""
    try:
        if store is not None:
            store.open()
    except StorageError as error:
        log.error("flows cannot be stored; trying again when some come", error=str(error))
        return str(error)
    return None
