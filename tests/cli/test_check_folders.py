"""`check` about folders: what the service may do in them, by its own rights, and the room on each filesystem."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from cli_stage import PROGRAM, Stage, by_user, environment, running
from strangers import IS_ROOT, filled_up, mounted, public_folder
from test_check import found
from test_doctor import set_up

from rodin_watchd.adapters.spool.mounts import mark_text
from rodin_watchd.cli.check.findings import Level
from rodin_watchd.cli.check.folders import room_finding
from rodin_watchd.core.layout import MARK
from rodin_watchd.core.mounts import Mark

SERVICE, ARTIST = 54_320, 54_343
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root may run processes of other users")


@pytest.fixture
def share() -> Iterator[Stage]:
    """Give a share whose folders are the service's."""
    with public_folder() as home:
        stage = set_up(Stage(home / "share"))
        for folder in (stage.root, *stage.root.rglob("*")):
            os.chown(folder, SERVICE, SERVICE)
        yield stage


def told_of(stage: Stage, name: str) -> list[tuple[str, str]]:
    """Return verdict and text of each finding of a name."""
    lines = [line.split(maxsplit=2) for line in stage.told("check", "--offline").stdout.splitlines()]
    return [(verdict, text) for verdict, found_name, text in lines if found_name == f"{name}:"]


@needs_root
def test_root_is_told_what_the_running_service_may_do(share: Stage) -> None:
    """Sub-folders of the inbox out of which the service may not move sets are named, however much root may do."""
    for name, mode, owner in (
        ("artist", 0o755, ARTIST),
        ("closed", 0o000, ARTIST),
        ("sticky", 0o1777, ARTIST),
        ("open", 0o777, ARTIST),
        ("own", 0o700, SERVICE),
    ):
        (share.inbox / name).mkdir()
        os.chown(share.inbox / name, owner, owner)
        (share.inbox / name).chmod(mode)
    with running(share, before=by_user(SERVICE)):
        (first, second) = told_of(share, "folders")
    assert first == ("ok", f"Those in {share.root} can be read and written by {SERVICE}.")
    assert second[0] == "warning"
    assert second[1].startswith(f"{SERVICE} has no permission to take files from ")
    named = {word.rpartition("/")[2] for word in second[1].split() if "/inbox" in word}
    assert named == {"artist", "closed", "sticky"}
    assert f"{share.inbox}/artist (drwxr-xr-x, {ARTIST}'s)" in second[1]


@needs_root
@pytest.mark.parametrize(
    ("mode", "gid", "said"),
    [
        (0o2775, SERVICE, "can be read by 54320, not emptied: its sets are copied, delivered, and stay in the inbox"),
        (0o777, ARTIST, "can be read by 54320, not emptied"),
        (0o755, SERVICE, None),
    ],
)
def test_what_a_member_of_the_group_would_make_is_tried(share: Stage, mode: int, gid: int, said: str | None) -> None:
    """By root, for the running service, and by the service's user alone; nothing of it stays behind."""
    os.chown(share.inbox, SERVICE, gid)
    share.inbox.chmod(mode)
    with running(share, before=by_user(SERVICE)):
        by_root = [text for _, text in told_of(share, "folders") if "mode 2755" in text]
    by_itself = subprocess.run(
        [*by_user(SERVICE), *PROGRAM, "check", "--offline", "--config", str(share.config)],
        env=environment(RODIN_API_KEY="key", HOME="/nonexistent"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    ).stdout
    assert [(said or "") in text for text in by_root] == ([True] if said else []), by_root
    assert ("mode 2755" in by_itself) is bool(said), by_itself
    assert said is None or said in by_itself
    assert [path.name for path in share.inbox.iterdir() if "probe" in path.name] == []


@needs_root
def test_a_folder_that_the_running_service_may_not_write_is_a_problem(share: Stage) -> None:
    """Root, who may, is told that the service may not."""
    with running(share, before=by_user(SERVICE)):
        os.chown(share.root / "failed", 0, 0)
        finding = found(share, "--offline")["folders"]
    assert finding["verdict"] == "problem"
    assert finding["text"] == f"{share.root}/failed cannot be written by this user."
    assert f"This user is {SERVICE}:" in finding["advice"]


def test_a_file_in_the_place_of_the_inbox_is_a_problem(stage: Stage) -> None:
    """The start cannot make a folder there, and is not promised to; folders that are missing are told beside it."""
    stage.inbox.rmdir()
    stage.inbox.touch()
    told = told_of(stage, "folders")
    assert [verdict for verdict, _ in told] == ["warning", "PROBLEM"]
    assert "inbox" not in told[0][1].removeprefix(f"Not in {stage.root} yet")
    assert told[1][1].startswith(f"{stage.inbox} is not a folder.")


def test_an_empty_root_that_the_start_refuses_is_a_problem(stage: Stage) -> None:
    """What may be a bare mount point is told as the start tells it; folders that the start makes are not promised there."""
    root = stage.root / "bare"
    root.mkdir()
    stage.config.write_text(f'{stage.config.read_text()}[folders]\nroot = "{root}"\n')
    told = f"The folder {root} is not set up: it has neither inbox nor config.toml."
    [(verdict, text)] = told_of(stage, "folders")
    assert (verdict, text.startswith(f"{told} Mount the share")) == ("PROBLEM", True)
    assert told in stage.told("run").stderr
    (root / "inbox").mkdir()
    assert [verdict for verdict, _ in told_of(stage, "folders")] == ["warning"]


def test_a_root_in_the_inbox_of_another_service_is_told(stage: Stage) -> None:
    """Each leaves alone what the other one serves; but nobody wants it so."""
    (stage.root.parent / MARK).write_text(mark_text(Mark("1234", "inbox")))
    told = [text for verdict, text in told_of(stage, "folders") if verdict == "warning"]
    assert any(
        f"{stage.root} is in {stage.root.parent}, which is a folder of another service." in text for text in told
    )


def test_a_full_outbox_is_a_problem(stage: Stage) -> None:
    """Each filesystem has its line for kind and room: one with nothing free is a problem, whatever is free elsewhere."""
    set_up(stage)
    with mounted(stage.root / "outbox", "1m") as outbox:
        filled_up(outbox / "ballast")
        room = told_of(stage, "room")
        kinds = dict(text.split(": ") for _, text in told_of(stage, "filesystem") if text.startswith("On "))
    assert ("PROBLEM", "Only 0 MB are free for outbox. Files that do not fit there wait: make free space.") in room
    assert any(verdict == "ok" and "unfinished results, failed, archive" in text for verdict, text in room)
    assert kinds["On tmpfs"].rstrip(".").split(", ")[-1] in {"outbox", "archive"}
    assert "outbox" in kinds["On tmpfs"]


@pytest.mark.parametrize(
    ("free", "reserve", "takes", "verdict"),
    [
        (10**9, 10**9, True, Level.OK),
        (10**9 - 1, 10**9, True, Level.PROBLEM),
        (10**9 - 1, 10**9, False, Level.WARNING),
        (999_999, 10**9, False, Level.PROBLEM),
        (999_999, 0, True, Level.PROBLEM),
        (1_000_000, 0, False, Level.OK),
    ],
)
def test_how_much_room_is_enough(free: int, reserve: int, takes: bool, verdict: Level) -> None:
    """Below the reserve nothing is taken; elsewhere that is a warning, until there is no room at all."""
    assert room_finding("outbox", free, reserve, takes=takes).verdict is verdict
