"""How long a person waits for a command to start.

Each command is run as a process of its own, in turn with a bare interpreter beside it; the smallest and the median time
from exec to exit are printed.  The commands ask a port where nobody listens, so nothing but the start is measured.

Run: .venv/bin/python -m benchmarks.start
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
SKYCORE = str(Path(sys.executable).with_name("skycore"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "skycore --help": [SKYCORE, "--help"],
    "skycore query": [SKYCORE, "query", "G", "--analyzer", "127.0.0.1:1"],
    "skycore node list": [SKYCORE, "node", "list", "--analyzer", "127.0.0.1:1"],
    "skycore query --follow": [SKYCORE, "query", "G", "--follow", "--analyzer", "127.0.0.1:1"],
}


def measured(command: list[str]) -> float:
    """Seconds from exec to exit."""
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=60)
    return time.perf_counter() - begin


def main() -> None:
    """Print the figures."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            times[name].append(measured(command))
    for name, seconds in times.items():
        print(f"{name:<24} {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
