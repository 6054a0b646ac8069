"""How much changed when, out of rows, out of blocks, and by a share of the rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.storage import density
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.history import maintain, make_revision
from skycore.testing.views import ListHistory

ELEMENTS = 60
STEADY = 20


def opened(folder: Path) -> EmbeddedStore:
    # The times of test data are just after 1970; by age they would all be removed.
    store = EmbeddedStore(EmbeddedStore.Settings(path=str(folder), retention_days=0))
    store.open()
    return store


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 900), st.sampled_from("abc"), st.sampled_from(["UP", "DOWN"]), st.booleans()),
        max_size=30,
    ),
    st.integers(0, 400),
    st.integers(500, 1000),
    st.integers(1, 12),
)
def test_rows_are_counted_as_by_looking_at_all(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, str, str, bool]], start: int, end: int, parts: int
) -> None:
    numbers = {"a": 0, "b": 0, "c": 0}
    records = []
    for at, id, state, deleted in sorted(told):
        numbers[id] += 1
        records.append(make_revision(id, numbers[id], at, State=state, deleted=deleted, Metric={"RxBytes": at}))
    store = opened(tmp_path_factory.mktemp("density"))
    try:
        store.commit(records)
        naive = ListHistory([record.revision for record in records])
        # A whole period looks as far back as is needed; of a part, what is older than its length is not compared with.
        assert store.density(0, end, parts) == naive.density(0, end, parts)
        assert sum(store.density(start, end, parts)) <= sum(naive.density(start, end, parts)) + 3
    finally:
        store.close()


def test_what_is_compacted_is_spread_over_its_time(tmp_path: Path) -> None:
    store = opened(tmp_path)
    try:
        changes = [make_revision("a", number, number * 10, Count=number) for number in range(1, 400)]
        store.commit(changes)
        before = store.density(0, 4000, 4)
        maintain(store)
        after = store.density(0, 4000, 4)
        assert before == [99, 100, 100, 100]
        assert all(abs(one - other) <= 3 for one, other in zip(before, after, strict=True)), after
    finally:
        store.close()


def test_of_many_rows_a_share_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    try:
        store.commit(
            [
                make_revision(f"{number:04x}", turn + 1, 1000 + turn, State=str(turn // STEADY))
                for number in range(ELEMENTS)
                for turn in range(2 * STEADY)
            ]
        )
        whole = sum(store.density(0, 2000, 10))
        assert whole == 2 * ELEMENTS
        monkeypatch.setattr(density, "MOST_ROWS", 800)
        assert abs(sum(store.density(0, 2000, 10)) - whole) <= whole * 0.5
    finally:
        store.close()
