"""How an agent knows its own analyzer among the addresses of its configuration."""

from __future__ import annotations

import pytest

from skycore.cluster.dial import leads_to
from skycore.config.address import Address

BOTH = ["127.0.0.1:8082", "[::1]:8082"]
CASES = [
    ("127.0.0.1:8082", ["127.0.0.1:8082"], True),
    ("localhost:8082", ["127.0.0.1:8082"], True),
    ("localhost:8082", BOTH, True),
    ("[::1]:8082", BOTH, True),
    ("[0:0:0:0:0:0:0:1]:8082", BOTH, True),
    ("127.0.0.1:8083", ["127.0.0.1:8082"], False),
    ("127.0.0.2:8082", ["127.0.0.1:8082"], False),
    ("127.0.0.2:8082", ["0.0.0.0:8082"], True),
    ("localhost:8082", ["0.0.0.0:8082"], True),
    ("192.0.2.7:8082", ["0.0.0.0:8082"], False),
    ("[::1]:8082", ["0.0.0.0:8082"], False),
    ("[::1]:8082", ["[::]:8082"], True),
    ("127.0.0.1:8082", ["[::]:8082"], False),
    ("analyzer.example:8082", ["0.0.0.0:8082"], False),
    ("192.0.2.7:8082", [], False),
]


@pytest.mark.parametrize(("address", "listening", "ours"), CASES)
def test_our_own_address_is_known(address: str, listening: list[str], ours: bool) -> None:
    assert leads_to(Address.parse(address), [Address.parse(one) for one in listening]) is ours
