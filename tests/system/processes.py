"""Real `skycore run` processes inside fake hosts, asked over their REST API."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from skycore.client import Access, Client
from skycore.errors import ClientError, RequestRefused
from skycore.plugin.namespaces import inside
from skycore.testing.lab import Closing, FakeHost, Inside

T = TypeVar("T")
SKYCORE = str(Path(sys.executable).with_name("skycore"))


def until(condition: Callable[[], T], seconds: float = 15.0, *, why: Callable[[], str] = lambda: "") -> T:
    """What the condition returned as soon as that is true; AssertionError with what ``why`` says after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {result!r} {why()}"
        time.sleep(0.02)
    return result


class Process(Closing):
    """A `skycore run` inside a fake host, with its own folder for state, configuration and log.

    ``address`` is where it listens, as it is reached from inside its host; ``access`` says who asks there.
    """

    program: tuple[str, ...] = (SKYCORE,)

    def __init__(
        self,
        host: FakeHost,
        role: str,
        folder: Path,
        configuration: Mapping[str, Any],
        *options: str,
        address: str,
        access: Access | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.role = role
        self.folder = folder
        self.state = folder / "state" / role
        self.log_file = folder / "log"
        self._options = options
        self._client = Client(address, timeout=10, access=access)
        self._inside: Inside | None = None
        self.configure(configuration)

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Write the configuration file, for the next start."""
        whole = {
            "storage": {"embedded": {"driver": "embedded", "path": str(self.folder / "state")}},
            "logging": {"encoder": "json"},
            **configuration,
        }
        (self.folder / "skycore.yml").write_text(yaml.safe_dump(whole))

    def spawn(self) -> Inside:
        """Start it, and do not wait for anything."""
        with self.log_file.open("ab") as log:
            command = [
                *self.program,
                "run",
                "--role",
                self.role,
                "-c",
                str(self.folder / "skycore.yml"),
                *self._options,
            ]
            self._inside = self.host.popen(*command, output=log)
        return self._inside

    def start(self) -> Process:
        """Start it and wait until it answers."""
        self.spawn()
        return self.answered()

    def answered(self) -> Process:
        """Wait until it answers."""
        self.until(self._answers)
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.status())
        except RequestRefused:
            raise
        except ClientError:
            return False

    @property
    def running(self) -> bool:
        return self._inside is not None and self._inside.outer.poll() is None

    def until(self, condition: Callable[[], T], seconds: float = 15.0) -> T:
        """What the condition returned as soon as that is true, while this process lives."""

        def alive() -> T:
            assert self.running, f"the {self.role} has ended; its log:\n{self.log()}"
            return condition()

        return until(alive, seconds, why=lambda: f"the log of the {self.role}:\n{self.log()[-8000:]}")

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    # ------------------------------------------------------------------ questions

    def query(self, gremlin: str) -> Any:
        """The answer to a Gremlin query."""
        return inside(self.host.netns_path, lambda: self._client.query(gremlin))

    def status(self) -> dict[str, Any]:
        return inside(self.host.netns_path, self._client.status)

    def probe(self, name: str) -> dict[str, Any]:
        """What the status of an agent says of one probe."""
        probe: dict[str, Any] = self.status()["TopologyProbes"][name]
        return probe

    def elements(self, prefix: str = "G") -> dict[str, dict[str, Any]]:
        """All nodes and edges at one moment, by ID; ``prefix`` may name the moment, as in ``G.At(…)``."""
        (graph,) = self.query(prefix)
        return {element["ID"]: element for element in [*(graph["Nodes"] or ()), *(graph["Edges"] or ())]}

    # ------------------------------------------------------------------ ends

    def kill9(self) -> None:
        """Kill it (SIGKILL) and wait until it is gone."""
        if self._inside is not None:
            self._inside.kill()
            self._inside.wait()

    def stop(self) -> int:
        """Ask it to end (SIGTERM); its exit status."""
        assert self._inside is not None
        self._inside.kill(signal.SIGTERM)
        return self._inside.wait()

    def close(self) -> None:
        self.kill9()


def content(elements: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What elements say, without when they said it and in which revision: ID → text, to be compared."""
    left_out = ("CreatedAt", "UpdatedAt", "Revision")
    return {
        id: json.dumps({key: value for key, value in element.items() if key not in left_out}, sort_keys=True)
        for id, element in elements.items()
    }


UNSTEADY = frozenset({"Metric", "LastUpdateMetric", "FDB", "MDB", "Neighbors"})
"""Metadata that traffic changes at any time: counters, and what the kernel learns from packets."""


def steady(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without what traffic changes."""
    return {key: value for key, value in metadata.items() if key not in UNSTEADY}


def revisions(elements: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """The revision of each element: as long as an element keeps it, nothing has happened to it."""
    return {id: element["Revision"] for id, element in elements.items()}
