"""What came and went, from dumps and from news of closed sockets."""

from __future__ import annotations

import json
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_socketinfo.codec import Cookie, Sighting
from skydive_probe_socketinfo.inventory import Inventory
from skydive_probe_socketinfo.processes import Process

ESTABLISHED, FIN_WAIT1, CLOSE, CLOSE_WAIT, LISTEN = 1, 4, 7, 8, 10
PROCESS = Process(1, 2, "name", "/path", 3)


class Everybody(dict[int, Process]):
    """Every socket is held by one process."""

    def __contains__(self, inode: object) -> bool:
        return True

    def __missing__(self, inode: int) -> Process:
        return PROCESS


def seen(number: int, state: int = ESTABLISHED, inode: int | None = None) -> Sighting:
    id = struct.pack("!HH16s16s4x", number & 0xFFFF, 80, bytes(16), bytes(16)) + struct.pack("=II", number, 0)
    return socket.AF_INET, state, id, number if inode is None else inode


def dump(*sightings: Sighting) -> dict[Cookie, Sighting]:
    return {sighting[2][40:]: sighting for sighting in sightings}


def cookie(number: int) -> Cookie:
    return seen(number)[2][40:]


def ports(inventory: Inventory) -> list[int]:
    return sorted(item.local_port for item in inventory)


def changes(inventory: Inventory) -> tuple[bool, bool]:
    result = inventory.changed, inventory.passing
    inventory.told()
    return result


def test_the_same_again_is_no_change() -> None:
    inventory = Inventory()
    inventory.apply("TCP", dump(seen(1), seen(2, LISTEN)))
    assert changes(inventory) == (True, False)
    inventory.apply("TCP", dump(seen(1), seen(2, LISTEN)))
    assert changes(inventory) == (False, False)


def test_states() -> None:
    inventory = Inventory()
    inventory.apply("TCP", dump(seen(1)))
    inventory.told()
    inventory.apply("TCP", dump(seen(1, CLOSE_WAIT)))
    assert changes(inventory) == (True, True)
    inventory.apply("TCP", dump(seen(1, FIN_WAIT1)))
    assert changes(inventory) == (False, True)
    # Closed by its process: the kernel goes on with it alone.
    inventory.apply("TCP", dump(seen(1, FIN_WAIT1, inode=0)))
    assert changes(inventory) == (False, True)
    assert ports(inventory) == []
    inventory.apply("TCP", dump(seen(1, FIN_WAIT1, inode=0)))
    assert changes(inventory) == (False, False)


def test_a_socket_goes_when_two_dumps_lack_it() -> None:
    inventory = Inventory()
    inventory.apply("TCP", dump(seen(1), seen(2)))
    inventory.told()
    inventory.apply("TCP", dump(seen(1)))
    assert ports(inventory) == [1, 2]
    inventory.apply("TCP", dump(seen(1), seen(2)))
    inventory.apply("TCP", dump(seen(1)))
    assert changes(inventory) == (False, False)
    inventory.apply("TCP", dump(seen(1)))
    assert changes(inventory) == (True, False)
    assert ports(inventory) == [1]


def test_the_kernels_word_is_enough() -> None:
    inventory = Inventory()
    inventory.apply("TCP", dump(seen(1), seen(2)))
    inventory.apply("UDP", dump(seen(3, CLOSE)))
    inventory.told()
    assert inventory.close([cookie(2), cookie(3), cookie(9)]) == 1
    assert changes(inventory) == (True, False)
    assert ports(inventory) == [1]


def test_a_dump_that_is_older_than_the_news_brings_nothing_back() -> None:
    inventory = Inventory()
    inventory.apply("TCP", dump(seen(1), seen(2)))
    inventory.close([cookie(2), cookie(3)])
    inventory.told()
    inventory.apply("TCP", dump(seen(1), seen(2), seen(3)))
    assert ports(inventory) == [1]
    assert changes(inventory) == (False, False)


def test_what_is_listed_first_when_not_all_fit() -> None:
    inventory = Inventory()
    inventory.apply("TCP", dump(seen(3, CLOSE_WAIT), seen(5), seen(4), seen(9, LISTEN)))
    inventory.apply("UDP", dump(seen(8, CLOSE), seen(1)))
    listing = inventory.listing(Everybody(), 4)
    assert [entry["LocalPort"] for entry in listing.sockets] == [8, 9, 1, 4]
    assert listing.omitted == 2
    assert inventory.listing({}, 4).sockets == []


def test_long_paths_do_not_make_a_list_too_long_for_a_node() -> None:
    inventory = Inventory()
    inventory.apply("TCP", dump(*(seen(number) for number in range(1, 2001))))
    hostile = Process(1, 2, '"' * 15, "/" + "\x01" * 4000, 3)
    listing = inventory.listing(dict.fromkeys(range(1, 2001), hostile), 2000)
    assert 100 < len(listing.sockets) == 2000 - listing.omitted
    assert len(json.dumps(listing.sockets, separators=(",", ":"))) <= listing.size <= 3 << 20


def test_another_process_is_a_change() -> None:
    inventory = Inventory()
    inventory.apply("TCP", dump(seen(1)))
    inventory.told()
    inventory.handed_over({2})
    assert changes(inventory) == (False, False)
    inventory.handed_over({1, 2})
    assert changes(inventory) == (True, False)


actions = st.one_of(
    st.tuples(st.just("open"), st.integers(1, 8)),
    st.tuples(st.just("close"), st.integers(1, 8)),
    st.tuples(st.just("close and tell"), st.integers(1, 8)),
    st.tuples(st.just("look"), st.just(0)),
)


@given(st.lists(actions, max_size=40))
def test_two_looks_show_what_is(steps: list[tuple[str, int]]) -> None:
    """Whatever happened and was told or not: after two looks the inventory is the kernel's, and it said so."""
    inventory = Inventory()
    alive: dict[int, int] = {}
    told: list[int] = []
    numbers = iter(range(1, 100))

    def look() -> None:
        nonlocal told
        inventory.apply("TCP", dump(*(seen(number) for number in alive.values())))
        if inventory.changed:
            told = ports(inventory)
            inventory.told()
        assert told == ports(inventory)

    for action, slot in [*steps, ("look", 0), ("look", 0)]:
        if action == "open":
            alive.setdefault(slot, next(numbers))
        elif action == "look":
            look()
        elif slot in alive:
            number = alive.pop(slot)
            if action == "close and tell":
                inventory.close([cookie(number)])
    assert ports(inventory) == sorted(alive.values())
