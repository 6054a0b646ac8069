"""Configuration: one typed tree from YAML files and the environment.

``load`` gives a ``Loaded``, whose ``config`` is a frozen ``Config``; or it raises ConfigurationError with every
problem at once, each with its place.  The parts that need PyYAML and cattrs are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skycore.config.address import Address

if TYPE_CHECKING:
    from skycore.config.document import Where
    from skycore.config.loading import Enabled, Loaded, load
    from skycore.config.names import Ignored
    from skycore.config.public import to_public
    from skycore.config.reference import describe
    from skycore.config.schema import Config

_HOMES = {
    "Config": "schema",
    "Enabled": "loading",
    "Ignored": "names",
    "Loaded": "loading",
    "Where": "document",
    "describe": "reference",
    "load": "loading",
    "to_public": "public",
}

__all__ = ["Address", "Config", "Enabled", "Ignored", "Loaded", "Where", "describe", "load", "to_public"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"skycore.config.{home}"), name)
