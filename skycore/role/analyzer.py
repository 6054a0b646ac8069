"""The analyzer: merges the graphs of all agents, keeps their history, and answers questions about both."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import structlog
import trio

from skycore.cluster import messages
from skycore.cluster.intake import Intake
from skycore.config import to_public
from skycore.errors import ConfigurationError, Problem, StorageError, StoreInUse
from skycore.graph.claimant import Claimant
from skycore.graph.element import Revision
from skycore.graph.graph import Graph, now_ms
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext
from skycore.plugin import discovery
from skycore.plugin.host import PluginHost
from skycore.resource.absent import AbsentResources
from skycore.resource.api import ObjectApi, ResourceApi
from skycore.resource.contract import ResourceStore
from skycore.resource.embedded import EmbeddedResources
from skycore.role import access, figures, status
from skycore.role.floor import RevisionFloor
from skycore.role.flows import AnalyzerFlows
from skycore.role.history import recall
from skycore.role.injections import AnalyzerInjections
from skycore.role.language import learn_enhancers, learn_panels, learn_steps
from skycore.role.port import Port, keep_alive, query_limits
from skycore.role.setup import Setup
from skycore.rule import kinds, precedence
from skycore.rule.elements import UserElements
from skycore.rule.engine import RuleEngine
from skycore.server import rest
from skycore.server.api.services import Services
from skycore.server.auth.upgrades import cluster_guarded, guarded
from skycore.server.hub import Hub
from skycore.server.publisher import is_publisher, publisher_of
from skycore.storage.contract import Store
from skycore.storage.keeper import HistoryKeeper

log = structlog.get_logger(__name__)

_FLUSH_TIME = 1.0


class Analyzer:
    """One analyzer.  ``start`` returns when it serves; ``stop`` ends it in order."""

    def __init__(self, setup: Setup) -> None:
        config = setup.config
        self.certificates = access.certificates(config)
        gates = access.gates(config, "analyzer")
        token = access.cluster_token(config)
        self._floor = RevisionFloor(setup.folder("analyzer") / "revision")
        memory = recall(_store(setup), self._floor)
        self.store = memory.store
        self._marks = memory.marks
        host = config.host_id
        self.graph = Graph(host=host, origin=f"analyzer.{host}", with_tids=False, floor=memory.floor, lost=memory.lost)
        self.resources = _resources(setup)
        probes = setup.probes("analyzer")
        self._probes = frozenset(probes.names)
        self.graph.restore(memory.living, self._claimant_of)
        self.view = LiveView(self.graph)
        self.queries = QueryContext(self.view, now_ms, self.store, query_limits(config))
        self.elements = UserElements(self.graph, self.resources)
        self.elements.restore()
        self.rules = RuleEngine(self.graph, self.resources, self.queries)
        self.flows = AnalyzerFlows(setup, self.graph, self.resources, self.queries)
        self.injections = AnalyzerInjections(config, self.resources, self.queries)
        self.keeper = HistoryKeeper(self.graph, self.store)
        self.intake = Intake(
            self.graph,
            self.keeper,
            token=token if gates.cluster is None else None,
            patience=config.analyzer.agent_timeout,
            keep_alive=keep_alive(config),
            parts=(*self.flows.parts, self.injections.part),
        )
        self.flows.agents.away = lambda: self.intake.away
        for interval in memory.stale:
            self.graph.continue_stale(interval.origin, interval.claimant, interval.start_ms)
        others = self._probes.union(name for name in self.graph.claimants if is_publisher(name))
        self._known = sorted(name for name in self.graph.claimants.keys() - others if not precedence.is_ours(name))
        self.plugins = PluginHost(self.graph, probes, role="analyzer")
        self.step_faults: dict[str, str] = {}
        self.services = Services(
            role="analyzer",
            host=host,
            gatekeeper=gates.api,
            # Rules and captures are about the graph alone.
            queries=attrs.evolve(self.queries, flows=self.flows.reader),
            status=partial(status.of_analyzer, self),
            figures=partial(figures.of_analyzer, self),
            config=to_public(config),
            objects=self._objects(),
            imports=self.flows.imports,
            talkers=self.flows.past,
        )
        self.hub = Hub(
            self.graph,
            self.queries,
            service="analyzer",
            keep_alive=keep_alive(config),
            compression=config.http.ws.enable_write_compression,
        )
        self.flows.notify = self.injections.api.notify = self.hub.notify
        self.port = Port(
            "analyzer.listen",
            config.analyzer.listen,
            rest.application(self.services),
            {
                **guarded(
                    {
                        "/ws/subscriber": self.hub.subscribe,
                        "/ws/publisher": self.hub.publish,
                        "/ws/pubsub": self.hub.publish_and_subscribe,
                        "/ws/subscriber/flow": self.flows.hub.subscribe,
                    },
                    gates.api,
                ),
                messages.PATH: cluster_guarded(self.intake.serve, gates.cluster, token=token),
            },
            self.certificates,
        )

    def _claimant_of(self, revision: Revision) -> Claimant:
        """Who said what the store kept: an agent, a publisher, a user, a rule, or a probe of this analyzer."""
        graph, agents = self.graph, revision.origin.startswith("agent.")
        said = publisher_of(graph, revision) or (
            None if agents else precedence.claimant_of(graph, self.resources, revision)
        )
        if (
            said is None
            and revision.origin == graph.origin
            and revision.owners[:1]
            and revision.owners[0] in self._probes
        ):
            said = graph.claimant(revision.owners[0])
        return said or graph.claimant(revision.origin, plugin="agent")

    def _objects(self) -> dict[str, ObjectApi]:
        """What users create, by the word in paths and permissions."""
        stored = {kind.name: ResourceApi(self.resources, kind) for kind in kinds.kinds(self.queries.planner)}
        return {
            "node": self.elements.nodes,
            "edge": self.elements.edges,
            "capture": self.flows.api,
            "injectpacket": self.injections.api,
            **stored,
        }

    async def start(self, nursery: trio.Nursery) -> None:
        """Bind the port and start the parts behind it."""
        self.intake.restore(self._known, self._marks)
        nursery.start_soon(self._floor.keep, self.graph)
        nursery.start_soon(self.certificates.follow)
        nursery.start_soon(self.view.run)
        await nursery.start(self.keeper.run)
        await nursery.start(self.intake.run)
        await nursery.start(self.plugins.run)
        self.step_faults = learn_steps(self.queries, self.plugins)
        learn_enhancers(self.flows.enhancer, self.plugins)
        learn_panels(self.services.panels, self.plugins)
        # Before the first agent is let in, so that what rules say of its nodes never goes and comes back.
        await self.rules.settle()
        await nursery.start(self.resources.run)
        await nursery.start(self.elements.run)
        await nursery.start(self.rules.run)
        await self.flows.start(nursery)
        await self.injections.start(nursery)
        await nursery.start(self.hub.run)
        await nursery.start(self.port.run)
        log.info("analyzer is running", host=self.graph.host, listen=self.port.bound)

    async def stop(self) -> list[str]:
        """Stop the probes and commit what is known; returns the probes that are stuck."""
        stuck = await self.plugins.stop()
        self.intake.pause()
        with trio.move_on_after(_FLUSH_TIME, shield=True):
            await self.flows.stop()
            await self.keeper.flush()
        return stuck

    def close(self) -> None:
        """Close the store; after everything else has ended."""
        self.store.close()
        self.flows.close()
        self.resources.close()
        try:
            self._floor.close(self.graph)
        except StorageError as error:
            log.error("revision numbers stay reserved", error=str(error))


def _resources(setup: Setup) -> ResourceStore:
    """The store of API objects; what cannot be used is left untouched, and the live graph works without."""
    store = EmbeddedResources(setup.folder("analyzer"))
    try:
        store.open()
    except StoreInUse:
        raise
    except StorageError as error:
        log.error("API objects cannot be kept: the analyzer runs without rules and users' elements", error=str(error))
        return AbsentResources(str(error))
    return store


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
