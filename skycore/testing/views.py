"""Graphs for tests: plain lists of revisions that answer every question by looking at all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final

from skycore.errors import PeriodTooLarge
from skycore.filter import Filter, compile_filter
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import StaleTest, field, fields
from skycore.graph.past import between, difference, since_of
from skycore.graph.view import Difference, Gap


@final
class ListView:
    """A graph made of revisions, in their order; it never changes, and says so unless ``frozen`` is False."""

    def __init__(self, revisions: Iterable[Revision], stale: StaleTest | None = None, *, frozen: bool = True) -> None:
        self.frozen = frozen
        self._elements: dict[Kind, dict[str, Revision]] = {"node": {}, "edge": {}}
        for revision in revisions:
            self._elements[revision.kind][revision.id] = revision
        self._stale = stale

    def ids(self, kind: Kind) -> list[str]:
        return list(self._elements[kind])

    def get(self, kind: Kind, id: str) -> Revision | None:
        return self._elements[kind].get(id)

    def edges_out(self, node_id: str) -> list[str]:
        return [edge.id for edge in self._elements["edge"].values() if edge.parent == node_id]

    def edges_in(self, node_id: str) -> list[str]:
        return [edge.id for edge in self._elements["edge"].values() if edge.child == node_id]

    def match(self, kind: Kind, filter: Filter) -> list[str]:
        return self.select(kind, filter, self.ids(kind))

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        holds = compile_filter(filter)
        return [id for id in ids if holds(fields(self._elements[kind][id], self._stale))]

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        return [field(self._elements[kind][id], key, self._stale) for id in ids]


class ListHistory:
    """The past of a graph, from all revisions that its elements ever had, each element's in ascending order."""

    def __init__(self, revisions: Sequence[Revision], gaps: Sequence[Gap] = ()) -> None:
        self._revisions = revisions
        self._gaps = gaps

    def graph_at(self, at: int, duration: int = 0) -> ListView:
        newest = {(one.kind, one.id): one for one in self._revisions if since_of(one) <= at}
        return ListView(one for one in newest.values() if one.deleted_at is None or one.deleted_at >= at - duration)

    def revisions_between(self, start: int, end: int, limit: int | None = None) -> list[Revision]:
        found = [one for id in self._ids() for one in between(self.revisions(id), start, end)]
        if limit is not None and len(found) > limit:
            raise PeriodTooLarge(f"the period holds more than {limit} revisions; ask for a shorter one")
        return sorted(found, key=lambda one: (one.deleted_at or one.updated_at, one.id, one.revision))

    def diff(self, start: int, end: int) -> Difference:
        sides = ({one.id: one for one in self._revisions if since_of(one) <= at} for at in (start, end))
        return difference(*sides)

    def revisions(self, id: str) -> list[Revision]:
        return [one for one in self._revisions if one.id == id]

    def density(self, start: int, end: int, parts: int) -> list[int]:
        counts = [0] * parts
        before: dict[str, dict[str, Any]] = {}
        for one in self._revisions:
            metadata = {
                key: value for key, value in one.metadata().items() if key not in ("Metric", "LastUpdateMetric")
            }
            news = one.deleted_at is not None or before.get(one.id) != metadata
            before[one.id] = metadata
            if news and start <= since_of(one) <= end:
                counts[min(parts - 1, (since_of(one) - start) * parts // (end - start))] += 1
        return counts

    def gaps(self, start: int, end: int) -> list[Gap]:
        return [one for one in self._gaps if one.start_ms <= end and one.end_ms >= start]

    def stale_at(self, at: int) -> frozenset[tuple[str, str]]:
        return frozenset()

    def _ids(self) -> list[str]:
        return list(dict.fromkeys(one.id for one in self._revisions))
