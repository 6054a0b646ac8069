"""Every key that this plugin writes, with its meaning or unit and its source: what README.md shows."""

from __future__ import annotations

from typing import Final

import attrs

from skydive_probe_ethtool.aspects import ASPECTS, FEATURES, LINKMODES

_SPECIAL: Final = {
    "LinkModes": "`Supported`, `Advertised`, `Peer`: names of link modes",
    "Fec.Modes": "names of modes",
    "Fec.Active": "name of a mode",
}


@attrs.frozen
class Key:
    """One key, as a path of keys; ``unit`` also says what it means where the name does not."""

    path: str
    unit: str
    source: str


def all_keys() -> list[Key]:
    """All keys, in the order of the document."""
    drvinfo = "ETHTOOL_GDRVINFO"
    found = [
        Key("Features", "feature name → is it active", f"{_message(FEATURES.name)}, ACTIVE"),
        Key("Speed", "Mb/s; absent when unknown", f"{_message(LINKMODES.name)}, SPEED"),
        Key("BusInfo", "bus address, such as `0000:03:00.0`", drvinfo),
        Key("VfBusInfo", "PCI addresses of its virtual functions, by their number", "sysfs, `virtfnN`"),
        Key("PfBusInfo", "PCI address of its physical function", "sysfs, `physfn`"),
        Key("VfID", "number of this virtual function", "sysfs, `virtfnN` of `physfn`"),
        Key("NumaNode", "NUMA node of the device", "sysfs, `numa_node`"),
        Key("Ethtool.DriverVersion", "absent when it is the kernel's own release", drvinfo),
        Key("Ethtool.FirmwareVersion", "as the driver writes it", drvinfo),
        Key("Ethtool.RomVersion", "as the driver writes it", drvinfo),
        Key(
            "Ethtool.RequestedFeatures",
            "features that are wished otherwise than they are: name → the wish",
            f"{_message(FEATURES.name)}, HW, WANTED, ACTIVE",
        ),
        Key("Ethtool.LinkModes", _SPECIAL["LinkModes"], f"{_message(LINKMODES.name)}, OURS, PEER"),
    ]
    for aspect in ASPECTS:
        if aspect is FEATURES:
            continue
        for field in aspect.fields:
            if aspect is LINKMODES and field.key in {"Ours", "Peer", "Speed"}:
                continue
            path = ".".join(part for part in (aspect.key, field.key) if part)
            found.append(Key(f"Ethtool.{path}", _SPECIAL.get(path, field.unit), _message(aspect.name)))
    eeprom = "ETHTOOL_MSG_MODULE_EEPROM_GET"
    found += [
        Key(f"Ethtool.Module.{name}", unit, eeprom)
        for name, unit in (
            ("Identifier", "kind of module (SFF-8024)"),
            ("Connector", "kind of connector (SFF-8024)"),
            ("Vendor", "text"),
            ("PartNumber", "text"),
            ("HardwareRevision", "text"),
            ("SerialNumber", "text"),
            ("DateCode", "text, year first"),
        )
    ]
    found += [
        Key("EthtoolStatistics.Driver", "counter of the driver → count", "ETHTOOL_GSTATS"),
        Key("EthtoolStatistics.Omitted", "counters beyond `statistics_limit`", "ETHTOOL_GSTATS"),
        *(
            Key(f"EthtoolStatistics.{group}", "counter of IEEE 802.3 or RFC 2819 → count", "ETHTOOL_MSG_STATS_GET")
            for group in ("EthPhy", "EthMac", "EthCtrl", "Rmon")
        ),
        Key("EthtoolStatistics.Pause", "`TxFrames`, `RxFrames`", "ETHTOOL_MSG_PAUSE_GET, STATS"),
        Key(
            "EthtoolStatistics.Fec",
            "`Corrected`, `Uncorrectable` blocks, `CorrectedBits`",
            "ETHTOOL_MSG_FEC_GET, STATS",
        ),
        Key(
            "EthtoolStatistics.Module",
            "`Temperature` °C, `Voltage` V, `BiasCurrent` mA, `TxPower` and `RxPower` dBm",
            eeprom,
        ),
    ]
    return found


def table() -> str:
    """The keys as the rows of a Markdown table."""
    return "\n".join(f"| `{key.path}` | {key.unit} | {key.source} |" for key in all_keys())


def _message(aspect: str) -> str:
    return f"ETHTOOL_MSG_{aspect.upper()}_GET"
