"""After random sequences of commands the graph shows what docker tells; soak.py goes on for as long as one likes."""

from __future__ import annotations

import docker_witness
import pytest

from skycore.testing.dockerd import Dockerd


@pytest.mark.parametrize("seed", range(1, 7))
async def test_the_graph_shows_what_docker_tells(dockerd: Dockerd, seed: int) -> None:
    await docker_witness.check(dockerd, seed)
