"""The ethtool probe as the host runs it."""

from __future__ import annotations

import math
from contextlib import ExitStack
from functools import partial
from typing import ClassVar, Final

import attrs
import trio

from skycore.plugin import ProbeHost, netlink
from skydive_probe_ethtool.follow import Follower
from skydive_probe_ethtool.genetlink import RTNLGRP_LINK
from skydive_probe_ethtool.socket import RequestSocket

_EVENTS: Final = 4 << 20
"""Bytes of news that the kernel may keep."""


def _check_interval(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (math.isfinite(value) and (value == 0 or value >= 1)):
        raise ValueError(f"{attribute.name} is {value}; allowed is a number of seconds from 1, or 0 for never")


def _check_limit(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 0 <= value <= 10_000:
        raise ValueError(f"{attribute.name} is {value}; allowed is a number from 0 to 10000")


class EthtoolProbe:
    """What ethtool tells of the interfaces of one namespace; annotates the nodes that netlink makes."""

    section: ClassVar[str] = "agent.topology.ethtool"
    roles: ClassVar[frozenset[str]] = frozenset({"agent"})
    capabilities: ClassVar[frozenset[str]] = frozenset({"CAP_NET_ADMIN", "CAP_SYS_ADMIN"})
    beside: ClassVar[frozenset[str]] = frozenset({"netlink"})

    @attrs.frozen
    class Settings:
        """What the configuration may say.

        ``interval``: seconds between two looks at what the kernel does not announce; 0 never looks.
        ``statistics_update``: seconds between two samples of the counters; 0 takes none.
        ``statistics_limit``: most driver counters of one interface.
        """

        interval: float = attrs.field(default=60.0, validator=_check_interval)
        statistics_update: float = attrs.field(default=60.0, validator=_check_interval)
        statistics_limit: int = attrs.field(default=256, validator=_check_limit)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._settings = settings
        self._host = host

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the kernel until cancelled.  Raises OSError when the namespace cannot be entered (any more)."""
        host, settings = self._host, self._settings
        enter = partial(host.in_netns, host.namespace.path)
        with ExitStack() as stack:
            links = stack.enter_context(netlink.EventSocket(enter, netlink.NETLINK_ROUTE, [RTNLGRP_LINK], _EVENTS))
            with RequestSocket(enter) as requests:
                family = await trio.to_thread.run_sync(self._family, requests)
            monitor = None
            if family is not None and "monitor" in family.groups:
                monitor = stack.enter_context(
                    netlink.EventSocket(enter, netlink.NETLINK_GENERIC, [family.groups["monitor"]], _EVENTS)
                )
            follower = Follower(
                host,
                settings.interval or math.inf,
                settings.statistics_update or math.inf,
                settings.statistics_limit,
                family,
                lambda: RequestSocket(enter),
            )
            await follower.run(links, monitor, task_status)

    @staticmethod
    def _family(requests: RequestSocket) -> netlink.Family | None:
        return requests.family("ethtool")
