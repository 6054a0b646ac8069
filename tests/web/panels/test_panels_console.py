"""The Gremlin console: completion, history, answers in each view, downloads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from skycore.testing.browser import Watched

PCAP_MAGIC = (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")


@pytest.fixture
def page(here: Watched) -> Page:
    here.page.keyboard.press("g")
    return here.page


@pytest.fixture
def query(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Gremlin", exact=True)


def ask(query: Locator, text: str) -> None:
    query.fill(text)
    query.press("Enter")


def chosen(page: Page, text: str) -> Locator:
    return page.get_by_role("listbox", name="Suggestions").get_by_role("option").filter(has_text=text)


def test_steps_keys_and_values_are_completed(page: Page, query: Locator) -> None:
    query.fill("")
    query.press_sequentially("G.V().Ha")
    expect(chosen(page, "HasEither(").first).to_be_visible()
    query.fill("")
    query.press_sequentially("G.V().Has('Typ")
    expect(chosen(page, "Type'").first).to_be_visible()
    query.press("Tab")
    expect(query).to_have_value("G.V().Has('Type'")
    query.press_sequentially(", 'cont")
    expect(chosen(page, "container'")).to_be_visible()
    query.press("ArrowDown")
    query.press("Enter")
    expect(query).to_have_value("G.V().Has('Type', 'container'")
    # Only what stands before is looked at: steps of metrics are not offered after flows' packets.
    query.fill("")
    query.press_sequentially("G.Flows().RawPackets().")
    expect(chosen(page, "BPF(")).to_be_visible()
    expect(chosen(page, "Aggregates(")).to_have_count(0)


def test_answers_are_a_table_a_tree_and_a_picture(page: Page, query: Locator, here: Watched) -> None:
    ask(query, "G.V().Has('Type', 'container')")
    expect(page.get_by_role("region", name="Answer").locator("tbody tr")).to_have_count(5)
    page.get_by_role("button", name="Name", exact=True).click()
    expect(page.get_by_role("region", name="Answer").locator("tbody tr").first).to_contain_text("batch")
    page.get_by_role("tab", name="Tree").click()
    expect(page.get_by_role("group", name="Answer")).to_contain_text("Metadata")
    ask(query, "G.V().Has('Type', 'veth').SubGraph()")
    expect(page.get_by_role("tab", name="Graph")).to_be_visible()
    page.get_by_role("tab", name="Graph").click()
    expect(page.locator("svg.picture circle")).to_have_count(10)
    page.get_by_role("button", name="Mark on the topology").click()
    here.shot("panels-console-graph")
    ask(query, "G.V().Count()")
    expect(page.locator("output.figure")).to_have_text(re.compile(r"^\d+$"))


def test_metrics_are_a_chart_and_explain_explains(page: Page, query: Locator) -> None:
    ask(query, "G.At(NOW, 60).V().Has('Name', 'br0').Metrics()")
    expect(page.get_by_role("img", name=re.compile("^br0: "))).to_be_visible()
    query.fill("G.V().Has('Name', 'br0')")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("group", name="Answer")).to_contain_text("Name")


def test_errors_show_the_place(page: Page, query: Locator, here: Watched) -> None:
    ask(query, "G.V().Hass('Name')")
    expect(page.get_by_role("alert")).to_contain_text("did you mean Has?")
    expect(query).to_have_attribute("aria-invalid", "true")
    here.forgive("400")


def test_history_by_key_and_by_list(page: Page, query: Locator) -> None:
    ask(query, "G.V().Count()")
    expect(page.locator("output.figure")).to_be_visible()
    ask(query, "G.E().Count()")
    query.press("ArrowUp")
    query.press("ArrowUp")
    expect(query).to_have_value("G.V().Count()")
    query.press("ArrowDown")
    expect(query).to_have_value("G.E().Count()")
    page.get_by_role("button", name="History").click()
    page.get_by_role("list", name="History").get_by_role("button", name="G.V().Count()").click()
    expect(query).to_have_value("G.V().Count()")


def test_answers_are_downloaded_as_json_and_packets_as_pcap(page: Page, query: Locator) -> None:
    ask(query, "G.V().Has('Type', 'container').Values('Name')")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="JSON").click()
    assert len(json.loads(Path(downloaded.value.path()).read_text())) == 5
    expect(page.get_by_role("button", name="pcap")).to_have_count(0)
    ask(query, "G.At(NOW, 60).Flows().Has('To.Container', 'db').Limit(20).RawPackets()")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="pcap").click()
    assert Path(downloaded.value.path()).read_bytes()[:4] in PCAP_MAGIC
