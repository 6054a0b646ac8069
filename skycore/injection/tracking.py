"""Which flow a frame belongs to, before anybody has captured it."""

from __future__ import annotations

from typing import Final, final

import attrs
import msgspec

from skycore.errors import InjectionError

_LAYER_KEYS: Final = "L2"
_FLOWS: Final = 64
"""More than the layers of a frame can make."""


class _Flow(msgspec.Struct):
    TrackingID: str
    L3TrackingID: str
    ParentUUID: str = ""


_flow = msgspec.json.Decoder(_Flow).decode


@final
@attrs.frozen
class Tracking:
    """The identifiers that flows of a frame have wherever they are seen (docs/flows.md)."""

    tracking_id: str
    l3_tracking_id: str


def tracking_of(frame: bytes, link_type: int) -> Tracking | None:
    """Those of the outermost flow of a frame, by the code that captures use.

    None for what makes no flow, and on an agent without that code.  Raises InjectionError for a wrong link type.
    """
    try:
        from skycore_native import Table  # noqa: PLC0415
    except ImportError:
        return None
    table = Table(layer_key_mode=_LAYER_KEYS, max_flows=_FLOWS)
    try:
        table.packet(frame, time_ns=1, link_type=link_type)
    except ValueError as error:
        raise InjectionError(str(error)) from error
    for line in table.flush(1).flows.splitlines():
        flow = _flow(line)
        if not flow.ParentUUID:
            return Tracking(flow.TrackingID, flow.L3TrackingID)
    return None
