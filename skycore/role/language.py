"""The query language of a process: the core's steps and those of its plugins."""

from __future__ import annotations

import structlog

from skycore.gremlin import QueryContext
from skycore.plugin.hooks import gremlin_registry
from skycore.plugin.host import PluginHost

log = structlog.get_logger(__name__)


def learn_steps(queries: QueryContext, plugins: PluginHost) -> dict[str, str]:
    """Let queries use the steps of the plugins that were loaded; why those of some plugins are left out."""
    registry, faults = gremlin_registry(plugins.modules())
    queries.planner.use(registry)
    for plugin, fault in faults.items():
        log.error("the plugin's Gremlin steps are left out", plugin=plugin, error=fault)
    return faults
