"""TinkerGraph, the in-memory graph of Apache TinkerPop, as a peer: a Java program in benchmarks/tinkergraph.

Maven builds it, in a folder for temporary files, when it is first used, with what it needs from its registry as it is
set up on this machine.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec

from benchmarks.datacenter import DataCentre

INDEXED = "Name, Type, TID, State, MTU, Container.Labels.app"
_PROJECT = Path(__file__).parent / "tinkergraph"
_HEAP = "-Xmx6g"


@attrs.frozen
class Timing:
    """CPU of the measuring thread in milliseconds, and the answer's size."""

    first: float
    warm: float
    answer: int


def available() -> bool:
    return shutil.which("java") is not None and shutil.which("mvn") is not None


def measure(made: DataCentre, literals: Mapping[str, Any]) -> tuple[dict[str, Timing], float, int]:
    """Each query's timing by its name, seconds of CPU to load the graph, and bytes of heap afterwards."""
    target = _built() / "target"
    timings: dict[str, Timing] = {}
    loaded, heap = 0.0, 0
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.writelines(line + b"\n" for line in _lines(made))
        file.flush()
        path = f"{target}/tinkergraph-1.jar:{target}/dependency/*"
        command = ["java", "-XX:+UseSerialGC", _HEAP, "-cp", path, "Peer", file.name]
        command.append(msgspec.json.encode(literals).decode())
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"TinkerGraph's program ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    for line in done.stdout.splitlines():
        found = msgspec.json.decode(line)
        if "query" in found:
            timings[found["query"]] = Timing(found["first"], found["warm"], found["answer"])
        else:
            loaded, heap = found["loaded"] / 1000, found["heap"]
    return timings, loaded, heap


def _built() -> Path:
    sources = sorted(path for path in _PROJECT.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"skycore-bench-tinkergraph-{digest}"
    if not (folder / "target" / "tinkergraph-1.jar").exists():
        shutil.copytree(_PROJECT, folder, dirs_exist_ok=True)
        subprocess.run(["mvn", "-q", "-B", "package"], cwd=folder, check=True)
    return folder


def _lines(made: DataCentre) -> Iterator[bytes]:
    """Nodes, then edges; nested metadata becomes properties with dots in their names, as TinkerGraph has no others."""
    for id, metadata in made.nodes.items():
        yield msgspec.json.encode([id, dict(_flat("", metadata))])
    for parent, child, relation in made.edges:
        yield msgspec.json.encode([parent, child, relation])


def _flat(before: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, member in value.items():
        if isinstance(member, dict):
            yield from _flat(f"{before}{key}.", member)
        else:
            yield before + key, member
