from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.gremlin.moment import Moment, moment_of, parse_duration, span_of

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1_700_000_000, 1_700_000_000_000),
        (2_147_483_647, 2_147_483_647_000),
        (2_147_483_648, 2_147_483_648),
        (1_700_000_000_123, 1_700_000_000_123),
        ("-1s", NOW - 1000),
        ("-1h30m", NOW - 5_400_000),
        ("1m", NOW + 60_000),
        ("0", NOW),
        ("Tue, 14 Nov 2023 22:13:20 GMT", NOW),
        ("Tue, 14 Nov 2023 22:13:20 UTC", NOW),
        ("Tue, 14 Nov 2023 23:43:20 +0130", NOW),
        ("Tue, 14 Nov 2023 21:13:20 -0100", NOW),
        ("Wed, 1 Jan 1969 00:00:00 GMT", -365 * 86_400_000),
    ],
)
def test_moments(value: int | str, expected: int) -> None:
    assert moment_of(value).resolve(NOW) == (expected, 0)


@pytest.mark.parametrize(
    "value",
    ["", "-", "now", "1", "-5", "1 h", "h", ".s", "1.h1", "2024-01-02T03:04:05Z", "Tue, 14 Nov 2023 22:13:20 CET",
     "Tue, 31 Feb 2023 22:13:20 GMT", "Tue, 14 Nov 2023 25:13:20 GMT", "Tue, 14 Foo 2023 22:13:20 GMT",
     "Tue, 14 Nov 0000 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:20 +9900", "x1h", "1h\n", "٣h", "9" * 40 + "h"],
)  # fmt: skip
def test_what_is_no_moment(value: str) -> None:
    with pytest.raises(ValueError, match=r"^Time must be in RFC1123 or in Go Duration format"):
        moment_of(value)


@pytest.mark.parametrize("value", [-1, 253402300800000, 2**64 - 1])
def test_numbers_that_are_no_moment(value: int) -> None:
    with pytest.raises(ValueError, match=r"before 1970|after the year 9999"):
        moment_of(value)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1h", 3_600_000),
        ("1h1m1s1ms", 3_661_001),
        ("1.5s", 1500),
        (".5s", 500),
        ("1.s", 1000),
        ("+2m", 120_000),
        ("1500us", 1),
        ("1500µs", 1),
        ("-1500μs", -1),
        ("999999ns", 0),
        ("-0", 0),
        ("2562047h", 2562047 * 3_600_000),
        ("2562048h", None),
        ("s", None),
        ("1d", None),
        ("--1s", None),
    ],
)
def test_durations(text: str, milliseconds: int | None) -> None:
    assert parse_duration(text) == milliseconds


def test_spans() -> None:
    assert (span_of(300), span_of("5m"), span_of(0)) == (300_000, 300_000, 0)
    for wrong in (-1, "-5m", "5", "", 2**64 - 1):
        with pytest.raises(ValueError, match="duration"):
            span_of(wrong)


def test_for_ever_reaches_back_to_the_epoch() -> None:
    assert Moment(1000, duration=None).resolve(NOW) == (1000, 1000)
    assert Moment(-1000, relative=True, duration=None).resolve(NOW) == (NOW - 1000, NOW - 1000)


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 31)))
def test_dates_as_others_write_them(date: datetime) -> None:
    date = date.replace(microsecond=0, tzinfo=UTC)
    expected = int((date - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    assert moment_of(format_datetime(date, usegmt=True)).resolve(0) == (expected, 0)


@given(st.text(alphabet="0123456789.-+hmsuµn ") | st.text())
def test_any_text_is_a_moment_or_a_value_error(text: str) -> None:
    try:
        moment_of(text)
    except ValueError:
        pass
