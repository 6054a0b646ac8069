"""From an injection as users write it to what each node sends: addresses, MACs and next hops, by the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Any, Final, TypeAlias

from skycore.errors import InvalidResource
from skycore.gremlin.steps.routes import next_hop
from skycore.injection.order import Injection
from skycore.resource.kind import Value
from skycore.rule.injection import Network, address_in

Metadata: TypeAlias = Mapping[str, Any]
Address: TypeAlias = IPv4Address | IPv6Address
Owner: TypeAlias = Callable[[str], Sequence[Metadata]]
"""Nodes that have an address with its prefix ("10.0.0.1/24")."""

_LOOPBACK: Final = "00:00:00:00:00:00"
_WITH_MACS: Final = ("ether", "loopback")
_BROADCAST: Final = "ff:ff:ff:ff:ff:ff"


def resolve(
    value: Value,
    uuid: str,
    sources: Sequence[Metadata],
    target: Metadata | None,
    *,
    refused: Sequence[Network],
    owners: Owner,
) -> list[Injection]:
    """What each source sends, in their order.  Raises InvalidResource with the reason why something cannot be sent."""
    return [
        _of_node(value, uuid, number, source, target, refused=refused, owners=owners)
        for number, source in enumerate(sources)
    ]


def _of_node(
    value: Value,
    uuid: str,
    number: int,
    source: Metadata,
    target: Metadata | None,
    *,
    refused: Sequence[Network],
    owners: Owner,
) -> Injection:
    if value["Pcap"] is not None:
        return _injection(value, uuid, number)
    from_ip, to_ip = _addresses(value, source, target)
    to = ip_address(to_ip)
    for network in refused:
        if to.version == network.version and to in network:
            raise InvalidResource(
                f"nothing may be sent to {to_ip}: it lies in {network} (key analyzer.injection.refused_networks)"
            )
    from_mac = to_mac = ""
    if str(source.get("EncapType", "ether")) in _WITH_MACS:
        from_mac = value["SrcMAC"] or _mac_of(source)
        if not from_mac:
            raise InvalidResource("No source MAC in node; give SrcMAC")
        to_mac = value["DstMAC"] or _next_mac(to, source, target, owners)
    return _injection(value, uuid, number, SrcIP=from_ip, DstIP=to_ip, SrcMAC=from_mac, DstMAC=to_mac)


def _injection(value: Value, uuid: str, number: int, **resolved: str) -> Injection:
    """In the mode ``unique`` each node has an ICMP identifier and a source port of its own."""
    recorded = value["Pcap"] is not None
    given = {field: value[field] for field in ("SrcIP", "DstIP", "SrcMAC", "DstMAC")}
    return Injection(
        UUID=uuid,
        Type=value["Type"],
        SrcPort=_own(value["SrcPort"], number) if value["SrcPort"] else 0,
        DstPort=value["DstPort"],
        ICMPID=_own(value["ICMPID"], number),
        Count=value["Count"] if recorded else max(1, value["Count"]),
        Interval=value["Interval"],
        Mode=value["Mode"],
        IncrementPayload=value["IncrementPayload"],
        Payload=value["Payload"],
        Pcap=value["Pcap"],
        TTL=value["TTL"],
        **{**given, **resolved},
    )


def _own(first: int, number: int) -> int:
    return (max(1, first) - 1 + number) % 65535 + 1


def _addresses(value: Value, source: Metadata, target: Metadata | None) -> tuple[str, str]:
    version = int(value["Type"][-1])
    sources = [address_in(value["SrcIP"])] if value["SrcIP"] else list(_ips(source, version))
    if not sources:
        raise InvalidResource(f"No source IP in node: it has no IPv{version} address; give SrcIP")
    if value["DstIP"]:
        targets = [address_in(value["DstIP"])]
    elif target is None:
        raise InvalidResource("No destination node and IP; give DstIP, or a Dst that selects a node")
    else:
        targets = list(_ips(target, version))
    if not targets:
        raise InvalidResource(f"No destination IP in node: it has no IPv{version} address; give DstIP")
    # The first of each, but never from a link's own addresses to those of others, or back.
    pairs = [(one, other) for one in sources for other in targets]
    return next((pair for pair in pairs if len({ip_address(one).is_link_local for one in pair}) == 1), pairs[0])


def _ips(metadata: Metadata, version: int) -> Iterator[str]:
    """Addresses of a node without their prefixes: those that Neutron knows come first."""
    neutron = metadata.get("Neutron")
    for place in (neutron if isinstance(neutron, Mapping) else {}, metadata):
        found = place.get(f"IPV{version}")
        for text in sorted(found, key=_link_local) if isinstance(found, list) else ():
            try:
                yield address_in(text)
            except ValueError:
                continue


def _link_local(text: object) -> bool:
    try:
        return ip_interface(str(text)).ip.is_link_local
    except ValueError:
        return True


def _mac_of(metadata: Metadata) -> str:
    external = metadata.get("ExtID")
    attached = external.get("attached-mac") if isinstance(external, Mapping) else None
    found = attached or metadata.get("MAC")
    if not found and metadata.get("EncapType") == "loopback":
        return _LOOPBACK
    return str(found) if found else ""


def _next_mac(to: Address, source: Metadata, target: Metadata | None, owners: Owner) -> str:
    """The MAC to which the source's host would send a packet for this address."""
    if source.get("EncapType") == "loopback":
        return _LOOPBACK
    of_group = _group_mac(to, source)
    if of_group:
        return of_group
    tables, neighbours = source.get("RoutingTables"), source.get("Neighbors")
    hop = next_hop(to, _entries(tables), _entries(neighbours))
    if hop is not None and hop.get("MAC"):
        return str(hop["MAC"])
    over = to if hop is None else ip_address(hop["IP"])
    if target is not None and over == to and (found := _mac_of(target)):
        return found
    macs = {mac for metadata in owners(_with_prefix(over, source)) if (mac := _mac_of(metadata))}
    if len(macs) == 1:
        return macs.pop()
    way = f"the next hop {over}" if over != to else str(to)
    raise InvalidResource(
        "Failed to resolve destination MAC address: "
        f"{way} is no neighbour of the source node and no other node is known to be it; give DstMAC"
    )


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _with_prefix(address: Address, source: Metadata) -> str:
    """How a node on the same link would write this address among its own."""
    for text in (*_entries(source.get("IPV4")), *_entries(source.get("IPV6"))):
        try:
            own = ip_interface(str(text))
        except ValueError:
            continue
        if own.version == address.version and address in own.network:
            return f"{address}/{own.network.prefixlen}"
    return f"{address}/{address.max_prefixlen}"


def _group_mac(to: Address, source: Metadata) -> str:
    """Of multicast (RFC 1112, section 6.4; RFC 2464, section 7) and broadcast; "" for other addresses."""
    number = int(to)
    if to.is_multicast:
        bits = 0x01005E000000 | number & 0x7FFFFF if to.version == 4 else 0x333300000000 | number & 0xFFFFFFFF
        return ":".join(f"{byte:02x}" for byte in bits.to_bytes(6, "big"))
    if to.version == 4:
        if number == 0xFFFFFFFF:
            return _BROADCAST
        for text in _entries(source.get("IPV4")):
            try:
                network = ip_interface(str(text)).network
            except ValueError:
                continue
            if network.prefixlen < 31 and to == network.broadcast_address:
                return _BROADCAST
    return ""
