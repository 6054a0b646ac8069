"""Which installed package offers a plugin: the one module that knows stevedore.

Names are listed from package metadata without importing anything; only a plugin that is enabled is imported.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from skycore.errors import PluginImportFailed, PluginNotInstalled

PROBES = "skycore.probe"
STORES = "skycore.storage"


def installed(group: str) -> dict[str, str]:
    """The plugins of a group that are installed: name → distribution and its version (``skydive-probe-x 0.1.0``)."""
    found: dict[str, str] = {}
    for entry_point in importlib.metadata.entry_points(group=group):
        distribution = entry_point.dist
        found[entry_point.name] = f"{distribution.name} {distribution.version}" if distribution else entry_point.value
    return dict(sorted(found.items()))


def load(group: str, name: str, cache: Path | None = None) -> Any:
    """Import one plugin and return what its entry point names.

    ``cache`` is a folder in which stevedore may remember its scan (None: the user's cache folder).
    Raises PluginNotInstalled, or PluginImportFailed whatever the plugin's module raised (SystemExit included).
    """
    manager_class = _manager_class(cache)
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


def _manager_class(cache: Path | None) -> Any:
    # stevedore decides about its cache folder once, while it is imported.
    before = os.environ.get("XDG_CACHE_HOME")
    if cache is not None:
        os.environ["XDG_CACHE_HOME"] = str(cache)
    try:
        from stevedore import NamedExtensionManager  # noqa: PLC0415
    finally:
        if cache is not None:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before
    return NamedExtensionManager
