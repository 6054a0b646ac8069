"""The netlink probe as the host runs it."""

from __future__ import annotations

import math
from contextlib import ExitStack
from functools import partial
from typing import ClassVar, Final

import attrs
import trio

from skycore.plugin import Equals, ProbeHost, netlink
from skydive_probe_netlink.follow import GROUPS, Follower
from skydive_probe_netlink.socket import RequestSocket
from skydive_probe_netlink.tables import BUFFER
from skydive_probe_netlink.tables import GROUPS as HINTS

EVENTS: Final = 8 << 20
"""Bytes of changes of links and addresses that the kernel may keep; it uses them only as needed."""


def _check_interval(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{attribute.name} is {value}; allowed is a number of seconds, or 0 for never")


class NetlinkProbe:
    """The interfaces of one namespace: links, addresses, and how they are connected."""

    section: ClassVar[str] = "agent.topology.netlink"
    roles: ClassVar[frozenset[str]] = frozenset({"agent"})
    capabilities: ClassVar[frozenset[str]] = frozenset({"CAP_NET_ADMIN", "CAP_SYS_ADMIN"})

    @attrs.frozen
    class Settings:
        """``metrics_update``: seconds between two samples of the interface counters; 0 takes none."""

        metrics_update: float = attrs.field(default=30.0, validator=_check_interval)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._settings = settings
        self._host = host

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the kernel until cancelled.  Raises OSError when the namespace cannot be entered (any more)."""
        host = self._host
        enter = partial(host.in_netns, host.namespace.path)
        with ExitStack() as stack:
            # Hearing comes before asking: what changes during the inventory is then applied on top of it.
            events = stack.enter_context(netlink.EventSocket(enter, netlink.NETLINK_ROUTE, GROUPS, EVENTS))
            hints = stack.enter_context(netlink.EventSocket(enter, netlink.NETLINK_ROUTE, HINTS, BUFFER))
            requests = stack.enter_context(RequestSocket(enter))
            view = host.graph.view(Equals("Type", "netns"), ("Path",))
            stack.callback(view.close)
            follower = Follower(host, self._settings.metrics_update or math.inf, events, hints, requests, view)
            await follower.run(task_status)
