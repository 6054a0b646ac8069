"""The hardware probe as the host runs it."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import attrs
import trio

from skycore.plugin import Present, ProbeHost
from skydive_probe_hardware.files import Files
from skydive_probe_hardware.gather import gather
from skydive_probe_hardware.sysctl import NAME
from skydive_probe_hardware.uevents import Uevents

_PAUSE: Final = 0.3
"""Seconds between an announcement and the look at it: a disk announces each of its partitions."""
_SHARE: Final = 10.0
"""The pause is at least so many times as long as the last look took."""


def _check_interval(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (math.isfinite(value) and (value == 0 or value >= 1)):
        raise ValueError(f"{attribute.name} is {value}; allowed is a number of seconds from 1, or 0 for never")


def _check_names(_instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for name in value:
        if not NAME.fullmatch(name):
            raise ValueError(f"{attribute.name} holds {name!r}; allowed are names such as net.ipv4.ip_forward")


class HardwareProbe:
    """Processors, memory, operating system, block and network devices of the host, on the host's node."""

    section: ClassVar[str] = "agent.topology.hardware"
    roles: ClassVar[frozenset[str]] = frozenset({"agent"})
    capabilities: ClassVar[frozenset[str]] = frozenset()

    @attrs.frozen
    class Settings:
        """What the configuration may say.

        ``interval``: seconds between two looks at what is not announced (mounts, kernel parameters); 0 never looks.
        ``sysctls``: kernel parameters to show besides the usual ones.
        """

        interval: float = attrs.field(default=60.0, validator=_check_interval)
        sysctls: tuple[str, ...] = attrs.field(default=(), validator=_check_names)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._settings = settings
        self._host = host
        self._complained: list[str] = []
        self._speeds: dict[int, int] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look at the host, and again when a device is announced and each interval, until cancelled."""
        # Whoever knows the bus address of an interface, and the functions of a physical one, says so on its node.
        self._host.graph.join((Present("VfBusInfo"), ["VfBusInfo"]), (Present("BusInfo"), ["BusInfo"]), "vf")
        with Uevents() as uevents:
            pause = await self._look()
            task_status.started()
            while True:
                with trio.move_on_after(self._settings.interval or math.inf):
                    await uevents.changed()
                    await trio.sleep(pause)
                pause = await self._look()

    async def _look(self) -> float:
        """Say what the host is like now; returns the least seconds until the next look."""
        began = trio.current_time()
        metadata, complaints = await trio.to_thread.run_sync(gather, Files(), self._settings.sysctls)
        if complaints != self._complained:
            self._complained = complaints
            for complaint in complaints:
                self._host.log.error(complaint)
            self._host.status(complaints=complaints or None)
        self._keep_speeds(metadata)
        with self._host.graph.snapshot():
            self._host.graph.annotate(self._host.root, metadata)
        return max(_PAUSE, _SHARE * (trio.current_time() - began))

    def _keep_speeds(self, metadata: dict[str, Any]) -> None:
        """Without cpufreq the kernel tells the speed of the moment; the first one stays, or each look is a change."""
        for cpu in metadata.get("CPU", ()):
            if "Mhz" in cpu:
                cpu["Mhz"] = self._speeds.setdefault(cpu["CPU"], cpu["Mhz"])
