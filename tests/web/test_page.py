"""The page as people and programs see it, over a service that has worked."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import subprocess
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from cli_stage import SAMPLES, Stage
from web_stage import Answer, Browser

from rodin_watchd.adapters.store.sqlite import insert_command

Scene = tuple[Stage, Browser]

MODEL = "base_basic_pbr.glb"
"""The emulator's result, called as the vendor's."""


@pytest.fixture(scope="module")
def ids(scene: Scene) -> dict[str, str]:
    """Return the number of each set of the scene."""
    return {one["name"]: one["id"] for one in scene[1].get("/api/v1/sets").data["sets"]}


def test_the_first_page_shows_all_sets_as_cards(scene: Scene, ids: dict[str, str]) -> None:
    """With their folder, what they are doing in the words of STATUS.txt, and their cost; and what waits in the inbox."""
    page = scene[1].get("/")
    assert page.status == 200
    assert "the vendor works on it" in page.text
    assert "held for" not in page.text  # a card says why
    assert "0 credits perhaps more" in page.text
    assert "Delivered" in page.text
    assert "Waiting in the inbox 1 alone waits for an image" in page.text
    assert all(f'href="/sets/{number}"' in page.body.decode() for number in ids.values())
    assert "Running" in page.text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("state=held", {"lost"}),
        ("state=failed", {"broken"}),
        ("state=running", {"slow"}),
        ("state=delivered", {"vase"}),
        ("folder=oak", {"slow"}),
        ("folder=.", {"vase", "lost", "broken"}),
        ("q=VA", {"vase"}),
        ("q=oak/", {"slow"}),
        ("q=nothing", set()),
        ("kind=generate", set()),
        ("kind=texture", {"vase", "lost", "broken", "slow"}),
    ],
)
def test_sets_are_found(scene: Scene, query: str, names: set[str]) -> None:
    """By state, folder, kind and name; the page's cards are those of the API."""
    found = scene[1].get(f"/api/v1/sets?{query}").data["sets"]
    assert {one["name"] for one in found} == names
    page = scene[1].get(f"/?{query}").body.decode()
    assert page.count('class="card ') == len(names)


def test_sets_come_in_the_order_that_is_asked_for(scene: Scene) -> None:
    """By age, by name, and by cost; the form of the page offers each."""
    names = {
        order: [one["name"] for one in scene[1].get(f"/api/v1/sets?sort={order}").data["sets"]]
        for order in ("newest", "oldest", "name", "cost")
    }
    assert set(names["cost"][:2]) == {"vase", "slow"}  # what was charged
    page = scene[1].get("/?sort=cost").body.decode()
    assert all(f'<option value="{order}"' in page for order in names)
    assert page.index(names["cost"][0]) < page.index(names["cost"][-1])
    assert names["oldest"] == list(reversed(names["newest"]))
    assert names["oldest"][0] == "vase"
    assert names["name"] == sorted(names["name"])


@pytest.mark.parametrize("query", ["state=odd", "sort=odd", "kind=odd", "after=odd"])
def test_an_address_that_makes_no_sense_is_refused_in_words(scene: Scene, query: str) -> None:
    """With a page, and with JSON for programs."""
    page, data = scene[1].get(f"/?{query}"), scene[1].get(f"/api/v1/sets?{query}")
    assert (page.status, data.status) == (400, 400)
    assert "There is no such state" in page.text
    assert "There is no such state" in data.data["error"]


def test_a_running_set_says_how_far_it_is(scene: Scene, ids: dict[str, str]) -> None:
    """By the forecast of the tasks before it."""
    slow = scene[1].get(f"/api/v1/sets/{ids['slow']}").data
    assert 0.1 <= slow["progress"] < 0.9
    assert slow["left_seconds"] is not None
    assert "left" in scene[1].get(f"/sets/{ids['slow']}").text


def test_a_delivered_set_has_its_files(scene: Scene, ids: dict[str, str]) -> None:
    """Results and inputs, each with its type, as it is on the disk; and all results as an archive."""
    stage, browser = scene
    urls = {one["name"]: one["url"] for one in browser.get(f"/api/v1/sets/{ids['vase']}").data["files_to_fetch"]}
    assert urls.keys() == {MODEL, "preview.webp", "job.toml", "vase.glb", "vase.png"}
    model = browser.get(urls[MODEL])
    assert model.body == (stage.root / "outbox/vase" / MODEL).read_bytes()
    assert model.headers["content-type"] == "model/gltf-binary"
    assert model.headers["content-length"] == str(len(model.body))
    assert "sandbox" in model.headers["content-security-policy"]
    assert browser.get(urls["preview.webp"]).headers["content-type"] == "image/webp"
    receipt = browser.get(urls["job.toml"])
    assert receipt.headers["content-type"] == "application/octet-stream"
    assert receipt.headers["content-disposition"].startswith("attachment")
    assert browser.get(urls["vase.png"]).body == (SAMPLES / "matcap-a.png").read_bytes()
    head = browser.get(urls[MODEL], "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(model.body)))
    with zipfile.ZipFile(io.BytesIO(browser.get(f"/sets/{ids['vase']}/results.zip").body)) as archive:
        assert set(archive.namelist()) == {MODEL, "preview.webp", "job.toml"}
        assert archive.testzip() is None
        assert archive.read(MODEL) == model.body


@pytest.mark.parametrize("name", ["vase", "lost", "slow", "broken"])
def test_each_set_has_a_picture(scene: Scene, ids: dict[str, str], name: str) -> None:
    """The preview where there is one, else the image that was dropped; small, and kept by the browser."""
    picture = scene[1].get(f"/sets/{ids[name]}/picture")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/webp")
    assert picture.body[:4] == b"RIFF"
    assert len(picture.body) < 100_000
    assert "max-age" in picture.headers["cache-control"]


def test_the_page_of_a_set_says_all_that_is_known(scene: Scene, ids: dict[str, str]) -> None:
    """State, cost, timeline with durations, receipt; of a failed one the report, of a held one what each choice costs."""
    vase, lost, broken = (scene[1].get(f"/sets/{ids[name]}").text for name in ("vase", "lost", "broken"))
    assert "Cost 0.5 credits" in vase
    assert "finished at the vendor, being downloaded" in vase
    assert 'sha256 = "' in vase
    assert "perhaps 0.5 credits, if the vendor accepted the last try" in lost
    assert "It was not charged (0.5 credits)" in lost
    assert "Give up" in lost
    assert "“broken.glb” cannot be used" in broken
    assert "Retry Correct the files in its folder in failed/ first" in broken
    assert "What to do:" in broken


def test_an_unknown_set_is_not_there(scene: Scene) -> None:
    """As a page, and as JSON."""
    assert scene[1].get("/sets/000000000000").status == 404
    assert scene[1].get("/api/v1/sets/000000000000").status == 404


def test_credits_are_shown_as_a_plot_and_as_a_table(scene: Scene) -> None:
    """Of today, by folder; the plot is a drawing that the server made."""
    data, page = scene[1].get("/api/v1/money").data, scene[1].get("/money")
    assert data["today"] == sum(one["credits"] for one in data["by_day"]) == data["total"] == 1
    assert data["by_folder"] == [{"folder": "", "credits": 0.5}, {"folder": "oak", "credits": 0.5}]
    assert page.body.decode().count('<rect class="day"') == len(data["by_day"]) == 30
    assert "The inbox itself 0.5 credits" in page.text


def test_the_page_speaks_chinese_to_who_asks_for_it(scene: Scene, ids: dict[str, str]) -> None:
    """And English to everybody else."""
    page = scene[1].get(f"/sets/{ids['lost']}", Accept_Language="zh-CN,zh;q=0.9,en;q=0.5")
    assert page.headers["content-language"] == "zh-CN"
    assert '<html lang="zh-CN">' in page.body.decode()
    assert "待决定" in page.text
    assert "再次提交" in page.text
    assert scene[1].get("/", Accept_Language="fr,en;q=0.5").headers["content-language"] == "en"


def test_the_api_is_described(scene: Scene) -> None:
    """Every path of the document answers, and the page of it names them all."""
    document, page = scene[1].get("/api/openapi.json").data, scene[1].get("/api").text
    assert document["openapi"].startswith("3.")
    for path, operations in document["paths"].items():
        assert path in page
        if "get" in operations and "{" not in path and not path.endswith("/events"):
            assert scene[1].get(path).status == 200


# ---- live -----------------------------------------------------------------------------------------------------------


def test_what_happens_is_told_within_a_second(scene: Scene) -> None:
    """By an event of the server, to whoever listens."""
    browser = scene[1]
    with closing(http.client.HTTPConnection(browser.address, timeout=20)) as connection:
        connection.request("GET", "/api/v1/events")
        stream = connection.getresponse()
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.readline() == b"retry: 2000\n"
        asked_at = time.monotonic()
        answer = browser.post("/pause", {"csrf": browser.csrf()})
        assert answer.status == 303
        while not stream.readline().startswith(b"event: changed"):
            assert time.monotonic() - asked_at < 20
        assert time.monotonic() - asked_at < 10  # on a busy machine; the next look is a quarter of a second away
    assert (
        browser.post(
            "/resume",
            {
                "csrf": browser.csrf(),
                "seen": browser.get("/").body.decode().partition('name="seen" value="')[2].partition('"')[0],
            },
        ).status
        == 303
    )


def test_what_is_written_in_one_second_is_one_piece_of_news(scene: Scene) -> None:
    """A service at work writes many times a second: pages are not made anew each time."""
    stage, browser = scene
    with closing(http.client.HTTPConnection(browser.address, timeout=20)) as connection:
        connection.request("GET", "/api/v1/events")
        stream = connection.getresponse()
        told: list[float] = []
        while len(told) < 3:
            insert_command(stage.journal, "resume", {"seen": 0}, time.time())
            while not stream.readline().startswith(b"data: "):
                pass
            told.append(time.monotonic())
    assert told[2] - told[0] > 1.2  # what was written at once after the news before waits


def test_who_has_the_same_news_gets_the_same_page(scene: Scene) -> None:
    """But for the token of the session, and for what only some may see; other news are another page."""
    one, other = Browser(scene[1].address), Browser(scene[1].address)
    tokens = one.csrf(), other.csrf()
    pages = [browser.get("/", X_News="7").body.decode() for browser in (one, other)]
    assert [token in page for token, page in zip(tokens, pages, strict=True)] == [True, True]
    assert pages[0].replace(tokens[0], "") == pages[1].replace(tokens[1], "")
    assert one.get("/", X_News="7", Accept_Language="zh").body != one.get("/", X_News="7").body
    assert one.get("/?q=vase", X_News="7").body.count(b'class="card ') == 1
    assert one.get("/sets/000000000000", X_News="7").status == 404


# ---- asking ---------------------------------------------------------------------------------------------------------


def follow(browser: Browser, answer: Answer) -> Answer:
    """Return the page that an answer leads to."""
    assert answer.status == 303
    return browser.get(answer.headers["location"])


def test_pausing_and_resuming_without_a_script(scene: Scene) -> None:
    """The page says what the service answered, and that it is paused."""
    browser = scene[1]
    page = follow(browser, browser.post("/pause", {"csrf": browser.csrf()}))
    assert "Paused: nothing is taken or submitted." in page.text
    assert "Resume" in page.text
    number = page.body.decode().partition('name="seen" value="')[2].partition('"')[0]
    assert "Resumed." in follow(browser, browser.post("/resume", {"csrf": browser.csrf(), "seen": number})).text


def test_what_is_not_as_it_was_seen_is_not_changed(scene: Scene, ids: dict[str, str]) -> None:
    """A decision is about what the person saw: here another hold."""
    browser = scene[1]
    seen = {**browser.seen(ids["lost"]), "holds": 7}  # type: ignore[dict-item]
    answer = browser.post_data(f"/api/v1/sets/{ids['lost']}/resolve", {"seen": seen, "how": "give-up"})
    assert answer.status == 409
    assert "not as you saw it" in answer.data["answer"]["message"]
    assert browser.get(f"/api/v1/sets/{ids['lost']}").data["state"] == "held"


def test_a_refusal_is_shown_where_it_was_asked(scene: Scene, ids: dict[str, str]) -> None:
    """By the form without a script, and by the API: a delivered set cannot be retried."""
    browser = scene[1]
    seen = browser.seen(ids["vase"])
    form = browser.post(
        f"/sets/{ids['vase']}/retry", {"csrf": browser.csrf(), "seen": json.dumps(seen), "pay_again": "true"}
    )
    assert form.status == 409
    assert "Only a failed job can be retried" in form.text
    assert browser.post_data(f"/api/v1/sets/{ids['vase']}/retry", {"seen": seen}).status == 409


def test_a_held_set_is_resolved_in_the_page(scene: Scene, ids: dict[str, str]) -> None:
    """Given up, it fails with its report, and the page shows the answer. This is the last test of the held one."""
    stage, browser = scene
    form = {"csrf": browser.csrf(), "seen": json.dumps(browser.seen(ids["lost"])), "how": "give-up"}
    page = follow(browser, browser.post(f"/sets/{ids['lost']}/resolve", form))
    assert f"Job {ids['lost']} is failing now." in page.text
    until = time.monotonic() + 20
    while browser.get(f"/api/v1/sets/{ids['lost']}").data["state"] != "failed":
        assert time.monotonic() < until
    assert (stage.root / "failed/lost/REPORT.txt").exists()
    digest = hashlib.sha256((SAMPLES / "bunny.glb").read_bytes()).hexdigest()
    found = {one["name"]: one["url"] for one in browser.get(f"/api/v1/sets/{ids['lost']}").data["files_to_fetch"]}
    assert hashlib.sha256(browser.get(found["lost.glb"]).body).hexdigest() == digest


def test_the_process_stays_small(scene: Scene) -> None:
    """Below 60 MB, after all that was asked of it."""
    wanted = f"web --while-read --config {scene[0].config}"
    found = subprocess.run(["pgrep", "-f", wanted], capture_output=True, text=True, check=True)
    status = Path(f"/proc/{found.stdout.split()[0]}/status").read_text()
    [kilobytes] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    assert kilobytes < 60_000


@pytest.mark.parametrize("name", ["page.css", "viewer.js", "vendor/model-viewer.min.js", "icons/held.svg"])
def test_a_browser_keeps_the_files_of_the_page_itself(scene: Scene, name: str) -> None:
    """And asks whether they have changed, in a few bytes."""
    first = scene[1].get(f"/static/{name}")
    again = scene[1].get(f"/static/{name}", If_None_Match=first.headers["etag"])
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
