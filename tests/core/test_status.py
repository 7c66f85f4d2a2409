"""STATUS.txt: one page that tells whoever dropped a set where it is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import NOW, SECRET, SET_PROBLEM, TASK, a_job, some_files

from rodin_watchd.core.dedup import bought_before
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.status import (
    DOING,
    MOST_LINES,
    Line,
    Page,
    ended_line,
    is_page,
    job_line,
    render,
    signed,
    sorted_jobs,
    status_text,
)
from rodin_watchd.core.wording import set_name
from rodin_watchd.errors import OutcomeUnknownError, SidecarError, TaskFailedError
from rodin_watchd.model import State

modest = settings(max_examples=100, deadline=None)
S = State
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=30)
WHEN = "2023-11-14 22:13:20 UTC"


# ---- lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_its_words(state: State) -> None:
    """In the words of whoever dropped the set, none of them the machine's own name for an intent."""
    assert DOING[state]
    assert not {"submitting", "uploading", "failing", "staged"} & set(DOING[state].replace(",", "").split())


@pytest.mark.parametrize("state", [state for state in State if state not in ENDED])
def test_a_live_job_says_where_it_is_and_since_when(state: State) -> None:
    """Its set with its folder, its state in words, its id, and when it came there."""
    doing = f"{DOING[state]} (hold 2)" if state is S.HELD else DOING[state]
    assert job_line(a_job(state, folder="anna", holds=2)) == Line("anna/chair", doing, "abc123def456", NOW)


def test_a_job_at_the_vendor_tells_the_vendor_s_word() -> None:
    """How far it is."""
    assert job_line(a_job(S.SUBMITTED, progress="2 of 3 parts done")).text == (
        "the vendor works on it (2 of 3 parts done)"
    )


def test_a_job_that_tries_again_says_why() -> None:
    """As long as it has trouble of its own; trouble of the whole service is told once, at the top."""
    text = "the vendor works on it; trying again: The vendor's answer could not be understood."
    assert job_line(a_job(S.SUBMITTED, attempts=2, problem=SET_PROBLEM)).text == text
    assert job_line(a_job(S.SUBMITTED, attempts=0, problem=SET_PROBLEM)).text == "the vendor works on it"


def test_a_held_job_tells_cause_cost_and_what_to_type() -> None:
    """All that a person needs to decide."""
    problem = OutcomeUnknownError("No answer came.").problem
    assert job_line(a_job(S.HELD, problem=problem, holds=2)).text == (
        "held for a person's decision (hold 2): No answer came. Cost: perhaps 0.5 credits, if the vendor accepted the last "
        "try. Your files are safe, and nothing more is paid for them. Tell the person who runs the service: they decide. "
        "(For the person who runs the service: Look into the vendor's account, then use `rodin-watchd resolve abc123def456 --hold 2`.)"
    )


def test_a_job_that_is_being_buried_says_what_it_failed_of() -> None:
    """Also while that takes several tries."""
    text = "failed, the report is being written: The vendor's answer could not be understood."
    assert job_line(a_job(S.FAILING, problem=SET_PROBLEM, attempts=3)).text == text


def test_ended_jobs_say_where_they_are_and_what_they_cost() -> None:
    """The result's folder, or the cause and where the report lies."""
    done = ended_line(a_job(S.ARCHIVED))
    assert done == Line("chair", "delivered to outbox/chair. Cost: 0.5 credits.", "abc123def456", NOW)
    lost = ended_line(a_job(S.FAILED, task=TASK, charges=1, problem=TaskFailedError("It failed.").problem))
    assert lost.text == "FAILED: It failed. Cost: 0.5 credits. See failed/chair/REPORT.txt"
    assert ended_line(a_job(S.FAILED)).text.startswith("FAILED: Cost: no credits")


def test_what_the_vendor_may_not_read_stands_behind_each_line_of_a_job() -> None:
    """While it runs, and when it has ended."""
    model, *others = some_files()
    files = (replace(model, warnings=("it needs A",)), *others)
    for line in (job_line(a_job(S.SUBMITTED, files=files)), ended_line(a_job(S.ARCHIVED, files=files))):
        assert line.text.endswith(" Note: “chair.glb”: it needs A.")


def test_jobs_are_sorted_into_running_and_held_oldest_first() -> None:
    """Ended ones are neither; the order does not depend on the journal's."""
    jobs = [
        a_job(S.SUBMITTED, id="b", created_at=NOW),
        a_job(S.HELD, id="c", created_at=NOW - 5),
        a_job(S.STAGED, id="a", created_at=NOW),
        a_job(S.GENERATED, id="d", created_at=NOW - 9),
        a_job(S.ARCHIVED, id="e"),
    ]
    running, held = sorted_jobs(jobs)
    assert [line.job_id for line in running] == ["d", "a", "b"]
    assert [line.job_id for line in held] == ["c"]
    assert sorted_jobs(jobs[::-1]) == (running, held)


@pytest.mark.parametrize(
    ("folder", "name", "told"),
    [("", "chair", "chair"), ("a/b", "chair", "a/b/chair"), ("", "a\nb\udcff", r"a\nb\udcff")],
)
def test_a_set_is_told_with_its_folder(folder: str, name: str, told: str) -> None:
    """On one line, whatever it is called."""
    assert set_name(folder, name) == told


# ---- the page -------------------------------------------------------------------------------------------------------


OPENING = """rodin_watchd: drop files into inbox/.
  texture: a model and an image of the same name
  new model: one to five images, or a prompt alone; a TOML file says kind = "generate\""""


FRESH = (
    "The service writes this page again at least every 10 minutes while it runs. If this time is older, it has stopped: "
    "tell the person who runs it."
)


def test_a_page_of_a_service_that_stopped_says_since_when() -> None:
    """Nobody waits for what does not come."""
    told = status_text(Page(stopped_at=NOW), NOW + 5, UTC).split("\n\n")[1]
    assert told.startswith(f"STOPPED since {WHEN}: nothing is taken or delivered")
    assert "Written" not in told


def test_failed_sets_stay_with_their_count() -> None:
    """Whatever came after; and that there may be older ones."""
    line = Line("chair", "FAILED: it is a PNG.", "abc", NOW)
    text = render(Page(failed=(line, line), older_failed=True, recent=(Line("sofa", "delivered"),)), UTC)
    assert f"\nFAILED: see failed/ (2)\n  chair: FAILED: it is a PNG.  [{WHEN}]  (job abc)\n" in text
    assert "  … and perhaps older ones: look into failed/\n\nNewest results (1)\n" in text


def test_what_was_delivered_before_has_not_failed() -> None:
    """It is done already, and the line says where."""
    same = a_job(S.ARCHIVED, place="outbox/chair")
    line = ended_line(a_job(S.FAILED, problem=bought_before(same).problem))
    assert line.text == (
        "already done: The same model, image and options were delivered before: look in outbox/chair (job abc123def456). "
        "Cost: no credits. What you dropped lies in failed/chair."
    )


def test_an_empty_page_says_how_to_begin() -> None:
    """When it was written, and that nothing waits, runs or came out."""
    assert status_text(Page(), NOW, UTC) == (
        f"{OPENING}\n\nWritten {WHEN}. {FRESH}\n\nWaiting in the inbox\n  nothing\n\nRunning\n  nothing\n\nNewest results\n  none yet\n"
    )


def test_pages_of_all_versions_are_known_as_the_services_own() -> None:
    """A page is signed; of early versions, which did not sign, the first line says whose it is. Anything else is somebody's file."""
    early = b"rodin_watchd: drop a model and an image of the same name into inbox/.\n\nRunning\n  nothing\n"
    assert is_page(early)
    assert is_page(signed(early.decode()).encode())
    assert is_page(signed(status_text(Page(), NOW, UTC)).encode())
    assert not is_page(status_text(Page(), NOW, UTC).encode())
    assert not is_page(signed(status_text(Page(), NOW, UTC)).encode() + b"my notes\n")


def test_a_full_page_tells_everything_in_its_place() -> None:
    """Trouble first, then what waits and for what, what runs, what a person has to decide, what came out, what is ignored."""
    page = Page(
        notices=("Paused since noon: no credits.",),
        waiting=(Line("anna/chair", "waits for an image", since_at=NOW),),
        running=(Line("table", "being sent", "abc"),),
        held=(Line("lamp", "held for a person's decision", "def", NOW),),
        recent=(Line("sofa", "delivered to outbox/sofa", "123", NOW),),
        ignored=(("a hidden file", 3),),
    )
    assert render(page, UTC) == (
        "ATTENTION\n  ! Paused since noon: no credits.\n"
        f"\nWaiting in the inbox (1)\n  anna/chair: waits for an image  [{WHEN}]\n"
        "\nRunning (1)\n  table: being sent  (job abc)\n"
        f"\nHELD: the person who runs the service has to decide (1)\n  lamp: held for a person's decision  [{WHEN}]  (job def)\n"
        f"\nNewest results (1)\n  sofa: delivered to outbox/sofa  [{WHEN}]  (job 123)\n"
        "\nIgnored files in the inbox\n  3 x a hidden file\n"
    )


def test_the_page_stays_one_page() -> None:
    """Ten thousand sets wait, each with the longest of stories: they are counted, and the page can be read."""
    lines = tuple(Line(set_name("x" * 300, f"set{n}"), "long story " * 1000, "abc", NOW) for n in range(10_000))
    text = render(Page(waiting=lines, running=lines, held=lines, recent=lines, notices=("y" * 9999,)), UTC)
    assert text.count("  … and 9,960 more\n") == 4
    assert "Waiting in the inbox (10,000)\n" in text
    assert text.count("\n") < 4 * (MOST_LINES + 5) + 10
    assert len(text.encode()) < 4 * MOST_LINES * 800


def test_what_is_not_listed_is_counted_all_the_same() -> None:
    """Of 10,000 sets the page has the first by name, and how many more there are; also when it comes back from the journal."""
    lines = tuple(Line(f"set{n}", "waits for an image") for n in range(MOST_LINES + 1))
    page = Page(waiting=lines, done=lines[:2], more_waiting=9_000, more_done=3)
    assert page.all_waiting == 9_000 + len(lines)
    text = render(page, UTC)
    assert f"Waiting in the inbox ({9_000 + len(lines):,})\n" in text
    assert "  … and 9,001 more\n" in text
    assert "Finished, and still in the inbox (5)\n" in text
    assert Page.of_data(json.loads(json.dumps(page.as_data()))) == page


@modest
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=5), ANY_TEXT)
def test_no_text_from_outside_makes_a_line_of_its_own(names: list[tuple[str, str]], message: str) -> None:
    """Names and messages stay within their line, and the page is UTF-8 that can be printed."""
    problem = SidecarError(message or "x").problem
    jobs = [a_job(S.FAILED, folder=f, name=n, place=f"failed/{n}", problem=problem) for f, n in names]
    recent = tuple(map(ended_line, jobs))
    text = render(Page(notices=(message,), recent=recent, waiting=tuple(Line("x", message) for _ in jobs)), UTC)
    assert text.encode().decode() == text
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count("\n") == 9 + 2 * max(len(names), 1)


def test_a_sidecar_with_many_mistakes_is_told_on_one_line() -> None:
    """Its report has them one under the other; the page does not lose its shape."""
    job = a_job(S.FAILED, problem=SidecarError("a.toml line 1: no\na.toml line 2: no").problem)
    assert "FAILED: a.toml line 1: no. a.toml line 2: no. Cost:" in render(Page(recent=(ended_line(job),)), UTC)


def test_the_same_facts_make_the_same_text() -> None:
    """No running clock is in it, so the file is written only when there is something new to read."""
    jobs = [a_job(S.SUBMITTED, progress="1 of 3 parts done"), a_job(S.HELD, id="x", problem=SET_PROBLEM)]
    running, held = sorted_jobs(jobs)
    page = Page(running=running, held=held, recent=(ended_line(a_job(S.ARCHIVED)),))
    later, later_held = sorted_jobs([replace(job, not_before=NOW + 50, attempts=0) for job in jobs])
    again = replace(page, running=later, held=later_held)
    assert page == again
    assert render(page, UTC) == render(again, UTC)


def test_the_page_comes_back_from_the_journal_as_it_was() -> None:
    """Through JSON, for the command line."""
    line = Line("anna/chair", "waits", since_at=NOW)
    page = Page(("paused",), (line,), (replace(line, job_id="abc"),), (line,), (line, line), (("hidden", 2),))
    assert Page.of_data(json.loads(json.dumps(page.as_data()))) == page


def test_no_secret_is_on_the_page() -> None:
    """Neither of a job that runs nor of one that is held."""
    jobs = [a_job(state, id=state.value, task=TASK, problem=SET_PROBLEM) for state in State]
    running, held = sorted_jobs(jobs)
    text = render(Page(running=running, held=held, recent=tuple(map(ended_line, jobs))), UTC)
    assert SECRET not in text


def test_many_reasons_to_ignore_files_are_counted() -> None:
    """The page stays a page, whatever lies in the inbox."""
    page = Page(ignored=tuple((f"reason {number}", 2) for number in range(MOST_LINES + 5)))
    assert render(page, UTC).endswith(f"  2 x reason {MOST_LINES - 1}\n  … and 10 more\n")
