"""The calls of the API contract, made by a real client."""

from __future__ import annotations

from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
from emulator_client import MORE_SAMPLES, Api, assert_refused, fetch, glb_image, png, running, until
from PIL import Image, ImageChops

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.preview import SIZE
from rodin_watchd.emulator.server import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """Give an emulator that tests share; each looks only at its own tasks."""
    with running(balance=Decimal(1000)) as shared:
        yield shared


def test_a_texture_task_goes_from_order_to_results(api: Api) -> None:
    """The four calls in their usual order give a textured model and a preview made of the inputs."""
    image = png((10, 120, 240))
    answer = api.submit(image=image, texts={"prompt": "a blue box", "seed": "65535"})
    assert answer.status_code == 201
    submitted = answer.json()
    assert submitted["error"] is None
    assert submitted["message"] == "Submitted."
    assert set(submitted) == {"error", "message", "uuid", "submit_time", "jobs"}
    assert set(submitted["jobs"]) == {"uuids", "subscription_key"}
    assert submitted["jobs"]["subscription_key"].count(".") == 2
    assert submitted["uuid"] not in submitted["jobs"]["uuids"]
    status = api.status(submitted)
    assert status.status_code == 201
    assert [job["uuid"] for job in status.json()["jobs"]] == submitted["jobs"]["uuids"]
    assert api.words(submitted) == ["Done"] * 3
    results = api.results(submitted)
    assert list(results) == ["base_basic_pbr.glb", "preview.webp"]
    with Image.open(BytesIO(image)) as sent:
        assert ImageChops.difference(glb_image(results["base_basic_pbr.glb"]), sent).getbbox() is None
    pixels = api.emulator.settings.preview_pixels
    assert Image.open(BytesIO(results["preview.webp"])).size == (pixels, pixels)
    assert EmulatorSettings().preview_pixels == SIZE == 512


def test_the_file_host_is_another_host() -> None:
    """Links lead to another port, work without a key, and a key that is sent there shows in the ledger without its query."""
    with running() as api:
        submitted = api.submit().json()
        url = api.download(submitted).json()["list"][0]["url"]
        assert url.startswith(api.emulator.files_url)
        assert urlsplit(url).netloc != urlsplit(api.emulator.base_url).netloc
        answer = fetch(url)
        assert answer.headers["content-type"] == "model/gltf-binary"
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert api.emulator.ledger()["key_leaks"] == []
        fetch(url, Authorization="Bearer emulator-key")
        assert api.emulator.ledger()["key_leaks"] == [f"/results/{submitted['uuid']}/base_basic_pbr.glb"]


MAPS = ("diffuse", "metallic", "normal", "pbr", "roughness")


@pytest.mark.parametrize(
    ("geometry_file_format", "names"),
    [
        ("glb", ["base_basic_pbr.glb", "preview.webp"]),
        ("obj", ["base.obj", "base.mtl", *(f"texture_{name}.png" for name in MAPS), "preview.webp"]),
        ("stl", ["base.stl", "preview.webp"]),
    ],
)
def test_each_format_has_its_files(api: Api, geometry_file_format: str, names: list[str]) -> None:
    """The list holds the model in the asked format, its outside textures and the preview."""
    submitted = api.submit(texts={"geometry_file_format": geometry_file_format}).json()
    assert list(api.results(submitted)) == names


def test_usdz_is_written_where_openusd_is_installed(api: Api) -> None:
    """A USDZ result is a package that begins as an uncompressed ZIP file does."""
    pytest.importorskip("pxr", reason="OpenUSD is not installed")
    results = api.results(api.submit(texts={"geometry_file_format": "usdz"}).json())
    assert results["base_basic_pbr.usdz"][:10] == b"PK\x03\x04\x0a\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("body", ["json", "form", "multipart"])
def test_status_and_download_take_json_and_forms(api: Api, body: str) -> None:
    """The same words are understood as JSON, as form fields and as multipart text parts."""
    submitted = api.submit().json()

    def post(path: str, field: str, value: str) -> requests.Response:
        kinds = {
            "json": {"json": {field: value}},
            "form": {"data": {field: value}},
            "multipart": {"files": {field: (None, value)}},
        }
        return api.session.post(api.url(path), timeout=30, **kinds[body])  # type: ignore[arg-type] # one of three keywords

    assert len(post("status", "subscription_key", submitted["jobs"]["subscription_key"]).json()["jobs"]) == 3
    assert len(post("download", "task_uuid", submitted["uuid"]).json()["list"]) == 2


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic emulator-key", "Bearer", "emulator-key"])
def test_every_call_needs_an_accepted_key(api: Api, authorization: str | None) -> None:
    """Without the right Bearer key each call is HTTP 401."""
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("rodin_texture_only", "rodin", "status", "download"):
        answer = requests.post(api.url(path), data=b"x" * 200_000, headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["error"]) == (401, "PERMISSION_DENIED")
    assert requests.get(api.url("check_balance"), headers=headers, timeout=30).status_code == 401


def test_tasks_are_known_only_to_their_key() -> None:
    """A task of one key, a job's uuid in the task's place and an unknown one are all NO_SUCH_TASK."""
    with running(api_keys=("one", "two")) as api:
        submitted = api.submit().json()
        assert_no_such_task(api.download(submitted | {"uuid": submitted["jobs"]["uuids"][0]}))
        assert_no_such_task(api.status({"jobs": {"subscription_key": "x"}}))
        api.session.headers["Authorization"] = "Bearer two"
        assert_no_such_task(api.download(submitted))
        assert_no_such_task(api.status(submitted))


def test_what_is_no_call_is_answered_as_json(api: Api) -> None:
    """A wrong path and a wrong method, with and without a body: an error like every other, after the body was read."""
    answers = {
        (404, "NOT_FOUND"): api.session.post(api.url("rodin_textures"), data=b"x" * 200_000, timeout=30),
        (405, "METHOD_NOT_ALLOWED"): api.session.get(api.url("rodin"), timeout=30),
    }
    for expected, answer in answers.items():
        assert (answer.status_code, answer.json()["error"]) == expected
        assert "There is no" in answer.json()["message"]


def test_a_missing_field_is_told(api: Api) -> None:
    """Status and Download without their field, and bodies that are no JSON object, are INVALID_REQUEST."""
    assert_refused(api.session.post(api.url("status"), json={}, timeout=30), "subscription_key is required")
    assert_refused(api.session.post(api.url("download"), json={"task_uuid": 5}, timeout=30), "task_uuid is required")
    assert_refused(api.session.post(api.url("download"), json=[], timeout=30), "no JSON object")
    assert_refused(api.session.post(api.url("download"), data=b"{", timeout=30), "neither JSON nor a form")


def test_the_money_is_exact() -> None:
    """Each texture costs 0.5; refused orders cost nothing; an empty account is told by its code."""
    with running(balance=Decimal("1.2")) as api:
        assert api.balance().json() == {"balance": 1.2}
        assert api.submit().status_code == 201
        assert api.submit(texts={"seed": "x"}).status_code == 400
        assert api.balance().json() == {"balance": 0.7}
        assert api.submit(texts={"seed": "1"}).status_code == 201
        answer = api.submit(texts={"seed": "2"})
        assert (answer.status_code, answer.json()["error"]) == (402, "API_INSUFFICIENT_FUNDS")
        ledger = api.emulator.ledger()
        assert (ledger["balance"], ledger["spent"], len(ledger["charges"])) == ("0.2", "1.0", 2)
        assert ledger["uploads"] == {"begun": 4, "accepted": 2, "refused": 2, "cut": 0}


def test_a_whole_balance_is_an_integer() -> None:
    """The balance is written as the reference says where it can be."""
    with running(balance=Decimal("12.0")) as api:
        assert api.balance().text == '{"balance":12}'


def test_a_model_that_cannot_be_decoded_fails_its_task() -> None:
    """A Draco-compressed GLB is accepted and charged, then all its jobs end Failed and the list stays empty."""
    with running() as api:
        submitted = api.submit((MORE_SAMPLES / "suzi-draco.glb").read_bytes()).json()
        assert api.words(submitted) == ["Failed"] * 3
        assert api.download(submitted).json() == {"error": "OK", "list": []}
        assert [row["outcome"] for row in api.emulator.ledger()["charges"]] == ["Failed"]


def test_statuses_and_results_come_in_time() -> None:
    """Jobs wait, are worked on and end at different moments; links expire and can be had again; results are not kept for ever."""
    now = [1000.0]
    settings = EmulatorSettings(
        waiting_seconds=20, generating_seconds=80, link_seconds=600, keep_seconds=5000, clock=lambda: now[0]
    )
    with running(settings=settings) as api:
        submitted = api.submit().json()
        seen = []
        for at in (1000.0, 1012.0, 1099.0):
            now[0] = at
            seen.append(api.words(submitted))
        assert seen[0] == ["Waiting"] * 3
        assert seen[1] == ["Generating", "Waiting", "Waiting"]
        assert seen[2][2] == "Generating"
        until(lambda: api.words(submitted) == ["Done", "Done", "Generating"])
        assert [entry["name"] for entry in api.download(submitted).json()["list"]] == ["preview.webp"]
        now[0] = 1100.0
        assert api.words(submitted) == ["Done"] * 3
        url = api.download(submitted).json()["list"][0]["url"]
        now[0] = 1699.9
        assert fetch(url).status_code == 200
        now[0] = 1700.0
        assert fetch(url).status_code == 403
        fresh = api.download(submitted).json()["list"][0]["url"]
        assert fetch(fresh).status_code == 200
        assert fetch(fresh.replace("expires=2", "expires=3")).status_code == 403
        assert fetch(fresh.replace("base_basic_pbr.glb", "preview.webp")).status_code == 403
        now[0] = 6000.0
        assert fetch(fresh).status_code == 403
        assert_no_such_task(api.status(submitted))
        assert_no_such_task(api.download(submitted))
        assert api.emulator.ledger()["charges"][0]["outcome"] == "Expired"


def test_the_ledger_shows_a_set_that_is_paid_twice() -> None:
    """The ledger names each charge with its inputs and options, and counts those bought before; it needs no key."""
    with running() as api:
        for seed in ("1", "2", "1"):
            api.submit(texts={"seed": seed})
        answer = requests.get(api.emulator.base_url + "/emulator/ledger", timeout=30)
        assert answer.json() == api.emulator.ledger()
        ledger = api.emulator.ledger()
        assert ledger["charged_again"] == 1
        assert [row["options"] for row in ledger["charges"]] == [{"seed": "1"}, {"seed": "2"}, {"seed": "1"}]
        assert {row["credits"] for row in ledger["charges"]} == {"0.5"}
        assert len({row["model_sha256"] for row in ledger["charges"]}) == 1
        assert len({row["task_uuid"] for row in ledger["charges"]}) == 3


def test_a_port_that_is_taken_is_an_error() -> None:
    """Two emulators cannot share a port, and the failed one leaves no socket behind."""
    with running() as api, pytest.raises(OSError, match="in use"):
        Emulator(EmulatorSettings(files_port=int(api.emulator.files_url.rpartition(":")[2])))


def assert_no_such_task(answer: requests.Response) -> None:
    """Check the answer for an unknown task."""
    assert (answer.status_code, answer.json()["error"]) == (404, "NO_SUCH_TASK")


@pytest.mark.parametrize(
    ("spelt", "error"),
    [("null", {"error": None}), ("ok", {"error": "OK"}), ("absent", {})],
    ids=["null", "ok", "absent"],
)
def test_success_is_spelt_as_asked_for(spelt: str, error: dict[str, str | None]) -> None:
    """The vendor's answers know three ways; each call has the same then."""
    with running(success_error=spelt) as api:
        submitted = api.submit().json()
        for body in (submitted, api.status(submitted).json(), api.download(submitted).json()):
            assert {key: body[key] for key in body if key == "error"} == error


def test_a_task_more_than_run_at_once_is_refused_free_of_charge() -> None:
    """By the vendor's code for it; the waiting ones say how long the queue is."""
    with running(instant=False, waiting_seconds=3600.0, task_limit=2) as api:
        first = api.submit(image=png((1, 2, 3))).json()
        assert api.submit(image=png((3, 2, 1))).status_code == 201
        refused = api.submit()
        assert (refused.status_code, refused.json()["error"]) == (400, "API_PARALLELISM_LIMIT_REACHED")
        assert len(api.ledger()["charges"]) == 2
        assert [job["queue_length"] for job in api.status(first).json()["jobs"]] == [2, 2, 2]
