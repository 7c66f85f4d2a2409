"""`check` by somebody else than the service: what cannot be seen is told as such, and nothing is made up."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Mapping
from typing import Any

import pytest
from cli_stage import Stage, by_user, environment, running
from strangers import IS_ROOT, NOBODY, as_nobody, public_folder
from test_doctor import set_up

from rodin_watchd.adapters.ownership import Lock

GROUP = 54_321
pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root may run processes of two users")


def seen_by_nobody(stage: Stage, **variables: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the findings of `check` by a user who owns nothing, by their names."""
    stage.told_here("check", "--offline")  # loads all modules
    stage.environment = environment(HOME="/nonexistent", **variables)
    stage.told_here("check", "--json", "--offline")  # loads now what the other user may not read
    told = as_nobody(lambda: stage.told_here("check", "--json", "--offline").output)
    return {finding["name"]: finding for finding in json.loads(told)["checks"]}


def test_a_stranger_is_told_what_he_cannot_see() -> None:
    """With a closed state folder it is unknown whether the service runs: neither "not running" nor "another program"."""
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with public_folder() as home:
        stage = set_up(Stage(home / "share"), f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
        (stage.root / ".rodin-watchd").chmod(0o700)
        with running(stage):
            findings = seen_by_nobody(stage)
    assert findings["service"]["verdict"] == "warning"
    assert findings["service"]["text"].startswith(
        "It is not visible whether it runs: this user has no permission to read "
    )
    assert (findings["metrics"]["verdict"], findings["metrics"]["text"]) == ("ok", f"127.0.0.1:{port} is served.")
    assert "The journal belongs to root, and this user is nobody" in findings["user"]["text"]


def test_a_closed_home_is_no_problem_of_the_unit() -> None:
    """With the HOME of somebody else, as setpriv and sudo may leave it, units are looked for where one may look."""
    with public_folder() as home:
        stage = set_up(Stage(home / "share"))
        closed = home / "closed"
        (closed / ".config" / "systemd" / "user").mkdir(parents=True)
        closed.chmod(0o700)
        stage.told_here("check", "--offline")
        stage.environment = environment(HOME=str(closed))
        stage.told_here("check", "--offline")  # loads now what the other user may not read
        told = as_nobody(lambda: stage.told_here("check", "--offline").output)
    (unit,) = [line for line in told.splitlines() if line.split()[1] == "unit:"]
    assert unit.startswith("ok ")


def test_groups_that_the_process_alone_has_count() -> None:
    """A running service may give the group that it was started with, though its user's account is not in it."""
    with public_folder() as home:
        stage = set_up(Stage(home / "share"), f'[output]\nmode = "0640"\ngroup = "{GROUP}"\n')
        for folder in (stage.root, *stage.root.rglob("*")):
            os.chown(folder, NOBODY, GROUP)
        with running(stage, before=by_user(NOBODY, GROUP)):
            finding = seen_by_nobody(stage)["outputs"]
    assert finding["verdict"] == "ok", finding
    assert f"{pwd.getpwuid(NOBODY).pw_name}:{GROUP}, files 0640" in finding["text"]


def test_a_service_outside_the_folders_group_is_to_join_it() -> None:
    """Where it may not give the group that has the folders, neither set-gid nor output.group alone would help."""
    with public_folder() as home:
        stage = set_up(Stage(home / "share"))
        for folder in (stage.root, *stage.root.rglob("*")):
            os.chown(folder, NOBODY, GROUP)
        with running(stage, before=("sh", "-c", 'umask 027; exec "$@"', "sh", *by_user(NOBODY))):
            told = [line for line in stage.told("check", "--offline").stdout.splitlines() if " outputs: " in line]
    warning, _ = told
    name = pwd.getpwuid(NOBODY).pw_name
    assert warning.startswith("warning  outputs: outbox, failed, archive: ")
    assert f'Run `usermod -aG {GROUP} {name}`, set output.group = "{GROUP}", and start the service again.' in warning


def test_explain_does_not_guess_whether_the_service_runs() -> None:
    """To a stranger who may not see the root's lock it says so, and tells all else."""
    with public_folder() as home:
        stage = set_up(Stage(home / "share"), f'[folders]\nstate = "{home}"\n')
        (stage.root / ".rodin-watchd").chmod(0o700)
        stage.inbox.chmod(0o777)
        stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
        stage.told_here("explain", str(stage.inbox / "chair.glb"))  # loads now what the other user may not read
        told = as_nobody(lambda: stage.told_here("explain", str(stage.inbox / "chair.glb")).output)
    assert "This user cannot see whether the service runs." in told
    assert "is not running" not in told


def test_a_lock_that_may_not_be_read_is_not_free() -> None:
    """`health` says that it does not know, instead of "not running"."""
    with public_folder() as home:
        stage = set_up(Stage(home / "share"))
        stage.journaled()
        lock = stage.journal.with_name("lock")
        with Lock(lock):
            lock.chmod(0o600)
            stage.told_here("health")  # loads now what the other user may not read
            told = as_nobody(lambda: stage.told_here("health").output)
    assert told == f"unknown: this user may not read {lock}\n"


def test_a_service_that_may_not_ask_who_writes_the_files_of_others() -> None:
    """Where other people drop files, `check` says that the one capability is missing, what follows, and how to give it."""
    with public_folder() as home:
        stage = set_up(Stage(home / "share"))
        for folder in (stage.root, *stage.root.rglob("*")):
            os.chown(folder, NOBODY, GROUP)
        (stage.root / "inbox").chmod(0o2770)
        with running(stage, before=by_user(NOBODY, GROUP)):
            finding = seen_by_nobody(stage)["writers"]
    if "does not say here" in finding["text"]:
        pytest.skip("the filesystem of the temporary folder grants no leases")
    assert finding["verdict"] == "warning"
    assert "of other users' files nothing (no CAP_LEASE)" in finding["text"]
    assert "AmbientCapabilities=CAP_LEASE" in finding["advice"]
