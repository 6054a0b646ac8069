"""Record what a real docker daemon answers, as data for the unit tests.

Run as root: ``python plugins/skydive-probe-docker/tests/record.py``.  Writes ``data/docker-VERSION.json`` beside this
file: the date, the versions, and the answers to ``/version``, ``/containers/json``, ``/containers/ID/json`` and
``/events`` while containers of all sorts come and go in a fake host.
"""

from __future__ import annotations

import json
import platform
import socket
import tempfile
import threading
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from skycore.testing.dockerd import Dockerd
from skycore.testing.lab import FakeHost

API = "/v1.41"


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _get(daemon: Dockerd, path: str) -> Any:
    connection = _UnixConnection(daemon.socket)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _record_events(daemon: Dockerd, lines: list[Any], subscribed: threading.Event) -> None:
    connection = _UnixConnection(daemon.socket)
    try:
        connection.request("GET", f"{API}/events")
        response = connection.getresponse()
        subscribed.set()
        while line := response.readline():
            lines.append(json.loads(line))
            if lines[-1]["Type"] == "network" and lines[-1]["Action"] == "destroy":
                return
    finally:
        connection.close()


def _scene(daemon: Dockerd) -> dict[str, Any]:
    """Play what can happen to containers; ``inspect`` of each at the telling moment."""
    inspected: dict[str, Any] = {}

    def note(moment: str, name: str) -> None:
        inspected[moment] = _get(daemon, f"{API}/containers/{name}/json")

    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.project.working_dir": "/srv/shop",
        "role": 'a "quoted"\nname\t\x01 é',
        "app.kubernetes.io/name": "web",
    }
    options = [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
    daemon.container("web", *options)
    note("bridge", "web")
    daemon.docker("network", "create", "second")
    daemon.docker("network", "connect", "second", "web")
    note("two_networks", "web")
    daemon.container("sidecar", "--network", "container:web")
    note("shares", "sidecar")
    daemon.container("hostly", "--network", "host")
    note("host", "hostly")
    daemon.container("lonely", "--network", "none")
    note("none", "lonely")
    daemon.docker("pause", "web")
    note("paused", "web")
    daemon.docker("unpause", "web")
    daemon.docker("rename", "web", "shop")
    note("renamed", "shop")
    daemon.docker("update", "--memory", "64m", "--memory-swap", "64m", "shop")
    daemon.container("checked", "--health-cmd", "true", "--health-interval", "1s")
    while inspected.get("healthy", {}).get("State", {}).get("Health", {}).get("Status") != "healthy":
        note("healthy", "checked")
    daemon.docker("stop", "--time", "0", "shop")
    note("exited", "shop")
    inspected["list"] = _get(daemon, f"{API}/containers/json")
    daemon.docker("rm", "shop")
    inspected["missing"] = _get(daemon, f"{API}/containers/shop/json")
    daemon.docker("rm", "--force", "sidecar", "hostly", "lonely", "checked")
    daemon.docker("network", "rm", "second")
    return inspected


def main() -> None:
    """Record, and write the file."""
    with tempfile.TemporaryDirectory() as folder, Dockerd(FakeHost("recorded"), Path(folder) / "log") as daemon:
        version = _get(daemon, "/version")
        events: list[Any] = []
        subscribed = threading.Event()
        reader = threading.Thread(target=_record_events, args=(daemon, events, subscribed))
        reader.start()
        subscribed.wait(20)
        inspected = _scene(daemon)
        reader.join(20)
    document = {
        "recorded": datetime.now(UTC).date().isoformat(),
        "by": "plugins/skydive-probe-docker/tests/record.py",
        "docker": version["Version"],
        "kernel": platform.release().partition("-")[0],
        "version": version,
        "inspected": inspected,
        "events": events,
    }
    target = Path(__file__).parent / "data" / f"docker-{version['Version'].partition('+')[0]}.json"
    target.parent.mkdir(exist_ok=True)
    recorded = json.dumps(document, indent=1, ensure_ascii=True).replace(platform.release(), document["kernel"])
    target.write_text(recorded + "\n")


if __name__ == "__main__":
    main()
