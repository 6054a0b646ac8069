"""Which flow sources can be used here, and how they are made: found by the word in a capture's ``Type``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import structlog

from skycore.errors import CaptureError, ConfigurationError, PluginError
from skycore.flow.source import FlowHost, FlowSource
from skycore.plugin import discovery
from skycore.plugin.loading import MakeSettings

log = structlog.get_logger(__name__)

_FORMER: Final = {"gopacket": ("afpacket", "pcap")}
"""Skydive's word for the source behind two types of captures."""


def allowed(listed: Sequence[str]) -> list[str]:
    """Names of the sources that the configuration lets an agent use; one that is installed needs no mention.

    ``-name`` takes one out.
    """
    refused = {name.removeprefix("-") for name in listed if name.startswith("-")}
    refused |= {name for former in refused for name in _FORMER.get(former, ())}
    return [name for name in discovery.installed(discovery.FLOWS) if name not in refused]


@final
class FlowSources:
    """Implements skycore.flow.running.Sources with what is installed; a source is imported when it is first used."""

    def __init__(self, listed: Sequence[str], settings: MakeSettings) -> None:
        self.names = allowed(listed)
        self._settings = settings
        self._loaded: dict[str, tuple[Any, Any]] = {}

    def make(self, type: str, host: FlowHost) -> FlowSource:
        """A source for one capture.  Raises CaptureError."""
        if type not in self.names:
            raise CaptureError(
                f"no flow source for captures of type {type!r} is installed on this agent; "
                f"there are: {', '.join(self.names) or 'none'}; install skydive-flow-{type}"
            )
        try:
            source_class, settings = self._load(type)
        except (PluginError, ConfigurationError) as error:
            raise CaptureError(str(error)) from error
        made: FlowSource = source_class(settings, host)
        return made

    def _load(self, type: str) -> tuple[Any, Any]:
        found = self._loaded.get(type)
        if found is None:
            plugin: Any = discovery.load(discovery.FLOWS, type)
            found = self._loaded[type] = plugin, self._settings(type, str(plugin.section), plugin.Settings)
            log.info("flow source loaded", source=type)
        return found
