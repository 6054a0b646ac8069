"""What is on the picture, and where: read from the topology behind the canvas, acted on by real mouse and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from playwright.sync_api import Page

from tests.system.processes import until

T = TypeVar("T")
_FIND: Final = """([label, inside]) => {
    const topology = document.querySelector('canvas').topology;
    const box = topology.canvas.getBoundingClientRect();
    const { zoom, x, y } = topology.camera;
    return topology.items
        .filter((item) => item.label === label && (!inside || item.parent?.label === inside))
        .map((item) => ({
            id: item.id, form: item.form, state: item.state, inside: item.inside, badges: item.badges,
            x: box.x + item.x * zoom + x, y: box.y + item.y * zoom + y,
            width: item.w * zoom, height: item.h * zoom, at: [item.x, item.y],
        }));
}"""


class Picture:
    """The topology on a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def until(self, condition: Callable[[], T], seconds: float = 30.0) -> T:
        """What the condition gives once that is true; the page goes on meanwhile."""

        def look() -> T:
            self.page.wait_for_timeout(30)
            return condition()

        return until(look, seconds, why=lambda: str(self.labels()))

    def all(self, label: str, inside: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(_FIND, [label, inside])
        return found

    def labels(self) -> list[str]:
        found: list[str] = self.page.evaluate(
            "document.querySelector('canvas').topology.items.map((item) => item.label)"
        )
        return found

    def card(self, label: str, inside: str = "") -> dict[str, Any]:
        """The one card (or group) with a label, once nothing moves any more."""
        self.still()
        (found,) = self.until(lambda: self.all(label, inside))
        return found

    def still(self) -> None:
        """Wait until all is where it belongs."""
        self.until(lambda: self.get("!t.moveStart && !t.camera.flight && !t.layout.busy && !t.timer && t.fitted"))

    def get(self, expression: str) -> Any:
        """A value of the topology, as ``t``."""
        return self.page.evaluate(
            f"(() => {{ const t = document.querySelector('canvas').topology; return {expression}; }})()"
        )

    def click(self, label: str, inside: str = "", **how: Any) -> dict[str, Any]:
        """Click a card; a group by its name."""
        card = self.card(label, inside)
        self.page.mouse.move(*self.grip(card))
        for key in how.get("keys", ()):
            self.page.keyboard.down(key)
        self.page.mouse.click(*self.grip(card), click_count=how.get("count", 1))
        for key in how.get("keys", ()):
            self.page.keyboard.up(key)
        return card

    def grip(self, card: dict[str, Any]) -> tuple[float, float]:
        """Where to take hold of it."""
        if card["form"] == "group":
            return card["x"], card["y"] - card["height"] / 2 + 8
        return card["x"], card["y"]

    def drag(self, start: tuple[float, float], by: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(start[0] + by[0] / 2, start[1] + by[1] / 2, steps=3)
        mouse.move(start[0] + by[0], start[1] + by[1], steps=3)
        mouse.up()
