"""The page in a real browser: Debian's Chromium, driven by Playwright; skipped where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from cli_stage import Stage
from web_stage import Browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium (apt install chromium)")

Scene = tuple[Stage, Browser]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Give the browser, headless."""
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Chromium, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a tab in which nothing is refused by the page's own policy, and no script fails."""
    context = chromium.new_context(**getattr(request, "param", {}))
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    yield page
    context.close()
    assert [text for text in told if "404" not in text] == []


def test_a_person_watches_and_acts(scene: Scene, tab: Page) -> None:
    """Pause, see it without loading the page again in another tab, go on; the way to a set and to what can be done with it."""
    browser = scene[1]
    other = tab.context.new_page()
    other.goto(browser.origin)
    tab.goto(browser.origin)
    expect = playwright.expect
    expect(tab.locator(".card")).to_have_count(4)
    tab.get_by_role("button", name="Pause").click()
    expect(tab.get_by_role("status")).to_contain_text("Paused: nothing is taken or submitted.")
    expect(other.locator("[data-live=notices]")).to_contain_text("Paused by request", timeout=10_000)
    tab.get_by_role("button", name="Resume").click()
    expect(tab.get_by_role("status")).to_contain_text("Resumed.")
    tab.get_by_role("link", name="lost").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("lost")
    expect(tab.get_by_role("button", name="It was not charged (0.5 credits)")).to_be_visible()


def test_cards_are_reached_by_the_keyboard(scene: Scene, tab: Page) -> None:
    """The first stop leads past the header; each card is a stop."""
    tab.goto(scene[1].origin)
    tab.keyboard.press("Tab")
    playwright.expect(tab.locator(":focus")).to_have_text("Skip to the content")
    tab.locator(".card a").first.focus()
    tab.keyboard.press("Enter")
    playwright.expect(tab.get_by_role("heading", level=1)).to_be_visible()
    assert "/sets/" in tab.url


@pytest.mark.parametrize(
    "tab", [{"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "locale": "zh-CN"}], indirect=True
)
@pytest.mark.parametrize("path", ["/", "/money", "/api", "set"])
def test_a_phone_shows_all_of_it(scene: Scene, tab: Page, path: str) -> None:
    """Nothing is wider than the screen; dark, in Chinese."""
    browser = scene[1]
    number = browser.get("/api/v1/sets?q=vase").data["sets"][0]["id"]
    tab.goto(browser.origin + (f"/sets/{number}" if path == "set" else path))
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate("document.documentElement.lang") == "zh-CN"


@pytest.mark.parametrize("tab", [{"java_script_enabled": False}], indirect=True)
def test_all_works_without_scripts(scene: Scene, tab: Page) -> None:
    """Forms and links are plain."""
    tab.goto(scene[1].origin)
    tab.get_by_label("Search").fill("vase")
    tab.get_by_role("button", name="Show").click()
    playwright.expect(tab.locator(".card")).to_have_count(1)
    tab.get_by_role("button", name="Pause").click()
    playwright.expect(tab.get_by_role("status")).to_contain_text("Paused")
    tab.get_by_role("button", name="Resume").click()
    playwright.expect(tab.get_by_role("status")).to_contain_text("Resumed")
