"""Reading a container's folder, and what lies elsewhere of it.  Everything here blocks: for worker threads."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from typing import Any, Final

import attrs

from skydive_probe_runc import engine, hosts
from skydive_probe_runc.state import CRUN_FILE, RUNC_FILE, BadState, State, decode, read_crun, read_runc

_STATE_BYTES: Final = 32 << 20
_HOSTS_BYTES: Final = 1 << 20
_ALIVE: Final = frozenset("RSDTtIWPK")


@attrs.frozen
class Place:
    """Where this agent sees the host: ``proc`` is its /proc, ``root`` its file system ("" for the agent's own)."""

    proc: str
    root: str

    def seen(self, path: str) -> str:
        """Where a file of the host is seen from here."""
        return f"{self.root}{path}" if path.startswith("/") else path


@attrs.frozen
class Found:
    """A container as its files tell it; ``status`` is that of the moment when it was read."""

    folder: str
    state: State
    left: engine.Left
    hosts: Mapping[str, Any]
    status: str


def read(folder: str, place: Place) -> Found | None:
    """Read the container of a folder; None when there is none (any more).  Raises BadState, OSError."""
    id = os.fsdecode(os.path.basename(folder)).encode("utf-8", "replace").decode("utf-8")
    try:
        return _found(folder, read_runc(_document(f"{folder}/{RUNC_FILE}"), id=id), place)
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        status = _document(f"{folder}/{CRUN_FILE}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _found(folder, read_crun(status, _configuration(folder, status, place), id=id), place)


def _configuration(folder: str, status: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """What crun was told to make: its own copy, or that of the bundle, which may have changed or gone since."""
    bundle = status.get("bundle")
    seen = [place.seen(f"{bundle}/config.json")] if isinstance(bundle, str) and "\0" not in bundle else []
    for path in (f"{folder}/config.json", *seen):
        try:
            return _document(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return {}


def _found(folder: str, state: State, place: Place) -> Found:
    stored = created = None
    if state.bundle and "\0" not in state.bundle:
        stored = _stored(place.seen(state.bundle), state.id)
        created = _optional(place.seen(f"{state.bundle}/artifacts/create-config"))
    left = engine.read_left(state, stored, created)
    names = next((one.source for one in state.mounts if one.destination == "/etc/hosts"), "")
    return Found(folder, state, left, _hosts(place.seen(names)) if names else {}, status_of(folder, state, place))


def status_of(folder: str, state: State, place: Place) -> str:
    """``created``, ``running``, ``paused`` or ``stopped``, as the kernel tells it now."""
    if not state.pid:
        return "stopped"
    try:
        with open(f"{place.proc}/{state.pid}/stat", "rb") as file:
            # The command before the last parenthesis may hold spaces and parentheses itself (proc_pid_stat(5)).
            fields = file.read(4096).rpartition(b")")[2].split()
        alive = fields[0].decode() in _ALIVE
        same = not state.started or int(fields[19]) == state.started
    except (OSError, IndexError, ValueError):
        return "stopped"
    if not alive or not same:
        return "stopped"
    created = os.path.exists(f"{folder}/exec.fifo")
    # One that was made and not started can be frozen: crun goes on calling it created, runc does not.
    if created and state.runtime == "crun":
        return "created"
    if any(_frozen(place.seen(path)) for path in state.freezers):
        return "paused"
    return "created" if created else "running"


def _frozen(file: str) -> bool:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        return os.read(descriptor, 16).strip() in (b"FROZEN", b"1")
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _document(path: str) -> Mapping[str, Any]:
    return decode(_bytes(path, _STATE_BYTES), path)


def _optional(path: str) -> Mapping[str, Any] | None:
    try:
        return _document(path)
    except (OSError, BadState):
        return None


def _stored(bundle: str, id: str) -> Mapping[str, Any] | None:
    """The entry of containers/storage, whose list lies beside the folders of all containers."""
    folders, _, last = bundle.rpartition(f"/{id}/")
    if last != "userdata":
        return None
    for name in ("containers.json", "volatile-containers.json"):
        try:
            found = engine.find_stored(json.loads(_bytes(f"{folders}/{name}", _STATE_BYTES)), id)
        except (OSError, ValueError, RecursionError, BadState):
            continue
        if found is not None:
            return found
    return None


def _hosts(path: str) -> dict[str, Any]:
    try:
        return hosts.read_hosts(_bytes(path, _HOSTS_BYTES).decode("utf-8", "replace"))
    except (OSError, ValueError, BadState):
        return {}


def _bytes(path: str, most: int) -> bytes:
    """The content of a regular file; whoever runs containers chooses what some of these paths mean."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise BadState(f"{path} is no regular file")
        if about.st_size > most:
            raise BadState(f"{path} has more than {most} bytes")
        return file.read(most)
