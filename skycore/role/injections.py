"""Injections in a role: what an agent sends for others, and what an analyzer lets users ask."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, final

import trio

from skycore.cluster.injections import InjectionDesk, InjectionTaker
from skycore.config import Config
from skycore.errors import ConfigurationError, InjectionError, PluginNotInstalled, Problem
from skycore.graph.graph import Graph
from skycore.gremlin import QueryContext
from skycore.injection.manager import InjectionManager
from skycore.injection.order import InjectionLimits
from skycore.plugin import discovery
from skycore.plugin.host import PluginHost
from skycore.resource.contract import ResourceStore
from skycore.rule.injecting import InjectionApi
from skycore.rule.injection import InjectionPolicy, Network, injection_kind


@final
class InstalledInjector:
    """Implements skycore.injection.manager.Injector by what is installed; nothing of it is imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    def module(self) -> str:
        """The program's module."""
        try:
            return discovery.module(discovery.INJECTORS, self._name)
        except PluginNotInstalled as error:
            raise InjectionError(str(error)) from error


@final
class AgentInjections:
    """What an agent sends for the analyzers that it is linked to."""

    def __init__(self, config: Config, graph: Graph, plugins: PluginHost) -> None:
        section = config.agent.injection
        self.manager = InjectionManager(
            graph,
            injector=InstalledInjector(section.injector),
            limits=InjectionLimits(section.enabled, section.max_rate, section.max_active),
            namespace_of=lambda id, index: _path(plugins, id, index),
        )
        self.part = InjectionTaker(self.manager)

    def status(self) -> dict[str, Any]:
        return {"Active": self.manager.status(), "PacketsSent": self.manager.packets}


@final
class AnalyzerInjections:
    """The API object ``injectpacket``, and the way to the agents."""

    def __init__(self, config: Config, resources: ResourceStore, queries: QueryContext) -> None:
        policy = _policy(config)
        self.part = InjectionDesk()
        self.api = InjectionApi(resources, injection_kind(queries.planner, policy), queries, self.part, policy)

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self.api.run)


def _path(plugins: PluginHost, id: str, index: int) -> str | None:
    namespace = plugins.namespace_of_interface(id, index)
    return None if namespace is None else namespace.path


def _policy(config: Config) -> InjectionPolicy:
    section = config.analyzer.injection
    networks: list[Network] = []
    for text in section.refused_networks:
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError as error:
            raise ConfigurationError(
                [Problem("configuration", 0, 0, "analyzer.injection.refused_networks", str(error))]
            ) from error
    return InjectionPolicy(
        max_count=section.max_count,
        max_nodes=section.max_nodes,
        max_active=section.max_active,
        max_per_minute=section.max_per_minute,
        refused_networks=tuple(networks),
    )
