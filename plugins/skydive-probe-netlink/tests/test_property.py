"""After any sequence of changes the graph says what ip and bridge say."""

from __future__ import annotations

import netlink_commands as commands
import netlink_sequences as sequences
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

seeds = st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=48)


@pytest.mark.needs("root", "ip", "nsenter")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(seeds)
async def test_the_graph_equals_what_ip_says(numbers: list[int]) -> None:
    await sequences.check(numbers, commands.HERE)
