"""Packets of an interface, read in place from a ring that the kernel fills (packet(7), TPACKET_V3)."""

from skydive_flow_afpacket.source import AfPacketSource

__all__ = ["AfPacketSource"]
