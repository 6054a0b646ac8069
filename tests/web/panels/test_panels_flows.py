"""Flows: who talks to whom, over which interfaces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from skycore.testing.browser import Watched
    from tests.web.containers import Containers


@pytest.fixture
def page(here: Watched) -> Page:
    here.page.get_by_role("navigation").get_by_role("button", name="Flows").click()
    expect(rows(here.page).first).to_be_visible()
    return here.page


def rows(page: Page) -> Locator:
    return page.get_by_role("region", name="Flows", exact=True).locator("tbody tr.choosable")


def between(page: Page, one: str, other: str) -> Locator:
    return (
        rows(page)
        .filter(has=page.get_by_role("button", name=re.compile(rf"^{one}(:|$)")))
        .filter(has=page.get_by_role("button", name=re.compile(rf"^{other}(:|$)")))
    )


def narrow(page: Page, key: str, value: str, test: str = "is") -> None:
    bar = page.get_by_role("form", name="Filter of flows")
    bar.get_by_label("Field").fill(key)
    bar.get_by_label("Test").select_option(test)
    bar.get_by_label("Value").fill(value)
    bar.get_by_role("button", name="Add").click()


def overlay(page: Page, name: str) -> dict[str, list[str]]:
    """What an overlay of the topology marks."""
    found: dict[str, list[str]] = page.evaluate(
        """async (name) => {
            const page = document.querySelector('script[type=module]').src;
            const { app, shown } = await import(page.replace('app.js', 'state.js'));
            const overlay = app.value.overlays[name];
            const names = (ids) => [...ids].map((id) => shown().nodes.get(id)?.Metadata.Name);
            return overlay ? { nodes: names(overlay.nodes), edges: [...overlay.edges] } : { nodes: [], edges: [] };
        }""",
        name,
    )
    return found


def until(page: Page, condition: Any) -> None:
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("not true within 10 s")


def test_a_row_says_who_talks_to_whom_over_which_interfaces(page: Page, here: Watched) -> None:
    row = between(page, "client", "web").first
    expect(row).to_contain_text("client/eth0 → ve-client → ve-web → web/eth0")
    routed = between(page, "web", "db").first
    expect(routed).to_contain_text("web/eth0 → ve-web → ve-db → db/eth0")
    here.shot("panels-flows-dark")


def test_pointing_at_a_row_draws_its_way(page: Page) -> None:
    between(page, "client", "web").first.hover()
    until(page, lambda: {"ve-client", "br0", "ve-web"} <= set(overlay(page, "path")["nodes"]))
    assert len(overlay(page, "path")["edges"]) >= 4
    page.mouse.move(5, 5)
    until(page, lambda: not overlay(page, "path")["nodes"])


def test_filters_of_any_field_with_suggestions(page: Page) -> None:
    bar = page.get_by_role("form", name="Filter of flows")
    expect(bar.locator("option[value='Transport.B']")).to_have_count(1)
    bar.get_by_label("Field").fill("Container")
    expect(bar.locator("option[value='cache']")).to_have_count(1)
    narrow(page, "Container", "cache")
    expect(between(page, "client", "web")).to_have_count(0)
    expect(between(page, "web", "cache").first).to_be_visible()
    narrow(page, "Container", "client")
    expect(between(page, "client", "web").first).to_be_visible()
    page.get_by_role("button", name="Remove the filter Container = cache").click()
    page.get_by_role("button", name="Remove the filter Container = client").click()
    narrow(page, "Transport.B", "6000", "more than")
    expect(between(page, "web", "cache").first).to_be_visible()
    expect(between(page, "web", "db")).to_have_count(0)
    narrow(page, "Network", "10.20.0.0/24", "in network")
    expect(between(page, "web", "cache").first).to_be_visible()


def test_sorting_columns_and_grouping_by_tracking_id(page: Page) -> None:
    page.get_by_role("button", name="B→A").click()
    expect(page.get_by_role("columnheader", name="B→A")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("group", name="Columns").get_by_label("L3TrackingID", exact=True).check()
    page.keyboard.press("Escape")
    expect(page.get_by_role("columnheader", name="L3TrackingID")).to_be_visible()
    narrow(page, "Container", "client")
    page.get_by_label("A row is").select_option("each place it was seen")
    expect(rows(page).first).to_be_visible()
    many = rows(page).count()
    page.get_by_label("A row is").select_option("each TrackingID")
    until(page, lambda: 0 < rows(page).count() < many)
    page.get_by_label("A row is").select_option("who with whom")
    expect(between(page, "client", "web")).to_have_count(1)


def test_the_detail_has_places_fields_time_and_packets(page: Page, here: Watched) -> None:
    page.get_by_label("Asked").select_option("by hand")
    between(page, "client", "web").first.press("Enter")
    places = page.get_by_role("region", name="Where the flow was seen")
    expect(places.locator("tbody tr")).to_have_count(4)
    page.get_by_role("tab", name="Fields").click()
    expect(page.get_by_role("group", name="Flow", exact=True)).to_contain_text("CommunityID")
    page.get_by_role("tab", name="Over time").click()
    page.get_by_role("tab", name="Packets").click()
    packets = page.get_by_role("region", name="Packets that were kept")
    expect(packets.locator("tbody tr").first).to_contain_text("SYN")
    packets.locator("tbody tr").first.click()
    expect(packets.locator("pre.hex")).to_contain_text("0000  ")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="pcap").click()
    assert Path(downloaded.value.path()).stat().st_size > 24
    here.shot("panels-flow-packets")


def test_top_talkers_matrix_and_map(page: Page, here: Watched) -> None:
    page.get_by_role("tab", name="Top talkers").click()
    top = page.get_by_role("region", name="Top talkers")
    expect(top.locator("tbody tr").filter(has_text="client").filter(has_text="TCP 80")).to_have_count(1)
    page.get_by_role("tab", name="Matrix").click()
    page.get_by_label("Groups are").select_option("container")
    cell = page.get_by_role("button", name=re.compile("^web sends .* to client"))
    cell.hover()
    until(page, lambda: "ve-client" in overlay(page, "path")["nodes"])
    here.shot("panels-matrix")
    page.get_by_label("Groups are").select_option("network")
    expect(page.get_by_role("rowheader", name="10.20.0.0/24")).to_be_visible()
    page.get_by_role("tab", name="Map").click()
    page.get_by_label("Groups are").select_option("container")
    here.shot("panels-map")
    page.get_by_role("button", name=re.compile("^batch: ")).press("Enter")
    expect(page.get_by_text("Container = batch")).to_be_visible()


def test_flows_follow_the_moment_that_is_shown(page: Page, containers: Containers) -> None:
    page.goto("/?panel=flows&at=" + str(containers.process.query("G.V().Limit(1)")[0]["CreatedAt"] - 60_000))
    expect(page.get_by_text("Flows that were there")).to_be_visible()
    expect(page.get_by_text("No flows").first).to_be_visible()
    page.keyboard.press("l")
    expect(rows(page).first).to_be_visible()
