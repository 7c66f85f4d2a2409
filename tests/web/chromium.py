"""A real browser for the tests of the page: Debian's Chromium, without a screen, with its 3D drawn by software."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium on this machine: `make test-web` installs it"
)
AXE = Path(__file__).parent.parent.parent / ".node" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
STAGE = "#viewer .stage"
PATIENCE_SECONDS = 60.0
LOUD = 60
"""By so much the channels of a pixel differ that is clearly coloured."""

REFUSED = "Content Security Policy"
"""What Chromium says of everything that a page's policy does not let through, in its workers, too."""


@dataclass
class Window:
    """A window of the browser, and what went wrong in it."""

    page: Page
    origin: str
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)  # what was asked of other hosts
    violations: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)  # all errors in the console; some tests cause them

    def open(self, path: str) -> None:
        """Go to a page."""
        self.page.goto(f"{self.origin}{path}")

    def picture(self, selector: str) -> Image.Image:
        """Return what is seen of an element."""
        data = self.page.locator(selector).screenshot(timeout=PATIENCE_SECONDS * 1000)
        return Image.open(io.BytesIO(data)).convert("RGB")

    def wait_for_model(self) -> str:
        """Wait until the viewer has shown its model, or has said that it cannot; return which."""
        self.page.locator("#viewer[data-state]").wait_for()
        return self.page.get_attribute("#viewer", "data-state") or ""

    def serious(self) -> list[str]:
        """Return what axe-core finds in this page that keeps somebody from using it."""
        if not AXE.exists():
            pytest.skip("axe-core is missing: `make .node/.made` installs it")
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = self.page.evaluate("axe.run().then((found) => found.violations)")
        return [
            f"{one['id']}: {node['html']} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]


def coloured(picture: Image.Image) -> float:
    """Return how much of a picture is clearly coloured, from 0 to 1."""
    small = picture.resize((64, 48))
    data = small.tobytes()
    pixels = [data[i : i + 3] for i in range(0, len(data), 3)]
    return sum(max(pixel) - min(pixel) > LOUD for pixel in pixels) / len(pixels)


def turned(seen: Window) -> None:
    """Turn the model by the mouse until another side of it is seen."""
    before = seen.picture(STAGE)
    box = seen.page.locator(STAGE).bounding_box()
    assert box
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen.page.mouse.move(*middle)
    seen.page.mouse.down()
    seen.page.mouse.move(middle[0] + box["width"] / 3, middle[1], steps=4)
    seen.page.mouse.up()
    until(lambda: seen.picture(STAGE).tobytes() != before.tobytes(), "the model does not turn")


def until(holds: Callable[[], bool], what: str) -> None:
    """Look again until something holds: the browser draws when it can."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what


@contextmanager
def started() -> Iterator[Browser]:
    """Start the browser, and end it."""
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PROGRAM, args=flags)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(browser: Browser, address: str, **looks: Any) -> Iterator[Window]:  # noqa: ANN401 - Playwright's own
    """Open a window; at its end, no policy was violated, no script has failed, and no other host was asked.

    `address` is a host with its port, or the `file:` address of the folder that the window is for.
    """
    origin = address if address.startswith("file:") else f"http://{address}"
    context = browser.new_context(**{"viewport": {"width": 640, "height": 560}, "reduced_motion": "reduce", **looks})
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    found = Window(page, origin)
    context.on("console", lambda told: found.violations.append(told.text) if REFUSED in told.text else None)
    context.on("console", lambda told: found.complaints.append(told.text) if told.type == "error" else None)
    context.on("weberror", lambda error: found.errors.append(str(error.error)))
    inside = (f"{origin}/", f"blob:{origin}/", "data:")
    context.on("request", lambda asked: None if asked.url.startswith(inside) else found.elsewhere.append(asked.url))
    try:
        yield found
    finally:
        context.close()
    assert (found.violations, found.errors, found.elsewhere) == ([], [], [])
