"""The one filter language.

Gremlin predicates, subscription filters, storage queries, capture selectors and flow-table queries all
compile to the small tree of this module, which each backend translates.

A *key* is a dotted path into the metadata (``Metric.RxBytes``, ``Captures.ID``; a leading ``Metadata.`` is
stripped), or one of the pseudo fields ``@ID @Host @Origin @CreatedAt @UpdatedAt @DeletedAt @Revision @Stale``;
edges have ``Parent`` and ``Child`` besides.  A path through a list of objects collects the values of all of them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, final

import attrs

Scalar: TypeAlias = str | int | float | bool


@final
@attrs.frozen
class Present:
    """The key exists (a JSON null counts as existing)."""

    key: str


@final
@attrs.frozen
class Equals:
    """The value, or any member of a list value, equals ``value``."""

    key: str
    value: Scalar


@final
@attrs.frozen
class Compare:
    """The value, or any member of a list value, is a number (or a numeric string) that stands so to ``value``."""

    key: str
    operator: Literal["lt", "lte", "gt", "gte"]
    value: int | float


@final
@attrs.frozen
class Matches:
    """The value, or any member of a list value, is a string that RE2 matches from its start to its end."""

    key: str
    pattern: str


@final
@attrs.frozen
class InNetwork:
    """The value, or any member of a list value, is an IPv4 address (with or without ``/length``) inside ``network``."""

    key: str
    network: str


@final
@attrs.frozen
class All:
    """Every one of ``filters`` holds; no filters: true."""

    filters: tuple[Filter, ...] = ()


@final
@attrs.frozen
class Any:
    """At least one of ``filters`` holds; no filters: false (Skydive: true; see docs/deviations.md)."""

    filters: tuple[Filter, ...] = ()


@final
@attrs.frozen
class Not:
    """``filter`` does not hold."""

    filter: Filter


Filter: TypeAlias = Present | Equals | Compare | Matches | InNetwork | All | Any | Not
EVERYTHING = All()
