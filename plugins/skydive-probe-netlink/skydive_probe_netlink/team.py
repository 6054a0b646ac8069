"""Team devices: their options and the state of their ports, by the family ``team`` of generic netlink.

Formats: linux/genetlink.h, linux/if_team.h.  The names of options are those of the kernel's drivers/net/team.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.kinds import Document, Field

TEAM_CMD_OPTIONS_GET: Final = 2
TEAM_CMD_PORT_LIST_GET: Final = 3
TEAM_GENL_VERSION: Final = 1
TEAM_ATTR_TEAM_IFINDEX: Final = 1

_HEADER = struct.Struct("=BBxx")  # struct genlmsghdr
# include/net/netlink.h, the types of values by which team tells the form of an option
_NLA_U32: Final = 3
_NLA_STRING: Final = 5
_NLA_FLAG: Final = 6
_NLA_S32: Final = 14


@attrs.frozen
class Option:
    """An option: the key under which it is kept, its name, its unit."""

    key: str
    name: str
    unit: str = ""


TEAM: Final = (
    Option("Mode", "mode"),
    Option("ActivePort", "activeport", "ifindex"),
    Option("NotifyPeersCount", "notify_peers_count"),
    Option("NotifyPeersInterval", "notify_peers_interval", "ms"),
    Option("McastRejoinCount", "mcast_rejoin_count"),
    Option("McastRejoinInterval", "mcast_rejoin_interval", "ms"),
    Option("TxMethod", "lb_tx_method"),
    Option("StatsRefreshInterval", "lb_stats_refresh_interval", "0.1 s"),
)
"""Options of the device; counters and the table of hashes are left out."""

PORT: Final = (
    Option("Enabled", "enabled"),
    Option("UserLinkUp", "user_linkup"),
    Option("UserLinkUpEnabled", "user_linkup_enabled"),
    Option("Priority", "priority"),
    Option("QueueID", "queue_id"),
)
"""Options of one port."""

STATE: Final = Document(
    "",
    (
        Field("LinkUp", "TEAM_ATTR_PORT_LINKUP", 3, a.present),
        Field("Speed", "TEAM_ATTR_PORT_SPEED", 4, a.u32, "Mb/s"),
        Field("Duplex", "TEAM_ATTR_PORT_DUPLEX", 5, a.one_of(a.u8, {0: "half", 1: "full"})),
    ),
)
"""What the list of ports says of each."""

_KEYS: Final = {
    **{option.name: ("Team", option.key) for option in TEAM},
    **{option.name: ("TeamPort", option.key) for option in PORT},
}
_OPTION: Final[a.Table] = {
    1: ("name", a.text),
    3: ("type", a.u8),
    4: ("data", a.raw),
    5: ("removed", a.present),
    6: ("port", a.u32),
    7: ("place", a.u32),
}
"""TEAM_ATTR_OPTION_…"""
_PORT: Final[a.Table] = {1: ("index", a.u32), 6: ("removed", a.present)}
"""TEAM_ATTR_PORT_…"""


def options_request(sequence: int, family: int, index: int) -> bytes:
    """TEAM_CMD_OPTIONS_GET for one device."""
    return _request(TEAM_CMD_OPTIONS_GET, sequence, family, index)


def ports_request(sequence: int, family: int, index: int) -> bytes:
    """TEAM_CMD_PORT_LIST_GET for one device."""
    return _request(TEAM_CMD_PORT_LIST_GET, sequence, family, index)


def _request(command: int, sequence: int, family: int, index: int) -> bytes:
    # No dump: the kernel answers by several messages all the same.
    body = _HEADER.pack(command, TEAM_GENL_VERSION) + a.attribute_u32(TEAM_ATTR_TEAM_IFINDEX, index)
    return netlink.request(family, 0, sequence, body)


def _option(payload: bytes, start: int, end: int) -> tuple[int, str, str, Any] | None:
    """(port or 0, document, key, value); None for what is not shown."""
    found = a.read_attributes(_OPTION, payload, start, end)
    where = _KEYS.get(found.get("name", ""))
    if where is None or "removed" in found or "place" in found:
        return None
    data: bytes | None = found.get("data")
    kind = found.get("type", 0)
    value: Any = None
    if kind == _NLA_FLAG:
        # It is there when it is set.
        value = data is not None
    elif data is not None and kind == _NLA_STRING:
        value = a.text(data, 0, len(data))
    elif data is not None and kind in {_NLA_U32, _NLA_S32}:
        value = (a.u32 if kind == _NLA_U32 else a.s32)(data, 0, len(data))
    return None if value is None else (found.get("port", 0), *where, value)


def _port(payload: bytes, start: int, end: int) -> tuple[int, dict[str, Any]]:
    """(ifindex of the port or 0, its state)."""
    found = a.read_attributes(_PORT, payload, start, end)
    state = {"LinkUp": False, **STATE.decode(payload, start, end)}
    return (0 if "removed" in found else found.get("index", 0)), state


_OPTIONS: Final[a.Table] = {2: ("found", a.each(_option))}
_PORTS: Final[a.Table] = {3: ("found", a.each(_port))}
"""TEAM_ATTR_LIST_OPTION, TEAM_ATTR_LIST_PORT"""


def read(contents: dict[int, dict[str, Any]], index: int, buffers: Iterable[bytes], family: int) -> None:
    """Add to ``contents`` (metadata by ifindex) what messages say of a device and its ports.  Raises DecodeError."""
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            payload = frame.payload
            if frame.type != family or not payload:
                continue
            if payload[0] == TEAM_CMD_OPTIONS_GET:
                options = a.read_attributes(_OPTIONS, payload, _HEADER.size, len(payload)).get("found", ())
                for port, document, key, value in filter(None, options):
                    # An option of the device may hold 0 or nothing, which is then left out.
                    if value or document == "TeamPort":
                        contents.setdefault(port or index, {}).setdefault(document, {})[key] = value
            elif payload[0] == TEAM_CMD_PORT_LIST_GET:
                ports = a.read_attributes(_PORTS, payload, _HEADER.size, len(payload)).get("found", ())
                for port, state in ports:
                    if port:
                        contents.setdefault(port, {}).setdefault("TeamPort", {}).update(state)


def keys() -> Mapping[str, tuple[str, str]]:
    """Key → source and unit."""
    found = {f"Team.{option.key}": (f"team option `{option.name}`", option.unit) for option in TEAM}
    found |= {f"TeamPort.{option.key}": (f"team option `{option.name}`", option.unit) for option in PORT}
    return found | {f"TeamPort.{field.key}": (field.source, field.unit) for field in STATE.fields}
