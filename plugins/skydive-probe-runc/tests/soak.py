"""The property test for as long as one likes: random sequences until the time is over or the graph differs.

Run as root: .venv/bin/python plugins/skydive-probe-runc/tests/soak.py --seconds 3600

The last line names what was run; the same seeds give the same commands.  Ends with status 1 at the first difference.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from contextlib import ExitStack

import runc_witness
import trio

from skycore.testing.commit import commit_of
from skycore.testing.lab import FakeHost
from skycore.testing.oci import OciRuntime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3600, help="how long to go on (default: an hour)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first sequence (default: 1)")
    chosen = parser.parse_args()
    began, seed, done = time.monotonic(), chosen.seed, 0
    with ExitStack() as stack:
        runtimes = []
        for program in ("runc", "crun"):
            host = stack.enter_context(FakeHost())
            runtimes.append(stack.enter_context(OciRuntime(host, program)))
        while time.monotonic() - began < chosen.seconds:
            runtime = runtimes[seed % 2]
            try:
                # Load from elsewhere may delay the probe; what is asked here is whether it gets there.
                trio.run(runc_witness.check, runtime, seed, 60.0)
            except BaseException:
                print(f"seed {seed}: the graph and {runtime.program} differ, or the probe failed", flush=True)  # noqa: T201
                raise
            done += len(runc_witness.commands(seed))
            seed += 1
    spent = time.monotonic() - began
    print(  # noqa: T201
        f"seeds {chosen.seed}-{seed - 1}, {seed - chosen.seed} sequences, {done} commands, {spent:.0f} s without a "
        f"difference, runc and crun in turn, Linux {platform.release()}, commit {commit_of(__file__)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
