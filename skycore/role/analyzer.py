"""The analyzer: merges the graphs of all agents, keeps their history, and answers questions about both."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
import trio

from skycore.cluster import messages
from skycore.cluster.intake import Intake
from skycore.errors import ConfigurationError, Problem
from skycore.graph.graph import Graph, now_ms
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext
from skycore.plugin import discovery
from skycore.plugin.host import PluginHost
from skycore.role import status
from skycore.role.port import Port, keep_alive
from skycore.role.setup import Setup
from skycore.server import rest
from skycore.server.subscriber import SubscriberHub
from skycore.storage.contract import Store
from skycore.storage.keeper import HistoryKeeper

log = structlog.get_logger(__name__)


class Analyzer:
    """One analyzer.  ``start`` returns when it serves; ``stop`` ends it in order."""

    def __init__(self, setup: Setup) -> None:
        config = setup.config
        self.store = _store(setup)
        self.store.open()
        host = config.host_id
        self.graph = Graph(host=host, origin=f"analyzer.{host}", with_tids=False, floor=self.store.highest_revision())
        self.graph.restore(self.store.current(), lambda revision: self.graph.claimant(revision.origin, plugin="agent"))
        self.keeper = HistoryKeeper(self.graph, self.store)
        self.intake = Intake(
            self.graph,
            self.keeper,
            token=setup.token(),
            patience=config.analyzer.agent_timeout,
            keep_alive=keep_alive(config),
        )
        for interval in self.store.open_stale_intervals():
            self.graph.continue_stale(interval.origin, interval.claimant, interval.start_ms)
        self._known = sorted(self.graph.claimants)
        self.plugins = PluginHost(self.graph, setup.probes("analyzer"), role="analyzer")
        self.hub = SubscriberHub(self.graph, service="analyzer", keep_alive=keep_alive(config))
        self.view = LiveView(self.graph)
        self.queries = QueryContext(self.view, now_ms, self.store)
        app = rest.application(
            service="analyzer", host=host, queries=self.queries, status=partial(status.of_analyzer, self)
        )
        self.port = Port(
            "analyzer.listen",
            config.analyzer.listen,
            app,
            {"/ws/subscriber": self.hub.serve, messages.PATH: self.intake.serve},
        )

    async def start(self, nursery: trio.Nursery) -> None:
        """Bind the port and start the parts behind it."""
        self.intake.restore(self._known, self.store.marks())
        nursery.start_soon(self.view.run)
        await nursery.start(self.keeper.run)
        await nursery.start(self.intake.run)
        await nursery.start(self.plugins.run)
        await nursery.start(self.port.run)
        log.info("analyzer is running", host=self.graph.host, listen=self.port.bound)

    async def stop(self) -> list[str]:
        """Stop the probes and commit what is known; returns the probes that are stuck."""
        stuck = await self.plugins.stop()
        with trio.CancelScope(shield=True):
            await self.keeper.flush()
        return stuck

    def close(self) -> None:
        """Close the store; after everything else has ended."""
        self.store.close()


def _store(setup: Setup) -> Store:
    name = setup.config.analyzer.topology.backend
    section = setup.config.storage[name]
    store_class: Any = discovery.load(discovery.STORES, section.driver)
    settings = section.settings
    if section.driver == "embedded":
        settings = store_class.Settings(
            path=str(setup.folder("analyzer")),
            retention_days=settings.retention_days,
            max_bytes=settings.max_bytes,
            recent_seconds=settings.recent_seconds,
            recent_bytes=settings.recent_bytes,
        )
    if not isinstance(settings, store_class.Settings):
        raise ConfigurationError(
            [Problem("configuration", 0, 0, f"storage.{name}", f"has no settings for the driver {section.driver!r}")]
        )
    store: Store = store_class(settings)
    return store
