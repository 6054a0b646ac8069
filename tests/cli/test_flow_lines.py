"""Choosing flows and showing them in a line, whatever a file holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from skycore.cli.flow_filter import FlowFilter
from skycore.cli.flow_lines import amount, line
from skycore.cli.main import skycore, skydive

FLOW: dict[str, Any] = {
    "UUID": "1",
    "LayersPath": "Ethernet/IPv4/TCP",
    "Application": "HTTPS",
    "Link": {"Protocol": "ETHERNET", "A": "02:00:00:00:00:01", "B": "02:00:00:00:00:02", "ID": 0},
    "Network": {"Protocol": "IPV4", "A": "10.0.0.1", "B": "10.0.1.2", "ID": 0},
    "Transport": {"Protocol": "TCP", "A": 40000, "B": 443, "ID": 0},
    "LastUpdateMetric": {
        "ABPackets": 10,
        "ABBytes": 1000,
        "BAPackets": 30,
        "BABytes": 4000,
        "Start": 1000,
        "Last": 3000,
    },
    "Metric": {"ABPackets": 1, "ABBytes": 1, "BAPackets": 1, "BABytes": 1, "Start": 0, "Last": 3000, "RTT": 1_500_000},
    "Start": 0,
    "Last": 1_700_000_000_000,
    "TrackingID": "abc",
    "NodeTID": "tid-1",
    "CaptureID": "cap-1",
    "FinishType": 3,
    "At": {"Node": "tid-1", "Name": "eth0", "Host": "host-1"},
    "From": {"Name": "web-1"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({}, True),
        ({"ends": ["10.0.1.0/24"]}, True),
        ({"ends": ["10.0.2.0/24", "web-1"]}, True),
        ({"ends": ["::/0"]}, False),
        ({"sources": ["10.0.0.1"]}, True),
        ({"sources": ["10.0.1.2"]}, False),
        ({"targets": ["02:00:00:00:00:02"]}, True),
        ({"targets": ["web-1"]}, False),
        ({"ports": [443]}, True),
        ({"ports": [80, 40000]}, True),
        ({"ports": [80]}, False),
        ({"protocols": ["tcp"]}, True),
        ({"protocols": ["https", "dns"]}, True),
        ({"protocols": ["udp"]}, False),
        ({"protocols": ["icmp"]}, False),
        ({"nodes": ["tid-1"]}, True),
        ({"nodes": ["host-1"]}, True),
        ({"nodes": ["eth1"]}, False),
        ({"captures": ["cap-1"]}, True),
        ({"tracking": ["abd"]}, False),
        ({"rate": 20_000.0}, True),
        ({"rate": 20_001.0}, False),
        ({"ports": [443], "protocols": ["udp"]}, False),
    ],
)
def test_what_options_choose(wanted: dict[str, Any], holds: bool) -> None:
    assert FlowFilter(**wanted).test()(FLOW) is holds


def test_a_line_says_who_what_how_fast_and_where() -> None:
    result = CliRunner().invoke(skycore, ["flows", "-"], input=json.dumps(FLOW))
    assert result.exit_code == 0
    assert result.output.split("  ", 1)[1] == (
        "web-1 10.0.0.1:40000 → 10.0.1.2:443  HTTPS  ↑ 4 kb/s ↓ 16 kb/s  20 p/s  rtt 1.5 ms  eth0@host-1  reset\n"
    )
    assert (
        "\x1b[1mweb-1"
        in CliRunner().invoke(skycore, ["flows", "-", "--color", "always"], input=json.dumps(FLOW)).output
    )


def test_skydive_prints_json_which_both_read_back() -> None:
    text = json.dumps(FLOW) + "\n"
    once = CliRunner().invoke(skydive, ["client", "flows", "-"], input=text)
    assert (once.exit_code, once.output) == (0, text)
    assert (
        CliRunner().invoke(skycore, ["flows", "-", "-o", "json", "--min-rate", "20k"], input=once.output).output == text
    )
    assert CliRunner().invoke(skycore, ["flows", "-", "-o", "json", "--min-rate", "1M"], input=once.output).output == ""
    assert CliRunner().invoke(skycore, ["flows", "-", "--min-rate", "fast"], input=text).exit_code == 2


def test_text_from_a_flow_does_no_harm_to_a_terminal() -> None:
    evil = {**FLOW, "Application": "a\x1b]0;title\x07\nb", "At": {"Name": "e\u202eth"}, "From": {"Name": "\x9b31m"}}
    shown = line(evil)
    for part in ("\x1b]", "\x07", "\n", "\u202e", "\x9b"):
        assert part not in shown


@given(st.dictionaries(st.sampled_from([*FLOW, "ICMP"]), JSON))
def test_any_object_is_judged_and_shown(flow: dict[str, Any]) -> None:
    assert "\n" not in line(flow)
    wanted = FlowFilter(
        ends=["10.0.0.0/8", "x"], sources=["::/0"], ports=[1], protocols=["tcp"], nodes=["n"], captures=["c"], rate=1.0
    )
    assert wanted.test()(flow) in (True, False)


@given(st.floats(0, 1e15))
def test_amounts_are_short(value: float) -> None:
    assert len(amount(value)) <= 9
