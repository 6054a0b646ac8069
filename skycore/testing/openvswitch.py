"""A real Open vSwitch for tests, inside a fake host: its database server and its switch daemon.

The userspace datapath (``netdev``) runs on any kernel; with ``system=True`` the switch uses the kernel's, which
needs the module openvswitch.  Everything lies in the host's own ``/run/openvswitch`` and dies with the host.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import trio

from skycore.testing.lab import Closing, FakeHost, Inside, LabError

PROGRAMS: Final = ("root", "ip", "nsenter", "unshare", "bash", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
"""What ``OpenVSwitch`` needs, as ``pytest.mark.needs`` takes it."""

_FOLDER: Final = "/run/openvswitch"
_SCHEMA: Final = "/usr/share/openvswitch/vswitch.ovsschema"


class OpenVSwitch(Closing):
    """ovsdb-server and ovs-vswitchd in a fake host, which is closed with it; ``log`` gets what both print."""

    def __init__(self, host: FakeHost, log: Path, *, system: bool = False) -> None:
        self.host = host
        self.log = log
        self._system = system
        self._database: Inside | None = None
        self._switch: Inside | None = None
        try:
            host.run("mkdir", "-p", _FOLDER)
            host.run("ovsdb-tool", "create", f"{_FOLDER}/conf.db", _SCHEMA)
            self.start_database()
            self.vsctl("--no-wait", "init")
            self.start_switch()
        except BaseException:
            self.close()
            raise

    @property
    def datapath(self) -> str:
        """The ``datapath_type`` of bridges here."""
        return "system" if self._system else "netdev"

    @property
    def socket(self) -> str:
        """The database's socket as seen from this machine."""
        return self.host.path(f"{_FOLDER}/db.sock")

    def path(self, name: str) -> str:
        """A file of the switch's run folder, as seen from this machine."""
        return self.host.path(f"{_FOLDER}/{name}")

    def start_database(self, seconds: float = 10.0) -> None:
        """Start the database server, or start it again (SIGKILL), and wait until it answers."""
        self.stop_database()
        self._database = self._start(
            "ovsdb-server", f"{_FOLDER}/conf.db", f"--remote=punix:{_FOLDER}/db.sock",
            f"--unixctl={_FOLDER}/db.ctl", "--no-chdir",
        )  # fmt: skip
        self._wait(self._database, ["ovs-vsctl", "--no-wait", "--timeout=1", "show"], seconds)

    def start_switch(self, seconds: float = 10.0) -> None:
        """Start the switch daemon, or start it again (SIGKILL), and wait until it answers."""
        self.stop_switch()
        modes = [] if self._system else ["--disable-system"]
        self._switch = self._start(
            "ovs-vswitchd", f"unix:{_FOLDER}/db.sock", *modes, f"--unixctl={_FOLDER}/switch.ctl", "--no-chdir"
        )
        self._wait(self._switch, ["ovs-appctl", "-t", f"{_FOLDER}/switch.ctl", "version"], seconds)

    def stop_database(self) -> None:
        """Kill the database server (SIGKILL); its file stays."""
        if self._database is not None:
            self._end(self._database)
            self._database = None
        self.host.run("rm", "-f", f"{_FOLDER}/db.sock")

    def stop_switch(self) -> None:
        """Kill the switch daemon (SIGKILL)."""
        if self._switch is not None:
            self._end(self._switch)
            self._switch = None

    def freeze(self) -> None:
        """Stop the database server where it is (SIGSTOP): it accepts connections and does not answer."""
        if self._database is not None:
            self._database.freeze()

    def thaw(self) -> None:
        """Let it go on after ``freeze``."""
        if self._database is not None:
            self._database.thaw()

    def vsctl(self, *arguments: str, timeout: float = 30.0) -> str:
        """Run ovs-vsctl in the host; what it printed, stripped.  LabError when it fails."""
        return self.host.run("ovs-vsctl", "--timeout=20", *arguments, timeout=timeout).strip()

    async def avsctl(self, *arguments: str) -> str:
        """``vsctl``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.vsctl(*arguments))

    def ofctl(self, *arguments: str, data: bytes | None = None, timeout: float = 60.0) -> str:
        """Run ovs-ofctl in the host, speaking any version of OpenFlow unless told otherwise; what it printed."""
        versions = () if "-O" in arguments else ("-O", "OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15")
        return self.host.run("ovs-ofctl", *versions, *arguments, data=data, timeout=timeout)

    async def aofctl(self, *arguments: str, data: bytes | None = None) -> str:
        """``ofctl``, in a worker thread."""
        return await trio.to_thread.run_sync(lambda: self.ofctl(*arguments, data=data))

    def bridge(self, name: str, *settings: str) -> None:
        """Add a bridge of this datapath."""
        self.vsctl("add-br", name, "--", "set", "bridge", name, f"datapath_type={self.datapath}", *settings)

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table as ovs-vsctl prints them: column → value in OVSDB's JSON (RFC 7047, 5.1)."""
        printed = json.loads(self.vsctl("--format=json", "list", name))
        return [dict(zip(printed["headings"], row, strict=True)) for row in printed["data"]]

    def remove_all(self) -> None:
        """Remove every bridge, and whatever was made of the switch's configuration besides."""
        bridges = self.vsctl("list-br").split()
        if bridges:
            self.vsctl(*[word for bridge in bridges for word in ("--", "--if-exists", "del-br", bridge)][1:])
        # What bridges referred to can go only after them.
        others = [word for table in ("QoS", "Queue", "Mirror") for word in ("--", "--all", "destroy", table)]
        columns = ("external_ids", "other_config")
        self.vsctl(*others[1:], *[word for column in columns for word in ("--", "clear", "Open_vSwitch", ".", column)])

    def tail(self, size: int = 4096) -> str:
        """The end of what the daemons printed."""
        return self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else ""

    def close(self) -> None:
        """Kill the whole fake host."""
        self._database = self._switch = None
        self.host.close()

    def _start(self, *command: str) -> Inside:
        with self.log.open("ab") as log:
            return self.host.popen(*command, output=log)

    def _end(self, daemon: Inside) -> None:
        daemon.kill()
        daemon.thaw()
        daemon.wait()

    def _wait(self, daemon: Inside, question: Sequence[str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.host.run(*question, timeout=5.0)
                return
            except LabError as error:
                if time.monotonic() > deadline or daemon.outer.poll() is not None:
                    raise LabError(
                        f"{question[0]} gets no answer ({error}); the daemons printed:\n{self.tail()}"
                    ) from error
                time.sleep(0.02)


def make_switch(stack: ExitStack, log: Path, *, system: bool = False) -> OpenVSwitch:
    """A switch in a fake host of its own, closed with the stack."""
    return stack.enter_context(OpenVSwitch(FakeHost(), log, system=system))
