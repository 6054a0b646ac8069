"""What an analyzer asks of an agent."""

from __future__ import annotations

from typing import Annotated, final

import msgspec

from skycore.flow.spec import CaptureSpec


@final
class CaptureOrder(msgspec.Struct, frozen=True):
    """A capture, and the nodes of one agent on which it is wanted, by ID."""

    capture: CaptureSpec
    nodes: list[Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]]
