"""The probe: keeps the graph equal to the state folders of runc, crun, and the engines that use them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import ClassVar, Final

import attrs
import trio

from skycore.plugin import Key, ProbeHost, containers, inotify
from skydive_probe_runc import keys, reading
from skydive_probe_runc.reading import Found, Place
from skydive_probe_runc.state import BadState
from skydive_probe_runc.tree import StateTree

_LEAST_CHECK: Final = 0.05
# Docker, podman, containerd's CRI plugin and CRI-O name containers by 256 random bits, which never come again.
_RANDOM_ID: Final = re.compile(r"[0-9a-f]{64}")


def _check_paths(_instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for path in value:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"{attribute.name} holds {path!r}; allowed are absolute paths of folders")


def _check_path(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value.startswith("/") or "\0" in value:
        raise ValueError(f"{attribute.name} is {value!r}; allowed is the absolute path of a folder")


def _check_seconds(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not _LEAST_CHECK <= value < float("inf"):
        raise ValueError(f"{attribute.name} is {value}; allowed is a number of seconds from {_LEAST_CHECK}")


class RuncProbe:
    """Containers whose state lies in folders, whoever started them, and the network namespaces they are in."""

    section: ClassVar = "agent.topology.runc"
    roles: ClassVar = frozenset({"agent"})
    capabilities: ClassVar = frozenset({"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"})

    @attrs.frozen
    class Settings:
        """``run_path``: the state folders, as this agent sees them; they need not exist.

        ``proc_path`` and ``root_path``: where this agent sees /proc and the file system of the host.  ``check``:
        seconds between two looks at which containers are paused or have ended, which no file tells.
        """

        run_path: tuple[str, ...] = attrs.field(
            default=("/run/containerd/runc", "/run/runc", "/run/runc-ctrs", "/run/crun"), validator=_check_paths
        )
        proc_path: str = attrs.field(default="/proc", validator=_check_path)
        root_path: str = attrs.field(default="/", validator=_check_path)
        check: float = attrs.field(default=2.0, validator=_check_seconds)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._settings = settings
        self._host = host
        self._place = Place(settings.proc_path.rstrip("/"), settings.root_path.rstrip("/"))
        self._containers = containers.Containers(host, {"Manager": "runc", "Runtime": "runc"})
        self._found: dict[str, Found] = {}
        self._keys: dict[str, Key] = {}
        self._unreadable: dict[str, str] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the folders until cancelled.  Raises OSError when nothing can be watched at all."""
        with inotify.Inotify() as watcher:
            tree = StateTree(watcher, self._settings.run_path)
            await self._take_inventory(tree)
            task_status.started()
            due = trio.current_time() + self._settings.check
            while True:
                self._show(tree)
                changed = await tree.changed(due)
                if changed is None:
                    await self._take_inventory(tree)
                    continue
                if trio.current_time() >= due:
                    changed |= await self._otherwise()
                    if tree.unwatched:
                        changed |= tree.look()
                    due = trio.current_time() + self._settings.check
                if changed:
                    await self._read(changed)
                    self._update(changed)

    # ------------------------------------------------------------------ the files

    async def _take_inventory(self, tree: StateTree) -> None:
        folders = tree.look()
        for folder in self._found.keys() - folders:
            del self._found[folder]
        self._unreadable.clear()
        await self._read(folders)
        located = {folder: self._locate(found) for folder, found in self._found.items()}
        self._keys = {folder: one.key for folder, one in located.items()}
        self._containers.replace(located.values())

    async def _read(self, folders: Iterable[str]) -> None:
        """Read these folders anew.  What cannot be read is half written, or broken: what was known of it stays."""
        folders = sorted(folders)
        answers = await trio.to_thread.run_sync(partial(_read_all, folders, self._place))
        for folder, answer in zip(folders, answers, strict=True):
            self._unreadable.pop(folder, None)
            if isinstance(answer, Found):
                self._found[folder] = answer
            elif answer is None:
                self._found.pop(folder, None)
            else:
                self._unreadable[folder] = str(answer)

    async def _otherwise(self) -> set[str]:
        """Folders of containers that are paused, go on again, or have ended."""
        known = list(self._found.values())

        def look() -> set[str]:
            return {one.folder for one in known if one.status != reading.status_of(one.folder, one.state, self._place)}

        return await trio.to_thread.run_sync(look) if known else set()

    # ------------------------------------------------------------------ the graph

    def _update(self, folders: Iterable[str]) -> None:
        changes: dict[Key, containers.Located | None] = {}
        for folder in folders:
            before = self._keys.pop(folder, None)
            found = self._found.get(folder)
            now = None if found is None else self._locate(found)
            if before is not None and (now is None or now.key != before):
                changes.setdefault(before, None)
            if now is not None:
                self._keys[folder] = now.key
                changes[now.key] = now
        self._containers.update(changes)

    def _locate(self, found: Found) -> containers.Located:
        state = found.state
        # Names that people choose come again; the moment of its making tells one from the next.
        key = (
            containers.container_key(state.id)
            if _RANDOM_ID.fullmatch(state.id)
            else Key("container", f"{found.folder}/{state.created}".encode("utf-8", "replace").decode("utf-8"))
        )
        namespace, path = None, ""
        process = f"{self._place.proc}/{state.pid}/ns/net" if found.status != "stopped" else ""
        lasting = self._place.seen(state.namespace) if state.namespace else ""
        for trial in (process, lasting):
            try:
                here = self._host.netns(trial) if trial else None
            except (OSError, ValueError):
                continue
            if here is None or (namespace is not None and here.key != namespace.key):
                continue
            namespace, path = here, trial
        if namespace is not None and namespace.key == self._host.namespace.key:
            namespace, path = None, ""
        joined = bool(state.namespace) and found.left.pod.get("Kind") != "sandbox"
        return containers.Located(key, state.id, keys.metadata(found), namespace, path, joined, state.created)

    def _show(self, tree: StateTree) -> None:
        unreadable = None
        if self._unreadable:
            folder, reason = next(iter(sorted(self._unreadable.items())))
            unreadable = f"{len(self._unreadable)} folder(s) hold no state that can be read; {folder!r}: {reason[:500]}"
        unwatched = None
        if tree.unwatched:
            folder, error = next(iter(tree.unwatched.items()))
            unwatched = (
                f"{len(tree.unwatched)} folder(s) are looked at every {self._settings.check:g} s; {folder!r}: {error}"
            )
        refused = next(iter(self._containers.refused.values()), None)
        self._host.status(
            containers=len(self._containers),
            missing=tree.missing or None,
            unreadable=unreadable,
            unwatched=unwatched,
            refused=refused,
        )


def _read_all(folders: Iterable[str], place: Place) -> list[Found | BadState | OSError | None]:
    answers: list[Found | BadState | OSError | None] = []
    for folder in folders:
        try:
            answers.append(reading.read(folder, place))
        except (BadState, OSError) as error:
            answers.append(error)
    return answers
