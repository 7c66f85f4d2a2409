"""The page of a set that makes several jobs: all of them side by side, two to compare, one to choose; without and with a browser."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from chromium import needs_chromium, started, until, window
from cli_stage import Stage, running
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import expect
from web_stage import TOKEN, VIEWER_TOKEN, Browser, configured, free_address, page_of

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import Emulator

Scene = tuple[Stage, Browser]
LOOKS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1280, "height": 900}},
    "wide, dark, Chinese": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark", "locale": "zh-CN"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
    "phone, dark, Chinese": {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "color_scheme": "dark",
        "locale": "zh-CN",
    },
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Give a service that runs with its page: a set of four jobs, of which one failed, and a set of one."""
    faults = (parse_fault("failed-job@4"),)
    settings = EmulatorSettings(preview_pixels=64, waiting_seconds=0.1, generating_seconds=0.2, faults=faults)
    with Emulator(settings) as vendor:
        stage = Stage(tmp_path_factory.mktemp("siblings") / "root", vendor.base_url)
        address = free_address()
        configured(stage, address, enabled=True)
        with running(stage, begun=r"web: The page is at") as service:
            (stage.inbox / "props").mkdir()
            (stage.inbox / "props/vase.toml").write_text('seeds = [1, 2]\nprompts = ["<b>oak", "steel"]\n')
            stage.drop("props/vase.glb", "suzi.glb", "props/vase.png", "matcap-a.png")
            service.until(*[r"archived props/vase"] * 3, r"failed props/vase")
            stage.drop("lamp.glb", "bunny.glb", "lamp.jpg", "matcap-b.jpg")
            service.until(r"archived lamp")
            yield stage, Browser(address)


def siblings(browser: Browser) -> dict[str, dict[str, Any]]:
    """Return the jobs of the set, by label."""
    number = next(one["id"] for one in browser.get("/api/v1/sets").data["sets"] if one["batch"])
    return {one["variant"]: one for one in browser.get(f"/api/v1/sets/{number}/siblings").data["jobs"]}


def delivered(browser: Browser) -> list[dict[str, Any]]:
    """Return those that were delivered."""
    return [one for one in siblings(browser).values() if one["group"] == "delivered"]


def page(one: dict[str, Any], *marked: dict[str, Any]) -> str:
    """Return the address of the set's page, with these to compare."""
    query = urlencode([("with", other["id"]) for other in marked])
    return f"/sets/{one['id']}/siblings{'?' if query else ''}{query}"


def receipt(stage: Stage, one: dict[str, Any]) -> object:
    """Return what the receipt of a job has of the choice."""
    return tomllib.loads((stage.root / one["place"] / "job.toml").read_text())["job"]["chosen"]


def let_go(browser: Browser) -> None:
    """Take the choice back, if there is one."""
    for one in siblings(browser).values():
        if one["chosen"]:
            answer = browser.post_data(f"/api/v1/sets/{one['id']}/choose", {"seen": one["seen"], "take_back": True})
            assert answer.status == 200


def test_the_api_has_all_that_a_grid_needs(scene: Scene) -> None:
    """What each differs by, and what it is one of; also on the cards of the list. The document describes it."""
    browser = scene[1]
    found = siblings(browser)
    assert list(found) == ["prompt-1-seed-1", "prompt-1-seed-2", "prompt-2-seed-1", "prompt-2-seed-2"]
    assert found["prompt-1-seed-2"]["differs_by"] == [
        {"name": "prompt", "value": "<b>oak"},
        {"name": "seed", "value": 2},
    ]
    cards = {one["id"]: one for one in browser.get("/api/v1/sets").data["sets"]}
    for one in found.values():
        card = cards[one["id"]]
        assert (card["batch"], card["variant"], card["of"], card["chosen"]) == (one["batch"], one["variant"], 4, False)
    lamp = next(card for card in cards.values() if card["name"] == "lamp")
    assert (lamp["batch"], lamp["variant"], lamp["of"], lamp["chosen"]) == (None, None, None, None)
    paths = browser.get("/api/openapi.json").data["paths"]
    assert "get" in paths["/api/v1/sets/{job_id}/siblings"]
    assert "take_back" in str(paths["/api/v1/sets/{job_id}/choose"]["post"]["requestBody"])


def test_a_set_of_one_has_no_such_page(scene: Scene) -> None:
    """Nor has a set that is not there; both say so. Nothing can be chosen there."""
    browser = scene[1]
    lamp = browser.get("/api/v1/sets?q=lamp").data["sets"][0]["id"]
    answer = browser.get(f"/sets/{lamp}/siblings")
    assert (answer.status, "This set makes one job" in answer.text) == (404, True)
    assert browser.get(f"/api/v1/sets/{lamp}/siblings").status == 404
    assert browser.get("/sets/000000000000/siblings").status == 404
    refused = browser.post_data(f"/api/v1/sets/{lamp}/choose", {"seen": browser.seen(lamp)})
    assert (refused.status, "there is nothing to choose among" in refused.data["error"]) == (409, True)


def test_one_is_chosen_by_a_program(scene: Scene) -> None:
    """Another one instead, then none; a failed one cannot be. The receipts follow."""
    stage, browser = scene
    first, second, *_ = delivered(browser)
    for one in (first, second):
        answer = browser.post_data(f"/api/v1/sets/{one['id']}/choose", {"seen": one["seen"]})
        assert (answer.status, answer.data["answer"]["ok"]) == (200, True)
    until(lambda: (receipt(stage, first), receipt(stage, second)) == (False, True), "the receipts do not follow")
    assert [one["id"] for one in siblings(browser).values() if one["chosen"]] == [second["id"]]
    failed = next(one for one in siblings(browser).values() if one["group"] == "failed")
    assert failed["choice"] is None
    refused = browser.post_data(f"/api/v1/sets/{failed['id']}/choose", {"seen": failed["seen"]})
    assert (refused.status, "Only a delivered job can be chosen" in refused.data["error"]) == (409, True)
    let_go(browser)
    until(lambda: receipt(stage, second) is False, "the receipt does not follow")


def test_names_are_text_and_marks_are_ids(scene: Scene) -> None:
    """Whatever a prompt or an address has in it; marks of other sets are none, and an address elsewhere is not gone to."""
    browser = scene[1]
    one = next(iter(siblings(browser).values()))
    body = browser.get(f"{page(one)}?with=%22%3E%3Cscript%3E&with={'0' * 12}").body.decode()
    assert "&lt;b&gt;oak" in body
    assert "<b>oak" not in body
    assert "%22%3E" not in body
    assert '"><script>' not in body
    assert body.count('class="card ') == 4
    given = {"csrf": browser.csrf(), "seen": "{}", "to": "//elsewhere.example/"}
    assert "elsewhere.example" not in str(browser.post(f"/sets/{one['id']}/choose", given).headers)


def test_who_only_looks_has_no_buttons(scene: Scene, tmp_path: Path) -> None:
    """The grid is there, and what is chosen; nothing can be asked for."""
    stage, browser = scene
    one = delivered(browser)[0]
    for name, token in (("acts", TOKEN), ("looks", VIEWER_TOKEN)):
        (tmp_path / name).write_text(token)
        (tmp_path / name).chmod(0o600)
    before = stage.config.read_text()
    try:
        with page_of(stage, token_file=str(tmp_path / "acts"), viewer_token_file=str(tmp_path / "looks")) as other:
            other.headers["Authorization"] = f"Bearer {VIEWER_TOKEN}"
            looks = other.get(page(one))
            assert (looks.status, looks.body.count(b'class="card ')) == (200, 4)
            assert (b"/choose" in looks.body, b'name="with"' in looks.body) == (False, True)
            assert other.ask("POST", f"/api/v1/sets/{one['id']}/choose", b"{}", {}).status == 403
            other.headers["Authorization"] = f"Bearer {TOKEN}"
            assert b"/choose" in other.get(page(one)).body
    finally:
        stage.config.write_text(before)


# ---- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Give the browser."""
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("marked", [0, 2])
def test_everybody_can_use_the_grid(looks: str, marked: int, chromium: Chromium, scene: Scene) -> None:
    """By axe-core's rules, at any width without scrolling aside; also where one is chosen."""
    browser = scene[1]
    first, second, *_ = delivered(browser)
    browser.post_data(f"/api/v1/sets/{first['id']}/choose", {"seen": first["seen"]})
    with window(chromium, browser.address, **LOOKS[looks]) as seen:
        seen.open(page(first, *(first, second)[:marked]))
        expect(seen.page.locator(".siblings .card")).to_have_count(marked or 4)
        expect(seen.page.locator(".siblings .pill.chosen")).to_have_count(1)
        assert seen.serious() == []
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tops = {seen.page.locator(".siblings .card").nth(number).bounding_box()["y"] for number in (0, 1)}  # type: ignore[index]
        assert len(tops) == 1  # also on a phone two are side by side
        seen.open("/")
        assert seen.serious() == []
    let_go(browser)


@needs_chromium
def test_two_are_compared_and_one_is_chosen_without_scripts(chromium: Chromium, scene: Scene) -> None:
    """By plain forms, from the card of one to the grid and back to the same comparison."""
    stage, browser = scene
    first, second, *_ = delivered(browser)
    with window(chromium, browser.address, java_script_enabled=False) as seen:
        tab = seen.page
        seen.open("/")
        tab.locator(f"#set-{first['id']}").get_by_role("link", name="Compare all 4").click()
        for one in (first, second):
            tab.get_by_role("checkbox", name=f"Compare {one['variant']}").check()
        tab.get_by_role("button", name="Compare the marked ones").click()
        expect(tab.locator(".siblings .card")).to_have_count(2)
        assert not tab.locator("[data-show]").first.is_visible()
        tab.get_by_role("button", name=f"Choose {second['variant']}").click()
        expect(tab.get_by_role("status")).to_contain_text("is chosen.")
        expect(tab.locator(".siblings .card")).to_have_count(2)
        expect(tab.locator(f"#set-{second['id']} .pill.chosen")).to_be_visible()
        until(lambda: receipt(stage, second) is True, "the receipt does not follow")
        tab.get_by_role("link", name=second["variant"]).click()
        tab.get_by_role("button", name="Take the choice back").click()
        expect(tab.get_by_role("status")).to_contain_text("is not chosen any more.")
        expect(tab.locator(".pill.chosen")).to_have_count(0)


@needs_chromium
def test_two_turn_together_and_stay_when_one_is_chosen(chromium: Chromium, scene: Scene) -> None:
    """3D where somebody asks for it, by the keyboard; a choice does not take it away, and other pages see it at once."""
    browser = scene[1]
    first, second, *_ = delivered(browser)
    with window(chromium, browser.address, viewport={"width": 1280, "height": 900}) as seen:
        tab, other = seen.page, seen.page.context.new_page()
        other.goto(f"{seen.origin}{page(first)}")
        seen.open(page(first, first, second))
        for number in (0, 1):
            tab.locator("[data-show]").first.press("Enter")
            tab.locator('.stage[data-state="shown"]').nth(number).wait_for()
        tab.keyboard.press("ArrowLeft")  # the one that was shown last has the focus
        orbits = "[...document.querySelectorAll('model-viewer')].map((one) => one.getCameraOrbit().theta.toFixed(2))"
        until(lambda: len(set(tab.evaluate(orbits))) == 1 and tab.evaluate(orbits)[0] != "0.00", "they do not turn")
        assert seen.serious() == []
        tab.get_by_role("button", name=f"Choose {first['variant']}").press("Enter")
        expect(tab.locator("[data-said]")).to_contain_text("is chosen.")
        expect(tab.locator(f"#set-{first['id']} .pill.chosen")).to_be_visible()
        expect(other.locator(f"#set-{first['id']} .pill.chosen")).to_be_visible()
        expect(tab.locator(":focus")).to_have_text(first["variant"])
        assert tab.locator("model-viewer").count() == 2
        tab.get_by_role("button", name=f"Choose {second['variant']}").click()
        expect(tab.locator(f"#set-{second['id']} .pill.chosen")).to_be_visible()
        expect(tab.locator(".pill.chosen")).to_have_count(1)
        tab.get_by_role("button", name="Turn to the front").click()
        until(lambda: set(tab.evaluate(orbits)) == {"0.00"}, "they do not turn back")
    let_go(browser)
