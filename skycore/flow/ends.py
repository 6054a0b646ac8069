"""Who a flow is from and to: the node of an end, the container, pod and process behind it.

A wrong answer is worse than none: where several nodes would do and nothing tells them apart, the end stays unknown.
"""

from __future__ import annotations

from typing import Any, Final, final

import attrs
import msgspec

from skycore.flow.places import Place, Places, is_loopback
from skycore.graph.element import Revision

_ANYWHERE: Final = ("0.0.0.0", "::")


@final
@attrs.frozen
class EndSeen:
    """One end of flows, or the place where they were seen: what those who know more of it may go by.

    ``side``: "At", "From" or "To".  ``mac``, ``address``: those of the end, "" where it has none (and of At).
    ``metadata``: those of its node in the graph, empty when none is known; ``host`` that node's host.
    """

    side: str
    mac: str
    address: str
    host: str
    metadata: dict[str, Any] = attrs.field(repr=False)


def node_of_end(places: Places, at: Place | None, mac: str, address: str) -> Place | None:
    """The node that an end is.

    Its IP address tells best, that of MAC decides between several, and so does the host where the flow was seen.  A
    MAC address alone tells it only where the node has no IP addresses of its own: else it is that of a router.
    """
    if address:
        if is_loopback(address):
            return at
        found = places.with_address(address)
        one = _only([one for one in found if one.mac == mac], places, at) or _only(found, places, at)
        if one is not None:
            return one
    if not mac:
        return None
    behind = _only(places.with_peer_mac(mac), places, at)
    if behind is not None:
        return behind
    found = places.with_mac(mac)
    return _only([one for one in found if not one.addresses] if address else found, places, at)


def describe(places: Places, place: Place) -> dict[str, str]:
    """What the graph says of a node: its namespace, container, pod and service; what is not known is left out."""
    namespace = places.namespace(place)
    container = _container(places, namespace) if place.type != "container" else place
    pod = _pod(places, place, container)
    service = place if place.type == "service" else _first(places, pod, "service")
    return {
        key: value
        for key, value in {
            "Node": place.tid or place.id,
            "Name": place.name,
            "Type": place.type,
            "Host": place.host,
            "Namespace": "" if namespace is None or namespace.type != "netns" else namespace.name,
            "Container": "" if container is None else container.name,
            "Pod": "" if pod is None else pod.name,
            "Service": "" if service is None else service.name,
        }.items()
        if value
    }


def _only(found: list[Place], places: Places, at: Place | None) -> Place | None:
    """The one that is meant; the first of several in one namespace, as a bridge and its port with one MAC address."""
    if len(found) > 1 and at is not None:
        if any(one.id == at.id for one in found):
            return at
        found = [one for one in found if one.host == at.host] or found
    if len(found) > 1:
        namespaces = {None if (there := places.namespace(one)) is None else there.id for one in found}
        if len(namespaces) > 1:
            return None
    return found[0] if found else None


def _container(places: Places, namespace: Place | None) -> Place | None:
    """The container of a namespace; of several, as in a pod, the one after which the namespace is named."""
    if namespace is None or namespace.type != "netns":
        return None
    found = places.neighbours(namespace, "container")
    if len(found) > 1:
        found = [one for one in found if one.name == namespace.name]
    return found[0] if found else None


def _pod(places: Places, place: Place, container: Place | None) -> Place | None:
    if place.type == "pod":
        return place
    return _first(places, container, "pod") or _first(places, places.namespace(place), "pod")


def _first(places: Places, place: Place | None, type: str) -> Place | None:
    return None if place is None else next(iter(places.neighbours(place, type)), None)


class _Socket(msgspec.Struct, gc=False):
    Protocol: str
    LocalAddress: str
    LocalPort: int
    RemoteAddress: str
    RemotePort: int
    Name: str = ""
    Process: str = ""


class _WithSockets(msgspec.Struct, gc=False):
    Sockets: list[_Socket] = []


_sockets = msgspec.json.Decoder(_WithSockets).decode


@final
class Processes:
    """Which process of a namespace has a socket, from the ``Sockets`` of its node."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, dict[tuple[str, str, int, str, int], str]]] = {}
        self._fresh: dict[str, dict[tuple[str, str, int, str, int], str]] = {}

    def look_again(self) -> None:
        """The nodes may have others by now."""
        self._known = {id: self._known[id] for id in self._fresh}
        self._fresh = {}

    def name(self, revision: Revision, protocol: str, here: tuple[str, int], there: tuple[str, int]) -> str:
        """The name of the process with a socket between two (address, port), or one that listens here; "": none."""
        table = self._fresh.get(revision.id)
        if table is None:
            known = self._known.get(revision.id)
            if known is None or known[0] != revision.revision:
                known = self._known[revision.id] = revision.revision, _table(revision)
            table = self._fresh[revision.id] = known[1]
        if not table:
            return ""
        found = table.get((protocol, *here, *there))
        if found is not None:
            return found
        for address in (here[0], *_ANYWHERE):
            for anywhere in _ANYWHERE:
                found = table.get((protocol, address, here[1], anywhere, 0))
                if found is not None:
                    return found
        return ""


def _table(revision: Revision) -> dict[tuple[str, str, int, str, int], str]:
    try:
        found = _sockets(revision.metadata_json).Sockets
    except msgspec.ValidationError:
        return {}
    return {
        (one.Protocol, one.LocalAddress, one.LocalPort, one.RemoteAddress, one.RemotePort): one.Name or one.Process
        for one in found
    }
