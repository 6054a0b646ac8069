"""Plugins as if they were installed, and the process that runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from skycore.client import Client
from skycore.plugin import ProbeHost
from skycore.plugin.discovery import PROBES

T = TypeVar("T")
INSTALLED = Path(__file__).parent / "installed"


def add_distribution(folder: Path, entry_points: Mapping[str, str], name: str = "skydive-probe-awkward") -> None:
    """What an installer leaves of a package: the metadata that makes its entry points known."""
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [f"{word} = {value}" for word, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{PROBES}]", *lines, ""]))


def probe(run: Callable[[ProbeHost, trio.TaskStatus[None]], Awaitable[None]], **attributes: object) -> type:
    """A probe class whose ``run`` is this function of its host."""

    @attrs.frozen
    class Settings:
        pass

    async def run_it(self: Any, task_status: trio.TaskStatus[None]) -> None:
        await run(self.host, task_status)

    def init(self: Any, settings: Settings, host: ProbeHost) -> None:
        self.host = host

    return type("Probe", (), {"Settings": Settings, "__init__": init, "run": run_it, **attributes})


class Process:
    """A `skycore run`, and what it says."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.popen = popen
        self._log = log
        self.client: Client | None = None

    def log(self) -> list[dict[str, Any]]:
        lines = [line for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line.get("event") == event]

    def until(self, condition: Callable[[], T], seconds: float = 10.0) -> T:
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, f"not true within {seconds} s; the log:\n{self._log.read_text()}"
            assert self.popen.poll() is None, f"ended with {self.popen.returncode}; the log:\n{self._log.read_text()}"
            time.sleep(0.05)
        return result

    def probes(self) -> dict[str, Any]:
        assert self.client is not None
        status: dict[str, Any] = self.client.status()["TopologyProbes"]
        return status

    def probe(self, name: str, **fields: Any) -> dict[str, Any]:
        """The status of one probe, as soon as it has these fields."""

        def reached() -> dict[str, Any] | None:
            status: dict[str, Any] = self.probes()[name]
            return status if {key: status.get(key) for key in fields} == fields else None

        found = self.until(reached)
        assert found is not None
        return found

    def query(self, gremlin: str) -> Any:
        assert self.client is not None
        return self.client.query(gremlin)

    def stop(self, signum: int = signal.SIGTERM, seconds: float = 10.0) -> float:
        """Ask it to end; returns how long that took."""
        began = time.monotonic()
        self.popen.send_signal(signum)
        self.popen.wait(seconds)
        return time.monotonic() - began


@contextmanager
def skycore_run(folder: Path, role: str, configuration: str, entry_points: Mapping[str, str]) -> Iterator[Process]:
    """Run a role in a process of its own, with these plugins installed for it."""
    add_distribution(folder / "site", entry_points)
    (folder / "skycore.yml").write_text(configuration)
    log = folder / "log"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder / 'site'}{os.pathsep}{INSTALLED}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "AWKWARD_IMPORTS": str(folder / "imports"),
    }
    command: list[str | Path] = [
        Path(sys.executable).with_name("skycore"),
        "run",
        "--role",
        role,
        "-c",
        folder / "skycore.yml",
    ]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output, env=environment) as popen:
        process = Process(popen, log)
        try:
            (running,) = process.until(lambda: process.logged("agent is running"))
            process.client = Client(running["listen"][0], timeout=10)
            yield process
        finally:
            if popen.poll() is None:
                popen.kill()
