"""`status --watch` on a real terminal: what it shows, what its keys do, and how it leaves the terminal."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from cli_stage import SECRET, Stage, a_failed_job, a_held_job, a_job, running
from screen_reader import ScreenReader, on_a_terminal

from rodin_watchd.adapters.heartbeat import leave_heartbeat, sign_path
from rodin_watchd.adapters.ownership import Lock
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.cli.watch.terminal import keys_in
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.health import Health
from rodin_watchd.core.status import PAGE, Line, Page
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.model import Job, State, Task

COLOR = re.compile(rb"\x1b\[[0-9;]*3[1-7]m")
UP, DOWN, PAGE_DOWN, END = "\x1b[A", "\x1b[B", "\x1b[6~", "\x1b[F"


@contextmanager
def watched(stage: Stage, *options: str, columns: int = 80, lines: int = 24, **changes: str) -> Iterator[ScreenReader]:
    """Give the view of a service."""
    environment: Mapping[str, str] = {**stage.environment, **changes}
    with on_a_terminal(stage.command("status", "--watch", *options), environment, columns, lines) as terminal:
        yield terminal


def put(stage: Stage, page: Page) -> None:
    """Leave a page as the daemon does."""
    with closing(Journal(stage.journal)) as journal:
        journal.set_meta(PAGE, page.as_data())


def at_the_vendor(job_id: str, name: str, since_at: float) -> list[Job]:
    """Return how a job came to the vendor."""
    job = a_job(
        id=job_id, name=name, fingerprint=job_id, task=None, answer=None, charges=0, created_at=since_at, place=""
    )
    sent = [replace(job, state=state, times={}) for state in (State.STAGED, State.UPLOADING, State.SUBMITTING)]
    paid = replace(
        sent[-1], state=State.SUBMITTED, charges=1, spent=Decimal("0.5"), task=Task(f"t{job_id}", SECRET, since_at)
    )
    return [*sent, paid]


def history(*seconds: float) -> list[Job]:
    """Return delivered jobs that took so long at the vendor."""
    found = []
    for number, took in enumerate(seconds):
        at = 1_700_000_000.0 + number
        times = {"submitting": at, "generated": at + took, "archived": at + took}
        task = Task(f"old{number}", SECRET, at)
        job = a_job(
            id=f"0{number:011}", fingerprint=f"old{number}", task=task, times=times, working_at=at + took, created_at=at
        )
        found.append(job)
    return found


def test_a_day_is_seen_live_and_steered(served: Stage) -> None:
    """A set comes, is paid, delivered; one fails and is paid again; a pause and its end: all of it by keys, each with its price."""
    settings = EmulatorSettings(preview_pixels=64, waiting_seconds=0.1, generating_seconds=0.2)
    with Emulator(settings) as vendor:
        stage = Stage(served.root, vendor.base_url)
        with running(stage) as service, watched(stage) as terminal:
            terminal.shows("RUNNING", "Nothing waits")
            stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
            terminal.shows("Newest results (1)", "delivered to outbox/chair", "Credits: 0.5 today")
            vendor.set_faults(parse_fault("failed-job=1"))
            stage.drop("vase.glb", "bunny.glb", "vase.jpg", "matcap-b.jpg")
            service.until(r" failed vase ")
            terminal.shows("Failed: see failed/ (1)", "Credits: 1.0 today")
            terminal.press("g")
            terminal.shows("▸ vase")
            terminal.press("r")
            asked = " ".join(terminal.shows("y: yes").split())
            assert (
                "Pay again? Submits it once more, and pays once more, in addition to what it cost. It may cost 0.5"
                in asked
            )
            terminal.press("y")
            terminal.shows("Newest results (2)", "delivered to outbox/vase", "Credits: 1.5 today")
            terminal.press("p")
            terminal.shows("Pause?", "This costs nothing.")
            terminal.press("y")
            terminal.shows("PAUSED by request", "p resume")
            terminal.press("p")
            terminal.shows("Resume?", "0.5 credits")
            terminal.press("y")
            terminal.shows("RUNNING", "p pause")
            assert service.stop() == 0
            terminal.shows("STOPPED")
            terminal.press("q")
            assert terminal.ended() == 0
        assert len(vendor.charges) == 3


def test_it_shows_what_waits_runs_is_held_failed_and_new(stage: Stage) -> None:
    """Each section with its count, and of what runs a bar and the expected end, by how long tasks took before."""
    now = time.time()
    stage.journaled(
        *history(60.0, 61.0, 59.0), *at_the_vendor("aaaaaaaaaaaa", "椅子", now - 20), a_held_job(), a_failed_job()
    )
    waiting = tuple(Line(f"stool{number}", "waits for an image") for number in range(400))
    put(
        stage, Page(notices=("Paused: no credits.",), waiting=waiting, failed=(Line("lamp", "FAILED", "ba9876543210"),))
    )
    with watched(stage, lines=60) as terminal:
        text = terminal.shows("STOPPED", "! Paused: no credits.", "from its last scan")
        for heading in (
            "Held: a person has to decide (1)",
            "Running (1)",
            "Failed: see failed/ (1)",
            "Waiting in the inbox (400)",
        ):
            assert heading in text
        [chair] = [line for line in terminal.lines if "椅" in line]
        assert re.search(r"the vendor works on it .*[█]{2,5}[░]{5,8} +~(3|4)\d s$", chair)
        assert terminal.lines[-1].startswith("↑↓ move")
        terminal.press(END)
        terminal.shows("Newest results (3)", "▸ oak/chair", "and 100 more")
    assert COLOR.search(terminal.written)


def test_a_set_is_read_as_show_says_it(stage: Stage) -> None:
    """Enter opens the selected one, keys scroll it, q goes back to where one was, and q ends."""
    stage.journaled(a_job(), a_failed_job())
    with watched(stage, lines=12) as terminal:
        terminal.shows("▸ oak/chair")
        terminal.press(DOWN)
        terminal.shows("▸ lamp")
        terminal.press("r" + UP)
        terminal.shows("y: yes")
        terminal.press("n" + UP)
        terminal.shows("▸ oak/chair")
        terminal.press("r")
        terminal.shows("Only a failed job can be retried")
        terminal.press("\r")
        terminal.shows("job 0123456789ab", "task-uuid-1")
        terminal.press(END)
        terminal.shows("as the test wants it")
        terminal.press("g")
        terminal.shows("Kind  ")
        terminal.press("q")
        terminal.shows("▸ oak/chair")
        terminal.press("q")
        assert terminal.ended() == 0
        assert terminal.is_given_back()


@pytest.mark.parametrize(
    ("job", "asked", "pay_again"),
    [
        (a_failed_job(), "Retry? Takes it up again, from the files in failed/. It may cost 0.5 credits.", False),
        (
            a_failed_job(charges=1, task=Task("t", SECRET, 5.0)),
            "Retry? Asks the vendor for its results again, free of charge.",
            False,
        ),
    ],
)
def test_a_retry_says_its_price_and_is_about_what_was_seen(stage: Stage, job: Job, asked: str, pay_again: bool) -> None:
    """The command that is left is the one that `retry` leaves."""
    stage.journaled(job)
    with watched(stage) as terminal:
        terminal.shows("▸ lamp")
        terminal.press("r")
        assert asked in " ".join(terminal.shows("y: yes").split())
        terminal.press("y")
        terminal.shows("The service is not running: the command will run when it starts.")
    with closing(Journal(stage.journal)) as journal:
        [command] = journal.open_commands()
    seen = Seen.of(job).as_data()
    assert (command.verb, command.arguments) == ("retry", {"pay_again": pay_again, "job": job.id, "seen": seen})


def test_nothing_is_asked_of_the_service_unseen(stage: Stage) -> None:
    """A y that was typed before the question can be read is no answer; any other key than y leaves all as it was."""
    stage.journaled(a_failed_job())
    with watched(stage) as terminal:
        terminal.shows("▸ lamp")
        terminal.press("ry")
        terminal.shows("y: yes")
        terminal.press("x")
        terminal.press("n")
        terminal.shows("Nothing was changed.")
        terminal.press("p")
        terminal.shows("Pause?")
        terminal.press("\x1b")
        terminal.until(lambda text: "Pause?" not in text)
    with closing(Journal(stage.journal)) as journal:
        assert journal.open_commands() == []


@pytest.mark.parametrize(("end", "code"), [("\x03", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_every_end_gives_the_terminal_back(stage: Stage, end: str | signal.Signals, code: int) -> None:
    """By a key or by a signal: modes, cursor, first screen."""
    stage.journaled(a_job())
    with watched(stage) as terminal:
        terminal.shows("▸ oak/chair")
        assert not terminal.is_given_back()
        if isinstance(end, str):
            terminal.press(end)
        else:
            terminal.process.send_signal(end)
        assert terminal.ended() == code
        assert terminal.is_given_back()
        assert b"Traceback" not in terminal.written


def test_ctrl_z_gives_it_back_for_a_while(stage: Stage) -> None:
    """Stopped by Ctrl-Z the shell has its terminal; `fg` shows the view again."""
    stage.journaled(a_job())
    with watched(stage) as terminal:
        terminal.shows("▸ oak/chair")
        terminal.press("\x1a")
        _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        terminal.until(lambda _text: terminal.is_given_back(), "the terminal as it was")
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(lambda _text: not terminal.is_given_back(), "the view again")
        terminal.shows("▸ oak/chair")
        terminal.press("q")
        assert terminal.ended() == 0


def test_it_fits_any_size(stage: Stage) -> None:
    """Wide, narrow, tiny: names of wide characters, and of marks that have no width, are cut by columns, and the keys are always to be seen."""
    marks = a_job(id="bbbbbbbbbbbb", fingerprint="marks", folder="", name="e\u0301" * 60)
    stage.journaled(a_job(name="椅子" * 30), marks, a_failed_job())
    with watched(stage, NO_COLOR="1") as terminal:
        terminal.shows("▸ oak/椅", f"  {'é' * 23}… delivered")
        for columns, lines in ((200, 50), (40, 12), (20, 6), (9, 3), (80, 24)):
            terminal.resize(columns, lines)
            terminal.shows("↑↓ move"[: min(columns - 1, 7)])
        terminal.shows("▸ oak/椅", "lamp")
        terminal.resize(40, 4)
        terminal.press("p")
        terminal.shows("costs nothing.", "y: yes")  # where there is no room for more
    assert not COLOR.search(terminal.written)


def test_a_terminal_without_such_characters(stage: Stage) -> None:
    """In an encoding that has no bars, plain characters stand for them."""
    stage.journaled(a_job(name="椅子"), *history(9.0), *at_the_vendor("aaaaaaaaaaaa", "table", time.time()))
    with watched(stage, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0") as terminal:
        terminal.shows("> oak/table", "....", "---")
        assert terminal.written.isascii()


def test_without_a_terminal_the_page_is_printed_once(stage: Stage) -> None:
    """Into a pipe, or on a terminal that can do nothing."""
    stage.journaled(a_job())
    page = stage.told("status")
    assert stage.told("status", "--watch").stdout == page.stdout
    with watched(stage, TERM="dumb") as terminal:
        assert terminal.ended() == 0
    assert terminal.written.replace(b"\r\n", b"\n").decode() == page.stdout


def test_a_journal_that_is_away_or_locked_is_said_and_the_view_goes_on(stage: Stage) -> None:
    """What is shown stays, the keys work, and the notice ends with its cause."""
    stage.journaled(a_job(), a_failed_job())
    with watched(stage) as terminal:
        terminal.shows("▸ oak/chair")
        aside = stage.journal.rename(stage.journal.with_name("aside"))
        terminal.shows("! There is no journal", "▸ oak/chair")
        terminal.press(DOWN)
        terminal.shows("▸ lamp")
        aside.rename(stage.journal)
        terminal.until(lambda text: "There is no journal" not in text)
        with closing(sqlite3.connect(stage.journal)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            terminal.shows("locked")
            terminal.press(UP)
            terminal.shows("▸ oak/chair")
        terminal.until(lambda text: "locked" not in text)


def test_a_service_that_hangs_is_said(stage: Stage) -> None:
    """It holds its lock, and has not ticked for a while."""
    stage.journaled(a_job())
    health = Health(time.time() - 90, time.monotonic() - 90, 0, 0, {}, {}, 0.0, "", ())
    with Lock(stage.root / ".rodin-watchd" / "lock"):
        leave_heartbeat(sign_path(stage.journal), health)
        with watched(stage, "--no-color") as terminal:
            terminal.shows("HUNG since")
    assert not COLOR.search(terminal.written)


def test_keys_are_known_by_their_sequences() -> None:
    """Also several in one piece; of a sequence that is not known, no letter is a key."""
    assert keys_in("\x1b[A\x1bOBjq") == ["up", "down", "j", "q"]
    assert keys_in("\x1b[1;5Cy\x1b[200~r\x1b") == ["y", "r", "escape"]
    assert keys_in("\x1b\x1b[6~\x01椅\x0c") == ["escape", "page-down", "椅", "refresh"]
