"""Recordings that users give to an analyzer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, final

import trio

from skycore.cluster.flow_intake import FlowIntake
from skycore.flow.options import FlowOptions
from skycore.flow.recording import Imported, Recording

_AT_ONCE: Final = 2
"""Recordings that are read at the same time; each may hold a whole flow table."""
_DAY_MS: Final = 86_400_000


@final
class Imports:
    """Implements skycore.server.api.services.RecordingImports: flows take the way of those that agents send."""

    def __init__(self, intake: FlowIntake, options: FlowOptions, retention_days: float) -> None:
        self._intake = intake
        self._options = options
        self._retention_days = retention_days
        self.room = trio.CapacityLimiter(_AT_ONCE)

    def begin(self) -> Recording:
        """One more recording.  Raises RecordingError without the native flow table."""
        return Recording(self._options, self._intake.put)

    def warning(self, found: Imported, clock: Callable[[], float] = time.time) -> str:
        """What its owner should know about how long it is kept, "" when there is nothing to tell."""
        if not found.flows or not self._retention_days:
            return ""
        if found.start_ms >= clock() * 1000 - self._retention_days * _DAY_MS:
            return ""
        return (
            f"flows older than {self._retention_days:g} days are removed within a minute "
            "(key retention_days of the flows' storage; 0 keeps all)"
        )
