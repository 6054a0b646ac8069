"""Debian's Chromium for tests of the Web UI, driven by Playwright from ordinary (not async) tests.

A page that a test is given notes whatever goes wrong in it: exceptions, errors on the console (refusals of the Content
Security Policy among them) and answers of 500 and above.  The test fails with them at its end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Response,
    sync_playwright,
)

from skycore.testing.lab import Closing

ARTEFACTS: Final = "SKYCORE_ARTEFACTS"
"""Environment variable: the folder for screenshots; else one in the folder for temporary files."""

# Root cannot have Chromium's sandbox; the pages are ours.
_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--force-color-profile=srgb",
)


def artefacts() -> Path:
    """The folder for screenshots and what else a test leaves to be looked at."""
    folder = Path(os.environ.get(ARTEFACTS) or Path(tempfile.gettempdir()) / "skycore-artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Chromium(Closing):
    """A browser, in a network namespace when the path of one is given.

    A thread can have one at a time; ``elsewhere`` starts another beside it.
    """

    def __init__(self, folder: Path, netns: str | None = None, *options: str) -> None:
        with ExitStack() as stack:
            self._playwright: Playwright = stack.enter_context(sync_playwright())
            self._browser = _launched(self._playwright, folder, netns, options)
            self._stack = stack.pop_all()

    @contextmanager
    def elsewhere(self, folder: Path, netns: str, *options: str) -> Iterator[Chromium]:
        """A second browser, in another namespace."""
        other = Chromium.__new__(Chromium)
        with ExitStack() as other._stack:
            other._playwright = self._playwright
            other._browser = _launched(self._playwright, folder, netns, options)
            other._stack.callback(other._browser.close)
            yield other

    def close(self) -> None:
        self._browser.close()
        self._stack.close()

    @contextmanager
    def page(self, address: str, **settings: Any) -> Iterator[Watched]:
        """A page in a context of its own, at an address; ``settings`` are Playwright's of a context."""
        wanted = {"viewport": {"width": 1440, "height": 900}, "base_url": address, "accept_downloads": True, **settings}
        context = self._browser.new_context(**wanted)
        context.set_default_timeout(30_000)
        context.set_default_navigation_timeout(60_000)
        try:
            watched = Watched(context)
            yield watched
            assert watched.faults == [], watched.faults
        finally:
            context.close()


def _launched(playwright: Playwright, folder: Path, netns: str | None, options: Sequence[str]) -> Browser:
    program = shutil.which("chromium")
    assert program, "chromium is missing (Debian package chromium)"
    if netns is not None:
        # Playwright speaks to the browser by pipes, so only the browser has to be in the namespace.
        wrapper = folder / "chromium-inside"
        wrapper.write_text(f'#!/bin/sh\nexec nsenter --net={netns} -- {program} "$@"\n')
        wrapper.chmod(0o755)
        program = str(wrapper)
    return playwright.chromium.launch(executable_path=program, args=[*_OPTIONS, *options])


class Watched:
    """A page, and what went wrong in it; a test that provokes something removes it from ``faults``."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.faults: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("console", self._note)
        self.page.on("response", self._note_answer)

    def _note_answer(self, answer: Response) -> None:
        if answer.status >= 500:
            self.faults.append(f"{answer.status} {answer.url}")

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text}")

    def forgive(self, *words: str) -> Self:
        """Remove the faults that hold one of the words: the test made them happen."""
        self.faults = [fault for fault in self.faults if not any(word in fault for word in words)]
        return self

    def shot(self, name: str) -> Path:
        """A screenshot among the artefacts."""
        path = artefacts() / f"{name}.png"
        self.page.screenshot(path=path)
        return path
