"""The spool: what is taken is kept, what is lost is said."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skycore.cluster.segment import HEADER_BYTES, MAX_PAYLOAD
from skycore.cluster.spool import Entry, Lost, Reader, Spool, next_epoch
from skycore.errors import LinkError, StorageError

_CHILD = Path(__file__).with_name("taking_child.py")


def _open(folder: Path, max_bytes: int = 1 << 20, segment_bytes: int = 1000, now_ms: int = 1) -> Spool:
    return Spool(folder, next_epoch(folder, now_ms), max_bytes, segment_bytes)


def _fill(spool: Spool, first: int, last: int, size: int = 100) -> None:
    for number in range(first, last + 1):
        spool.append(number, number, b"%d." % number + b"x" * size, start_ms=number * 10, end_ms=number * 10 + 5)


def _drain(reader: Reader) -> Iterator[Entry | Lost]:
    while (found := reader.next()) is not None:
        yield found


def _numbers(reader: Reader) -> list[int]:
    return [number for found in _drain(reader) for number in range(found.first, found.last + 1)]


def test_a_reader_gets_what_is_taken_after_it_came(tmp_path: Path) -> None:
    spool = _open(tmp_path, now_ms=77)
    spool.append(1, 3, b"before", start_ms=1, end_ms=2)
    reader = spool.reader("one")
    assert reader.next() is None
    spool.append(4, 4, b"after", start_ms=3, end_ms=4)
    assert reader.next() == Entry(77, 4, 4, 3, 4, b"after")
    assert reader.next() is None
    assert spool.reader("one") is reader
    spool.close()


def test_unacknowledged_entries_come_again(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    reader = spool.reader("one")
    _fill(spool, 1, 30)
    assert _numbers(reader) == list(range(1, 31))
    reader.acknowledge(spool.epoch, 12)
    reader.acknowledge(spool.epoch, 11)
    assert reader.acknowledged == (spool.epoch, 12)
    reader.rewind()
    assert _numbers(reader) == list(range(13, 31))
    spool.close()


def test_old_epochs_come_first(tmp_path: Path) -> None:
    first = _open(tmp_path)
    first.reader("one").acknowledge(first.epoch, 0)
    _fill(first, 1, 20)
    first.close()
    second = _open(tmp_path)
    reader = second.reader("one")
    _fill(second, 1, 2)
    found = [(entry.epoch, entry.first) for entry in _drain(reader)]
    assert found == [(first.epoch, number) for number in range(1, 21)] + [(second.epoch, 1), (second.epoch, 2)]
    reader.acknowledge(second.epoch, 1)
    assert len(list(tmp_path.glob("*.spool"))) == 1
    second.close()


def test_what_all_have_acknowledged_is_removed(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    one, two = spool.reader("one"), spool.reader("two")
    _fill(spool, 1, 100)
    files = len(list(tmp_path.glob("*.spool")))
    assert files > 10
    one.acknowledge(spool.epoch, 100)
    assert len(list(tmp_path.glob("*.spool"))) == files
    two.acknowledge(spool.epoch, 50)
    assert len(list(tmp_path.glob("*.spool"))) in (files // 2, files // 2 + 1)
    assert _numbers(two) == list(range(51, 101))
    spool.retain(["one"])
    assert len(list(tmp_path.glob("*.spool"))) == 1
    assert spool.status.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.spool"))
    spool.close()


def test_an_acknowledgement_may_run_ahead_of_reading(tmp_path: Path) -> None:
    """An analyzer that holds more than this process remembers says so when the link begins."""
    spool = _open(tmp_path)
    reader = spool.reader("one")
    _fill(spool, 1, 30)
    reader.next()
    reader.acknowledge(spool.epoch, 20)
    assert _numbers(reader) == list(range(21, 31))
    with pytest.raises(LinkError, match="acknowledged 31 of epoch"):
        reader.acknowledge(spool.epoch, 31)
    with pytest.raises(LinkError):
        reader.acknowledge(spool.epoch + 1, 1)
    spool.close()


def test_the_oldest_give_way_at_the_bound(tmp_path: Path) -> None:
    spool = _open(tmp_path, max_bytes=5000)
    slow, quick = spool.reader("slow"), spool.reader("quick")
    for number in range(1, 101):
        _fill(spool, number, number)
        assert isinstance(quick.next(), Entry)
        quick.acknowledge(spool.epoch, number)
        assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 5000
    lost, *kept = _drain(slow)
    assert isinstance(lost, Lost)
    assert (lost.epoch, lost.first) == (spool.epoch, 1)
    assert [entry.first for entry in kept] == list(range(lost.last + 1, 101))
    assert len(kept) > 20
    assert (lost.start_ms, lost.end_ms) == (10, lost.last * 10 + 5)
    assert spool.status.dropped == lost.last
    assert quick.next() is None
    slow.rewind()
    spool.close()
    again = _open(tmp_path, max_bytes=5000)
    reader = again.reader("slow")
    assert reader.next() == lost
    reader.acknowledge(lost.epoch, lost.last)
    assert _numbers(reader) == list(range(lost.last + 1, 101))
    again.close()


def test_a_batch_given_up_is_found_as_lost(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    reader = spool.reader("one")
    _fill(spool, 1, 2)
    spool.lose(3, 7, start_ms=30, end_ms=75)
    _fill(spool, 8, 9)
    found = [(type(one), one.first, one.last) for one in _drain(reader)]
    assert found == [(Entry, 1, 1), (Entry, 2, 2), (Lost, 3, 7), (Entry, 8, 8), (Entry, 9, 9)]
    spool.close()


def test_numbers_without_holes(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    with pytest.raises(ValueError, match="1 or more is next"):
        spool.append(0, 0, b"")
    spool.append(5, 6, b"")
    for first, last in ((6, 6), (8, 8), (7, 6)):
        with pytest.raises(ValueError, match="7 is next"):
            spool.append(first, last, b"")
    with pytest.raises(ValueError, match="above the limit"):
        spool.append(7, 7, bytes(MAX_PAYLOAD + 1))
    with pytest.raises(StorageError, match="does not fit"):
        spool.append(7, 7, bytes(1 << 20))
    spool.append(7, 7, b"")
    spool.close()


def test_epochs_grow_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    assert next_epoch(tmp_path / "new", 500) == 500
    assert next_epoch(tmp_path / "new", 400) == 501
    assert next_epoch(tmp_path / "new", 1000) == 1000
    (tmp_path / "new" / "epoch").write_bytes(b"rubbish")
    (tmp_path / "new" / f"{2000:020d}-{1:020d}.spool").write_bytes(b"")
    assert next_epoch(tmp_path / "new", 1) == 2001
    with pytest.raises(ValueError, match="use next_epoch"):
        Spool(tmp_path / "new", 2000, 1000)
    with pytest.raises(StorageError, match="cannot be used"):
        next_epoch(tmp_path / "new" / "epoch" / "below", 1)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    with pytest.raises(StorageError, match="in use by another process"):
        _open(tmp_path)
    spool.close()
    spool.close()
    _open(tmp_path).close()
    with pytest.raises(StorageError, match="closed"):
        spool.append(1, 1, b"")


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    spool.reader("one")
    spool.append(1, 1, b"payload")
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    content = bytearray(path.read_bytes())
    content[8] = 2
    from zlib import crc32  # noqa: PLC0415

    content[HEADER_BYTES - 4 : HEADER_BYTES] = crc32(content[: HEADER_BYTES - 4]).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(StorageError, match="newer version"):
        _open(tmp_path)
    assert path.read_bytes() == content


def test_lost_positions_only_mean_sending_again(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    reader = spool.reader("one")
    _fill(spool, 1, 30)
    reader.acknowledge(spool.epoch, 29)
    spool.close()
    for content in (b"", b"{", b'{"version":1}', b"\xff"):
        (tmp_path / "state.json").write_bytes(content)
        again = _open(tmp_path)
        numbers = _numbers(again.reader("one"))
        assert numbers == list(range(numbers[0], 31))
        assert numbers[0] <= 30
        again.close()


def test_a_file_that_someone_removed_is_said_to_be_lost(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    spool.reader("one")
    _fill(spool, 1, 40)
    spool.close()
    paths = sorted(tmp_path.glob("*.spool"))
    for path in (paths[0], paths[2], paths[-1]):
        path.unlink()
    again = _open(tmp_path)
    found = list(_drain(again.reader("one")))
    assert [number for one in found for number in range(one.first, one.last + 1)] == list(range(1, 41))
    assert [isinstance(one, Lost) for one in found].count(True) == 3
    for one in found:
        if isinstance(one, Lost):
            assert one.start_ms <= one.first * 10
            assert one.end_ms >= one.last * 10 + 5
    again.close()


def test_damage_while_open_loses_the_rest_of_one_segment(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    reader = spool.reader("one")
    _fill(spool, 1, 20)
    first, *_ = sorted(tmp_path.glob("*.spool"))
    with first.open("r+b") as file:
        file.seek(HEADER_BYTES + 250)
        file.write(b"\0" * 20)
    found = list(_drain(reader))
    assert isinstance(found[0], Entry)
    assert isinstance(found[1], Lost)
    assert [number for one in found for number in range(one.first, one.last + 1)] == list(range(1, 21))
    assert [type(one) for one in found].count(Lost) == 1
    assert spool.status.cut_bytes > 0
    spool.close()
    again = _open(tmp_path)
    assert [(one.first, one.last) for one in _drain(again.reader("one"))] == [(one.first, one.last) for one in found]
    again.close()


def test_a_full_disk_is_reported_and_the_batch_can_be_repeated(tmp_path: Path) -> None:
    """The process may write files of 3000 bytes only, then is given more."""
    script = """
import resource, sys
from pathlib import Path
from skycore.cluster.spool import Entry, Lost, Spool, next_epoch
from skycore.errors import StorageError
folder = Path(sys.argv[1])
spool = Spool(folder, next_epoch(folder, 1), 1 << 20)
reader = spool.reader("one")
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, most))
for number in range(1, 100):
    try:
        spool.append(number, number, b"x" * 500)
    except StorageError as error:
        assert "look at the disk's free space" in str(error), error
        break
assert number == 6, number
assert sum(1 for _ in iter(reader.next, None)) == 5
try:
    spool.append(6, 6, b"y" * 5000)
    raise SystemExit("taken against the limit")
except StorageError:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
spool.append(6, 6, b"z" * 500)
assert reader.next().payload == b"z" * 500
spool.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    spool = _open(tmp_path)
    assert _numbers(spool.reader("one")) == [1, 2, 3, 4, 5, 6]
    spool.close()


def test_threads_may_append_read_and_sync_at_once(tmp_path: Path) -> None:
    spool = _open(tmp_path, segment_bytes=4000)
    readers = [spool.reader(name) for name in ("one", "two")]
    done = threading.Event()
    got: dict[str, list[int]] = {"one": [], "two": []}
    failures: list[BaseException] = []

    def read(reader: Reader) -> None:
        try:
            while True:
                last_round = done.is_set()
                for entry in _drain(reader):
                    assert isinstance(entry, Entry)
                    got[reader.name].append(entry.first)
                    reader.acknowledge(entry.epoch, entry.last)
                if last_round:
                    return
        except BaseException as error:
            failures.append(error)

    def sync() -> None:
        try:
            while not done.is_set():
                spool.sync()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in readers] + [threading.Thread(target=sync)]
    for thread in threads:
        thread.start()
    _fill(spool, 1, 1500)
    done.set()
    for thread in threads:
        thread.join(10)
    assert not failures
    assert got == {"one": list(range(1, 1501)), "two": list(range(1, 1501))}
    spool.close()


def test_kill_9_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    """Twenty-four processes, one after the other, are killed while they append; each says what was taken."""
    chance = random.Random(24)
    taken: list[tuple[int, int, int]] = []
    fewest = 1 << 30
    for _ in range(24):
        before = len(taken)
        command = [sys.executable, str(_CHILD), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            wanted = chance.randint(20, 300)
            try:
                for line in child.stdout:
                    taken.append(_parse(line))
                    if len(taken) - before >= wanted:
                        break
            finally:
                child.kill()
            # What it had said before the kill reached it counts as well.
            taken.extend(_parse(line) for line in child.stdout if line.endswith("\n"))
        fewest = min(fewest, len(taken) - before)
    assert fewest >= 20
    spool = _open(tmp_path, max_bytes=64 << 20)
    found: dict[tuple[int, int, int], bytes] = {}
    places: list[tuple[int, int]] = []
    for entry in _drain(spool.reader("one")):
        assert isinstance(entry, Entry)
        found[entry.epoch, entry.first, entry.last] = entry.payload
        places.append((entry.epoch, entry.first))
    assert places == sorted(set(places))
    for epoch, first, last in taken:
        assert found[epoch, first, last] == b"%d:%d:" % (epoch, first) + b"x" * (first * 37 % 3000)
    # At most the batch in the making goes beyond what was said.
    assert len(taken) <= len(found) <= len(taken) + 24
    spool.close()


def _parse(line: str) -> tuple[int, int, int]:
    epoch, first, last = map(int, line.split())
    return epoch, first, last


def test_descriptors_do_not_pile_up(tmp_path: Path) -> None:
    spool = _open(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    _fill(spool, 1, 500)
    assert len(os.listdir("/proc/self/fd")) < before + 25
    spool.sync()
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    spool.close()
    assert len(os.listdir("/proc/self/fd")) < before
