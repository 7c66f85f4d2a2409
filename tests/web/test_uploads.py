"""New sets from outside: the tus protocol, plain forms, and sets that are made again; over a real service and its page."""

from __future__ import annotations

import base64
import socket
import tomllib
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from cli_stage import SAMPLES, Stage
from web_stage import Answer, Browser

Scene = tuple[Stage, Browser]
MODEL = (SAMPLES / "suzi.glb").read_bytes()
IMAGE = (SAMPLES / "matcap-c.webp").read_bytes()


def tus(browser: Browser, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """Ask as tus-js-client does."""
    told = {"Origin": browser.origin, "X-CSRF-Token": browser.csrf(), "Tus-Resumable": "1.0.0", **headers}
    return browser.ask(method, path, body, told)


def begun(browser: Browser, name: str = "chair", folder: str = "") -> str:
    """Begin a drop and return its address."""
    answer = browser.post_data("/api/v1/drops", {"name": name, "folder": folder})
    assert answer.status == 201
    return f"/api/v1/drops/{answer.data['id']}"


def announced(browser: Browser, drop: str, path: str, length: int) -> Answer:
    """Announce a file."""
    metadata = f"path {base64.b64encode(path.encode()).decode()}"
    return tus(browser, "POST", f"{drop}/uploads", b"", Upload_Length=str(length), Upload_Metadata=metadata)


def sent(browser: Browser, where: str, data: bytes, offset: int) -> Answer:
    """Send the next bytes of a file."""
    headers = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": str(offset)}
    return tus(browser, "PATCH", where, data, **headers)


def uploaded(browser: Browser, drop: str, path: str, data: bytes) -> None:
    """Send a whole file."""
    where = announced(browser, drop, path, len(data)).headers["location"]
    assert sent(browser, where, data, 0).status == 204


def test_a_file_goes_on_where_it_broke_off(scene: Scene) -> None:
    """The connection dies in the middle of a request: what came is there, HEAD says how much, and the rest follows."""
    browser = scene[1]
    drop = begun(browser)
    where = announced(browser, drop, "chair.glb", len(MODEL)).headers["location"]
    host, _, port = browser.address.partition(":")
    with closing(socket.create_connection((host, int(port)), 20)) as line:
        head = [
            f"PATCH {where} HTTP/1.1",
            f"Host: {browser.address}",
            f"Origin: {browser.origin}",
            "Cookie: " + "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
            f"X-CSRF-Token: {browser.csrf()}",
            "Content-Type: application/offset+octet-stream",
            "Upload-Offset: 0",
            f"Content-Length: {len(MODEL)}",
        ]
        line.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + MODEL[:70_000])
    answer = tus(browser, "HEAD", where)
    while not int(answer.headers["upload-offset"]):  # the server may still take them
        answer = tus(browser, "HEAD", where)
    offset = int(answer.headers["upload-offset"])
    assert 0 < offset <= 70_000
    assert answer.headers["upload-length"] == str(len(MODEL))
    while sent(browser, where, MODEL[:10], 0).status == 423:  # as long as it does, nobody else writes
        pass
    assert sent(browser, where, MODEL[:10], 0).status == 409
    offset = int(tus(browser, "HEAD", where).headers["upload-offset"])
    last = sent(browser, where, MODEL[offset:], offset)
    assert (last.status, last.headers["upload-offset"]) == (204, str(len(MODEL)))
    assert browser.get(drop).data["files"] == {"chair.glb": len(MODEL)}
    assert tus(browser, "HEAD", where).status == 404


def test_what_is_shown_is_what_is_sent(scene: Scene) -> None:
    """The pairs, the price and what is wrong are seen before; nothing lies in the inbox before; it does whole after."""
    stage, browser = scene
    drop = begun(browser, "stool")
    uploaded(browser, drop, "stool.glb", MODEL)
    shown = browser.get(drop).data
    assert [(one["ready"], one["credits"]) for one in shown["sets"]] == [(False, None)]
    assert "image" in shown["sets"][0]["reason"]
    uploaded(browser, drop, "stool.webp", IMAGE)
    shown = browser.get(drop).data
    assert [(one["ready"], Decimal(str(one["credits"]))) for one in shown["sets"]] == [(True, Decimal("0.5"))]
    assert not (stage.inbox / "stool").exists()
    refused = browser.post_data(f"{drop}/send", {"credits": 0})
    assert refused.status == 400
    assert "not what you saw" in refused.data["error"]
    answer = browser.post_data(f"{drop}/send", {"credits": shown["credits"]})
    assert answer.data == {"place": "inbox/stool"}
    assert browser.get(drop).status == 404


def test_a_plain_form_does_the_same(scene: Scene) -> None:
    """Without any script: files, options, another name and folder, and the price; each step is a page."""
    browser = scene[1]
    csrf = browser.csrf()
    body, kind = _multipart({"csrf": csrf, "folder": "web"}, [("lamp.glb", MODEL), ("lamp.webp", IMAGE)])
    answer = browser.ask("POST", "/drop", body, {"Origin": browser.origin, "Content-Type": kind})
    assert answer.status == 303
    page = answer.headers["location"]
    assert "It costs 0.5 credits." in browser.get(page).text
    browser.post(
        f"{page}/options", {"csrf": csrf, "toml": "lamp.toml", "kind": "texture", "seed": "12", "prompt": "brass"}
    )
    browser.post(f"{page}/move", {"csrf": csrf, "name": "lamp two", "folder": ""})
    shown = browser.get(f"/api/v1{page}").data
    assert (shown["name"], shown["folder"]) == ("lamp two", "")
    assert {file["role"] for file in shown["sets"][0]["files"]} == {"model", "image", "sidecar"}
    assert browser.post(f"{page}/send", {"csrf": csrf, "credits": "7"}).status == 409
    done = browser.post(f"{page}/send", {"csrf": csrf, "credits": "0.5"})
    assert done.headers["location"] == "/?sent=lamp%20two"
    assert "in the inbox, as “lamp two”" in browser.get(done.headers["location"]).text


def test_options_that_make_no_sense_are_refused_by_the_words_of_the_service(scene: Scene) -> None:
    """They are kept as they were typed, so that the person can correct them; a TOML file with mistakes is not written over."""
    browser = scene[1]
    csrf, drop = browser.csrf(), begun(browser, "pot")
    page = drop.removeprefix("/api/v1")
    uploaded(browser, drop, "pot.glb", MODEL)
    uploaded(browser, drop, "pot.webp", IMAGE)
    browser.post(f"{page}/options", {"csrf": csrf, "toml": "pot.toml", "kind": "texture", "seed": "many"})
    [one] = browser.get(drop).data["sets"]
    assert one["refused"]
    assert "seed" in one["reason"]
    browser.post(f"{page}/options", {"csrf": csrf, "toml": "pot.toml", "kind": "texture", "seed": "7"})
    assert browser.get(drop).data["sets"][0]["ready"]
    browser.post(f"{page}/remove", {"csrf": csrf, "path": "pot.toml"})
    uploaded(browser, drop, "pot.toml", b"seed = \n")
    refused = browser.post(f"{page}/options", {"csrf": csrf, "toml": "pot.toml", "kind": "texture", "seed": "7"})
    assert refused.status == 409
    assert "pot.toml line 1" in refused.text


def test_a_set_is_made_again_with_a_change(scene: Scene) -> None:
    """Its files and options come into a new drop; nothing is sent before the person has seen the price."""
    browser = scene[1]
    job = next(one for one in browser.get("/api/v1/sets?q=vase").data["sets"])
    csrf = browser.csrf()
    answer = browser.post(f"/sets/{job['id']}/again", {"csrf": csrf})
    page = answer.headers["location"]
    shown = browser.get(f"/api/v1{page}").data
    assert set(shown["files"]) >= {"vase.glb", "vase.png"}
    browser.post(f"{page}/options", {"csrf": csrf, "toml": "vase.toml", "kind": "texture", "seed": "99"})
    assert browser.get(f"/api/v1{page}").data["sets"][0]["ready"]
    assert browser.post(f"{page}/discard", {"csrf": csrf}).headers["location"] == "/drop"
    assert browser.get(f"/api/v1{page}").status == 404


@pytest.mark.parametrize(
    "path", ["../evil.glb", "/etc/passwd", "a/../../b.glb", ".hidden.glb", "a\0b.glb", "", "CON:/x\n.glb"]
)
def test_hostile_names(scene: Scene, path: str) -> None:
    """Nothing is ever written outside the drop."""
    stage, browser = scene
    before = _all_files(stage.root)
    drop = begun(browser)
    answer = announced(browser, drop, path, 10)
    if answer.status == 201:  # /etc/passwd: below the drop
        assert path.startswith("/")
    else:
        assert answer.status == 400
        assert answer.data["advice"]
    assert {path for path in _all_files(stage.root) - before if ".rodin-watchd/" not in path} == set()


def test_what_is_too_large_or_too_long(scene: Scene) -> None:
    """It is refused when it is announced, and when more comes than was announced."""
    browser = scene[1]
    drop = begun(browser)
    for path, length in (("chair.glb", 10**8), ("chair.png", 10**9), ("chair.toml", 10**6)):
        answer = announced(browser, drop, path, length)
        assert answer.status == 413
        assert "bytes" in answer.data["error"]
    where = announced(browser, drop, "chair.glb", 10).headers["location"]
    assert sent(browser, where, b"x" * 11, 0).status == 413
    for odd in ("-1", "x", "", "9" * 40):
        metadata = {"Upload_Metadata": "path " + base64.b64encode(b"a.glb").decode()}
        assert tus(browser, "POST", f"{drop}/uploads", b"", Upload_Length=odd, **metadata).status == 400
    assert tus(browser, "PATCH", where, b"x", Upload_Offset="0", Content_Type="text/plain").status == 415


@pytest.mark.parametrize("lone", ["\ud800", "a\udbffb"])
def test_text_that_is_no_unicode(scene: Scene, lone: str) -> None:
    """JSON can hold it, and no name of a file can: it is refused, in words."""
    browser = scene[1]
    drop = begun(browser).rpartition("/")[2]
    for path, given in (
        ("/api/v1/drops", {"name": lone}),
        ("/api/v1/drops", {"name": "a", "folder": lone}),
        (f"/drops/{drop}/move", {"name": lone, "folder": lone}),
        (f"/drops/{drop}/remove", {"path": lone}),
        (f"/drops/{drop}/options", {"toml": "a.toml", "kind": "texture", "prompt": lone}),
        (f"/drops/{drop}/options", {"toml": "a.toml", "kind": "texture", "prompt": "\udcff"}),
    ):
        assert browser.post_data(path, given).status == 400


@pytest.mark.parametrize("price", ["sNaN", "NaN", "Infinity", "1e999999999", [1], None])
def test_a_price_that_is_none_is_agreed_to_by_nobody(scene: Scene, price: object) -> None:
    """Nothing is sent."""
    browser = scene[1]
    drop = begun(browser)
    uploaded(browser, drop, "chair.txt", b"x")
    answer = browser.post_data(f"{drop}/send", {"credits": price})
    assert answer.status == 400
    assert "not what you saw" in answer.data["error"]


def test_a_form_is_not_read_before_it_may_be(scene: Scene) -> None:
    """Its length is known and bounded first; a page that is not there is not there."""
    browser = scene[1]
    body, kind = _multipart({"csrf": browser.csrf()}, [("lamp.glb", MODEL)])
    told = {"Origin": browser.origin, "Content-Type": kind}
    assert browser.ask("POST", "/drop", body, {**told, "Content-Length": str(10**12)}).status == 413
    assert browser.ask("POST", "/drop", iter([body]), told).status == 411  # in chunks
    body, kind = _multipart({"csrf": "x"}, [("lamp.glb", MODEL)])
    assert browser.ask("POST", "/drop", body, {"Origin": browser.origin, "Content-Type": kind}).status == 403
    gone = browser.get(f"/drops/{'0' * 32}")
    assert gone.status == 404
    assert "not here any more" in gone.text


def test_a_folder_that_is_not_there_yet(scene: Scene) -> None:
    """A person names it, and it is made with the first set; a name below the old one works as well."""
    stage, browser = scene
    csrf, drop = browser.csrf(), begun(browser, "pan")
    page = drop.removeprefix("/api/v1")
    uploaded(browser, drop, "pan.webp", IMAGE)
    browser.post(f"{page}/move", {"csrf": csrf, "name": "pan", "folder": "pan/deep"})
    shown = browser.get(drop).data
    assert (shown["folder"], shown["files"]) == ("pan/deep", {"pan.webp": len(IMAGE)})
    assert browser.post(f"{page}/send", {"csrf": csrf, "credits": "0"}).status == 303
    assert (stage.inbox / "pan/deep/pan/pan.webp").read_bytes() == IMAGE


def test_the_document_of_the_api_has_drops_as_well(scene: Scene) -> None:
    """Each thing that the page's script asks for can be looked up."""
    paths = scene[1].get("/api/openapi.json").data["paths"]
    assert paths["/api/v1/drops/{drop_id}/uploads/{upload_id}"].keys() == {"head", "patch", "delete"}
    assert paths["/api/v1/drops/{drop_id}"].keys() == {"get", "delete"}
    assert {"/api/v1/drops", "/api/v1/drops/{drop_id}/send", "/api/v1/drops/{drop_id}/uploads"} <= paths.keys()


@pytest.mark.parametrize("wrong", ["origin", "token", "none"])
def test_another_page_can_send_nothing(scene: Scene, wrong: str) -> None:
    """Neither announce nor send nor remove: another origin, a wrong token, no token."""
    browser = scene[1]
    drop = begun(browser)
    where = announced(browser, drop, "chair.glb", 10).headers["location"]
    told = {"Origin": browser.origin, "X-CSRF-Token": browser.csrf()}
    told |= {"origin": {"Origin": "http://evil.example"}, "token": {"X-CSRF-Token": "x"}, "none": {"X-CSRF-Token": ""}}[
        wrong
    ]
    for method, path in (
        ("POST", "/api/v1/drops"),
        ("POST", f"{drop}/uploads"),
        ("PATCH", where),
        ("DELETE", where),
        ("DELETE", drop),
        ("POST", f"{drop}/send"),
    ):
        headers = {**told, "Upload-Length": "1", "Upload-Offset": "0", "Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = "application/offset+octet-stream"
        assert browser.ask(method, path, b"{}", headers).status == 403, (method, path)
    assert browser.get(drop).data["uploads"] == [{"path": "chair.glb", "offset": 0, "length": 10}]


def test_names_are_shown_and_never_read_as_marks(scene: Scene) -> None:
    """HTML and SVG in the name of a file or a drop."""
    browser = scene[1]
    drop = begun(browser, "<svg onload=alert(1)>")
    uploaded(browser, drop, "<img src=x onerror=alert(1)>.glb", MODEL)
    page = browser.get(drop.removeprefix("/api/v1")).body.decode()
    assert "<img src=x" not in page
    assert "<svg onload" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.glb" in page


def test_the_toml_file_that_a_form_writes(scene: Scene) -> None:
    """Values have their types; what is no option of the kind stays as it was."""
    stage, browser = scene
    csrf, drop = browser.csrf(), begun(browser, "typed")
    page = drop.removeprefix("/api/v1")
    uploaded(browser, drop, "typed.webp", IMAGE)
    uploaded(browser, drop, "typed.toml", b'seed = 1\n[plugins.webhook]\nname = "x"\n')
    fields = {
        "kind": "generate",
        "use_original_alpha": "true",
        "bbox_condition": "[1, 2, 3]",
        "prompt": "a\r\nb",
        "seed": "8",
    }
    browser.post(f"{page}/options", {"csrf": csrf, "toml": "typed.toml", **fields})
    drops = Path(stage.root, ".rodin-watchd/drops", drop.rpartition("/")[2])
    [toml] = drops.rglob("typed.toml")
    assert tomllib.loads(toml.read_text()) == {
        "kind": "generate",
        "prompt": "a\nb",
        "seed": 8,
        "bbox_condition": "[1, 2, 3]",
        "use_original_alpha": True,
        "plugins": {"webhook": {"name": "x"}},
    }


def _multipart(fields: dict[str, str], files: list[tuple[str, bytes]]) -> tuple[bytes, str]:
    """Return a form with files as a browser sends it, and its type."""
    edge = b"--------edge"
    parts = [f'form-data; name="{name}"\r\n\r\n'.encode() + value.encode() for name, value in fields.items()]
    parts += [
        f'form-data; name="files"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode() + data
        for name, data in files
    ]
    body = b"".join(b"--" + edge + b"\r\nContent-Disposition: " + part + b"\r\n" for part in parts)
    return body + b"--" + edge + b"--\r\n", f"multipart/form-data; boundary={edge.decode()}"


def _all_files(root: Path) -> set[str]:
    return {str(path) for top in (root, root.parent) for path in top.rglob("*") if path.is_file()}
