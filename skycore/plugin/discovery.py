"""Which installed package offers a plugin: the one module that knows stevedore.

Names are listed from package metadata without importing anything; only a plugin that is enabled is imported.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from typing import Any

from skycore.errors import PluginImportFailed, PluginNotInstalled

PROBES = "skycore.probe"
STORES = "skycore.storage"
AUTH = "skycore.auth"
FLOWS = "skycore.flow"
INJECTORS = "skycore.injector"


def installed(group: str) -> dict[str, str]:
    """The plugins of a group that are installed: name → distribution and its version (``skydive-probe-x 0.1.0``)."""
    found: dict[str, str] = {}
    for entry_point in importlib.metadata.entry_points(group=group):
        distribution = entry_point.dist
        found[entry_point.name] = f"{distribution.name} {distribution.version}" if distribution else entry_point.value
    return dict(sorted(found.items()))


def module(group: str, name: str) -> str:
    """The module that an entry point names, for plugins that are programs of their own; it is not imported.

    Raises PluginNotInstalled.
    """
    for entry_point in importlib.metadata.entry_points(group=group, name=name):
        return entry_point.module
    raise PluginNotInstalled(
        f"no installed package offers {name!r} in {group!r}; installed are: {', '.join(installed(group)) or 'none'}; "
        f"install it (for injectors: pip install skydive-inject-{name})"
    )


def load(group: str, name: str) -> Any:
    """Import one plugin and return what its entry point names.

    Raises PluginNotInstalled, or PluginImportFailed whatever the plugin's module raised (SystemExit included).
    """
    manager_class = _manager_class()
    failures: list[BaseException] = []
    manager: Iterable[Any] = ()
    try:
        manager = manager_class(
            group,
            [name],
            invoke_on_load=False,
            on_load_failure_callback=lambda _manager, _entry_point, error: failures.append(error),
            on_missing_entrypoints_callback=lambda _names: None,
        )
    except BaseException as error:  # a module may raise anything at all while it is imported
        failures.append(error)
    for extension in manager:
        return extension.plugin
    for failure in failures:
        raise PluginImportFailed(
            f"plugin {name!r} cannot be imported: {type(failure).__name__}: {failure}"
        ) from failure
    raise PluginNotInstalled(
        f"no installed package offers plugin {name!r} in {group!r}; "
        f"installed are: {', '.join(installed(group)) or 'none'}; "
        f"install it (for probes: pip install skydive-probe-{name})"
    )


def _manager_class() -> Any:
    """stevedore's manager; a daemon's scan is remembered in the system's cache folder, not in root's home."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given is None and os.geteuid() == 0:
        # It decides about its folder once, while it is imported.  systemd names ours in CACHE_DIRECTORY.
        os.environ["XDG_CACHE_HOME"] = os.environ.get("CACHE_DIRECTORY") or "/var/cache/skycore"
    try:
        from stevedore import NamedExtensionManager  # noqa: PLC0415
    finally:
        if given is None:
            os.environ.pop("XDG_CACHE_HOME", None)
    return NamedExtensionManager
