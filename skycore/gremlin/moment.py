"""Moments and spans as ``At`` takes them.

A moment is a number of seconds since the epoch (up to 2147483647), a larger number of milliseconds, ``NOW``, a date of
RFC 1123 (``Tue, 02 Jan 2024 15:04:05 GMT``), or a distance from now in the notation of Go's time.ParseDuration
(https://pkg.go.dev/time#ParseDuration), such as ``-1h30m``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, final

import attrs

_LAST_SECOND: Final = 2147483647
# The last millisecond of the year 9999, the last that a date can name.
_LAST: Final = 253402300799999


@final
@attrs.frozen
class Moment:
    """A moment and the span before it, all in milliseconds.

    ``at`` counts from the epoch, or from now when ``relative``.  ``duration`` None is everything before.
    """

    at: int
    relative: bool = False
    duration: int | None = 0

    def resolve(self, now: int) -> tuple[int, int]:
        """(at, duration) for a clock that shows ``now``."""
        at = self.at + now if self.relative else self.at
        return at, max(at, 0) if self.duration is None else self.duration


def moment_of(value: int | str) -> Moment:
    """The moment that a number or a string means.  Raises ValueError with Skydive's wording."""
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"{value} is before 1970: write a distance from now as a string, for example '{value}s'")
        at = value if value > _LAST_SECOND else value * 1000
        if at > _LAST:
            raise ValueError(f"{value} is after the year 9999")
        return Moment(at)
    distance = parse_duration(value)
    if distance is not None:
        return Moment(distance, relative=True)
    at_date = _parse_date(value)
    if at_date is None:
        raise ValueError(
            "Time must be in RFC1123 or in Go Duration format (for example 'Tue, 02 Jan 2024 15:04:05 GMT' or '-1h30m')"
        )
    return Moment(at_date)


def span_of(value: int | str) -> int:
    """The milliseconds of a span: a number of seconds, or a duration of Go.  Raises ValueError."""
    span = value * 1000 if isinstance(value, int) else parse_duration(value)
    if span is None:
        raise ValueError(
            "the duration must be a number of seconds, FOREVER, or in Go Duration format (such as '1h30m')"
        )
    if not 0 <= span <= _LAST:
        raise ValueError("the duration must not be negative" if span < 0 else "the duration is too long")
    return span


_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART: Final = re.compile(r"([0-9]{0,18})(?:(\.)([0-9]{0,18}))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def parse_duration(text: str) -> int | None:
    """The milliseconds of a Go duration, cut towards zero; None for a text that is none, or longer than 290 years."""
    negative = text.startswith("-")
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0
    nanoseconds = place = 0
    while place < len(body):
        part = _PART.match(body, place)
        if part is None or not (part[1] or part[3]):
            return None
        unit, fraction = _UNITS[part[4]], part[3] or ""
        nanoseconds += int(part[1] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        place = part.end()
    if not body or nanoseconds >= 1 << 63:
        return None
    milliseconds = nanoseconds // 10**6
    return -milliseconds if negative else milliseconds


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{1,2}) (?P<month>[A-Z][a-z]{2}) (?P<year>[0-9]{4}) "
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2}) "
    r"(?:GMT|UTC|UT|(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2}))",
    re.ASCII,
)


def _parse_date(text: str) -> int | None:
    match = _DATE.fullmatch(text)
    if match is None or match["month"] not in _MONTHS:
        return None
    zone = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    try:
        date = datetime(
            int(match["year"]),
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            int(match["second"]),
            tzinfo=timezone(-zone if match["sign"] == "-" else zone),
        )
    except ValueError:
        return None
    return (date - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
