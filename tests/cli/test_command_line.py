"""`retry`, `cancel`, `resolve`, `pause`, `resume`: commands left in the journal, and the daemon's answers."""

from __future__ import annotations

import os
import pty
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_stage import SECRET, Stage, a_failed_job, a_held_job, a_job, running

from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.approval import Changes, GateKey, Pass
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.store import Beside, Command
from rodin_watchd.errors import CommandRefusedError, OutcomeUnknownError
from rodin_watchd.model import Job

HELD = a_held_job().id


def left(stage: Stage) -> list[Command]:
    """Return the commands that nobody has answered."""
    with closing(Journal(stage.journal)) as journal:
        return journal.open_commands()


def saw(job: Job) -> dict[str, Any]:
    """Return what the command line leaves of what is to be seen of a job."""
    return {"job": job.id, "seen": Seen.of(job).as_data()}


def test_commands_for_a_stopped_service_wait_for_its_start(stage: Stage) -> None:
    """Each command is left in the journal for the job's whole id, and it is said that the service does not run."""
    stage.journaled(a_failed_job(), a_held_job())
    for command in (("retry", "lamp"), ("pause",), ("resume",), ("resolve", "vase", "--give-up", "--hold", "1")):
        run = stage.told_here(*command)
        assert run.exit_code == 0, run.output
        assert "will run when it starts" in run.output
    assert [(c.verb, c.arguments) for c in left(stage)] == [
        ("retry", {"pay_again": False, **saw(a_failed_job())}),
        ("pause", {}),
        ("resume", {"seen": 2}),
        ("resolve", {"how": "give-up", **saw(a_held_job())}),
    ]


@pytest.mark.parametrize("command", [("cancel", "cccc"), ("retry", "vase"), ("resolve", "lamp", "--give-up")])
def test_what_the_daemon_would_refuse_is_refused_at_once(stage: Stage, command: tuple[str, ...]) -> None:
    """A command that does not fit the job as the journal has it is not left for a service that does not run."""
    stage.journaled(a_failed_job(), a_held_job())
    run = stage.told(*command)
    assert run.returncode == 1
    assert run.stderr.startswith("Error: ")
    assert left(stage) == []


def test_a_job_that_is_not_there_leaves_no_command(stage: Stage) -> None:
    """A misspelt job is exit code 1, and nothing is left for the daemon."""
    stage.journaled(a_failed_job())
    run = stage.told("retry", "lmap")
    assert run.returncode == 1
    assert "There is no job “lmap”" in run.stderr
    assert left(stage) == []


def test_the_subscription_key_comes_from_standard_input(stage: Stage) -> None:
    """With `-` the key is read from standard input, so that it stands in no list of processes, and is never printed."""
    stage.journaled(a_held_job())
    run = stage.told("resolve", "vase", "--task", "uuid-1", "--subscription-key", "-", typed=f" {SECRET}\n")
    assert run.returncode == 0, run.stderr
    assert left(stage)[0].arguments == {
        "how": "task",
        "task": "uuid-1",
        "subscription_key": SECRET,
        **saw(a_held_job()),
    }
    assert SECRET not in run.stdout + run.stderr


def test_a_task_without_its_key_is_adopted_as_well(stage: Stage) -> None:
    """The key may be unknown: it is left out then."""
    stage.journaled(a_held_job())
    assert stage.told_here("resolve", "vase", "--task", "uuid-1").exit_code == 0
    assert left(stage)[0].arguments["subscription_key"] == ""


def test_what_may_cost_money_twice_asks_first(stage: Stage) -> None:
    """It asks, and shows what it is about; a no, or nobody there to ask, leaves nothing; a yes or `--yes` leaves the command."""
    stage.journaled(a_held_job(), a_failed_job(charges=1))
    commands = {
        ("resolve", "vase", "--not-charged"): "hold 1, since",
        ("retry", "lamp", "--pay-again"): "Cost so far: 0.5",
    }
    for number, (command, shown) in enumerate(commands.items()):
        for answer, code in (("n\n", 1), ("", 2)):
            run = stage.told(*command, typed=answer)
            assert run.returncode == code
            assert shown in run.stdout
            assert "for 0.5 credits, in addition to" in run.stdout
            assert len(left(stage)) == number
        assert stage.told(*command, typed="y\n").returncode == 0
        assert len(left(stage)) == number + 1


@pytest.mark.parametrize("command", [("resolve", "vase", "--not-charged"), ("retry", "lamp", "--pay-again")])
def test_the_question_is_asked_on_a_terminal_and_left_out_with_yes(stage: Stage, command: tuple[str, ...]) -> None:
    """On a terminal somebody answers; `--yes` asks nobody."""
    stage.journaled(a_held_job(), a_failed_job())
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")
    assert stage.told(*command, stdin=theirs).returncode == 1
    assert left(stage) == []
    os.write(ours, b"y\n")
    assert stage.told(*command, stdin=theirs).returncode == 0
    os.close(ours)
    os.close(theirs)
    assert len(left(stage)) == 1


def test_nobody_is_waited_for_without_a_terminal(stage: Stage) -> None:
    """A pipe that nobody writes to does not hang a script: it is refused, with the option to use."""
    stage.journaled(a_failed_job())
    ours, theirs = os.pipe()
    run = stage.told("retry", "lamp", "--pay-again", stdin=ours)
    os.close(ours)
    os.close(theirs)
    assert run.returncode == 2
    assert "use --yes" in run.stderr
    assert left(stage) == []
    assert stage.told_here("retry", "lamp", "--pay-again", "--yes").exit_code == 0


@pytest.mark.parametrize(
    "command", [("resolve", "vase", "--not-charged", "--yes"), ("retry", "lamp", "--pay-again", "--yes")]
)
def test_the_same_is_not_left_twice(stage: Stage, command: tuple[str, ...]) -> None:
    """While nobody has answered the first one, a second administrator is refused at once, and learns of it."""
    stage.journaled(a_held_job(), a_failed_job())
    assert stage.told_here(*command).exit_code == 0
    with pytest.raises(CommandRefusedError, match="given for this job already"):
        stage.told_here(*command)
    assert len(left(stage)) == 1


@pytest.mark.parametrize(
    ("holds", "given", "reason"), [(2, "1", "Hold 1 is not the newest"), (1, "2", "the newest is hold 1")]
)
def test_a_hold_that_is_not_the_newest_is_refused(stage: Stage, holds: int, given: str, reason: str) -> None:
    """Who looked earlier, or a script, names the hold that was looked at."""
    stage.journaled(a_held_job(holds=holds))
    run = stage.told("resolve", "vase", "--give-up", "--hold", given)
    assert (run.returncode, reason in run.stderr) == (1, True), run.stderr
    assert left(stage) == []
    assert stage.told_here("resolve", "vase", "--give-up", "--hold", str(holds)).exit_code == 0


def test_the_hold_has_its_number_wherever_it_is_shown(stage: Stage) -> None:
    """What is shown can be typed as it stands."""
    stage.journaled(a_held_job(holds=3, problem=OutcomeUnknownError("No answer came.").problem))
    assert "held for a person's decision (hold 3)" in stage.told_here("list").output
    assert "(hold 3)" in stage.told_here("status").output
    shown = stage.told_here("show", "vase").output
    assert "(held, hold 3), since" in shown
    assert f"`rodin-watchd resolve {HELD} --hold 3`" in shown
    assert stage.data_here("show", "vase")["hold"] == 3
    assert [job["hold"] for job in stage.data_here("list")] == [3]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--give-up", "--not-charged"),
        ("--give-up", "--task", "x"),
        ("--give-up", "--subscription-key", "-"),
        ("--task", "two words"),
        ("--task", "x", "--subscription-key", ""),
    ],
)
def test_resolve_wants_exactly_one_way(options: tuple[str, ...], stage: Stage) -> None:
    """No way, two ways, a key without its task, or a value that cannot be one is wrong use."""
    stage.journaled(a_held_job())
    assert stage.told_here("resolve", "vase", *options).exit_code == 2
    assert left(stage) == []


def test_a_running_service_answers(served: Stage) -> None:
    """What the daemon says is printed; a refusal is exit code 1, with the reason; an order is carried out."""
    served.journaled(a_job(), a_failed_job(), a_held_job())
    with running(served):
        assert served.told("pause").stdout.startswith("Paused")
        refused = served.told("retry", "chair")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "Only a failed job can be retried" in refused.stderr
        assert " JOB" not in refused.stderr
        assert "failing" in served.told("resolve", "vase", "--give-up").stdout
        assert any("Paused by request" in notice for notice in served.data("status")["page"]["notices"])
        assert served.told("resume").stdout.startswith("Resumed")
    assert left(served) == []


def test_a_journal_that_is_missing_is_told(tmp_path: Path) -> None:
    """A command for a service that never ran makes no journal."""
    stage = Stage(tmp_path / "root")
    run = stage.told("pause")
    assert run.returncode == 1
    assert "There is no journal" in run.stderr
    assert not stage.journal.exists()


# ---- approve --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (("--all",), None),
        (("chairs",), "chairs"),
        (("chairs/oak/",), "chairs/oak"),
        (("inbox/chairs",), "chairs"),
        (("./inbox",), "."),
        ((".",), "."),
    ],
)
def test_approve_names_a_folder_of_the_inbox(stage: Stage, given: tuple[str, ...], meant: str | None) -> None:
    """However the folder is spelled, the daemon is left its path below the inbox; all is None."""
    stage.journaled(a_job())
    with closing(Journal(stage.journal)) as journal:
        journal.commit(
            (), 0.0, beside=Beside(gate=Changes(new={GateKey(name, "v1"): Pass.HELD for name in ("chairs/oak/a", "b")}))
        )
    assert stage.told_here("approve", *given).exit_code == 0
    assert [(c.verb, c.arguments) for c in left(stage)] == [("approve", {"folder": meant, "seen": 2})]


def test_approve_wants_something_that_waits(stage: Stage) -> None:
    """What nobody could have seen is not approved in advance, for the next start."""
    stage.journaled(a_job())
    run = stage.told("approve", "--all")
    assert (run.returncode, "No set waits for approval." in run.stderr) == (1, True)
    assert left(stage) == []


@pytest.mark.parametrize("given", [(), ("chairs", "--all")])
def test_approve_wants_one_of_two(stage: Stage, given: tuple[str, ...]) -> None:
    """Neither or both is wrong use: nobody approves all by accident."""
    stage.journaled(a_job())
    assert stage.told_here("approve", *given).exit_code == 2
    assert left(stage) == []


def test_a_held_drop_is_shown_explained_and_approved(served: Stage) -> None:
    """From the crowd to the delivery by the command line alone."""
    served.config.write_text(served.config.read_text() + "[budget]\nhold_above_sets = 0\nper_day_credits = 10\n")
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    with running(served) as service:
        service.until("waits for approval")
        assert (
            "nothing is taken until somebody runs `rodin-watchd approve`" in served.told_here("explain", "chair").output
        )
        assert served.told("approve", "--all").stdout == "Approved 1 set in the inbox.\n"
        service.until("archived chair")
        told = served.told_here("status").output
        assert "Budget of the day: 0.5 of 10 credits" in told
        assert re.search(
            r"Balance: 99\.5 credits \(the vendor said 100 credits on \d{4}-.*, less 0\.5 credits charged since\)", told
        )
        assert re.search(r"approved +Approved 1 set in the inbox\.", told)
        data = served.data_here("status")
        assert data["credits"] == {"total": 0.5, "today": 0.5}
        assert (data["budget"]["per_day"], data["budget"]["spent"]) == (10, 0.5)
        assert (data["balance"]["credits"], data["balance"]["said"], data["balance"]["low"]) == (99.5, 100, False)
        assert [event["kind"] for event in data["events"]] == ["approved", "crowd"]
        refused = served.told("approve", "--all")
        assert (refused.returncode, refused.stderr.startswith("Error: No set in the inbox waits")) == (1, True)
