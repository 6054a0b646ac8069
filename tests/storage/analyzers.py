"""Real `skycore run` processes on loopback, with their state in a folder of the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from skycore.client import Client
from skycore.errors import ClientError

T = TypeVar("T")
_SKYCORE = Path(sys.executable).with_name("skycore")


class Running:
    """A process that serves: ``client`` asks it, ``log`` gives its lines."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        self.lines.extend(iter(self.popen.stderr.readline, ""))

    def text(self) -> str:
        return "".join(self.lines)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def until(self, condition: Callable[[], T], seconds: float = 60.0) -> T:
        """What the condition returned as soon as that is true."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert self.popen.poll() is None, self.text()
            assert time.monotonic() < deadline, f"{result!r}; the log:\n{self.text()[-4000:]}"
            time.sleep(0.02)
        return result

    def ask(self, query: str) -> Any:
        return self.client.query(query)

    def status(self) -> dict[str, Any]:
        return self.client.status()

    @property
    def client(self) -> Client:
        """A client of the analyzer, or of the agent when there is no analyzer."""
        lines = [line for line in self.log() if line["event"] in ("agent is running", "analyzer is running")]
        if not lines:
            raise ClientError("it does not serve yet")
        chosen = min(lines, key=lambda line: str(line["event"] != "analyzer is running"))
        return Client(chosen["listen"][0], timeout=20)

    def end(self) -> int:
        """Ask it to end; its exit status."""
        self.popen.terminate()
        return self.wait()

    def wait(self) -> int:
        status = self.popen.wait(60)
        self._reader.join()
        return status


@contextmanager
def started(
    role: str,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    file_blocks: int | None = None,
    **configuration: Any,
) -> Iterator[Running]:
    """A process of a role; killed at the end of the block, if it still runs.

    No file that it writes may grow beyond ``file_blocks`` blocks, as on a full disk.
    """
    settings = {
        "host_id": "box",
        "storage": {"embedded": {"driver": "embedded", "path": str(folder / "state")}},
        "logging": {"encoder": "json"},
        "agent": {"listen": "127.0.0.1:0", "topology": {"probes": ["-netlink", "-netns"]}},
        "analyzer": {"listen": "127.0.0.1:0"},
        **configuration,
    }
    (folder / "skycore.yml").write_text(yaml.safe_dump(settings))
    command: list[str | Path] = [_SKYCORE, "run", "--role", role, "-c", folder / "skycore.yml"]
    if file_blocks is not None:
        command = ["sh", "-c", 'ulimit -f "$0"; exec "$@"', str(file_blocks), *command]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **(environment or {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) as popen:
        process = Running(popen)
        try:
            yield process
        finally:
            if popen.poll() is None:
                popen.kill()
            process.wait()


@contextmanager
def running(role: str, folder: Path, **options: Any) -> Iterator[Running]:
    """A process of a role that serves, and that ends well when it is asked to at the end of the block."""
    with started(role, folder, **options) as process:
        process.until(lambda: _answers(process))
        yield process
        assert process.end() == 0, process.text()


def _answers(process: Running) -> bool:
    try:
        return bool(process.status())
    except ClientError:
        return False
