"""What stands in the place of a store that cannot be used: the live graph goes on, the past cannot be asked for.

Nothing is committed, so nothing is acknowledged to agents: their spools keep what they send until a process with a
store takes it.  The store itself is not touched any more, and whatever is damaged stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NoReturn, final

from skycore.errors import HistoryUnavailable, StorageError
from skycore.graph.element import Revision
from skycore.graph.view import Difference, GraphView
from skycore.storage.contract import Gap, Record, StaleInterval


@final
class AbsentStore:
    """A Store in which there is nothing, and that says of every question why it cannot be answered."""

    section: ClassVar[str] = ""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def _refuse(self) -> NoReturn:
        raise HistoryUnavailable(f"this analyzer runs without history: {self.reason}")

    def open(self) -> None:
        """Nothing is opened."""

    def close(self) -> None:
        """Nothing is closed."""

    def commit(self, records: Sequence[Record]) -> None:
        raise StorageError(f"history is not stored: {self.reason}; when that is put right, restart the analyzer")

    def sync(self) -> None:
        """Nothing was committed."""

    def maintain(self) -> bool:
        return False

    def status(self) -> dict[str, Any]:
        return {"Error": self.reason, "Bytes": 0}

    def current(self) -> Iterator[Revision]:
        return iter(())

    def marks(self) -> dict[tuple[str, int], int]:
        return {}

    def highest_revision(self) -> int:
        return 0

    def open_stale_intervals(self) -> list[StaleInterval]:
        return []

    def graph_at(self, at: int, duration: int = 0) -> GraphView:
        self._refuse()

    def revisions_between(self, start: int, end: int, limit: int | None = None) -> list[Revision]:
        self._refuse()

    def diff(self, start: int, end: int) -> Difference:
        self._refuse()

    def revisions(self, id: str) -> list[Revision]:
        self._refuse()

    def density(self, start: int, end: int, parts: int) -> list[int]:
        self._refuse()

    def gaps(self, start: int, end: int) -> list[Gap]:
        self._refuse()

    def stale_at(self, at: int) -> frozenset[tuple[str, str]]:
        self._refuse()
