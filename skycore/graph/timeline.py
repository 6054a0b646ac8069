"""Which state of each element was current when, and common keys of these states, in columns: for history in memory.

A *state* is a run of revisions of one element that differ in nothing but metrics, time and number, or a tombstone.  It
takes some 75 bytes here, whatever its JSON takes on disk: who it belongs to, from when until when it was current, and
for each column a code that stands for a value.  So the graph at a moment is one comparison over arrays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from skycore.filter import MISSING, Equals, Leaf, value_test
from skycore.graph.element import Kind, Revision
from skycore.graph.index import EDGE_KEYS, NODE_KEYS
from skycore.graph.indexed import finish
from skycore.graph.past import since_of
from skycore.graph.pieces import sort_in_pieces
from skycore.graph.projection import projection

Numbers: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.int32]
Truths: TypeAlias = NDArray[np.bool_]

UNKNOWN: Final = -1
ABSENT: Final = -1
_ALIVE: Final = (1 << 63) - 1
_TESTS: Final = 64
_WANTED: Final = 16
_TESTED_AT_A_TIME: Final = 2048
_RANKED: Final = 4096
_encode = msgspec.json.Encoder(order="deterministic").encode


@final
class Growing:
    """A column of integers that grows at its end; what was there before keeps its place."""

    def __init__(self, type: type[np.generic], fill: int) -> None:
        self._fill = fill
        self._array: NDArray[Any] = np.full(1024, fill, type)
        self._size = 0

    @property
    def all(self) -> NDArray[Any]:
        return self._array[: self._size]

    def reach(self, size: int) -> None:
        """Have at least this many members."""
        if size > len(self._array):
            grown = np.full(max(size, len(self._array) * 3 // 2), self._fill, self._array.dtype)
            grown[: self._size] = self._array[: self._size]
            self._array = grown
        self._size = max(self._size, size)

    def extend(self, values: Sequence[int]) -> None:
        start = self._size
        self.reach(start + len(values))
        self._array[start : start + len(values)] = values


@final
class CodedColumn:
    """One key of the states of a kind: a code for each state (UNKNOWN: nobody has looked), and what codes stand for.

    ``codes`` and ``put`` may be called from any thread, the tests of values from one alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.values: list[Any] = [MISSING]
        self._codes = Growing(np.int32, UNKNOWN)
        self._code_of: dict[Any, int] = {MISSING: 0}
        self._lists: list[int] = []
        self._tests: dict[Leaf, tuple[int, Truths]] = {}

    def codes(self, states: Numbers) -> Codes:
        """The codes of some states."""
        with self._lock:
            if len(states):
                self._codes.reach(int(states.max()) + 1)
            return self._codes.all[states]

    def put(self, states: Numbers | Sequence[int], values: Iterable[Any]) -> None:
        with self._lock:
            codes = [self._code(value) for value in values]
            if codes:
                self._codes.reach(int(max(states)) + 1)
                self._codes.all[states] = codes

    def learn(self, kind: Kind, key: str, states: Numbers, revisions: Iterable[Revision | None]) -> None:
        """Put what the key is in revisions of states; in one that is not there any more it is missing."""
        extract = projection(kind, (key,))
        self.put(states, [MISSING if one is None else extract(one)[0] for one in revisions])

    def _code(self, value: Any) -> int:
        # 1, 1.0 and true are the same key of a dict, and their JSON is not.
        key = value if type(value) is str or value is MISSING else _encode(value)
        code = self._code_of.get(key)
        if code is None:
            code = self._code_of[key] = len(self.values)
            self.values.append(value)
            if type(value) is list:
                self._lists.append(code)
        return code

    def passing(self, leaf: Leaf, states: Numbers) -> Truths:
        """Which of some states, whose codes are all known, pass a test of this key."""
        codes = self.codes(states)
        if isinstance(leaf, Equals) and isinstance(leaf.value, str):
            passed: Truths = codes == self._code_of.get(leaf.value, UNKNOWN)
            holds = value_test(leaf)
            for code in self._lists:
                if holds(self.values[code]):
                    passed |= codes == code
            return passed
        for _ in self.test(leaf):
            pass
        result: Truths = self._tests[leaf][1][codes]
        return result

    def test(self, leaf: Leaf) -> Iterable[None]:
        """Test each value once, in slices; values that come later are tested when they are asked for."""
        if isinstance(leaf, Equals) and isinstance(leaf.value, str):
            return
        done, truths = self._tests.get(leaf, (0, np.zeros(0, np.bool_)))
        end = len(self.values)
        if done < end:
            holds = value_test(leaf)
            parts: list[Truths] = [truths]
            for start in range(done, end, _TESTED_AT_A_TIME):
                part = self.values[start : min(start + _TESTED_AT_A_TIME, end)]
                parts.append(np.fromiter(map(holds, part), np.bool_, len(part)))
                yield
            truths = np.concatenate(parts)
        self._tests.pop(leaf, None)
        self._tests[leaf] = end, truths
        while len(self._tests) > _TESTS:
            del self._tests[next(iter(self._tests))]


@final
class Timeline:
    """All states of a store, or those of its later part: of moments from ``start`` on all that was current then.

    States of an element are added in ascending order of their revision numbers.  Methods may be called from any thread.
    """

    def __init__(self, start: int = -_ALIVE) -> None:
        self.start = start
        self.lock = threading.RLock()
        self.ids: list[str] = []
        self.handles: dict[str, int] = {}
        # Of elements: the handles of their ends (ABSENT for nodes), and their last state and number.
        self.parents = Growing(np.int32, ABSENT)
        self.children = Growing(np.int32, ABSENT)
        self._is_edge = Growing(np.bool_, 0)
        self._last: list[int] = []
        self._last_number: list[int] = []
        # Of states.
        self.elements = Growing(np.int32, 0)
        self.numbers = Growing(np.int64, 0)
        self.since = Growing(np.int64, 0)
        self.until = Growing(np.int64, _ALIVE)
        self.deleted = Growing(np.bool_, 0)
        self.created = Growing(np.int64, 0)
        self.vouchers = Growing(np.int32, 0)
        self._previous = Growing(np.int32, ABSENT)
        self.voucher_values: list[tuple[str, tuple[str, ...]]] = []
        self._voucher_codes: dict[tuple[str, tuple[str, ...]], int] = {}
        self._columns: dict[tuple[Kind, str], CodedColumn] = {}
        self._wanted: dict[tuple[Kind, str], int] = {}
        self._extract: dict[Kind, Callable[[Revision], list[Any]]] = {
            "node": projection("node", NODE_KEYS),
            "edge": projection("edge", EDGE_KEYS),
        }
        self._names: NDArray[Any] = np.empty(0, object)
        self._ranks: Numbers = np.empty(0, np.int64)

    def __len__(self) -> int:
        """How many states there are."""
        return len(self.elements.all)

    def column(self, kind: Kind, key: str) -> CodedColumn:
        return self._columns.setdefault((kind, key), CodedColumn())

    def want(self, kind: Kind, key: str) -> None:
        """Somebody has use for this key of all states."""
        if len(self._wanted) < _WANTED:
            self._wanted.setdefault((kind, key), 0)

    def unknown(self, count: int) -> tuple[Kind, str, Numbers] | None:
        """Some of the states of which a wanted key is not known yet, None when all are; the next call goes on."""
        with self.lock:
            for (kind, key), begin in self._wanted.items():
                place = begin
                while place < len(self):
                    states = np.arange(place, min(place + count, len(self)))
                    self._wanted[kind, key] = place = int(states[-1]) + 1
                    states = states[self._is_edge.all[self.elements.all[states]] == (kind == "edge")]
                    states = states[self.column(kind, key).codes(states) == UNKNOWN]
                    if len(states):
                        return kind, key, states
            return None

    def names_of(self, states: Numbers) -> list[tuple[str, int]]:
        """The ID and the first number of states."""
        with self.lock:
            ids = self.names()[self.elements.all[states]].tolist()
            return list(zip(ids, self.numbers.all[states].tolist(), strict=True))

    def add(self, revisions: Iterable[Revision]) -> None:
        """Add the first revision of each state; those that are there already are left out."""
        with self.lock:
            first = len(self)
            found: list[Revision] = []
            elements: list[int] = []
            previous: list[int] = []
            for revision in revisions:
                handle = self._handle(revision)
                if revision.revision <= self._last_number[handle]:
                    continue
                elements.append(handle)
                previous.append(self._last[handle])
                self._last[handle] = first + len(found)
                self._last_number[handle] = revision.revision
                found.append(revision)
            sinces = [since_of(revision) for revision in found]
            self.elements.extend(elements)
            self._previous.extend(previous)
            self.numbers.extend([revision.revision for revision in found])
            self.since.extend(sinces)
            self.deleted.extend([revision.deleted_at is not None for revision in found])
            self.created.extend([revision.created_at for revision in found])
            self.vouchers.extend([self._voucher(revision) for revision in found])
            self.until.reach(len(self))
            self._supersede(previous, sinces)
            self._index(first, found)

    def _handle(self, revision: Revision) -> int:
        handle = self.handles.get(revision.id)
        if handle is None:
            parent, child = revision.parent, revision.child
            ends = (ABSENT, ABSENT)
            if parent is not None and child is not None:
                ends = self._end(parent), self._end(child)
            handle = self._end(revision.id)
            self.parents.all[handle], self.children.all[handle] = ends
            self._is_edge.all[handle] = parent is not None
        elif revision.parent is not None and self.parents.all[handle] == ABSENT:
            self.parents.all[handle] = self._end(revision.parent)
            self.children.all[handle] = self._end(revision.child or "")
            self._is_edge.all[handle] = True
        return handle

    def _end(self, id: str) -> int:
        """The handle of an element, of which nothing more need be known yet."""
        handle = self.handles.get(id)
        if handle is None:
            handle = self.handles[id] = len(self.ids)
            self.ids.append(id)
            self._last.append(ABSENT)
            self._last_number.append(ABSENT)
            for column in (self.parents, self.children, self._is_edge):
                column.reach(handle + 1)
        return handle

    def _voucher(self, revision: Revision) -> int:
        pair = revision.origin, revision.owners
        code = self._voucher_codes.get(pair)
        if code is None:
            code = self._voucher_codes[pair] = len(self.voucher_values)
            self.voucher_values.append(pair)
        return code

    def _supersede(self, previous: Iterable[int], sinces: Iterable[int]) -> None:
        """What was before a state is not current any more from the state's time on, also where clocks went back."""
        until, before = self.until.all, self._previous.all
        for state, since in zip(previous, sinces, strict=True):
            while state != ABSENT and until[state] > since:
                until[state] = since
                state = int(before[state])  # noqa: PLW2901

    def _index(self, first: int, found: list[Revision]) -> None:
        for kind, keys in (("node", NODE_KEYS), ("edge", EDGE_KEYS)):
            places = [place for place, one in enumerate(found) if (one.parent is None) == (kind == "node")]
            if places:
                extract = self._extract[kind]  # type: ignore[index]
                rows = [extract(found[place]) for place in places]
                states = np.array(places, np.int64) + first
                for number, key in enumerate(keys):
                    self.column(kind, key).put(states, [row[number] for row in rows])  # type: ignore[arg-type]

    def at(self, at: int, start: int) -> tuple[Numbers, Numbers]:
        """The states of nodes and of edges that were current at ``at``, without elements deleted before ``start``.

        Edges that miss an end are left out.
        """
        with self.lock:
            since, deleted = self.since.all, self.deleted.all
            current = (since <= at) & (self.until.all > at) & (~deleted | (since >= start))
            states = np.flatnonzero(current)
            elements = self.elements.all[states]
            edge = self._is_edge.all[elements]
            nodes, edges = states[~edge], states[edge]
            there = np.zeros(len(self.ids), np.bool_)
            there[elements[~edge]] = True
            ends = elements[edge]
            whole = there[self.parents.all[ends]] & there[self.children.all[ends]]
            return nodes, edges[whole]

    def names(self) -> NDArray[Any]:
        """The IDs by handle."""
        with self.lock:
            if len(self._names) != len(self.ids):
                self._names = np.array(self.ids, object)
            return self._names

    def in_order(self, states: Numbers) -> Numbers:
        """States sorted by CreatedAt, then ID."""
        with self.lock:
            created, elements = self.created.all[states], self.elements.all[states]
            ranked = len(self._ranks) == len(self.ids)
        if len(states) > _RANKED or ranked:
            ranks = self._ranks_of_all()[elements]
        else:
            ranks = _ranks(self.names()[elements].tolist())
        ordered: Numbers = states[np.lexsort((ranks, created))]
        return ordered

    def _ranks_of_all(self) -> Numbers:
        """The place of each handle's ID among all IDs in the alphabet."""
        with self.lock:
            ids, ranks = list(self.ids), self._ranks
        if len(ranks) != len(ids):
            # Not under the lock: it takes a tenth of a second for 100,000.
            ranks = _ranks(ids)
            with self.lock:
                if len(self._ranks) < len(ranks):
                    self._ranks = ranks
        return ranks


def _ranks(names: list[str]) -> Numbers:
    """The place of each name among them in the alphabet."""
    ranks = np.empty(len(names), np.int64)
    ranks[finish(sort_in_pieces(list(range(len(names))), names.__getitem__))] = np.arange(len(names))
    return ranks
