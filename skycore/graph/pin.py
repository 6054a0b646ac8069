"""What a reader needs of the past while the graph moves on."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import attrs

if TYPE_CHECKING:
    from skycore.graph.element import Revision


@final
@attrs.frozen(eq=False)
class Pin:
    """The graph at one moment, told by what has been replaced since.

    The graph writes here, before it changes something for the first time after that moment, what was there:
    revisions (None: there was no such element) and the adjacency of nodes.  Whoever reads here first and then in
    the graph sees the graph as it was.  A pin costs nothing but the changes made while it is held.
    """

    elements: dict[str, Revision | None] = attrs.field(factory=dict)
    edges_out: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    edges_in: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
