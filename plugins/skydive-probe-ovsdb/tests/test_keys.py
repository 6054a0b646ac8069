"""The table of keys, the README that is made from it, and the graph."""

from __future__ import annotations

import re
from pathlib import Path

from skydive_probe_ovsdb import keys

from skycore.testing import run_probes
from skycore.testing.openvswitch import OpenVSwitch

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_lists_every_key() -> None:
    found = re.search(r"<!-- keys: .*? -->\n\n(.*?)\n<!-- end of keys -->", README.read_text(), flags=re.DOTALL)
    assert found is not None
    assert found[1] == keys.markdown(), "run `python -m skydive_probe_ovsdb.keys` and put its output into README.md"


async def test_the_graph_holds_no_key_that_the_table_lacks(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0", "stp_enable=true")
    ovs.vsctl(
        "add-port", "br0", "vx0", "tag=3", "--", "set", "interface", "vx0", "type=vxlan", "options:remote_ip=10.0.0.9"
    )
    ovs.vsctl("add-port", "br0", "i0", "--", "set", "interface", "i0", "type=internal", "external_ids:iface-id=x")
    ovs.vsctl("set-controller", "br0", "tcp:127.0.0.1:20000")
    ovs.ofctl("add-flow", "br0", "table=1,idle_timeout=900,send_flow_rem,tcp,actions=output:1")
    ovs.ofctl("-O", "OpenFlow14", "add-group", "br0", "group_id=4,type=all,bucket=actions=output:1")
    known = {key.name for key in keys.all_keys()} | {"Hostname", "TID", "Name"}
    whole = {name for name in known if "." not in name}
    for native in (True, False):
        oflow = {"enable": True, "native": native}
        settings = {"ovsdb": f"unix://{ovs.socket}", "enable_stats": True, "oflow": oflow}
        async with run_probes({"ovsdb": settings}, namespace=ovs.host.netns_path) as lab:
            await lab.until(lambda: lab.nodes(Type="ofrule", Table=1) and lab.nodes(Type="ofgroup"))
            for node in lab.nodes():
                for key, value in node.items():
                    if key.startswith("@") or key in whole:
                        continue
                    assert isinstance(value, dict), (key, value)
                    assert {f"{key}.{inner}" for inner in value} <= known
