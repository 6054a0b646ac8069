"""The socket that asks rtnetlink and generic netlink: shared by several tasks, and never in the way of the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from skycore.plugin import netlink
from skydive_probe_netlink import codec

_DUMPS: Final = trio.CapacityLimiter(4)  # they queue for one lock in the kernel anyway

T = TypeVar("T")


class RequestSocket(netlink.RequestSocket):
    """``dump`` and ``call`` let the others go on; ``ask`` and ``answer`` are for use inside ``call`` only."""

    def __init__(self, enter: netlink.Enter, protocol: int = netlink.NETLINK_ROUTE) -> None:
        super().__init__(enter, protocol)
        self._turn = trio.Lock()

    async def dump(self, request: Callable[[int], bytes]) -> netlink.Dump:
        """Send what ``request(sequence)`` builds and collect the whole answer.

        In a thread: a dump waits for the kernel's RTNL lock, which others may hold for long.
        Raises NetlinkError; DecodeError when the answer makes no sense.
        """
        return await self.call(lambda: self.ask(request))

    async def call(self, work: Callable[[], T]) -> T:
        """Run ``work``, which may use ``ask`` and ``answer`` and nothing else of this object, in a thread."""
        async with self._turn:
            return await trio.to_thread.run_sync(work, limiter=_DUMPS)

    async def nsid(self, fd: int) -> int | None:
        """By which number the socket's namespace knows the open one; None: by none, or it is no namespace."""
        async with self._turn:
            # On the loop: RTM_GETNSID takes no lock that others hold for long, and answers at once.
            try:
                body = codec.decode(self.answer(lambda sequence: codec.nsid_request(sequence, fd)))
            except netlink.NetlinkError:
                return None
        return body.nsid if isinstance(body, codec.NamespaceId) else None
