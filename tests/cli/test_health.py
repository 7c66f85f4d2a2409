"""`health`, as a probe calls it: beside real services that run, starve, freeze and end."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from cli_stage import Stage, running
from test_main import modules_after

from rodin_watchd.adapters.heartbeat import leave_heartbeat, sign_path
from rodin_watchd.adapters.ownership import Lock
from rodin_watchd.core.health import Health


def said(stage: Stage, *options: str) -> tuple[int, str]:
    """Return exit code and line."""
    run = stage.told("health", *options)
    assert run.stderr == ""
    [line] = run.stdout.splitlines()
    return run.returncode, line


def left(stage: Stage, **changes: object) -> None:
    """Leave a sign of life in this process's name."""
    health = {"at": time.time(), "monotonic": time.monotonic(), "running": 1, "held": 0, "inbox": {}, "paused": ()}
    standing = {"oldest_seconds": {}, "overdue_seconds": 0.0, "overdue": ""}
    leave_heartbeat(sign_path(stage.journal), Health(**{**health, **standing, **changes}))  # type: ignore[arg-type] # as above


def test_a_service_from_its_start_to_its_end(served: Stage) -> None:
    """Not running, running, frozen by SIGSTOP, running again, ended: each with its line and exit code."""
    assert said(served)[0] == 1
    with running(served) as service:
        while (answer := said(served))[1] == "starting: no tick yet":
            pass
        assert answer[0] == 0, answer
        assert re.fullmatch(r"ok: last tick \d\.\d s ago; 0 running, 0 held, 0 in the inbox", answer[1])
        service.process.send_signal(signal.SIGSTOP)
        while (answer := said(served, "--tick-seconds", "1.5"))[0] == 0:
            pass
        assert answer[1].startswith("stuck: the last tick was ")
        assert said(served)[0] == 0  # by default it may be 30 s old
        service.process.send_signal(signal.SIGCONT)
        while said(served, "--tick-seconds", "1.5")[0] == 1:
            pass
        assert service.stop() == 0
    assert said(served) == (1, "not running")


def test_the_sign_of_one_who_is_dead_counts_for_nothing(stage: Stage) -> None:
    """A fresh sign without a lock is no life; a lock with another one's sign is a start that has not ticked yet."""
    stage.journaled()
    left(stage)
    lock = stage.journal.with_name("lock")
    with Lock(lock):
        assert said(stage)[0] == 0
        lock.write_text(lock.read_text().replace(str(os.getpid()), "1"))
        assert said(stage) == (1, "starting: no tick yet")
    assert said(stage) == (1, "not running")


def test_a_set_that_should_have_moved_is_ill_health(stage: Stage) -> None:
    """It is named, and how long one may stand still is an option."""
    stage.journaled()
    left(stage, overdue_seconds=3600.0, overdue="oak/chair")
    with Lock(stage.journal.with_name("lock")):
        assert said(stage) == (1, "stuck: “oak/chair” should have moved 60 min ago")
        assert said(stage, "--set-seconds", "4000")[0] == 0


def test_a_pause_is_told_and_no_ill_health(stage: Stage) -> None:
    """Starting the service anew would bring no credits."""
    stage.journaled()
    left(stage, paused=("submit",))
    with Lock(stage.journal.with_name("lock")):
        code, line = said(stage)
        assert code == 0
        assert line.endswith("; paused: submit")


def test_a_locked_journal_is_told_by_health_and_status(served: Stage) -> None:
    """The journal's own page is from before: both say what the sign of life knows, and only for as long as it is so."""
    with running(served):
        while not said(served)[1].startswith("ok"):
            pass
        with closing(sqlite3.connect(served.journal, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
            while "paused" not in (line := said(served)[1]):
                pass
            assert "paused: journal: nothing has moved for " in line
            assert "Another program keeps the journal locked." in line
            page = served.told("status").stdout
            assert "Nothing has moved since " in page
            assert "Another program keeps the journal locked." in page
            [notice] = served.data("status")["page"]["notices"]
            assert "what the journal shows is as of then" in notice
        while "paused" in said(served)[1]:
            pass
        assert "Nothing has moved" not in served.told("status").stdout


def test_a_broken_config_is_wrong_use(stage: Stage) -> None:
    """Exit code 2 is no verdict about the service."""
    stage.config.write_text("[api]\nmax_in_flight = 0\n")
    assert stage.told("health").returncode == 2


def test_it_is_light(tmp_path: Path) -> None:
    """It loads no daemon, no HTTP, no database: a probe may call it every few seconds."""
    loaded = modules_after("health", "--help", cwd=tmp_path)
    assert not {"sqlite3", "requests", "urllib3", "PIL", "watchdog", "rich", "prometheus_client"} & loaded
    assert not {
        name for name in loaded if name.startswith(("rodin_watchd.service", "rodin_watchd.adapters.store.sqlite"))
    }
