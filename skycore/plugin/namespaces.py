"""Network namespaces: which one a path means, and how to be inside it for a moment.

Sources: setns(2), ioctl_ns(2) (NS_GET_NSTYPE), linux/sched.h (CLONE_NEWNET), asm-generic/socket.h
(SO_NETNS_COOKIE, Linux 5.14).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from skycore.graph.identity import netns_key
from skycore.plugin.api import Namespace

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
SO_NETNS_COOKIE = 71
OWN = "/proc/self/ns/net"
_HERE = "/proc/thread-self/ns/net"
# A path may turn out to be a FIFO, which would be waited for.
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)


@cache
def boot_id() -> str:
    """The kernel's identifier of this boot (proc(5), /proc/sys/kernel/random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def resolve(path: str) -> Namespace:
    """Which live namespace a path means.

    Raises FileNotFoundError when there is no such file, OSError with EINVAL when it is no network namespace,
    PermissionError without CAP_SYS_ADMIN when the namespace is not our own.
    """
    descriptor = os.open(path, _OPEN)
    try:
        return describe(descriptor, path)
    finally:
        os.close(descriptor)


def describe(descriptor: int, path: str) -> Namespace:
    """The same for an open file; ``path`` is what the result shall show."""
    try:
        kind = fcntl.ioctl(descriptor, NS_GET_NSTYPE)
    except OSError as error:
        raise OSError(errno.EINVAL, "not a network namespace", path) from error
    if kind != CLONE_NEWNET:
        raise OSError(errno.EINVAL, "not a network namespace", path)
    status = os.fstat(descriptor)
    cookie = _inside(descriptor, _cookie)
    return Namespace(netns_key(boot_id(), cookie), cookie, path, status.st_ino, status.st_dev)


def open_same(namespace: Namespace) -> int:
    """Open a file through which a namespace can be entered; the caller closes it.

    What is opened holds the namespace, not the mount that ``path`` may be: that can be unmounted meanwhile.
    Raises OSError, among them FileNotFoundError when the path means another namespace by now.
    """
    descriptor = os.open(namespace.path, _OPEN)
    try:
        if describe(descriptor, namespace.path).cookie != namespace.cookie:
            raise FileNotFoundError(errno.ENOENT, "this is another network namespace by now", namespace.path)
        return _inside(descriptor, lambda: os.open(_HERE, _OPEN))
    finally:
        os.close(descriptor)


def inside(path: str, call: Callable[[], T]) -> T:
    """Run ``call`` with this thread inside the namespace that ``path`` means, and come back."""
    descriptor = os.open(path, _OPEN)
    try:
        return _inside(descriptor, call)
    finally:
        os.close(descriptor)


def _inside(descriptor: int, call: Callable[[], T]) -> T:
    own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.path.sameopenfile(own, descriptor):
            return call()
        _setns(descriptor)
        try:
            return call()
        finally:
            _setns(own)
    finally:
        os.close(own)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter the network namespace: {os.strerror(number)}")


def _cookie() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        return int(struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0])
