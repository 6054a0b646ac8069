"""Large lists in pieces: to sort one, or to let go of one, takes many milliseconds when it is done at one go."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")

_BUCKET: Final = 2048
_SAMPLES: Final = 16
_SPREAD_AT_A_TIME: Final = 1024


def shed(items: list[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size``; ``items`` lets go of each as it is given, and is empty at the end."""
    items.reverse()
    while items:
        part = items[-size:]
        del items[-size:]
        part.reverse()
        yield part


def sort_in_pieces(
    items: list[T], key: Callable[[T], Any], *, descending: bool = False
) -> Generator[None, None, list[T]]:
    """``sorted``, in slices: what lies between two of a few sampled keys is sorted by itself.

    Equal ones stay as they were.
    """
    if len(items) <= _BUCKET:
        yield
        return sorted(items, key=key, reverse=descending)
    step = max(1, len(items) // (_SAMPLES * (len(items) // _BUCKET + 1)))
    sample = sorted(key(item) for item in items[::step])
    pivots = sample[_SAMPLES::_SAMPLES]
    buckets: list[list[T]] = [[] for _ in range(len(pivots) + 1)]
    for start in range(0, len(items), _SPREAD_AT_A_TIME):
        for item in items[start : start + _SPREAD_AT_A_TIME]:
            buckets[bisect_right(pivots, key(item))].append(item)
        yield
    ordered: list[T] = []
    for bucket in reversed(buckets) if descending else buckets:
        ordered += sorted(bucket, key=key, reverse=descending)
        yield
    return ordered
