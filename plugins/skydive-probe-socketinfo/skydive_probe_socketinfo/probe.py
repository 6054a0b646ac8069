"""The socketinfo probe as the host runs it."""

from __future__ import annotations

import math
from typing import ClassVar, Final

import attrs
import trio

from skycore.plugin import ProbeHost
from skydive_probe_socketinfo.look import Look, Looker
from skydive_probe_socketinfo.places import Places
from skydive_probe_socketinfo.processes import Process, ProcessTable
from skydive_probe_socketinfo.publish import ProcessPublisher, Publisher

_SHARE: Final = 100
_LONGEST_PAUSE: Final = 300.0
"""Looking takes one part in _SHARE of a core at most, unless that would mean to look less often than this (seconds)."""


def _check_seconds(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{attribute.name} is {value}; allowed is a number of seconds above 0")


def _check_count(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name} is {value}; allowed is a number from 1")


def _check_path(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value.startswith("/") or "\0" in value:
        raise ValueError(f"{attribute.name} is {value!r}; allowed is the absolute path of a directory")


class SocketInfoProbe:
    """TCP and UDP sockets of all namespaces with their processes."""

    section: ClassVar[str] = "agent.topology.socketinfo"
    roles: ClassVar[frozenset[str]] = frozenset({"agent"})
    # To enter namespaces; to see the descriptors of others; to look into their directories.
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN"}
    )

    @attrs.frozen
    class Settings:
        """``host_update``: seconds between two lists for one node at least; ``poll``: between two looks at the sockets.

        ``max_sockets``: how many a list may hold; ``proc_path``: where the host's /proc is; ``processes``: also make
        nodes of the processes, and edges between those that talk to each other.
        """

        host_update: float = attrs.field(default=10.0, validator=_check_seconds)
        poll: float = attrs.field(default=2.0, validator=_check_seconds)
        max_sockets: int = attrs.field(default=2000, validator=_check_count)
        proc_path: str = attrs.field(default="/proc", validator=_check_path)
        processes: bool = False

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._settings = settings
        self._host = host
        self._owners: dict[int, Process] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the sockets until cancelled.  Raises OSError without sock_diag, or without a /proc."""
        settings, host = self._settings, self._host
        looker = Looker(ProcessTable(settings.proc_path))
        publisher = Publisher(host, settings.host_update, settings.max_sockets)
        processes = ProcessPublisher(host, settings.host_update) if settings.processes else None
        places: Places | None = None
        try:
            async with trio.open_nursery() as nursery:
                places = Places(host, nursery)
                next_look = -math.inf
                while True:
                    left = places.update()
                    for place in left:
                        publisher.left(place)
                    if trio.current_time() >= next_look:
                        # Not abandoned when cancelled: it uses sockets that are closed afterwards.
                        look = await trio.to_thread.run_sync(looker.look, places.all())
                        self._take(places, look)
                        pause = max(settings.poll, min(_LONGEST_PAUSE, look.seconds * _SHARE))
                        next_look = trio.current_time() + pause
                        self._report(places, look, pause)
                    asked, due = publisher.publish(places.all(), self._owners)
                    if processes is not None:
                        due = min(due, processes.publish(places.all(), self._owners, asked or bool(left)))
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    with trio.move_on_at(min(next_look, due)):
                        await places.changed()
        finally:
            if places is not None:
                places.close()

    def _take(self, places: Places, look: Look) -> None:
        """Take over what a look has found."""
        for inode in self._owners.keys() - look.inodes:
            del self._owners[inode]
        for inode, process in look.owners.items():
            if process is None:
                self._owners.pop(inode, None)
            else:
                self._owners[inode] = process
        for place, protocol, found in look.dumps:
            place.inventory.apply(protocol, found)
        for place in places.all():
            place.inventory.handed_over(look.owners.keys())

    def _report(self, places: Places, look: Look, pause: float) -> None:
        problems = {**places.unreachable, **look.errors}
        self._host.status(
            namespaces=len(places.all()),
            sockets=sum(len(place.inventory) for place in places.all()),
            unowned=len(look.inodes) - len(self._owners) or None,
            unseen=places.unseen or None,
            overruns=places.overruns or None,
            undecodable=places.undecodable or None,
            unsupported=sorted(look.unsupported) or None,
            unreachable=problems or None,
            poll=round(pause, 1),
        )
