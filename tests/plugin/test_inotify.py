"""inotify and the directory that may not be there."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from skycore.plugin.inotify import IN_CREATE, IN_Q_OVERFLOW, Directory, Event, Inotify, parse

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


@given(st.lists(st.tuples(st.integers(-1, 2**31 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=30))))
def test_what_the_kernel_writes_is_read(entries: list[tuple[int, int, bytes]]) -> None:
    entries = [(watch, mask, name.replace(b"\0", b"x")) for watch, mask, name in entries]
    buffer = b"".join(
        struct.pack("=iIII", watch, mask, 0, 32 if name else 0) + (name.ljust(32, b"\0") if name else b"")
        for watch, mask, name in entries
    )
    assert list(parse(buffer)) == [Event(*entry) for entry in entries]


@given(st.binary(max_size=100))
def test_other_bytes_raise_value_error_at_most(buffer: bytes) -> None:
    try:
        list(parse(buffer))
    except ValueError:
        pass


async def changed(directory: Directory) -> set[bytes] | None:
    with trio.fail_after(5):
        return await directory.changed()


async def until_exists(directory: Directory, exists: bool) -> None:
    with trio.fail_after(5):
        while directory.exists != exists:
            await directory.changed()


async def test_entries_that_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    with Inotify() as inotify:
        directory = Directory(inotify, str(tmp_path))
        assert directory.exists
        assert directory.entries() == {b"old"}
        (tmp_path / "new").touch()
        (tmp_path / "old").unlink()
        assert await changed(directory) == {b"new", b"old"}
        (tmp_path / "new").rename(tmp_path / "newer")
        assert await changed(directory) == {b"new", b"newer"}


async def test_at_the_deadline_nothing_has_changed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    with Inotify() as inotify:
        assert await Directory(inotify, str(tmp_path)).changed(trio.current_time() + 1000) == set()


@pytest.mark.parametrize("below", ["netns", "a/b/netns"])
async def test_a_directory_that_comes_goes_and_comes_back(tmp_path: Path, below: str) -> None:
    path = tmp_path / below
    with Inotify() as inotify:
        directory = Directory(inotify, str(path))
        for _ in range(3):
            assert not directory.exists
            assert directory.entries() == set()
            path.mkdir(parents=True)
            (path / "one").touch()
            await until_exists(directory, True)
            assert directory.entries() == {b"one"}
            (path / "two").touch()
            while (names := await changed(directory)) != {b"two"}:
                assert names is None or names <= {b"one", b"two"}
            (path / "one").unlink()
            (path / "two").unlink()
            path.rmdir()
            if path.parent != tmp_path:
                path.parent.rmdir()
            await until_exists(directory, False)


async def test_a_directory_that_is_moved_away_is_no_longer_it(tmp_path: Path) -> None:
    path = tmp_path / "netns"
    path.mkdir()
    with Inotify() as inotify:
        directory = Directory(inotify, str(path))
        path.rename(tmp_path / "elsewhere")
        await until_exists(directory, False)
        (tmp_path / "elsewhere" / "one").touch()
        path.mkdir()
        await until_exists(directory, True)
        assert directory.entries() == set()


async def test_a_file_in_its_place_is_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "netns"
    path.touch()
    with Inotify() as inotify:
        directory = Directory(inotify, str(path))
        assert not directory.exists
        assert directory.entries() == set()
        path.unlink()
        path.mkdir()
        await until_exists(directory, True)


async def test_after_an_overflow_everything_is_looked_at(tmp_path: Path) -> None:
    with Inotify() as inotify:
        directory = Directory(inotify, str(tmp_path))
        for _ in range(QUEUE // 2 + 2):
            (tmp_path / "x").touch()
            (tmp_path / "x").unlink()
        while (names := await changed(directory)) is not None:
            assert names <= {b"x"}
        (tmp_path / "y").touch()
        assert await changed(directory) == {b"y"}


async def test_the_kernels_queue_says_when_it_overflows(tmp_path: Path) -> None:
    with Inotify() as inotify:
        inotify.watch(str(tmp_path))
        (tmp_path / "x").touch()
        await inotify.wait()
        (event,) = inotify.read()
        assert (event.name, event.mask & (IN_CREATE | IN_Q_OVERFLOW)) == (b"x", IN_CREATE)
        assert inotify.read() == []


def test_what_is_no_directory_cannot_be_watched(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Inotify() as inotify:
        with pytest.raises(NotADirectoryError):
            inotify.watch(str(tmp_path / "file"))
        with pytest.raises(FileNotFoundError, match="missing"):
            inotify.watch(str(tmp_path / "missing"))
