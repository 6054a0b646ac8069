from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.config import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1:8082", "10.0.0.1", 8082),
        ("analyzer-1.example:1", "analyzer-1.example", 1),
        (":8082", "localhost", 8082),
        ("8082", "localhost", 8082),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[::1]:8082", "::1", 8082),
        ("[::]:65535", "::", 65535),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_written_forms(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", "host:x", "host:65536", "host:-1", "host: 1", "::1:80", "[::1]", "[::zz]:1", "[1:2]:3",
     "[10.0.0.1]:1", "http://a:80", "a:1:2", "*:80", "٣", "a:٣", "1" * 5000, "a b:1", "a:1\n"],
)  # fmt: skip
def test_wrong_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"host:port.*port 0 to 65535"):
        Address.parse(text)


@given(st.sampled_from(["localhost", "a.b", "10.1.2.3", "::1", "2001:db8::7"]), st.integers(0, 65535))
def test_what_is_written_is_read_again(host: str, port: int) -> None:
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert address.host
    assert 0 <= address.port <= 65535
