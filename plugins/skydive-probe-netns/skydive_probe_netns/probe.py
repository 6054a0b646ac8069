"""The netns probe as the host runs it."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import ClassVar, Final

import attrs
import trio

from skycore.plugin import ProbeHost, inotify
from skydive_probe_netns.registry import Registry
from skydive_probe_netns.unnamed import Unnamed

_FIRST_PAUSE: Final = 0.012
_TRIES: Final = 9
"""A file that is no namespace is tried again after a pause that doubles each time; with these, for 6 seconds."""

_LEAST_SCAN: Final = 0.1


def _check_path(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value.startswith("/") or "\0" in value:
        raise ValueError(f"{attribute.name} is {value!r}; allowed is the absolute path of a directory")


def _check_seconds(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (math.isfinite(value) and (value == 0 or value >= _LEAST_SCAN)):
        raise ValueError(
            f"{attribute.name} is {value}; allowed is a number of seconds from {_LEAST_SCAN}, or 0 for never"
        )


class NetnsProbe:
    """The network namespaces that have a name, if asked for also the others, and a netlink probe inside each."""

    section: ClassVar[str] = "agent.topology.netns"
    roles: ClassVar[frozenset[str]] = frozenset({"agent"})
    capabilities: ClassVar[frozenset[str]] = frozenset({"CAP_SYS_ADMIN"})
    # A name in run_path outlives the containers whose namespace docker and runc also know; runc knows only their IDs.
    precedence: ClassVar[dict[str, frozenset[str]]] = {
        **{key: frozenset({"docker", "runc"}) for key in ("Path", "Inode", "Device")},
        "Name": frozenset({"runc"}),
    }

    @attrs.frozen
    class Settings:
        """``run_path``: the directory whose files are named namespaces; it need not exist yet.

        ``scan``: seconds between two looks for namespaces of processes and of other bind mounts; 0: they are not looked
        for.
        """

        run_path: str = attrs.field(default="/var/run/netns", validator=_check_path)
        scan: float = attrs.field(default=0.0, validator=_check_seconds)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._path = settings.run_path
        self._scan = settings.scan or math.inf
        self._host = host

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the directory until cancelled.  Raises OSError when it cannot be watched."""
        with inotify.Inotify() as watcher:
            directory = inotify.Directory(watcher, self._path)
            registry = Registry(self._host, directory.path)
            retries = _Retries()
            unnamed = Unnamed(self._host)
            registry.check(directory.entries(), inventory=True)
            if self._scan < math.inf:
                unnamed.look(registry.keys())
            task_status.started()
            due = trio.current_time() + self._scan
            changed: set[bytes] | None = set()
            while True:
                for name in retries.update(registry.unready, changed):
                    self._host.log.warning(
                        "not a network namespace", path=f"{directory.path}/{name!r}", error=str(registry.unready[name])
                    )
                self._host.status(
                    directory=directory.path if directory.exists else f"{directory.path} (does not exist)",
                    namespaces=len(registry),
                    unready=len(registry.unready) or None,
                    unnamed=len(unnamed) or None,
                )
                changed = await directory.changed(min(retries.next, due))
                if changed is None:
                    registry.check(directory.entries(), inventory=True)
                elif changed:
                    registry.check(changed | registry.unready.keys())
                else:
                    registry.check(retries.due())
                if self._scan < math.inf and (changed is None or changed or trio.current_time() >= due):
                    unnamed.look(registry.keys())
                    due = trio.current_time() + self._scan


class _Retries:
    """When to look again at names that are not ready."""

    def __init__(self) -> None:
        self._tries: dict[bytes, int] = {}
        self._due: dict[bytes, float] = {}

    @property
    def next(self) -> float:
        return min(self._due.values(), default=math.inf)

    def due(self) -> set[bytes]:
        now = trio.current_time()
        return {name for name, due in self._due.items() if due <= now}

    def update(self, unready: Collection[bytes], changed: Collection[bytes] | None) -> list[bytes]:
        """Plan the next look at each unready name, afresh for those that changed; returns those given up now."""
        now = trio.current_time()
        given_up = []
        for name in self._tries.keys() - unready:
            del self._tries[name]
            self._due.pop(name, None)
        for name in unready:
            if changed is None or name in changed or name not in self._tries:
                self._tries[name] = 0
            elif self._due.get(name, math.inf) > now:
                continue
            else:
                self._tries[name] += 1
            if self._tries[name] < _TRIES:
                self._due[name] = now + _FIRST_PAUSE * 2 ** self._tries[name]
            else:
                self._due.pop(name, None)
                given_up.append(name)
        return given_up
