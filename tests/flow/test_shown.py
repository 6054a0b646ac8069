"""Counters of captures are told ever more seldom, anything else at once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skycore.flow.shown import SLOWEST, Shown, following


def entry(received: int, state: str = "active") -> list[dict[str, Any]]:
    return [{"ID": "c", "State": state, "PacketsReceived": received, "PacketsDropped": 0, "PacketsIfDropped": 0}]


def told(seconds: int, first: float = 1.0) -> list[int]:
    """When something is told of a capture that counts a packet each second and is asked each second."""
    shown: Shown | None = None
    times: list[int] = []
    for now in range(seconds):
        new = following(shown, entry(now), now, first)
        if new is not shown:
            times.append(now)
        shown = new
    return times


def test_a_busy_capture_tells_once_a_minute_in_the_long_run() -> None:
    assert told(100) == [0, 1, 3, 7, 15, 31, 63]
    assert len(told(86_400)) < 86_400 / SLOWEST + 8


def test_a_state_is_told_at_once_and_counters_soon_after_it() -> None:
    shown = following(None, entry(0), 0, 1)
    for now in range(1, 200):
        shown = following(shown, entry(now), now, 1)
    failed = following(shown, entry(200, "error"), 200.1, 1)
    assert (failed.entries, failed.due) == (entry(200, "error"), 201.1)
    assert following(failed, entry(201, "error"), 200.2, 1) is failed
    assert following(failed, entry(201, "error"), 201.2, 1).entries == entry(201, "error")
    assert following(failed, entry(200, "error"), 900, 1) is failed


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 2), st.sampled_from(["active", "error"]))), st.floats(0.1, 99)
)
def test_what_is_shown_is_never_older_than_a_minute_nor_another_state(
    steps: list[tuple[float, int, str]], first: float
) -> None:
    shown: Shown | None = None
    now = since = 0.0
    for wait, received, state in steps:
        now += wait
        shown = following(shown, entry(received, state), now, first)
        assert shown.entries[0]["State"] == state
        if shown.entries == entry(received, state):
            since = now
        assert now - since <= max(SLOWEST, first)
