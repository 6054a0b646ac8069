"""Which process holds a socket, and what it is; all from /proc, see proc(5)."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Set
from typing import Final

import attrs

_RECHECKS: Final = 500
"""How many sockets are looked at again, in turn, to see whether their process still holds them."""

_LONGEST_PAUSE: Final = 32
"""A socket that no process holds is searched for again after 1, 2, 4 … looks, and then each time after so many."""

_SOCKET: Final = b"socket:["


@attrs.frozen
class Process:
    """A process: its id, its start in clock ticks since the boot, its name and the path of its program.

    A process's name is what it chose to be, at most 15 bytes; ``path`` is empty for want of a program.  Bytes that are
    no UTF-8 are written ``\\xNN``.  ``netns`` is the inode of the network namespace in which it is, 0 when unknown.
    """

    pid: int
    start: int
    name: str
    path: str
    netns: int


@attrs.define
class _Holder:
    """A process that holds sockets: what identifies it, and which of its descriptors are sockets with which inode."""

    process: Process
    identity: tuple[bytes, int, bytes]
    descriptors: dict[str, int] = attrs.field(factory=dict)


@attrs.define
class _Search:
    """A socket without a process: in which round to search again, and the pause after that."""

    round: int
    pause: int


class ProcessTable:
    """Keeps the process of each socket, at little cost: only new sockets are searched for.

    Everything blocks on /proc; use it from one thread at a time.
    """

    def __init__(self, path: str) -> None:
        self._path = os.fsencode(path.rstrip("/") or "/")
        self._round = 0
        self._holders: dict[int, _Holder] = {}
        self._held: dict[int, tuple[int, str]] = {}
        self._unheld: dict[int, _Search] = {}
        # In the order in which they are to be looked at again.
        self._turns: OrderedDict[int, None] = OrderedDict()
        self.unreadable = 0
        """How many processes did not let us see their descriptors in the last search."""

    def update(self, inodes: Set[int]) -> dict[int, Process | None]:
        """Find the processes of these sockets, which are all there are; returns those whose process is another now.

        None stands for no process.  Raises OSError when there is no /proc at all.
        """
        self._round += 1
        changes: dict[int, Process | None] = {}
        for inode in self._held.keys() - inodes:
            self._release(inode)
        for inode in self._unheld.keys() - inodes:
            del self._unheld[inode]
        for inode in [*self._of_changed_processes(changes), *self._let_go()]:
            self._release(inode)
            changes[inode] = None
        wanted = {
            inode
            for inode in inodes - self._held.keys()
            if (search := self._unheld.get(inode)) is None or search.round <= self._round
        }
        if wanted:
            for inode, pid in self._search(set(wanted)):
                changes[inode] = self._holders[pid].process
                self._unheld.pop(inode, None)
                wanted.discard(inode)
            for inode in wanted:
                search = self._unheld.setdefault(inode, _Search(self._round, 1))
                search.round = self._round + search.pause
                search.pause = min(2 * search.pause, _LONGEST_PAUSE)
        return changes

    def _release(self, inode: int) -> None:
        del self._held[inode]
        del self._turns[inode]

    def _of_changed_processes(self, changes: dict[int, Process | None]) -> list[int]:
        """The sockets of processes that are no more; those that became another program are told in ``changes``."""
        holding: dict[int, list[int]] = {}
        for inode, (pid, _) in self._held.items():
            holding.setdefault(pid, []).append(inode)
        for pid in self._holders.keys() - holding.keys():
            del self._holders[pid]
        ended = []
        for pid, inodes in holding.items():
            holder = self._holders[pid]
            identity = self._identity(pid)
            if identity == holder.identity:
                continue
            if identity is None or identity[1] != holder.identity[1]:
                ended += inodes
                del self._holders[pid]
                continue
            holder.identity, holder.process = identity, self._process(pid, identity)
            changes.update(dict.fromkeys(inodes, holder.process))
        return ended

    def _let_go(self) -> list[int]:
        """Those sockets, of the ones whose turn it is, that their process holds no more."""
        lost = []
        for inode in [inode for inode, _ in zip(self._turns, range(_RECHECKS), strict=False)]:
            pid, descriptor = self._held[inode]
            if pid not in self._holders:
                continue
            self._turns.move_to_end(inode)
            if self._inode(pid, descriptor) != inode:
                self._holders[pid].descriptors.pop(descriptor, None)
                lost.append(inode)
        return lost

    def _search(self, wanted: set[int]) -> Iterator[tuple[int, int]]:
        """(inode, pid) of sockets that were found; those who hold sockets already are asked first."""
        self.unreadable = 0
        known = sorted(self._holders)
        others = sorted({int(name) for name in os.listdir(self._path) if name.isdigit()} - self._holders.keys())
        for pid in [*known, *others]:
            for inode in self._look(pid, wanted):
                wanted.discard(inode)
                yield inode, pid
            if not wanted:
                return

    def _look(self, pid: int, wanted: set[int]) -> list[int]:
        """Those of the wanted sockets that a process holds; it is remembered when there are any."""
        try:
            names = os.listdir(os.fsdecode(self._of(pid, b"fd")))
        except PermissionError:
            self.unreadable += 1
            return []
        except OSError:
            return []
        holder = self._holders.get(pid)
        before = holder.descriptors if holder is not None else {}
        descriptors: dict[str, int] = {}
        found: dict[int, str] = {}
        for name in names:
            inode = before.get(name, 0)
            # Whose socket is known to be alive and here was not closed, so its number means the same still.
            if self._held.get(inode) != (pid, name):
                inode = self._inode(pid, name)
            if inode:
                descriptors[name] = inode
                if inode in wanted:
                    found.setdefault(inode, name)
        if not found:
            if holder is not None:
                holder.descriptors = descriptors
            return []
        if holder is None:
            identity = self._identity(pid)
            if identity is None:
                return []
            holder = self._holders[pid] = _Holder(self._process(pid, identity), identity)
        holder.descriptors = descriptors
        for inode, name in found.items():
            self._held[inode] = (pid, name)
            # At the next round: a server may just be handing it to a child.
            self._turns[inode] = None
            self._turns.move_to_end(inode, last=False)
        return list(found)

    def _of(self, pid: int, name: bytes) -> bytes:
        return b"%b/%d/%b" % (self._path, pid, name)

    def _inode(self, pid: int, descriptor: str) -> int:
        """The inode of the socket that a descriptor is; 0 when it is none, or there is none."""
        try:
            link = os.readlink(self._of(pid, b"fd/" + descriptor.encode()))
        except OSError:
            return 0
        return int(link[len(_SOCKET) : -1]) if link.startswith(_SOCKET) else 0

    def _identity(self, pid: int) -> tuple[bytes, int, bytes] | None:
        """(name, start, path) of a process, None when it is no more; start tells it from others of the same pid."""
        try:
            with open(self._of(pid, b"stat"), "rb", buffering=0) as file:
                text = file.read(4096)
        except OSError:
            return None
        # Whoever names himself may use brackets, blanks and line ends.
        name, _, rest = text.partition(b"(")[2].rpartition(b")")
        try:
            path = os.readlink(self._of(pid, b"exe"))
        except OSError:
            path = b""
        return name, int(rest.split(None, 20)[19]), path

    def _process(self, pid: int, identity: tuple[bytes, int, bytes]) -> Process:
        name, start, path = identity
        try:
            netns = os.stat(self._of(pid, b"ns/net")).st_ino
        except OSError:
            netns = 0
        return Process(pid, start, _text(name), _text(path), netns)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
