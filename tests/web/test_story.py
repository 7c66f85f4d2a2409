"""The whole story in a real browser: a real service, a real page, the emulated vendor. `make test-web` runs it.

Somebody drops, sees the price, sends, watches, turns the result, makes it again, and acts on what goes wrong: in English at a desk
and in Chinese on a phone. No page of it keeps somebody out, asks another host, violates its policy, or complains in the console.
"""

from __future__ import annotations

import base64
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from chromium import PATIENCE_SECONDS, STAGE, Window, needs_chromium, started, turned, until, window
from cli_stage import SAMPLES, Stage, a_job, running
from PIL import Image
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Locator, Page, expect
from web_stage import TOKEN, configured, free_address

from rodin_watchd.client.choices import FREE_WORDS, GIVE_UP_WORDS, TASK_WORDS
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.web.words import Words

pytestmark = [needs_chromium, pytest.mark.browser, pytest.mark.timeout(400)]
LOOKS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "locale": "zh-CN",
        "color_scheme": "dark",
    },
}
LANGUAGES = {"desk": "en", "phone": "zh-CN"}
BUDGET = "[budget]\nper_day_credits = 10\nhold_above_sets = 1\n"
NAME = "oak chair & 椅子"
expect.set_options(timeout=PATIENCE_SECONDS * 1000)
COPY = "async (data) => { const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0)); await navigator.clipboard.write([new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})]); }"  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Give the browser."""
    with started() as browser:
        yield browser


@dataclass
class Person:
    """Somebody in front of the page, who reads it in a language."""

    seen: Window
    language: str

    def says(self, text: str, **values: object) -> str:
        """Return what a text is on the page of this person."""
        said = Words(self.language, UTC).say(text)
        return said % values if values else said

    def button(self, text: str) -> Locator:
        """Find a button by how its English text begins."""
        return self.seen.page.get_by_role("button", name=re.compile(f"^{re.escape(self.says(text))}"))

    def credits(self, amount: str) -> str:
        """Return an amount in words."""
        return f"{amount} credits" if self.language == "en" else self.says("%(amount)s credits", amount=amount)

    def sees(self, selector: str, text: str, **values: object) -> None:
        """Wait until a part of the page says something."""
        expect(self.seen.page.locator(f"{selector} >> visible=true").first).to_contain_text(self.says(text, **values))

    def can_use(self) -> None:
        """Check the page as it is: axe-core finds nothing serious, nothing is wider than the screen, the language is the person's own."""
        assert self.seen.serious() == []
        page = self.seen.page
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert page.get_attribute("html", "lang") == self.language

    def drags(self, *files: Path) -> None:
        """Drag files and folders from elsewhere onto the page, and let go."""
        page = self.seen.page
        expect(page.locator("html.scripted")).to_be_visible()  # the script takes what is dropped
        tools = page.context.new_cdp_session(page)
        data = {"items": [], "files": list(map(str, files)), "dragOperationsMask": 1}
        place = {"x": 60, "y": 200}
        for kind in ("dragEnter", "dragOver", "drop"):
            tools.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})
        tools.detach()

    def pastes(self, picture: Path) -> None:
        """Copy a picture in another program, and paste it here."""
        page = self.seen.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.evaluate(COPY, base64.b64encode(picture.read_bytes()).decode())
        page.keyboard.press("Control+V")

    def card(self, name: str) -> Locator:
        """Find the card of a set."""
        return self.seen.page.locator(".card").filter(has=self.seen.page.get_by_role("heading", name=name, exact=True))

    def watches(self, name: str, *states: str) -> None:
        """Wait until a card has been in these states, one after the other."""
        for state in states:
            expect(self.card(name).first.locator(".pill")).to_have_text(self.says(state))

    def goes_to(self, name: str) -> None:
        """Open the page of the newest set of a name, from its card."""
        self.seen.open("/")
        self.card(name).first.get_by_role("link").first.click()
        expect(self.seen.page.get_by_role("heading", level=1)).to_have_text(name)

    def is_in(self, state: str) -> None:
        """Wait until the page of a set says its state."""
        expect(self.seen.page.locator(".heading .pill")).to_have_text(self.says(state))


def samples(folder: Path, name: str, model: str = "suzi.glb") -> Sequence[Path]:
    """Return a model and a picture with a name, as they lie on the disk of a person."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{name}.glb", folder / f"{name}.png"]
    for path, sample in zip(made, (model, "matcap-a.png"), strict=True):
        shutil.copyfile(SAMPLES / sample, path)
    return made


@contextmanager
def person(chromium: Chromium, address: str, looks: str) -> Iterator[Person]:
    """Sit somebody down in front of the page; at the end the console has no complaint."""
    with window(chromium, address, **LOOKS[looks]) as seen:
        yield Person(seen, LANGUAGES[looks])
    assert seen.complaints == []


@pytest.mark.parametrize("looks", LOOKS)
def test_the_whole_story(looks: str, chromium: Chromium, tmp_path: Path) -> None:
    """From the drop to the pause; each set is paid once, what fails and what is held cost nothing more."""
    settings = EmulatorSettings(preview_pixels=64, waiting_seconds=0.5, generating_seconds=3)
    with Emulator(settings) as vendor:
        stage, address = Stage(tmp_path / "root", vendor.base_url), free_address()
        stage.config.write_text(stage.config.read_text().replace("[intake]", f"{BUDGET}[intake]\nrescan_seconds = 2"))
        configured(stage, address, enabled=True)
        with running(stage, begun=r"web: The page is at"), person(chromium, address, looks) as who:
            drops_and_sends(who, tmp_path)
            watches_and_turns(who)
            assert len(vendor.charges) == 1
            makes_it_again(who)
            assert [charge.options.get("seed") for charge in vendor.charges] == [None, "7"]
            reads_a_report(who, stage, tmp_path)
            assert len(vendor.charges) == 2
            resolves_what_is_held(who, stage, vendor)
            assert len(vendor.charges) == 3
            approves(who, tmp_path)
            assert len(vendor.charges) == 5
            cancels(who, stage, vendor)
            pauses_and_resumes(who, stage)
            looks_at_the_money(who)
        assert len(vendor.charges) == 7
        assert vendor.ledger()["charged_again"] == 0


def drops_and_sends(who: Person, folder: Path) -> None:
    """Drop a model, paste a picture, see the pair and its price, and send it."""
    page = who.seen.page
    who.seen.open("/")
    who.can_use()
    page.get_by_role("link", name=who.says("New set")).click()
    who.sees("h1", "New set")
    who.can_use()
    model, picture = samples(folder / "mine", NAME)
    who.drags(model)
    who.sees(".pair .pill", "Waits")
    who.pastes(picture)
    who.sees(".pair .pill", "Ready")
    expect(page.locator(".pair")).to_contain_text(who.credits("0.5"))
    who.sees(".send", "It costs %(credits)s.", credits=who.credits("0.5"))
    who.sees(".send", "Of today's budget %(credits)s are left.", credits=who.credits("10"))
    who.can_use()
    who.button("Send to the inbox").click()
    who.sees("[role=status]", "Your files are in the inbox, as “%(place)s”. The service takes them within a minute.", place=NAME)  # fmt: skip


def watches_and_turns(who: Person) -> None:
    """Watch the card until the set is delivered, without loading the page again; turn the result, and compare it."""
    page = who.seen.page
    page.evaluate("window.isTheSame = true")
    who.watches(NAME, "Running")
    expect(who.card(NAME).get_by_role("progressbar")).to_be_visible()
    who.watches(NAME, "Delivered")
    expect(who.card(NAME)).to_contain_text(who.credits("0.5"))
    assert page.evaluate("window.isTheSame")
    who.can_use()
    who.goes_to(NAME)
    assert who.seen.wait_for_model() == "shown"
    turned(who.seen)
    who.button("Compare with the dropped model").click()
    slider = page.get_by_role("slider")
    slider.press("End")
    dropped = who.seen.picture(STAGE)
    slider.press("Home")
    until(lambda: who.seen.picture(STAGE).tobytes() != dropped.tobytes(), "the slider changes nothing")
    who.can_use()


def makes_it_again(who: Person) -> None:
    """Ask for another seed in a form, see the price, and buy it once more."""
    page = who.seen.page
    who.button("Make it again, changed").click()
    who.sees(".pair .pill", "Ready")
    page.locator(".pair summary").click()
    page.locator(".pair input[name=seed]").fill("7")
    who.can_use()
    who.button("Keep these options").click()
    who.sees(".send", "It costs %(credits)s.", credits=who.credits("0.5"))
    page.locator(".pair summary").click()
    expect(page.locator(".pair input[name=seed]")).to_have_value("7")
    who.button("Send to the inbox").click()
    expect(page.locator(".card")).to_have_count(2)
    who.watches(NAME, "Running", "Delivered")


def reads_a_report(who: Person, stage: Stage, folder: Path) -> None:
    """See that a broken model is refused before it is sent; over the share it fails, and its report is on its page."""
    page = who.seen.page
    model, picture = samples(folder / "broken", "broken")
    model.write_bytes(b"no model")
    who.seen.open("/drop")
    who.drags(model, picture)
    who.sees(".pair .pill", "Cannot be used")
    who.sees(".send", "It costs %(credits)s.", credits=who.credits("0"))
    who.can_use()
    who.button("Throw away").click()
    who.sees("h1", "New set")
    who.seen.open("/")
    for path in (model, picture):
        shutil.copyfile(path, stage.inbox / path.name)
    who.watches("broken", "Failed")
    who.goes_to("broken")
    expect(page.locator("pre").filter(has_text="What happened:")).to_contain_text("this is not a GLB model")
    expect(who.button("Retry")).to_be_visible()
    who.can_use()


def resolves_what_is_held(who: Person, stage: Stage, vendor: Emulator) -> None:
    """Lose the vendor's answer, read what is known and what each choice costs, and have the page fetch what was paid for."""
    page = who.seen.page
    who.seen.open("/")
    vendor.set_faults(parse_fault("lost-answer"))
    stage.drop("lost.glb", "bunny.glb", "lost.jpg", "matcap-b.jpg")
    who.watches("lost", "Held")
    vendor.set_faults()
    who.goes_to("lost")
    expect(page.locator(".problem")).to_contain_text("no answer came")
    for text in (TASK_WORDS, FREE_WORDS, GIVE_UP_WORDS):
        expect(page.locator(".facts")).to_contain_text(who.says(text))
    expect(who.button("It was not charged")).to_contain_text(who.credits("0.5"))
    expect(who.button("Give up")).to_be_visible()
    who.can_use()
    page.locator("input[name=task]").fill(vendor.charges[-1].task_uuid)
    who.button("It is this task").click()
    who.is_in("Delivered")


def approves(who: Person, folder: Path) -> None:
    """Send a folder with more sets than one: it waits for approval, and costs nothing before."""
    page = who.seen.page
    for name in ("left", "right"):
        samples(folder / "two", name, {"left": "suzi.glb", "right": "bunny.glb"}[name])
    who.seen.open("/drop")
    who.drags(folder / "two")
    expect(page.locator(".pair")).to_have_count(2)
    who.sees(".send", "It costs %(credits)s.", credits=who.credits("1") if who.language != "en" else "1 credit")
    who.button("Send to the inbox").click()
    who.button("Approve all that wait for it").wait_for()
    who.can_use()
    who.button("Approve all that wait for it").click()
    who.watches("left", "Delivered")
    who.watches("right", "Delivered")


def cancels(who: Person, stage: Stage, vendor: Emulator) -> None:
    """Stop a set that the vendor never finishes; its page says that it stays paid."""
    vendor.set_faults(parse_fault("unknown-status"))
    stage.drop("endless.glb", "suzi.glb", "endless.webp", "matcap-c.webp")
    who.watches("endless", "Running")
    who.goes_to("endless")
    who.is_in("Running")
    who.can_use()
    who.button("Cancel").click()
    who.is_in("Failed")
    expect(who.seen.page.locator(".facts")).to_contain_text("0.5")
    vendor.set_faults()


def pauses_and_resumes(who: Person, stage: Stage) -> None:
    """Pause: nothing is taken; resume: it goes on."""
    who.seen.open("/")
    who.button("Pause").click()
    who.button("Resume").wait_for()
    expect(who.seen.page.locator(".service")).to_have_text(who.says("Paused"))
    stage.drop("later.glb", "bunny.glb", "later.webp", "matcap-c.webp")
    expect(who.seen.page.locator(".waiting")).to_contain_text("later")
    who.can_use()
    who.button("Resume").click()
    who.watches("later", "Delivered")


def looks_at_the_money(who: Person) -> None:
    """Read what was spent on the page of credits."""
    who.seen.page.get_by_role("link", name=who.says("Credits"), exact=True).click()
    expect(who.seen.page.locator(".figures")).to_contain_text("3.5")
    who.can_use()


# ---- What goes wrong on the way -------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Stage, str]:
    """Give the folder of a service that does not run, and the address of its page."""
    stage, address = Stage(tmp_path / "root"), free_address()
    configured(stage, address)
    stage.journaled(a_job())
    return stage, address


@contextmanager
def served(stage: Stage, address: str) -> Iterator[subprocess.Popen[str]]:
    """Run the page as a process of its own."""
    with subprocess.Popen(stage.command("web"), env=stage.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert address in process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_file_that_is_too_large_is_refused_and_the_others_stay(scene: tuple[Stage, str], chromium: Chromium) -> None:
    """The reason stands next to it, below it the pair that the others make; the same from the list of sets."""
    stage, address = scene
    large = stage.root.parent / "large.png"
    with large.open("wb") as file:
        file.truncate(100_000_001)  # it takes no room
    for path in ("/drop", "/"):
        with served(stage, address), window(chromium, address, **LOOKS["desk"]) as seen:
            who = Person(seen, "en")
            seen.open(path)
            who.drags(*samples(stage.root.parent / "mine", "cup"), large)
            who.sees("#uploads .bad", "“large.png” has 100,000,001 bytes; at most 100,000,000 are taken.")
            who.sees(".pair .pill", "Ready")
            who.sees("#uploads .bad", "Make the file smaller")
            who.can_use()


def test_an_upload_goes_on_when_the_page_starts_again(scene: tuple[Stage, str], chromium: Chromium) -> None:
    """The page's process is killed while the bytes come: the same tab sends the rest to the next one, and is told so."""
    stage, address = scene
    model, _ = samples(stage.root.parent / "mine", "cup")
    picture = model.with_suffix(".png")
    Image.effect_noise((4000, 3000), 50).convert("RGB").save(picture, compress_level=0)
    with window(chromium, address, **LOOKS["desk"]) as seen:
        who = Person(seen, "en")
        with served(stage, address) as process:
            seen.open("/drop")
            slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 6_000_000}
            seen.page.context.new_cdp_session(seen.page).send("Network.emulateNetworkConditions", slow)
            who.drags(model, picture)
            bar = seen.page.get_by_role("progressbar", name="cup.png")
            until(lambda: 0.2 < float(bar.get_attribute("value") or 0) < 0.8, "the upload does not begin")
            process.kill()
        who.sees("#uploads", "The connection broke off. It goes on by itself.")
        kept = sum(path.stat().st_size for path in (stage.root / ".rodin-watchd" / "drops").rglob("*.part"))
        assert 0 < kept < picture.stat().st_size
        with served(stage, address):
            who.sees(".pair .pill", "Ready")
            (sent,) = (stage.root / ".rodin-watchd" / "drops").rglob("cup.png")
            assert sent.read_bytes() == picture.read_bytes()


def test_a_form_outlives_its_session(scene: tuple[Stage, str], chromium: Chromium) -> None:
    """What was filled in comes back after the login, and is sent once more; an upload and an action wait for it, too."""
    stage, address = scene
    token = stage.root.parent / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    configured(stage, address, token_file=str(token))
    with served(stage, address), window(chromium, address, **LOOKS["desk"]) as seen:
        page, who = seen.page, Person(seen, "en")
        seen.open("/drop")
        logs_in(page)
        who.drags(*samples(stage.root.parent / "mine", "cup"))
        who.sees(".pair .pill", "Ready")
        page.locator(".pair summary").click()
        page.locator(".pair textarea[name=prompt]").fill("worn oak, <b>brass</b> 真鍮")
        page.context.clear_cookies()
        who.button("Keep these options").click()
        who.sees("[role=status]", "Your session has ended. Log in: what you have filled in is kept.")
        page.get_by_label("Token").fill("this is not the token")
        who.button("Log in").click()
        who.sees("[role=alert]", "This token is not right.")
        logs_in(page)
        who.button("Send it once more").click()
        page.locator(".pair summary").click()
        expect(page.locator(".pair textarea[name=prompt]")).to_have_value("worn oak, <b>brass</b> 真鍮")
        page.context.clear_cookies()
        who.drags(samples(stage.root.parent / "more", "lid")[1])
        who.sees("#uploads", "Your session has ended.")
        with page.context.expect_page() as opened:
            page.locator("#uploads").get_by_role("link", name="Log in").click()
        logs_in(opened.value)
        expect(page.locator(".pair")).to_have_count(2)


def logs_in(page: Page) -> None:
    """Give the token to the page of the login."""
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_label("Token")).to_have_count(0)


def test_a_service_that_stands_still_is_seen_and_the_page_works_on(chromium: Chromium, tmp_path: Path) -> None:
    """The tab says so by itself, and takes files; it says by itself when the service moves again."""
    stage, address = Stage(tmp_path / "root"), free_address()
    configured(stage, address, enabled=True)
    with (
        running(stage, begun=r"web: The page is at") as service,
        window(chromium, address, **LOOKS["phone"]) as seen,
    ):
        who = Person(seen, "zh-CN")
        seen.open("/")
        expect(seen.page.locator(".service")).to_have_text(who.says("Running"))
        service.process.send_signal(signal.SIGSTOP)
        try:
            who.sees(".notice.bad", "The service does not move")
            expect(seen.page.locator(".service")).to_have_text(who.says("Does not answer"))
            who.can_use()
            seen.page.get_by_role("link", name=who.says("New set")).click()
            who.sees("h1", "New set")
            who.drags(*samples(tmp_path / "mine", "cup"))
            who.sees(".pair .pill", "Ready")
            who.button("Send to the inbox").click()
            who.sees("[role=status]", "Your files are in the inbox, as “%(place)s”. The service takes them within a minute.", place="cup")  # fmt: skip
        finally:
            service.process.send_signal(signal.SIGCONT)
        expect(seen.page.locator(".service")).to_have_text(who.says("Running"))


def test_a_journal_that_is_gone_is_said_and_comes_back(scene: tuple[Stage, str], chromium: Chromium) -> None:
    """An open tab keeps what it shows and says that it is old; so it does when the page's own process has ended."""
    stage, address = scene
    away = stage.journal.with_suffix(".away")
    with window(chromium, address, **LOOKS["desk"]) as seen:
        missing = seen.page.locator("#missing")
        with served(stage, address):
            seen.open("/")
            stage.journal.rename(away)
            expect(missing).to_contain_text("There is no journal")
            expect(seen.page.locator(".card")).to_have_count(1)
            other = seen.page.context.new_page()
            assert (answer := other.goto(f"http://{address}/"))
            assert answer.status == 503
            expect(other.get_by_role("alert").first).to_be_visible()
            away.rename(stage.journal)
            expect(missing).to_be_hidden()
        expect(missing).to_contain_text("The page cannot be reached at the moment, so what you see may be old.")
        with served(stage, address):
            expect(missing).to_be_hidden()
