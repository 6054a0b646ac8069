"""The agent: probes fill a graph, the graph goes to the analyzers, and anyone here may ask about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import attrs
import structlog
import trio

from skycore.cluster.dial import Dial, leads_to, tcp, tls
from skycore.cluster.recorder import Recorder
from skycore.cluster.spool import Spool, next_epoch
from skycore.cluster.uplink import Uplink
from skycore.config import Address, to_public
from skycore.graph.graph import Graph, now_ms
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext
from skycore.plugin.host import PluginHost
from skycore.role import access, figures, status
from skycore.role.floor import RevisionFloor
from skycore.role.flows import AgentFlows
from skycore.role.hostnode import HostNode
from skycore.role.injections import AgentInjections
from skycore.role.language import learn_panels, learn_steps
from skycore.role.port import Port, keep_alive, query_limits
from skycore.role.setup import Setup
from skycore.server import rest
from skycore.server.api.services import Services
from skycore.server.auth.upgrades import guarded
from skycore.server.hub import Hub

log = structlog.get_logger(__name__)

_INVENTORY_TIME = 10.0
_FLUSH_TIME = 1.0


@attrs.frozen
class LocalAnalyzer:
    """The analyzer of this process: how it is reached from within, and the addresses at which others reach it."""

    name: ClassVar[str] = "local"
    dial: Dial
    listens: Sequence[Address]


class Agent:
    """One agent.  ``start`` returns when it serves; ``stop`` ends it in order.

    ``local`` is the analyzer in the same process, if there is one.
    """

    def __init__(self, setup: Setup, local: LocalAnalyzer | None = None) -> None:
        config = setup.config
        self._setup = setup
        folder = setup.folder("agent")
        self._floor = RevisionFloor(folder / "revision")
        self.graph = Graph(
            host=config.host_id, origin=f"agent.{config.host_id}", with_tids=True, floor=self._floor.start()
        )
        self._node = HostNode(self.graph, config)
        self.plugins = PluginHost(self.graph, setup.probes("agent"), role="agent")
        self.certificates = access.certificates(config)
        others = [one for one in config.analyzers if local is None or not leads_to(one, local.listens)]
        dials = {str(address): self._dial(address) for address in others}
        if local is not None:
            dials[LocalAnalyzer.name] = local.dial
        self._ready = trio.Event()
        self.flows = AgentFlows(setup, self.graph, self.plugins, folder / "flows", self._peers) if dials else None
        self.injections = AgentInjections(config, self.graph, self.plugins)
        self.spool, self.recorder, self.uplinks = self._links(folder / "spool", dials)
        self.view = LiveView(self.graph)
        self.step_faults: dict[str, str] = {}
        gates = access.gates(config, "agent")
        self.services = Services(
            role="agent",
            host=config.host_id,
            gatekeeper=gates.api,
            queries=QueryContext(
                self.view,
                now_ms,
                limits=query_limits(config),
                flows=None if self.flows is None else self.flows.reader,
            ),
            status=partial(status.of_agent, self),
            figures=partial(figures.of_agent, self),
            config=to_public(config),
        )
        self.hub = Hub(
            self.graph,
            self.services.queries,
            service="agent",
            keep_alive=keep_alive(config),
            compression=config.http.ws.enable_write_compression,
        )
        self.port = Port(
            "agent.listen",
            config.agent.listen,
            rest.application(self.services),
            guarded({"/ws/subscriber": self.hub.subscribe, "/ws/publisher": self.hub.publish}, gates.api),
            self.certificates,
        )

    def _peers(self) -> list[Address]:
        """Where analyzers were reached last; those that are configured by name have no number otherwise."""
        return [uplink.state.peer for uplink in self.uplinks if uplink.state.peer is not None]

    def _dial(self, address: Address) -> Dial:
        certificates = self.certificates
        if certificates.client is None:
            return tcp(address)
        return tls(address, certificates.client_now)

    def _links(self, folder: Path, dials: Mapping[str, Dial]) -> tuple[Spool | None, Recorder | None, list[Uplink]]:
        if not dials:
            return None, None, []
        epoch = next_epoch(folder, now_ms())
        spool = Spool(folder, epoch, self._setup.config.agent.spool.max_bytes)
        recorder = Recorder(self.graph, spool)
        shown = access.authorization(self._setup.config)
        silence = self._setup.config.http.ws.pong_timeout
        links: dict[str, Uplink] = {}
        for name, dial in dials.items():
            Uplink(
                name,
                dial,
                recorder,
                ready=self._ready,
                authorization=shown,
                silence=silence,
                links=links,
                parts=() if self.flows is None else (*self.flows.parts, self.injections.part),
            )
        spool.retain(list(dials))
        return spool, recorder, list(links.values())

    async def start(self, nursery: trio.Nursery) -> None:
        """Bind the port, start probes and links."""
        nursery.start_soon(self.certificates.follow)
        await nursery.start(self.hub.run)
        await nursery.start(self.port.run)
        nursery.start_soon(self.view.run)
        nursery.start_soon(self._floor.keep, self.graph)
        nursery.start_soon(self._node.run)
        for uplink in self.uplinks:
            nursery.start_soon(uplink.run)
        await nursery.start(self.plugins.run)
        self.step_faults = learn_steps(self.services.queries, self.plugins)
        learn_panels(self.services.panels, self.plugins)
        nursery.start_soon(self._when_ready, nursery)
        if self.flows is not None:
            await self.flows.start(nursery)
        if not self.uplinks:
            log.warning("no analyzers are configured (key analyzers): what is seen here stays here")
        log.info("agent is running", host=self.graph.host, listen=self.port.bound)

    async def _when_ready(self, nursery: trio.Nursery) -> None:
        """The first state that analyzers see is the first complete inventory, not its making."""
        with trio.move_on_after(_INVENTORY_TIME):
            await self.plugins.settled()
        self._ready.set()
        if self.recorder is not None:
            nursery.start_soon(self.recorder.run)

    async def stop(self) -> list[str]:
        """Stop the probes, and let what they said reach the spool; returns the probes that are stuck."""
        if self.flows is not None:
            await self.flows.stop()
        stuck = await self.plugins.stop()
        recorder = self.recorder
        if recorder is not None and self._ready.is_set():
            with trio.move_on_after(_FLUSH_TIME, shield=True):
                await recorder.caught_up()
                await self._acknowledged()
        self._floor.close(self.graph)
        return stuck

    async def _acknowledged(self) -> None:
        """Wait until every connected analyzer has what it was sent."""
        recorder = self.recorder
        assert recorder is not None
        for uplink in self.uplinks:
            while uplink.state.connected and uplink.state.acknowledged < recorder.written:
                await uplink.moved.wait()

    def close(self) -> None:
        """Let go of the spool; after everything else has ended."""
        if self.spool is not None:
            self.spool.close()
        if self.flows is not None:
            self.flows.close()
