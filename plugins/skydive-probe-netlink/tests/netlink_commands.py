"""Random changes of the interfaces of a few namespaces, as words for ``ip`` and ``bridge``.

Each step is made from one number, so a sequence is a list of numbers, which hypothesis can shorten.  Names, indexes and
addresses come from small pools: things are made anew under the same name and index, and many steps are impossible.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from typing import TypeAlias

Step: TypeAlias = tuple[int, str, str]
"""Which of the namespaces, the program, and a line of its batch."""

NAMESPACES = 3
HERE = ("veth", "bridge", "vxlan", "macvlan", "macvtap", "ifb", "tun")
"""Kinds that every kernel on which this is tested has."""

EVERYWHERE = (
    *HERE,
    "dummy",
    "vlan",
    "bond",
    "gre",
    "gretap",
    "ipip",
    "sit",
    "ip6tnl",
    "ip6gre",
    "geneve",
    "vrf",
    "ipvlan",
)
"""Kinds of Debian's kernel."""


def _name(dice: random.Random) -> str:
    return f"i{min(dice.randrange(6), dice.randrange(8))}"


def _address(dice: random.Random) -> str:
    if dice.random() < 0.6:
        return f"10.{dice.randrange(2)}.{dice.randrange(2)}.{dice.randrange(1, 5)}/{dice.choice([24, 24, 16, 32])}"
    return f"fd0{dice.randrange(2)}::{dice.randrange(1, 5)}/{dice.choice([64, 64, 128])}"


def _host(dice: random.Random) -> str:
    return _address(dice).split("/", maxsplit=1)[0]


def _v4(dice: random.Random) -> str:
    return f"10.{dice.randrange(2)}.{dice.randrange(2)}.{dice.randrange(1, 5)}"


def _mac(dice: random.Random) -> str:
    return f"02:00:00:00:00:0{dice.randrange(8)}"


def _add(dice: random.Random, kinds: Sequence[str]) -> str:
    name, lower, kind = _name(dice), _name(dice), dice.choice(kinds)
    index = f"index {dice.randrange(20, 26)} " if dice.random() < 0.3 else ""
    ttl = f"ttl {dice.randrange(1, 255)}" if dice.random() < 0.5 else ""
    start = f"link add {name} {index}"
    match kind:
        case "veth":
            return f"{start}type veth peer name {_name(dice)}"
        case "vxlan":
            group = f"group 239.1.1.{dice.randrange(3)} dev {lower}"
            target = dice.choice([f"remote {_v4(dice)}", group, f"dev {lower}"])
            options = f"{ttl} {dice.choice(['learning', 'nolearning'])}"
            return f"{start}type vxlan id {dice.randrange(5)} dstport {dice.randrange(4789, 4792)} {target} {options}"
        case "macvlan" | "macvtap":
            return f"{start}link {lower} type {kind} mode {dice.choice(['bridge', 'private', 'vepa'])}"
        case "tun":
            return f"tuntap add {name} mode {dice.choice(['tun', 'tap'])}"
        case "vlan":
            options = f"protocol {dice.choice(['802.1Q', '802.1ad'])} gvrp {dice.choice(['on', 'off'])}"
            return f"{start}link {lower} type vlan id {dice.randrange(1, 5)} {options}"
        case "bond":
            return f"{start}type bond mode {dice.choice(['active-backup', 'balance-xor', '802.3ad'])} miimon 100"
        case "gre" | "gretap":
            keys = dice.choice(["", f"key {dice.randrange(9)}", f"ikey {dice.randrange(9)} okey {dice.randrange(9)}"])
            return f"{start}type {kind} remote {_v4(dice)} local {_v4(dice)} {keys} {ttl}"
        case "ipip" | "sit":
            return f"{start}type {kind} remote {_v4(dice)} local {_v4(dice)} {ttl}"
        case "ip6tnl" | "ip6gre":
            return f"{start}type {kind} remote fd00::{dice.randrange(1, 5)} local fd01::{dice.randrange(1, 5)}"
        case "geneve":
            return f"{start}type geneve id {dice.randrange(5)} remote {_host(dice)} {ttl}"
        case "vrf":
            return f"{start}type vrf table {dice.randrange(70, 73)}"
        case "ipvlan":
            options = f"mode {dice.choice(['l2', 'l3', 'l3s'])} {dice.choice(['bridge', 'private', 'vepa'])}"
            return f"{start}link {lower} type ipvlan {options}"
        case _:
            return f"{start}type {kind}"


def _change(dice: random.Random, others: Sequence[str]) -> str:
    name = _name(dice)
    what = dice.randrange(14)
    if what < 4:
        return f"link set {name} {dice.choice(['up', 'up', 'down'])}"
    if what < 6:
        return (
            f"link set {name} master {dice.choice(['i0', _name(dice)])}"
            if dice.random() < 0.7
            else f"link set {name} nomaster"
        )
    if what == 6:
        return f"link set {name} netns {dice.choice(others)}"
    if what == 7:
        return f"link set {name} name {_name(dice)}"
    if what == 8:
        action = dice.choice(["add", "del"])
        return f"link property {action} dev {name} altname a{dice.randrange(6)}"
    if what == 9:
        return f"link set {name} group {dice.randrange(3)}"
    settings = [f"mtu {dice.randrange(1300, 1501)}", f"alias text{dice.randrange(3)}", f"address {_mac(dice)}"]
    settings += [f"txqueuelen {dice.randrange(1, 9)}", f"promisc {dice.choice(['on', 'off'])}"]
    settings += [f"type bridge forward_delay {dice.randrange(400, 900)} priority {dice.randrange(9)}"]
    port = f"cost {dice.randrange(1, 90)} priority {dice.randrange(60)} hairpin {dice.choice(['on', 'off'])}"
    settings += [f"type bridge_slave {port}"]
    settings += [f"type bridge vlan_filtering {dice.randrange(2)}", f"allmulticast {dice.choice(['on', 'off'])}"]
    return f"link set {name} {dice.choice(settings)}"


def _route(dice: random.Random) -> str:
    name, action = _name(dice), dice.choice(["add", "add", "replace", "append", "del"])
    prefix = dice.choice(["default", f"10.9.{dice.randrange(3)}.0/24", f"fd09:{dice.randrange(3)}::/64"])
    family = "-6 " if prefix.startswith("fd") or (prefix == "default" and dice.random() < 0.4) else ""
    gateway = f"fd00::{dice.randrange(1, 5)}" if family else _v4(dice)
    table = dice.choice(["", "", f"table {dice.randrange(70, 73)}"])
    metric = dice.choice(["", "", f"metric {dice.randrange(1, 5)}"])
    protocol = dice.choice(["", "proto static"])
    way = dice.choice(
        [
            f"nhid {dice.randrange(1, 7)}",
            f"dev {name}",
            f"via {gateway} dev {name} onlink",
            f"nexthop via {gateway} dev {name} onlink nexthop dev {_name(dice)}",
        ]
    )
    if dice.random() < 0.1:
        return f"route {action} {dice.choice(['blackhole', 'unreachable'])} {prefix.replace('default', '10.8.0.0/16')}"
    # Batches know no -4 or -6 for one line, but a prefix tells the family.
    prefix = {"default": "::/0" if family else "0.0.0.0/0"}.get(prefix, prefix)
    return f"route {action} {prefix} {table} {metric} {protocol} {way}"


def _other(dice: random.Random) -> str:
    name, action = _name(dice), dice.choice(["add", "add", "del"])
    what = dice.randrange(3)
    if what == 0:
        flags = dice.choice(["", "router", "extern_learn"])
        return (
            f"neigh {dice.choice(['replace', 'replace', 'del'])} {_host(dice)} lladdr {_mac(dice)} dev {name} {flags}"
        )
    if what == 1:
        selector = dice.choice(
            [f"from {_address(dice)}", f"iif {name}", f"fwmark {dice.randrange(1, 9)}", "not oif lo"]
        )
        target = dice.choice(["table 71", "table 72", "unreachable"])
        return f"rule {action} pref {dice.randrange(100, 110)} {selector} {target}"
    return f"addr flush dev {name}"


def _bridging(dice: random.Random) -> str:
    name, action = _name(dice), dice.choice(["add", "add", "del"])
    what = dice.randrange(4)
    if what < 2:
        where = dice.choice(["master", "master", "self", f"self dst {_v4(dice)}"])
        return f"fdb {action} {_mac(dice)} dev {name} {where}"
    if what == 2:
        first = dice.randrange(2, 9)
        vlans = dice.choice([f"{first}", f"{first}-{first + 4}", f"{first} pvid untagged"])
        return f"vlan {action} dev {name} vid {vlans} {dice.choice(['', 'self'])}"
    return f"mdb {action} dev {_name(dice)} port {name} grp 239.2.2.{dice.randrange(4)} permanent"


def _nexthop(dice: random.Random) -> str:
    number, action = dice.randrange(1, 7), dice.choice(["add", "replace", "replace", "del"])
    if action == "del":
        return f"nexthop del id {number}"
    gateway = dice.choice([_v4(dice), _v4(dice), f"fd00::{dice.randrange(1, 5)}"])
    members = "/".join(f"{dice.randrange(1, 5)},{dice.randrange(1, 9)}" for _ in range(dice.randrange(1, 3)))
    way = dice.choice(
        [f"via {gateway} dev {_name(dice)} onlink", f"dev {_name(dice)}", f"group {members}", "blackhole"]
    )
    return f"nexthop {action} id {number} {way}"


def _traffic(dice: random.Random, everywhere: bool) -> str:
    """A queueing discipline or a class; the words of tc are for the kinds that the kernel has."""
    name, action = _name(dice), dice.choice(["replace", "replace", "add", "del"])
    rate, more = f"{dice.randrange(1, 90)}mbit", dice.randrange(100, 900)
    if dice.random() < 0.35:
        minor, parent = dice.randrange(1, 5), dice.choice(["1:", "1:", "1:1"])
        options = f"rate {rate} ceil {more}mbit prio {dice.randrange(7)}"
        return f"class {action} dev {name} parent {parent} classid 1:{minor} htb {options if action != 'del' else ''}"
    place = dice.choice(["root handle 1:", "root handle 1:", "root handle 2:", f"parent 1:{dice.randrange(1, 5)}"])
    if action == "del":
        return f"qdisc del dev {name} {dice.choice([place, 'clsact'])}"
    kinds = [f"htb default {dice.randrange(20)} r2q {dice.randrange(1, 20)}"] * 3
    kinds += [
        f"tbf rate {rate} burst {dice.randrange(2, 9)}kb limit {more}kb",
        f"bfifo limit {more}",
        f"pfifo limit {more}",
    ]
    if everywhere:
        kinds += [f"fq_codel limit {more} flows 64 target {dice.randrange(1, 9)}ms {dice.choice(['ecn', 'noecn'])}"]
        kinds += [f"netem delay {dice.randrange(1, 90)}ms 2ms loss {dice.randrange(1, 9)}% rate {rate}"]
        kinds += ["prio bands 4", f"sfq perturb {dice.randrange(1, 9)}"]
    if dice.random() < 0.15:
        return f"qdisc {action} dev {name} clsact"
    return f"qdisc {action} dev {name} {place} {dice.choice(kinds)}"


def prelude(seed: int, names: Sequence[str], kinds: Sequence[str]) -> list[Step]:
    """So that most of what follows is possible: a bridge, a pair, some random interfaces, all of them up."""
    dice = random.Random(seed)
    lines = ["link add i0 type bridge", "link add i1 type veth peer name i2"]
    steps: list[Step] = []
    for place in range(len(names)):
        more = [_add(dice, kinds) for _ in range(4)]
        more += [f"link set i{number} up" for number in range(6) if dice.random() < 0.8]
        more += [f"address add {_address(dice)} dev {_name(dice)}" for _ in range(3)]
        steps += [(place, "ip", line) for line in (*lines, *more)]
    return steps


def step(seed: int, names: Sequence[str], kinds: Sequence[str]) -> Step:
    """The step that a number stands for."""
    dice = random.Random(seed)
    place = dice.randrange(len(names))
    what = dice.random()
    if what < 0.18:
        return place, "ip", _add(dice, kinds)
    if what < 0.23:
        return place, "ip", f"link del {_name(dice)}"
    if what < 0.48:
        return place, "ip", _change(dice, names)
    if what < 0.60:
        return place, "ip", f"address {dice.choice(['add', 'add', 'del'])} {_address(dice)} dev {_name(dice)}"
    if what < 0.72:
        return place, "ip", _route(dice)
    if what < 0.77:
        return place, "ip", _nexthop(dice)
    if what < 0.81:
        return place, "tc", _traffic(dice, "bond" in kinds)
    if what < 0.88:
        return place, "ip", _other(dice)
    return place, "bridge", _bridging(dice)


def run(steps: Sequence[Step], names: Sequence[str]) -> None:
    """Carry the steps out in their order; those that are impossible are passed over."""
    start = 0
    while start < len(steps):
        place, program, _ = steps[start]
        stop = start
        while stop < len(steps) and steps[stop][:2] == (place, program):
            stop += 1
        lines = "".join(f"{line}\n" for _, _, line in steps[start:stop])
        command = [program, "-n", names[place], "-force", "-batch", "-"]
        subprocess.run(command, input=lines.encode(), capture_output=True, timeout=60, check=False)
        start = stop
