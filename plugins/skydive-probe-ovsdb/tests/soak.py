"""The property test for as long as one likes: random sequences until the time is over or the graph is wrong.

Run as root: .venv/bin/python plugins/skydive-probe-ovsdb/tests/soak.py --seconds 3600

The last line names what was run; the same seeds give the same sequences.  Ends with status 1 at the first difference.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

import ovs_sequences as sequences
import trio

from skycore.testing.commit import commit_of
from skycore.testing.lab import FakeHost
from skycore.testing.openvswitch import OpenVSwitch


def steps_of(seed: int) -> list[int]:
    """The numbers of one sequence's steps."""
    dice = random.Random(seed)
    return [dice.randrange(2**32) for _ in range(dice.randrange(12, 61))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3600, help="how long to go on (default: an hour)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first sequence (default: 1)")
    chosen = parser.parse_args()
    began = time.monotonic()
    seed = chosen.seed
    with tempfile.TemporaryDirectory(prefix="skt-") as folder, OpenVSwitch(FakeHost(), Path(folder) / "ovs.log") as ovs:
        version = ovs.vsctl("--version").split()[3]
        while time.monotonic() - began < chosen.seconds:
            numbers = steps_of(seed)
            try:
                # Load from elsewhere may delay the probe; what is asked here is whether it gets there.
                trio.run(lambda numbers=numbers: sequences.check(ovs, numbers))  # type: ignore[misc]
            except BaseException:
                print(f"seed {seed}: the graph and the switch differ, or one of them failed", flush=True)  # noqa: T201
                print(ovs.tail(), flush=True)  # noqa: T201
                raise
            seed += 1
    spent = time.monotonic() - began
    print(  # noqa: T201
        f"seeds {chosen.seed}-{seed - 1}, {seed - chosen.seed} sequences, {spent:.0f} s without a difference, "
        f"Open vSwitch {version}, Linux {platform.release()}, commit {commit_of(__file__)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
