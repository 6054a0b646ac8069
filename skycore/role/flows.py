"""Flows in a role: an agent's captures and where their flows go, and what an analyzer wants and keeps."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from skycore.cluster.flow_forward import READER, FlowForwarder
from skycore.cluster.flow_intake import FlowIntake, OrderTeller
from skycore.cluster.spool import Spool, next_epoch
from skycore.config import Address, Config
from skycore.errors import StorageError
from skycore.flow.manager import CaptureManager
from skycore.flow.options import FlowOptions
from skycore.graph.graph import Graph, now_ms
from skycore.gremlin import QueryContext
from skycore.plugin import namespaces
from skycore.plugin.host import PluginHost
from skycore.resource.api import ResourceApi
from skycore.resource.contract import ResourceStore
from skycore.role.setup import Setup
from skycore.rule.capture import capture_kind
from skycore.rule.capturing import CaptureApi, CaptureEngine, capture_at_start
from skycore.storage.flows import FlowStore

log = structlog.get_logger(__name__)

_FLUSH_TIME: Final = 2.0


class AgentFlows:
    """An agent's captures, and the spool through which their flows go."""

    def __init__(self, setup: Setup, graph: Graph, plugins: PluginHost, folder: Path) -> None:
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
            exclude=lambda: own_traffic(config.analyzers),
        )

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
        self.intake = FlowIntake(_store(setup))
        self.intake.state.error = _open(self.intake.store)
        self.parts = (OrderTeller(self.engine), self.intake)
        self._startup = config.analyzer.startup

    async def start(self, nursery: trio.Nursery) -> None:
        startup = self._startup
        await capture_at_start(self._objects, startup.capture_gremlin, startup.capture_bpf, startup.capture_type)
        await nursery.start(self.engine.run)
        await nursery.start(self.intake.run)

    async def stop(self) -> None:
        """Commit what has come."""
        while self.intake.backlog and await self.intake.flush():
            pass

    def close(self) -> None:
        if self.intake.store is not None:
            self.intake.store.close()


def own_traffic(analyzers: Sequence[Address]) -> str:
    """A filter that leaves out our own connections to analyzers whose addresses are given as numbers, "" for none.

    Else flows of a capture on the way to the analyzer would make flows for ever.
    """
    numbers = []
    for analyzer in analyzers:
        try:
            numbers.append((ip_address(analyzer.host), analyzer.port))
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


def _store(setup: Setup) -> FlowStore | None:
    """The store of flows, None where flows are not kept."""
    section = setup.config.storage[setup.config.analyzer.flow.backend]
    if section.driver != "embedded":
        return None
    settings = section.settings
    return FlowStore(setup.folder("analyzer"), retention_days=settings.retention_days, max_bytes=settings.max_bytes)


def _open(store: FlowStore | None) -> str | None:
    """Why the store cannot be used yet, None when it can."""
    try:
        if store is not None:
            store.open()
    except StorageError as error:
        log.error("flows cannot be stored; trying again when some come", error=str(error))
        return str(error)
    return None
