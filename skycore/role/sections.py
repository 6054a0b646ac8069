"""The sections of the configuration that belong to enabled plugins, for checking a file without running anything."""

from __future__ import annotations

from skycore.config import Enabled
from skycore.errors import PluginError
from skycore.plugin import discovery
from skycore.plugin.host import wanted


def plugin_sections(enabled: Enabled) -> tuple[dict[str, type], list[str]]:
    """What the enabled probes let the configuration say of them, and what is wrong with the others.

    The first maps dotted sections (``agent.topology.docker``) to settings classes; the second has a message for
    each plugin that is named in the configuration and is not installed, or cannot be imported.  Imports the plugins.
    """
    found: dict[str, type] = {}
    failures: list[str] = []
    for role in ("agent", "analyzer"):
        for name in wanted(enabled.probes.get(f"{role}.topology", ()), role):
            try:
                plugin = discovery.load(discovery.PROBES, name)
            except PluginError as error:
                failures.append(f"{role}.topology.probes: {error}")
                continue
            section, settings = getattr(plugin, "section", None), getattr(plugin, "Settings", None)
            if isinstance(section, str) and isinstance(settings, type):
                found[section] = settings
    for driver in sorted(set(enabled.storage) & discovery.installed(discovery.STORES).keys()):
        try:
            store = discovery.load(discovery.STORES, driver)
        except PluginError as error:
            failures.append(f"storage.{driver}: {error}")
        else:
            found.setdefault(store.section, store.Settings)
    return found, failures
