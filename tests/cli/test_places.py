"""Folders that go and come, and daemons elsewhere, as the command line sees them."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from cli_stage import Stage, running
from places import share
from strangers import filled_up

from rodin_watchd.adapters.ownership import Holder, myself
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.mounts import read_mark
from rodin_watchd.adapters.store.backup import make_backup
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.cli.check.findings import Level
from rodin_watchd.cli.check.service import leased
from rodin_watchd.core.layout import MARK
from rodin_watchd.errors import JournalError

FAR = Holder("far", 7, "boot-far", "space", "started", "nonce")


def found(stage: Stage) -> Mapping[str, Mapping[str, Any]]:
    """Return the findings of `check --offline --json` by their names."""
    told = stage.told_here("check", "--json", "--offline").stdout
    return {finding["name"]: finding for finding in json.loads(told)["checks"]}


@contextmanager
def a_root_that_can_go(tmp_path: Path, base_url: str) -> Iterator[tuple[Any, Stage]]:
    """Give a share that is a root, with config and journal elsewhere; the service has run there once."""
    with share(tmp_path / "disk", tmp_path / "share", size="24m") as root:
        stage = Stage(tmp_path / "home", base_url)
        (root.place / "inbox").mkdir()
        folders = f'[folders]\nroot = "{root.place}"\nstate = "{tmp_path / "state"}"\nreserve_megabytes = 0\n'
        stage.config.write_text(folders + stage.config.read_text())
        run = stage.told("run", "--until-idle")
        assert run.returncode == 0, run.stderr
        yield root, stage


def test_a_root_that_is_away(tmp_path: Path, served: Stage) -> None:
    """`run` waits for it and serves it when it comes; `--until-idle` fails; `check` and `status` say what is wrong."""
    with a_root_that_can_go(tmp_path, served.base_url) as (root, stage):
        root.go()
        run = stage.told("run", "--until-idle")
        assert run.returncode == 1
        assert "is away" in run.stderr
        assert found(stage)["mounts"]["verdict"] == "problem"
        assert "rodin-watchd accept root" in found(stage)["mounts"]["advice"]
        assert {"folders", "watching"}.isdisjoint(found(stage))
        assert "AWAY: root" in stage.told_here("status").output
        command = stage.command("run")
        with subprocess.Popen(command, env=stage.environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr
                assert "is away" in process.stderr.readline()
                assert list(root.place.iterdir()) == []
                root.come()
                assert "online: root" in process.stderr.readline()
                assert "serving" in process.stderr.readline()
                assert "watching" in process.stderr.readline()
                root.go()
                while "offline: root" not in process.stderr.readline():
                    pass
                pages = (stage.told_here("status").output for _ in range(1000))  # the page is written a moment later
                told = next(page for page in pages if f"AWAY: root, {root.place}" in page)
                assert told.startswith("Running")
                assert "is away" not in stage.told_here("pause").output
                assert list(root.place.iterdir()) == []
                root.come()
                while "online: root" not in process.stderr.readline():
                    pass
            finally:
                process.kill()


def test_a_moved_root_is_accepted(tmp_path: Path, served: Stage) -> None:
    """After a question, the mark is left, and the service serves it; a folder without the service's mark is refused before."""
    with a_root_that_can_go(tmp_path, served.base_url) as (root, stage):
        before = read_mark(root.place)
        root.go()
        (root.place / "inbox").mkdir()
        assert stage.told("run", "--until-idle").returncode == 1
        asked = stage.told_here("accept", "root", typed="n\n")
        assert asked.exit_code == 1
        assert "has no mark" in asked.output
        assert not (root.place / MARK).exists()
        assert stage.told("accept", "root", "--yes").returncode == 0
        accepted = read_mark(root.place)
        assert before is not None
        assert accepted == replace(before, accepted_from=before.journal)  # what was about to be sent is held first
        assert stage.told("run", "--until-idle").returncode == 0
        assert read_mark(root.place) == before
        assert "All folders are those" in found(stage)["mounts"]["text"]


def test_a_lost_journal_is_accepted(served: Stage) -> None:
    """Only when a person says so is a root served whose history is gone."""
    assert served.told("run", "--until-idle").returncode == 0
    served.journal.unlink()
    refused = served.told("run", "--until-idle")
    assert refused.returncode == 1
    assert "it was removed or emptied" in refused.stderr
    assert "it was removed or emptied" in found(served)["mounts"]["text"]
    assert served.told("accept", "root", "--yes").returncode == 0
    assert served.told("run", "--until-idle").returncode == 0


def test_a_copied_root_is_told_and_accepted_after_a_plain_question(tmp_path: Path, served: Stage) -> None:
    """`run` takes nothing, `check` and `status` say why; the question says what must not run any more."""
    assert served.told("run", "--until-idle").returncode == 0
    copy = Stage(tmp_path / "copy", served.base_url)
    shutil.rmtree(copy.root)
    subprocess.run(["cp", "-a", str(served.root), str(copy.root)], check=True)
    mark = (copy.root / MARK).read_bytes()
    (copy.root / MARK).unlink()
    assert "The root has no mark, so it may be a copy" in copy.told_here("check", "--offline").output
    (copy.root / MARK).write_bytes(mark)
    run = copy.told("run", "--until-idle")
    assert "copied: The root or its journal was copied or moved" in run.stderr
    assert found(copy)["mounts"]["verdict"] == "problem"
    assert "rodin-watchd accept root" in found(copy)["mounts"]["advice"]
    assert "COPIED OR MOVED" in copy.told_here("status").output
    asked = copy.told_here("accept", "root", typed="n\n")
    assert "must not run any more" in asked.output
    assert str(served.journal) in asked.output
    assert copy.told_here("accept", "root", "--yes").exit_code == 0
    assert found(copy)["mounts"]["verdict"] == "ok"
    assert copy.told("run", "--until-idle").returncode == 0
    assert found(served)["mounts"]["verdict"] == "ok"


def test_check_says_that_sets_are_copied(tmp_path: Path, stage: Stage) -> None:
    """An inbox that is a filesystem of its own is no problem; what it means is told, and no probe stays."""
    with share(tmp_path / "disk", stage.root / "inbox") as inbox:
        Spool(stage.root).prepare()
        told = stage.told_here("check", "--offline").output
        assert "sets are copied" in told
        assert not [path for path in inbox.place.iterdir() if "probe" in path.name]


def test_what_is_not_there_cannot_be_accepted(served: Stage) -> None:
    """There is nothing to leave the mark in."""
    run = served.told("accept", "outbox", "--yes")
    assert run.returncode == 1
    assert "There is no folder" in run.stderr


# ---- who serves the root --------------------------------------------------------------------------------------------


def lease(stage: Stage) -> Path:
    """Return where the lease lies."""
    path = stage.root / ".rodin-watchd" / "lease"
    path.parent.mkdir(exist_ok=True)
    return path


def test_a_lease_that_was_left_behind(stage: Stage) -> None:
    """By a process of this machine that has ended."""
    lease(stage).write_text(json.dumps(asdict(replace(myself(), pid=2**22 - 1, started="1"))))
    finding = found(stage)["service"]
    assert finding["verdict"] == "ok"
    assert "is still there" in finding["text"]


def test_a_silent_lease_of_another_machine(stage: Stage) -> None:
    """Its holder is named, as a warning."""
    path, instants = lease(stage), iter(range(100))
    path.write_text(json.dumps(asdict(FAR)))
    silent = leased(path, path.read_bytes(), lambda: float(next(instants)), lambda _seconds: None)
    assert silent.verdict is Level.WARNING
    assert "process 7 on far, which showed no activity" in silent.text


def test_a_lease_of_another_machine(stage: Stage) -> None:
    """Whoever gives a sign of life is named."""
    path = lease(stage)
    path.write_text(json.dumps(asdict(FAR)))
    beat, end = threading.Event(), threading.Event()

    def live() -> None:
        for number in range(1, 1000):
            if end.wait(0.2):
                return
            path.with_name("part").write_text(json.dumps(asdict(replace(FAR, beat=number))))
            path.with_name("part").replace(path)
            beat.set()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        assert beat.wait(10)
        assert "Running on another machine: Another rodin_watchd (process 7 on far)" in found(stage)["service"]["text"]
    finally:
        end.set()
        thread.join()


def test_a_second_start_is_refused_by_the_lease(served: Stage) -> None:
    """Its holder is named, though no lock of this machine is held."""
    served.config.write_text('[folders]\nlease = "always"\n' + served.config.read_text())
    with running(served):
        run = served.told("run", "--until-idle")
        assert run.returncode == 1
        assert "Another rodin_watchd serves this folder" in run.stderr
    assert lease(served).exists()  # killed
    assert served.told("run", "--until-idle").returncode == 0
    assert not lease(served).exists()


# ---- the journal ----------------------------------------------------------------------------------------------------


def test_a_damaged_journal(served: Stage) -> None:
    """`run` refuses it and `check` reports it, each with the commands that put the backup back."""
    assert served.told("run", "--until-idle").returncode == 0
    assert "not backed up yet" in found(served)["journal"]["text"]
    make_backup(served.journal, 1_700_000_000.0)
    whole = served.journal.read_bytes()
    served.journal.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    run = served.told("run", "--until-idle")
    assert run.returncode == 1
    assert "cp -p journal.backup.sqlite3 journal.sqlite3" in run.stderr
    finding = found(served)["journal"]
    assert finding["verdict"] == "problem"
    assert "cp -p journal.backup.sqlite3 journal.sqlite3" in finding["advice"]


def test_the_journals_disk_is_full(tmp_path: Path, stage: Stage) -> None:
    """What the journal cannot say itself any more, `status` and `check` see for themselves."""
    with share(tmp_path / "disk", tmp_path / "state", size="8m") as state:
        stage.config.write_text(f'[folders]\nstate = "{state.place}"\n' + stage.config.read_text())
        with closing(Journal(state.place / "journal.sqlite3")) as journal:
            journal.set_meta("any", 1)
        assert "is full" not in stage.told_here("status").output
        filled_up(state.place / "filler")
        assert "is full: the service does nothing" in stage.told_here("status").output
        assert found(stage)["journal"]["verdict"] == "ok"  # whole, but
        told = stage.told_here("check", "--offline").output
        assert "PROBLEM  journal: The disk with the journal" in told
        assert "Make free space there" in stage.told("pause").stderr


def test_no_backup_without_a_journal(tmp_path: Path) -> None:
    """A missing journal is not replaced by an empty copy."""
    with pytest.raises(JournalError, match="cannot be made"):
        make_backup(tmp_path / "journal.sqlite3", 0.0)
    assert list(tmp_path.iterdir()) == []
