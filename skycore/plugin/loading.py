"""From a name in the configuration to a class that can be started: imported, checked, with its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from skycore.errors import PluginError, PluginImportFailed, PluginSettingsInvalid
from skycore.plugin import discovery

MakeSettings = Callable[[str, str, type], Any]
"""From a name, its ``section`` and its ``Settings`` class to an instance; raises ConfigurationError."""


@attrs.frozen(eq=False)
class Loaded:
    """A plugin that can be started: ``plugin(settings, host)`` makes a probe."""

    name: str
    plugin: type
    settings: Any
    precedence: Mapping[str, frozenset[str]]
    beside: frozenset[str] = frozenset()

    @property
    def module(self) -> str:
        """The top-level module that the plugin's code lies in."""
        return self.plugin.__module__.partition(".")[0]


def load_probe(name: str, role: str, settings: MakeSettings) -> Loaded:
    """Import a probe and check what it says of itself.

    Raises PluginError (PluginNotInstalled, PluginImportFailed, PluginSettingsInvalid …), whatever the plugin does.
    """
    plugin = discovery.load(discovery.PROBES, name)
    if not isinstance(plugin, type) or not callable(getattr(plugin, "run", None)):
        raise PluginImportFailed(f"plugin {name!r} is no class with an async run(); see docs/plugins.md")
    roles = _names(name, "roles", getattr(plugin, "roles", frozenset({"agent"})))
    if role not in roles:
        raise PluginError(f"plugin {name!r} is for {', '.join(sorted(roles)) or 'no role'}; this is an {role}")
    overridden = getattr(plugin, "precedence", {})
    if not isinstance(overridden, Mapping):
        raise PluginError(f"plugin {name!r}: precedence maps metadata keys to sets of plugin names, not {overridden!r}")
    precedence = {str(key): _names(name, f"precedence[{key!r}]", others) for key, others in overridden.items()}
    beside = _names(name, "beside", getattr(plugin, "beside", frozenset()))
    try:
        made = settings(name, str(getattr(plugin, "section", "")), plugin.Settings)  # type: ignore[attr-defined]
    except Exception as error:
        raise PluginSettingsInvalid(f"settings of plugin {name!r} are wrong: {error}") from error
    return Loaded(name, plugin, made, precedence, beside)


def _names(plugin: str, what: str, value: Any) -> frozenset[str]:
    if isinstance(value, set | frozenset | list | tuple) and all(isinstance(each, str) for each in value):
        return frozenset(value)
    raise PluginError(f"plugin {plugin!r}: {what} is a set of names, such as frozenset({{'agent'}}), not {value!r}")
