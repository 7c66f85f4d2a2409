"""`run`, from the outside: the real command line, a real daemon, the real emulator."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from cli_stage import KEY, PROGRAM, SAMPLES, Stage, environment, running

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import Emulator


def test_a_day_at_the_studio(tmp_path: Path, vendor: Emulator) -> None:
    """From `init` to the delivered set, every command tells the same story, while the service runs and after its end."""
    home = tmp_path / "share"
    subprocess.run([*PROGRAM, "init", str(home)], check=True, capture_output=True, env=environment())
    stage = Stage(home, vendor.base_url)  # with a config of its own, for the emulated vendor
    with running(stage) as service:
        assert f"serving {home} with 127.0.0.1:" in "".join(service.lines)
        assert service.lines[-1].rstrip().endswith(f"drop sets into {stage.inbox}")
        stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
        stage.drop("lamp.glb", "bunny.glb", "lamp.png", "suzi.glb")
        shutil.copyfile(SAMPLES / "bunny.glb", stage.inbox / "stool.glb")
        service.until(r" failed lamp ", r" archived chair ")
        status = stage.data("status")
        assert (status["running"], status["daemon"]["pid"]) == (True, service.process.pid)
        assert status["credits"] == {"total": 0.5, "today": 0.5}
        assert {job["set"]: job["state"] for job in stage.data("list")} == {"chair": "archived", "lamp": "failed"}
        chair = stage.data("show", "chair")
        assert (chair["place"], chair["events"][-1]["state"]) == ("outbox/chair", "archived")
        assert {result["name"] for result in chair["results"]} == {"base_basic_pbr.glb", "preview.webp"}
        verdicts = {"chair.glb": "delivered", "archive/chair": "delivered", "lamp": "failed", "stool.glb": "waiting"}
        assert {path: stage.data("explain", path)["verdict"] for path in verdicts} == verdicts
        assert stage.data("explain", "outbox/chair/preview.webp")["jobs"] == [chair["id"]]
        assert service.stop(signal.SIGTERM) == 0
    after = stage.data("status")
    assert (after["running"], after["daemon"], after["credits"]) == (False, None, status["credits"])
    assert [line["name"] for line in after["page"]["waiting"]] == ["stool"]
    assert "from its last scan" in stage.told("status").stdout
    assert KEY not in "".join(service.lines)


def test_ctrl_c_is_a_polite_end(served: Stage) -> None:
    """SIGINT ends the service with exit code 0 and its last line, without a traceback."""
    with running(served) as service:
        assert service.stop(signal.SIGINT) == 0
    assert "stopped" in service.lines[-1]
    assert "Traceback" not in "".join(service.lines)


def test_after_kill_9_the_status_is_stopped_and_the_next_start_goes_on(served: Stage) -> None:
    """A killed service is seen as stopped at once, and the next one takes the folder over and finishes the set."""
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    with running(served) as service:
        service.until(r" submitted chair ")
        service.stop(signal.SIGKILL)
    assert served.data("status")["running"] is False
    assert served.told("run", "--until-idle").returncode == 0
    assert served.data("status")["credits"]["total"] == 0.5
    assert [job["state"] for job in served.data("list")] == ["archived"]


def test_after_kill_9_the_vendor_is_left_alone_as_long_as_it_wants(tmp_path: Path) -> None:
    """`Retry-After: 60` holds for the next process as well: it makes no call, and says why."""
    faults = (parse_fault("status-429=60"),)
    with Emulator(EmulatorSettings(preview_pixels=64, api_keys=(KEY,), faults=faults)) as vendor:
        stage = Stage(tmp_path, vendor.base_url)
        stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
        with running(stage) as service:
            service.until(r"paused: ")
            service.stop(signal.SIGKILL)
        with running(stage) as service:
            for command in ("pause", "resume"):  # each is answered by a tick of the new process
                assert stage.told(command).returncode == 0
            assert "asks for fewer calls" in stage.told("status").stdout
            assert service.stop(signal.SIGTERM) == 0
        assert vendor.ledger()["faults"] == {"status-429": 1}


@pytest.mark.parametrize(
    ("faults", "balance", "code", "states"),
    [
        ((), "100", 0, ["archived"]),
        (("failed-job",), "100", 1, ["failed"]),
        (("lost-answer",), "100", 1, ["held"]),
        ((), "0", 1, ["staged"]),
    ],
)
def test_until_idle_tells_by_its_exit_code(
    faults: tuple[str, ...], balance: str, code: int, states: list[str], tmp_path: Path
) -> None:
    """0 when all that could go on was delivered; 1 when something failed, is held, or waits for somebody to pay."""
    settings = EmulatorSettings(
        waiting_seconds=0.1, generating_seconds=0.1, balance=Decimal(balance), faults=tuple(map(parse_fault, faults))
    )
    with Emulator(settings) as vendor:
        stage = Stage(tmp_path / "root", vendor.base_url)
        stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
        shutil.copyfile(SAMPLES / "bunny.glb", stage.inbox / "stool.glb")  # lacks its image: that is no failure
        run = stage.told("run", "--until-idle")
    assert run.returncode == code, run.stderr
    assert [job["state"] for job in stage.data("list")] == states


def test_a_second_service_is_refused(served: Stage) -> None:
    """Two daemons on one folder could pay twice: the second one names the first and ends."""
    with running(served) as service:
        run = served.told("run")
        assert run.returncode == 1
        assert f"process {service.process.pid} on " in run.stderr


def test_without_a_key_it_does_not_start(served: Stage) -> None:
    """A missing key is wrong use, told with the ways to give one."""
    served.environment = environment()
    run = served.told("run")
    assert run.returncode == 2
    assert "There is no API key." in run.stderr
    assert "RODIN_API_KEY" in run.stderr


def test_without_its_root_it_does_not_start(stage: Stage, tmp_path: Path) -> None:
    """A root that is missing is told in words and never made: the share may just not be mounted."""
    stage.config.write_text(f'[folders]\nroot = "{tmp_path}/gone"\n')
    run = stage.told("run")
    assert run.returncode == 1
    assert f"The folder {tmp_path}/gone does not exist." in run.stderr
    assert not (tmp_path / "gone").exists()


def test_a_folder_that_cannot_be_made_ends_the_start_with_advice_for_a_start(stage: Stage) -> None:
    """It does not say that the service continues by itself, for it has ended; neither in words nor as JSON."""
    stage.inbox.rmdir()
    stage.inbox.touch()
    for options in ((), ("--log-format", "json")):
        run = stage.told("run", *options)
        assert run.returncode == 1
        assert f"The folder {stage.inbox} cannot be made: File exists." in run.stderr
        assert "then start the service again" in run.stderr
        assert "continues by itself" not in run.stderr


def test_a_lock_that_cannot_be_taken_ends_the_start_with_advice_for_a_start(stage: Stage) -> None:
    """Here, too, the service has ended, and says what to do before the next start."""
    (stage.root / ".rodin-watchd" / "lock").mkdir(parents=True)
    run = stage.told("run")
    assert run.returncode == 1
    assert "lock is not a file of this service, and is left as it is." in run.stderr
    assert (
        "Move it away, or set folders.state to a folder that no other program uses; then start the service again."
        in run.stderr
    )


def test_closed_standard_streams_are_no_hindrance(served: Stage) -> None:
    """With standard streams closed it works all the same, and none of its files gets the number of one of them."""
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    for closed in ("2>&-", "<&- >&- 2>&-"):
        shell = ("sh", "-c", f'exec "$@" {closed}', "sh")
        done = subprocess.run([*shell, *served.command("run", "--until-idle")], env=served.environment, check=False)
        assert done.returncode == 0
    assert (served.root / "outbox" / "chair" / "job.toml").exists()


def test_a_journal_that_cannot_be_written_ends_the_service_at_once(tmp_path: Path) -> None:
    """When the journal refuses, the process ends with the reason, though a worker still waits for the vendor."""
    settings = EmulatorSettings(preview_pixels=64, instant=True, faults=(parse_fault("submit-slow=60"),))
    with Emulator(settings) as vendor:
        stage = Stage(tmp_path / "root", vendor.base_url)
        with running(stage) as service:
            stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
            service.until(r" submitting chair ")
            with closing(sqlite3.connect(stage.journal)) as saboteur, saboteur:
                saboteur.execute("DELETE FROM moves")  # no move is legal now
            stage.drop("lamp.stl", "pmndrs.stl", "lamp.png", "matcap-a.png")
            assert service.process.wait(30) == 1
            service.until("The journal cannot be written")
        assert stage.data("status")["running"] is False
