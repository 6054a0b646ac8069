"""What stands in for a store of API objects that cannot be used: nothing is known, nothing can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, final

import trio

from skycore.errors import StorageError
from skycore.resource.contract import Resource, Watch, event_log


@final
class AbsentResources:
    """Implements skycore.resource.contract.ResourceStore; changes raise StorageError with ``fault``."""

    def __init__(self, fault: str) -> None:
        self.fault: str | None = fault
        self._log = event_log()

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    def list(self, kind: str) -> Mapping[str, Resource]:
        return {}

    def get(self, kind: str, id: str) -> Resource | None:
        return None

    async def create(self, resource: Resource) -> None:
        self._refuse()

    async def replace(self, resource: Resource) -> None:
        self._refuse()

    async def delete(self, kind: str, id: str) -> Resource:
        self._refuse()

    def watch(self, *kinds: str) -> Watch:
        return Watch(self._log, kinds)

    def _refuse(self) -> NoReturn:
        raise StorageError(f"API objects cannot be kept: {self.fault}")
