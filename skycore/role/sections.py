"""The sections of the configuration that belong to enabled plugins, for checking a file without running anything."""

from __future__ import annotations

from typing import Any

import attrs

from skycore.config import Enabled
from skycore.config.tree import Section, build
from skycore.errors import PluginError
from skycore.plugin import discovery
from skycore.plugin.flow_sources import allowed
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
            section: Any = getattr(plugin, "section", "")
            settings: Any = getattr(plugin, "Settings", None)
            fault = section_fault(section, settings)
            if fault is not None:
                failures.append(f"{role}.topology.probes: plugin {name!r}: {fault}")
            elif section:
                found[section.lower()] = settings
    for name in allowed(enabled.probes.get("agent.flow", ())):
        try:
            source = discovery.load(discovery.FLOWS, name)
        except PluginError as error:
            failures.append(f"agent.flow.probes: {error}")
        else:
            found.setdefault(source.section, source.Settings)
    for driver in sorted(set(enabled.storage) & discovery.installed(discovery.STORES).keys()):
        try:
            store = discovery.load(discovery.STORES, driver)
        except PluginError as error:
            failures.append(f"storage.{driver}: {error}")
        else:
            found.setdefault(store.section, store.Settings)
    for kind in sorted(set(enabled.auth) & discovery.installed(discovery.AUTH).keys()):
        try:
            backend = discovery.load(discovery.AUTH, kind)
        except PluginError as error:
            failures.append(f"auth.{kind}: {error}")
        else:
            found.setdefault(backend.section, backend.Settings)
    return found, failures


def section_fault(section: object, settings: object) -> str | None:
    """Why a plugin's section and settings class cannot be part of the configuration, None when they can.

    An empty section is none: the plugin has no settings of its own.
    """
    if not isinstance(settings, type) or not attrs.has(settings):
        return f"its Settings are no attrs class: {settings!r}"
    if not isinstance(section, str):
        return f"its section is no text: {section!r}"
    if not section:
        return None
    try:
        build({section: settings})
    except (ValueError, TypeError, NameError) as error:
        return str(error)
    item: object = build()
    for name in section.lower().split("."):
        item = item.children.get(name) if isinstance(item, Section) else None
    if item is not None and not (isinstance(item, Section) and item.plugin):
        return f"its section {section!r} is a key that Skycore itself reads"
    return None
