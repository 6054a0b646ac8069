"""The table of keys, the README that is made from it, and the graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from skydive_probe_netlink import keys

from skycore.testing import run_probes
from skycore.testing.lab import NamedNetns

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_lists_every_key() -> None:
    found = re.search(r"<!-- keys: .*? -->\n\n(.*?)\n<!-- end of keys -->", README.read_text(), flags=re.DOTALL)
    assert found is not None
    assert found[1] == keys.markdown(), "run `python -m skydive_probe_netlink.keys` and put its output into README.md"


def test_no_key_has_two_meanings_for_one_kind() -> None:
    seen: dict[tuple[str, str], str] = {}
    for key in keys.all_keys():
        for kind in key.kinds.split(", "):
            source = seen.setdefault((key.name, kind), key.source)
            # Both families of an address fill one key.
            assert re.sub(r"(GROUP|LOCAL|REMOTE)6$", r"\1", key.source) == source, key


async def test_the_graph_holds_no_key_that_the_table_lacks(netns: Callable[[], NamedNetns]) -> None:
    here = netns()
    for line in (
        "link add br0 type bridge",
        "link add v0 type veth peer name v1",
        "link set v0 master br0 up",
        "link set v1 up alias text",
        "link set br0 up",
        "address add 10.0.0.1/24 dev v1",
        "link add vx0 type vxlan id 5 remote 10.0.0.9 dstport 4789",
        "link add mac0 link v1 type macvlan mode bridge",
        "tuntap add tun0 mode tun",
        "neigh add 10.0.0.5 lladdr 02:00:00:00:00:05 dev v1",
        "link property add dev v0 altname other",
    ):
        await here.arun("ip", *line.split())
    async with run_probes({"netlink": {"metrics_update": 0.2}}, namespace=here.path) as lab:
        await lab.until(lambda: any("LastUpdateMetric" in node for node in lab.nodes()))
        found = {key for node in lab.nodes() for key in node if not key.startswith("@")}
    assert found - keys.TOP_LEVEL == {"Hostname", "TID"}
    assert {"RoutingTables", "Neighbors", "FDB", "Bridge", "BridgePort", "Tunnel", "Macvlan", "Tun", "Rules"} <= found
