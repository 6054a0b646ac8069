"""The time line by click, drag and key, over real history."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.system.processes import until
from tests.web.picture import Picture

if TYPE_CHECKING:
    from skycore.testing.browser import Watched
    from tests.web.world import World


@pytest.fixture
def picture(watched: Watched) -> Picture:
    found = Picture(watched.page)
    found.card("rack1")
    return found


@pytest.fixture
def past(world: World) -> tuple[int, int, str]:
    """A namespace that was there for two seconds: milliseconds before, and while it was; its name."""
    before = int(time.time() * 1000)
    time.sleep(1.0)
    name = world.add_namespace()
    query = f"G.V().Has('Type', 'netns', 'Name', '{name}')"
    world.process.until(lambda: world.process.query(query))
    time.sleep(1.0)
    during = int(time.time() * 1000)
    time.sleep(1.0)
    world.delete_namespace(name)
    world.process.until(lambda: not world.process.query(query))
    # What is asked for is what was committed.
    until(lambda: world.process.query(f"G.At({during}).V().Has('Type', 'netns', 'Name', '{name}')"))
    return before, during, name


def go(watched: Watched, moment: str) -> None:
    field = watched.page.get_by_role("textbox", name="Go to a time")
    field.fill(moment)
    field.press("Enter")


def test_any_moment_and_one_key_back(picture: Picture, watched: Watched, past: tuple[int, int, str]) -> None:
    before, during, name = past
    page = watched.page
    go(watched, str(during))
    picture.until(lambda: picture.all(name))
    expect(page.locator(".moment-words")).to_contain_text("ago")
    watched.shot("time-past")
    go(watched, str(before))
    picture.until(lambda: picture.all("rack1") and not picture.all(name))
    page.locator("canvas[role=application]").focus()
    page.keyboard.press("l")
    expect(page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true")
    picture.until(lambda: picture.all("rack1") and not picture.all(name))
    expect(page).not_to_have_url(re.compile("at="))


def test_two_moments_are_compared(picture: Picture, watched: Watched, past: tuple[int, int, str]) -> None:
    before, during, name = past
    page = watched.page
    go(watched, f"{before} to {during}")
    picture.until(lambda: picture.all(name))
    assert picture.get("[...t.marks.values()]").count("good") >= 1
    page.get_by_role("button", name=re.compile(r"^\+\d+ ")).click()
    listed = page.get_by_role("region", name="What is different")
    expect(listed).to_contain_text(name)
    watched.shot("time-compare")
    listed.get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    # The other way round it has vanished, and can still be seen.
    go(watched, f"{during} to {int(time.time() * 1000)}")
    picture.until(lambda: "bad" in picture.get("[...t.marks.values()]") and picture.all(name))
    page.get_by_role("button", name="Live").click()
    picture.until(lambda: not picture.all(name) and picture.get("t.marks.size") == 0)


def test_the_line_by_click_drag_wheel_and_keys(picture: Picture, watched: Watched) -> None:
    page = watched.page
    line = page.get_by_role("slider", name="Moment that is shown")
    box = line.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.get_by_label("Length of the time line").select_option("600000")
    page.mouse.click(box["x"] + box["width"] * 0.8, middle)
    expect(page.locator(".moment-words")).to_contain_text("ago")
    shown = int(line.get_attribute("aria-valuenow") or 0)
    assert abs(time.time() * 1000 - shown - 0.2 * 600_000) < 25_000
    line.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    later = int(line.get_attribute("aria-valuenow") or 0)
    assert abs(shown - 10_000 - later) < 50
    page.mouse.move(box["x"] + box["width"] * 0.9, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.94, middle, steps=4)
    page.mouse.move(box["x"] + box["width"] * 0.98, middle, steps=4)
    page.mouse.up()
    expect(page.locator(".moment-words")).to_contain_text("→")
    page.mouse.wheel(0, 300)
    expect(page.get_by_label("Length of the time line")).to_have_value("3600000")
    line.focus()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true")


def test_playing_comes_back_to_live(picture: Picture, watched: Watched, past: tuple[int, int, str]) -> None:
    page = watched.page
    page.get_by_label("Speed").select_option("10")
    go(watched, "-8s")
    expect(page.locator(".moment-words")).to_contain_text("ago")
    page.keyboard.press("Escape")
    page.locator("canvas[role=application]").focus()
    page.keyboard.press("k")
    expect(page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true", timeout=15_000)


def test_density_is_drawn(picture: Picture, watched: Watched, past: tuple[int, int, str]) -> None:
    page = watched.page
    with page.expect_response(re.compile("/api/history/density")) as answered:
        page.get_by_label("Length of the time line").select_option("600000")
    told = answered.value.json()
    assert sum(told["Changes"]) > 20
    page.wait_for_timeout(300)
    bars = """(() => {
        const canvas = document.querySelector('.line canvas');
        const hex = getComputedStyle(document.documentElement).getPropertyValue('--blue').trim();
        const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4) {
            count += data[at] === red && data[at + 1] === green && data[at + 2] === blue;
        }
        return count;
    })()"""
    assert page.evaluate(bars) > 60
    watched.shot("time-line")


def test_a_time_that_is_none_is_refused_in_words(picture: Picture, watched: Watched) -> None:
    go(watched, "yesteryear")
    expect(watched.page.get_by_text("Not a time")).to_be_visible()
