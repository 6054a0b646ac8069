"""One look at everything: the sockets of all namespaces, and the processes that hold them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import attrs

from skycore.plugin import netlink
from skydive_probe_socketinfo.codec import PROTOCOLS, Cookie, Sighting
from skydive_probe_socketinfo.diag import UNSUPPORTED
from skydive_probe_socketinfo.places import Place
from skydive_probe_socketinfo.processes import Process, ProcessTable


@attrs.frozen
class Look:
    """What was found.

    ``dumps`` has the sockets of each place and protocol that could be listed, ``errors`` why others could not;
    ``inodes`` are all of theirs; ``owners`` says which of these have another process now (None: none);
    ``seconds`` is the CPU time that it took.
    """

    dumps: list[tuple[Place, str, Mapping[Cookie, Sighting]]]
    errors: dict[str, str]
    unsupported: set[str]
    inodes: set[int]
    owners: dict[int, Process | None]
    seconds: float


class Looker:
    """Looks again and again.  Blocks; one thread at a time."""

    def __init__(self, processes: ProcessTable) -> None:
        self._processes = processes
        self._inodes: dict[tuple[Place, str], set[int]] = {}

    def look(self, places: Sequence[Place]) -> Look:
        """List all sockets of these places.  Raises OSError when the processes cannot be listed."""
        begin = time.thread_time()
        dumps: list[tuple[Place, str, Mapping[Cookie, Sighting]]] = []
        errors: dict[str, str] = {}
        unsupported: set[str] = set()
        before, self._inodes = self._inodes, {}
        for place in places:
            for protocol, number in PROTOCOLS.items():
                try:
                    found = place.lists.dump(number)
                except (OSError, netlink.DecodeError) as error:
                    if isinstance(error, OSError) and error.errno in UNSUPPORTED:
                        unsupported.add(protocol)
                    else:
                        errors[place.namespace.path] = str(error)
                    # What could not be listed is as it was.
                    self._inodes[place, protocol] = before.get((place, protocol), set())
                else:
                    dumps.append((place, protocol, found))
                    self._inodes[place, protocol] = {sighting[3] for sighting in found.values()}
        inodes = set().union(*self._inodes.values())
        # Of a socket that its process has closed, the kernel has more to say, but it has no file.
        inodes.discard(0)
        owners = self._processes.update(inodes)
        return Look(dumps, errors, unsupported, inodes, owners, time.thread_time() - begin)
