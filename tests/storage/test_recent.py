"""The recent window: what it answers is right, whatever it had to let go of, and what it cannot answer it says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.graph.element import Revision
from skycore.graph.past import since_of
from skycore.storage.reading import sort_period
from skycore.storage.recent import RecentWindow
from skycore.testing.history import (
    STEPS,
    elements_of_revisions,
    expected_between,
    expected_diff,
    last_at,
    make_history,
    make_revision,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _living(history: list[Revision]) -> list[Revision]:
    return [one for one in {one.id: one for one in history}.values() if one.deleted_at is None]


@given(STEPS, st.integers(0, 10), st.integers(0, 4000), st.integers(1, 60), st.integers(0, 6), st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_what_it_answers_is_right(
    steps: list[tuple[str, str, int]], before: int, bytes: int, seconds: int, duration: int, size: int
) -> None:
    history = make_history([(id, step, passed - 1) for id, step, passed in steps])  # times that go back as well
    clock = Clock()
    window = RecentWindow(bytes=bytes, seconds=seconds, clock=clock)
    assert window.last_revisions(10**15, 10**15) is None
    begun = history[:before]
    window.begin(_living(begun), max(map(since_of, begun), default=-1) + 1)
    for place in range(before, len(history), size):
        clock.now += 7
        window.add(history[place : place + size])
    moments = {since_of(one) + shift for one in history for shift in (-1, 0, 1)} | {10**15}
    for at in moments:
        start = at - duration
        found = window.last_revisions(at, start)
        if found is not None:
            assert elements_of_revisions(found) == elements_of_revisions(last_at(history, at, start))
        else:
            assert start < window.horizon
        period = window.revisions_between(start, at)
        if period is not None:
            expected = expected_between(history, start, at)
            assert [(one.id, one.revision) for one in sort_period(period)] == expected
        difference = window.diff(start, at)
        if difference is not None:
            assert difference == expected_diff(history, start, at)
    assert window.last_revisions(10**15, 10**15) is not None
    assert window.held[1] <= bytes
    window.end()
    assert window.diff(0, 10**15) is None


def test_it_keeps_what_is_young_and_fits() -> None:
    clock = Clock()
    window = RecentWindow(bytes=1 << 20, seconds=60, clock=clock)
    window.begin((), 0)
    for number in range(1, 101):
        clock.now = float(number)
        window.add([make_revision("n", number, number * 1000, created_at=1).revision])
    assert window.held[0] == 61
    found = window.last_revisions(45_500, 45_500)
    assert found is not None
    assert elements_of_revisions(found) == {"n": 45}
    assert window.last_revisions(20_000, 20_000) is None


def test_a_clock_far_ahead_hands_over_to_the_disk() -> None:
    window = RecentWindow(bytes=0, seconds=60)
    window.begin((), 0)
    window.add([make_revision("n", 1, 1000).revision, make_revision("n", 2, 10**13, created_at=1000).revision])
    assert window.last_revisions(2000, 2000) is None
