"""How long something took, counted in buckets."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; one more bucket takes what was longer."""


@final
class Timing:
    """Durations since the start: ``counts`` by bucket, ``total`` in seconds, ``failed`` how many raised."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0
        self.failed = 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count the time that the body takes."""
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self.failed += 1
            raise
        finally:
            taken = time.perf_counter() - start
            self.counts[bisect_left(BUCKETS, taken)] += 1
            self.total += taken

    def cumulative(self) -> list[tuple[str, int]]:
        """(upper bound, how many took at most so long), the last one ``+Inf``."""
        sums: list[tuple[str, int]] = []
        count = 0
        for bound, here in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            count += here
            sums.append((bound, count))
        return sums
