"""The netns probe as the host runs it."""

from __future__ import annotations

import math
from typing import ClassVar, Final

import attrs
import trio

from skycore.plugin import ProbeHost, inotify
from skydive_probe_netns.mounts import Mounts
from skydive_probe_netns.registry import Registry
from skydive_probe_netns.unnamed import Unnamed

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
        with inotify.Inotify() as watcher, Mounts(self._path) as mounts:
            directory = inotify.Directory(watcher, self._path)
            registry = Registry(self._host, directory.path)
            unnamed = Unnamed(self._host)

            def show() -> None:
                self._show(directory, registry, unnamed)

            def look_again() -> None:
                registry.look_again()
                show()

            registry.check(directory.entries(), inventory=True)
            if self._scan < math.inf:
                unnamed.look(registry.keys())
            show()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(mounts.follow, look_again)
                due = trio.current_time() + self._scan
                while True:
                    changed = await directory.changed(due)
                    if changed is None:
                        registry.check(directory.entries(), inventory=True)
                    elif changed:
                        registry.check(changed)
                    if self._scan < math.inf and (changed is None or changed or trio.current_time() >= due):
                        unnamed.look(registry.keys())
                        due = trio.current_time() + self._scan
                    show()

    def _show(self, directory: inotify.Directory, registry: Registry, unnamed: Unnamed) -> None:
        unready = None
        if registry.unready:
            name, error = min(registry.unready.items())
            unready = f"{len(registry.unready)} file(s) are no network namespace (yet, or any more); {name!r}: {error}"
        self._host.status(
            directory=directory.path if directory.exists else f"{directory.path} (does not exist)",
            namespaces=len(registry),
            unready=unready,
            unnamed=len(unnamed) or None,
        )
