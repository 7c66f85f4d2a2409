"""What may be ordered, and how the rest is refused."""

from __future__ import annotations

import socket
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from emulator_client import CUBE, SAMPLES, Api, assert_refused, glb_image, glb_parts, png, running, until
from PIL import Image, ImageChops, ImageStat

from rodin_watchd.emulator.orders import MODEL_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """Give an emulator that tests share; each looks only at its own tasks."""
    with running(balance=Decimal(1000)) as shared:
        yield shared


def test_a_text_part_with_a_file_name_is_ignored(api: Api) -> None:
    """An option sent with a file name is taken for a file: the default stays, and the charge does not know the option."""
    files = {
        "model": ("m.obj", CUBE),
        "image": ("i.png", png()),
        "geometry_file_format": ("x.txt", b"stl"),
        "seed": ("x.txt", b"no number"),
    }
    submitted = api.session.post(api.url("rodin_texture_only"), files=files, timeout=30).json()
    assert "base_basic_pbr.glb" in api.results(submitted)
    row = next(row for row in api.emulator.ledger()["charges"] if row["task_uuid"] == submitted["uuid"])
    assert row["options"] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": "65536"}, "seed must be"),
        ({"seed": "-1"}, "seed must be"),
        ({"seed": "1.5"}, "seed must be"),
        ({"seed": ""}, "seed must be"),
        ({"seed": "9" * 5000}, "seed must be"),
        ({"reference_scale": "big"}, "reference_scale must be"),
        ({"reference_scale": "nan"}, "reference_scale must be"),
        ({"escore": "0"}, "escore must be"),
        ({"geometry_file_format": "3ds"}, "geometry_file_format must be one of glb"),
        ({"geometry_file_format": "fbx"}, "cannot write FBX"),
        ({"material": "pbr"}, "material must be one of PBR, Shaded"),
        ({"resolution": "8K"}, "resolution must be one of Basic, High"),
    ],
)
def test_wrong_options_are_refused(api: Api, options: dict[str, str], message: str) -> None:
    """Each option outside its range is INVALID_REQUEST with a sentence that names it."""
    assert_refused(api.submit(texts=options), message)


@pytest.mark.parametrize(
    ("model", "image", "message"),
    [
        (b"", png(), "the model is empty"),
        (b"\0" * 100, png(), "in no format"),
        (png(), png(), "is a PNG image"),
        (b"Kaydara FBX Binary  \0", png(), "cannot read FBX"),
        (CUBE, b"no image", "cannot be decoded"),
        (CUBE, png()[:60], "cannot be decoded"),
    ],
    ids=["empty", "nothing", "png", "fbx", "no image", "half image"],
)
def test_wrong_files_are_refused(api: Api, model: bytes, image: bytes, message: str) -> None:
    """A model or an image that is none is INVALID_REQUEST, told apart in the message."""
    assert_refused(api.submit(model, image), message)


@pytest.mark.parametrize(("edge", "message"), [(8100, "more than 64,000,000 pixels"), (10000, "cannot be decoded")])
def test_images_of_too_many_pixels_are_refused(api: Api, edge: int, message: str) -> None:
    """A small file that unfolds to a huge picture is refused before it is decoded."""
    bomb = BytesIO()
    Image.new("1", (edge, edge)).save(bomb, "PNG")
    assert_refused(api.submit(image=bomb.getvalue()), message)


def test_a_model_may_have_ten_million_bytes_and_no_more(api: Api) -> None:
    """The limit itself is accepted, one byte more is refused."""
    at_limit = CUBE + b"#" * (MODEL_LIMIT - len(CUBE))
    assert api.submit(at_limit).status_code == 201
    assert_refused(api.submit(at_limit + b"#"), "at most 10,000,000 are allowed")


def test_both_files_are_required_once(api: Api) -> None:
    """A missing model, a missing image and a doubled image are refused."""
    model, image = ("model", ("m.obj", CUBE)), ("image", ("i.png", png()))
    for files, message in (([image], "'model'"), ([model], "'image'"), ([model, image, image], "not 2")):
        assert_refused(api.session.post(api.url("rodin_texture_only"), files=files, timeout=30), message)


def test_a_body_that_is_no_form_is_refused(api: Api) -> None:
    """JSON, a broken multipart body and one whole in length but without its closing boundary are refused."""
    url = api.url("rodin_texture_only")
    assert_refused(api.session.post(url, json={}, timeout=30), "no multipart", status=415)
    headers = {"Content-Type": "multipart/form-data; boundary=xx"}
    assert_refused(api.session.post(url, data=b"nonsense", headers=headers, timeout=30), "cannot be read")
    open_end = multipart("xx").removesuffix(b"\r\n--xx--\r\n")
    assert_refused(api.session.post(url, data=open_end, headers=headers, timeout=30), "before its closing boundary")
    assert api.session.post(url, data=multipart("xx"), headers=headers, timeout=30).status_code == 201


def test_a_cut_upload_makes_no_job_and_no_charge() -> None:
    """A connection that ends before the body does is counted, and nothing more."""
    with running() as api:
        body = multipart("xx")
        for kept in (len(body) - 1, len(body) - len(b"\r\n--xx--\r\n"), 10, 0):
            send_cut(api, body, kept)
        until(lambda: api.ledger()["uploads"] == {"begun": 4, "accepted": 0, "refused": 0, "cut": 4})
        assert api.emulator.ledger()["charges"] == []
        assert api.balance().json() == {"balance": 100}


def test_a_new_model_is_made_of_an_image_or_a_prompt(api: Api) -> None:
    """Rodin Generation gives different models for different inputs, textured with them, and needs one of them."""
    url = api.url("rodin")
    image = (SAMPLES / "matcap-b.jpg").read_bytes()
    by_image = api.session.post(url, files={"images": ("i.jpg", image)}, timeout=30).json()
    by_prompt = api.session.post(url, files={"prompt": (None, "a red dragon")}, timeout=30).json()
    models = [api.results(submitted)["base_basic_pbr.glb"] for submitted in (by_image, by_prompt)]
    assert models[0] != models[1]
    with Image.open(BytesIO(image)) as sent:
        difference = ImageChops.difference(glb_image(models[0]), sent.convert("RGB"))
    assert max(ImageStat.Stat(difference).mean) == 0
    assert_refused(api.session.post(url, files={"prompt": (None, " ")}, timeout=30), "images or a prompt")


def test_a_new_model_has_one_to_five_images_and_its_own_price(api: Api) -> None:
    """More are refused; the charge knows all of them; HighPack costs 1 credit more; All makes a model for each material."""
    url = api.url("rodin")

    def views(count: int) -> list[tuple[str, tuple[str, bytes]]]:
        return [("images", (f"{n}.png", png(size=(4 + n, 4)))) for n in range(count)]

    assert_refused(api.session.post(url, files=views(6), timeout=30), "at most 5")
    assert_refused(api.session.post(url, files=views(1), data={"addons": "Low"}, timeout=30), "addons must be HighPack")
    wanted = {"addons": "HighPack", "material": "All", "tier": "Sketch"}
    dear = api.session.post(url, files=views(5), data=wanted, timeout=30).json()
    cheap = api.session.post(url, files=views(4), data={"material": "None"}, timeout=30).json()
    rows = {row["task_uuid"]: row for row in api.emulator.ledger()["charges"]}
    assert [rows[task["uuid"]]["credits"] for task in (dear, cheap)] == ["1.5", "0.5"]
    assert rows[dear["uuid"]]["image_sha256"] != rows[cheap["uuid"]]["image_sha256"]
    assert set(api.results(dear)) == {"base_basic_pbr.glb", "base_basic_shaded.glb", "preview.webp"}
    assert set(api.results(cheap)) == {"base.glb", "preview.webp"}
    assert "images" not in glb_parts(api.results(cheap)["base.glb"])[0]
    assert not {"tier", "addons"} & set(api.emulator.ledger()["unknown_parts"])


@pytest.mark.parametrize(
    "box", ["100, 100, 100", "[100, 100]", "[100, 100, 0]", "[1, 2, 2.5]", '["a", 1, 2]', "100", ""]
)
def test_a_malformed_box_ends_in_http_500_and_costs_nothing(api: Api, box: str) -> None:
    """As seen at the vendor: a list that cannot be read is no refusal that says so."""
    before = api.balance().json()
    answer = api.session.post(
        api.url("rodin"), files={"prompt": (None, "a red dragon"), "bbox_condition": (None, box)}, timeout=30
    )
    assert (answer.status_code, answer.json()["error"]) == (500, "UNKNOWN")
    assert api.balance().json() == before


def test_lists_are_read_as_the_vendors_client_sends_them(api: Api) -> None:
    """A box as JSON, each addon as a part of its own; one wrong addon refuses the order."""
    url = api.url("rodin")
    parts = [("prompt", (None, "a dragon")), ("bbox_condition", (None, "[10, 20, 30]")), ("addons", (None, "HighPack"))]
    task = api.session.post(url, files=parts, timeout=30).json()
    rows = {row["task_uuid"]: row for row in api.emulator.ledger()["charges"]}
    assert rows[task["uuid"]]["credits"] == "1.5"
    assert_refused(api.session.post(url, files=[*parts, ("addons", (None, "Low"))], timeout=30), "addons must be")


def multipart(boundary: str) -> bytes:
    """Write a whole order by hand."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode() + data
        for name, data in (("model", CUBE), ("image", png()))
    ]
    return b"\r\n".join(parts) + f"\r\n--{boundary}--\r\n".encode()


def send_cut(api: Api, body: bytes, kept: int) -> None:
    """Send an order with its full Content-Length, but only the first bytes of its body."""
    target = urlsplit(api.emulator.base_url)
    head = (
        f"POST /api/v2/rodin_texture_only HTTP/1.1\r\nHost: {target.netloc}\r\nAuthorization: Bearer emulator-key\r\n"
        f"Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((str(target.hostname), int(target.port or 0)), timeout=30) as connection:
        connection.sendall(head.encode() + body[:kept])
