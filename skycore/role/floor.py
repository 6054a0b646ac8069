"""Revisions that grow for ever also where no history is kept.

An agent remembers, in one small file, a number that none of its revisions has exceeded; after a restart
every element goes on from there.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog
import trio

from skycore.errors import StorageError
from skycore.graph.graph import Graph

log = structlog.get_logger(__name__)

_RESERVE = 1 << 20


class RevisionFloor:
    """The file and what is reserved in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserved = 0
        self.known = 0
        """What the file said at the start."""

    def start(self) -> int:
        """The floor for this process; reserves numbers above it.  Raises StorageError."""
        try:
            self.known = int(self._path.read_text())
        except FileNotFoundError:
            self.known = 0
        except (OSError, ValueError) as error:
            raise StorageError(f"{self._path} does not hold a revision number ({error}); remove it") from error
        self._write(self.known + _RESERVE)
        return self.known

    async def keep(self, graph: Graph) -> None:
        """Reserve more before what is reserved runs out; until cancelled."""
        failing = False
        while True:
            await trio.sleep(1)
            if graph.highest > self._reserved - _RESERVE // 2:
                try:
                    await trio.to_thread.run_sync(self._write, graph.highest + _RESERVE)
                    failing = False
                except StorageError as error:
                    if not failing:
                        log.error("revision numbers cannot be reserved; trying again", error=str(error))
                    failing = True

    def close(self, graph: Graph) -> None:
        """The numbers that were not used are free again.  Raises StorageError."""
        self._write(max(graph.highest, graph.floor))

    def _write(self, number: int) -> None:
        temporary = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with temporary.open("w") as file:
                file.write(str(number))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error.strerror}; set storage.embedded.path to a folder that can"
            ) from error
        self._reserved = number
