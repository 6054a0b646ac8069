"""Which namespace a path means, and being inside one for a moment, with the kernel's own."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from skycore.plugin import namespaces
from skycore.testing.lab import NamedNetns, make_netns

pytestmark = pytest.mark.needs("root", "ip", "nsenter")


def here() -> int:
    """The namespace that this thread is in."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_the_namespace_of_a_path(netns: Callable[[], NamedNetns]) -> None:
    named = netns()
    found = namespaces.resolve(named.path)
    status = os.stat(named.path)
    assert (found.path, found.inode, found.device) == (named.path, status.st_ino, status.st_dev)
    assert found.key.value == f"{namespaces.boot_id()}/{found.cookie}"
    assert found != namespaces.resolve(namespaces.OWN)


def test_all_paths_to_a_namespace_give_one_key(netns: Callable[[], NamedNetns]) -> None:
    named = netns()
    found = namespaces.resolve(named.path)
    descriptor = os.open(named.path, os.O_RDONLY)
    try:
        paths = [f"/proc/self/fd/{descriptor}", f"/proc/{os.getpid()}/fd/{descriptor}", f"/var{named.path}"]
        assert {namespaces.resolve(path).key for path in paths} == {found.key}
        through_thread = namespaces.inside(named.path, lambda: namespaces.resolve("/proc/thread-self/ns/net"))
        assert through_thread.key == found.key
    finally:
        os.close(descriptor)
    assert namespaces.resolve(f"/proc/{os.getpid()}/ns/net").key == namespaces.resolve(namespaces.OWN).key


def test_twenty_namespaces_under_one_name_are_twenty() -> None:
    keys, inodes = set(), set()
    for _ in range(20):
        with make_netns("skt-twenty") as named:
            found = namespaces.resolve(named.path)
            keys.add(found.key)
            inodes.add(found.inode)
    assert len(keys) == 20


@pytest.mark.parametrize("kind", ["uts", "mnt", "pid", "user", "ipc"])
def test_another_kind_of_namespace_is_none(kind: str) -> None:
    with pytest.raises(OSError, match="not a network namespace") as caught:
        namespaces.resolve(f"/proc/self/ns/{kind}")
    assert caught.value.errno == errno.EINVAL
    assert caught.value.filename == f"/proc/self/ns/{kind}"


def test_what_is_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "file", tmp_path, tmp_path / "fifo", Path("/dev/null")):
        with pytest.raises(OSError, match="not a network namespace") as caught:
            namespaces.resolve(str(path))
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        namespaces.resolve(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        namespaces.inside(str(tmp_path / "none"), here)
    with pytest.raises(OSError, match="cannot enter the network namespace"):
        namespaces.inside("/proc/self/ns/uts", here)


def test_an_open_namespace_holds_no_mount(tmp_path: Path, netns: Callable[[], NamedNetns]) -> None:
    mounted = tmp_path / "mounted"
    mounted.touch()
    subprocess.run(["mount", "--bind", netns().path, mounted], check=True)
    try:
        found = namespaces.resolve(str(mounted))
        descriptor = namespaces.open_same(found)
    finally:
        # Without -l it fails as long as anybody has the file open.
        subprocess.run(["umount", mounted], check=True)
    try:
        assert namespaces.resolve(f"/proc/self/fd/{descriptor}").key == found.key
    finally:
        os.close(descriptor)


def test_inside_and_back(netns: Callable[[], NamedNetns]) -> None:
    named, own = netns(), here()
    assert namespaces.inside(named.path, here) == os.stat(named.path).st_ino
    assert here() == own
    other = netns()
    assert namespaces.inside(named.path, lambda: namespaces.inside(other.path, here)) == os.stat(other.path).st_ino
    assert here() == own
    assert namespaces.inside(namespaces.OWN, here) == own


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(), BaseException()])
def test_back_also_when_the_call_raises(netns: Callable[[], NamedNetns], error: BaseException) -> None:
    named, own = netns(), here()
    seen: list[int] = []

    def call() -> None:
        seen.append(here())
        raise error

    with pytest.raises(type(error)):
        namespaces.inside(named.path, call)
    assert seen == [os.stat(named.path).st_ino]
    assert here() == own


def test_only_the_calling_thread_goes_inside(netns: Callable[[], NamedNetns]) -> None:
    named, own = netns(), here()
    asked, answered, seen = threading.Event(), threading.Event(), []

    def beside() -> None:
        asked.wait(10)
        seen.append(here())
        answered.set()

    thread = threading.Thread(target=beside)
    thread.start()

    def call() -> int:
        asked.set()
        answered.wait(10)
        return here()

    assert namespaces.inside(named.path, call) == os.stat(named.path).st_ino
    thread.join(10)
    assert seen == [own]


def test_in_and_out_leaves_no_file_open(netns: Callable[[], NamedNetns]) -> None:
    path = netns().path
    before = os.listdir("/proc/self/fd")
    for _ in range(50):
        namespaces.resolve(path)
        namespaces.inside(path, here)
        with pytest.raises(OSError, match="not a network namespace"):
            namespaces.resolve("/proc/self/ns/uts")
    assert len(os.listdir("/proc/self/fd")) == len(before)
