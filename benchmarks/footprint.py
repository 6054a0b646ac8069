"""What an agent costs: disk, memory, and the time until it answers, from wheels in a fresh, compiled environment.

Builds the wheels of this tree and installs them into new environments without pip: the minimal agent
(``skycore skydive-probe-netlink``) and one with the netns and docker probes besides.  Real agents are started
inside a fake host with two network namespaces.  The start counts from exec until ``GET /api/topology`` holds
every link that ``ip -j link`` shows in every namespace that the agent looks at.

Run: .venv/bin/python -m benchmarks.footprint  (as root)
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skycore.plugin import namespaces
from skycore.testing.lab import FakeHost

STARTS = 5
SETTLE = 5.0
PORT = 8081
INNER = ("a", "b")
_ROOT = Path(__file__).resolve().parent.parent


def uv(*arguments: str) -> None:
    program = shutil.which("uv") or str(_ROOT / ".tools" / "uv" / "bin" / "uv")
    subprocess.run([program, *arguments], check=True, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def environment(folder: Path, wheels: Path, packages: list[str]) -> Path:
    """A new environment with compiled packages and without pip."""
    uv("venv", "--quiet", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    uv("pip", "install", "--quiet", "--compile-bytecode", "--python", python, "--find-links", str(wheels), *packages)
    return folder


def megabytes(folder: Path) -> float:
    """Disk space that the files take, in MB (10⁶ bytes)."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_dir()) / 1e6


def resident(pid: int) -> float:
    """Resident memory in MB (proc_pid_status(5), VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


def nodes(host: FakeHost) -> list[str]:
    """Names of the nodes that the agent inside the host shows; empty while it does not answer."""
    try:
        connection = http.client.HTTPConnection("agent")
        connection.sock = namespaces.inside(
            host.netns_path, lambda: socket.create_connection(("127.0.0.1", PORT), timeout=2)
        )
        connection.request("GET", "/api/topology")
        graph = json.load(connection.getresponse())
        connection.close()
    except OSError:
        return []
    return [node["Metadata"]["Name"] for node in graph["Nodes"] or ()]


def links(host: FakeHost, probes: str) -> set[str]:
    """What iproute2 sees, where the agent looks."""
    found = json.loads(host.run("ip", "-j", "link"))
    if "-netns" not in probes:
        for name in INNER:
            found += json.loads(host.run("ip", "-n", name, "-j", "link"))
    return {link["ifname"] for link in found}


def agent(host: FakeHost, environment: Path, state: Path, probes: str) -> tuple[float, float]:
    """Start an agent; seconds until it shows every link, and its memory when it has been idle for SETTLE."""
    configuration = state / "agent.yml"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    configuration.write_text(
        f"host_id: bench\nstorage: {{embedded: {{path: {state}/data}}}}\n"
        f"agent: {{listen: 127.0.0.1:{PORT}, topology: {{probes: [{probes}]}}}}\n"
    )
    wanted = links(host, probes)
    command = [str(environment / "bin" / "skycore"), "run", "--role", "agent", "-c", str(configuration)]
    began = time.perf_counter()
    process = host.popen(*command)
    try:
        while not wanted <= set(nodes(host)):
            if time.perf_counter() - began > 20:
                raise RuntimeError(f"links missing after 20 s: {wanted - set(nodes(host))}")
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        time.sleep(SETTLE)
        return seconds, resident(process.pid)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="skycore-bench-") as name:
        folder = Path(name)
        uv("build", "--all-packages", "--wheel", "--quiet", "--out-dir", str(folder / "wheels"))
        minimal = environment(folder / "minimal", folder / "wheels", ["skycore", "skydive-probe-netlink"])
        print(f"environment with skycore and skydive-probe-netlink, compiled, without pip: {megabytes(minimal):.1f} MB")
        full = environment(
            folder / "full",
            folder / "wheels",
            ["skycore", "skydive-probe-netlink", "skydive-probe-netns", "skydive-probe-docker"],
        )
        print(f"environment with the netns and docker probes besides: {megabytes(full):.1f} MB")
        host = FakeHost("bench")
        try:
            for index, inner in enumerate(INNER):
                host.run("ip", "netns", "add", inner)
                host.run("ip", "link", "add", f"v{index}", "type", "veth", "peer", "name", "eth0", "netns", inner)
            for title, where, probes in (
                ("netlink", minimal, "-netns"),
                ("netlink, netns", full, ""),
                ("netlink, netns, docker (no daemon)", full, "docker"),
            ):
                runs = [agent(host, where, folder / "state", probes) for _ in range(STARTS)]
                starts = sorted(seconds for seconds, _ in runs)
                print(
                    f"agent with {title}: every link shown after {statistics.median(starts):.2f} s "
                    f"({starts[0]:.2f} to {starts[-1]:.2f}), idle RSS {statistics.median(mb for _, mb in runs):.1f} MB",
                    flush=True,
                )
        finally:
            host.close()


if __name__ == "__main__":
    main()
