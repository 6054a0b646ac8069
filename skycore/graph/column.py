"""One key of all elements of a kind: its values, and which elements have which value.

A value is found by what a comparison looks at: a string as itself and, if it is numeric, as its number; a bool as
itself and as 0 or 1; a list by each of its members.  The elements that pass a pattern, a comparison with a bound or a
network are kept as a *set of a predicate*: made by testing each distinct value once, then corrected with every change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias, final

from skycore.filter import MISSING, Compare, Equals, InNetwork, Leaf, Matches, Present, number_of, value_test
from skycore.graph.pieces import shed

Ids: TypeAlias = AbstractSet[str]
Postings: TypeAlias = dict[Hashable, "str | set[str]"]

_EMPTY: Final[frozenset[str]] = frozenset()
_TRUE: Final = (True,)
_FALSE: Final = (False,)
_PREDICATES: Final = 32
# A pattern takes 2 to 4 microseconds a value.
_AT_A_TIME: Final = 256
_PLAIN: Final = frozenset({str, int, float, bool})


@final
class _Predicate:
    """The elements whose value passes a leaf's test."""

    __slots__ = ("holds", "ids")

    def __init__(self, leaf: Leaf) -> None:
        self.holds: Callable[[Any], bool] = value_test(leaf)
        self.ids: set[str] = set()


@final
class Column:
    """``values`` holds the value of each element that has the key; change them by ``set`` alone."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        # Strings as they are and bools in a tuple, which Python does not take for 0 and 1.
        self._exact: Postings = {}
        self._numbers: Postings = {}
        self._predicates: OrderedDict[Leaf, _Predicate] = OrderedDict()
        self._unfinished: list[_Predicate] = []

    def set(self, id: str, value: Any) -> None:
        """The element has this value now; MISSING: it does not have the key."""
        old = self.values.get(id, MISSING)
        if old is value or (type(value) in _PLAIN and type(old) is type(value) and old == value):
            return
        if old is not MISSING:
            for member in _members(old):
                _remove(self._exact, _exact(member), id)
                _remove(self._numbers, number_of(member), id)
        if value is MISSING:
            del self.values[id]
        else:
            self.values[id] = value
            self.enter(id)
        if self._predicates or self._unfinished:
            for predicate in (*self._predicates.values(), *self._unfinished):
                if predicate.holds(value):
                    predicate.ids.add(id)
                else:
                    predicate.ids.discard(id)

    def enter(self, id: str) -> None:
        """Have the element found by its value, which stands in ``values`` already; once more changes nothing.

        Whoever fills a new column may set all values first and enter them then, in slices: the tables that grow with
        each other (a table of 100,000 takes milliseconds to grow) do so at different times.
        """
        for member in _members(self.values[id]):
            _add(self._exact, _exact(member), id)
            _add(self._numbers, number_of(member), id)

    def find(self, leaf: Leaf) -> Ids | None:
        """IDs of the elements that pass; None when ``gather`` must be called first.

        The set is the column's own: use it before the graph may change.
        """
        if isinstance(leaf, Equals):
            value = leaf.value
            if isinstance(value, str):
                found = self._exact.get(value)
            elif isinstance(value, bool):
                found = self._exact.get(_TRUE if value else _FALSE)
            else:
                found = self._numbers.get(value)
            return _EMPTY if found is None else {found} if isinstance(found, str) else found
        if isinstance(leaf, Present):
            return self.values.keys()
        predicate = self._predicates.get(leaf)
        if predicate is None:
            return None
        self._predicates.move_to_end(leaf)
        return predicate.ids

    def gather(self, leaf: Leaf) -> Generator[None, None, None]:
        """Make the set of a predicate, in slices between which the column may change."""
        assert isinstance(leaf, Compare | Matches | InNetwork)
        predicate = _Predicate(leaf)
        postings = self._numbers if isinstance(leaf, Compare) else self._exact
        ids, holds = predicate.ids, predicate.holds
        # From here on changes reach the set by themselves, so what is added must be what the postings hold then.
        self._unfinished.append(predicate)
        try:
            for part in shed(list(postings), _AT_A_TIME):
                for value in part:
                    if isinstance(value, tuple) or not holds(value):
                        continue
                    found = postings.get(value)
                    if isinstance(found, str):
                        ids.add(found)
                    elif found is not None:
                        ids |= found
                yield
            self._predicates[leaf] = predicate
            if len(self._predicates) > _PREDICATES:
                self._predicates.popitem(last=False)
        finally:
            self._unfinished.remove(predicate)

    @property
    def distinct(self) -> int:
        """How many different values there are, about."""
        return max(len(self._exact), len(self._numbers))


def _members(value: Any) -> Iterable[Any]:
    return value if type(value) is list else (value,)


def _exact(member: Any) -> Hashable:
    """What a string or a bool is found by, None for other values."""
    if isinstance(member, str):
        return member
    if isinstance(member, bool):
        return _TRUE if member else _FALSE
    return None


def _add(postings: Postings, value: Hashable, id: str) -> None:
    if value is None:
        return
    found = postings.get(value)
    # Most values belong to one element, and a set for each would take more memory than all else here.
    if found is None:
        postings[value] = id
    elif isinstance(found, set):
        found.add(id)
    elif found != id:
        postings[value] = {found, id}


def _remove(postings: Postings, value: Hashable, id: str) -> None:
    if value is None:
        return
    found = postings.get(value)
    if isinstance(found, set):
        found.discard(id)
        if not found:
            del postings[value]
    elif found == id:
        del postings[value]
