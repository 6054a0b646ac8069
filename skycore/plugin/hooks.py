"""Questions that several plugins may answer, as pluggy hooks (https://pluggy.readthedocs.io).

A plugin answers with a function of the hook's name, marked by ``hookimpl``, in the module of its entry point::

    from skycore.plugin import gremlin, hookimpl

    @hookimpl
    def gremlin_steps(registry: gremlin.StepRegistry) -> None:
        registry.add(reversed_step)

The core answers first, by the same hook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pluggy

from skycore.flow.enhance import FlowEnhancer
from skycore.gremlin import StepRegistry, steps
from skycore.plugin.web import WebPanels

PROJECT: Final = "skycore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """All hooks, with what each may do."""

    @hookspec
    def gremlin_steps(self, registry: StepRegistry) -> None:
        """Add steps to the query language (``registry.add``), or kinds to one that is there (``registry.extend``)."""

    @hookspec
    def flow_enhancers(self) -> Sequence[FlowEnhancer]:
        """Who knows more of the ends of flows than the graph tells; asked once, when an analyzer starts."""
        raise NotImplementedError

    @hookspec
    def web_panels(self) -> WebPanels:
        """Panels and icons for the Web UI; asked once, when the process starts."""
        raise NotImplementedError


class _Core:
    @hookimpl
    def gremlin_steps(self, registry: StepRegistry) -> None:
        steps.gremlin_steps(registry)


def flow_enhancers(plugins: Mapping[str, object]) -> tuple[list[tuple[str, FlowEnhancer]], dict[str, str]]:
    """The enhancers of plugins, by the plugins' names in order, and why those of some plugins are left out."""
    found: list[tuple[str, FlowEnhancer]] = []
    faults: dict[str, str] = {}
    for name, plugin in sorted(plugins.items()):
        try:
            answers = _alone(name, plugin).flow_enhancers()
            found += [(name, one) for answer in answers for one in answer]
        except Exception as error:
            faults[name] = f"{type(error).__name__}: {error}"
    return found, faults


def web_panels(plugins: Mapping[str, object]) -> tuple[dict[str, WebPanels], dict[str, str]]:
    """What plugins add to the Web UI, and why that of some plugins is left out."""
    found: dict[str, WebPanels] = {}
    faults: dict[str, str] = {}
    for name, plugin in sorted(plugins.items()):
        try:
            for answer in _alone(name, plugin).web_panels():
                found[name] = answer
        except Exception as error:
            faults[name] = f"{type(error).__name__}: {error}"
    return found, faults


def gremlin_registry(plugins: Mapping[str, object]) -> tuple[StepRegistry, dict[str, str]]:
    """The steps of the core and of plugins, and why those of some plugins are left out.

    A plugin whose hook raises adds nothing, and the others are not touched by it; pluggy's own fan-out would stop at
    the first one that raises.
    """
    registry = StepRegistry()
    faults: dict[str, str] = {}
    for name, plugin in {"core": _Core(), **plugins}.items():
        trial = StepRegistry(registry)
        try:
            _alone(name, plugin).gremlin_steps(registry=trial)
        except Exception as error:
            faults[name] = f"{type(error).__name__}: {error}"
        else:
            registry = trial
    return registry, faults


def _alone(name: str, plugin: object) -> Any:
    """The hooks of one plugin; each gives a list with its answer, an empty one where the plugin has none."""
    alone = pluggy.PluginManager(PROJECT)
    alone.add_hookspecs(Hooks)
    alone.register(plugin, name)
    return alone.hook
