"""`check` as a doctor: what will be published and for whom, the clock, the unit and its score, metrics, kernel limits."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cli_stage import Stage, a_job, running
from test_check import found

from rodin_watchd.cli.check import limits_finding
from rodin_watchd.cli.check.findings import Level, User
from rodin_watchd.cli.check.folders import look_in
from rodin_watchd.cli.check.service import GOOD_SCORE, clock_finding, score_of, unit_findings
from rodin_watchd.core.layout import ARCHIVE, FAILED, OUTBOX

GROUP = 54_321
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root may give files to any group")
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")


def set_up(stage: Stage, sections: str = "") -> Stage:
    """Make all folders, and add to the config."""
    for name in (OUTBOX, FAILED, ARCHIVE, ".rodin-watchd/work"):
        (stage.root / name).mkdir(parents=True, exist_ok=True)
    stage.config.write_text(stage.config.read_text() + sections)
    return stage


def outputs(stage: Stage, mask: int = 0o022) -> list[tuple[str, str, str]]:
    """Return the findings about outputs, for a process with this umask."""
    run = stage.told("check", "--offline", umask=mask)
    lines = [line.split(maxsplit=2) for line in run.stdout.splitlines() if line.split()[1] == "outputs:"]
    return [(verdict, name, text) for verdict, name, text in lines]


def test_what_will_be_published_is_told(stage: Stage) -> None:
    """By the umask of whoever asks, as long as no service runs, and by the configured mode whatever the umask."""
    set_up(stage)
    [(verdict, _, text)] = outputs(stage)
    assert verdict == "ok"
    assert text.startswith("Files that this user, with this umask, publishes in outbox, failed, archive will be ")
    assert text.endswith("files 0644 (-rw-r--r--), folders 0755.")
    set_up(stage, '[output]\nmode = "0664"\n')
    assert outputs(stage, 0o077)[-1][2].endswith("files 0664 (-rw-rw-r--), folders 0775.")


def test_results_that_nobody_else_can_read_are_a_warning(stage: Stage) -> None:
    """With the umask 077 the advice names the key to set."""
    (first, *_) = outputs(set_up(stage), 0o077)
    assert first[0] == "warning"
    assert "will be able to read files that are published in outbox" in first[2]
    assert "output.mode" in first[2]


@needs_root
def test_a_group_that_may_read_but_not_enter_is_a_warning(stage: Stage) -> None:
    """The folder in the way is named with the command that opens it; set-gid folders are told apart."""
    set_up(stage, f'[output]\nmode = "0640"\ngroup = "{GROUP}"\n')
    for name in ("", OUTBOX, FAILED):
        os.chown(stage.root / name, -1, GROUP)
        (stage.root / name).chmod(0o2770)
    (stage.root / ARCHIVE).chmod(0o750)
    found_here = outputs(stage)
    warnings = [text for verdict, _, text in found_here if verdict == "warning"]
    assert len(warnings) == 1
    assert (
        f"The group {GROUP} may read files that are published in archive, but not enter {stage.root}/archive."
        in warnings[0]
    )
    assert f"chgrp {GROUP} {stage.root}/archive" in warnings[0]
    told = [text for verdict, _, text in found_here if verdict == "ok"]
    assert [text.partition(" will be ")[2] for text in told] == [
        f"root:{GROUP}, files 0640 (-rw-r-----), folders 2750.",
        f"root:{GROUP}, files 0640 (-rw-r-----), folders 0750.",
    ]


@needs_root
def test_no_folder_is_taken_from_its_group(stage: Stage) -> None:
    """Results that would not be readable by the group of the folders: told once, with advice that keeps the group's rights."""
    set_up(stage)
    folders = [stage.root, *(stage.root / name for name in (OUTBOX, FAILED, ARCHIVE))]
    for mode in (0o750, 0o755):
        for folder in folders:
            os.chown(folder, -1, GROUP)
            folder.chmod(mode)
        warnings = [text for verdict, _, text in outputs(stage, 0o027) if verdict == "warning"]
        (told,) = warnings
        assert told.startswith(
            f"outbox, failed, archive: the group of the folder is {GROUP}, but only root will be able"
        )
        assert f'chmod g+s {" ".join(map(str, folders[1:]))}`, or set output.group = "{GROUP}".' in told
        assert "chgrp" not in told
    for folder in folders[1:]:
        folder.chmod(0o2750)
    assert [verdict for verdict, *_ in outputs(stage, 0o027)] == ["ok"]


@needs_root
def test_the_root_is_opened_and_not_given_away(stage: Stage) -> None:
    """Where the root keeps the readers out it is named once, and stays its group's."""
    set_up(stage)
    for name in (OUTBOX, FAILED, ARCHIVE):
        os.chown(stage.root / name, -1, GROUP)
        (stage.root / name).chmod(0o2750)
    os.chown(stage.root, -1, GROUP + 1)
    stage.root.chmod(0o750)
    (told,) = [text for verdict, _, text in outputs(stage, 0o027) if verdict == "warning"]
    assert told.startswith(
        f"The group {GROUP} may read files that are published in outbox, failed, archive, but not enter"
    )
    assert told.endswith(f"Run: chmod o+x {stage.root}")


def test_set_gid_gives_no_group_that_the_service_is_not_in(tmp_path: Path) -> None:
    """What is moved into a set-gid folder keeps the service's group unless the service may give the folder's."""
    os.chown(tmp_path, -1, os.getegid())
    tmp_path.chmod(0o2755)
    status, stranger = tmp_path.stat(), User(uid=5, gid=7, groups=(), umask=0o027, serves=False, has_lease=False)
    assert look_in(status, stranger, None, None).gid == 7
    assert look_in(status, replace(stranger, groups=(status.st_gid,)), None, None).gid == status.st_gid


def test_an_unknown_group_is_a_problem(stage: Stage) -> None:
    """It is found before the service refuses to start."""
    set_up(stage, '[output]\ngroup = "no-such-group"\n')
    finding = found(stage, "--offline")["outputs"]
    assert (finding["verdict"], finding["text"]) == (
        "problem",
        "There is no group “no-such-group” on this machine (output.group).",
    )


@needs_root
def test_a_check_by_another_user_than_the_services_is_noticed(stage: Stage) -> None:
    """What root may do says nothing of the service; the advice is the right command."""
    set_up(stage).journaled(a_job())
    os.chown(stage.journal, 54_320, -1)
    finding = found(stage, "--offline")["user"]
    assert finding["verdict"] == "warning"
    assert f"`runuser -u 54320 -- rodin-watchd check --config {stage.config}`" in finding["advice"]


def test_the_running_service_is_asked_for_its_umask(served: Stage) -> None:
    """Its own umask counts, not that of the shell; and the line about it tells its health."""
    before = os.umask(0o027)
    try:
        with running(served) as service:
            while "0 in the inbox" not in served.told("health").stdout:
                pass
            told = outputs(served, 0o077)
            health = found(served)["service"]["text"]
            service.stop()
    finally:
        os.umask(before)
    assert told[0][2].startswith("Files that the running service publishes in outbox, failed, archive will be ")
    assert "files 0640 (-rw-r-----), folders 0750" in told[0][2]
    assert f"pid {service.process.pid}; ok: last tick " in health


def test_how_things_look_in_a_folder(tmp_path: Path) -> None:
    """Set-gid folders give group and bit, else the writer's group holds; a configured group wins."""
    tmp_path.chmod(0o2755)
    writer = User(uid=0, gid=7, groups=(), umask=0o027, serves=False, has_lease=False)
    status = tmp_path.stat()
    look = look_in(status, writer, None, None)
    assert (look.gid, look.mode, look.folder_mode) == (status.st_gid, 0o640, 0o2750)
    look = look_in(status, writer, 0o664, 9)
    assert (look.gid, look.mode, look.folder_mode) == (9, 0o664, 0o2775)
    tmp_path.chmod(0o755)
    look = look_in(tmp_path.stat(), writer, 0o600, None)
    assert (look.gid, look.mode, look.folder_mode) == (7, 0o600, 0o700)


def test_a_clock_that_cannot_be_right() -> None:
    """A year before this program existed is a problem; one behind the journal's newest line is a warning."""
    now = 1_790_000_000.0
    assert clock_finding(now, None).verdict is Level.OK
    assert clock_finding(now, now - 5).text.endswith(", later than the newest entry of the journal.")
    assert clock_finding(now, now + 30).verdict is Level.OK
    behind = clock_finding(now, now + 3600)
    assert behind.verdict is Level.WARNING
    assert "the journal knows of" in behind.text
    for wrong in (0.0, 5e9):
        assert clock_finding(wrong, None).verdict is Level.PROBLEM
    assert clock_finding(0.0, now).text == "The clock shows the year 1970."


def test_the_journals_newest_instant_is_compared(stage: Stage) -> None:
    """A job from tomorrow means that the clock was set back."""
    set_up(stage).journaled(a_job(created_at=time.time() + 86_400))
    finding = found(stage, "--offline")["clock"]
    assert (finding["verdict"], "timedatectl" in finding["advice"]) == ("warning", True)


@needs_systemd
def test_a_units_score_is_told(tmp_path: Path) -> None:
    """A unit that is not shut in is a warning with its score; one that is, with its drop-ins, is ok."""
    unit = tmp_path / "rodin-watchd.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    [finding] = unit_findings([tmp_path / "nowhere", tmp_path])
    assert finding.verdict is Level.WARNING
    assert f"{unit} is installed; its exposure is 9.6 of 10" in finding.text
    drop_in = tmp_path / "rodin-watchd.service.d" / "shut.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(
        "[Service]\nDynamicUser=yes\nPrivateNetwork=yes\nCapabilityBoundingSet=\nSystemCallFilter=@basic-io\n"
        "SystemCallArchitectures=native\nRestrictNamespaces=yes\nProtectSystem=strict\nProtectHome=yes\n"
        "PrivateDevices=yes\nPrivateUsers=yes\nProtectKernelModules=yes\nProtectKernelTunables=yes\n"
        "ProtectKernelLogs=yes\nProtectControlGroups=yes\nProtectClock=yes\nProtectHostname=yes\nProtectProc=invisible\n"
        "ProcSubset=pid\nLockPersonality=yes\nMemoryDenyWriteExecute=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\n"
        "RestrictAddressFamilies=none\nIPAddressDeny=any\nUMask=0077\nNoNewPrivileges=yes\n"
    )
    score = score_of(unit)
    assert score is not None
    assert score <= GOOD_SCORE
    [finding] = unit_findings([tmp_path])
    assert finding.verdict is Level.OK


@needs_systemd
def test_a_users_unit_is_not_measured_by_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the sandbox that need root cannot be in it: its score is told, and is no warning."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".config" / "systemd" / "user"
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).parents[2] / "systemd" / "user" / "rodin-watchd.service", folder)
    [finding] = unit_findings([folder])
    assert finding.verdict is Level.OK
    assert "its exposure is" in finding.text


@needs_systemd
def test_an_instance_unit_is_judged_as_well(tmp_path: Path) -> None:
    """A template has a score, too; the first folder that has a unit counts."""
    for name in ("rodin-watchd.service", "rodin-watchd@.service"):
        (tmp_path / name).write_text("[Service]\nExecStart=/bin/true\n")
    assert [finding.text.partition(" ")[0] for finding in unit_findings([tmp_path, tmp_path])] == [
        f"{tmp_path}/rodin-watchd.service",
        f"{tmp_path}/rodin-watchd@.service",
    ]


def test_no_unit_is_no_problem(tmp_path: Path) -> None:
    """Who runs it by hand or in a container hears so."""
    [finding] = unit_findings([tmp_path])
    assert (finding.verdict, finding.text) == (
        Level.OK,
        "No systemd unit is installed; `rodin-watchd run` works without.",
    )


def test_metrics_are_looked_at_where_they_are_wanted(stage: Stage, tmp_path: Path) -> None:
    """A free port and a folder that is there are ok; another program's port and a missing folder are problems."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        set_up(stage, f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
        finding = found(stage, "--offline")["metrics"]
        assert (finding["verdict"], finding["text"]) == ("problem", f"Another program listens at 127.0.0.1:{port}.")
    assert found(stage, "--offline")["metrics"]["text"] == f"127.0.0.1:{port} is free."
    config = stage.config.read_text()
    for place in ("nowhere/x.prom", "folder.prom"):
        (tmp_path / "folder.prom").mkdir(exist_ok=True)
        stage.config.write_text(f'{config}textfile = "{tmp_path}/{place}"\n')
        assert found(stage, "--offline")["metrics"]["verdict"] == "problem"


def test_metrics_of_a_frozen_service_are_not_served(stage: Stage) -> None:
    """A service that answers is fetched from; one whose port the kernel alone still opens is a warning."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    set_up(stage, f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    with running(stage) as service:
        finding = found(stage, "--offline")["metrics"]
        assert (finding["verdict"], finding["text"]) == ("ok", f"127.0.0.1:{port} is served.")
        service.process.send_signal(signal.SIGSTOP)
        finding = found(stage, "--offline")["metrics"]
        assert (finding["verdict"], finding["text"]) == ("warning", f"No program answers at 127.0.0.1:{port}.")


def test_a_paused_service_is_a_warning(served: Stage) -> None:
    """It is well, and yet nothing is taken: the line says what is paused, the advice where the reason is."""
    with running(served):
        assert served.told("pause").returncode == 0
        while "paused: by request" not in served.told("health").stdout:
            pass
        finding = found(served)["service"]
    assert (finding["verdict"], "paused: by request" in finding["text"]) == ("warning", True)
    assert "rodin-watchd status" in finding["advice"]


@pytest.mark.parametrize(
    ("folders", "watches", "instances", "setting"),
    [
        (10, 8192, 128, ""),
        (5000, 8192, 128, "fs.inotify.max_user_watches=524288"),
        (10, 8192, 8, "fs.inotify.max_user_instances=512"),
        (400_000, 524_288, 128, "fs.inotify.max_user_watches=2097152"),
    ],
)
def test_kernel_limits_come_with_the_line_to_set(folders: int, watches: int, instances: int, setting: str) -> None:
    """Too few watches, or too few instances: the sysctl line is in the advice."""
    finding = limits_finding("", folders, watches, instances)
    assert (finding.verdict is Level.WARNING) is bool(setting)
    assert setting in finding.advice
