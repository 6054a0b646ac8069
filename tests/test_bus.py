"""The change log: what each way of reading promises, whatever the writer and the other readers do."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from skycore.bus import ChangeLog, Cursor


@attrs.frozen
class Change:
    key: str
    number: int
    gone: bool = False


def new_log(bound: int = 1 << 20) -> ChangeLog[Change]:
    return ChangeLog(key=lambda c: c.key, size=lambda _: 10, bound=bound)


keys = st.sampled_from("abcd")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), keys, st.booleans()),
        st.tuples(st.just("read"), st.integers(0, 2), st.integers(1, 7)),
        st.tuples(st.just("open"), st.booleans()),
        st.tuples(st.just("close"), st.integers(0, 2)),
    ),
    max_size=80,
)


@given(steps, st.sampled_from([30, 100, 1 << 20]))
def test_readers_get_what_they_were_promised(program: list[tuple[object, ...]], bound: int) -> None:
    log = new_log(bound)
    history: list[Change] = []
    readers: list[tuple[Cursor[Change], list[Change]]] = []
    for step in program:
        match step:
            case ("append", str(key), bool(gone)):
                history.append(Change(key, len(history), gone))
                log.append(history[-1])
            case ("open", bool(every)) if len(readers) < 3:
                readers.append((log.cursor(every=every), []))
            case ("close", int(index)) if index < len(readers):
                readers.pop(index)[0].close()
            case ("read", int(index), int(limit)) if index < len(readers):
                cursor, _ = readers[index]
                missed = history[cursor.position :]
                batch = cursor.read(limit)
                assert batch.end == cursor.position
                latest = {change.key: change for change in missed}
                if not cursor.every:
                    assert batch.changes == sorted(latest.values(), key=lambda c: c.number)
                    assert batch.end == len(history)
                elif batch.lost:
                    assert len(missed) * 10 > bound, "nothing is lost within the bound"
                    assert batch.changes == sorted(latest.values(), key=lambda c: c.number)
                    assert batch.lost == len(missed) - len(latest)
                elif batch.end == len(history) and len(batch.changes) < len(missed):
                    pytest.fail("changes are missing and nobody said so")
                else:
                    assert batch.changes == missed[: len(batch.changes)]
                    assert len(batch.changes) == min(limit, len(missed)) or len(missed) * 10 > bound
    for cursor, _ in readers:
        cursor.close()


def test_memory_is_bounded_by_bytes_and_by_keys() -> None:
    log = new_log(bound=100)
    slow = log.cursor(every=True)
    state = log.cursor()
    for number in range(10_000):
        log.append(Change(str(number % 5), number))
    assert len(log._kept) == 10
    assert len(log._latest) == 5
    batch = slow.read()
    assert [change.number for change in batch.changes] == list(range(9995, 10_000))
    assert batch.lost == 9995
    assert len(state.read().changes) == 5


def test_changes_are_forgotten_when_every_reader_has_passed() -> None:
    log = new_log()
    reader = log.cursor()
    for number in range(3000):
        log.append(Change(str(number), 2 * number))
        log.append(Change(str(number), 2 * number + 1, gone=True))
    assert len(log._latest) == 3000
    assert len(reader.read().changes) == 3000
    behind = log.cursor()
    for number in range(10_000):
        log.append(Change(str(number), number))
        reader.read()
        if number >= 5000:
            behind.read()
    assert len(log._latest) < 3000
    behind.close()
    reader.close()
    assert not log._latest


def test_without_readers_of_every_change_none_is_kept() -> None:
    log = new_log()
    reader = log.cursor(every=True)
    log.append(Change("a", 0))
    reader.close()
    log.append(Change("b", 1))
    assert not log._kept
    late = log.cursor(every=True)
    log.append(Change("c", 2))
    assert late.read().changes == [Change("c", 2)]


async def test_wait_returns_for_what_is_there_and_for_what_comes() -> None:
    log = new_log()
    reader = log.cursor()
    woken: list[int] = []

    async def wait() -> None:
        await reader.wait()
        woken.append(reader.pending)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == []
        log.append(Change("a", 0))
    assert woken == [1]
    await reader.wait()
    reader.read()
    with trio.move_on_after(0) as scope:
        await reader.wait()
    assert scope.cancelled_caught
