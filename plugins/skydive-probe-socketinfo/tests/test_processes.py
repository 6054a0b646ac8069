"""Which process holds a socket, with real processes in the real /proc."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from skydive_probe_socketinfo import processes
from skydive_probe_socketinfo.processes import Process, ProcessTable

MakePuppet = Callable[..., Any]  # see conftest.py


@pytest.fixture
def table() -> ProcessTable:
    return ProcessTable("/proc")


@pytest.fixture
def mine() -> Iterator[list[int]]:
    """The inodes of ten sockets of this process."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(10)]
        yield [os.fstat(one.fileno()).st_ino for one in sockets]


def pids(found: dict[int, Process | None]) -> dict[int, int | None]:
    return {inode: None if process is None else process.pid for inode, process in found.items()}


def test_what_is_told_of_a_process(table: ProcessTable, mine: list[int]) -> None:
    found = table.update(set(mine))
    assert found.keys() == set(mine)
    (process,) = set(found.values())
    assert process is not None
    assert process.pid == os.getpid()
    assert process.path == os.readlink("/proc/self/exe")
    assert process.name == Path("/proc/self/comm").read_text().rstrip("\n")
    assert process.start == int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert process.netns == os.stat("/proc/self/ns/net").st_ino
    assert table.update(set(mine)) == {}


def test_sockets_of_many(table: ProcessTable, puppet: MakePuppet, mine: list[int]) -> None:
    one, two = puppet(), puppet()
    one("a = socket.socket()")
    two("a = socket.socket(); b = socket.socket()")
    expected = {one.inode("a"): one.pid, two.inode("a"): two.pid, two.inode("b"): two.pid}
    expected |= dict.fromkeys(mine, os.getpid())
    assert pids(table.update(set(expected))) == expected
    one("c = socket.socket()")
    assert pids(table.update({*expected, one.inode("c")})) == {one.inode("c"): one.pid}


def test_a_closed_descriptor_used_again(table: ProcessTable, puppet: MakePuppet) -> None:
    one = puppet()
    one("a = socket.socket()")
    descriptor, first = one("a.fileno()"), one.inode("a")
    assert pids(table.update({first})) == {first: one.pid}
    one("a.close(); a = socket.socket()")
    assert one("a.fileno()") == descriptor
    second = one.inode("a")
    assert pids(table.update({second})) == {second: one.pid}


def test_a_process_that_ends_leaves_its_sockets_to_its_child(table: ProcessTable, puppet: MakePuppet) -> None:
    parent = puppet()
    parent("a = socket.socket(); r, w = os.pipe()")
    inode = parent.inode("a")
    parent("child = os.fork() or (os.read(r, 1), os._exit(0))")
    child = parent("child")
    assert pids(table.update({inode})) == {inode: parent.pid}
    parent("os.set_blocking(w, True); keeper = os.dup(w)")
    parent.end()
    try:
        assert pids(table.update({inode})) == {inode: child}
    finally:
        os.kill(child, 9)


def test_a_socket_that_was_handed_over(table: ProcessTable, puppet: MakePuppet) -> None:
    parent = puppet()
    parent("a = socket.socket(); r, w = os.pipe()")
    inode = parent.inode("a")
    parent("child = os.fork() or (os.read(r, 1), os._exit(0))")
    assert pids(table.update({inode})) == {inode: parent.pid}
    parent("a.close()")
    assert pids(table.update({inode})) == {inode: parent("child")}
    parent("os.write(w, b'x'), os.waitpid(child, 0)")
    assert table.update({inode}) == {inode: None}


def test_a_new_socket_is_looked_at_before_many_old_ones(
    table: ProcessTable, puppet: MakePuppet, mine: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_RECHECKS", 2)
    table.update(set(mine))
    parent = puppet()
    parent("a = socket.socket(); r, w = os.pipe()")
    inode = parent.inode("a")
    parent("child = os.fork() or (os.read(r, 1), os._exit(0))")
    assert pids(table.update({*mine, inode})) == {inode: parent.pid}
    parent("a.close()")
    assert pids(table.update({*mine, inode})) == {inode: parent("child")}
    parent("os.write(w, b'x'), os.waitpid(child, 0)")


def test_another_program_in_the_same_process(table: ProcessTable, puppet: MakePuppet) -> None:
    one = puppet()
    one("a = socket.socket(); os.set_inheritable(a.fileno(), True)")
    inode = one.inode("a")
    before = table.update({inode})[inode]
    one.exec(shutil.which("sleep") or "/bin/sleep", "60")
    after = table.update({inode})[inode]
    assert before is not None
    assert after is not None
    assert (after.pid, after.start, after.name) == (before.pid, before.start, "sleep")
    assert after.path != before.path


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b") R 1 2 (x", ") R 1 2 (x"),
        (b"a\nb\tc", "a\nb\tc"),
        (b"\xff\xfe)", "\\xff\\xfe)"),
        (b"", ""),
        ("é\u202e".encode(), "é\u202e"),
        (b"123456789012345", "123456789012345"),
        (b'"],"Pid":0}', '"],"Pid":0}'),
    ],
)
def test_hostile_names(table: ProcessTable, puppet: MakePuppet, name: bytes, shown: str) -> None:
    one = puppet()
    one("a = socket.socket()")
    one(f"open('/proc/self/comm', 'wb', buffering=0).write({name!r} or b'\\0')")
    (process,) = table.update({one.inode("a")}).values()
    assert process is not None
    assert process.name == shown
    assert process.start > 0


def test_a_program_whose_path_is_no_text_and_whose_file_is_gone(
    table: ProcessTable, puppet: MakePuppet, tmp_path: Path
) -> None:
    program = os.fsencode(tmp_path) + b"/\xff\n) x"
    shutil.copy(os.fsencode(shutil.which("sleep") or "/bin/sleep"), program)
    one = puppet()
    one("a = socket.socket(); os.set_inheritable(a.fileno(), True)")
    inode = one.inode("a")
    one.exec(program, "60")
    os.unlink(program)
    (process,) = table.update({inode}).values()
    assert process is not None
    assert process.path == f"{tmp_path}/\\xff\n) x (deleted)"


def test_what_nobody_holds_is_searched_for_ever_less_often(
    table: ProcessTable, mine: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobodys = 2**32 - 1
    table.update({*mine, nobodys})
    searches = []
    real = table._search

    def search(wanted: set[int]) -> Iterator[tuple[int, int]]:
        searches.append(wanted)
        return real(wanted)

    monkeypatch.setattr(table, "_search", search)
    for _ in range(100):
        assert table.update({*mine, nobodys}) == {}
    assert 5 <= len(searches) <= 10
    # Who comes meanwhile does not wait for it.
    with socket.socket() as new:
        inode = os.fstat(new.fileno()).st_ino
        assert table.update({*mine, nobodys, inode}).keys() == {inode}


def test_a_socket_found_late(table: ProcessTable, mine: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_look", lambda pid, wanted: [])
    assert table.update(set(mine)) == {}
    monkeypatch.undo()
    assert table.update(set(mine)).keys() == set(mine)


def test_only_new_descriptors_are_read(
    table: ProcessTable, puppet: MakePuppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = puppet()
    one("many = [socket.socket() for _ in range(500)]")
    inodes = set(one("[os.fstat(s.fileno()).st_ino for s in many]"))
    assert len(table.update(inodes)) == 500
    one("a = socket.socket()")
    new = one.inode("a")
    links = []
    real = os.readlink

    def readlink(path: bytes) -> bytes:
        links.append(path)
        return real(path)

    monkeypatch.setattr(processes, "_RECHECKS", 0)
    monkeypatch.setattr(os, "readlink", readlink)
    assert pids(table.update({*inodes, new})) == {new: one.pid}
    # Its standard streams, the new one, and what its program is.
    assert len(links) < 10


def test_processes_that_vanish_meanwhile(table: ProcessTable, puppet: MakePuppet, tmp_path: Path) -> None:
    """A directory in place of /proc that holds what a vanished process leaves to be read: ever less."""
    for pid, parts in ((1, ()), (2, ("fd",)), (3, ("fd", "link")), (4, ("fd", "link", "stat"))):
        (tmp_path / str(pid)).mkdir()
        if "fd" in parts:
            (tmp_path / str(pid) / "fd").mkdir()
        if "link" in parts:
            (tmp_path / str(pid) / "fd" / "3").symlink_to("socket:[77]")
        if "stat" in parts:
            (tmp_path / str(pid) / "stat").write_bytes(b"4 (x) S" + b" 7" * 40)
    table = ProcessTable(str(tmp_path))
    assert table.update({77}) == {77: Process(4, 7, "x", "", 0)}
    shutil.rmtree(tmp_path / "4")
    assert table.update({77}) == {77: None}


def test_a_pid_that_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "9"
    (folder / "fd").mkdir(parents=True)
    (folder / "fd" / "3").symlink_to("socket:[77]")
    (folder / "stat").write_bytes(b"9 (x) S" + b" 7" * 40)
    table = ProcessTable(str(tmp_path))
    assert table.update({77}) == {77: Process(9, 7, "x", "", 0)}
    (folder / "stat").write_bytes(b"9 (x) S" + b" 8" * 40)
    (folder / "fd" / "3").unlink()
    assert table.update({77}) == {77: None}


def test_others_descriptors_that_may_not_be_read(puppet: MakePuppet) -> None:
    """As somebody without rights (user 65534) sees it, in a child."""
    one = puppet()
    one("a = socket.socket()")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            ctypes.CDLL(None).setgroups(0, None)
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            table = ProcessTable("/proc")
            found = table.update({one.inode("a")})
            os.write(writer, f"{found} {table.unreadable > 0}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 1000) == b"{} True"
    os.close(reader)


def test_without_proc() -> None:
    with pytest.raises(OSError, match="nowhere"):
        ProcessTable("/nowhere").update({1})
