"""Actions and instructions as ``Actions``: ``[{Type, Arguments?}]``.

Sources: OpenFlow 1.0, 5.2.4; OpenFlow 1.5.1, 7.2.6 (actions) and 7.2.5 (instructions); ovs-actions(7) and
Open vSwitch's openflow/nicira-ext.h (extensions).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from skydive_probe_ovsdb.errors import BadAnswer
from skydive_probe_ovsdb.openflow import match
from skydive_probe_ovsdb.openflow.wire import OF10

Action = dict[str, Any]
Read = Callable[[bytes, int], dict[str, Any]]
"""The arguments of an action, from its bytes behind the header; the number is the version."""

NICIRA: Final = 0x00002320
_VENDOR: Final = 0xFFFF
_ONF: Final = 0x4F4E4600
_ONF_COPY_FIELD: Final = 3200


def _plain(form: str, *names: str) -> Read:
    """Arguments that lie one after the other."""
    layout = struct.Struct("!" + form)

    def read(raw: bytes, version: int) -> dict[str, Any]:
        return dict(zip(names, layout.unpack_from(raw), strict=True))

    return read


def _address(name: str, form: Callable[[bytes], str], size: int) -> Read:
    return lambda raw, version: {name: form(raw[:size])}


def _nothing(raw: bytes, version: int) -> dict[str, Any]:
    return {}


_OF10_ACTIONS: Final[dict[int, tuple[str, Read]]] = {
    0: ("output", _plain("HH", "Port", "MaxLen")),
    1: ("set_vlan_vid", _plain("H", "VlanVid")),
    2: ("set_vlan_pcp", _plain("B", "VlanPcp")),
    3: ("strip_vlan", _nothing),
    4: ("set_dl_src", _address("DlAddr", match.mac, 6)),
    5: ("set_dl_dst", _address("DlAddr", match.mac, 6)),
    6: ("set_nw_src", _address("NwAddr", match.ipv4, 4)),
    7: ("set_nw_dst", _address("NwAddr", match.ipv4, 4)),
    8: ("set_nw_tos", _plain("B", "NwTos")),
    9: ("set_tp_src", _plain("H", "TpPort")),
    10: ("set_tp_dst", _plain("H", "TpPort")),
    11: ("enqueue", _plain("H6xI", "Port", "QueueId")),
}


def _set_field(raw: bytes, version: int) -> dict[str, Any]:
    return {"Field": _one_field(raw)}


def _one_field(raw: bytes) -> dict[str, Any]:
    _, start, length, _ = match.header(raw, 0)
    return match.fields(raw, 0, start + length)[0]


def _copy_field(raw: bytes, version: int) -> dict[str, Any]:
    bits, source_offset, target_offset = struct.unpack_from("!HHH", raw)
    return _moved(raw, 8, bits, source_offset, target_offset)


def _moved(raw: bytes, at: int, bits: int, source_offset: int, target_offset: int) -> dict[str, Any]:
    source, after = _name(raw, at)
    target, _ = _name(raw, after)
    return {"NBits": bits, "Src": source, "SrcOfs": source_offset, "Dst": target, "DstOfs": target_offset}


def _onf_copy_field(raw: bytes, version: int) -> dict[str, Any]:
    return _moved(raw, 10, *struct.unpack_from("!2xHHH", raw))


def _name(raw: bytes, at: int) -> tuple[str, int]:
    """The name of the field whose header stands here, and where the header ends."""
    name, end, _, _ = match.header(raw, at)
    return name, end


_ACTIONS: Final[dict[int, tuple[str, Read]]] = {
    0: ("output", _plain("IH", "Port", "MaxLen")),
    1: ("set_vlan_vid", _plain("H", "VlanVid")),
    2: ("set_vlan_pcp", _plain("B", "VlanPcp")),
    3: ("set_dl_src", _address("DlAddr", match.mac, 6)),
    4: ("set_dl_dst", _address("DlAddr", match.mac, 6)),
    5: ("set_nw_src", _address("NwAddr", match.ipv4, 4)),
    6: ("set_nw_dst", _address("NwAddr", match.ipv4, 4)),
    7: ("set_nw_tos", _plain("B", "NwTos")),
    8: ("set_nw_ecn", _plain("B", "NwEcn")),
    9: ("set_tp_src", _plain("H", "TpPort")),
    10: ("set_tp_dst", _plain("H", "TpPort")),
    11: ("copy_ttl_out", _nothing),
    12: ("copy_ttl_in", _nothing),
    13: ("set_mpls_label", _plain("I", "MplsLabel")),
    14: ("set_mpls_tc", _plain("B", "MplsTc")),
    15: ("set_mpls_ttl", _plain("B", "MplsTtl")),
    16: ("dec_mpls_ttl", _nothing),
    17: ("push_vlan", _plain("H", "Ethertype")),
    18: ("pop_vlan", _nothing),
    19: ("push_mpls", _plain("H", "Ethertype")),
    20: ("pop_mpls", _plain("H", "Ethertype")),
    21: ("set_queue", _plain("I", "QueueId")),
    22: ("group", _plain("I", "GroupId")),
    23: ("set_nw_ttl", _plain("B", "NwTtl")),
    24: ("dec_nw_ttl", _nothing),
    25: ("set_field", _set_field),
    26: ("push_pbb", _plain("H", "Ethertype")),
    27: ("pop_pbb", _nothing),
    28: ("copy_field", _copy_field),
    29: ("meter", _plain("I", "MeterId")),
}


# The payloads of Nicira's actions begin 10 bytes behind the action's begin: fields of 4 bytes stand after 2 bytes of
# padding, those of 8 after 6.


def _reg_load(raw: bytes, version: int) -> dict[str, Any]:
    (ofs_nbits,) = struct.unpack_from("!H", raw)
    name, end = _name(raw, 2)
    (value,) = struct.unpack_from("!Q", raw, end)
    return {
        "OfsNbits": ofs_nbits,
        "DstField": name,
        "Offset": ofs_nbits >> 6,
        "NBits": (ofs_nbits & 63) + 1,
        "Value": value,
    }


def _reg_move(raw: bytes, version: int) -> dict[str, Any]:
    return _moved(raw, 6, *struct.unpack_from("!HHH", raw))


def _reg_load2(raw: bytes, version: int) -> dict[str, Any]:
    return {"DstField": _one_field(raw[6:])}


def _output_reg(raw: bytes, version: int) -> dict[str, Any]:
    (ofs_nbits,) = struct.unpack_from("!H", raw)
    name, end = _name(raw, 2)
    (most,) = struct.unpack_from("!H", raw, end)
    return {"SrcField": name, "Offset": ofs_nbits >> 6, "NBits": (ofs_nbits & 63) + 1, "MaxLen": most}


def _output_reg2(raw: bytes, version: int) -> dict[str, Any]:
    ofs_nbits, most = struct.unpack_from("!HH", raw)
    name, _ = _name(raw, 4)
    return {"SrcField": name, "Offset": ofs_nbits >> 6, "NBits": (ofs_nbits & 63) + 1, "MaxLen": most}


def _stack(raw: bytes, version: int) -> dict[str, Any]:
    (offset,) = struct.unpack_from("!H", raw)
    name, end = _name(raw, 2)
    (bits,) = struct.unpack_from("!H", raw, end)
    return {"Field": name, "Offset": offset, "NBits": bits}


def _multipath(raw: bytes, version: int) -> dict[str, Any]:
    fields, basis, algorithm, links, argument, ofs_nbits = struct.unpack_from("!HH2xHHI2xH", raw)
    return {
        "Fields": fields, "Basis": basis, "Algorithm": algorithm, "MaxLink": links, "Arg": argument,
        "DstField": _name(raw, 18)[0], "Offset": ofs_nbits >> 6, "NBits": (ofs_nbits & 63) + 1,
    }  # fmt: skip


def _bundle(raw: bytes, version: int) -> dict[str, Any]:
    algorithm, fields, basis, _, count, ofs_nbits = struct.unpack_from("!HHHIHH", raw)
    found: dict[str, Any] = {"Algorithm": algorithm, "Fields": fields, "Basis": basis}
    if any(raw[14:18]):
        found |= {"DstField": _name(raw, 14)[0], "Offset": ofs_nbits >> 6, "NBits": (ofs_nbits & 63) + 1}
    return {**found, "Slaves": list(struct.unpack_from(f"!{count}H", raw, 22))}


def _dec_ttl_ids(raw: bytes, version: int) -> dict[str, Any]:
    (count,) = struct.unpack_from("!H", raw)
    return {"Controllers": list(struct.unpack_from(f"!{count}H", raw, 6))}


def _note(raw: bytes, version: int) -> dict[str, Any]:
    return {"Note": raw.hex()}


def _ct(raw: bytes, version: int) -> dict[str, Any]:
    flags, source = struct.unpack_from("!HI", raw)
    found: dict[str, Any] = {"Flags": flags}
    if source:
        found["ZoneSrc"] = _name(raw, 2)[0]
    value, table, algorithm = struct.unpack_from("!HB3xH", raw, 6)
    found["Value"] = value
    if table != 0xFF:
        found["RecircTable"] = table
    if algorithm:
        found["Alg"] = algorithm
    nested = read(raw[14:], version)
    return {**found, "Actions": nested} if nested else found


_NAT_RANGE: Final = (
    ("IPv4Min", 4, match.ipv4),
    ("IPv4Max", 4, match.ipv4),
    ("IPv6Min", 16, match.ipv6),
    ("IPv6Max", 16, match.ipv6),
    ("ProtoMin", 2, match.number),
    ("ProtoMax", 2, match.number),
)


def _nat(raw: bytes, version: int) -> dict[str, Any]:
    flags, present = struct.unpack_from("!2xHH", raw)
    found: dict[str, Any] = {"Flags": flags}
    at = 6
    for bit, (name, size, form) in enumerate(_NAT_RANGE):
        if present >> bit & 1:
            found[name] = form(raw[at : at + size])
            at += size
    return found


def _clone(raw: bytes, version: int) -> dict[str, Any]:
    return {"Actions": read(raw[6:], version)}


def _learn(raw: bytes, version: int) -> dict[str, Any]:
    idle, hard, priority, cookie, flags, table, fin_idle, fin_hard = struct.unpack_from("!HHHQHBxHH", raw)
    return {
        "IdleTimeout": idle, "HardTimeout": hard, "Priority": priority, "Cookie": cookie, "Flags": flags,
        "TableId": table, "FinIdleTimeout": fin_idle, "FinHardTimeout": fin_hard, "FlowMods": list(_flow_mods(raw, 22)),
    }  # fmt: skip


def _learn2(raw: bytes, version: int) -> dict[str, Any]:
    found = _learn(raw, version) if len(raw) >= 22 else {}
    (limit, ofs_nbits) = struct.unpack_from("!IH", raw, 22)
    at = 30
    if flags := found.get("Flags", 0) & 4:
        _, at = _name(raw, at)
    return {**found, "Limit": limit, "ResultOfs": ofs_nbits if flags else 0, "FlowMods": list(_flow_mods(raw, at))}


def _flow_mods(raw: bytes, at: int) -> Iterator[dict[str, Any]]:
    """What a learned rule matches and does: nicira-ext.h, "flow_mod_spec"."""
    while at + 2 <= len(raw):
        (head,) = struct.unpack_from("!H", raw, at)
        if not head:
            return
        at += 2
        bits, kind = head & 0x7FF, head >> 11 & 3
        found: dict[str, Any] = {"NBits": bits}
        if head & 0x2000:
            size = (bits + 15) // 16 * 2
            found["Value"] = match.number(raw[at : at + size])
            at += size
        else:
            found["Src"], at = _name(raw, at)
            (found["SrcOfs"],) = struct.unpack_from("!H", raw, at)
            at += 2
        if kind != 2:
            found["Dst"], at = _name(raw, at)
            (found["DstOfs"],) = struct.unpack_from("!H", raw, at)
            at += 2
        yield {"Type": ("match", "load", "output", "reserved")[kind], **found}


_NX: Final[dict[int, tuple[str, Read]]] = {
    1: ("nx_resubmit", _plain("H", "InPort")),
    2: ("nx_set_tunnel", _plain("2xI", "TunId")),
    4: ("nx_set_queue", _plain("2xI", "QueueId")),
    5: ("nx_pop_queue", _nothing),
    6: ("nx_reg_move", _reg_move),
    7: ("nx_reg_load", _reg_load),
    8: ("nx_note", _note),
    9: ("nx_set_tunnel64", _plain("6xQ", "TunId")),
    10: ("nx_multipath", _multipath),
    12: ("nx_bundle", _bundle),
    13: ("nx_bundle_load", _bundle),
    14: ("nx_resubmit_table", _plain("HB", "InPort", "Table")),
    15: ("nx_output_reg", _output_reg),
    16: ("nx_learn", _learn),
    17: ("nx_exit", _nothing),
    18: ("nx_dec_ttl", _nothing),
    19: ("nx_fin_timeout", _plain("HH", "FinIdleTimeout", "FinHardTimeout")),
    20: ("nx_controller", _plain("HHB", "MaxLen", "ControllerId", "Reason")),
    21: ("nx_dec_ttl_cnt_ids", _dec_ttl_ids),
    22: ("nx_write_metadata", _plain("6xQQ", "Metadata", "Mask")),
    23: ("nx_push_mpls", _plain("H", "Ethertype")),
    24: ("nx_pop_mpls", _plain("H", "Ethertype")),
    25: ("nx_set_mpls_ttl", _plain("B", "Ttl")),
    26: ("nx_dec_mpls_ttl", _nothing),
    27: ("nx_stack_push", _stack),
    28: ("nx_stack_pop", _stack),
    29: ("nx_sample", _plain("HIII", "Probability", "CollectorSetId", "ObsDomainId", "ObsPointId")),
    30: ("nx_set_mpls_label", _plain("2xI", "Label")),
    31: ("nx_set_mpls_tc", _plain("B", "Tc")),
    32: ("nx_output_reg2", _output_reg2),
    33: ("nx_reg_load2", _reg_load2),
    34: ("nx_conjunction", _plain("BBI", "Clause", "NClauses", "Id")),
    35: ("nx_ct", _ct),
    36: ("nx_nat", _nat),
    37: ("nx_controller2", lambda raw, version: {"Data": raw[6:].hex()}),
    38: (
        "nx_sample2",
        _plain("HIIIHB", "Probability", "CollectorSetId", "ObsDomainId", "ObsPointId", "Port", "Direction"),
    ),
    39: ("nx_output_trunc", _plain("HI", "Port", "MaxLen")),
    40: ("nx_group", _plain("2xI", "GroupId")),
    41: (
        "nx_sample3",
        _plain("HIIIHB", "Probability", "CollectorSetId", "ObsDomainId", "ObsPointId", "Port", "Direction"),
    ),
    42: ("nx_clone", _clone),
    43: ("nx_ct_clear", _nothing),
    44: ("nx_resubmit_table_ct", _plain("HB", "InPort", "Table")),
    45: ("nx_learn2", _learn2),
    48: ("nx_dec_nsh_ttl", _nothing),
}


def read(raw: bytes, version: int) -> list[Action]:
    """The actions that fill these bytes; raises BadAnswer.  An action that is not known is shown with its bytes."""
    found: list[Action] = []
    at = 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise BadAnswer("an action without its header")
        type, length = struct.unpack_from("!HH", raw, at)
        if length < 8 or length % 8 or at + length > len(raw):
            raise BadAnswer(f"an action of type {type} with {length} bytes, which is not there")
        found.append(_action(type, raw[at + 4 : at + length], version))
        at += length
    return found


def _action(type: int, payload: bytes, version: int) -> Action:
    try:
        if type != _VENDOR:
            name, arguments = (_OF10_ACTIONS if version == OF10 else _ACTIONS)[type]
        else:
            vendor, subtype = struct.unpack_from("!IH", payload)
            payload = payload[6:]
            if (vendor, subtype) == (_ONF, _ONF_COPY_FIELD):
                return {"Type": "copy_field", "Arguments": _onf_copy_field(payload, version)}
            if vendor != NICIRA:
                return {"Type": f"experimenter_{vendor:x}_{subtype}", "Arguments": {"Data": payload.hex()}}
            name, arguments = _NX[subtype]
    except KeyError as error:
        word = "nx" if type == _VENDOR else "action"
        return {"Type": f"{word}_{error.args[0]}", "Arguments": {"Data": payload.hex()}}
    except struct.error as error:
        raise BadAnswer(f"an action of type {type} that is cut off") from error
    try:
        shown = arguments(payload, version)
    except (struct.error, ValueError, IndexError, RecursionError) as error:
        raise BadAnswer(f"the arguments of {name} cannot be read: {error}") from error
    return {"Type": name, "Arguments": shown} if shown else {"Type": name}


def instructions(raw: bytes, version: int) -> dict[str, Any]:
    """``Actions``, ``WriteActions`` and ``GotoTable`` of instructions (OpenFlow 1.1 and later); raises BadAnswer."""
    found: dict[str, Any] = {}
    done: list[Action] = []
    at = 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise BadAnswer("an instruction without its header")
        type, length = struct.unpack_from("!HH", raw, at)
        if length < 4 or at + length > len(raw):
            raise BadAnswer(f"an instruction of type {type} with {length} bytes, which is not there")
        body = raw[at + 4 : at + length]
        at += length
        try:
            if type == 1:
                found["GotoTable"] = body[0]
            elif type == 2:
                metadata, mask = struct.unpack_from("!4xQQ", body)
                done.append({"Type": "write_metadata", "Arguments": {"Metadata": metadata, "Mask": mask}})
            elif type == 3:
                found["WriteActions"] = read(body[4:], version)
            elif type == 4:
                done += read(body[4:], version)
            elif type == 5:
                done.append({"Type": "clear_actions"})
            elif type == 6:
                done.append({"Type": "meter", "Arguments": {"MeterId": struct.unpack_from("!I", body)[0]}})
            else:
                done.append({"Type": f"instruction_{type}", "Arguments": {"Data": body.hex()}})
        except (struct.error, IndexError) as error:
            raise BadAnswer(f"an instruction of type {type} that is cut off") from error
    if done or not found:
        found["Actions"] = done or [{"Type": "drop"}]
    return found
