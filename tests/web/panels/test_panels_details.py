"""The details of what is selected, against what the server says of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from skycore.testing.browser import Watched
    from tests.web.containers import Containers


def section(page: Page, title: str) -> Locator:
    """A section of the details, open."""
    found = page.locator("details.section").filter(has=page.locator("summary", has_text=re.compile(f"^{title}$")))
    expect(found).to_be_visible()
    if found.get_attribute("open") is None:
        found.locator("summary").first.click()
    return found


def show(here: Watched, containers: Containers, query: str) -> Page:
    here.page.goto(f"/?select={containers.node(query)['ID']}")
    expect(here.page.locator("aside.side")).to_be_visible()
    return here.page


WEB = "G.V().Has('Type', 'container', 'Name', 'web').In().Out('Name', 'eth0')"


def test_addresses_routes_and_neighbours_are_tables(here: Watched, containers: Containers) -> None:
    page = show(here, containers, WEB)
    expect(section(page, "Addresses")).to_contain_text("10.20.0.2/24")
    routes = section(page, "Routes")
    expect(routes.get_by_role("row").filter(has_text="0.0.0.0/0")).to_contain_text("10.20.0.254")
    routes.get_by_label("Find in Routes").fill("0.0.0.0/0")
    expect(routes.locator("tbody tr")).to_have_count(1)
    expect(section(page, "Neighbours").locator("tbody tr").first).to_be_visible()


def test_metadata_is_a_tree_that_is_searched_and_copied(here: Watched, containers: Containers) -> None:
    here.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = show(here, containers, WEB)
    tree = section(page, "Metadata")
    tree.get_by_label("Find key or value").fill("peerifindex")
    expect(tree.get_by_role("group", name="Metadata").locator(".key")).to_have_text(["PeerIfIndex"])
    tree.get_by_label("Find key or value").fill("")
    tree.locator(".line").filter(has_text="MTU").get_by_role("button", name="1500").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == "1500"


def test_metrics_come_from_history_and_go_on_live(here: Watched, containers: Containers) -> None:
    page = show(here, containers, "G.V().Has('Name', 'br0')")
    chart = section(page, "Metrics").get_by_role("img", name=re.compile("^Bandwidth: received .*bit.s"))
    expect(chart.locator("canvas")).to_be_visible()
    before = chart.get_attribute("aria-label")
    expect(chart).not_to_have_attribute("aria-label", before or "", timeout=15_000)
    section(page, "Metrics").get_by_label("Time", exact=True).select_option("1 hour")
    expect(chart).to_be_visible()
    here.shot("panels-details-dark")


def test_revisions_show_what_changed_and_lead_to_the_moment(here: Watched, containers: Containers) -> None:
    containers.host.run("ip", "link", "set", "ve-batch", "mtu", "1480")
    query = "G.V().Has('Name', 've-batch', 'MTU', 1480)"
    containers.process.until(lambda: containers.process.query(query))
    try:
        page = show(here, containers, query)
        revisions = section(page, "Revisions")
        changed = revisions.locator("li").filter(has_text="MTU").first
        expect(changed.locator("del")).to_have_text("1500")
        expect(changed.locator("ins")).to_have_text("1480")
        changed.get_by_title("Show this moment").click()
        expect(page).to_have_url(re.compile("at="))
    finally:
        containers.host.run("ip", "link", "set", "ve-batch", "mtu", "1500")


def test_flows_of_a_container_and_captures_on_an_interface(here: Watched, containers: Containers) -> None:
    page = show(here, containers, "G.V().Has('Type', 'container', 'Name', 'batch')")
    flows = section(page, "Flows")
    expect(flows.locator("tbody tr").filter(has_text="db").first).to_be_visible()
    flows.get_by_role("button", name="Open in Flows").click()
    expect(page.get_by_text("Container = batch")).to_be_visible()
    page = show(here, containers, WEB)
    expect(section(page, "Captures")).to_contain_text("all veths")
    expect(section(page, "Captures").locator(".chip.good")).to_have_text("active")


def test_sockets_of_a_namespace(here: Watched, containers: Containers) -> None:
    netns = "G.V().Has('Type', 'netns', 'Name', 'db').HasKey('Sockets')"
    containers.process.until(lambda: containers.process.query(netns))
    page = show(here, containers, netns)
    sockets = section(page, "Sockets")
    expect(sockets.get_by_role("row").filter(has_text="LISTEN").filter(has_text="5432").first).to_be_visible()
    sockets.get_by_role("button", name="Columns").click()
    page.get_by_role("group", name="Columns").get_by_label("PID").check()
    expect(sockets.get_by_role("columnheader", name="PID")).to_be_visible()
