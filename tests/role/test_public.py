"""``SKYDIVE_PUBLIC_INTERFACES`` as lines of the fabric."""

from __future__ import annotations

import pytest

from skycore.errors import ConfigurationError
from skycore.role.public import VARIABLE, public_interfaces
from skycore.testing.probes import run_probes


def test_one_switch_with_a_port_for_each_interface() -> None:
    assert public_interfaces({}) == []
    assert public_interfaces({VARIABLE: " devstack1/eth0  devstack2/ens3.100 "}) == [
        "TOR -> TOR_PORT1[Name=port1]",
        "TOR_PORT1 --> *[Type=host, Name=devstack1]/eth0",
        "TOR -> TOR_PORT2[Name=port2]",
        "TOR_PORT2 --> *[Type=host, Name=devstack2]/ens3.100",
    ]


@pytest.mark.parametrize("word", ["eth0", "/eth0", "h/", "a/b/c", "h[x]/eth0", "h/eth0,h2"])
def test_what_is_no_interface(word: str) -> None:
    with pytest.raises(ConfigurationError, match="is not of the form host/interface"):
        public_interfaces({VARIABLE: f"h/eth0 {word}"})


async def test_the_probe_takes_the_lines() -> None:
    lines = public_interfaces({VARIABLE: "h1/eth0"})
    async with run_probes({"fabric": {"links": lines}}, role="analyzer") as lab:
        agent = lab.graph.claimant("agent.h1", plugin="agent")
        agent.put("h1", {"Name": "h1", "Type": "host"})
        agent.put("eth0", {"Name": "eth0", "Type": "device"})
        agent.link("h1", "eth0", "ownership")
        (port,) = await lab.until(lambda: lab.nodes(Name="port1"))
        await lab.until(lambda: [edge for edge in lab.edges(Type="fabric") if edge["@Child"] == "eth0"])
        assert [edge["@Parent"] for edge in lab.edges() if edge["@Child"] == "eth0"] == ["h1", port["@ID"]]
