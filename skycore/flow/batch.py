"""What leaves a flow table at once: records of flows, and the packets that were kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import attrs

AT_ONCE: Final = 256 << 10
"""Bytes of records that one piece holds, about; a few hundred flows."""


@final
@attrs.frozen
class FlowBatch:
    """Records as lines of JSON: ``flows`` in the form of the API, ``raw_packets`` with the UUID of their flow."""

    flows: bytes
    raw_packets: bytes
    count: int

    def pieces(self, enough: int = AT_ONCE) -> Iterator[FlowBatch]:
        """The same in parts of about ``enough`` bytes; flows first, what was kept of them last."""
        for part in _cut(self.flows, enough):
            yield FlowBatch(part, b"", part.count(b"\n"))
        for part in _cut(self.raw_packets, enough):
            yield FlowBatch(b"", part, 0)


def array(lines: bytes) -> bytes:
    """Lines of JSON as one JSON array; a line break inside a text is always written as ``\\n``."""
    return b"[" + lines[:-1].replace(b"\n", b",") + b"]"


def _cut(lines: bytes, enough: int) -> Iterator[bytes]:
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + enough) + 1 or len(lines)
        yield lines[start:end]
        start = end
