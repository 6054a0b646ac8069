"""The interfaces of one namespace as the kernel's messages tell of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import attrs

from skydive_probe_netlink.attributes import AF_BRIDGE, AF_INET, AF_INET6, AF_UNSPEC
from skydive_probe_netlink.codec import IFA_F_SECONDARY, Address, Body, Link

_FAMILIES: Final = (AF_INET, AF_INET6)


class Interfaces:
    """Links and addresses by ifindex, and which of them changed (*dirty*) since someone last took these indexes.

    Addresses keep the kernel's order, IPv4 before IPv6 as in its dumps.
    """

    def __init__(self) -> None:
        self.links: dict[int, Link] = {}
        self._dirty: set[int] = set()
        self._addresses: dict[tuple[int, int], list[Address]] = {}
        self._touched: dict[int, int] = {}
        self._clock = 0

    @property
    def clock(self) -> int:
        """Grows with every message; remember it before a dump for ``refresh``."""
        return self._clock

    def addresses(self, index: int) -> list[Address]:
        return [address for family in _FAMILIES for address in self._addresses.get((index, family), ())]

    def take_dirty(self) -> set[int]:
        dirty, self._dirty = self._dirty, set()
        return dirty

    def mark(self, indexes: Iterable[int]) -> None:
        """Make these dirty."""
        self._dirty.update(indexes)

    def over(self, nsids: Collection[int]) -> set[int]:
        """Links whose IFLA_LINK is in one of these namespaces."""
        return {link.index for link in self.links.values() if link.lower_nsid in nsids}

    def half_veths(self) -> set[int]:
        """Veths without their peer: the first of a new pair is announced before it has one, and not again after."""
        return {link.index for link in self.links.values() if link.kind == "veth" and not link.lower}

    def replace(self, links: Iterable[Link], addresses: Iterable[Address], *, complete: bool = True) -> None:
        """Take over an inventory; when it is not ``complete``, what it lacks is kept."""
        by_index = {link.index: link for link in links if _is_whole(link)}
        by_family: dict[tuple[int, int], list[Address]] = {}
        for address in addresses:
            by_family.setdefault((address.index, address.family), []).append(address)
        self._dirty |= self.links.keys() | by_index.keys()
        self.links = by_index if complete else self.links | by_index
        self._addresses = by_family if complete else self._addresses | by_family
        self._clock += 1
        self._touched = dict.fromkeys(self.links, self._clock)

    def apply(self, body: Body) -> None:
        """Take over one change; other messages are passed over."""
        if isinstance(body, Link):
            self._apply_link(body)
        elif isinstance(body, Address) and body.family in _FAMILIES:
            self._apply_address(body)

    def refresh(self, links: Iterable[Link], since: int) -> None:
        """Take over from a dump, begun when the clock was ``since``, what no message has told of meanwhile.

        The kernel does not announce everything: the peer of a veth may move on to a third namespace unheard.
        """
        for link in links:
            known = self.links.get(link.index)
            if known is None or known == link or self._touched[link.index] > since or not _is_whole(link):
                continue
            self.links[link.index] = attrs.evolve(link, counters=None)
            self._dirty.add(link.index)

    def _touch(self, index: int) -> None:
        self._clock += 1
        self._touched[index] = self._clock
        self._dirty.add(index)

    def _set(self, link: Link) -> None:
        self.links[link.index] = link
        self._touch(link.index)

    def _apply_link(self, link: Link) -> None:
        if link.gone and link.family == AF_UNSPEC:
            self.links.pop(link.index, None)
            self._touch(link.index)
            del self._touched[link.index]
            for family in _FAMILIES:
                self._addresses.pop((link.index, family), None)
            if link.new_nsid is not None and link.new_index:
                self._follow_move(link)
        elif not link.gone and _is_whole(link):
            self._set(link)
            self._tell_peer(link)
        elif not link.gone and link.family == AF_BRIDGE:
            self._apply_port(link)

    def _apply_port(self, port: Link) -> None:
        """A bridge tells of its port's state apart from what the port tells of itself."""
        known = self.links.get(port.index)
        told = port.details.get("BridgePort")
        if known is not None and told and "BridgePort" in known.details and known.details["BridgePort"] != told:
            self._set(attrs.evolve(known, details={**known.details, "BridgePort": told}))

    def _follow_move(self, moved: Link) -> None:
        """What refers to a link that moves to another namespace is not announced again."""
        for upper in list(self.links.values()):
            if upper.lower == moved.index and upper.lower_nsid is None:
                self._set(attrs.evolve(upper, lower=moved.new_index, lower_nsid=moved.new_nsid))

    def _tell_peer(self, link: Link) -> None:
        """The other veth of a pair is not announced again when this one gets an index here."""
        if link.kind != "veth" or link.lower_nsid is not None:
            return
        peer = self.links.get(link.lower)
        if peer is not None and peer.kind == "veth" and (peer.lower, peer.lower_nsid) != (link.index, None):
            self._set(attrs.evolve(peer, lower=link.index, lower_nsid=None))

    def _apply_address(self, address: Address) -> None:
        self._clock += 1
        self._dirty.add(address.index)
        known = self._addresses.setdefault((address.index, address.family), [])
        place = next((i for i, other in enumerate(known) if _same_address(other, address)), None)
        if place is None:
            if not address.gone:
                known.insert(_place(known, address), address)
        elif not address.gone and _is_secondary(known[place]) == _is_secondary(address):
            known[place] = address
        else:
            del known[place]
            if not address.gone:
                known.insert(_place(known, address), address)
        if not known:
            del self._addresses[address.index, address.family]


def _is_whole(link: Link) -> bool:
    """Whether the message describes the link: not one of a bridge's about its port, nor one about a single aspect."""
    return link.family == AF_UNSPEC and bool(link.name) and link.mtu is not None


def _same_address(one: Address, other: Address) -> bool:
    return (one.local, one.peer, one.prefix_length) == (other.local, other.peer, other.prefix_length)


def _is_secondary(address: Address) -> bool:
    # In IPv6 the same bit means a temporary address, which does not change places.
    return address.family == AF_INET and bool(address.flags & IFA_F_SECONDARY)


def _place(known: list[Address], new: Address) -> int:
    """Where the kernel puts a new address among those of its family.

    net/ipv4/devinet.c __inet_insert_ifa: behind the last primary address of the same or a narrower scope, a
    secondary one at the end.  net/ipv6/addrconf.c ipv6_link_dev_addr: before the first of the same or a narrower scope.
    A larger number is a narrower scope (linux/rtnetlink.h, enum rt_scope_t).
    """
    if _is_secondary(new):
        return len(known)
    narrower = [i for i, other in enumerate(known) if other.scope >= new.scope and not _is_secondary(other)]
    if new.family == AF_INET6:
        return narrower[0] if narrower else len(known)
    return narrower[-1] + 1 if narrower else 0
