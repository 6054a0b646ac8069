"""The program as an agent runs it: a process, in namespaces with a wire between them."""

from __future__ import annotations

import base64
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_inject_scapy.frames import made
from skydive_inject_scapy.replay import recorded
from skydive_inject_scapy.request import TYPES, Request, WrongRequest, read

from skycore.testing.lab import NamedNetns, make_netns

PROGRAM = [sys.executable, "-I", "-m", "skydive_inject_scapy"]
NEAR, FAR = "02:00:00:00:00:01", "02:00:00:00:00:02"
ADDRESSES = {"src_ip": "10.9.0.1", "dst_ip": "10.9.0.2", "src_mac": NEAR, "dst_mac": FAR}
OVER_6 = {"src_ip": "2001:db8::1", "dst_ip": "2001:db8::2"}
real = pytest.mark.needs("root", "ip")


def request(**fields: Any) -> Request:
    return Request(**{"namespace": "/proc/self/ns/net", "interface": "x", "ethernet": True, **ADDRESSES, **fields})


def recording(*frames: bytes, link_type: int = 1) -> str:
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)
    records = [struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame for frame in frames]
    return base64.b64encode(header + b"".join(records)).decode()


# What is made


@given(st.sampled_from(TYPES), st.integers(1, 12), st.booleans(), st.integers(0, 9), st.integers(1, 255))
def test_packets_are_as_many_and_as_long_as_asked(type: str, count: int, random: bool, more: int, ttl: int) -> None:
    addresses = OVER_6 if type.endswith("6") else {}
    asked = request(type=type, count=count, random=random, increment=more, ttl=ttl, payload="abc", **addresses)
    frames = list(made(asked))
    assert len(frames) == count
    below = 14 + (40 if type.endswith("6") else 20) + (20 if type.startswith("tcp") else 8)
    assert [len(frame) - below for frame, _ in frames] == [3 + number * more for number in range(count)]
    assert [anew for _, anew in frames] == [True, *[random] * (count - 1)]
    for frame, _ in frames:
        assert frame[:12] == bytes.fromhex((FAR + NEAR).replace(":", ""))
        assert frame[21 if type.endswith("6") else 22] == ttl


def test_a_recording_comes_as_it_is_and_again() -> None:
    frames = [bytes([number]) * 60 for number in range(3)]
    assert [frame for frame, _ in recorded(request(pcap=recording(*frames), count=0))] == frames
    again = list(recorded(request(pcap=recording(*frames), count=5)))
    assert [frame for frame, _ in again] == [*frames, *frames[:2]]
    assert [first for _, first in again] == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("pcap", "reason"),
    [
        (base64.b64encode(b"no recording at all").decode(), "cannot be read"),
        (recording(), "holds no packets"),
        (recording(b"x" * 60, link_type=101), "takes Ethernet frames"),
    ],
)
def test_what_is_no_recording_is_named(pcap: str, reason: str) -> None:
    with pytest.raises(WrongRequest, match=reason):
        list(recorded(request(pcap=pcap, count=0)))


@given(st.binary(max_size=400))
def test_any_bytes_in_place_of_a_recording_are_read_or_refused(data: bytes) -> None:
    start = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for whole in (data, start + data):
        try:
            list(recorded(request(pcap=base64.b64encode(whole).decode(), count=0)))
        except WrongRequest:
            pass


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_in_place_of_a_request_are_refused(line: bytes) -> None:
    with pytest.raises(WrongRequest):
        read(line)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "sctp4"}, "is none of"),
        ({"src_port": 65536}, "src_port must be"),
        ({"count": "1"}, "count must be of type int"),
        ({"colour": 1}, "some of the keys"),
        ({"rate": 0}, "rate must be"),
        ({"pcap": "a"}, "not base64"),
        ({"src_ip": "2001:db8::1"}, "no address of IPv4"),
        ({"dst_ip": "10.0.0.0/30"}, "dst_ip: "),
        ({"dst_mac": "localhost"}, "no MAC address"),
    ],
)
def test_wrong_requests_are_refused_with_their_reason(fields: dict[str, Any], reason: str) -> None:
    line = json.dumps({"namespace": "n", "interface": "i", "ethernet": True, **ADDRESSES, **fields})
    with pytest.raises(WrongRequest, match=reason):
        read(line.encode())


# The program


@pytest.fixture
def wire() -> Iterator[tuple[NamedNetns, NamedNetns]]:
    with make_netns() as near, make_netns() as far:
        near.run(
            "ip", "link", "add", "va", "address", NEAR, "type", "veth", "peer", "vb", "address", FAR, "netns", far.name
        )
        for namespace, name, number in ((near, "va", 1), (far, "vb", 2)):
            namespace.run("ip", "address", "add", f"10.9.0.{number}/24", "dev", name)
            namespace.run("ip", "link", "set", name, "up")
        yield near, far


def run(line: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
        said = [json.loads(one) for one in process.stdout]
    return process.returncode, said


@real
def test_what_is_sent_is_said_and_received(wire: tuple[NamedNetns, NamedNetns]) -> None:
    near, far = wire
    far.run("ip", "route", "add", "192.0.2.0/24", "dev", "vb")
    line = {
        "namespace": near.path,
        "interface": "va",
        "ethernet": True,
        "type": "icmp4",
        "count": 5,
        "rate": 1000,
        **ADDRESSES,
    }
    code, said = run(line)
    assert code == 0
    assert [one["event"] for one in said if one["event"] != "sent"] == ["frame", "end"]
    assert said[-1]["count"] == 5
    assert base64.b64decode(said[0]["frame"])[:6] == bytes.fromhex(FAR.replace(":", ""))
    answered = far.run("ip", "-s", "-j", "link", "show", "vb")
    assert json.loads(answered)[0]["stats64"]["rx"]["packets"] >= 5


@real
def test_what_goes_wrong_is_said(wire: tuple[NamedNetns, NamedNetns]) -> None:
    near, _ = wire
    line = {"namespace": near.path, "interface": "va", "ethernet": True, **ADDRESSES}
    for change, reason in (
        ({"interface": "nowhere"}, "No such device"),
        ({"namespace": "/nowhere"}, "No such file"),
        ({"namespace": "/dev/null"}, "cannot be entered"),
        ({"payload": "x" * 9000}, "Message too long"),
        ({"src_ip": "localhost"}, "does not appear to be an IPv4 or IPv6 address"),
    ):
        code, said = run({**line, **change})
        assert (code, said[-1]["event"]) == (1, "error")
        assert reason in said[-1]["reason"]
    near.run("ip", "link", "set", "va", "down")
    code, said = run(line)
    assert "Network is down" in said[-1]["reason"]


@real
def test_it_is_nobody_while_it_sends_and_ends_with_its_stdin(wire: tuple[NamedNetns, NamedNetns]) -> None:
    near, _ = wire
    line = {"namespace": near.path, "interface": "va", "ethernet": True, "count": 1000, "interval_ms": 100, **ADDRESSES}
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["event"] == "frame"
        with open(f"/proc/{process.pid}/status") as status:
            lines = dict(row.split(":\t", 1) for row in status if ":\t" in row)
        assert set(lines["Uid"].split()) == {"65534"}
        assert int(lines["CapEff"], 16) == 0
        process.stdin.close()
        assert process.wait(10) == 2


@real
def test_an_interface_without_ethernet_gets_bare_packets() -> None:
    with make_netns() as space:
        space.run("ip", "tuntap", "add", "mode", "tun", "name", "t0")
        space.run("ip", "link", "set", "t0", "up")
        code, said = run(
            {"namespace": space.path, "interface": "t0", "ethernet": False, "src_ip": "10.9.0.1", "dst_ip": "10.9.0.2"}
        )
        assert (code, said[-1]["event"]) == (0, "end"), said
        frame = base64.b64decode(said[0]["frame"])
        assert frame[0] == 0x45
        assert socket.inet_ntoa(frame[16:20]) == "10.9.0.2"
