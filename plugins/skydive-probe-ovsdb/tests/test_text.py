"""What ovs-ofctl prints, as Skydive's clients know it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_ovsdb.errors import BadAnswer
from skydive_probe_ovsdb.openflow import text


def _function(name: str, *arguments: Any, key: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"Function": name}
    if arguments:
        found["Arguments"] = list(arguments)
    return {**found, "Key": key} if key else found


_RANGE = _function("range", _function("NXM_NX_REG0"), _function("0"), _function("15"))


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("drop", [_function("drop")]),
        ("NORMAL", [_function("NORMAL")]),
        ("output:1,output:2", [_function("output", _function("1")), _function("output", _function("2"))]),
        ("set_field:10.0.0.1->ip_dst", [_function("set_field", _function("10.0.0.1"), None, _function("ip_dst"))]),
        ("set_field:1/3->reg5", [_function("set_field", _function("1"), _function("3"), _function("reg5"))]),
        ("load:0x5->NXM_NX_REG0[0..15]", [_function("load", _function("0x5"), _RANGE)]),
        ("move:NXM_NX_REG0[0..15]->NXM_NX_REG0[0..15]", [_function("move", _RANGE, _RANGE)]),
        ("enqueue:1:7", [_function("enqueue", _function("1"), _function("7"))]),
        ("resubmit(,2)", [_function("resubmit", None, _function("2"))]),
        ("pop_vlan", [_function("pop_vlan")]),
        ("NXM_OF_ETH_SRC[]", [_function("range", _function("NXM_OF_ETH_SRC"))]),
        (
            "ct(commit,zone=1,nat(src=1.1.1.1))",
            [
                _function(
                    "ct",
                    _function("commit"),
                    _function("1", key="zone"),
                    _function("nat", _function("1.1.1.1", key="src")),
                )
            ],
        ),
        (
            "learn(table=3,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])",
            [
                _function(
                    "learn",
                    _function("3", key="table"),
                    _function(
                        "=",
                        _function("range", _function("NXM_OF_ETH_DST")),
                        _function("range", _function("NXM_OF_ETH_SRC")),
                    ),
                )
            ],
        ),
    ],
)
def test_actions(printed: str, expected: list[dict[str, Any]]) -> None:
    assert text.actions(printed) == expected


def test_a_rule() -> None:
    # As ovs-ofctl 3.1.0 prints it.
    line = (
        " cookie=0x20, duration=0.004s, table=1, n_packets=0, n_bytes=0, idle_timeout=9, reset_counts "
        "priority=7,tcp,nw_src=10.0.0.0/8,tp_dst=80 actions=output:1"
    )
    rule = text.rule(line)
    assert (rule.table, rule.priority, rule.cookie, rule.filter) == (1, 7, 0x20, "tcp,nw_src=10.0.0.0/8,tp_dst=80")
    assert rule.metadata["Cookie"] == "0x20"
    assert rule.metadata["Filters"] == [
        {"Key": "tcp", "Value": ""},
        {"Key": "nw_src", "Value": "10.0.0.0", "Mask": "8"},
        {"Key": "tp_dst", "Value": "80"},
    ]
    assert rule.metadata["Meta"] == [{"Key": "idle_timeout", "Value": "9"}, {"Key": "reset_counts"}]
    assert text.steady(line) == text.steady(
        line.replace("duration=0.004s", "duration=9.1s").replace("n_bytes=0", "n_bytes=8")
    )
    assert text.rule(text.steady(line)) == rule


def test_a_group() -> None:
    id, group = text.group(
        " group_id=5,type=select,selection_method=hash,bucket=bucket_id:1,weight:3,actions=output:1,bucket=actions=drop"
    )
    assert id == 5
    assert group == {
        "GroupId": 5,
        "GroupType": "select",
        "Meta": [{"Key": "selection_method", "Value": "hash"}],
        "Buckets": [
            {"Id": 1, "Meta": [{"Key": "weight", "Value": "3"}], "Actions": [_function("output", _function("1"))]},
            {"Id": 1, "Actions": [_function("drop")]},
        ],
    }


def test_what_is_no_rule_is_refused() -> None:
    for line in ("", "hello", " cookie=x, table=1 actions=drop"):
        with pytest.raises(BadAnswer):
            text.rule(line)


@given(st.lists(st.sampled_from(["a", "b=1", "c(x,y)", "d[1..2]", "e(f(,))"]), min_size=1))
def test_parts_are_found_outside_of_brackets(parts: list[str]) -> None:
    assert list(text.split(",".join(parts))) == parts
