"""Top talkers: sums by minute that say what was sent, before and after they are added up, late and twice."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.flow.query import FlowSpan
from skycore.storage import talkers
from skycore.storage.flow_rows import Counted
from skycore.storage.talkers import By, Talker, Talkers

MINUTE = 60_000
EVER = FlowSpan(0, 10 * MINUTE)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(opened()) as made:
        yield made


def opened() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    for table in talkers.TABLES:
        made.execute(table)
    return made


def counted(
    a: str, b: str, ab: int, ba: int, *, at: str = "n", minute: int = 1, parent: str = "", lasted: int = 0
) -> Counted:
    last = minute * MINUTE + 5
    return Counted("u", last, last - lasted, 1, ab, 2, ba, 0, at, parent, "TCP", a, b)


def top(database: sqlite3.Connection, by: By, span: FlowSpan = EVER, node: str | None = None) -> Talkers:
    return talkers.top(database, span, by, 5, measure="bytes", node=node)


def test_who_sent_and_who_got(database: sqlite3.Connection) -> None:
    talkers.note(database, [counted("b", "a", 10, 1), counted("a", "b", 100, 5), counted("a", "c", 7, 0)])
    for added_up in (False, True):
        if added_up:
            assert talkers.add_up(database, 3 * MINUTE)
            assert not talkers.add_up(database, 3 * MINUTE)
        assert top(database, "pair").Talkers == [
            Talker("a", "b", 101, 15, 3, 3, "n", 1),
            Talker("a", "c", 7, 0, 1, 2, "n", 1),
        ]
        assert [(one.A, one.ABBytes, one.BABytes) for one in top(database, "address").Talkers] == [
            ("a", 108, 15), ("b", 15, 101), ("c", 0, 7),
        ]  # fmt: skip
        assert top(database, "application").Talkers[0].A == "TCP"
        assert top(database, "node").Total == top(database, "pair").Total == 123
        assert top(database, "pair", FlowSpan(2 * MINUTE, 3 * MINUTE)).Talkers == []


def test_what_several_places_saw_counts_once(database: sqlite3.Connection) -> None:
    talkers.note(database, [counted("a", "b", 10, 0, at="x"), counted("a", "b", 12, 0, at="y")])
    for _ in range(2):
        (found,) = top(database, "pair").Talkers
        assert (found.ABBytes, found.Node) == (12, "y")
        assert [one.ABBytes for one in top(database, "pair", node="x").Talkers] == [10]
        assert top(database, "pair").Total == 12
        talkers.add_up(database, 3 * MINUTE)


def test_what_is_in_a_tunnel_is_counted_once_at_its_place(database: sqlite3.Connection) -> None:
    talkers.note(database, [counted("x", "y", 60, 0), counted("a", "b", 50, 0, parent="outer")])
    assert [one.ABBytes for one in top(database, "node").Talkers] == [60]
    assert {one.A for one in top(database, "pair").Talkers} == {"x", "a"}


def test_a_long_time_is_spread(database: sqlite3.Connection) -> None:
    talkers.note(database, [counted("a", "b", 103, 0, minute=9, lasted=9 * MINUTE)])
    assert top(database, "pair").Talkers[0].ABBytes == 103
    assert top(database, "pair", FlowSpan(0, 4 * MINUTE)).Talkers[0].ABBytes == 51


def test_the_small_ones_go_and_the_large_stay(database: sqlite3.Connection) -> None:
    many = [counted("server", f"c{number}", number, 0) for number in range(1000)]
    talkers.note(database, many)
    talkers.add_up(database, 3 * MINUTE)
    (rows,) = database.execute("SELECT count(*) FROM talk").fetchone()
    assert rows < 6 * (talkers.KEPT + talkers.KEPT_AT_PLACE)
    assert [one.B for one in top(database, "pair").Talkers] == ["server"] * 5
    assert top(database, "pair").Talkers[0].ABBytes + top(database, "pair").Talkers[0].BABytes == 999
    assert top(database, "address").Talkers[0].ABBytes == sum(range(1000))


def test_old_minutes_go(database: sqlite3.Connection) -> None:
    talkers.note(database, [counted("a", "b", 1, 1, minute=minute) for minute in (1, 5)])
    while talkers.add_up(database, 9 * MINUTE):
        pass
    while talkers.remove(database, 5 * MINUTE, 2):
        pass
    assert top(database, "pair").Talkers == [Talker("a", "b", 1, 1, 1, 2, "n", 1)]


said = st.lists(
    st.builds(
        counted,
        st.sampled_from("abc"),
        st.sampled_from("abcd"),
        st.integers(0, 9),
        st.integers(0, 9),
        at=st.sampled_from(["x", "y", ""]),
        minute=st.integers(1, 3),
    ),
    max_size=20,
)


def sums(records: Iterable[Counted]) -> dict[tuple[str, str], int]:
    """Of each pair the bytes of all minutes, each as the place saw it that saw the most."""
    seen: dict[tuple[str, str, int, str], int] = defaultdict(int)
    for one in records:
        a, b = sorted((one.a, one.b))
        seen[a, b, one.last // MINUTE, one.node] += one.ab_bytes + one.ba_bytes
    most: dict[tuple[str, str, int], int] = defaultdict(int)
    for (a, b, minute, _), size in seen.items():
        most[a, b, minute] = max(most[a, b, minute], size)
    found: dict[tuple[str, str], int] = defaultdict(int)
    for (a, b, _), size in most.items():
        found[a, b] += size
    return dict(found)


@settings(max_examples=150, deadline=None)
@given(said, said)
def test_sums_do_not_depend_on_when_they_are_added_up(early: list[Counted], late: list[Counted]) -> None:
    with closing(opened()) as database:
        talkers.note(database, early)
        while talkers.add_up(database, 9 * MINUTE):
            pass
        for added_up in (False, True):
            if added_up:
                while talkers.add_up(database, 9 * MINUTE):
                    pass
            else:
                talkers.note(database, late)
            found = talkers.top(database, EVER, "pair", 50, measure="bytes", node=None).Talkers
            if added_up or not early or not late:
                assert {(one.A, one.B): one.ABBytes + one.BABytes for one in found} == sums([*early, *late])
