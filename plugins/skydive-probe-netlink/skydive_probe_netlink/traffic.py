"""Traffic control: queueing disciplines, their classes, and classifiers that somebody has set up."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink import disciplines
from skydive_probe_netlink.attributes import AF_UNSPEC
from skydive_probe_netlink.disciplines import Options

# linux/rtnetlink.h
RTM_NEWQDISC: Final = 36
RTM_DELQDISC: Final = 37
RTM_GETQDISC: Final = 38
RTM_NEWTCLASS: Final = 40
RTM_GETTCLASS: Final = 42
RTM_NEWTFILTER: Final = 44
RTM_DELTFILTER: Final = 45
RTM_GETTFILTER: Final = 46
TCA_KIND: Final = 1
TCA_OPTIONS: Final = 2
TCA_CHAIN: Final = 11

# linux/pkt_sched.h
TC_H_ROOT: Final = 0xFFFFFFFF
TC_H_INGRESS: Final = 0xFFFFFFF1
TC_H_MIN_INGRESS: Final = 0xFFFFFFF2
TC_H_MIN_EGRESS: Final = 0xFFFFFFF3

_MESSAGE = struct.Struct("=BxxxiIII")  # struct tcmsg
_QDISC_ATTRIBUTES: Final[a.Table] = {
    TCA_KIND: ("kind", a.text),
    TCA_OPTIONS: ("options", lambda _payload, start, end: (start, end)),
}
_FILTER_ATTRIBUTES: Final[a.Table] = {
    **_QDISC_ATTRIBUTES,
    TCA_CHAIN: ("chain", a.u32),
}
_BPF_DIRECT: Final = 1  # linux/pkt_cls.h, TCA_BPF_FLAG_ACT_DIRECT
_BPF: Final[a.Table] = {
    7: ("Name", a.text),
    8: ("flags", a.u32),
    10: ("Tag", a.hexadecimal),
    11: ("ID", a.u32),
}
"""TCA_BPF_… (linux/pkt_cls.h)"""

_PLACES: Final = {TC_H_MIN_INGRESS: "ingress", TC_H_MIN_EGRESS: "egress"}
_WITHOUT_FILTERS: Final = frozenset(
    {"bfifo", "mq", "mqprio", "netem", "noqueue", "pfifo", "pfifo_fast", "pfifo_head_drop", "tbf", "taprio"}
)


def qdisc_request(sequence: int) -> bytes:
    """RTM_GETQDISC for the queueing disciplines of all interfaces."""
    return netlink.request(RTM_GETQDISC, netlink.NLM_F_DUMP, sequence, _MESSAGE.pack(AF_UNSPEC, 0, 0, 0, 0))


def class_request(sequence: int, index: int) -> bytes:
    """RTM_GETTCLASS for the classes of one interface."""
    return netlink.request(RTM_GETTCLASS, netlink.NLM_F_DUMP, sequence, _MESSAGE.pack(AF_UNSPEC, index, 0, 0, 0))


def filter_request(sequence: int, index: int, parent: int) -> bytes:
    """RTM_GETTFILTER for the classifiers at one place of one interface."""
    return netlink.request(RTM_GETTFILTER, netlink.NLM_F_DUMP, sequence, _MESSAGE.pack(AF_UNSPEC, index, 0, parent, 0))


def handle_text(handle: int) -> str:
    """As tc writes it: ``1:``, ``1:10``, ``root``, ``ingress``."""
    if handle == TC_H_ROOT:
        return "root"
    if handle == TC_H_INGRESS:
        return "ingress"
    minor = handle & 0xFFFF
    return f"{handle >> 16:x}:{minor:x}" if minor else f"{handle >> 16:x}:"


def qdiscs(buffers: Iterable[bytes]) -> tuple[dict[int, list[dict[str, Any]]], list[tuple[int, int]]]:
    """``Qdiscs`` by ifindex, and the places (ifindex, parent) where classifiers may be.

    Those that the kernel attaches by itself (handle 0) are left out; what cannot be read is passed over.
    """
    found: dict[int, list[dict[str, Any]]] = {}
    places = []
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type != RTM_NEWQDISC:
                continue
            payload = frame.payload
            try:
                _family, index, handle, parent, _info = a.unpack(_MESSAGE, payload, 0, len(payload))
                attributes = a.read_attributes(_QDISC_ATTRIBUTES, payload, _MESSAGE.size, len(payload))
            except netlink.DecodeError:
                continue
            if not handle:
                continue
            kind = attributes.get("kind", "")
            entry: dict[str, Any] = {"Kind": kind, "Handle": handle_text(handle), "Parent": handle_text(parent)}
            entry.update(_options(disciplines.QDISCS, kind, payload, attributes))
            found.setdefault(index, []).append(entry)
            if kind == "clsact":
                places += [(index, TC_H_MIN_INGRESS), (index, TC_H_MIN_EGRESS)]
            elif kind == "ingress":
                places.append((index, TC_H_MIN_INGRESS))
            elif kind not in _WITHOUT_FILTERS:
                places.append((index, handle))
    return found, places


def _options(
    known: Mapping[str, Options], kind: str, payload: bytes, attributes: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """``Options`` of a discipline or class; nothing for kinds that we do not know, and forms that we do not."""
    if kind not in known or "options" not in attributes:
        return {}
    try:
        found = known[kind].decode(payload, *attributes["options"])
    except netlink.DecodeError:
        return {}
    return {"Options": found} if found else {}


def with_classes(qdiscs: Mapping[int, list[dict[str, Any]]]) -> list[int]:
    """The interfaces that may have classes which somebody has made."""
    return [index for index, found in qdiscs.items() if any(entry["Kind"] in disciplines.CLASSES for entry in found)]


def classes(buffers: Iterable[bytes]) -> list[dict[str, Any]]:
    """The entries of ``Classes`` of one interface, by handle; what cannot be read is passed over."""
    found: dict[int, dict[str, Any]] = {}
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type != RTM_NEWTCLASS:
                continue
            payload = frame.payload
            try:
                _family, _index, handle, parent, leaf = a.unpack(_MESSAGE, payload, 0, len(payload))
                attributes = a.read_attributes(_QDISC_ATTRIBUTES, payload, _MESSAGE.size, len(payload))
            except netlink.DecodeError:
                continue
            kind = attributes.get("kind", "")
            # hfsc tells of its root as of a class.
            if kind not in disciplines.CLASSES or not handle & 0xFFFF:
                continue
            entry: dict[str, Any] = {"Kind": kind, "Handle": handle_text(handle), "Parent": handle_text(parent)}
            if leaf:
                entry["Leaf"] = handle_text(leaf)
            entry.update(_options(disciplines.CLASSES, kind, payload, attributes))
            found[handle] = entry
    return [found[handle] for handle in sorted(found)]


def filters(buffers: Iterable[bytes]) -> list[dict[str, Any]]:
    """The entries of ``Filters`` at one place; what cannot be read is passed over."""
    found = []
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type != RTM_NEWTFILTER:
                continue
            try:
                entry = _filter(frame.payload)
            except netlink.DecodeError:
                continue
            if entry is not None:
                found.append(entry)
    return found


def _filter(payload: bytes) -> dict[str, Any] | None:
    _family, _index, handle, parent, info = a.unpack(_MESSAGE, payload, 0, len(payload))
    # A classifier without a handle stands for its priority, not for something that classifies.
    if not handle:
        return None
    found = a.read_attributes(_FILTER_ATTRIBUTES, payload, _MESSAGE.size, len(payload))
    kind = found.get("kind", "")
    entry: dict[str, Any] = {
        "Kind": kind,
        "Parent": _PLACES.get(parent) or handle_text(parent),
        "Handle": f"{handle:#x}",
        "Priority": info >> 16,
        "Protocol": f"{((info & 0xFF) << 8) | ((info >> 8) & 0xFF):#06x}",
    }
    if found.get("chain"):
        entry["Chain"] = found["chain"]
    if kind == "bpf" and "options" in found:
        program = a.read_attributes(_BPF, payload, *found["options"])
        if program.pop("flags", 0) & _BPF_DIRECT:
            program["DirectAction"] = True
        entry["Program"] = program
    return entry
