"""Questions that several plugins may answer, as pluggy hooks (https://pluggy.readthedocs.io).

A plugin answers with a function of the hook's name, marked by ``hookimpl``, in the module of its entry point::

    from skycore.plugin import gremlin, hookimpl

    @hookimpl
    def gremlin_steps(registry: gremlin.StepRegistry) -> None:
        registry.add(reversed_step)

The core answers first, by the same hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import pluggy

from skycore.gremlin import StepRegistry, steps

PROJECT: Final = "skycore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """All hooks, with what each may do."""

    @hookspec
    def gremlin_steps(self, registry: StepRegistry) -> None:
        """Add steps to the query language (``registry.add``), or kinds to one that is there (``registry.extend``)."""


class _Core:
    @hookimpl
    def gremlin_steps(self, registry: StepRegistry) -> None:
        steps.gremlin_steps(registry)


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
            alone = pluggy.PluginManager(PROJECT)
            alone.add_hookspecs(Hooks)
            alone.register(plugin, name)
            cast(Hooks, alone.hook).gremlin_steps(registry=trial)
        except Exception as error:
            faults[name] = f"{type(error).__name__}: {error}"
        else:
            registry = trial
    return registry, faults
