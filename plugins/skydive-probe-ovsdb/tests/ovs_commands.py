"""Random changes of a switch: configuration by ovs-vsctl, rules and groups by ovs-ofctl.

A step is made of a number only, so that a sequence can be made again.  A step that makes no sense at its time (a port
that is not there) fails, and nothing is the worse for it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from skycore.testing.lab import LabError
from skycore.testing.openvswitch import OpenVSwitch

BRIDGES = ("br0", "br1")
PORTS = ("p0", "p1", "p2", "p3", "p4", "p5")
VETHS = ("v0", "v1", "v2")
# A name becomes a tunnel of another type, a patch becomes an internal device, and back; but never one of these becomes
# one of those: Open vSwitch 3.1.0 aborts then, not always (tunnel.c, tnl_port_add__: "assertion cfg failed").
_TUNNEL_PORTS = ("p4", "p5")
_TUNNELS = ("vxlan", "gre", "geneve")
Step = tuple[str, list[str]]
"""Program and arguments."""

_HOSTILE = ('a"b', "line\nbreak", "tab\there", "äöü", "a.b.c", "a.b", "", "x" * 3000, "\x01\x7f", "'")


def prepare(ovs: OpenVSwitch) -> None:
    """Bridges, and devices of the kernel that steps make ports of."""
    for name in BRIDGES:
        ovs.bridge(name)
    for name in VETHS:
        ovs.host.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p")


def clean(ovs: OpenVSwitch) -> None:
    """Take back what ``prepare`` made."""
    ovs.remove_all()
    for name in VETHS:
        try:
            ovs.host.run("ip", "link", "delete", name)
        except LabError:
            continue


def _quoted(text: str) -> str:
    """A text as ovs-vsctl takes it inside a map (ovs-vsctl(8), "Database Values")."""
    escapes = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    inner = "".join(escapes.get(c, c if ord(c) >= 32 and c != "\x7f" else f"\\u{ord(c):04x}") for c in text)
    return f'"{inner}"'


def step(seed: int) -> Step:
    """What a number means."""
    dice = random.Random(seed)
    return ("ovs-vsctl", _configuration(dice)) if dice.random() < 0.7 else ("ovs-ofctl", _openflow(dice))


def _configuration(dice: random.Random) -> list[str]:
    bridge, other = dice.sample(BRIDGES, 2)
    port = dice.choice(PORTS)
    remote = f"options:remote_ip=10.9.0.{dice.randrange(1, 5)}"
    kind = dice.choice(_TUNNELS if port in _TUNNEL_PORTS else ("internal", "patch"))
    options = {
        "internal": [],
        "patch": [f"options:peer={dice.choice(PORTS)}"],
        "vxlan": [remote, f"options:key={dice.choice(['7', 'flow'])}"],
        "gre": [dice.choice([remote, "options:remote_ip=flow"]), "options:local_ip=10.9.1.9"],
        "geneve": [remote],
    }[kind]
    key, value = dice.choice(_HOSTILE) or "k", dice.choice(_HOSTILE)
    table, record = dice.choice([("bridge", bridge), ("port", port), ("interface", port), ("open", ".")])
    anew = ["--if-exists", "del-port", port, "--", "add-port", bridge, port, "--", "set", "interface", port]
    add = ["--may-exist", "add-port", bridge, port, "--", "set", "interface", port]
    return dice.choice(
        [
            [*add, f"type={kind}", *options],
            [*add, f"type={kind}", *options],
            [*anew, f"type={kind}", *options],
            ["set", "interface", port, f"type={kind}", *options],
            ["--may-exist", "add-port", bridge, dice.choice(VETHS)],
            ["--if-exists", "del-port", dice.choice([*PORTS, *VETHS])],
            ["add-bond", bridge, "bond0", *dice.sample(VETHS, 2), f"lacp={dice.choice(['off', 'active', 'passive'])}"],
            ["--if-exists", "del-port", "bond0"],
            ["set", "port", "bond0", f"bond_mode={dice.choice(['balance-slb', 'active-backup', 'balance-tcp'])}"],
            ["set", "port", port, f"tag={dice.randrange(1, 4095)}"],
            ["set", "port", port, f"trunks={dice.randrange(1, 9)},{dice.randrange(10, 4095)}"],
            ["set", "port", port, f"vlan_mode={dice.choice(['access', 'trunk', 'native-tagged', 'native-untagged'])}"],
            ["clear", "port", port, dice.choice(["tag", "trunks", "vlan_mode", "qos"])],
            ["set", table, record, f"external_ids:{_quoted(key)}={_quoted(value)}"],
            ["remove", table, record, "external_ids", _quoted(key)],
            ["clear", table, record, "external_ids"],
            ["set", table, record, f"other_config:{_quoted(key)}={_quoted(value)}"],
            ["clear", table, record, "other_config"],
            ["set", "interface", port, f"options:peer={dice.choice(PORTS)}"],
            ["set", "bridge", bridge, f"protocols={dice.choice(['OpenFlow13,OpenFlow14', 'OpenFlow10,OpenFlow14'])}"],
            ["clear", "bridge", bridge, "protocols"],
            ["set", "bridge", bridge, f"stp_enable={dice.choice(['true', 'false'])}"],
            ["set-controller", bridge, f"tcp:127.0.0.1:{dice.randrange(20000, 20009)}"],
            ["del-controller", bridge],
            [
                "--id=@o",
                "get",
                "port",
                port,
                "--",
                "--id=@s",
                "get",
                "port",
                dice.choice(PORTS),
                "--",
                "--id=@m",
                "create",
                "mirror",
                f"name=m{dice.randrange(2)}",
                "output_port=@o",
                "select_src_port=@s",
                "--",
                "add",
                "bridge",
                bridge,
                "mirrors",
                "@m",
            ],
            ["clear", "bridge", bridge, "mirrors"],
            [
                "set",
                "port",
                port,
                "qos=@q",
                "--",
                "--id=@q",
                "create",
                "qos",
                "type=linux-htb",
                "queues:3=@u",
                "--",
                "--id=@u",
                "create",
                "queue",
                f"other-config:max-rate={dice.randrange(1000, 9999)}",
            ],
            ["del-br", other, "--", "add-br", other, "--", "set", "bridge", other, "datapath_type=netdev"],
        ]
    )


_MATCHES = (
    "",
    "in_port=1",
    "dl_src=02:00:00:00:00:05",
    "dl_vlan=7",
    "tcp,nw_src=10.0.0.0/8,tp_dst=80",
    "arp,arp_tpa=10.0.0.1",
    "udp,nw_dst=10.1.2.3,tp_src=53",
    "ipv6,ipv6_src=fe80::/10",
    "reg0=5",
    "metadata=0x7",
    "icmp,nw_src=10.0.0.9",
    "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
    "tun_id=9",
    "reg1=0x10/0xf0",
)
_ACTIONS = (
    "drop",
    "output:1",
    "output:2,output:3",
    "NORMAL",
    "resubmit(,3)",
    "goto_table:9",
    "set_field:10.0.0.1->ip_src,output:1",
    "group:4",
    "load:7->NXM_NX_REG3[0..15],output:1",
)


def _openflow(dice: random.Random) -> list[str]:
    bridge = dice.choice(BRIDGES)
    match = dice.choice(_MATCHES)
    actions = dice.choice(_ACTIONS)
    if "ip_src" in actions:
        match = "tcp,nw_src=10.0.0.0/8,tp_dst=80"
    table = dice.randrange(3)
    rule = ",".join(filter(None, (f"table={table}", f"priority={dice.randrange(3)}", match)))
    cookie = f"cookie={dice.randrange(4):#x}"
    idle = dice.choice(["", "", "idle_timeout=900,", "importance=3,", "send_flow_rem,"])
    group = f"group_id={dice.randrange(1, 6)},type={dice.choice(['all', 'select', 'indirect'])},bucket=actions=output:1"
    return dice.choice(
        [
            ["-O", "OpenFlow14", "add-flow", bridge, f"{idle}{cookie},{rule},actions={actions}"],
            ["-O", "OpenFlow14", "add-flow", bridge, f"{idle}{cookie},{rule},actions={actions}"],
            ["-O", "OpenFlow14", "add-flow", bridge, f"{idle}{cookie},{rule},actions={actions}"],
            ["-O", "OpenFlow14", "--strict", "del-flows", bridge, rule],
            ["-O", "OpenFlow14", "del-flows", bridge, f"table={table}"],
            ["-O", "OpenFlow14", "mod-flows", bridge, f"{cookie},table={table},actions={actions}"],
            ["-O", "OpenFlow14", "add-group", bridge, group],
            ["-O", "OpenFlow14", "mod-group", bridge, group],
            ["-O", "OpenFlow14", "del-groups", bridge, f"group_id={dice.randrange(1, 6)}"],
        ]
    )


def run(ovs: OpenVSwitch, steps: Sequence[Step]) -> list[Step]:
    """Carry the steps out; returns those that were possible."""
    done = []
    for program, arguments in steps:
        options = ["--no-wait", "--timeout=10"] if program == "ovs-vsctl" else []
        try:
            ovs.host.run(program, *options, *arguments)
        except LabError:
            continue
        done.append((program, arguments))
    return done
