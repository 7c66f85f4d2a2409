"""After a full run with all logging, on bad days: every file it wrote, everything it said, all that others see of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_stage import PROGRAM, SAMPLES, Running, Stage, environment, running
from scripted_server import Conversation, Received, Script, ScriptedServer, response

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import Emulator

KEY = "sk-live-0a1b2c3d4e5f/67+89=="
TOKEN = "eyJhbGciOi.parrot-token/of+the=task.5e4d3c"  # noqa: S105 - what is looked for, made up
QUERY = "signature=hush-hush-0123456789"
FAULTS = (
    *("submit-429=0@1", "submit-error=INVALID_REQUEST@2", "lost-answer@3", "charged-503@4", "no-subscription-key@5"),
    *(
        "no-uuid@7",
        "failed-job@6",
        "status-500@1",
        "status-error@2",
        "unknown-status@3",
        "download-500@1",
        "partial-list@2",
    ),
    *("expired-link@1", "cut-download@2", "file-html@3"),
)
JOURNAL = {"journal.sqlite3", "journal.sqlite3-wal"}


def spellings(secret: str) -> list[bytes]:
    """Return a secret as files, JSON and addresses spell it, also when it was cut or hex-dumped."""
    whole = secret.encode()
    return [whole, json.dumps(secret)[1:-1].replace("/", "\\/").encode(), whole[6:-6], whole.hex().encode()]


def traces(folder: Path, secrets: Iterable[str]) -> set[str]:
    """Return the names of the files below a folder that hold any of these secrets."""
    wanted = [spelling for secret in secrets for spelling in spellings(secret)]
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name for path in files if any(spelling in path.read_bytes() for spelling in wanted)}


def drop(stage: Stage, *names: str) -> None:
    """Drop a set of a content of its own for each name."""
    for number, name in enumerate(names):
        (stage.inbox / f"{name}.obj").write_text(
            f"# {name}\n" + (SAMPLES.parents[2] / "tests/samples/bunny.obj").read_text()
        )
        (stage.inbox / f"{name}.png").write_bytes((SAMPLES / "matcap-a.png").read_bytes())
        (stage.inbox / f"{name}.toml").write_text(f"seed = {number}\n")


def seen_from_outside(service: Running) -> str:
    """Return what other programs see of the process and of its children."""
    process = Path("/proc") / str(service.process.pid)
    shown = [process / "cmdline", process / "environ", *process.glob("task/*/children")]
    told = b"".join(path.read_bytes() for path in shown).decode(errors="replace")
    pid = str(service.process.pid)
    listed = subprocess.run(
        ["ps", "eww", "--pid", pid, "--ppid", pid], capture_output=True, text=True, check=True
    ).stdout
    assert "rodin_watchd run" in listed
    return told + listed


@contextmanager
def served(root: Path, base_url: str) -> Iterator[tuple[Stage, Running]]:
    """Run a service with all its logging, for a key of its own."""
    stage = Stage(root, base_url, environment(RODIN_API_KEY=KEY))
    with stage.config.open("a") as config:
        config.write("[budget]\nsettle_seconds = 0.5\n")  # the emulated vendor charges at once
    with running(stage, "--verbose") as service:
        yield stage, service
    (root / "stderr.log").write_text("".join(service.lines))


def tokens_of(emulator: Emulator) -> list[str]:
    """Return the subscription keys that the vendor has given."""
    return list(emulator.subscription_keys().values())


def test_no_secret_is_in_anything_that_a_full_run_wrote(tmp_path: Path) -> None:
    """Sets that are delivered, refused, failed and held, calls of every kind that fail, commands: no secret anywhere."""
    faults = tuple(map(parse_fault, FAULTS))
    names = [f"set-{number}" for number in range(7)]
    settings = EmulatorSettings(
        preview_pixels=64, api_keys=(KEY,), waiting_seconds=0, generating_seconds=0.3, faults=faults
    )
    with Emulator(settings) as vendor, served(tmp_path / "root", vendor.base_url) as (stage, service):
        drop(stage, *names)
        service.until(*(rf" (archived|failed|held) {name} " for name in names))
        assert KEY not in seen_from_outside(service)
        held = [job for job in stage.data_here("list") if job["state"] == "held"]
        assert len(held) >= 3
        shown = "".join(
            stage.told_here("show", *words, job["id"]).output
            for job in held
            for words in ((), ("--json",), ("--output",))
        )
        _adopt(stage, held[0]["id"], vendor)
        for job in held[1:]:
            _give_up(stage, job["id"])
        service.until(rf" archived {held[0]['set']} ", *(rf" failed {job['set']} " for job in held[1:]))
        commands = shown + "".join(stage.told_here(*words).output for words in _looks(stage))
        tokens = tokens_of(vendor)
        assert traces(stage.root, [KEY]) == set()
        assert traces(stage.root, tokens) <= JOURNAL
        assert service.stop() == 0
    assert len(tokens) >= 4
    assert traces(tmp_path, [KEY, *tokens]) == set()
    assert not any(secret in commands for secret in (KEY, *tokens))
    assert vendor.ledger()["key_leaks"] == []
    log = (stage.root / "stderr.log").read_text()
    assert re.search(r"DEBUG +call: GET http://127\.0\.0\.1:\d+/results/[0-9a-f-]+/base_basic_pbr\.glb: HTTP 200", log)
    assert "?" not in "".join(re.findall(r"http://\S+", log))
    assert {"submit-429", "lost-answer", "status-error", "cut-download", "expired-link"} <= vendor.ledger()[
        "faults"
    ].keys()


def _adopt(stage: Stage, held: str, vendor: Emulator) -> None:
    """Tell the service which task the vendor has for a held job, and its key, which `ps` must not show."""
    known = {(stage.data_here("show", job["id"])["task"] or {}).get("uuid") for job in stage.data_here("list")}
    task = next(row["task_uuid"] for row in vendor.ledger()["charges"] if row["task_uuid"] not in known)
    token = vendor.subscription_keys()[task]
    answer = stage.told("resolve", held, "--task", task, "--subscription-key", "-", typed=token)
    assert answer.returncode == 0, answer.stderr


def _give_up(stage: Stage, job: str) -> None:
    assert stage.told("resolve", job, "--give-up").returncode == 0


def _looks(stage: Stage) -> list[tuple[str, ...]]:
    """Return what people may ask for, as the command line's words."""
    jobs = [job["id"] for job in stage.data_here("list")]
    return [
        ("status", "--json"),
        ("list", "--json"),
        ("check",),
        ("balance",),
        *(("show", "--json", job) for job in jobs),
    ]


def test_a_token_is_in_the_journal_alone_while_it_is_needed(tmp_path: Path) -> None:
    """While the vendor works: in the journal and nowhere else, not in the process's environment, not in its log."""
    settings = EmulatorSettings(preview_pixels=64, api_keys=(KEY,), waiting_seconds=3600)
    with Emulator(settings) as vendor, served(tmp_path / "root", vendor.base_url) as (stage, service):
        drop(stage, "chair")
        service.until(r" submitted chair ", r"DEBUG +call: POST .*/api/v2/status: HTTP 201")
        [token] = tokens_of(vendor)
        found = traces(stage.root, [token])
        assert found
        assert found <= JOURNAL
        assert token not in seen_from_outside(service)
        assert token not in stage.told("show", "chair", "--json").stdout
        assert service.stop() == 0
    assert traces(tmp_path, [token]) == {"journal.sqlite3"}


def parrot() -> Script:
    """Return a vendor that repeats all that it is told, where it can: in messages, words, names and addresses."""
    turns: Counter[str] = Counter()

    def script(conversation: Conversation) -> None:
        while True:
            request = conversation.request()
            path = request.line.split()[1].partition("?")[0].rpartition("/")[2]
            turns[path] += 1
            conversation.send(_squawk(path, turns[path], request))

    return script


def _squawk(path: str, turn: int, request: Received) -> bytes:
    echo = f"{request.headers.get('authorization')} {request.body[:300].decode('latin-1')} {request.line}"
    host = request.headers["host"]
    link = f"http://{host}/gone.glb?{QUERY}"
    refusal = {"error": "UNKNOWN", "message": echo}
    replies: dict[str, list[tuple[int, object]]] = {
        "rodin_texture_only": [
            (201, {"uuid": "u-1", "jobs": {"uuids": [echo], "subscription_key": TOKEN}, "message": echo})
        ],
        "status": [
            (400, refusal),
            (201, {"jobs": [{"status": echo}]}),
            (201, {"jobs": [{"status": "Done"}]}),
        ],
        "download": [
            (400, refusal),
            (201, {"list": [{"url": link, "name": f"{echo}{end}"} for end in (".glb", "preview.webp")]}),
        ],
        "check_balance": [(201, {"balance": 7, "message": echo})],
    }
    if path not in replies:
        return response(302, echo.encode(), f"Location: http://{host}/again.glb?{QUERY}&{turn}")
    status, reply = replies[path][min(turn, len(replies[path])) - 1]
    return response(status, json.dumps(reply).encode())


def test_a_vendor_that_repeats_everything_tells_nobody(tmp_path: Path) -> None:
    """Errors that hold the key, the token and links, redirects in circles: none of it reaches a file or a log."""
    with ScriptedServer(parrot()) as server, served(tmp_path / "root", server.url) as (stage, service):
        drop(stage, "chair")
        service.until("is redirected more than")
        shown = stage.told("show", "chair", "--json").stdout + stage.told("status").stdout
        assert traces(stage.root, [KEY, QUERY]) == set()
        assert service.stop() == 0
    log = (stage.root / "stderr.log").read_text()
    assert "[API key]" in log
    assert "[subscription key]" in log
    assert traces(tmp_path, [KEY, TOKEN, QUERY]) == set()
    assert not any(secret in shown for secret in (KEY, TOKEN, "hush-hush"))


def test_a_killed_service_leaves_no_key_behind(tmp_path: Path) -> None:
    """After `kill -9` no file holds the API key; the next run takes the tokens of ended jobs out of what was left."""
    settings = EmulatorSettings(preview_pixels=64, api_keys=(KEY,), waiting_seconds=0, generating_seconds=0)
    with Emulator(settings) as vendor:
        with served(tmp_path / "root", vendor.base_url) as (stage, service):
            drop(stage, "chair")
            service.until(r" archived chair ")
            service.process.kill()
        assert traces(stage.root, [KEY]) == set()
        again = stage.told("run", "--until-idle", "--verbose")
        assert again.returncode == 0, again.stderr
        assert traces(stage.root, [KEY, *tokens_of(vendor)]) == set()


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="there is no /proc here")
def test_no_core_dump_is_made_of_the_service(tmp_path: Path) -> None:
    """The service hides its memory when it starts: here it is seen by the limit."""
    with running(Stage(tmp_path / "root")) as service:
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)


def test_the_key_may_not_be_told_on_the_command_line() -> None:
    """There is no option for it: a command line is read by everybody on the machine."""
    shown = subprocess.run([*PROGRAM, "run", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--key" not in shown
