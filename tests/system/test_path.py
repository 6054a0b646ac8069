"""`skycore path` through real namespaces, bridges and a router."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from skycore.cli.main import skycore
from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost
from tests.system.processes import Process, until
from tests.system.routed import ADDRESS, CONFIGURATION, furnish, tell


@attrs.frozen
class Site:
    """``left`` and ``right`` are namespaces on bridges of their own, the namespace ``router`` is on both."""

    host: FakeHost
    process: Process

    def path(self, *words: str) -> Result:
        return inside(
            self.host.netns_path,
            lambda: CliRunner().invoke(skycore, ["path", "--analyzer", ADDRESS, *words], catch_exceptions=False),
        )

    def hops(self, *words: str) -> list[str]:
        """Names of the hops; ``>`` before one that was reached by a route."""
        found = json.loads(self.path("-o", "json", *words).stdout)["Hops"]
        return [f"{'>' if hop['Routed'] else ''}{hop['Node']['Metadata']['Name']}" for hop in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        host = stack.enter_context(FakeHost())
        furnish(host)
        process = Process(host, "allinone", tmp_path_factory.mktemp("all"), CONFIGURATION, address=ADDRESS)
        stack.enter_context(process).start()
        addresses = "G.V().Has('IPV4', Within('10.77.1.2/24', '10.77.2.2/24', '10.77.1.254/24', '10.77.2.254/24'))"
        until(lambda: process.query(f"{addresses}.HasKey('RoutingTables').Count()") == 4)
        yield Site(host, process)


WAY = [
    "eth-left",
    "le-left",
    "br-left",
    "ro-left",
    "eth-left",
    ">eth-right",
    "ro-right",
    "br-right",
    "ri-right",
    "eth-right",
]


def test_over_a_router(site: Site) -> None:
    assert site.hops("10.77.1.2", "10.77.2.2") == WAY
    # Named by namespaces, and back.
    assert site.hops("left", "right") == WAY
    assert [hop.lstrip(">") for hop in site.hops("right", "left")] == [hop.lstrip(">") for hop in reversed(WAY)]


def test_along_links_only(site: Site) -> None:
    assert site.hops("left", "10.77.1.254") == WAY[:5]
    assert site.hops("le-left", "br-left") == ["le-left", "br-left"]


def test_where_a_flow_was_seen(site: Site) -> None:
    created = site.process.query("G.V().Has('Name', Within('le-left', 'ri-right')).Values('TID')")
    assert len(created) == 2
    capture = "G.V().Has('Name', Within('le-left', 'ri-right'))"
    made = inside(
        site.host.netns_path,
        lambda: CliRunner().invoke(
            skycore,
            ["capture", "create", "--analyzer", ADDRESS, "--gremlin", capture, "--name", "seen"],
            catch_exceptions=False,
        ),
    )
    assert made.exit_code == 0, made.output
    until(lambda: site.process.query(f"{capture}.Has('Captures.State', 'active').Count()") == 2)
    tell(site.host, "10.77.2.2", 7777)

    def seen() -> dict[str, Any]:
        found = json.loads(site.path("-o", "json", "left", "right").stdout)["Hops"]
        return {hop["Node"]["Metadata"]["Name"]: hop["Flow"] for hop in found if hop["Flow"]}

    until(lambda: set(seen()) == {"le-left", "ri-right"})
    # Either the datagram or the answer that nobody listens there.
    ends = {frozenset((flow["Network"]["A"], flow["Network"]["B"])) for flow in seen().values()}
    assert ends == {frozenset(("10.77.1.2", "10.77.2.2"))}
    table = site.path("left", "right").stdout.splitlines()
    assert table[0].split() == [
        "HOP",
        "NAME",
        "TYPE",
        "HOST",
        "ADDRESSES",
        "MAC",
        "MTU",
        "STATE",
        "CAPTURES",
        "LAST",
        "SEEN",
    ]
    assert len(table) == 1 + len(WAY)
    assert " seen " in table[2]
    assert " 1400 " in table[1]
    assert "route → eth-right" in table[6]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("left", "nowhere"), "there is no node nowhere; give an IP address, a name, an ID, or a query"),
        (("left", "192.0.2.1"), "no interface has the address 192.0.2.1"),
        (("left", "lo"), "nodes are lo:"),
        (("alone", "right"), "has no route to 10.77.2.2"),
        (("left", "alone"), "the other end has no IP address"),
        (("G.V(", "right"), "400 Bad Request"),
    ],
)
def test_what_cannot_be_found_is_said(site: Site, words: tuple[str, str], text: str) -> None:
    result = site.path(*words)
    assert result.exit_code == 1
    assert text in result.stderr
