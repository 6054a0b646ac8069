"""The graph at a moment of the past, over a timeline; what the timeline does not hold is loaded when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence, Set
from functools import partial
from itertools import chain, islice
from typing import Any, Final, TypeAlias, final

import numpy as np

from skycore.filter import EVERYTHING, All, Equals, Filter, Leaf, Not
from skycore.filter import Any as AnyOf
from skycore.graph.adjacency import Direction
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import is_stale
from skycore.graph.idset import leaves
from skycore.graph.indexed import IndexedView, Slices, finish
from skycore.graph.projection import UNINDEXED, canonical_key
from skycore.graph.timeline import ABSENT, UNKNOWN, CodedColumn, Numbers, Timeline, Truths

Load: TypeAlias = Callable[[Sequence[tuple[str, int]]], "Sequence[Revision | None]"]
"""Reads, for pairs of an ID and the first number of a state, the revision that was current at the view's moment.

None for what is not there any more.  Blocks.
"""

_CHANGING: Final = ("@UpdatedAt", "@Revision")
_LOADED_AT_A_TIME: Final = 1024
_FEW: Final = 2048


@final
class TimelineView(IndexedView):
    """An IndexedView of what was current at ``at``; elements deleted before ``start`` are not in it.

    ``changing`` names the top-level metadata keys that differ within a state.  The order is that of CreatedAt, then ID.
    """

    def __init__(
        self,
        timeline: Timeline,
        at: int,
        start: int,
        *,
        stale: Set[tuple[str, str]],
        changing: Collection[str],
        load: Load,
    ) -> None:
        self._timeline = timeline
        self._stale = stale
        self._changing = changing
        self._load = load
        nodes, edges = timeline.at(at, start)
        self._states: dict[Kind, Numbers] = {"node": nodes, "edge": edges}
        self._names = timeline.names()
        self._elements = timeline.elements.all
        self._state_of: dict[Kind, Numbers] = {}
        for kind, states in self._states.items():
            self._state_of[kind] = state_of = np.full(len(self._names), ABSENT, np.int64)
            state_of[self._elements[states]] = states
        self._loaded: dict[int, Revision | None] = {}
        self._of_this_moment: dict[tuple[Kind, str], CodedColumn] = {}
        self._ordered_edges: Numbers | None = None
        self._ways: dict[tuple[str, Filter], _Way] = {}

    # Elements

    def ids(self, kind: Kind) -> list[str]:
        return self._named(self._timeline.in_order(self._states[kind]))

    def every(self, kind: Kind) -> Slices[list[str]]:
        return self._put_in_order(self._states[kind])

    def count(self, kind: Kind) -> int:
        return len(self._states[kind])

    def get(self, kind: Kind, id: str) -> Revision | None:
        handle = self._timeline.handles.get(id, ABSENT)
        if not 0 <= handle < len(self._names) or self._state_of[kind][handle] == ABSENT:
            return None
        return next(iter(finish(self.fetch(kind, [id]))), None)

    def in_order(self, kind: Kind, ids: Set[str]) -> Slices[list[str]]:
        return (yield from self._put_in_order((yield from self._states_of_many(kind, ids))))

    def _put_in_order(self, states: Numbers) -> Slices[list[str]]:
        if len(states) <= _FEW:
            return self._named(self._timeline.in_order(states))
        found: list[list[str]] = []
        # To sort the IDs of a large graph for the first time takes long.
        yield lambda: found.append(self._named(self._timeline.in_order(states)))
        return found[0]

    def fetch(self, kind: Kind, ids: Sequence[str]) -> Slices[list[Revision]]:
        states = self._states_of(kind, ids).tolist()
        missing = [state for state in states if state not in self._loaded]
        for start in range(0, len(missing), _LOADED_AT_A_TIME):
            yield partial(self._keep, missing[start : start + _LOADED_AT_A_TIME])
        found = [self._loaded[state] for state in states]
        if len(self._loaded) > 4 * _LOADED_AT_A_TIME:
            # Whoever asks for many takes them once; they are not to be held twice.
            self._loaded.clear()
        return [revision for revision in found if revision is not None]

    def _keep(self, states: Sequence[int]) -> None:
        self._loaded.update(zip(states, self._load(self._timeline.names_of(np.array(states))), strict=True))

    def is_stale(self, revision: Revision) -> bool:
        return is_stale(self._stale, revision.origin, revision.owners)

    def _states_of(self, kind: Kind, ids: Iterable[str]) -> Numbers:
        handles = self._timeline.handles
        states: Numbers = self._state_of[kind][np.fromiter((handles[id] for id in ids), np.int64)]
        return states

    def _states_of_many(self, kind: Kind, ids: Collection[str]) -> Slices[Numbers]:
        ahead, parts = iter(ids), [np.empty(0, np.int64)]
        while part := list(islice(ahead, _FEW)):
            parts.append(self._states_of(kind, part))
            yield
        return np.concatenate(parts)

    def _named(self, states: Numbers) -> list[str]:
        return self._names[self._elements[states]].tolist()  # type: ignore[no-any-return]

    # Neighbours

    def edges_out(self, node_id: str) -> Sequence[str]:
        return self._way("out", EVERYTHING).of(self._handles([node_id]))[0]

    def edges_in(self, node_id: str) -> Sequence[str]:
        return self._way("in", EVERYTHING).of(self._handles([node_id]))[0]

    def leaving(self, nodes: Iterable[str]) -> list[str]:
        return list(chain.from_iterable(self._way("out", EVERYTHING).of(self._handles(nodes))))

    def arriving(self, nodes: Iterable[str]) -> list[str]:
        return list(chain.from_iterable(self._way("in", EVERYTHING).of(self._handles(nodes))))

    def ends(self, edges: Sequence[str]) -> tuple[list[str], list[str]]:
        handles = self._handles(edges)
        parents, children = self._timeline.parents.all, self._timeline.children.all
        return self._names[parents[handles]].tolist(), self._names[children[handles]].tolist()

    def around(
        self, direction: Direction, filter: Filter, nodes: Sequence[str]
    ) -> Slices[Sequence[Sequence[str]] | None]:
        if (direction, filter) not in self._ways:
            yield from self._make_known("edge", filter, self._states["edge"])
            yield partial(self._way, direction, filter)
        return self._way(direction, filter).of(self._handles(nodes))

    def _handles(self, ids: Iterable[str]) -> list[int]:
        get, most = self._timeline.handles.get, len(self._names)
        return [handle if 0 <= (handle := get(id, ABSENT)) < most else ABSENT for id in ids]

    def _way(self, direction: str, filter: Filter) -> _Way:
        way = self._ways.get((direction, filter))
        if way is None:
            if self._ordered_edges is None:
                self._ordered_edges = self._timeline.in_order(self._states["edge"])
            states = self._ordered_edges
            edges = self._elements[states[self._passing("edge", filter, states)]]
            parents, children = self._timeline.parents.all[edges], self._timeline.children.all[edges]
            way = self._ways[direction, filter] = _Way(self._names, *_directed(direction, edges, parents, children))
        return way

    # Filters

    def match(self, kind: Kind, filter: Filter) -> list[str]:
        return list(finish(self.search(kind, filter)))

    def search(self, kind: Kind, filter: Filter, *, ordered: bool = True) -> Slices[Collection[str]]:
        states = self._states[kind]
        yield from self._make_known(kind, filter, states)
        found: list[list[str]] = []

        def look() -> None:
            passed = states[self._passing(kind, filter, states)]
            found.append(self._named(self._timeline.in_order(passed) if ordered else passed))

        yield look
        return found[0]

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        asked = list(ids)
        if filter == EVERYTHING or not asked:
            return asked
        passing = self._passing(kind, filter, self._states_of(kind, asked))
        return [id for id, passed in zip(asked, passing.tolist(), strict=True) if passed]

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        key, asked = canonical_key(kind, key), list(ids)
        if not asked:
            return []
        states = self._states_of(kind, asked)
        if key == UNINDEXED:
            return self._are_stale(states).tolist()  # type: ignore[no-any-return]
        finish(self._know(kind, key, states))
        column = self._column(kind, key)
        values = column.values
        return [values[code] for code in column.codes(states).tolist()]

    def prepare(self, kind: Kind, filter: Filter, ids: Collection[str]) -> Slices[None]:
        yield from self._make_known(kind, filter, (yield from self._states_of_many(kind, ids)))

    def prepare_key(self, kind: Kind, key: str, ids: Collection[str]) -> Slices[None]:
        yield from self._know(kind, canonical_key(kind, key), (yield from self._states_of_many(kind, ids)))

    def _make_known(self, kind: Kind, filter: Filter, states: Numbers) -> Slices[None]:
        """Load what a filter asks of states.  Of filters that must all hold, what is known narrows what is loaded."""
        parts = filter.filters if isinstance(filter, All) else (filter,)
        for part in sorted(parts, key=lambda one: self._unknown(kind, one, states)):
            for leaf in leaves(part):
                key = canonical_key(kind, leaf.key)
                yield from self._know(kind, key, states)
                if key != UNINDEXED:
                    yield from self._column(kind, key).test(leaf)
            if len(parts) > 1:
                states = states[self._passing(kind, part, states)]

    def _unknown(self, kind: Kind, filter: Filter, states: Numbers) -> int:
        keys = {canonical_key(kind, leaf.key) for leaf in leaves(filter)} - {UNINDEXED}
        return sum(int(np.count_nonzero(self._column(kind, key).codes(states) == UNKNOWN)) for key in keys)

    def _know(self, kind: Kind, key: str, states: Numbers) -> Slices[None]:
        """Have the column of a key tell the values of states."""
        if key == UNINDEXED:
            return
        column = self._column(kind, key)
        missing = np.unique(states[column.codes(states) == UNKNOWN])
        if len(missing) and column is self._timeline.column(kind, key):
            self._timeline.want(kind, key)
        self._note("loaded" if len(missing) else "index", kind, key)
        for start in range(0, len(missing), _LOADED_AT_A_TIME):
            yield partial(self._learn, kind, key, missing[start : start + _LOADED_AT_A_TIME])

    def _learn(self, kind: Kind, key: str, states: Numbers) -> None:
        self._column(kind, key).learn(kind, key, states, self._load(self._timeline.names_of(states)))

    def _column(self, kind: Kind, key: str) -> CodedColumn:
        # What differs within a state is true of this moment alone.
        if key in _CHANGING or key.partition(".")[0] in self._changing:
            return self._of_this_moment.setdefault((kind, key), CodedColumn())
        return self._timeline.column(kind, key)

    def _passing(self, kind: Kind, filter: Filter, states: Numbers) -> Truths:
        match filter:
            case All(filters):
                passed = np.ones(len(states), np.bool_)
                for part in filters:
                    # What did not pass a filter before may not be known well enough for this one.
                    left = np.flatnonzero(passed)
                    passed[left] = self._passing(kind, part, states[left])
                return passed
            case AnyOf(filters):
                some = np.zeros(len(states), np.bool_)
                for part in filters:
                    some |= self._passing(kind, part, states)
                return some
            case Not(inner):
                return ~self._passing(kind, inner, states)
            case leaf:
                return self._pass(kind, leaf, states)

    def _pass(self, kind: Kind, leaf: Leaf, states: Numbers) -> Truths:
        key = canonical_key(kind, leaf.key)
        if key == UNINDEXED:
            truths = self._are_stale(states)
            if isinstance(leaf, Equals) and isinstance(leaf.value, bool):
                return truths if leaf.value else ~truths
            column = CodedColumn()
            column.put(np.arange(len(states)), truths.tolist())
            return column.passing(leaf, np.arange(len(states)))
        finish(self._know(kind, key, states))
        return self._column(kind, key).passing(leaf, states)

    def _are_stale(self, states: Numbers) -> Truths:
        pairs = self._timeline.voucher_values
        stale = np.array([is_stale(self._stale, *pair) for pair in pairs], np.bool_)
        found: Truths = stale[self._timeline.vouchers.all[states]]
        return found

    def _note(self, what: str, kind: Kind, key: str) -> None:
        if self.notes is not None:
            what = f"{what}: {kind} {key}"
            self.notes[what] = self.notes.get(what, 0) + 1


@final
class _Way:
    """Where each node leads to: the IDs of neighbours, or of edges, one list after the other, and where each begins."""

    def __init__(self, names: Any, sources: Numbers, targets: Numbers) -> None:
        order = np.argsort(sources, kind="stable")
        # One more for what is not there, whose handle is ABSENT: it leads nowhere.
        self._starts: list[int] = np.searchsorted(sources[order], np.arange(len(names) + 2)).tolist()
        self._targets: list[str] = names[targets[order]].tolist()

    def of(self, handles: Iterable[int]) -> list[list[str]]:
        starts, targets = self._starts, self._targets
        return [targets[starts[handle] : starts[handle + 1]] if handle >= 0 else [] for handle in handles]


def _directed(direction: str, edges: Numbers, parents: Numbers, children: Numbers) -> tuple[Numbers, Numbers]:
    """Pairs of a node and what it leads to; of each node in the order that IndexedView.around gives."""
    if direction == "out":
        return parents, edges
    if direction == "in":
        return children, edges
    if direction == "children":
        return parents, children
    if direction == "parents":
        return children, parents
    # Each edge at its parent, then each but loops at its child.
    other = parents != children
    back_parents, back_children = parents[other], children[other]
    if direction == "sides":
        return np.concatenate((parents, back_children)), np.concatenate((children, back_parents))
    sources = np.concatenate((parents, back_children)).repeat(2)
    both = np.concatenate((np.stack((parents, children), 1), np.stack((back_parents, back_children), 1)))
    return sources, both.reshape(-1)
