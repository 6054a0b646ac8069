"""After any sequence of changes the graph says what ovs-vsctl and ovs-ofctl say."""

from __future__ import annotations

import ovs_sequences as sequences
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skycore.testing.openvswitch import PROGRAMS, OpenVSwitch

seeds = st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=48)


@pytest.mark.needs(*PROGRAMS)
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(numbers=seeds)
async def test_the_graph_equals_what_the_switch_says(ovs: OpenVSwitch, numbers: list[int]) -> None:
    await sequences.check(ovs, numbers)
