"""eBPF programs at interfaces: their names, and those attached by tcx and netkit, which rtnetlink does not tell.

The one system call is bpf(2); its commands and structures are those of linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Any, Final

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351}
BPF_PROG_GET_FD_BY_ID: Final = 13
BPF_OBJ_GET_INFO_BY_FD: Final = 15
BPF_PROG_QUERY: Final = 16
_PLACES: Final = ((46, "ingress"), (47, "egress"))  # BPF_TCX_INGRESS, BPF_TCX_EGRESS
_NETKIT_PLACES: Final = ((54, "primary"), (55, "peer"))  # BPF_NETKIT_PRIMARY, BPF_NETKIT_PEER
_ATTR_SIZE: Final = 144  # more than any kernel's union bpf_attr needs for these commands
_INFO_SIZE: Final = 80  # struct bpf_prog_info, up to its name's end
_NAME = slice(64, 80)
_MOST: Final = 64  # as many programs as the kernel lets one place have
_ABSENT: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.E2BIG})

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, "bpf(2) has no known number on this machine")
    buffer = ctypes.create_string_buffer(attributes, _ATTR_SIZE)
    result = _libc.syscall(number, command, buffer, _ATTR_SIZE)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


class Programs:
    """Names of programs by their IDs, asked for once; a kernel that does not tell is not asked again."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._tcx = True
        self._netkit = True

    def named(self, program: dict[str, Any]) -> dict[str, Any]:
        """A program's entry with its ``Name``, if it has one."""
        name = self.name(program["ID"])
        return {**program, "Name": name} if name else program

    def name(self, id: int) -> str:
        """The name that its loader gave; "" for none, or when we may not know."""
        if id not in self._names:
            self._names[id] = _name(id)
        return self._names[id]

    def attached(self, index: int, kind: str) -> list[dict[str, Any]]:
        """The entries of ``Programs`` of one interface of the thread's namespace, in the order in which they run."""
        found: list[dict[str, Any]] = []
        if self._tcx:
            found += self._query(index, _PLACES)
        if kind == "netkit" and self._netkit:
            found += self._query(index, _NETKIT_PLACES)
        return found

    def _query(self, index: int, places: tuple[tuple[int, str], ...]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for place, text in places:
            try:
                ids = _query(index, place)
            except OSError as error:
                if error.errno in _ABSENT:
                    if places is _PLACES:
                        self._tcx = False
                    else:
                        self._netkit = False
                break
            found += [self.named({"Attach": text, "ID": id}) for id in ids]
        return found

    def keep_only(self, ids: set[int]) -> None:
        """Forget the names of all other programs: the kernel may give an ID anew."""
        self._names = {id: name for id, name in self._names.items() if id in ids}


def _name(id: int) -> str:
    try:
        descriptor, _ = _bpf(BPF_PROG_GET_FD_BY_ID, struct.pack("=III", id, 0, 0))
    except OSError:
        return ""
    try:
        info = ctypes.create_string_buffer(_INFO_SIZE)
        _bpf(BPF_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", descriptor, _INFO_SIZE, ctypes.addressof(info)))
        return info.raw[_NAME].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _query(index: int, place: int) -> list[int]:
    """BPF_PROG_QUERY: the IDs of the programs at one place."""
    ids = (ctypes.c_uint32 * _MOST)()
    # target_ifindex, attach_type, query_flags, attach_flags, prog_ids, count
    _, answer = _bpf(BPF_PROG_QUERY, struct.pack("=IIIIQI", index, place, 0, 0, ctypes.addressof(ids), _MOST))
    (count,) = struct.unpack_from("=I", answer, 24)
    return list(ids[: min(count, _MOST)])
