"""Clocks that are set while the analyzer runs: what status says, and what questions about the past are answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from skycore.gremlin import QueryContext, run
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.upkeep import SteadyClock
from skycore.testing.history import maintain
from skycore.testing.storage import make_revision
from skycore.testing.views import ListView

DAY = 86_400
BEGIN = 1_700_000_000


@attrs.define
class Clock:
    """The clock of the machine, and the time that passes; both in seconds."""

    wall: float = BEGIN
    passed: float = 0

    def go(self, seconds: float) -> int:
        """Let time pass; the clock's milliseconds then."""
        self.wall += seconds
        self.passed += seconds
        return int(self.wall * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    steady = partial(SteadyClock, lambda: made.wall, lambda: made.passed)
    monkeypatch.setattr("skycore.storage.embedded.SteadyClock", steady)
    return made


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[EmbeddedStore]:
    bytes = 64 << 20 if request.param == "memory" else 0
    settings = EmbeddedStore.Settings(path=str(tmp_path), retention_days=1, settle_seconds=60, recent_bytes=bytes)
    made = EmbeddedStore(settings)
    made.open()
    yield made
    made.close()


async def ask(store: EmbeddedStore, clock: Clock, query: str) -> Any:
    context = QueryContext(ListView([]), now=lambda: int(clock.wall * 1000), history=store)
    return json.loads((await run(query, context)).json())


async def test_a_clock_that_is_set_back(store: EmbeddedStore, clock: Clock) -> None:
    first = clock.go(10)
    store.commit([make_revision("n", 1, first, Value=1)])
    clock.go(600)
    clock.wall -= 3600
    assert store.status()["ClockJump"] == -3_600_000
    second = clock.go(1)
    store.commit([make_revision("n", 2, second, created_at=first, Value=2)])
    maintain(store)
    # The later revision wins, although its time is the earlier one; nothing is lost.
    clock.go(3600)
    assert await ask(store, clock, "G.At(NOW).V().Values('Value')") == [2]
    assert await ask(store, clock, "G.At(NOW, '24h').V().Sort('@Revision').Values('Value')") == [1, 2]
    (found,) = await ask(store, clock, "G.At(NOW).V().Revisions()")
    assert [one["Element"]["Revision"] for one in found["n"]] == [1, 2]


async def test_a_clock_that_is_set_ahead_removes_no_history(store: EmbeddedStore, clock: Clock) -> None:
    first = clock.go(10)
    store.commit([make_revision("n", 1, first, Value=1)])
    second = clock.go(10)
    store.commit([make_revision("n", 2, second, created_at=first, Value=2)])
    clock.wall += 400 * DAY
    assert store.status()["ClockJump"] == 400 * DAY * 1000
    maintain(store)
    assert store.status()["RemovedRevisions"] == 0
    assert await ask(store, clock, f"G.At({first}).V().Values('Value')") == [1]
    assert await ask(store, clock, "G.At(NOW).V().Values('Value')") == [2]
    # Set right again: as if nothing had been.
    clock.wall -= 400 * DAY
    assert store.status()["ClockJump"] == 0
    assert await ask(store, clock, "G.At(NOW).V().Values('Value')") == [2]


async def test_a_small_correction_is_no_jump(store: EmbeddedStore, clock: Clock) -> None:
    clock.wall += 30
    assert store.status()["ClockJump"] == 0
