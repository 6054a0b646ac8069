"""One AF_PACKET socket and its ring of blocks.

Sources: packet(7), Documentation/networking/packet_mmap.rst, linux/if_packet.h, linux/filter.h, asm-generic/socket.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

import attrs

Program: TypeAlias = Sequence[tuple[int, int, int, int]]
"""A classic BPF program: (code, jt, jf, k) of each instruction."""

_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_RX_RING: Final = 5
_STATISTICS: Final = 6
_VERSION: Final = 10
_FANOUT: Final = 18
_TPACKET_V3: Final = 2
_MR_PROMISC: Final = 1
_FANOUT_HASH: Final = 0
_FANOUT_FLAG_ROLLOVER: Final = 0x1000
_FANOUT_FLAG_UNIQUE_ID: Final = 0x2000
_FANOUT_FLAG_DEFRAG: Final = 0x8000
_SO_ATTACH_FILTER: Final = 26
_ETH_P_ALL: Final = 3
_FRAME: Final = 2048
# struct tpacket_block_desc: version, offset_to_priv, then struct tpacket_hdr_v1, which begins with block_status.
_STATUS: Final = struct.Struct("@8xI")
_STATUS_AT: Final = struct.Struct("@I")
_USER: Final = 1
_KERNEL: Final = 0
_BPF_RET: Final = 0x06
DROP_ALL: Final[Program] = ((_BPF_RET, 0, 0, 0),)


def keep_all(length: int) -> Program:
    """Lets every packet pass, its first ``length`` bytes."""
    return ((_BPF_RET, 0, 0, length),)


@attrs.frozen
class RingSize:
    """``blocks`` of ``block_bytes`` (a power of two of pages), each given to us after ``retire_ms`` at the latest."""

    block_bytes: int
    blocks: int
    retire_ms: int


class Ring:
    """A ring on one interface, filled from ``begin`` on.  Make it inside the interface's namespace; raises OSError."""

    def __init__(self, name: str, size: RingSize, *, promiscuous: bool) -> None:
        # Protocol 0: the socket gets nothing before it is bound.
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        self._name = name
        self._block = size.block_bytes
        self._blocks = size.blocks
        self._at = 0
        self._received = self._dropped = 0
        self._map: mmap.mmap | None = None
        self._views: list[memoryview] = []
        try:
            index = socket.if_nametoindex(name)
            attach(self.socket, DROP_ALL)
            self.socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
            request = struct.pack(
                "@7I",
                size.block_bytes,
                size.blocks,
                _FRAME,
                size.block_bytes // _FRAME * size.blocks,
                size.retire_ms,
                0,
                0,
            )
            self.socket.setsockopt(_SOL_PACKET, _RX_RING, request)
            if promiscuous:
                # struct packet_mreq: index, type, length of an address, address.  The kernel undoes it at close.
                self.socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("@iHH8s", index, _MR_PROMISC, 0, b""))
            self._map = mmap.mmap(self.socket.fileno(), size.block_bytes * size.blocks)
            whole = memoryview(self._map)
            self._views.append(whole)
            for block in range(size.blocks):
                self._views.append(whole[block * size.block_bytes : (block + 1) * size.block_bytes])
            self.socket.bind((name, _ETH_P_ALL))
        except BaseException:
            self.close()
            raise

    def join(self, group: int | None) -> int:
        """Share the interface's packets with the other rings of a group, by flow; None makes a group.  Returns it."""
        flags = _FANOUT_HASH | _FANOUT_FLAG_DEFRAG | _FANOUT_FLAG_ROLLOVER
        if group is None:
            self._fanout((flags | _FANOUT_FLAG_UNIQUE_ID) << 16)
            return self.socket.getsockopt(_SOL_PACKET, _FANOUT) & 0xFFFF
        self._fanout(group | flags << 16)
        return group

    def _fanout(self, asked: int) -> None:
        self.socket.setsockopt(_SOL_PACKET, _FANOUT, struct.pack("@I", asked))

    def begin(self, program: Program) -> None:
        """Let in what the program lets pass."""
        attach(self.socket, program)

    def ready(self) -> memoryview | None:
        """The next block that the kernel has filled, None when there is none yet.  It is ours until ``give_back``."""
        block = self._views[1 + self._at]
        return block if _STATUS.unpack_from(block)[0] & _USER else None

    def give_back(self) -> None:
        """The kernel may fill the block that ``ready`` gave, and goes on to the next."""
        _STATUS_AT.pack_into(self._views[1 + self._at], 8, _KERNEL)
        self._at = (self._at + 1) % self._blocks

    def check(self) -> None:
        """Raise the socket's error, if there is one: the interface went down, or is gone."""
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, "the interface is down" if number == errno.ENETDOWN else os.strerror(number))

    def counts(self) -> tuple[int, int]:
        """(received, dropped) since the ring was made; what was received includes what was dropped."""
        if self._map is not None:
            # struct tpacket_stats_v3: packets, drops, freeze_q_cnt.  Reading sets the kernel's to zero.
            packets, drops, _ = struct.unpack("@3I", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
            self._received += packets
            self._dropped += drops
        return self._received, self._dropped

    def close(self) -> None:
        """Give everything back to the kernel.  Idempotent."""
        if self._map is not None:
            self.counts()
        for view in reversed(self._views):
            view.release()
        self._views.clear()
        if self._map is not None:
            self._map.close()
            self._map = None
        self.socket.close()


def attach(packet_socket: socket.socket, program: Program) -> None:
    """Have the kernel run a program over each packet before the socket gets it.  Raises OSError."""
    instructions = b"".join(struct.pack("@HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    # struct sock_fprog: number of instructions, pointer.
    wanted = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    packet_socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, wanted)
