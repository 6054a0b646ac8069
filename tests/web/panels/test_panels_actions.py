"""What is done from the page: captures, injections, rules, user metadata; and how the system itself is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.web.picture import Picture

if TYPE_CHECKING:
    from skycore.testing.browser import Watched
    from tests.web.containers import Containers


def opened(here: Watched, title: str) -> Page:
    here.page.get_by_role("navigation").get_by_role("button", name=title).click()
    expect(here.page.get_by_role("region", name=title, exact=True).first).to_be_visible()
    return here.page


@pytest.fixture
def captures(here: Watched) -> Page:
    return opened(here, "Captures")


def listed(page: Page, table: str, text: str) -> Locator:
    return page.get_by_role("region", name=table, exact=True).locator("tbody tr").filter(has_text=text)


def test_a_capture_is_made_by_a_query_with_a_preview_and_deleted(captures: Page, containers: Containers) -> None:
    page = captures
    page.get_by_role("button", name="New capture").click()
    form = page.get_by_role("form", name="New capture")
    form.get_by_role("combobox", name="Capture where").fill("G.V().Has('Name', 'br1')")
    expect(form.get_by_role("status")).to_have_text("1 node (bridge): br1")
    form.get_by_label("Name", exact=True).fill("second bridge")
    form.get_by_label("Only packets (BPF)").fill("tcp port 5432")
    form.get_by_text("More options").click()
    form.get_by_label("Flows are told apart").select_option("from layer 3 on")
    form.get_by_label("Follow TCP segments").check()
    form.get_by_label("Read DNS").check()
    form.get_by_label("Ends after").fill("1h")
    form.get_by_role("button", name="Start the capture").click()
    row = listed(page, "Captures", "second bridge")
    expect(row).to_contain_text("active on 1", timeout=15_000)
    (made,) = [one for one in containers.ask("GET", "/api/capture").values() if one.get("Name") == "second bridge"]
    assert (made["BPFFilter"], made["LayerKeyMode"], made["ExtraLayers"]) == ("tcp port 5432", "L3", 2)
    assert made["ReassembleTCP"] is True
    row.press("Enter")
    expect(listed(page, "Nodes of the capture", "br1")).to_contain_text("active")
    page.get_by_role("button", name="Delete the capture").click()
    expect(row).to_have_count(0)
    assert made["UUID"] not in containers.ask("GET", "/api/capture")


def test_what_the_server_refuses_stands_at_its_field(captures: Page, here: Watched) -> None:
    page = captures
    page.get_by_role("button", name="New capture").click()
    form = page.get_by_role("form", name="New capture")
    form.get_by_label("Only packets (BPF)").fill("tcp prt 80")
    expect(form.get_by_role("alert")).to_contain_text("syntax error")
    form.get_by_role("combobox", name="Capture where").fill("G.V().Has('Name', 'br1')")
    form.get_by_role("button", name="Start the capture").click()
    expect(form.get_by_label("Only packets (BPF)")).to_have_attribute("aria-invalid", "true")
    form.get_by_label("Only packets (BPF)").fill("tcp")
    form.get_by_label("Keep packets of each flow").fill("7")
    form.get_by_role("combobox", name="Capture where").fill("G.V().Hass()")
    expect(form.get_by_role("alert").first).to_contain_text("did you mean Has?")
    here.forgive("400")


def test_nodes_to_capture_are_picked_on_the_picture(captures: Page, here: Watched) -> None:
    page = captures
    page.get_by_role("button", name="New capture").click()
    form = page.get_by_role("form", name="New capture")
    picture = Picture(page)
    page.get_by_role("button", name="Show everything").click()
    picture.still()
    form.get_by_role("button", name="Pick a node").click()
    picture.click("ve-client")
    expect(form.get_by_role("status")).to_have_text("1 node (veth): ve-client")
    form.get_by_role("button", name="Pick two").click()
    picture.click("ve-client")
    picture.click("ve-web")
    expect(form.get_by_role("combobox", name="Capture where")).to_have_value(re.compile("ShortestPathTo"))
    expect(form.get_by_role("status")).to_contain_text("br0")


def test_a_failing_node_shows_why(captures: Page, containers: Containers) -> None:
    page = captures
    containers.host.run("ip", "link", "add", "sleepy", "type", "bridge")
    containers.process.until(lambda: containers.process.query("G.V().Has('Name', 'sleepy')"))
    uuid = containers.capture("G.V().Has('Name', 'sleepy')", Name="asleep")
    try:
        row = listed(page, "Captures", "asleep")
        expect(row).to_contain_text("1 of 1 failing", timeout=15_000)
        row.click()
        expect(listed(page, "Nodes of the capture", "sleepy")).to_contain_text("error")
    finally:
        containers.ask("DELETE", f"/api/capture/{uuid}")
        containers.host.run("ip", "link", "del", "sleepy")


def test_an_injection_is_followed_through_the_topology(here: Watched) -> None:
    page = opened(here, "Injection")
    page.get_by_role("button", name="New injection").click()
    form = page.get_by_role("form", name="New injection")
    web = "G.V().Has('Type', 'container', 'Name', 'web').In().Out('Name', 'eth0')"
    form.get_by_role("combobox", name="Send from").fill("G.V().Has('Name', 'br0')")
    form.get_by_role("combobox", name="Send to").fill(web)
    form.get_by_label("ICMP id", exact=True).fill("777")
    form.get_by_label("Packets", exact=True).fill("6")
    form.get_by_role("button", name="Send", exact=True).click()
    way = page.locator("p.way")
    expect(way).to_contain_text("ve-web → web/eth0", timeout=30_000)
    expect(way).to_contain_text("answered")
    here.shot("panels-injection")
    page.get_by_role("button", name="Delete the injection").click()
    expect(page.get_by_role("region", name="Injections")).to_have_count(0)


def test_node_rules_edge_rules_and_user_metadata(here: Watched, containers: Containers) -> None:
    page = opened(here, "Rules")
    page.get_by_role("button", name="New node rule").click()
    form = page.get_by_role("form", name="New node rule")
    form.get_by_label("Does").select_option("make a node")
    form.get_by_label("Metadata", exact=True).fill("Name: tor1\nType: fabric\nPlace.Row: 7")
    form.get_by_role("button", name="Make it").click()
    expect(listed(page, "Node rules", "tor1")).to_be_visible()
    tor = "G.V().Has('Name', 'tor1', 'Place.Row', 7)"
    containers.process.until(lambda: containers.process.query(tor))

    page.get_by_role("tab", name="Edge rules").click()
    page.get_by_role("button", name="New edge rule").click()
    form = page.get_by_role("form", name="New edge rule")
    form.get_by_role("combobox", name="From (Gremlin)").fill(tor)
    form.get_by_role("combobox", name="To (Gremlin)").fill("G.V().Has('Name', 'br0')")
    form.get_by_label("Name of the rule").fill("uplink")
    form.get_by_role("button", name="Make it").click()
    expect(listed(page, "Edge rules", "uplink")).to_be_visible()
    containers.process.until(lambda: containers.process.query(f"{tor}.Out('Name', 'br0')"))

    page.get_by_role("tab", name="User metadata").click()
    page.get_by_role("button", name="New user metadata").click()
    form = page.get_by_role("form", name="New user metadata")
    form.get_by_role("combobox", name="Nodes").fill("G.V().Has('Name', 'br0')")
    form.get_by_label("Key").fill("Rack")
    form.get_by_label("Value").fill("r12")
    form.get_by_role("button", name="Make it").click()
    expect(listed(page, "User metadata", "Rack")).to_be_visible()
    containers.process.until(lambda: containers.process.query("G.V().Has('UserMetadata.Rack', 'r12')"))

    page.get_by_role("button", name="Delete Rack").click()
    expect(listed(page, "User metadata", "Rack")).to_have_count(0)
    for table, rule in (("Edge rules", "uplink"), ("Node rules", "tor1")):
        page.get_by_role("tab", name=table).click()
        listed(page, table, rule).get_by_role("button", name="Delete").click()
        expect(listed(page, table, rule)).to_have_count(0)
    containers.process.until(lambda: not containers.process.query("G.V().Has('Name', 'tor1')"))


def test_status_shows_agents_plugins_queues_and_store(here: Watched) -> None:
    page = opened(here, "Status")
    expect(page.locator("dl.figures")).to_contain_text(
        re.compile(r"History.*revisions in .* commits, .* waiting", re.S)
    )
    expect(page.locator("dl.figures")).to_contain_text(re.compile(r"Store.*rows", re.S))
    here.shot("panels-status")
    page.get_by_role("tab", name=re.compile("^Agents")).click()
    expect(listed(page, "Agents", "rack1")).to_contain_text("connected")
    page.get_by_role("tab", name=re.compile("^Plugins")).click()
    expect(listed(page, "Plugins", "racks")).to_contain_text("running")
    page.get_by_role("tab", name=re.compile("^Clients")).click()
    expect(listed(page, "Clients", "webui").first).to_be_visible()


def test_a_plugin_brings_a_panel_a_section_and_an_icon(here: Watched) -> None:
    page = opened(here, "Racks")
    expect(page.get_by_role("navigation").get_by_role("button", name="Racks").locator("path")).to_have_attribute(
        "d", re.compile("^M5 3h14v18H5z")
    )
    listed(page, "Racks", "r1").click()
    expect(page.locator("details.section").filter(has_text="Row 7 of the hall")).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("region", name="Racks", exact=True)).to_have_count(0)
