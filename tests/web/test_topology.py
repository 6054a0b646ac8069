"""The topology by click, drag and key, against a real host."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.web.picture import Picture
from tests.web.world import ADDRESS, MANY, NAMESPACES

if TYPE_CHECKING:
    from skycore.testing.browser import Chromium, Watched
    from tests.web.world import World


@pytest.fixture
def picture(watched: Watched) -> Picture:
    found = Picture(watched.page)
    found.card("rack1")
    return found


def test_groups_are_nested_as_the_network_is(picture: Picture, watched: Watched) -> None:
    assert picture.card("rack1")["form"] == "group"
    for name in NAMESPACES:
        assert picture.card("eth0", name)["form"] == "leaf"
        assert picture.card(f"veth-{name}", "br0")["state"] == "up"
    bundle = picture.card(f"{MANY} × ifb", "rack1")
    assert (bundle["form"], bundle["inside"]) == ("bundle", MANY)
    inner, outer = picture.card("br0"), picture.card("rack1")
    assert inner["width"] < outer["width"]
    assert abs(inner["x"] - outer["x"]) < outer["width"] / 2
    watched.shot("topology-dark")


def test_nothing_overlaps_in_either_layout(picture: Picture, watched: Watched) -> None:
    overlapping = """(() => {
        const items = t.items.filter((item) => item.form !== 'group');
        return items.flatMap((a, i) => items.slice(i + 1).filter((b) =>
            Math.abs(a.x - b.x) < (a.w + b.w) / 2 - 1 && Math.abs(a.y - b.y) < (a.h + b.h) / 2 - 1
        ).map((b) => [a.label, b.label]));
    })()"""
    assert picture.get(overlapping) == []
    before = picture.card("br0")["at"]
    watched.page.keyboard.press("y")
    picture.until(lambda: picture.get("t.items.length > 0") and picture.all("br0")[0]["at"] != before)
    picture.still()
    assert picture.get(overlapping) == []
    watched.shot("topology-force")
    expect(watched.page.get_by_role("button", name="Forces")).to_have_attribute("aria-pressed", "true")


def test_groups_fold_and_unfold_by_click_and_key(picture: Picture, watched: Watched) -> None:
    picture.click("br0", count=2)
    picture.until(lambda: picture.card("br0")["form"] == "folded")
    assert picture.all("veth-web") == []
    picture.click("br0", keys=["Alt"])
    picture.until(lambda: picture.card("br0")["form"] == "group")
    picture.click(f"{MANY} × ifb")
    picture.until(lambda: picture.all("spare17"))
    watched.page.keyboard.press("Shift+E")
    picture.until(lambda: picture.card("web")["form"] == "folded")
    watched.page.keyboard.press("e")
    picture.until(lambda: picture.card("web")["form"] == "group")
    picture.click("rack1")
    watched.page.keyboard.press("Shift+X")
    picture.until(lambda: picture.labels() == ["rack1"])
    watched.page.keyboard.press("x")
    picture.until(lambda: picture.all("eth0", "web"))


def test_what_the_user_looks_at_stays_where_it_is(picture: Picture, world: World) -> None:
    """A new namespace moves neither its siblings past each other nor the middle of the view."""
    before = {name: picture.card(name) for name in NAMESPACES}
    new = world.add_namespace()
    try:
        picture.card(new)
        after = {name: picture.card(name) for name in NAMESPACES}
        order = sorted(NAMESPACES, key=lambda name: (round(before[name]["y"]), before[name]["x"]))
        assert order == sorted(NAMESPACES, key=lambda name: (round(after[name]["y"]), after[name]["x"]))
    finally:
        world.delete_namespace(new)
    picture.until(lambda: not picture.all(new))


def test_zoom_pan_and_fit(picture: Picture, watched: Watched) -> None:
    page = watched.page
    zoom = picture.get("t.camera.zoom")
    page.mouse.move(700, 450)
    page.mouse.wheel(0, -300)
    picture.until(lambda: picture.get("t.camera.zoom") > zoom * 1.2)
    here = picture.get("t.camera.x")
    picture.drag((700, 830 - 60), (90, 0))
    picture.until(lambda: abs(picture.get("t.camera.x") - here - 90) < 2)
    page.get_by_role("button", name="Show everything").click()
    picture.still()
    assert abs(picture.get("t.camera.zoom") - zoom) < 0.02
    page.keyboard.press("-")
    assert picture.get("t.camera.zoom") < zoom
    page.keyboard.press("+")
    page.keyboard.press("0")
    picture.still()
    page.get_by_role("button", name="Zoom in").click()
    assert picture.get("t.camera.zoom") > zoom


def test_what_is_dragged_is_pinned_and_stays(picture: Picture, watched: Watched, world: World) -> None:
    card = picture.card(f"{MANY} × ifb")
    picture.drag((card["x"], card["y"]), (-160, 90))
    moved = picture.card(f"{MANY} × ifb")
    assert abs(moved["x"] - card["x"] + 160) < 6
    assert moved["id"] in picture.get("[...t.pinned]")
    item = f"t.model.items.get({json.dumps(moved['id'])})"
    relative = f"[{item}.tx - {item}.parent.tx, {item}.ty - {item}.parent.ty]"
    place = picture.get(relative)
    new = world.add_namespace()
    try:
        picture.card(new)
    finally:
        world.delete_namespace(new)
    picture.until(lambda: not picture.all(new))
    there = picture.get(relative)
    assert abs(place[0] - there[0]) < 60
    watched.page.keyboard.press("Shift+P")
    assert picture.get("t.pinned.size") == 0
    picture.click("web", keys=["Shift"])
    picture.until(lambda: picture.get("t.pinned.size") == 1)


def test_keyboard_alone(picture: Picture, watched: Watched) -> None:
    page = watched.page
    page.locator("canvas[role=application]").focus()
    spoken = page.locator("p.spoken[role=status]")
    heard = set()
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
        heard.add(spoken.inner_text())
    assert len(heard) >= 3
    assert all(re.search(r", (veth|netns|loopback|bridge|ifb|host)", words) for words in heard), heard
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Details")).to_be_visible()
    page.keyboard.press("p")
    assert picture.get("t.pinned.size") == 1
    where = picture.get("t.camera.x")
    page.keyboard.press("Shift+ArrowRight")
    assert picture.get("t.camera.x") < where
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="Details")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    watched.shot("help")
    page.keyboard.press("Escape")


def test_a_click_shows_details_and_ctrl_several(picture: Picture, watched: Watched) -> None:
    page = watched.page
    picture.click("eth0", "web")
    details = page.get_by_role("complementary", name="Details")
    expect(details.get_by_role("heading", name="eth0")).to_be_visible()
    picture.click("eth0", "db", keys=["Control"])
    expect(details.get_by_role("tab")).to_have_count(2)
    watched.shot("details")
    details.get_by_role("button", name="Close the details").click()
    expect(details).to_have_count(0)


def test_search_suggests_and_goes_there(picture: Picture, watched: Watched) -> None:
    page = watched.page
    page.keyboard.press("/")
    page.keyboard.type("10.1.0.3")
    options = page.get_by_role("option")
    expect(options.first).to_contain_text("eth0")
    watched.shot("search")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="eth0")).to_be_visible()
    picture.still()
    middle = picture.card("eth0", "db")
    assert abs(middle["x"] - (picture.get("t.camera.width") / 2 + 76)) < 60
    # What is folded away is unfolded.
    page.keyboard.press("/")
    page.keyboard.type("spare23")
    page.keyboard.press("Enter")
    picture.until(lambda: picture.all("spare23"))


def test_highlight_by_words_and_by_query(picture: Picture, watched: Watched) -> None:
    page = watched.page
    page.get_by_role("combobox", name="Search").fill("veth-")
    page.get_by_role("option", name="Highlight").click()
    expect(page.get_by_text("3 found")).to_be_visible()
    assert picture.get("t.marks.size") == 3
    watched.shot("highlight")
    page.get_by_role("button", name="Clear the highlight").click()
    assert picture.get("t.marks.size") == 0
    page.get_by_role("combobox", name="Search").fill("G.V().Has('Type', 'netns')")
    page.get_by_role("option", name="Highlight").click()
    expect(page.get_by_text("3 found")).to_be_visible()
    page.get_by_role("combobox", name="Search").fill("G.V().Hass()")
    page.get_by_role("option", name="Highlight").click()
    expect(page.get_by_role("alert")).to_contain_text("did you mean Has?")
    watched.forgive("400 (Bad Request)")


def test_filter_by_words_and_by_query(picture: Picture, watched: Watched) -> None:
    page = watched.page
    page.get_by_role("combobox", name="Search").fill("10.1.0.2")
    page.get_by_role("option", name="Show only").click()
    picture.until(lambda: sorted(picture.labels()) == ["eth0", "rack1", "web"])
    page.get_by_role("button", name="Clear the filter").click()
    picture.until(lambda: picture.all("br0"))
    page.get_by_role("combobox", name="Search").fill("G.V().Has('Type', 'bridge').Descendants(1)")
    page.get_by_role("option", name="Show only").click()
    picture.until(lambda: "br0" in picture.labels() and "web" not in picture.labels())
    page.get_by_role("combobox", name="Search").fill("G.V().Nonsense()")
    page.get_by_role("option", name="Show only").click()
    expect(page.get_by_role("alert")).to_contain_text("Nonsense")


def test_favourites_are_remembered(picture: Picture, watched: Watched) -> None:
    page = watched.page
    page.get_by_role("combobox", name="Search").fill("veth-")
    page.get_by_role("option", name="Highlight").click()
    page.get_by_role("button", name="Remember veth-").click()
    page.get_by_role("button", name="Clear the highlight").click()
    page.reload()
    page.get_by_role("combobox", name="Search").click()
    page.get_by_role("option", name="veth-").click()
    expect(page.get_by_text("3 found")).to_be_visible()


def test_links_have_switches_direction_and_bandwidth(picture: Picture, watched: Watched, world: World) -> None:
    page = watched.page
    busy = "t.links.filter((l) => [l.a.label, l.b.label].includes('veth-web') && l.rate > 1e4).map((l) => l.label)"
    (label,) = picture.until(lambda: picture.get(busy), 40)
    assert re.fullmatch(r"[\d.]+ kbit/s", label)
    page.get_by_role("button", name="Links and bandwidth").click()
    menu = page.get_by_role("dialog", name="Links and bandwidth")
    watched.shot("links")
    assert picture.get("t.links.length") >= 3
    menu.get_by_label(re.compile("layer2")).uncheck()
    picture.until(lambda: picture.get("t.links.filter((l) => l.relation === 'layer2').length") == 0)
    menu.get_by_label(re.compile("layer2")).check()
    picture.until(lambda: picture.get("t.links.length") >= 3)
    menu.get_by_label(re.compile("alert")).select_option("1000")
    page.keyboard.press("Escape")


def test_the_minimap_shows_and_moves_the_view(picture: Picture, watched: Watched) -> None:
    page = watched.page
    for _ in range(4):
        page.keyboard.press("+")
    before = picture.get("t.camera.x")
    box = page.locator("canvas.minimap").bounding_box()
    assert box
    page.mouse.click(box["x"] + 20, box["y"] + 60)
    assert picture.get("t.camera.x") > before + 50


def test_the_address_can_be_sent_to_somebody_else(picture: Picture, watched: Watched, chromium: Chromium) -> None:
    page = watched.page
    picture.click("br0", keys=["Alt"])
    picture.until(lambda: picture.card("br0")["form"] == "folded")
    picture.click("web", keys=["Shift"])
    picture.click("eth0", "db")
    page.get_by_role("combobox", name="Search").fill("G.V().Has('Type', 'netns')")
    page.get_by_role("option", name="Highlight").click()
    expect(page.get_by_text("3 found")).to_be_visible()
    picture.still()
    page.wait_for_timeout(600)
    seen, zoom = picture.card("eth0", "db"), picture.get("t.camera.zoom")
    address = page.evaluate("location.href")
    with chromium.page(ADDRESS) as other:
        other.page.goto(address)
        same = Picture(other.page)
        same.until(lambda: same.all("br0"))
        assert same.card("br0")["form"] == "folded"
        expect(other.page.get_by_text("3 found")).to_be_visible()
        expect(other.page.get_by_role("heading", name="eth0")).to_be_visible()
        assert abs(same.get("t.camera.zoom") - zoom) < 0.01
        assert same.get("t.pinned.size") == 1
        assert abs(same.card("eth0", "db")["x"] - seen["x"]) < 40


@pytest.mark.parametrize("ending", ["png", "svg", "json"])
def test_the_picture_can_be_saved(picture: Picture, watched: Watched, ending: str, tmp_path: Path) -> None:
    page = watched.page
    page.get_by_role("button", name="Save the picture").click()
    with page.expect_download() as started:
        page.get_by_role("menuitem", name=re.compile(ending.upper())).click()
    path = tmp_path / started.value.suggested_filename
    started.value.save_as(path)
    content = path.read_bytes()
    assert path.suffix == f".{ending}"
    if ending == "png":
        assert content.startswith(b"\x89PNG\r\n")
        assert len(content) > 20_000
    elif ending == "svg":
        assert b"<svg" in content
        assert b">veth-web</text>" in content
        assert b"<script" not in content
    else:
        graph = json.loads(content)
        assert {"rack1", "web", "db"} <= {node["Metadata"]["Name"] for node in graph["Nodes"]}
        assert len(graph["Edges"]) > 10


def test_the_table_says_what_the_picture_shows(picture: Picture, watched: Watched) -> None:
    page = watched.page
    page.keyboard.press("v")
    table = page.get_by_role("region", name="Visible nodes")
    rows = table.get_by_role("row")
    expect(table.get_by_role("rowheader", name="veth-web")).to_be_visible()
    assert rows.count() - 1 == len(picture.labels())
    table.get_by_role("button", name="Type").click()
    watched.shot("table")
    table.get_by_role("button", name=f"unfold {MANY}").click()
    expect(table.get_by_role("rowheader", name="spare7", exact=True)).to_be_visible()
    table.get_by_role("button", name="veth-db").click()
    expect(page.get_by_role("heading", name="veth-db")).to_be_visible()


def test_light_and_dark(picture: Picture, watched: Watched) -> None:
    page = watched.page
    first = page.evaluate("document.documentElement.dataset.theme")
    colour = picture.get("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("d")
    assert page.evaluate("document.documentElement.dataset.theme") != first
    assert picture.get("getComputedStyle(document.body).backgroundColor") != colour
    watched.shot("topology-other-theme")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") != first


def test_a_change_is_seen_at_once(picture: Picture, world: World) -> None:
    world.host.run("ip", "link", "set", "veth-cache", "down")
    try:
        picture.until(lambda: picture.card("veth-cache")["state"] == "down")
    finally:
        world.host.run("ip", "link", "set", "veth-cache", "up")
    picture.until(lambda: picture.card("veth-cache")["state"] == "up")


def test_names_from_outside_are_text(picture: Picture, watched: Watched, world: World) -> None:
    page = watched.page
    name = "<img/src=x>"
    world.host.run("ip", "netns", "add", "x")
    world.host.run("ip", "link", "add", "name", "<b>&amp;", "type", "ifb")
    try:
        page.keyboard.press("/")
        page.keyboard.type("<b>&amp;")
        expect(page.get_by_role("option").first).to_contain_text("<b>&amp;")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="<b>&amp;")).to_be_visible()
        assert page.locator("b", has_text="&").count() == 0
        assert name not in page.content()
    finally:
        world.host.run("ip", "link", "del", "<b>&amp;")
        world.host.run("ip", "netns", "del", "x")
