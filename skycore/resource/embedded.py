"""API objects in a small SQLite file in the state folder.

SQLite with a write-ahead log and ``synchronous=FULL``: a change that was answered survives a killed process and a
power cut.  The file has one table; its layout's number is SQLite's ``user_version``.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, final

import structlog
import trio

from skycore.errors import DuplicatedResource, ResourceNotFound, StorageError
from skycore.resource.contract import Action, Event, Resource, Watch, event_log, in_order
from skycore.sqlitefile import SqliteFile

log = structlog.get_logger(__name__)

_VERSION: Final = 1
_LAYOUT: Final = """
CREATE TABLE resource (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    json BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID
"""
# The wall clock may jump: look at it now and then also when nothing is due.
_LOOK_EACH: Final = 30.0
_TRY_AGAIN: Final = 1.0


@final
class EmbeddedResources:
    """Implements skycore.resource.contract.ResourceStore over ``folder/resources.sqlite``."""

    def __init__(self, folder: Path, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.path = folder / "resources.sqlite"
        self.fault: str | None = None
        self._clock = clock
        self._found: dict[tuple[str, str], Resource] = {}
        self._by_kind: dict[str, dict[str, Resource]] = {}
        self._log = event_log()
        self._file = SqliteFile(self.path, holds="API objects", prepare=self._prepare)
        self._turn = trio.Lock()
        self._deadlines_changed = trio.Event()

    def open(self) -> None:
        self._file.open()
        try:
            with self._file.writing() as writer:
                writer.execute("DELETE FROM resource WHERE expires_at <= ?", (self._clock(),))
                rows = writer.execute("SELECT kind, id, json, created_at, expires_at FROM resource").fetchall()
        except BaseException:
            self._file.close()
            raise
        self._found = in_order(Resource(kind, id, bytes(json), born, ends) for kind, id, json, born, ends in rows)
        self._by_kind = {}
        for resource in self._found.values():
            self._by_kind.setdefault(resource.kind, {})[resource.id] = resource

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StorageError(
                f"{self.path} has layout {version}, and this version of Skycore knows {_VERSION}; run a newer one"
            )
        os.chmod(self.path, 0o600)
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute("PRAGMA synchronous=FULL")
        if version < _VERSION:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_LAYOUT)
            connection.execute(f"PRAGMA user_version={_VERSION}")
            connection.execute("COMMIT")

    def close(self) -> None:
        self._file.close()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            self._deadlines_changed = trio.Event()
            due = min((one.expires_at for one in self._found.values() if one.expires_at is not None), default=None)
            wait = _LOOK_EACH if due is None else min(_LOOK_EACH, max(0.0, (due - self._clock()) / 1000))
            with trio.move_on_after(wait):
                await self._deadlines_changed.wait()
            now = self._clock()
            for one in [one for one in self._found.values() if one.expires_at is not None and one.expires_at <= now]:
                try:
                    await self._remove(one.kind, one.id, "expired")
                except ResourceNotFound:
                    pass
                except StorageError as error:
                    log.error("an API object cannot be let go of", kind=one.kind, id=one.id, error=str(error))
                    await trio.sleep(_TRY_AGAIN)

    def list(self, kind: str) -> Mapping[str, Resource]:
        return self._by_kind.get(kind, {})

    def get(self, kind: str, id: str) -> Resource | None:
        return self._found.get((kind, id))

    async def create(self, resource: Resource) -> None:
        async with self._turn:
            if (resource.kind, resource.id) in self._found:
                raise DuplicatedResource()
            await self._write(
                "INSERT INTO resource VALUES (?, ?, ?, ?, ?)",
                (resource.kind, resource.id, resource.json, resource.created_at, resource.expires_at),
            )
            self._know("created", resource)

    async def replace(self, resource: Resource) -> None:
        async with self._turn:
            if (resource.kind, resource.id) not in self._found:
                raise ResourceNotFound()
            await self._write(
                "UPDATE resource SET json = ?, expires_at = ? WHERE kind = ? AND id = ?",
                (resource.json, resource.expires_at, resource.kind, resource.id),
            )
            self._know("updated", resource)

    async def delete(self, kind: str, id: str) -> Resource:
        return await self._remove(kind, id, "deleted")

    def watch(self, *kinds: str) -> Watch:
        return Watch(self._log, kinds)

    async def _remove(self, kind: str, id: str, action: Action) -> Resource:
        async with self._turn:
            resource = self._found.get((kind, id))
            if resource is None:
                raise ResourceNotFound()
            await self._write("DELETE FROM resource WHERE kind = ? AND id = ?", (kind, id))
            del self._found[kind, id], self._by_kind[kind][id]
            self._log.append(Event(action, resource))
            return resource

    def _know(self, action: Action, resource: Resource) -> None:
        """Take over what has become durable."""
        self._found[resource.kind, resource.id] = resource
        self._by_kind.setdefault(resource.kind, {})[resource.id] = resource
        self._log.append(Event(action, resource))
        self._deadlines_changed.set()

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        # Not abandoned when cancelled: what was written is also known.
        await trio.to_thread.run_sync(self._commit, statement, values)

    def _commit(self, statement: str, values: tuple[object, ...]) -> None:
        with self._file.writing() as writer:
            writer.execute(statement, values)
