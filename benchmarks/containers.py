"""What the probes docker and runc cost with many containers: from a container's start to its node, and idling.

dockerd runs in a fake host of its own, so root is needed; one probe at a time runs in this process over a real graph,
without netlink inside the containers.  The containers are busybox sleeping, with a namespace each and no network
(``--network none``): five hundred bridged ones would measure the kernel's bridge.

- start: containers are started one after another by docker's API; the time runs from the daemon's own ``timeNano`` of
  the start event to the moment when the node is in the graph
- inventory: a probe starts anew with all containers there; runc reads docker's own state folder
- idle: nothing happens; the window holds docker's heartbeats, and runc's looks at every process each two seconds

Run: .venv/bin/python -m benchmarks.containers
"""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import trio

from skycore.testing import ProbeLab, run_probes
from skycore.testing.dockerd import IMAGE, Dockerd
from skycore.testing.lab import FakeHost

COUNT = int(os.environ.get("SKYCORE_BENCH_CONTAINERS", "500"))
WINDOW = float(os.environ.get("SKYCORE_BENCH_WINDOW", "30"))


class _Unix(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def report(name: str, text: str) -> None:
    print(f"{name:<28} {text}", flush=True)


def post(connection: _Unix, path: str, document: Any = None) -> Any:
    body = None if document is None else json.dumps(document)
    connection.request("POST", f"/v1.41{path}", body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{path}: {answer.status} {text!r}")
    return json.loads(text) if text else None


def create(connection: _Unix, number: int) -> str:
    wanted = {"Image": IMAGE, "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "none"}}}
    id: str = post(connection, f"/containers/create?name=c{number}", wanted)["Id"]
    return id


def hear(path: str, started: dict[str, float]) -> None:
    """When the daemon says that each container was started, in seconds since the epoch."""
    connection = _Unix(path)
    filters = '{"type":["container"],"event":["start"]}'
    connection.request("GET", f"/v1.41/events?filters={filters.replace(chr(34), '%22')}")
    answer = connection.getresponse()
    while len(started) < COUNT and (line := answer.readline()):
        event = json.loads(line)
        started[event["Actor"]["ID"]] = event["timeNano"] / 1e9
    connection.close()


async def starts(dockerd: Dockerd, lab: ProbeLab, ids: list[str]) -> None:
    started: dict[str, float] = {}
    shown: dict[str, float] = {}

    async def watch() -> None:
        cursor = lab.graph.log.cursor()
        try:
            while len(shown) < len(ids):
                await cursor.wait()
                now = time.time()
                for change in cursor.read().changes:
                    metadata = change.metadata()
                    if metadata.get("Type") == "container":
                        shown.setdefault(metadata["Container"]["ID"], now)
        finally:
            cursor.close()

    listener = threading.Thread(target=hear, args=(dockerd.socket, started), daemon=True)
    listener.start()
    connection = _Unix(dockerd.socket)

    def start_all() -> None:
        for id in ids:
            post(connection, f"/containers/{id}/start")

    began, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.to_thread.run_sync(start_all)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    listener.join(10)
    delays = sorted((shown[id] - started[id]) * 1000 for id in ids)
    report(
        f"{len(ids)} starts",
        f"start to node: median {statistics.median(delays):.0f} ms, 95 % {delays[int(len(delays) * 0.95)]:.0f} ms, "
        f"worst {delays[-1]:.0f} ms; one start takes docker {seconds / len(ids) * 1000:.0f} ms; "
        f"CPU {cpu / len(ids) * 1000:.1f} ms a start, with this program's own",
    )


async def measure(dockerd: Dockerd) -> None:
    connection = _Unix(dockerd.socket)
    ids = [create(connection, number) for number in range(COUNT)]
    probes: dict[str, dict[str, Any]] = {
        "docker": {
            "url": f"unix://{dockerd.socket}",
            "proc_path": dockerd.host.proc_path,
            "netns": {"run_path": dockerd.host.path("/run/docker/netns")},
        }
    }
    async with run_probes(probes, namespace=dockerd.host.netns_path) as lab:
        await starts(dockerd, lab, ids)
    await standing("docker", probes["docker"], dockerd)
    folders = {
        "run_path": [dockerd.host.path("/run/docker/runtime-runc/moby")],
        "proc_path": dockerd.host.proc_path,
        "root_path": dockerd.host.path(""),
    }
    await standing("runc", folders, dockerd)


async def standing(name: str, settings: dict[str, Any], dockerd: Dockerd) -> None:
    """A probe that finds all containers running, and nothing that happens."""
    began, cpu = time.perf_counter(), time.process_time()
    async with run_probes({name: settings}, namespace=dockerd.host.netns_path, started=120) as lab:
        assert len(lab.nodes(Type="container")) == COUNT
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        report(f"{name}, inventory of {COUNT}", f"{seconds:.2f} s into the graph, CPU {cpu:.2f} s")
        cpu = time.process_time()
        await trio.sleep(WINDOW)
        cpu = time.process_time() - cpu
        report(f"{name}, idle", f"CPU {cpu / WINDOW * 100:.2f} % of a core over {WINDOW:.0f} s")


def main() -> int:
    load = os.getloadavg()[0]
    print(f"Linux {platform.release()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder, Dockerd(FakeHost(), Path(folder) / "log") as dockerd:
        report("docker", dockerd.docker("version", "--format", "{{.Server.Version}}"))
        trio.run(measure, dockerd)
    return 0


if __name__ == "__main__":
    sys.exit(main())
