"""Who may see and do what, tried from outside: foreign names and origins, forged headers, cookies and tokens; files through links."""

from __future__ import annotations

import http.client
import io
import os
import re
import signal
import socket
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from html import unescape
from pathlib import Path

import pytest
from cli_stage import PROGRAM, Stage, a_failed_job, a_held_job, a_job
from web_stage import TOKEN, VIEWER_TOKEN, Browser, configured, free_address, page_of

from rodin_watchd.model import InputFile, ResultFile, Role, Signature, State
from rodin_watchd.web.data import GROUPS
from rodin_watchd.web.live import MOST_LISTENERS

ODD = "inbox/odd \udcff&?#%41 \"'.glb"
"""Not UTF-8, and with all that means something in an address."""

HOSTILE = "<img src=x onerror=alert(1)>"


def a_stage(root: Path) -> Stage:
    """Return a folder in which nobody works, with a delivered, a held and a hostile failed set."""
    stage = Stage(root)
    stage.journaled(
        a_job(
            results=(
                ResultFile("model.glb", "model.glb", 9, "cc" * 32),
                ResultFile("maps/colour.png", "", 9, "dd" * 32),
            )
        ),
        a_held_job(),
        a_failed_job(
            name=HOSTILE,
            folder="<b>",
            place="failed/hostile",
            files=(
                InputFile(Role.IMAGE, "inbox/page.html", Signature(4, 5, 6)),
                InputFile(Role.MODEL, ODD, Signature(4, 5, 6)),
            ),
        ),
    )
    place = stage.root / "outbox/oak/chair"
    (place / "maps").mkdir(parents=True)
    (place / "job.toml").write_text('[job]\nid = "0123456789ab"\nretries = 0\n')
    (place / "model.glb").write_bytes(b"glTF")
    (place / "maps/colour.png").write_bytes(b"PNG")
    failed = stage.root / "failed/hostile"
    failed.mkdir(parents=True)
    (failed / "report.toml").write_text('[job]\nid = "ba9876543210"\nretries = 0\n')
    (failed / ODD.removeprefix("inbox/")).write_bytes(b"odd")
    (failed / "page.html").write_text("<script>alert(1)</script>")
    return stage


def token_file(path: Path, token: str) -> str:
    """Write a token as nobody else may read it."""
    path.write_text(f"{token}\n")
    path.chmod(stat.S_IRUSR)
    return str(path)


@pytest.fixture(scope="module")
def open_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Browser]]:
    """Give a page of this machine alone, without a login."""
    stage = a_stage(tmp_path_factory.mktemp("open") / "root")
    with page_of(stage, allowed_hosts=["textures.example.org"]) as browser:
        yield stage, browser


@pytest.fixture(scope="module")
def closed_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give a page with a login, and a proxy that names people."""
    folder = tmp_path_factory.mktemp("closed")
    stage = a_stage(folder / "root")
    tokens = {
        "token_file": token_file(folder / "token", TOKEN),
        "viewer_token_file": token_file(folder / "viewer", VIEWER_TOKEN),
    }
    proxy = {"proxy_header": "X-Remote-User", "proxy_from": ["127.0.0.1"], "proxy_actors": ["ada"]}
    with page_of(stage, **tokens, **proxy) as browser:
        yield browser


def fresh(browser: Browser) -> Browser:
    """Return a browser that knows nothing yet."""
    return Browser(browser.address)


# ---- names and origins ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "",
        "localhost:",
        "[::1",
        "textures.example.org.evil.example",
        "127.0.0.1:80:80",
    ],
)
def test_a_foreign_name_is_refused(open_page: tuple[Stage, Browser], host: str) -> None:
    """A hostile page can lead its own name to this address (DNS rebinding)."""
    answer = fresh(open_page[1]).get("/", Host=host)
    assert answer.status in (400, 421)  # some are no name at all
    assert b"chair" not in answer.body


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "[::1]:8770", "textures.example.org:443", "TEXTURES.example.org"]
)
def test_its_own_names_are_served(open_page: tuple[Stage, Browser], host: str) -> None:
    """Whatever the port, which a proxy or a container may have changed."""
    assert fresh(open_page[1]).get("/", Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Sec_Fetch_Site": "cross-site", "Origin": "https://127.0.0.1"},
    ],
)
def test_what_another_page_sends_is_refused(open_page: tuple[Stage, Browser], headers: dict[str, str]) -> None:
    """Also with the right token, which no other page can know."""
    browser = fresh(open_page[1])
    assert browser.post("/pause", {"csrf": browser.csrf()}, **headers).status == 403


@pytest.mark.parametrize("fields", [{}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "é"}])
def test_what_lacks_the_sessions_token_is_sent_once_more(
    open_page: tuple[Stage, Browser], fields: dict[str, str]
) -> None:
    """The form is kept: nothing was done, and the person can send it again."""
    browser = fresh(open_page[1])
    answer = browser.post("/approve", {**fields, "seen": "7"})
    assert answer.status == 403
    assert "Send it once more" in answer.text
    assert '<input type="hidden" name="seen" value="7">' in answer.body.decode()
    again = {"csrf": browser.csrf(), "seen": "7"}
    assert browser.post("/approve", again).status == 303


def test_a_sessions_token_is_of_no_use_in_another_one(open_page: tuple[Stage, Browser]) -> None:
    """Each browser has its own."""
    one, other = fresh(open_page[1]), fresh(open_page[1])
    other.csrf()
    assert other.post("/pause", {"csrf": one.csrf()}).status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(open_page: tuple[Stage, Browser], method: str) -> None:
    """There is nothing that they could do; the two that uploads use come from the page alone."""
    browser = fresh(open_page[1])
    assert browser.get("/", method, Origin=browser.origin).status in (400, 405)
    if method in ("DELETE", "PATCH"):
        assert browser.get("/", method).status == 403
    else:
        assert browser.get("/", method).status in (400, 405)


def test_no_answer_lets_a_stranger_in(open_page: tuple[Stage, Browser]) -> None:
    """No script and no style but its own, no frame around it, no guess about types; the cookie is for this site alone."""
    answer = fresh(open_page[1]).get("/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in answer.headers["set-cookie"].split(";")}
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|<[a-z][^>]*\s(?:style|on[a-z]+)=", answer.body.decode())


# ---- names and files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/sets/ba9876543210", "/?q=%3Cscript%3E", "/?folder=%22%3E%3Cscript%3E", "/api/v1/sets/%3Cscript%3E"]
)
def test_hostile_names_are_text(open_page: tuple[Stage, Browser], path: str) -> None:
    """In the names of sets and folders, and in what somebody is led to ask for."""
    answer = fresh(open_page[1]).get(path)
    if answer.headers["content-type"].startswith("text/html"):
        assert b"<script>" not in answer.body
        assert b"<img src=x" not in answer.body
        assert b"<b>" not in answer.body.partition(b"<main")[2].partition(b'class="where"')[2].partition(b"</p>")[0]


def test_a_name_that_is_no_text_is_found(open_page: tuple[Stage, Browser]) -> None:
    """It is shown escaped, and its address leads to it."""
    browser = fresh(open_page[1])
    assert "odd \\udcff&?#%41" in browser.get("/sets/ba9876543210").text
    urls = [
        one["url"] for one in browser.get("/api/v1/sets/ba9876543210").data["files_to_fetch"] if "odd" in one["name"]
    ]
    assert browser.get(urls[0]).body == b"odd"
    assert f'href="{urls[0]}"' in browser.get("/sets/ba9876543210").body.decode()


def test_html_is_a_download(open_page: tuple[Stage, Browser]) -> None:
    """Whatever an artist drops is never a page of this site."""
    answer = fresh(open_page[1]).get("/sets/ba9876543210/files/inputs/page.html")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "name",
    [
        *("../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/config.toml", "../chair/model.glb"),
        *(
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "model.glb/../../../../config.toml",
            "model.glb%00.png",
            "..%5c..%5cconfig.toml",
        ),
        *("job.toml/", "", ".", "..", "MODEL.GLB", "other.glb", "maps"),
    ],
)
@pytest.mark.parametrize("where", ["results", "inputs", "..", "work"])
def test_only_the_files_of_a_set_are_served(open_page: tuple[Stage, Browser], where: str, name: str) -> None:
    """Those that the journal names, and nothing that a path could lead to."""
    assert fresh(open_page[1]).get(f"/sets/0123456789ab/files/{where}/{name}").status in (400, 404)


def test_a_result_in_a_folder_is_served(open_page: tuple[Stage, Browser]) -> None:
    """By its name with the folder, as the journal has it."""
    answer = fresh(open_page[1]).get("/sets/0123456789ab/files/results/maps/colour.png")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"PNG", "image/png")


@pytest.mark.parametrize("what", ["file", "folder", "fifo", "other set"])
def test_nothing_is_served_through_links(open_page: tuple[Stage, Browser], what: str) -> None:
    """Anybody may write in the outbox: a link, a pipe, or another set's folder under the name of this one."""
    stage, browser = open_page
    place, kept = stage.root / "outbox/oak/chair", stage.root / "outbox/oak/kept"
    secret = stage.root.parent / "secret"
    secret.mkdir(exist_ok=True)
    for name in ("model.glb", "job.toml"):
        (secret / name).write_bytes((place / name).read_bytes() if name == "job.toml" else b"secret")
    place.rename(kept)
    try:
        if what == "folder":
            place.symlink_to(secret)
        else:
            place.mkdir()
            (place / "job.toml").write_text(
                '[job]\nid = "another"\nretries = 0\n' if what == "other set" else (kept / "job.toml").read_text()
            )
        if what == "file":
            (place / "model.glb").symlink_to(secret / "model.glb")
        if what == "fifo":
            os.mkfifo(place / "model.glb")
        if what == "other set":
            (place / "model.glb").write_bytes(b"secret")
        answer = browser.get("/sets/0123456789ab/files/results/model.glb")
        assert answer.status == 404
        assert b"secret" not in browser.get("/sets/0123456789ab/results.zip").body
    finally:
        if place.is_symlink():
            place.unlink()
        else:
            for path in place.iterdir():
                path.unlink()
            place.rmdir()
        kept.rename(place)


def test_no_secret_is_in_any_answer(open_page: tuple[Stage, Browser]) -> None:
    """Neither the subscription key nor the vendor's raw answer, wherever a set is shown."""
    browser = open_page[1]
    for path in ("/", "/sets/0123456789ab", "/api/v1/sets/0123456789ab", "/api/v1/status", "/api/v1/sets"):
        assert b"a-token-nobody-may-see" not in browser.get(path).body


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"[" * 5000),
        ("application/json", b"[1]"),
        ("application/json", b"{"),
        ("application/json", b'{"seen": {"state": "odd"}}'),
        ("application/json", b'{"seen": {"state": "held", "since_at": 1, "holds": 1e999, "retries": 0, "charges": 0}}'),
        ("application/json", b'{"task": "\\ud800"}'),
        ("text/plain", b"x"),
        ("multipart/form-data; boundary=x", b"--x"),
        ("application/x-www-form-urlencoded", b"a" * 100_000),
        ("application/x-www-form-urlencoded", b"&".join(b"a=%d" % number for number in range(2000))),
    ],
)
def test_what_makes_no_sense_is_refused(open_page: tuple[Stage, Browser], kind: str, body: bytes) -> None:
    """Without a traceback, and with nothing done."""
    browser = fresh(open_page[1])
    token = browser.csrf()
    headers = {"Origin": browser.origin, "Content-Type": kind, "X-CSRF-Token": token}
    answer = browser.ask("POST", "/api/v1/sets/cccccccccccc/cancel", body, headers)
    assert answer.status in (400, 409, 413, 415)
    assert answer.data["error"]


@pytest.mark.parametrize("changed_at", [-5e9, 0, 7e9, 2e11])
def test_a_date_that_an_archive_cannot_hold(open_page: tuple[Stage, Browser], changed_at: float) -> None:
    """A clock that was wrong, or a program that sets such a time, keeps nobody from the results."""
    stage, browser = open_page
    os.utime(stage.root / "outbox/oak/chair/model.glb", (changed_at, changed_at))
    found = browser.get("/sets/0123456789ab/results.zip").body
    assert "model.glb" in zipfile.ZipFile(io.BytesIO(found)).namelist()


@pytest.mark.parametrize("what", ["files/results/model.glb", "results.zip"])
def test_a_file_that_is_cut_while_it_is_sent(open_page: tuple[Stage, Browser], what: str) -> None:
    """The browser notices that it has not come whole; no archive with half a model looks like a good one."""
    stage, browser = open_page
    model = stage.root / "outbox/oak/chair/model.glb"
    whole = model.read_bytes()
    model.write_bytes(bytes(30_000_000))
    host, _, port = browser.address.partition(":")
    asked = f"GET /sets/0123456789ab/{what} HTTP/1.1\r\nHost: {browser.address}\r\nConnection: close\r\n\r\n"
    with closing(socket.create_connection((host, int(port)), 20)) as line:
        line.sendall(asked.encode())
        came = bytearray()
        while len(came) < 300_000:
            came += line.recv(1000)
        os.truncate(model, 10)
        while piece := line.recv(1 << 20):
            came += piece
    model.write_bytes(whole)
    assert len(came) < 30_000_000
    assert not came.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("number", ["9" * 30, "-1", "1e3", "x"])
def test_no_such_number(open_page: tuple[Stage, Browser], number: str) -> None:
    """Of a command: what no store can have given."""
    browser = fresh(open_page[1])
    assert browser.get(f"/api/v1/commands/{number}").status == 400
    assert browser.get(f"/?answer={number}").status == 400


# ---- who ------------------------------------------------------------------------------------------------------------


def test_nobody_looks_without_a_login(closed_page: Browser) -> None:
    """The page leads to the login and back; the API says so in its own way; what is static is for everybody."""
    browser = fresh(closed_page)
    answer = browser.get("/sets/0123456789ab?x=1")
    assert (answer.status, answer.headers["location"]) == (303, "/login?next=%2Fsets%2F0123456789ab%3Fx%3D1")
    assert browser.get("/api/v1/sets").status == 401
    assert browser.get("/api/v1/events").status == 401
    assert browser.get("/sets/0123456789ab/files/results/model.glb").status == 303
    assert browser.get("/login").status == 200
    assert browser.get("/static/page.css").status == 200
    assert browser.post("/pause", {}).status == 303


@pytest.mark.parametrize("target", ["/sets/0123456789ab/again", "/pause"])
def test_a_form_is_kept_over_the_login(closed_page: Browser, target: str) -> None:
    """Also over a wrong token; nothing is done before it is sent once more, and no other page gets it."""
    browser, given = fresh(closed_page), {"seen": '"<b>', "note": "椅子"}
    answer = browser.post(target, {"csrf": "0" * 64, **given})
    for token, status in (("wrong", 401), (TOKEN, 200)):
        assert "Your session has ended. Log in: what you have filled in is kept." in answer.text
        assert answer.status == 401
        kept = dict(re.findall(r'<input type="hidden" name="(next|kept)" value="([^"]*)">', answer.body.decode()))
        assert kept["next"] == target
        answer = browser.post("/login", {"token": token, **{name: unescape(value) for name, value in kept.items()}})
        assert answer.status == status
    page = answer.body.decode()
    assert f'action="{target}"' in page
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    assert {name: unescape(value) for name, value in found.items()} == {"csrf": browser.csrf(), **given}
    assert TOKEN not in page


@pytest.mark.parametrize("kept", ["", "no JSON", "[]", "[" * 9000, '{"a": {"b": 1}}', "\x00"])
def test_what_was_not_kept_is_no_harm(closed_page: Browser, kept: str) -> None:
    """The login is as good, and leads nowhere else."""
    browser = fresh(closed_page)
    answer = browser.post("/login", {"token": TOKEN, "kept": kept, "next": "//evil.example/"})
    assert answer.status == 200
    assert "evil" not in answer.body.decode()
    assert browser.get("/api/v1/session").data["may_act"] is True


def log_in(browser: Browser, token: str, target: str = "/") -> str:
    """Log in, and return where that leads."""
    answer = browser.post("/login", {"token": token, "next": target})
    assert answer.status == 303
    return answer.headers["location"]


def test_who_logs_in_may_act_until_the_log_out(closed_page: Browser) -> None:
    """And comes back to where the way began; a session of another server's key is none."""
    browser = fresh(closed_page)
    assert log_in(browser, TOKEN, "/money") == "/money"
    assert browser.get("/money").status == 200
    assert browser.get("/api/v1/session").data["may_act"] is True
    assert browser.post("/pause", {"csrf": browser.csrf()}).status == 303
    kept = dict(browser.cookies)
    assert browser.post("/logout", {}).status == 303
    assert browser.get("/api/v1/sets").status == 401
    assert (
        Browser(browser.address, cookies=kept).get("/api/v1/sets").status == 401
    )  # a copy of the cookie is no session, either
    [(name, value)] = kept.items()
    rights, rest = value.split(".", 1)
    for forged in (f"{int(rights) + 1}.{rest}", f"{value}0", value.rpartition(".")[0], "2.9999999999.x.y", ""):
        assert Browser(browser.address, cookies={name: forged}).get("/api/v1/sets").status == 401


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b'{"token": [1], "next": 5}', 303),
        ("application/json", b'{"token": null}', 303),
        ("application/json", b"[", 400),
        ("text/plain", b"token=x", 415),
        ("application/x-www-form-urlencoded", b"token=" + b"x" * 70_000, 413),
        ("application/x-www-form-urlencoded", b"&".join(b"a=%d" % number for number in range(200)), 400),
    ],
)
def test_a_login_that_makes_no_sense(tmp_path: Path, kind: str, body: bytes, status: int) -> None:
    """A stranger gets an answer, and the program has no fault to tell."""
    stage = a_stage(tmp_path / "root")
    with page_of(stage, token_file=token_file(tmp_path / "token", TOKEN)) as browser:
        answer = browser.ask("POST", "/login", body, {"Origin": browser.origin, "Content-Type": kind})
        assert answer.status == status
        assert "set-cookie" not in answer.headers
        assert answer.headers["content-security-policy"]


def test_who_only_looks_changes_nothing(closed_page: Browser) -> None:
    """By the token for that: no buttons, and no way around them."""
    browser = fresh(closed_page)
    log_in(browser, VIEWER_TOKEN)
    page = browser.get("/sets/cccccccccccc")
    assert page.status == 200
    assert "<button" not in page.body.decode().partition("<main")[2]
    assert browser.post("/pause", {"csrf": browser.csrf()}).status == 403
    assert browser.post_data("/api/v1/pause", {}).status == 403


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "x", "//["]
)
def test_a_login_leads_nowhere_else(closed_page: Browser, target: str) -> None:
    """Whatever an address has asked for."""
    assert log_in(fresh(closed_page), TOKEN, target) == "/"


@pytest.mark.parametrize("kind", ["Bearer", "bearer"])
def test_a_program_sends_the_token_itself(closed_page: Browser, kind: str) -> None:
    """It needs no cookie, no origin and no other token: no page can send this for it."""
    program, looker = (
        Browser(closed_page.address, {"Authorization": f"{kind} {token}"}) for token in (TOKEN, VIEWER_TOKEN)
    )
    assert program.get("/api/v1/sets").status == 200
    assert program.ask("POST", "/api/v1/pause", b"{}", {"Content-Type": "application/json"}).status == 202
    assert looker.ask("POST", "/api/v1/pause", b"{}", {"Content-Type": "application/json"}).status == 403


@pytest.mark.parametrize(("name", "status"), [("ada", 303), ("kenji", 403)])
def test_a_proxy_names_people(closed_page: Browser, name: str, status: int) -> None:
    """Those who may act, and those who may look."""
    browser = Browser(closed_page.address, {"X-Remote-User": name})
    page = browser.get("/")
    assert page.status == 200
    assert name in page.text
    assert browser.post("/pause", {"csrf": browser.csrf()}).status == status


def test_a_header_that_comes_twice_names_nobody(closed_page: Browser) -> None:
    """A proxy that adds its header to the one of a browser does not say who it is."""
    host, _, port = closed_page.address.partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=30)) as connection:
        connection.putrequest("GET", "/api/v1/session")
        for name in ("ada", "kenji"):
            connection.putheader("X-Remote-User", name)
        connection.endheaders()
        assert connection.getresponse().status == 401


def test_what_is_the_same_for_all_begins_no_session(open_page: tuple[Stage, Browser]) -> None:
    """A cache in front of the page may keep it: a cookie in it would be everybody's."""
    browser = fresh(open_page[1])
    assert "set-cookie" not in browser.get("/static/page.css").headers
    assert "set-cookie" in browser.get("/").headers


def test_more_listeners_than_there_are_places(open_page: tuple[Stage, Browser]) -> None:
    """Also when all come at once; who leaves makes a place."""
    browser = fresh(open_page[1])
    browser.get("/")
    host, _, port = browser.address.partition(":")
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    asked = f"GET /api/v1/events HTTP/1.1\r\nHost: {browser.address}\r\nCookie: {cookies}\r\n\r\n".encode()
    with ExitStack() as stack:
        lines = [
            stack.enter_context(socket.create_connection((host, int(port)), 20)) for _ in range(MOST_LISTENERS + 30)
        ]
        for line in lines:
            line.sendall(asked)
        found = [re.search(rb" (\d+) ", line.recv(100)) for line in lines]
        assert sorted(one[1] for one in found if one) == [b"200"] * MOST_LISTENERS + [b"503"] * 30
        assert browser.get("/").status == 200


def test_wrong_tokens_are_soon_not_tried_any_more(tmp_path: Path) -> None:
    """From an address that has sent five, also the right one waits; a session that is there goes on."""
    stage = a_stage(tmp_path / "root")
    with page_of(stage, token_file=token_file(tmp_path / "token", TOKEN)) as browser:
        known = fresh(browser)
        log_in(known, TOKEN)
        for _ in range(5):
            assert "why=wrong" in log_in(browser, "wrong-token-of-a-stranger")
        assert "why=wait" in log_in(browser, TOKEN)
        assert "Too many wrong tokens" in browser.get("/login?why=wait").text
        assert Browser(browser.address, {"Authorization": f"Bearer {TOKEN}"}).get("/api/v1/sets").status == 401
        assert known.get("/").status == 200
        assert "Secure" not in known.get("/").headers.get("set-cookie", "")


def test_wrong_tokens_are_counted_for_each_address_behind_a_proxy(tmp_path: Path) -> None:
    """By the last address that the proxy says; what a browser sends of its own stands before it, and changes nothing."""
    stage = a_stage(tmp_path / "root")
    proxy = {"proxy_address_header": "X-Forwarded-For", "proxy_from": ["127.0.0.1", "192.0.2.9"]}
    with page_of(stage, token_file=token_file(tmp_path / "token", TOKEN), **proxy) as page:

        def behind(said: str) -> Browser:
            return Browser(page.address, {"X-Forwarded-For": said})

        for number in range(5):
            forged = f"198.51.100.{number}, 203.0.113.5, 192.0.2.9"
            assert "why=wrong" in log_in(behind(forged), "wrong-token-of-a-stranger")
        assert "why=wait" in log_in(behind("203.0.113.5"), TOKEN)
        assert "why=wait" in log_in(behind("127.0.0.1, 203.0.113.5"), TOKEN)
        assert "why=" not in log_in(behind("203.0.113.5, 203.0.113.6"), TOKEN)
        for number in range(5):
            assert "why=wrong" in log_in(behind(f"2001:db8::{number}"), "wrong-token-of-a-stranger")
        assert "why=wait" in log_in(behind("2001:db8::99"), TOKEN)
        assert "why=" not in log_in(behind("2001:db8:0:1::99"), TOKEN)
        for said in ("unknown", "", "a:b", "203.0.113.7, _hidden", "127.0.0.1"):
            assert "why=wrong" in log_in(behind(said), "wrong-token-of-a-stranger")
        assert "why=wait" in log_in(behind("no address"), TOKEN)


def test_an_address_that_somebody_else_says_is_not_believed(tmp_path: Path) -> None:
    """Only the named proxy says who asks: another one cannot make up addresses to try tokens from."""
    stage = a_stage(tmp_path / "root")
    proxy = {"proxy_address_header": "X-Forwarded-For", "proxy_from": ["192.0.2.9"]}
    with page_of(stage, token_file=token_file(tmp_path / "token", TOKEN), **proxy) as page:
        for number in range(6):
            forger = Browser(page.address, {"X-Forwarded-For": f"203.0.113.{number}"})
            told = log_in(forger, "wrong-token-of-a-stranger")
        assert "why=wait" in told


def test_over_https_the_cookie_is_for_https_alone(tmp_path: Path) -> None:
    """As the proxy in front says; nobody else is believed."""
    stage = a_stage(tmp_path / "root")
    with page_of(stage, proxy_header="X-Remote-User", proxy_from=["127.0.0.1"], read_only=True) as browser:
        headers = {"X-Remote-User": "ada", "X-Forwarded-Proto": "https"}
        answer = browser.get("/", **{name.replace("-", "_"): value for name, value in headers.items()})
        assert "Secure" in answer.headers["set-cookie"]
        assert browser.get("/").status == 401  # nobody is named, and there is no login
        browser.headers["X-Remote-User"] = "ada"
        assert browser.post("/pause", {"csrf": browser.csrf()}).status == 403  # nobody acts on a page that is read only


def test_a_forged_header_from_elsewhere_is_nobody(tmp_path: Path) -> None:
    """Only the proxy's own address is believed."""
    stage = a_stage(tmp_path / "root")
    with page_of(stage, proxy_header="X-Remote-User", proxy_from=["192.0.2.7"]) as browser:
        assert browser.get("/", X_Remote_User="ada").status == 401


@pytest.mark.parametrize(
    ("web", "token", "reason"),
    [
        ({"listen": "0.0.0.0:1"}, None, "there is no login"),
        ({"listen": "[::]:1"}, None, "there is no login"),
        ({"token_file": "token"}, "short", "at least 16 plain characters"),
        ({"token_file": "token", "viewer_token_file": "token"}, TOKEN, "are the same"),
        ({"token_file": "missing"}, None, "cannot be read"),
        ({"proxy_header": "X-Remote-User"}, None, "belong together"),
        ({"proxy_address_header": "X-Forwarded-For"}, None, "belong together"),
        ({"proxy_from": ["127.0.0.1"]}, None, "belong together"),
        ({"listen": "example.org:80"}, None, "must be an address"),
        ({"listen": "127.0.0.1"}, None, "must be an address"),
        ({"allowed_hosts": ["a/b"]}, None, "name of a host"),
    ],
)
def test_a_page_that_would_be_open_is_refused_at_the_start(
    tmp_path: Path, web: dict[str, object], token: str | None, reason: str
) -> None:
    """With the reason, and what to do; a token is never repeated."""
    stage = Stage(tmp_path / "root")
    if token:
        token_file(stage.root / "token", token)
    configured(stage, str(web.pop("listen", free_address())), **web)
    run = stage.told("web")
    assert run.returncode == 2
    assert reason in run.stderr
    assert TOKEN not in run.stderr


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """As an API key is."""
    stage = Stage(tmp_path / "root")
    token_file(stage.root / "token", TOKEN)
    (stage.root / "token").chmod(0o644)
    configured(stage, free_address(), token_file="token")  # noqa: S106 - a file's name
    run = stage.told("web")
    assert run.returncode == 2
    assert "Everybody on this machine" in run.stderr


def test_an_address_that_is_taken_is_told(open_page: tuple[Stage, Browser], tmp_path: Path) -> None:
    """With what to do."""
    stage = Stage(tmp_path / "root")
    configured(stage, open_page[1].address)
    run = stage.told("web")
    assert run.returncode == 1
    assert "cannot listen on" in run.stderr
    assert "web.listen" in run.stderr


def test_without_a_journal_the_page_says_so(tmp_path: Path) -> None:
    """The service was never started: a page with the reason, and no traceback; it ends in order."""
    stage = Stage(tmp_path / "root")
    with page_of(stage) as browser:
        answer = browser.get("/")
        assert answer.status == 503
        assert "There is no journal" in answer.text
        assert browser.get("/api/v1/status").data["error"].startswith("There is no journal")


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Also where that one is killed: its standard input ends then."""
    stage = Stage(tmp_path / "root")
    configured(stage, free_address())
    command = [*PROGRAM, "web", "--while-read", "--config", str(stage.config)]
    with subprocess.Popen(
        command, env=stage.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdin
        assert "The page is at" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(20) == 0
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)


def test_states_are_all_in_a_group() -> None:
    """Whatever state there will be, people find its sets."""
    assert frozenset().union(*GROUPS.values()) == frozenset(State)
