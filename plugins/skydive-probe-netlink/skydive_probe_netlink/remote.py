"""The probe ``tunnels`` of the analyzer: edges between the two ends of a tunnel, wherever they are."""

from __future__ import annotations

from typing import ClassVar

import attrs
import trio

from skycore.plugin import EVERYTHING, Equals, ProbeHost


class TunnelsProbe:
    """Joins what the netlink probes of all hosts say of their ends of tunnels; see ``tunnels``."""

    section: ClassVar[str] = ""
    roles: ClassVar[frozenset[str]] = frozenset({"analyzer", "agent"})
    capabilities: ClassVar[frozenset[str]] = frozenset()

    @attrs.frozen
    class Settings:
        """There is nothing to set."""

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._host = host

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the joins until cancelled."""
        graph = self._host.graph
        graph.join((EVERYTHING, ("Tunnel.LowEnds",)), (EVERYTHING, ("Tunnel.HighEnds",)), "layer2", {"Type": "tunnel"})
        wireguard = Equals("Type", "wireguard")
        graph.join(
            (wireguard, ("Wireguard.LowPeers",)), (wireguard, ("Wireguard.HighPeers",)), "layer2", {"Type": "wireguard"}
        )
        task_status.started()
        await trio.sleep_forever()
