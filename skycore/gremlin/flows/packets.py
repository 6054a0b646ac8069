"""``RawPackets`` and ``BPF``: packets as they were captured."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Final, final

import attrs

from skycore.flow.evaluation import decode
from skycore.flow.query import RawPacket
from skycore.gremlin.flows.taking import flow_reader, span_of
from skycore.gremlin.operation import FLOWS, RAW_PACKETS, Execution, Kind, Operation, Stream, Work, chunks
from skycore.gremlin.registry import Call, StepDefinition, step

_AT_A_TIME: Final = 1024
_ETHERNET: Final = 1
_SNAP_LENGTH: Final = 1 << 16
_DLT_OF_LINK_TYPE: Final = {101: 12}
"""pcap_compile takes DLT_ numbers, which for raw IP differs from its LINKTYPE_ (tcpdump.org/linktypes.html)."""


@final
@attrs.frozen
class PacketsOfFlows(Operation):
    """The packets that were kept of each flow; flows without any are left out."""

    looks_around: ClassVar[bool] = False

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        reader, span = flow_reader(execution), span_of(execution)
        items: list[tuple[str, Sequence[RawPacket]]] = []
        size = held = 0
        for part in chunks(stream.items, _AT_A_TIME):
            flows = [flow for flow in map(decode, part) if flow.get("RawPacketsCaptured")]
            if not flows:
                yield
                continue
            uuids = [flow["UUID"] for flow in flows]
            nodes = frozenset(flow["NodeTID"] for flow in flows if "NodeTID" in flow)
            ask = partial(reader.raw_packets, uuids, nodes, span, execution.tell)
            found = yield from execution.wait_for(ask)
            for uuid in uuids:
                packets = found.get(uuid)
                if packets:
                    items.append((uuid, packets))
                    held += len(packets)
                    size += sum(len(packet.Data) for packet in packets)
            execution.hold(held)
            execution.hold_bytes(size)
        return Stream(RAW_PACKETS, items)


@step("RawPackets", parameters="()", gives={FLOWS: RAW_PACKETS})
def raw_packets(call: Call, kind: Kind) -> Operation:
    """The packets that were kept of each flow (`RawPacketLimit` of its capture); with `Accept`, a file of them."""
    call.refuse_parameters()
    return PacketsOfFlows()


@final
@attrs.frozen
class MatchPackets(Operation):
    """Keep the packets that a filter of libpcap matches; what has none then stays, with nothing."""

    looks_around: ClassVar[bool] = False

    expression: str

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        programs: dict[int, Any] = {}
        items: list[tuple[str, Sequence[RawPacket] | None]] = []
        for part in chunks(stream.items, _AT_A_TIME):
            for uuid, packets in part:
                kept: list[RawPacket] = []
                for packet in packets or ():
                    if packet.LinkType not in programs:
                        programs[packet.LinkType] = self._program(execution, packet.LinkType)
                    if programs[packet.LinkType].filter(packet.Data):
                        kept.append(packet)
                items.append((uuid, kept or None))
            yield
        return Stream(RAW_PACKETS, items)

    def _program(self, execution: Execution, link_type: int) -> Any:
        try:
            return compiled(self.expression, link_type)
        except ValueError as error:
            raise execution.error(f"BPF cannot be used on packets of link type {link_type}: {error}") from error


def compiled(expression: str, link_type: int) -> Any:
    """The filter's program for packets of a LINKTYPE_.  Raises ValueError, saying why there is none."""
    # Imported here: agents that capture nothing do not have it.
    try:
        import pcapy  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(f"this needs the package pcapy-ng: {error}") from error
    try:
        return pcapy.compile(_DLT_OF_LINK_TYPE.get(link_type, link_type), _SNAP_LENGTH, expression, 1, 0)
    except (pcapy.PcapError, pcapy.BPFError) as error:
        raise ValueError(str(error)) from error


@step("BPF", parameters="(expression)", gives={RAW_PACKETS: RAW_PACKETS})
def bpf(call: Call, kind: Kind) -> Operation:
    """Keeps the packets that an expression in the syntax of libpcap matches; a flow left with none has `null`."""
    expression = call.one_text(f"BPF requires 1 parameter : {call.shown()}")
    try:
        compiled(expression, _ETHERNET)
    except ValueError as error:
        raise call.error(f"the BPF expression is wrong: {error}", call.arguments[0]) from error
    return MatchPackets(expression)


STEPS: tuple[StepDefinition, ...] = (raw_packets, bpf)
