"""The schedule of full collections."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from skycore.role import memory


@pytest.fixture
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)
    gc.unfreeze()


class Circle:
    def __init__(self) -> None:
        self.itself = self


def circles() -> int:
    return sum(type(one) is Circle for one in gc.get_objects())


async def test_full_collections_come_by_the_schedule_alone(
    thresholds: tuple[int, int, int], autojump_clock: trio.testing.MockClock
) -> None:
    assert gc.get_freeze_count() == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory.care)
        await trio.testing.wait_all_tasks_blocked()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[:2] == thresholds[:2]
        assert gc.get_threshold()[2] > 1_000_000
        for _ in range(10):
            Circle()
        gc.collect(1)
        Circle()
        assert circles() > 0
        await trio.sleep(memory.EACH + 1)
        assert circles() == 0
        nursery.cancel_scope.cancel()
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0
