"""After random sequences of commands the graph shows what the runtime tells; soak.py goes on for longer."""

from __future__ import annotations

import pytest
import runc_witness

from skycore.testing.oci import OciRuntime


@pytest.mark.parametrize("seed", range(1, 6))
async def test_the_graph_shows_what_the_runtime_tells(runtime: OciRuntime, seed: int) -> None:
    await runc_witness.check(runtime, seed)
