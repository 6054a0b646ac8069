"""Skydive's recorded flows: everything is the same but what we change on purpose (docs/deviations.md)."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from skycore_native import Table

DATA = Path(__file__).resolve().parent.parent / "data" / "flows"
GOLDEN: list[dict[str, Any]] = json.loads((DATA / "golden.json").read_text())
UNFILTERED = [entry for entry in GOLDEN if not entry["BPF"]]  # filters belong to the captures, not to the table
QINQ = "icmpv4-4vlanQinQ-id-8-10-20-30.pcap"
COUNTERS = ("ABPackets", "ABBytes", "BAPackets", "BABytes")


def named(entry: dict[str, Any]) -> str:
    return f"{entry['Name']} {entry['Pcap']}"


def table_of(entry: dict[str, Any]) -> Table:
    options = entry["Opts"]
    return Table(
        node_tid=entry["NodeTID"],
        layer_key_mode="L3" if options["LayerKeyMode"] else "L2",
        raw_packet_limit=options["RawPacketLimit"],
        tcp_times=options["ExtraTCPMetric"],
        reassemble_tcp=options["ReassembleTCP"],
        defragment_bytes=1 << 20 if options["IPDefrag"] else 0,
        extra_layers=255 if options["ExtraLayers"] or entry["Name"] == "dns-extra" else 0,
        mpls_ports=[6635, entry["MPLSUDPPort"]] if entry["MPLSUDPPort"] else [6635],
    )


def flows_of(table: Table) -> list[dict[str, Any]]:
    return [json.loads(line) for line in table.flows().flows.splitlines()]


def read(entry: dict[str, Any]) -> list[dict[str, Any]]:
    table = table_of(entry)
    table.pcap((DATA / entry["Pcap"]).read_bytes())
    table.pcap_end()
    return flows_of(table)


def on_purpose(ours: dict[str, Any], theirs: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Their flow, changed in what docs/deviations.md lists; everything else stays."""
    expected = dict(theirs)
    # Ids of flows cover more than Skydive's.
    for key in ("UUID", "ParentUUID"):
        assert bool(ours.get(key)) == bool(theirs.get(key))
        expected[key] = ours[key]
    # IPv6 identity by the standard XXH64.
    if expected.get("Network", {}).get("Protocol") == "IPV6" and not entry["Opts"]["LayerKeyMode"]:
        expected["TrackingID"] = ours["TrackingID"]
    # An addition.
    if "CommunityID" in ours:
        expected["CommunityID"] = ours["CommunityID"]
    # A connection that was closed has ended.
    if theirs.get("TCPMetric", {}).get("BAFinStart") or "FinishType" in ours:
        assert theirs["Transport"]["Protocol"] == "TCP"
        expected["FinishType"] = 2
    # Every flow of IP has an IPMetric when fragments are put together.
    if entry["Opts"]["IPDefrag"] and "Network" in theirs:
        expected.setdefault("IPMetric", {"Fragments": 0, "FragmentErrors": 0})
    # Packets without a network layer are counted in L3 mode, too.
    if entry["Opts"]["LayerKeyMode"] and "Network" not in theirs:
        assert {theirs["Metric"][key] for key in COUNTERS} == {0}
        expected["Metric"] = ours["Metric"]
    # Segments are counted at once, not when the stream ends.
    if "TCPMetric" in theirs and not theirs["TCPMetric"].get("ABSawEnd"):
        counted = {
            key: value for key, value in ours["TCPMetric"].items() if key[2:] in {"Packets", "Bytes", "SawStart"}
        }
        expected["TCPMetric"] = theirs["TCPMetric"] | counted
    return expected


@pytest.mark.parametrize("entry", [entry for entry in UNFILTERED if entry["Pcap"] != QINQ], ids=named)
def test_flows_are_those_of_skydive(entry: dict[str, Any]) -> None:
    def place(flow: dict[str, Any]) -> tuple[str, str, str]:
        return (
            flow["LayersPath"],
            flow["L3TrackingID"],
            json.dumps([flow.get("Link", {}), flow["Metric"]["Start"]]),
        )

    ours = sorted(read(entry), key=place)
    theirs = sorted((flow["Flow"] for flow in entry["Flows"]), key=place)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one == on_purpose(one, other, entry)


@pytest.mark.parametrize("entry", [entry for entry in UNFILTERED if entry["Pcap"] == QINQ], ids=named)
def test_vlans_tell_flows_apart_and_agree_in_sum(entry: dict[str, Any]) -> None:
    """The trace's replies carry other VLAN ids than its requests; Skydive's key leaves VLANs out."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for flow in read(entry):
        metric = flow["Metric"]
        sums[flow["TrackingID"]][0] += metric["ABPackets"] + metric["BAPackets"]
        sums[flow["TrackingID"]][1] += metric["ABBytes"] + metric["BABytes"]
    for each in entry["Flows"]:
        theirs = each["Flow"]
        metric = theirs["Metric"]
        counted = [metric["ABPackets"] + metric["BAPackets"], metric["ABBytes"] + metric["BABytes"]]
        if entry["Opts"]["LayerKeyMode"] and "Network" not in theirs:
            counted = [16, 832]  # ARP, which Skydive does not count in L3 mode
        assert sums.pop(theirs["TrackingID"]) == counted
    assert sums == {}


def test_kept_packets_are_the_first_of_their_flow() -> None:
    table = Table(raw_packet_limit=2)
    table.pcap((DATA / "simple-tcpv4.pcap").read_bytes())
    batch = table.update(1490086708000)
    kept = [json.loads(line) for line in batch.raw_packets.splitlines()]
    assert [(packet["Index"], packet["LinkType"], packet["Timestamp"]) for packet in kept] == [
        (1, 1, 1490086703768),
        (2, 1, 1490086703768),
    ]
    assert json.loads(batch.flows)["RawPacketsCaptured"] == 2
    # Sent once; and the count stays.
    assert table.flush(1490086708000).raw_packets == b""


def test_the_example_of_the_reference() -> None:
    """Metric, TCPMetric and LastUpdateMetric after an update tick."""
    table = Table(tcp_times=True, node_tid="tid-1", capture_id="cap-1")
    table.pcap((DATA / "simple-tcpv4.pcap").read_bytes())
    flow = json.loads(table.update(1490086708000).flows)
    assert flow["Metric"] == {
        "ABPackets": 5,
        "ABBytes": 344,
        "BAPackets": 3,
        "BABytes": 206,
        "Start": 1490086703768,
        "Last": 1490086707507,
        "RTT": 33000,
    }
    assert flow["LastUpdateMetric"] == flow["Metric"] | {"Last": 1490086708000}
    assert (flow["NodeTID"], flow["CaptureID"], flow["FinishType"]) == ("tid-1", "cap-1", 2)
