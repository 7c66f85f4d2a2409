"""`status`, `list` and `show`: what the journal says, in words and as data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from cli_stage import SECRET, Stage, a_failed_job, a_held_job, a_job, running
from screen_reader import on_a_terminal

from rodin_watchd.adapters.ownership import Lock
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.cli.job_text import ROWS_ALIGNED
from rodin_watchd.core.budget import BUDGET_DAY, Day, midnight
from rodin_watchd.core.status import PAGE, Line, Page
from rodin_watchd.core.store import FAILED
from rodin_watchd.errors import Fault, Problem, Scope
from rodin_watchd.model import HookRun, ServiceEvent, State, Task, Transition

ODD = "lu\udcff\nna"
"""A name that is not UTF-8 and has a line end in it."""

LOST = Problem("task-lost", Fault.VENDOR, Scope.SET, "The vendor does not know the task.", "Ask its support.")

BRIEF = {
    "kind",
    *(
        "resolved",
        "follows",
        "then",
        "batch",
        "variant",
        "group",
        "chosen",
        "id",
        "set",
        "folder",
        "state",
        "hold",
        "created_at",
        "since_at",
        "credits",
        "cost_is_certain",
        "place",
        "problem",
    ),
}
WHOLE = BRIEF | {
    *(
        "files",
        "options",
        "again",
        "consent",
        "fingerprint",
        "times",
        "retries",
        "attempts",
        "not_before",
        "deadline",
        "task",
    ),
    *("progress", "results", "events", "service_events"),
}


def put_page(stage: Stage, page: Page) -> None:
    """Leave a page as the daemon does."""
    journal = Journal(stage.journal)
    journal.set_meta(PAGE, page.as_data())
    journal.close()


# ---- list -----------------------------------------------------------------------------------------------------------


def test_list_as_data_has_exactly_the_documented_keys(stage: Stage) -> None:
    """Every job has the documented keys, with credits as a number and a doubt where nobody knows the cost."""
    stage.journaled(a_job(), a_held_job())
    jobs = {job["id"]: job for job in stage.data_here("list")}
    assert set(jobs) == {a_job().id, a_held_job().id}
    assert all(set(job) == BRIEF for job in jobs.values())
    delivered, held = jobs[a_job().id], jobs[a_held_job().id]
    assert (delivered["state"], delivered["credits"], delivered["cost_is_certain"]) == ("archived", 0.5, True)
    assert (delivered["set"], delivered["folder"], delivered["place"]) == ("chair", "oak", "outbox/oak/chair")
    assert (held["credits"], held["cost_is_certain"], held["problem"]) == (0.0, False, "No answer came.")


def test_list_keeps_to_states_and_limit(stage: Stage) -> None:
    """`--state` and `--limit` choose; the newest change comes first."""
    stage.journaled(
        a_failed_job(id="aaaaaaaaaaaa", created_at=1.0), a_failed_job(id="bbbbbbbbbbbb", created_at=2.0), a_job()
    )
    failed = stage.data_here("list", "--state", "failed")
    assert [job["id"] for job in failed] == ["bbbbbbbbbbbb", "aaaaaaaaaaaa"]
    assert [job["id"] for job in stage.data_here("list", "--state", "failed", "--limit", "1")] == ["bbbbbbbbbbbb"]
    assert len(stage.data_here("list", "--state", "failed", "--state", "archived")) == 3
    assert stage.data_here("list", "--state", "held") == []


def test_list_as_a_table(stage: Stage) -> None:
    """The table says states in words and is aligned, also below names of wide characters."""
    stage.journaled(a_job(name="椅子"), a_held_job())
    lines = stage.told_here("list").output.splitlines()
    assert lines[0].split() == ["ID", "SET", "STATE", "SINCE", "CREDITS", "PLACE"]
    chair = next(line for line in lines if "椅子" in line)
    vase = next(line for line in lines if "vase" in line)
    assert "delivered" in chair
    assert "2023-11-14 22:15:00 UTC" in chair
    assert chair.endswith("0.5      outbox/oak/chair")
    assert "held for a person's decision" in vase
    assert re.search(r" 0\??0?\.?0?\? +-$", vase)
    assert chair.index("delivered") + 2 == vase.index("held")  # two characters that are two columns wide


def test_a_long_list_is_printed_bit_by_bit(stage: Stage) -> None:
    """All jobs come in their order, in one table and one list; a name that comes late may make its column wider."""
    few, many = 3, 2 * ROWS_ALIGNED + 1
    jobs = [a_failed_job(id=f"{number:012x}", name=f"set{number}", created_at=float(number)) for number in range(many)]
    stage.journaled(replace(jobs[0], name="a name that is longer"), *jobs[1:])
    ids = [job.id for job in reversed(jobs)]
    assert [job["id"] for job in stage.data_here("list")] == ids
    told = stage.told_here("list").output.splitlines()
    assert [line.split()[0] for line in told] == ["ID", *ids]
    assert len(stage.told_here("list", "--limit", str(few)).output.splitlines()) == few + 1
    asked: list[str] = []
    with closing(JournalReader(stage.journal)) as reader:
        reader._db.set_trace_callback(asked.append)
        assert next(reader.each_job()).id == ids[0]
        _numbers, documents = asked  # of all their numbers, of a few their documents
        assert len(reader._db.execute(documents).fetchall()) < many / 2


def test_list_of_nothing(stage: Stage) -> None:
    """An empty journal is told in words and as an empty list."""
    stage.journaled()
    assert stage.told_here("list").output == "There are no jobs.\n"
    assert stage.data_here("list") == []


# ---- show -----------------------------------------------------------------------------------------------------------


def test_show_tells_all_but_the_secrets(stage: Stage) -> None:
    """Neither text nor data holds the subscription key or the vendor's raw answer; all else is there."""
    stage.journaled(a_job())
    data = stage.data_here("show", a_job().id)
    assert set(data) == WHOLE
    assert data["task"] == {"uuid": "task-uuid-1", "submitted_at": 1_700_000_050.0}
    assert [event["action"] for event in data["events"]] == ["archived"]
    text = stage.told_here("show", "chair").output
    assert SECRET not in text
    assert SECRET not in json.dumps(data)
    for fact in ("oak/chair", "task-uuid-1", "0.5 credits", "prompt = worn oak", "cc" * 32, "as the test wants it"):
        assert fact in text


def test_show_of_a_failure_says_who_can_mend_it(stage: Stage) -> None:
    """A failed job shows cause, fault and advice."""
    stage.journaled(a_failed_job())
    text = stage.told_here("show", "ba98").output
    for fact in ("“lamp.png” cannot be used.", "you, who dropped the files", "Mend it.", "no credits"):
        assert fact in text


MISTAKES = Problem(
    "sidecar", Fault.FILES, Scope.SET, "chair.toml, line 1: no sed.\nchair.toml, line 2: \x1b[2Jodd.", "Mend\nit."
)


def test_show_has_a_line_for_each_line_of_a_message(stage: Stage) -> None:
    """No line end is shown as an escape, and nothing acts on the terminal: neither of the problem, nor of options, nor of events."""
    failed = a_failed_job(problem=MISTAKES, options={"prompt": "worn\noak"})
    stage.journaled(failed)
    with closing(Journal(stage.journal)) as journal:
        journal.commit([Transition(failed, "repeated", "one\r\ntwo\x07\n\tthree")], 1_700_000_200.0)
        journal.note_service_event(ServiceEvent(1_700_000_300.0, "plugin-aside", "four\nfive"))
    text = stage.told_here("show", failed.id).output
    assert "\\n" not in text
    assert "\nProblem:     chair.toml, line 1: no sed.\n             chair.toml, line 2: \\x1b[2Jodd.\n" in text
    assert "prompt = worn oak" in text
    assert re.search(r" repeated +one\n +two\\x07\n +three\n", text)
    assert not set(text) & {"\x1b", "\x07", "\t", "\r"}


def test_show_keeps_the_output_of_plugins_back(stage: Stage) -> None:
    """By default it says that there is more; `--output` shows tracebacks and what was printed, whole and harmless."""
    job = a_job()
    stage.journaled(job)
    trace = 'Traceback (most recent call last):\n  File "mail.py", line 3\nNameError: \x1b[31mhost\x1b[0m'
    run = HookRun(0, "e1", job.id, "rodin_delivered", "mail", FAILED, told=f"mail failed.\n{trace}", output="hello\n")
    with closing(Journal(stage.journal)) as journal:
        journal.note_run(
            run, f"mail: rodin_delivered failed (attempt 1): {run.told}\n{run.output}".rstrip(), 1_700_000_200.0
        )
    text = stage.told_here("show", job.id).output
    assert re.search(r"mail failed\. \(--output shows 4 lines more\)$", text, re.MULTILINE)
    assert "Traceback" not in text
    whole = stage.told_here("show", "--output", job.id).output
    assert re.search(
        r'mail failed\.\n +Traceback.*:\n +File "mail\.py", line 3\n +NameError: \\x1b\[31mhost\\x1b\[0m\n +hello$',
        whole,
        re.MULTILINE,
    )
    assert stage.data_here("show", job.id)["events"][-1]["message"].endswith("hello")


def test_show_of_an_unknown_or_unclear_job(stage: Stage) -> None:
    """A job that is not there, and a name that fits two, are exit code 1 with the choices."""
    stage.journaled(a_failed_job(id="aaaaaaaaaaaa"), a_failed_job(id="aaaaaaaaaaab"))
    nobody = stage.told("show", "zzz")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "There is no job “zzz”" in nobody.stderr
    unclear = stage.told("show", "lamp")
    assert unclear.returncode == 1
    assert "aaaaaaaaaaaa" in unclear.stderr
    assert "aaaaaaaaaaab" in unclear.stderr


def test_odd_names_are_told_on_one_line_and_come_whole_as_data(stage: Stage) -> None:
    """A name that is not UTF-8 and holds a line end cannot break a line, and JSON gives it back exactly."""
    stage.journaled(a_job(name=ODD, folder=ODD))
    assert [job["set"] for job in stage.data_here("list")] == [ODD]
    assert stage.data_here("show", a_job().id)["folder"] == ODD
    assert "lu\\udcff\\nna/lu\\udcff\\nna" in stage.told_here("list").output
    assert "lu\\udcff\\nna/lu\\udcff\\nna" in stage.told_here("show", a_job().id).output
    assert stage.told_here("status").exit_code == 0


# ---- status ---------------------------------------------------------------------------------------------------------


def test_status_of_a_stopped_service(stage: Stage) -> None:
    """It is said that nothing runs, and that what waits is as of the last look; the jobs are as the journal has them."""
    stage.journaled(a_job(), a_failed_job(), a_held_job())
    stale = Line("gone", "being sent", "0")
    put_page(stage, Page(notices=("Paused.",), waiting=(Line("stool", "waits for an image"),), running=(stale,)))
    text = stage.told_here("status").output
    assert text.startswith("STOPPED")
    assert "from its last scan" in text
    for fact in ("stool: waits for an image", "! Paused.", "oak/chair: delivered to outbox/oak/chair", "HELD"):
        assert fact in text
    assert "gone" not in text
    data = stage.data_here("status")
    assert (data["running"], data["daemon"], data["root"]) == (False, None, str(stage.root))
    assert data["counts"] == {"archived": 1, "failed": 1, "held": 1}
    lists = {"notices", "plain_notices", "waiting", "running", "held", "failed", "recent", "done"}
    assert set(data["page"]) == {*lists, "ignored", "older_failed", "stopped_at", "more_waiting", "more_done"}
    assert [line["name"] for line in data["page"]["waiting"]] == ["stool"]
    assert [line["job"] for line in data["page"]["held"]] == [a_held_job().id]


def test_the_stored_page_comes_back_as_it_was() -> None:
    """What the daemon stores and the command line reads is the same page."""
    line = Line("oak/chair", "waits", "0123", 12.5)
    page = Page(("Paused.",), (line,), (line,), (Line("a", "b"),), (line, line), (("a hidden file", 2),))
    assert Page.of_data(json.loads(json.dumps(page.as_data()))) == page


def test_status_of_a_running_service_names_it(stage: Stage) -> None:
    """Whoever holds the lock is the service that runs."""
    stage.journaled(a_job())
    with Lock(stage.root / ".rodin-watchd" / "lock"):
        assert stage.told_here("status").output.startswith(f"Running for {stage.root}")
        data = stage.data_here("status")
    assert data["running"] is True
    assert data["daemon"]["pid"] == os.getpid()


def test_status_counts_credits_of_today_and_in_total(stage: Stage) -> None:
    """A submit counts on the day on which it was sent; going back to a task that was paid costs nothing."""
    now = time.time()
    for job_id, paid_at in (("aaaaaaaaaaaa", now - 7 * 86_400.0), ("bbbbbbbbbbbb", now)):
        job = a_job(id=job_id, task=None, answer=None, charges=0, created_at=paid_at, fingerprint=job_id)
        paid = replace(job, state=State.SUBMITTED, charges=1, task=Task(f"task-of-{job_id}", SECRET, paid_at))
        sent = (replace(job, state=state) for state in (State.STAGED, State.UPLOADING, State.SUBMITTING))
        stage.journaled(*sent, paid)
    gone_back = [State.FAILING, State.FAILED, State.CLAIMED, State.SUBMITTED]
    stage.journaled(
        *(replace(paid, state=state, created_at=now + n, problem=LOST) for n, state in enumerate(gone_back))
    )
    data = stage.data_here("status")
    assert data["credits"] == {"total": 1, "today": 0.5}
    assert (data["budget"]["per_day"], data["budget"]["per_folder"]) == (None, None)
    assert (data["balance"], data["events"]) == (None, [])
    assert "Budget" not in stage.told_here("status").output


def test_status_tells_what_is_left_of_the_budget(stage: Stage) -> None:
    """Of the present day, by its purchases, in all and for each folder; on the next day, service or not, it is whole again."""
    with stage.config.open("a") as config:
        config.write("\n[budget]\nper_day_credits = 5\nper_folder_credits = 1.5\n")
    now = time.time()
    for number, folder in enumerate(("", "chairs/oak", "chairs")):
        job = a_job(id=f"{number:012}", folder=folder, task=None, answer=None, charges=0, fingerprint=str(number))
        stage.journaled(*(replace(job, state=state) for state in (State.CLAIMED, State.STAGED, State.UPLOADING)))
    day = {"per_day": 5, "spent": 1, "per_folder": 1.5, "folders": {"chairs": 1}}
    with closing(Journal(stage.journal)) as journal:
        journal.set_meta(BUDGET_DAY, Day(midnight(now, UTC), 1))
    assert stage.data_here("status")["budget"] == day
    told = stage.told_here("status").output
    assert (
        "Budget of the day: 1.0 of 5 credits\nBudget of each folder and day: 1.5 credits; spent: chairs 1.0\n" in told
    )
    with closing(Journal(stage.journal)) as journal:
        journal.set_meta(BUDGET_DAY, Day(midnight(now, UTC) - 86_400, 1))
    assert stage.data_here("status")["budget"] == {**day, "spent": 0, "folders": {}}


def test_show_tells_what_happened_to_the_service_meanwhile(stage: Stage) -> None:
    """Between the job's beginning and its end, in the order of time, among the job's own history."""
    stage.journaled(a_job())
    journal = Journal(stage.journal)
    for at, message in ((-9.0, "too early"), (50.0, "api: no network"), (999.0, "too late")):
        journal.note_service_event(ServiceEvent(a_job().created_at + at, "paused", message, "api"))
    journal.close()
    shown = stage.told_here("show", "chair").output
    assert re.search(r"archived .*\n.*\(service\) +paused: api: no network", shown)
    assert "too early" not in shown
    assert "too late" not in shown
    assert [event["message"] for event in stage.data_here("show", "chair")["service_events"]] == ["api: no network"]


def test_status_without_a_journal(stage: Stage) -> None:
    """A service that never ran is told so in two lines."""
    run = stage.told("status")
    assert run.returncode == 1
    assert "There is no journal" in run.stderr
    assert len(run.stderr.splitlines()) == 2


def test_a_damaged_journal_is_told_in_words(stage: Stage) -> None:
    """Garbage in the journal's place is an error in words, for each command that reads it."""
    stage.journaled(a_job())
    stage.journal.write_bytes(b"not a database at all" * 1000)
    for command in (("status",), ("list",), ("show", "chair"), ("explain", "chair"), ("retry", "chair")):
        run = stage.told(*command)
        assert (run.returncode, run.stdout) == (1, ""), command
        assert "journal" in run.stderr


def test_watch_is_not_for_programs(stage: Stage) -> None:
    """`--watch` with `--json` is wrong use."""
    stage.journaled(a_job())
    assert stage.told_here("status", "--watch", "--json").exit_code == 2


# ---- on a terminal --------------------------------------------------------------------------------------------------


def test_tables_fit_the_terminal(stage: Stage) -> None:
    """Ids and instants stay whole, long texts go on in the next line; the last columns are left out where there is no room."""
    stage.journaled(a_job(name="椅子" * 20), a_failed_job())
    with on_a_terminal(stage.command("list"), stage.environment, columns=80) as terminal:
        assert terminal.ended() == 0
    text = terminal.text
    assert terminal.lines[0].split() == ["ID", "SET", "STATE", "SINCE", "CREDITS"]
    for whole in ("0123456789ab", "ba9876543210", "2023-11-14 22:15", "lamp"):
        assert whole in text
    assert text.count("椅子") == 20
    with on_a_terminal(stage.command("list"), stage.environment, columns=160) as terminal:
        assert terminal.ended() == 0
    assert terminal.lines[0].split()[-1] == "PLACE"
    with on_a_terminal(stage.command("list"), stage.environment, columns=40) as terminal:
        assert terminal.ended() == 0
    assert terminal.lines[0].split() == ["ID", "SET", "STATE"]
    assert "ba9876543210  lamp" in terminal.text
    with on_a_terminal(stage.command("show", "lamp"), {**stage.environment, "NO_COLOR": "1"}, columns=60) as terminal:
        assert terminal.ended() == 0
    assert {"Set", "State", "Problem", "What to do", "History"} <= {re.split("  +", line)[0] for line in terminal.lines}
    assert "“lamp.png” cannot be used." in " ".join(terminal.text.split())
    assert not re.search(rb"\x1b\[[0-9;]*3[1-7]m", terminal.written)


# ---- another user ---------------------------------------------------------------------------------------------------

AS_NOBODY = """
import contextlib, io, os, sys
import rodin_watchd.cli.commands, rodin_watchd.cli.main as program
with contextlib.redirect_stdout(io.StringIO()):  # all that is loaded late: the interpreter may be closed to others
    for early in (["status"], ["list"], ["show", "chair"], ["explain", "chair.glb"]):
        program.cli([early[0], "--config", sys.argv[3], *early[1:]], standalone_mode=False)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
program.main()
"""


def as_nobody(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who may read the folder, and nothing more."""
    command = [sys.executable, "-c", AS_NOBODY, arguments[0], "--config", str(stage.config), *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=stage.environment, cwd="/")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("lives", [False, True])
def test_another_user_may_look(lives: bool) -> None:
    """A user who may only read sees the same, while the service runs and when it is stopped; acting is refused in words."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # pytest closes its own to others
        Path(home).chmod(0o755)
        stage = Stage(Path(home) / "root")
        stage.journaled(a_job())
        if lives:
            with running(stage) as service:
                assert as_nobody(stage, "status").stdout.startswith("Running")
                assert "outbox/oak/chair" in as_nobody(stage, "list").stdout
                refused = as_nobody(stage, "pause")
                assert service.stop() == 0
        else:
            assert as_nobody(stage, "status").stdout.startswith("STOPPED")
            assert "outbox/oak/chair" in as_nobody(stage, "show", "chair").stdout
            assert "delivered to outbox/oak/chair" in as_nobody(stage, "explain", "chair.glb").stdout
            refused = as_nobody(stage, "pause")
        assert refused.returncode == 1
        assert "Run it as the user that the service runs as." in refused.stderr
        assert "Traceback" not in refused.stderr
