"""Recordings given to a real analyzer: by the command, and over HTTP as others send them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.flows import write_trace
from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost
from tests.system.processes import Process
from tests.system.test_captures import ANALYZER, flows, rows

pytestmark = pytest.mark.needs("root", "ip", "nsenter")

DATA = Path(__file__).parents[1] / "data" / "flows"
SKYCORE = str(Path(sys.executable).with_name("skycore"))
SKYDIVE = str(Path(sys.executable).with_name("skydive"))


@pytest.fixture
def analyzer(tmp_path: Path) -> Iterator[Process]:
    """It keeps everything, for recordings are old."""
    with FakeHost() as host:
        host.run("ip", "link", "set", "lo", "up")
        folder = tmp_path / "analyzer"
        storage = {"driver": "embedded", "path": str(folder / "state"), "retention_days": 0}
        with Process(host, "analyzer", folder, {"storage": {"embedded": storage}}, address=ANALYZER) as made:
            yield made.start()


def command(analyzer: Process, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(words, input=data, capture_output=True, timeout=120, check=False)

    return inside(analyzer.host.netns_path, run)


def post(analyzer: Process, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    def run() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(ANALYZER, timeout=60)
        connection.request("POST", "/api/pcap", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    return inside(analyzer.host.netns_path, run)


def test_the_command_puts_flows_into_history_at_their_times(analyzer: Process) -> None:
    file = DATA / "eth-ip4-arp-dns-req-http-google.pcap"
    done = command(analyzer, SKYCORE, "pcap", "-t", str(file))
    first, second = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    assert first == f"{file} was successfully imported"
    assert second.startswith(
        "58 packets in 6 flows from 2016-02-05T08:05:13.465Z to 2016-02-05T08:05:13.532Z, CaptureID "
    )
    kept = flows(analyzer)
    assert {flow["CaptureID"] for flow in kept} == {second.rpartition(" ")[2]}
    assert len(kept) == 6
    assert min(flow["Start"] for flow in kept) == 1454659513465
    # In Skydive's words, from standard input; a second import is one of its own.
    again = command(analyzer, SKYDIVE, "client", "pcap", "--trace", "-", data=file.read_bytes())
    assert again.returncode == 0, again.stderr
    assert len(flows(analyzer)) == 2 * len(kept)


def test_half_a_recording_is_kept_and_told(analyzer: Process) -> None:
    data = (DATA / "dns.pcap").read_bytes()
    done = command(analyzer, SKYCORE, "pcap", "-t", "-", data=data[:-10])
    assert done.returncode == 1
    assert b"Failed to import, 400 Bad Request: unexpected EOF: the capture ends within a packet" in done.stderr
    assert b"kept are 15 packets before that" in done.stderr
    assert sum(one["Metric"]["ABPackets"] + one["Metric"]["BAPackets"] for one in flows(analyzer)) == 15
    wrong = command(analyzer, SKYCORE, "pcap", "-t", "-", data=b"<html>" * 10)
    assert b"is no pcap or pcapng file" in wrong.stderr
    assert b"nothing was kept" in wrong.stderr


def test_a_recording_may_be_larger_than_any_other_body(analyzer: Process, tmp_path: Path) -> None:
    """20 MB, told in advance and in chunks; memory grows by less than half of it."""
    file = tmp_path / "large.pcap"
    write_trace(file, 220_000, 500)
    assert file.stat().st_size > 17 << 20
    assert command(analyzer, SKYCORE, "pcap", "-t", str(DATA / "dns.pcap")).returncode == 0
    before = peak(analyzer)
    status, body = post(analyzer, file.read_bytes(), {"Content-Type": "application/octet-stream"})
    told: dict[str, Any] = json.loads(body)
    assert (status, told["Packets"], told["Flows"], told["Bytes"]) == (202, 220_000, 500, file.stat().st_size)
    assert peak(analyzer) - before < 40 << 10
    done = command(analyzer, SKYCORE, "pcap", "-t", str(file))
    assert done.returncode == 0, done.stderr
    assert rows(analyzer, "SELECT count(*) FROM flow")[0][0] >= 1000
    # Elsewhere the bound holds.
    assert post_elsewhere(analyzer, 17 << 20) == 413


def post_elsewhere(analyzer: Process, size: int) -> int:
    def run() -> int:
        connection = http.client.HTTPConnection(ANALYZER, timeout=60)
        connection.putrequest("POST", "/api/topology")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        return connection.getresponse().status

    return inside(analyzer.host.netns_path, run)


def peak(analyzer: Process) -> int:
    """The largest resident memory of the analyzer, in KiB (proc(5), VmHWM)."""
    pid = next(
        int(line)
        for line in analyzer.host.run("pgrep", "-f", "run --role analyzer").split()
        if "skycore" in analyzer.host.run("cat", f"/proc/{line}/cmdline")
    )
    status = analyzer.host.run("cat", f"/proc/{pid}/status")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
