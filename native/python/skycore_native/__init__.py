"""Packets to flows: the native flow table of Skycore.

``Table`` takes packets (single frames, blocks of a TPACKET_V3 ring, pieces of a capture file) and finished counters
of other sources, and gives ``Batch``es of flow records as JSON lines.  It opens nothing, starts no thread and reads no
clock.
"""

from skycore_native._native import Batch, Table

__all__ = ["Batch", "Table"]
