"""The page in a real browser: its 3D viewer, its looks, who can use it, what a person does. `make test-web` runs all of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chromium import STAGE, coloured, needs_chromium, started, turned, until, window
from cli_stage import Stage, running
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, Route, expect
from rodin_watchd_plugins.contact_sheet import Settings, write_index
from rodin_watchd_plugins.contact_sheet.publishing import locked
from sheets import publish
from web_stage import Browser, configured, free_address

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator

SAMPLES = Path(__file__).parent.parent / "samples" / "viewer"
pytestmark = needs_chromium
Scene = tuple[Stage, Browser]
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "locale": "zh-CN"},
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Give the browser."""
    with started() as browser:
        yield browser


@dataclass
class Vase:
    """The set of the scene that was delivered; each test may put another result in its place."""

    address: str
    path: str
    result: Path
    dropped: Path

    def becomes(self, sample: str) -> None:
        """Let the result be a sample."""
        shutil.copy(SAMPLES / sample, self.result)


@pytest.fixture
def vase(scene: Scene) -> Iterator[Vase]:
    """Give the delivered set as it was delivered."""
    stage, asks = scene
    (number,) = (one["id"] for one in asks.get("/api/v1/sets").data["sets"] if one["name"] == "vase")
    found = Vase(
        asks.address,
        f"/sets/{number}",
        stage.root / "outbox/vase/base_basic_pbr.glb",
        stage.root / "archive/vase/vase.glb",
    )
    kept = {path: path.read_bytes() for path in (found.result, found.dropped)}
    yield found
    for path, data in kept.items():
        path.write_bytes(data)


@pytest.fixture
def tab(chromium: Chromium, scene: Scene, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a page of a window in which nothing goes wrong."""
    with window(chromium, scene[1].address, **getattr(request, "param", {})) as seen:
        yield seen.page


def test_a_person_watches_and_acts(scene: Scene, tab: Page) -> None:
    """Pause, see it without loading the page again in another tab, go on; the way to a set and to what can be done with it."""
    browser = scene[1]
    other = tab.context.new_page()
    other.goto(browser.origin)
    tab.goto(browser.origin)
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
    expect(tab.locator(":focus")).to_have_text("Skip to the content")
    tab.locator(".card a").first.focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", level=1)).to_be_visible()
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
    expect(tab.locator(".card")).to_have_count(1)
    tab.get_by_role("button", name="Pause").click()
    expect(tab.get_by_role("status")).to_contain_text("Paused")
    tab.get_by_role("button", name="Resume").click()
    expect(tab.get_by_role("status")).to_contain_text("Resumed")


def test_a_person_looks_at_a_result_and_turns_it(chromium: Chromium, vase: Vase) -> None:
    """From the cards to the set, and around the model; nobody is kept out, and nothing leaves this machine."""
    vase.becomes("ball.glb")
    with window(chromium, vase.address) as seen:
        seen.open("/")
        assert seen.serious() == []
        seen.page.get_by_role("link", name="vase").click()
        assert seen.wait_for_model() == "shown"
        until(lambda: coloured(seen.picture(STAGE)) > 0.2, "the texture is not seen")
        turned(seen)
        assert seen.serious() == []


@pytest.mark.browser
@pytest.mark.parametrize("sample", ["ball-draco.glb", "ball-meshopt.glb", "ball-ktx2-etc1s.glb", "ball-ktx2-uastc.glb"])
def test_packed_models_are_shown(sample: str, chromium: Chromium, vase: Vase) -> None:
    """With the decoders of the page itself, and with no leave to compile JavaScript."""
    vase.becomes(sample)
    with window(chromium, vase.address) as seen:
        seen.open(vase.path)
        assert seen.wait_for_model() == "shown"
        until(lambda: coloured(seen.picture(STAGE)) > 0.2, "the texture is not seen")


@pytest.mark.browser
def test_the_result_is_compared_with_the_dropped_model(chromium: Chromium, vase: Vase) -> None:
    """The slider moves by the keyboard; at its ends one of both is seen, and both turn together."""
    vase.becomes("ball.glb")
    shutil.copy(SAMPLES / "ball-draco.glb", vase.dropped)  # painted, which must not be seen
    with window(chromium, vase.address) as seen:
        seen.open(vase.path)
        assert seen.wait_for_model() == "shown"
        compare = seen.page.get_by_role("button", name="Compare with the dropped model")
        compare.click()
        slider = seen.page.get_by_role("slider", name="Where the dropped model ends")
        until(lambda: 0.05 < coloured(seen.picture(STAGE)) < 0.35, "half of the ball is not grey")
        slider.press("End")
        until(lambda: coloured(seen.picture(STAGE)) < 0.02, "the dropped model is painted")
        slider.press("Home")
        until(lambda: coloured(seen.picture(STAGE)) > 0.2, "the result is not seen")
        slider.press("End")
        until(lambda: coloured(seen.picture(STAGE)) < 0.02, "the dropped model is not seen again")
        orbits = "[...document.querySelectorAll('model-viewer')].map((one) => one.getCameraOrbit().theta.toFixed(3))"
        turned(seen)
        until(lambda: len(set(seen.page.evaluate(orbits))) == 1, "they do not turn together")
        assert seen.page.evaluate(orbits) != ["0.000", "0.000"]
        assert seen.serious() == []
        compare.click()
        until(lambda: coloured(seen.picture(STAGE)) > 0.2, "the result does not come back")


MORE = """\
from pathlib import Path
from rodin_watchd.v1 import hookimpl

@hookimpl
def rodin_process(job, directory):
    painted = Path("{sample}").read_bytes()
    (directory / "painted.glb").write_bytes(painted)
    (directory / "broken.glb").write_bytes(painted[:1500])
"""


@pytest.mark.browser
def test_a_result_is_seen_when_it_comes_and_each_model_of_it(chromium: Chromium, tmp_path: Path) -> None:
    """The page of a running set becomes that of its result by itself; of several models one is chosen."""
    settings = EmulatorSettings(preview_pixels=64, waiting_seconds=0, generating_seconds=6)
    with Emulator(settings) as vendor:
        stage, address = Stage(tmp_path / "root", vendor.base_url), free_address()
        stage.install("more", MORE.format(sample=SAMPLES / "ball.glb"))
        with stage.config.open("a") as config:
            config.write('[plugins]\nfolders = ["own"]\n[plugins.more]\n')
        configured(stage, address, enabled=True)
        with running(stage, begun=r"web: The page is at") as service, window(chromium, address) as seen:
            stage.drop("cup.glb", "suzi.glb", "cup.png", "matcap-a.png")
            service.until("submitted cup")
            seen.open("/")
            seen.page.get_by_role("link", name="cup").click()
            seen.page.get_by_role("progressbar", name="Progress").wait_for()
            service.until("archived cup")
            assert seen.wait_for_model() == "shown"
            until(lambda: coloured(seen.picture(STAGE)) < 0.1, "the vendor's model is not seen")
            choice = seen.page.get_by_label("Model", exact=True)
            choice.select_option(label="broken.glb")
            problem = seen.page.get_by_role("alert").filter(has_text="cannot be shown here")
            problem.wait_for()
            choice.select_option(label="painted.glb")
            until(lambda: coloured(seen.picture(STAGE)) > 0.2, "the other model is not seen")
            assert not problem.is_visible()


@pytest.mark.browser
def test_a_model_that_is_turned_comes_back_to_its_front(chromium: Chromium, vase: Vase) -> None:
    """By the arrow keys and the button alone."""
    vase.becomes("ball.glb")
    with window(chromium, vase.address) as seen:
        seen.open(vase.path)
        assert seen.wait_for_model() == "shown"
        model = seen.page.locator("model-viewer .userInput")
        assert "3D result: vase" in (model.get_attribute("aria-label") or "")
        before = seen.picture(STAGE)
        for _ in range(4):
            model.press("ArrowRight")
        until(lambda: seen.picture(STAGE).tobytes() != before.tobytes(), "the arrow keys do not turn it")
        seen.page.get_by_role("button", name="Turn to the front").press("Enter")
        until(
            lambda: seen.page.evaluate("document.querySelector('model-viewer').getCameraOrbit().theta") == 0, "turned"
        )


@pytest.mark.browser
def test_a_large_model_is_loaded_when_somebody_asks_for_it(chromium: Chromium, vase: Vase) -> None:
    """The page says its size; before, nothing of it is fetched. So is the dropped one to compare with."""
    vase.becomes("ball.glb")
    with window(chromium, vase.address) as seen:
        fetched: list[str] = []
        seen.page.on("request", lambda request: fetched.append(request.url.rpartition("/")[2]))

        def with_less(route: Route) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, body=answer.text().replace('data-most="200000000"', 'data-most="1000"'))

        seen.page.route(f"**{vase.path}", with_less)
        seen.open(vase.path)
        load = seen.page.get_by_role("button", name=re.compile(r"^Load it \([\d.]+ [kM]B\)$"))
        load.wait_for()
        assert seen.page.locator("model-viewer").count() == 0
        assert not any(name.endswith(".glb") or "model-viewer" in name for name in fetched)
        assert seen.serious() == []
        load.click()
        assert seen.wait_for_model() == "shown"
        assert not load.is_visible()
        seen.page.get_by_role("button", name="Compare with the dropped model").click()
        load.click()
        seen.page.locator("model-viewer.before").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize("broken", ["result", "dropped", "WebGL"])
def test_what_cannot_be_shown_is_said(broken: str, chromium: Chromium, vase: Vase) -> None:
    """With the picture in its place, and the download."""
    if broken == "result":
        vase.result.write_bytes(vase.result.read_bytes()[:1500])
    if broken == "dropped":
        vase.dropped.write_bytes(vase.dropped.read_bytes()[:1500])
    with window(chromium, vase.address) as seen:
        if broken == "WebGL":
            seen.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
        seen.open(vase.path)
        state = seen.wait_for_model()
        if broken == "dropped":
            assert state == "shown"
            seen.page.get_by_role("button", name="Compare with the dropped model").click()
            seen.page.get_by_role("alert").filter(has_text="there is nothing to compare with").wait_for()
            seen.page.locator("model-viewer").wait_for()
        else:
            assert state == "failed"
            assert seen.page.get_by_role("alert").filter(has_text="cannot be shown here").is_visible()
            assert seen.page.get_by_role("img", name="Picture of vase").is_visible()
        assert seen.page.get_by_role("link", name="Download the model").is_visible()


@pytest.mark.browser
def test_without_scripts_there_is_the_picture(chromium: Chromium, vase: Vase) -> None:
    """And the download; nothing that needs a script is offered."""
    with window(chromium, vase.address, java_script_enabled=False) as seen:
        seen.page.goto(f"http://{vase.address}{vase.path}")
        assert seen.page.get_by_role("img", name="Picture of vase").is_visible()
        assert seen.page.get_by_role("link", name="Download the model").is_visible()
        assert not seen.page.locator("#viewer .tools").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize(
    "path", ["/", "/money", "/api", "/?state=failed", "/?q=nothing", "held", "failed", "delivered"]
)
@pytest.mark.parametrize("looks", LOOKS)
def test_everybody_can_use_the_pages(path: str, looks: str, chromium: Chromium, scene: Scene) -> None:
    """By axe-core's rules, and on a phone, in Chinese, without scrolling aside."""
    if not path.startswith("/"):
        path = next(f"/sets/{one['id']}" for one in scene[1].get("/api/v1/sets").data["sets"] if one["group"] == path)
    with window(chromium, scene[1].address, **LOOKS[looks]) as seen:
        seen.open(path)
        assert seen.serious() == []
        wide = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0
        assert seen.page.get_attribute("html", "lang") == ("zh-CN" if looks == "phone" else "en")


def index_of(folder: Path) -> Path:
    """Write the index of an outbox with results in two folders, and return the outbox."""
    outbox = folder / "the outbox #1 100%"
    for day, (where, name) in enumerate((("", "vase"), ("team", "chair?"), ("team/props", "crate & <b>lid")), 1):
        publish(outbox / where, name, day)
    (outbox / "vase" / "preview.png").unlink()
    with locked(outbox) as opened:
        write_index(opened, Settings(index=True))
    return outbox


@pytest.mark.browser
@pytest.mark.parametrize("look", LOOKS)
def test_an_index_is_opened_from_a_share(chromium: Chromium, tmp_path: Path, look: str) -> None:
    """Without a server: its pictures are there, results are found by words and folder, and nothing keeps anybody from using it."""
    outbox = index_of(tmp_path)
    with window(chromium, outbox.as_uri(), **LOOKS[look]) as seen:
        seen.open("/index.html")
        cards, find = seen.page.locator("article:visible"), seen.page.get_by_role("searchbox")
        expect(cards).to_have_count(3)
        for image in seen.page.locator("img").all():
            image.scroll_into_view_if_needed()
            until(lambda image=image: image.evaluate("(image) => image.naturalWidth > 0"), "a picture is missing")  # type: ignore[misc]
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert seen.serious() == []
        find.fill("0.5 CRATE")
        expect(cards.get_by_role("heading")).to_have_text(["crate & <b>lid"])
        expect(seen.page.get_by_role("status")).to_have_text("1 of 3 shown")
        find.fill("")
        seen.page.get_by_label("Folder").select_option("team")
        expect(cards).to_have_count(2)
        find.fill("vase")
        expect(seen.page.get_by_text("No result matches the search.")).to_be_visible()
        seen.page.reload()
        expect(cards).to_have_count(3)
        cards.get_by_role("heading").get_by_role("link", name="chair?").click()
        expect(seen.page).to_have_url(f"{outbox.as_uri()}/team/chair%3F/")


@pytest.mark.browser
def test_an_index_is_read_without_scripts(chromium: Chromium, tmp_path: Path) -> None:
    """All results are there, and no field that does nothing."""
    with window(chromium, index_of(tmp_path).as_uri(), java_script_enabled=False) as seen:
        seen.open("/index.html")
        expect(seen.page.locator("article")).to_have_count(3)
        expect(seen.page.get_by_role("searchbox")).to_be_hidden()
        seen.page.get_by_text("1 file").first.click()
        expect(seen.page.get_by_role("link", name="base_basic_pbr.glb").first).to_be_visible()
