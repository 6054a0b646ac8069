"""Sets of elements as indexes give them, and what filters make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final, final

import attrs

from skycore.filter import All, Any, Filter, Leaf, Not


@final
@attrs.frozen
class IdSet:
    """The elements in ``ids``, or with ``negated`` all others."""

    ids: AbstractSet[str]
    negated: bool = False


NOTHING: Final = IdSet(frozenset())


def conjuncts(filter: Filter) -> Iterator[Filter]:
    """The filters that must all hold."""
    if isinstance(filter, All):
        for part in filter.filters:
            yield from conjuncts(part)
    else:
        yield filter


def leaves(filter: Filter) -> Iterator[Leaf]:
    if isinstance(filter, All | Any):
        for part in filter.filters:
            yield from leaves(part)
    elif isinstance(filter, Not):
        yield from leaves(filter.filter)
    else:
        yield filter


def resolve(filter: Filter, find: Callable[[Leaf], AbstractSet[str] | None]) -> IdSet | None:
    """The elements for which the filter holds; None when ``find`` does not know all of its leaves.

    The set may be one that ``find`` gave: do not change it.
    """
    match filter:
        case All(filters):
            sets = [resolve(part, find) for part in filters]
            return None if None in sets else intersection(one for one in sets if one is not None)
        case Any(filters):
            sets = [resolve(part, find) for part in filters]
            if None in sets:
                return None
            return _opposite(intersection(_opposite(one) for one in sets if one is not None))
        case Not(inner):
            found = resolve(inner, find)
            return None if found is None else _opposite(found)
        case leaf:
            ids = find(leaf)
            return None if ids is None else IdSet(ids)


def intersection(sets: Iterable[IdSet]) -> IdSet:
    """What lies in all of the sets; of no sets: everything."""
    wanted: list[AbstractSet[str]] = []
    refused: list[AbstractSet[str]] = []
    for one in sets:
        (refused if one.negated else wanted).append(one.ids)
    if not wanted:
        if len(refused) == 1:
            return IdSet(refused[0], negated=True)
        return IdSet(set().union(*refused), negated=True)
    wanted.sort(key=len)
    ids = wanted[0]
    for other in wanted[1:]:
        ids = ids & other
    for other in refused:
        ids = ids - other
    return IdSet(ids)


def _opposite(one: IdSet) -> IdSet:
    return IdSet(one.ids, not one.negated)
