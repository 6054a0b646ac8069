"""What one analyzer takes from agents: changes a second, and what many quiet links cost it.

    .venv/bin/python -m benchmarks.link [take|quiet]

The analyzer is a real ``skycore run --role analyzer``, pinned to one core, its store's thread included; the agents
are the real client code over TCP in processes of their own (`benchmarks.agents`).

*take*: agents with 10,000 interfaces of 1.1 KB in all change metrics as fast as they are taken.  Counted is what was
acknowledged, hence committed.  A second figure is by CPU time of the analyzer, for machines where others work, too.

*quiet*: 200 links from 4 processes, each agent with 50 interfaces and one change a second.  Printed are the analyzer's
CPU and memory (resident), before the links, with their graphs, and after the changes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from skycore.client import Client
from skycore.errors import ClientError

PORT = 18482
ADDRESS = f"127.0.0.1:{PORT}"
SECONDS = 15.0
INTERFACES = 10_000
QUIET_LINKS, QUIET_INTERFACES = 200, 50
PROCESSES = 4
_TICK = os.sysconf("SC_CLK_TCK")
_SKYCORE = str(Path(sys.executable).with_name("skycore"))


class Analyzer:
    """A running analyzer; ``pid`` is that of its process."""

    def __init__(self, folder: Path) -> None:
        self.configuration = folder / "analyzer.yml"
        self.configuration.write_text(
            f"analyzer: {{listen: '{ADDRESS}'}}\nstorage: {{embedded: {{driver: embedded, path: '{folder}/state'}}}}\n"
        )
        self._log = folder / "analyzer.log"
        self._client = Client(ADDRESS)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on the first core, and wait until it answers."""
        command = [_SKYCORE, "run", "--role", "analyzer", "-c", str(self.configuration)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(pinned(0, command), stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self._client.status()
            except ClientError:
                time.sleep(0.02)
            else:
                return
        raise SystemExit(f"the analyzer did not start: {self._log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU so far (proc_pid_stat(5), utime and stime)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def resident(self) -> float:
        """Resident memory in MB (proc_pid_status(5), VmRSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6

    def status(self) -> dict[str, Any]:
        return self._client.status()

    def end(self, *, kill: bool = False) -> None:
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait()


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command on one core; anywhere, when there is no second one."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core]), *command] if len(cores) > 1 else list(command)


class Agents:
    """A process with agents (`benchmarks.agents`)."""

    def __init__(self, folder: Path, first: int, count: int, interfaces: int, changes: int) -> None:
        program = [sys.executable, "-m", "benchmarks.agents", ADDRESS, str(folder)]
        numbers = [str(number) for number in (first, count, interfaces, changes)]
        self._process = subprocess.Popen(
            pinned(1, [*program, *numbers]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def _streams(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def linked(self) -> None:
        """Wait until all that they have is acknowledged."""
        assert self._streams[1].readline() == "linked\n"

    def next(self) -> None:
        """Begin, and the second time end, the changes."""
        self._streams[0].write("\n")
        self._streams[0].flush()

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._streams[1].readline())
        self._process.wait()
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def scene(
    count: int, interfaces: int, changes: int, processes: int = PROCESSES
) -> Iterator[tuple[Analyzer, list[Agents]]]:
    """A started analyzer, and the agents that begin to link."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skycore-bench-")))
        analyzer = Analyzer(folder)
        analyzer.start()
        stack.callback(analyzer.end)
        each = count // processes
        agents = [Agents(folder, number * each, each, interfaces, changes) for number in range(processes)]
        for process in agents:
            stack.callback(process.end)
        yield analyzer, agents


def take(seconds: float) -> None:
    """Print how many changes a second are taken."""
    links = 2 * PROCESSES
    with scene(links, INTERFACES // links, 0) as (analyzer, agents):
        for process in agents:
            process.linked()
        cpu = analyzer.cpu()
        for process in agents:
            process.next()
        time.sleep(seconds)
        for process in agents:
            process.next()
        results = [process.result() for process in agents]
        cpu = analyzer.cpu() - cpu
        made, lost = (sum(result[key] for result in results) for key in ("made", "lost"))
        took = max(result["seconds"] for result in results)
        theirs = sum(result["cpu"] for result in results)
        history = analyzer.status()["History"]
    print(
        f"taken from {links} agents: {made / took:,.0f} changes/s ({made:,} in {took:.1f} s, lost {lost}, gaps "
        f"{history['Gaps']}); {made / cpu:,.0f} per CPU second of the analyzer, {1e6 * cpu / made:.1f} us each; CPU "
        f"of the analyzer {100 * cpu / took:.0f} %, of the agents {100 * theirs / took:.0f} %"
    )


def quiet(seconds: float) -> None:
    """Print what 200 links cost."""
    with scene(QUIET_LINKS, QUIET_INTERFACES, 1) as (analyzer, agents):
        empty = analyzer.resident()
        for process in agents:
            process.linked()
        full = analyzer.resident()
        time.sleep(2.0)
        cpu, begin = analyzer.cpu(), time.perf_counter()
        time.sleep(seconds)
        idle = (analyzer.cpu() - cpu) / (time.perf_counter() - begin)
        for process in agents:
            process.next()
        cpu, begin = analyzer.cpu(), time.perf_counter()
        time.sleep(seconds)
        busy = (analyzer.cpu() - cpu) / (time.perf_counter() - begin)
        after = analyzer.resident()
        assert len(analyzer.status()["Agents"]) == QUIET_LINKS
        for process in agents:
            process.next()
        lost = sum(process.result()["lost"] for process in agents)
    elements = QUIET_LINKS * (2 * QUIET_INTERFACES + 1)
    print(
        f"{QUIET_LINKS} links in {PROCESSES} processes, {elements:,} elements: {empty:.0f} MB before, {full:.0f} MB "
        f"linked, {after:.0f} MB after {seconds:.0f} s of {QUIET_LINKS} changes/s; CPU {100 * idle:.1f} % when nothing "
        f"changes, {100 * busy:.1f} % with the changes; lost {lost}"
    )


if __name__ == "__main__":
    which = sys.argv[1:] or ["take", "quiet"]
    if "take" in which:
        take(SECONDS)
    if "quiet" in which:
        quiet(SECONDS)
