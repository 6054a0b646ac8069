"""What the endpoints answer from; a role makes it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol, final

import attrs
import trio

from skycore.flow.query import FlowSpan
from skycore.flow.recording import Imported, Recording
from skycore.gremlin import QueryContext
from skycore.resource.api import ObjectApi
from skycore.server.access import Gatekeeper
from skycore.server.api.timing import Timing
from skycore.server.endpoint import Role
from skycore.server.figures import Figure
from skycore.server.plugin_web import PluginPanels
from skycore.storage.talkers import By, Measure, Talkers

QUERIES_AT_ONCE: Final = 32


class RecordingImports(Protocol):
    """Where recordings of packets become flows; ``room`` bounds how many do at a time."""

    room: trio.CapacityLimiter

    def begin(self) -> Recording:
        """Raises RecordingError when recordings cannot be read here."""
        ...

    def warning(self, found: Imported) -> str:
        """What whoever sent it should know, "" for nothing."""
        ...


class TopTalkers(Protocol):
    """Where it is known who sent most."""

    async def top(self, span: FlowSpan, by: By, limit: int, *, measure: Measure, node: str | None) -> Talkers:
        """The largest talkers of a span, of one node or all.  Raises StorageError."""
        ...


@final
@attrs.frozen(kw_only=True)
class Services:
    """The parts of a role that its endpoints show.

    ``status`` gives what `/api/status` shows, ``figures`` what `/metrics` does; ``config`` is the configuration
    with its secrets hidden, ``objects`` what users create, by the word in the path, ``imports`` takes recordings
    and ``talkers`` tells who sent most (None: flows are not kept), ``panels`` is what plugins add to the Web UI.
    ``query_room`` bounds how many queries run at a time, and so what they hold; others wait their turn.
    """

    role: Role
    host: str
    gatekeeper: Gatekeeper
    queries: QueryContext
    status: Callable[[], dict[str, Any]]
    figures: Callable[[], Iterable[Figure]]
    config: Mapping[str, Any]
    objects: Mapping[str, ObjectApi] = attrs.field(factory=dict)
    imports: RecordingImports | None = None
    talkers: TopTalkers | None = None
    panels: PluginPanels = attrs.field(factory=PluginPanels)
    query_times: Timing = attrs.field(factory=Timing)
    query_room: trio.CapacityLimiter = attrs.field(factory=partial(trio.CapacityLimiter, QUERIES_AT_ONCE))
