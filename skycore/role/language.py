"""What a process has learned from its plugins: steps of queries, what to say of flows, panels of the Web UI."""

from __future__ import annotations

import structlog

from skycore.flow.enhance import Enhancer
from skycore.gremlin import QueryContext
from skycore.plugin.hooks import flow_enhancers, gremlin_registry, web_panels
from skycore.plugin.host import PluginHost
from skycore.server.plugin_web import PluginPanels

log = structlog.get_logger(__name__)


def learn_steps(queries: QueryContext, plugins: PluginHost) -> dict[str, str]:
    """Let queries use the steps of the plugins that were loaded; why those of some plugins are left out."""
    registry, faults = gremlin_registry(plugins.modules())
    queries.planner.use(registry)
    for plugin, fault in faults.items():
        log.error("the plugin's Gremlin steps are left out", plugin=plugin, error=fault)
    return faults


def learn_enhancers(enhancer: Enhancer, plugins: PluginHost) -> None:
    """Let flows have what the plugins that were loaded know of their ends."""
    found, faults = flow_enhancers(plugins.modules())
    enhancer.use(found)
    for plugin, fault in faults.items():
        log.error("what the plugin knows of flows is left out", plugin=plugin, error=fault)


def learn_panels(panels: PluginPanels, plugins: PluginHost) -> None:
    """Serve what the plugins that were loaded add to the Web UI."""
    found, faults = web_panels(plugins.modules())
    for plugin, fault in {**faults, **panels.use(found)}.items():
        log.error("what the plugin adds to the Web UI is left out", plugin=plugin, error=fault)
