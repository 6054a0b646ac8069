"""Captures as API objects: what may stand in them."""

from __future__ import annotations

from typing import Any

import pytest

from skycore.errors import DuplicatedResource, InvalidResource
from skycore.gremlin import Planner
from skycore.rule.capture import capture_kind

KIND = capture_kind(Planner(), "L2")
QUERY = "G.V().Has('Name', 'eth0')"


def read(uuid: str = "u", **fields: Any) -> dict[str, Any]:
    return KIND.read({"GremlinQuery": QUERY, **fields}, uuid)


def test_a_capture_is_read_with_defaults_and_without_what_is_empty() -> None:
    assert read(bpffilter="tcp port 80", Count=7) == {
        "UUID": "u",
        "GremlinQuery": QUERY,
        "BPFFilter": "tcp port 80",
        "Count": 0,
        "SamplingRate": 0,
        "PollingInterval": 0,
        "ExtraTCPMetric": False,
        "IPDefrag": False,
        "ReassembleTCP": False,
        "LayerKeyMode": "L2",
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"GremlinQuery": ""}, "GremlinQuery: zero value"),
        ({"GremlinQuery": "G.V("}, "Not a valid Gremlin expression"),
        ({"GremlinQuery": "G.V().Count()"}, "must give nodes"),
        ({"GremlinQuery": "G.At('-1h').V()"}, "about the present"),
        ({"BPFFilter": "tcp prot 80"}, "Not a valid BPF expression"),
        ({"Type": "pigeon"}, "no type of captures"),
        ({"Type": "ebpf", "BPFFilter": "tcp"}, "ebpf capture doesn't support BPF filtering"),
        ({"Type": "ebpf", "RawPacketLimit": 1}, "ebpf capture doesn't support raw packets capture"),
        ({"RawPacketLimit": 11}, "from 0 to 10"),
        ({"RawPacketLimit": -1}, "from 0 to 10"),
        ({"HeaderSize": 13}, "0 or from 14 to 4096"),
        ({"HeaderSize": 4097}, "from 0 to 4096"),
        ({"HeaderSize": "a"}, "HeaderSize: must be an integer"),
        ({"Port": 65536}, "from 0 to 65535"),
        ({"LayerKeyMode": "L4"}, "L2 or L3"),
        ({"TargetType": "carrier"}, "target type unknown"),
        ({"Target": "host", "TargetType": "netflowv5"}, "needs a port"),
        ({"Target": "host:1"}, "needs a TargetType"),
        ({"ExtraLayers": 256}, "from 0 to 255"),
        ({"SamplingRate": 1 << 32}, "SamplingRate"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        read(**fields)
    assert refused.value.status == 400
    assert reason in refused.value.text


def test_duplicates_are_told_by_type_query_and_where_several_can_be_filter() -> None:
    plain, filtered = read("a"), read("b", BPFFilter="tcp")
    KIND.compare(plain, [filtered, read("c", Type="afpacket"), read("d", GremlinQuery="G.V()")])
    with pytest.raises(DuplicatedResource, match="uuid=b"):
        KIND.compare(read("e", BPFFilter="tcp"), [plain, filtered])
    single = read("f", Type="pcapsocket", BPFFilter="tcp")
    with pytest.raises(DuplicatedResource):
        KIND.compare(read("g", Type="pcapsocket"), [single])
