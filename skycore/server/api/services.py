"""What the endpoints answer from; a role makes it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, final

import attrs
import trio

from skycore.gremlin import QueryContext
from skycore.resource.api import ObjectApi
from skycore.server.access import Gatekeeper
from skycore.server.api.timing import Timing
from skycore.server.endpoint import Role
from skycore.server.figures import Figure

QUERIES_AT_ONCE: Final = 32


@final
@attrs.frozen(kw_only=True)
class Services:
    """The parts of a role that its endpoints show.

    ``status`` gives what `/api/status` shows, ``figures`` what `/metrics` does; ``config`` is the configuration with
    its secrets hidden, ``objects`` what users create, by the word in the path.  ``query_room`` bounds how
    many queries run at a time, and so what they hold; others wait their turn.
    """

    role: Role
    host: str
    gatekeeper: Gatekeeper
    queries: QueryContext
    status: Callable[[], dict[str, Any]]
    figures: Callable[[], Iterable[Figure]]
    config: Mapping[str, Any]
    objects: Mapping[str, ObjectApi] = attrs.field(factory=dict)
    query_times: Timing = attrs.field(factory=Timing)
    query_room: trio.CapacityLimiter = attrs.field(factory=partial(trio.CapacityLimiter, QUERIES_AT_ONCE))
