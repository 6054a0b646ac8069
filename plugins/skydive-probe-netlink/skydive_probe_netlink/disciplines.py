"""The options of queueing disciplines and of their classes: how TCA_OPTIONS of each kind is read, and into which keys.

Structures, attributes and their numbers are those of linux/pkt_sched.h.  Rates are in bytes a second and times in
microseconds, as the kernel has them; its packet scheduler counts in ticks of 64 ns (include/net/pkt_sched.h,
PSCHED_SHIFT).  What is 0 or absent is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.kinds import Document, Field

_TICKS_A_SECOND: Final = 15_625_000
_TICKS_A_MICROSECOND: Final = 15.625
_ALL_OF_32_BITS: Final = 1 << 32


@attrs.frozen
class Part:
    """One member of the structure at the start of TCA_OPTIONS, or of one that an attribute holds."""

    key: str
    source: str
    unit: str = ""


@attrs.frozen
class Options:
    """How the options of one kind are read.

    ``head`` reads the structure of ``size`` bytes with which they begin, or attributes that belong together; ``parts``
    name what it gives.  ``fields`` are the attributes that follow.
    """

    fields: tuple[Field, ...] = ()
    parts: tuple[Part, ...] = ()
    head: a.Read | None = None
    size: int = 0
    attributes: Document = attrs.field(init=False, repr=False, eq=False)

    @attributes.default
    def _attributes(self) -> Document:
        return Document("", self.fields)

    def decode(self, payload: bytes, start: int, end: int) -> dict[str, Any]:
        """The options as metadata; raises DecodeError."""
        found = self.head(payload, start, end) if self.head is not None else {}
        if self.fields:
            found.update(self.attributes.decode(payload, start + a.aligned(self.size), end))
            # What stands in a structure inside an attribute has its own keys.
            found.update(found.pop(_STRUCTURE, {}))
        shown = {part.key for part in self.all_parts()}
        return {key: value for key, value in found.items() if key in shown and (value or value is False)}

    def all_parts(self) -> Iterator[Part]:
        """The keys that ``decode`` may give."""
        yield from self.parts
        for field in self.fields:
            if field.key != _STRUCTURE:
                yield Part(field.key, field.source, field.unit)


_STRUCTURE: Final = "(structure)"


def _flag(payload: bytes, start: int, end: int) -> bool:
    return bool(a.u32(payload, start, end))


def _share(number: int) -> float:
    """A probability, from a part of 2³² to a part of 1."""
    return round(number / _ALL_OF_32_BITS, 6)


def _bytes_in(ticks: int, rate: int) -> int:
    """How much a bucket holds that is kept as the time it lasts at a rate."""
    # The kernel has cut off a part of a tick.
    return (ticks * rate + _TICKS_A_SECOND // 2) // _TICKS_A_SECOND


def _numbers(names: Mapping[int, tuple[str, str, str]], read: a.Read = a.u32) -> tuple[Field, ...]:
    """Fields of one form: number → key, name in the header, unit."""
    return tuple(Field(key, source, number, read, unit) for number, (key, source, unit) in names.items())


# ------------------------------------------------------------------ shapers

_RATE = struct.Struct("=8xI")  # struct tc_ratespec: its member rate
_TBF = struct.Struct("=12s12sIII")  # struct tc_tbf_qopt
_HTB = struct.Struct("=12s12sIIIII")  # struct tc_htb_opt
_HTB_GLOBAL = struct.Struct("=IIIII")  # struct tc_htb_glob
_RATE64: Final = "(rate64)"
_PEAK64: Final = "(peak64)"


def _rate(specification: bytes, wide: int) -> int:
    """Rates of 2³² and more stand in an attribute of their own."""
    number: int = _RATE.unpack(specification)[0]
    return wide or number


def _tbf(payload: bytes, start: int, end: int) -> dict[str, Any]:
    wide = a.read_attributes({4: (_RATE64, a.u64), 5: (_PEAK64, a.u64), 1: ("parms", a.raw)}, payload, start, end)
    rate, peak, limit, buffer, mtu = a.unpack(_TBF, wide.get("parms", b""), 0, len(wide.get("parms", b"")))
    rate, peak = _rate(rate, wide.get(_RATE64, 0)), _rate(peak, wide.get(_PEAK64, 0))
    return {
        "Rate": rate,
        "PeakRate": peak,
        "Limit": limit,
        "Burst": _bytes_in(buffer, rate),
        "MinBurst": _bytes_in(mtu, peak),
    }


def _htb_class(payload: bytes, start: int, end: int) -> dict[str, Any]:
    wide = a.read_attributes({6: (_RATE64, a.u64), 7: (_PEAK64, a.u64), 1: ("parms", a.raw)}, payload, start, end)
    parms = wide.get("parms", b"")
    rate, ceil, buffer, cbuffer, quantum, level, priority = a.unpack(_HTB, parms, 0, len(parms))
    rate, ceil = _rate(rate, wide.get(_RATE64, 0)), _rate(ceil, wide.get(_PEAK64, 0))
    return {
        "Rate": rate,
        "Ceil": ceil,
        "Burst": _bytes_in(buffer, rate),
        "CeilBurst": _bytes_in(cbuffer, ceil),
        "Quantum": quantum,
        "Level": level,
        "Priority": priority,
    }


def _htb(payload: bytes, start: int, end: int) -> dict[str, Any]:
    _version, r2q, default, _debug, _direct = a.unpack(_HTB_GLOBAL, payload, start, end)
    return {"RateToQuantum": r2q, "Default": f"{default:#x}" if default else ""}


_CURVE = struct.Struct("=III")  # struct tc_service_curve


def _curve(payload: bytes, start: int, end: int) -> dict[str, int]:
    first, duration, second = a.unpack(_CURVE, payload, start, end)
    return {"Rate": second, **({"FirstRate": first, "FirstTime": duration} if duration else {})}


# ------------------------------------------------------------------ fixed structures

_FIFO = struct.Struct("=I")  # struct tc_fifo_qopt
_PRIO = struct.Struct("=i16B")  # struct tc_prio_qopt
_SFQ = struct.Struct("=IiIII")  # struct tc_sfq_qopt
_RED = struct.Struct("=IIIBBBB")  # struct tc_red_qopt
_NETEM = struct.Struct("=IIIIII")  # struct tc_netem_qopt
_NETEM_RATE = struct.Struct("=IiIi")  # struct tc_netem_rate
_PAIR = struct.Struct("=II")  # struct tc_netem_reorder, struct tc_netem_corrupt
_MQPRIO = struct.Struct("=B16BB16H16H")  # struct tc_mqprio_qopt
_HFSC = struct.Struct("=H")  # struct tc_hfsc_qopt


def _fifo(payload: bytes, start: int, end: int) -> dict[str, Any]:
    return {"Limit": a.unpack(_FIFO, payload, start, end)[0]}


def _prio(payload: bytes, start: int, end: int) -> dict[str, Any]:
    bands, *priorities = a.unpack(_PRIO, payload, start, end)
    return {"Bands": bands, "PriorityMap": priorities}


def _sfq(payload: bytes, start: int, end: int) -> dict[str, Any]:
    quantum, perturb, limit, divisor, flows = a.unpack(_SFQ, payload, start, end)
    return {"Quantum": quantum, "Perturb": perturb, "Limit": limit, "Divisor": divisor, "Flows": flows}


def _red(payload: bytes, start: int, end: int) -> dict[str, Any]:
    limit, low, high, *_logs = a.unpack(_RED, payload, start, end)
    return {"Limit": limit, "Min": low, "Max": high}


def _mqprio(payload: bytes, start: int, end: int) -> dict[str, Any]:
    found = a.unpack(_MQPRIO, payload, start, end)
    classes = min(found[0], 16)
    counts, offsets = found[18 : 18 + classes], found[34 : 34 + classes]
    queues = [f"{count}@{offset}" for count, offset in zip(counts, offsets, strict=True)]
    return {"Classes": classes, "PriorityMap": list(found[1:17]), "Hardware": bool(found[17]), "Queues": queues}


def _hfsc(payload: bytes, start: int, end: int) -> dict[str, Any]:
    default = a.unpack(_HFSC, payload, start, end)[0]
    return {"Default": f"{default:#x}" if default else ""}


def _netem(payload: bytes, start: int, end: int) -> dict[str, Any]:
    latency, limit, loss, gap, duplicate, jitter = a.unpack(_NETEM, payload, start, end)
    rates = a.read_attributes({6: ("narrow", _netem_rate), 8: ("wide", a.u64)}, payload, start + _NETEM.size, end)
    return {
        "Rate": rates.get("wide") or rates.get("narrow"),
        "Delay": round(latency / _TICKS_A_MICROSECOND),
        "Jitter": round(jitter / _TICKS_A_MICROSECOND),
        "Limit": limit,
        "Loss": _share(loss),
        "Duplicate": _share(duplicate),
        "Gap": gap,
    }


def _first_share(payload: bytes, start: int, end: int) -> float:
    return _share(a.unpack(_PAIR, payload, start, end)[0])


def _netem_rate(payload: bytes, start: int, end: int) -> int:
    rate: int = a.unpack(_NETEM_RATE, payload, start, end)[0]
    return rate


_MICROSECONDS: Final = a.scaled(a.u64, 1000)
_PARTS_FIFO: Final = (Part("Limit", "tc_fifo_qopt.limit", "packets; bytes of bfifo"),)
_PARTS_PRIO: Final = (
    Part("Bands", "tc_prio_qopt.bands"),
    Part("PriorityMap", "tc_prio_qopt.priomap", "band of each priority"),
)

QDISCS: Final[Mapping[str, Options]] = {
    **dict.fromkeys(("bfifo", "pfifo", "pfifo_head_drop"), Options((), _PARTS_FIFO, _fifo, _FIFO.size)),
    **dict.fromkeys(("pfifo_fast", "prio"), Options((), _PARTS_PRIO, _prio, _PRIO.size)),
    "cake": Options(
        (
            Field("Bandwidth", "TCA_CAKE_BASE_RATE64", 2, a.u64, "bytes/s"),
            *_numbers(
                {
                    6: ("Overhead", "TCA_CAKE_OVERHEAD", "bytes"),
                    7: ("RTT", "TCA_CAKE_RTT", "us"),
                    8: ("Target", "TCA_CAKE_TARGET", "us"),
                    10: ("MemoryLimit", "TCA_CAKE_MEMORY", "bytes"),
                    14: ("MPU", "TCA_CAKE_MPU", "bytes"),
                    18: ("FwMark", "TCA_CAKE_FWMARK", ""),
                }
            ),
            *_numbers(
                {
                    9: ("Autorate", "TCA_CAKE_AUTORATE", ""),
                    11: ("NAT", "TCA_CAKE_NAT", ""),
                    13: ("Wash", "TCA_CAKE_WASH", ""),
                    15: ("Ingress", "TCA_CAKE_INGRESS", ""),
                    17: ("SplitGSO", "TCA_CAKE_SPLIT_GSO", ""),
                },
                _flag,
            ),
        )
    ),
    "codel": Options(
        (
            *_numbers(
                {
                    1: ("Target", "TCA_CODEL_TARGET", "us"),
                    2: ("Limit", "TCA_CODEL_LIMIT", "packets"),
                    3: ("Interval", "TCA_CODEL_INTERVAL", "us"),
                }
            ),
            Field("ECN", "TCA_CODEL_ECN", 4, _flag),
            Field("CEThreshold", "TCA_CODEL_CE_THRESHOLD", 5, a.u32, "us"),
        )
    ),
    "fq": Options(
        (
            *_numbers(
                {
                    1: ("Limit", "TCA_FQ_PLIMIT", "packets"),
                    2: ("FlowLimit", "TCA_FQ_FLOW_PLIMIT", "packets"),
                    3: ("Quantum", "TCA_FQ_QUANTUM", "bytes"),
                    4: ("InitialQuantum", "TCA_FQ_INITIAL_QUANTUM", "bytes"),
                    8: ("BucketsLog", "TCA_FQ_BUCKETS_LOG", ""),
                    9: ("RefillDelay", "TCA_FQ_FLOW_REFILL_DELAY", "us"),
                    11: ("LowRateThreshold", "TCA_FQ_LOW_RATE_THRESHOLD", "bytes/s"),
                    14: ("Horizon", "TCA_FQ_HORIZON", "us"),
                }
            ),
            Field("Pacing", "TCA_FQ_RATE_ENABLE", 5, _flag),
        )
    ),
    "fq_codel": Options(
        (
            *_numbers(
                {
                    1: ("Target", "TCA_FQ_CODEL_TARGET", "us"),
                    2: ("Limit", "TCA_FQ_CODEL_LIMIT", "packets"),
                    3: ("Interval", "TCA_FQ_CODEL_INTERVAL", "us"),
                    5: ("Flows", "TCA_FQ_CODEL_FLOWS", ""),
                    6: ("Quantum", "TCA_FQ_CODEL_QUANTUM", "bytes"),
                    8: ("DropBatch", "TCA_FQ_CODEL_DROP_BATCH_SIZE", "packets"),
                    9: ("MemoryLimit", "TCA_FQ_CODEL_MEMORY_LIMIT", "bytes"),
                }
            ),
            Field("ECN", "TCA_FQ_CODEL_ECN", 4, _flag),
            Field("CEThreshold", "TCA_FQ_CODEL_CE_THRESHOLD", 7, a.u32, "us"),
        )
    ),
    "hfsc": Options((), (Part("Default", "tc_hfsc_qopt.defcls", "minor number"),), _hfsc, _HFSC.size),
    "htb": Options(
        (
            Field(_STRUCTURE, "TCA_HTB_INIT", 2, _htb),
            Field("DirectQueueLength", "TCA_HTB_DIRECT_QLEN", 5, a.u32, "packets"),
            Field("Offload", "TCA_HTB_OFFLOAD", 9, a.present),
        ),
        (
            Part("RateToQuantum", "tc_htb_glob.rate2quantum"),
            Part("Default", "tc_htb_glob.defcls", "minor number"),
        ),
    ),
    "mqprio": Options(
        (),
        (
            Part("Classes", "tc_mqprio_qopt.num_tc"),
            Part("PriorityMap", "tc_mqprio_qopt.prio_tc_map", "class of each priority"),
            Part("Hardware", "tc_mqprio_qopt.hw"),
            Part("Queues", "tc_mqprio_qopt.count, offset", "`count@offset` of each class"),
        ),
        _mqprio,
        _MQPRIO.size,
    ),
    "netem": Options(
        (
            Field("Delay", "TCA_NETEM_LATENCY64", 10, _MICROSECONDS, "us"),
            Field("Jitter", "TCA_NETEM_JITTER64", 11, _MICROSECONDS, "us"),
            Field("Reorder", "TCA_NETEM_REORDER", 3, _first_share, "part of 1"),
            Field("Corrupt", "TCA_NETEM_CORRUPT", 4, _first_share, "part of 1"),
            Field("ECN", "TCA_NETEM_ECN", 7, _flag),
        ),
        (
            Part("Limit", "tc_netem_qopt.limit", "packets"),
            Part("Loss", "tc_netem_qopt.loss", "part of 1"),
            Part("Duplicate", "tc_netem_qopt.duplicate", "part of 1"),
            Part("Gap", "tc_netem_qopt.gap", "packets"),
            Part("Rate", "TCA_NETEM_RATE, TCA_NETEM_RATE64", "bytes/s"),
        ),
        _netem,
        _NETEM.size,
    ),
    "pie": Options(
        (
            *_numbers(
                {
                    1: ("Target", "TCA_PIE_TARGET", "us"),
                    2: ("Limit", "TCA_PIE_LIMIT", "packets"),
                    3: ("Update", "TCA_PIE_TUPDATE", "us"),
                    4: ("Alpha", "TCA_PIE_ALPHA", ""),
                    5: ("Beta", "TCA_PIE_BETA", ""),
                }
            ),
            Field("ECN", "TCA_PIE_ECN", 6, _flag),
        )
    ),
    "red": Options(
        (Field(_STRUCTURE, "TCA_RED_PARMS", 1, _red),),
        (
            Part("Limit", "tc_red_qopt.limit", "bytes"),
            Part("Min", "tc_red_qopt.qth_min", "bytes"),
            Part("Max", "tc_red_qopt.qth_max", "bytes"),
        ),
    ),
    "sfq": Options(
        (),
        (
            Part("Quantum", "tc_sfq_qopt.quantum", "bytes"),
            Part("Perturb", "tc_sfq_qopt.perturb_period", "s"),
            Part("Limit", "tc_sfq_qopt.limit", "packets"),
            Part("Divisor", "tc_sfq_qopt.divisor"),
            Part("Flows", "tc_sfq_qopt.flows"),
        ),
        _sfq,
        _SFQ.size,
    ),
    "tbf": Options(
        (),
        (
            Part("Rate", "tc_tbf_qopt.rate, TCA_TBF_RATE64", "bytes/s"),
            Part("PeakRate", "tc_tbf_qopt.peakrate, TCA_TBF_PRATE64", "bytes/s"),
            Part("Limit", "tc_tbf_qopt.limit", "bytes"),
            Part("Burst", "tc_tbf_qopt.buffer", "bytes"),
            Part("MinBurst", "tc_tbf_qopt.mtu", "bytes"),
        ),
        _tbf,
    ),
}
"""By TCA_KIND; of other queueing disciplines no options are shown."""

CLASSES: Final[Mapping[str, Options]] = {
    "drr": Options((Field("Quantum", "TCA_DRR_QUANTUM", 1, a.u32, "bytes"),)),
    "hfsc": Options(
        (
            Field("RealTime", "TCA_HFSC_RSC", 1, _curve, "Rate, FirstRate in bytes/s, FirstTime in us"),
            Field("LinkShare", "TCA_HFSC_FSC", 2, _curve, "the same"),
            Field("UpperLimit", "TCA_HFSC_USC", 3, _curve, "the same"),
        )
    ),
    "htb": Options(
        (),
        (
            Part("Rate", "tc_htb_opt.rate, TCA_HTB_RATE64", "bytes/s"),
            Part("Ceil", "tc_htb_opt.ceil, TCA_HTB_CEIL64", "bytes/s"),
            Part("Burst", "tc_htb_opt.buffer", "bytes"),
            Part("CeilBurst", "tc_htb_opt.cbuffer", "bytes"),
            Part("Quantum", "tc_htb_opt.quantum", "bytes"),
            Part("Level", "tc_htb_opt.level"),
            Part("Priority", "tc_htb_opt.prio"),
        ),
        _htb_class,
    ),
    "qfq": Options(
        (
            Field("Weight", "TCA_QFQ_WEIGHT", 1, a.u32),
            Field("MaxPacket", "TCA_QFQ_LMAX", 2, a.u32, "bytes"),
        )
    ),
}
"""The same for the classes that somebody has made; those that disciplines make by themselves are not shown."""
