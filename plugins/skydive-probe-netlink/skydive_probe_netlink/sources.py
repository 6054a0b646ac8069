"""Tables of sources other than dumps of rtnetlink: ways of tunnels, WireGuard, team, eBPF programs."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from skycore.plugin import ProbeHost, netlink
from skydive_probe_netlink import neighbours, team, tunnels, wireguard
from skydive_probe_netlink.model import Interfaces
from skydive_probe_netlink.peers import PeerNamespaces
from skydive_probe_netlink.programs import Programs
from skydive_probe_netlink.socket import RequestSocket
from skydive_probe_netlink.tables import ENTRIES, Ask, Contents, Tables

_GENERIC_KINDS: Final = frozenset({"team", "wireguard"})
"""Kinds that tell of themselves by generic netlink."""
_GONE: Final = frozenset({errno.ENODEV, errno.ENOENT, errno.EOPNOTSUPP, errno.EPERM})


class Sources:
    """Adds its tables to those of a namespace.  It opens sockets as they are needed, until ``close``."""

    def __init__(
        self,
        host: ProbeHost,
        interfaces: Interfaces,
        peers: PeerNamespaces,
        requests: RequestSocket,
        tables: Tables,
        programs: Programs,
    ) -> None:
        self._host = host
        self._interfaces = interfaces
        self._peers = peers
        self._requests = requests
        self._tables = tables
        self._programs = programs
        self._generic: RequestSocket | None = None
        self._families: dict[str, int] = {}
        self._elsewhere: dict[int, RequestSocket] = {}
        tables.add("tunnels", self._load_tunnels)
        tables.add("wireguard", self._load_wireguard)
        tables.add("team", self._load_team)
        tables.add("programs", self._load_nothing)

    def close(self) -> None:
        """Close what was opened."""
        for requests in (self._generic, *self._elsewhere.values()):
            if requests is not None:
                requests.close()
        self._generic = None
        self._elsewhere.clear()

    def prepare(self) -> None:
        """Open the sockets that the next reading of the tables needs."""
        links = self._interfaces.links.values()
        if self._generic is None and any(link.kind in _GENERIC_KINDS for link in links):
            self._generic = self._open(self._host.namespace.path, netlink.NETLINK_GENERIC)
        wanted = {link.lower_nsid for link in links if link.lower_nsid is not None and tunnels.is_tunnel(link)}
        for nsid in self._elsewhere.keys() - wanted:
            self._elsewhere.pop(nsid).close()
        for nsid in wanted - self._elsewhere.keys():
            namespace = self._peers.get(nsid)
            requests = self._open(namespace.path, netlink.NETLINK_ROUTE) if namespace else None
            if requests is not None:
                self._elsewhere[nsid] = requests

    def forget(self, nsid: int) -> None:
        """The number of a namespace means another one, or none."""
        requests = self._elsewhere.pop(nsid, None)
        if requests is not None:
            requests.close()

    def find_programs(self) -> set[int]:
        """Look which programs are attached by tcx and netkit; returns the ifindexes where that has changed.

        The kernel announces none of it, and tells it only to who is inside the namespace.
        """
        links = list(self._interfaces.links.values())

        def ask() -> dict[int, dict[str, Any]]:
            found = ((link.index, self._programs.attached(link.index, link.kind)) for link in links)
            return {index: {"Programs": programs} for index, programs in found if programs}

        try:
            contents = self._host.in_netns(self._host.namespace.path, ask)
        except OSError:
            # The path by which the namespace was entered may be gone while the namespace is not.
            return set()
        shown = [entry for entries in contents.values() for entry in entries["Programs"]]
        shown += [entry for link in links for entry in link.details.get("XDP", ())]
        self._programs.keep_only({entry["ID"] for entry in shown})
        return self._tables.put("programs", contents)

    def _open(self, path: str, protocol: int) -> RequestSocket | None:
        try:
            return RequestSocket(lambda call: self._host.in_netns(path, call), protocol)
        except OSError:
            return None

    def _load_tunnels(self, ask: Ask) -> Contents:
        found = [link for link in list(self._interfaces.links.values()) if tunnels.is_tunnel(link)]
        fdb: dict[int, list[dict[str, Any]]] = {}
        if any(link.kind == "vxlan" for link in found):
            fdb = neighbours.by_interface(ask(neighbours.fdb_request), ENTRIES)
        contents: dict[int, dict[str, Any]] = {}
        for link in found:
            requests = self._requests if link.lower_nsid is None else self._elsewhere.get(link.lower_nsid)
            way = tunnels.way_of(link, requests.answer) if requests is not None else tunnels.Way()
            added = tunnels.document(link, way, fdb.get(link.index, ()))
            if added:
                contents[link.index] = {"Tunnel": added}
        return contents

    def _load_wireguard(self, _ask: Ask) -> Contents:
        contents: dict[int, dict[str, Any]] = {}
        for index, buffers in self._told_by("wireguard", wireguard.device_request):
            device, counted = wireguard.read(buffers, self._families["wireguard"])
            if device:
                contents[index] = {"Wireguard": device}
                if counted:
                    contents[index]["Metric"] = {"Peers": counted}
        return contents

    def _load_team(self, _ask: Ask) -> Contents:
        contents: dict[int, dict[str, Any]] = {}
        for request in (team.options_request, team.ports_request):
            for index, buffers in self._told_by("team", request):
                team.read(contents, index, buffers, self._families["team"])
        return contents

    def _told_by(self, kind: str, request: Callable[..., bytes]) -> Iterator[tuple[int, list[bytes]]]:
        """(ifindex, answer) of each interface of a kind, by the family of generic netlink that has the same name."""
        generic = self._generic
        indexes = [link.index for link in list(self._interfaces.links.values()) if link.kind == kind]
        if generic is None or not indexes:
            return
        if kind not in self._families:
            family = generic.family(kind)
            if family is None:
                return
            self._families[kind] = family.id
        for index in indexes:
            try:
                dump = generic.ask(partial(request, family=self._families[kind], index=index))
            except netlink.NetlinkError as error:
                if error.errno not in _GONE:
                    raise
                continue
            yield index, dump.buffers

    def _load_nothing(self, _ask: Ask) -> Contents | None:
        """These contents are put, not loaded."""
        return None
