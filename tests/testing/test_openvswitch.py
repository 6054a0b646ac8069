"""Open vSwitch for tests: it starts, is stopped and started again, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from skycore.testing.lab import FakeHost, LabError
from skycore.testing.openvswitch import PROGRAMS, OpenVSwitch

pytestmark = pytest.mark.needs(*PROGRAMS)


def test_a_switch_runs_and_goes_with_its_host(tmp_path: Path) -> None:
    with OpenVSwitch(FakeHost(), tmp_path / "log") as ovs:
        init = ovs.host.pid
        ovs.bridge("br0", "external_ids:a=1")
        (row,) = ovs.table("Bridge")
        assert (row["name"], row["external_ids"]) == ("br0", ["map", [["a", "1"]]])
        assert "NORMAL" in ovs.ofctl("dump-flows", "br0")
        assert Path(ovs.socket).is_socket()
        assert Path(ovs.path("br0.mgmt")).is_socket()

        ovs.stop_database()
        with pytest.raises(LabError, match=r"db\.sock"):
            ovs.vsctl("--timeout=1", "show")
        ovs.start_database()
        assert ovs.vsctl("list-br") == "br0"
        ovs.freeze()
        with pytest.raises(LabError):
            ovs.host.run("ovs-vsctl", "--timeout=1", "show")
        ovs.thaw()
        ovs.start_switch()
        ovs.remove_all()
        assert ovs.vsctl("list-br") == ""
        assert "bridge br0" in ovs.tail(1 << 20)
    assert not Path(f"/proc/{init}").exists()


def test_a_switch_that_cannot_start_leaves_no_host(tmp_path: Path) -> None:
    host = FakeHost()
    host.run("mkdir", "-p", "/run/openvswitch")
    host.run("touch", "/run/openvswitch/conf.db")
    with pytest.raises(LabError, match=r"conf\.db"):
        OpenVSwitch(host, tmp_path / "log")
    assert not Path(f"/proc/{host.pid}").exists()
