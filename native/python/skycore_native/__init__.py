"""Packets to flows: the native flow table of Skycore.

``Table`` takes packets (frames, blocks of a TPACKET_V3 ring, pieces of a capture file) and finished counters
of other sources, and gives ``Batch``es of flow records as JSON lines.  ``CaptureFile`` takes a capture file apart for
whoever plays it.  Nothing here opens anything, starts a thread or reads a clock.
"""

from skycore_native._native import Batch, CaptureFile, Chosen, Table

__all__ = ["Batch", "CaptureFile", "Chosen", "Table"]
