"""What ethtool tells of an interface, in the words of the graph."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import attrs

from skydive_probe_ethtool.aspects import ASPECTS
from skydive_probe_ethtool.ioctl import DriverInfo
from skydive_probe_ethtool.strings import Bits

_FEC_MODES: Final = {"None": "Off"}
_RELEASE: Final = os.uname().release


@attrs.frozen
class Names:
    """Names of bits, the same for all interfaces of a kernel."""

    features: Sequence[str] = ()
    link_modes: Sequence[str] = ()


@attrs.define
class Interface:
    """What is known of one interface; ``aspects`` are their values by name, ``pci`` the keys of its PCI function."""

    name: bytes
    aspects: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    driver: DriverInfo | None = None
    transceiver: dict[str, Any] = attrs.field(factory=dict)
    pci: dict[str, Any] = attrs.field(factory=dict)
    statistics: dict[str, Any] = attrs.field(factory=dict)


def interface_metadata(interface: Interface, names: Names) -> dict[str, Any]:
    """Metadata of an interface's node; what the interface does not offer is absent."""
    metadata: dict[str, Any] = dict(interface.pci)
    details: dict[str, Any] = {}
    if interface.driver is not None:
        metadata["BusInfo"] = interface.driver.bus
        # The kernel names its own release for drivers that have no version.
        if interface.driver.version != _RELEASE:
            _add(details, "DriverVersion", interface.driver.version)
        _add(details, "FirmwareVersion", interface.driver.firmware)
        _add(details, "RomVersion", interface.driver.rom)
    for aspect in ASPECTS:
        values = interface.aspects.get(aspect.name)
        if not values:
            continue
        if aspect.name == "features":
            _add(metadata, "Features", features(values, names.features))
            _add(details, "RequestedFeatures", requested(values, names.features))
        elif aspect.name == "linkmodes":
            values = dict(values)
            _add(metadata, "Speed", values.pop("Speed", None))
            _add(details, "LinkModes", link_modes(values.pop("Ours", None), values.pop("Peer", None), names))
            details.update(values)
        elif aspect.name == "fec":
            _add(details, aspect.key, fec(values, names.link_modes))
        elif aspect.name == "privflags":
            _add(details, "PrivateFlags", values["PrivateFlags"].switches(()))
        elif aspect.key:
            details[aspect.key] = dict(values)
        else:
            details.update(values)
    if interface.transceiver:
        details["Module"] = {**details.get("Module", {}), **interface.transceiver}
    _add(metadata, "Ethtool", details)
    _add(metadata, "EthtoolStatistics", interface.statistics)
    return metadata


def features(values: dict[str, Any], names: Sequence[str]) -> dict[str, bool]:
    """Feature name → is it active."""
    active: Bits | None = values.get("Active")
    return {} if active is None else active.switches(names)


def requested(values: dict[str, Any], names: Sequence[str]) -> dict[str, bool]:
    """Features that are wished otherwise than they are: name → the wish.

    Of those only that the device could change (``Hw``); the others wait for nothing.
    """
    changeable, wanted, active = (values.get(key) for key in ("Hw", "Wanted", "Active"))
    if changeable is None or wanted is None or active is None:
        return {}
    differing = (wanted.value ^ active.value) & changeable.value
    return {name: name in set(wanted.named(names)) for name in active.named(names, differing)}


def link_modes(ours: Bits | None, peer: Bits | None, names: Names) -> dict[str, list[str]]:
    """Names of the modes that are supported and advertised here, and advertised by the peer."""
    found: dict[str, list[str]] = {}
    if ours is not None:
        _add(found, "Supported", ours.named(names.link_modes, ours.mask))
        _add(found, "Advertised", ours.named(names.link_modes))
    if peer is not None:
        _add(found, "Peer", peer.named(names.link_modes))
    return found


def fec(values: dict[str, Any], link_mode_names: Sequence[str]) -> dict[str, Any]:
    """Forward error correction: the modes that are configured, and the active one."""
    found: dict[str, Any] = {}
    modes: Bits | None = values.get("Modes")
    if modes is not None:
        _add(found, "Modes", [_FEC_MODES.get(name, name) for name in modes.named(link_mode_names)])
    if "Auto" in values:
        found["Auto"] = values["Auto"]
    active = values.get("Active")
    if active is not None and active < len(link_mode_names):
        found["Active"] = _FEC_MODES.get(link_mode_names[active], link_mode_names[active])
    return found


def _add(target: dict[str, Any], key: str, value: Any) -> None:
    if value or value is False:
        target[key] = value
