"""What all flow tables of an agent have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import attrs


@final
@attrs.frozen
class FlowOptions:
    """The section ``flow`` of the configuration, as tables need it; times in seconds."""

    update: float = 60.0
    expire: float = 600.0
    max_entries: int = 500_000
    layer_key_mode: Literal["L2", "L3"] = "L2"
    tcp_names: Mapping[int, str] = attrs.field(factory=dict)
    udp_names: Mapping[int, str] = attrs.field(factory=dict)
    timeouts: Mapping[str, float] = attrs.field(factory=dict)
    stats_update: float = 1.0
