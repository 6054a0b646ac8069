"""When Python looks for cyclic garbage: by a schedule of our own, so that no reader waits for it.

A full collection looks at every container there is, which takes a third of a second with 100,000 nodes.  So what lives
after the start is set aside (``gc.freeze``), full collections come each half minute instead of whenever Python likes,
and what has grown too much for a short one is set aside, too.  What is set aside still goes when nobody refers to it
any more, as nearly everything does; only what refers to itself in a circle stays.
"""

from __future__ import annotations

import gc
import time
from typing import Final

import trio

EACH: Final = 30.0
"""Seconds between full collections."""
_LONGEST: Final = 0.005
_NEVER: Final = 1 << 30


def settle() -> None:
    """Collect what is garbage, and set aside what lives."""
    gc.collect()
    gc.freeze()


def collect() -> None:
    """A full collection of what has come since; what lives is set aside if that took long."""
    start = time.perf_counter()
    gc.collect()
    if time.perf_counter() - start > _LONGEST:
        gc.freeze()


def take_over() -> None:
    """Set aside what lives now; from here on full collections are left to ``collect``."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    settle()


async def care() -> None:
    """Take over, and collect by the schedule until cancelled; then Python goes by its own again."""
    thresholds = gc.get_threshold()
    take_over()
    try:
        while True:
            await trio.sleep(EACH)
            collect()
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
