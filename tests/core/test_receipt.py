"""Receipts and reports: what a job leaves behind in words."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import NOW, RESULTS, SECRET, TASK, a_job, all_problems, some_files

from rodin_watchd.core.receipt import is_as_written, receipt, report_text, report_toml, sealed, with_choice
from rodin_watchd.core.wording import WHO_CAN_ACT, advice, advice_in_full, cost, in_credits, instant, local
from rodin_watchd.errors import (
    CanceledError,
    Fault,
    FileRefusedError,
    NetworkError,
    OutcomeUnknownError,
    Problem,
    SidecarError,
    TaskFailedError,
)
from rodin_watchd.model import Answer, Batch, Job, ResultFile, State

modest = settings(max_examples=150, deadline=None)
BERLIN = timezone(timedelta(hours=1), "CET")
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=30)
HOSTILE = "x”\nWhat it cost:   nothing\r\x1b[2J\u202e\udcff\x00"


def delivered(**changes: object) -> Job:
    """Return a job at its good end."""
    return replace(a_job(State.PROCESSED, results=RESULTS, answer=Answer(201, SECRET.encode())), **changes)  # type: ignore[arg-type]  # test data


def failed(problem: Problem | None = None, **changes: object) -> Job:
    """Return a job on its way to `failed/`."""
    job = a_job(State.FAILING, problem=problem or FileRefusedError("“chair.glb” cannot be used: it is a PNG.").problem)
    return replace(job, **changes)  # type: ignore[arg-type]  # test data


# ---- money ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charges", "text"),
    [
        (0, "0 credits"),
        (1, "0.5 credits"),
        (2, "1 credit"),
        (3, "1.5 credits"),
        (20, "10 credits"),
        (201, "100.5 credits"),
    ],
)
def test_credits_are_told_exactly(charges: int, text: str) -> None:
    """Half a credit for each accepted submit: no rounding, no needless zeros."""
    assert in_credits(a_job(charges=charges).spent) == text


@pytest.mark.parametrize(
    ("charges", "problem", "text"),
    [
        (0, None, "no credits."),
        (1, None, "0.5 credits."),
        (2, TaskFailedError().problem, "1 credit."),
        (
            0,
            OutcomeUnknownError().problem,
            "perhaps 0.5 credits, if the vendor accepted the last try.",
        ),
        (
            1,
            OutcomeUnknownError().problem,
            "0.5 credits; and perhaps 0.5 credits more, if the vendor accepted the last try.",
        ),
    ],
)
def test_the_cost_is_told_with_its_doubt(charges: int, problem: Problem | None, text: str) -> None:
    """What is known, and what may come to it."""
    assert cost(a_job(charges=charges, problem=problem)) == text


# ---- receipts -------------------------------------------------------------------------------------------------------


def test_a_receipt_says_it_all() -> None:
    """What went in, what was asked, what it cost, when, and what came out: every fact of the job."""
    told = tomllib.loads(receipt(delivered(folder="anna/tische", retries=1), "1.2.3", NOW + 0.25))
    assert told["job"] == {
        "id": "abc123def456",
        "kind": "texture",
        "retries": 1,
        "set": "chair",
        "folder": "anna/tische",
        "credits": 0.5,
        "software": "rodin_watchd 1.2.3",
        "written_at": datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC),
    }
    assert told["options"] == {"prompt": "worn oak", "seed": 7}
    assert told["task"] == {"uuid": TASK.uuid, "submitted_at": datetime(2023, 11, 14, 22, 11, 50, tzinfo=UTC)}
    assert list(told["times"]) == ["created", "claimed", "processed"]
    assert told["inputs"][0] == {"role": "model", "name": "chair.glb", "bytes": 1000, "sha256": "aa" * 32}
    assert [r["name"] for r in told["results"]] == ["model.glb", "preview.webp"]
    assert told["results"][1] == {
        "name": "preview.webp",
        "bytes": 56,
        "sha256": "ef" * 32,
        "original_name": "p.webp",
    }


def test_a_receipt_without_a_task_has_none() -> None:
    """Nothing is made up."""
    assert "task" not in tomllib.loads(receipt(a_job(State.FAILING), "1", NOW))


@modest
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.text(max_size=20), st.floats(0, 4e9))
def test_whatever_the_names_hold_it_reads_back(name: str, folder: str, original: str, prompt: str, now: float) -> None:
    """TOML, whatever artists, servers and clocks come up with; what UTF-8 can hold comes back as it was."""
    job = delivered(
        name=name,
        folder=folder,
        files=some_files(name=name or "x"),
        options={"prompt": prompt, "reference_scale": 0.1},
        results=(ResultFile("m.glb", original, 1, "ab"),),
    )
    text = receipt(job, "1", now)
    told = tomllib.loads(text.encode().decode())
    assert (told["options"], told["results"][0]["name"]) == ({"prompt": prompt, "reference_scale": 0.1}, "m.glb")
    assert told["job"]["set"] == name.encode("utf-8", "backslashreplace").decode()
    assert abs(told["job"]["written_at"].timestamp() - now) < 0.001


# ---- reports --------------------------------------------------------------------------------------------------------


def test_a_report_reads_well() -> None:
    """Cause, fault, cost, advice and where to ask, in plain words."""
    text = report_text(failed(), NOW, BERLIN, ("“chair.toml” vanished. It stays where it is.",))
    assert text == (
        "“chair” was not textured.\n"
        "\n"
        "What happened:  “chair.glb” cannot be used: it is a PNG.\n"
        "Who can act:    you, who dropped the files\n"
        "What it cost:   no credits.\n"
        "What to do:     Correct the files and drop the set into the inbox again.\n"
        "Note:           “chair.toml” vanished. It stays where it is.\n"
        "\n"
        "Job abc123def456, 2023-11-14 23:13:20 CET.\n"
    )


def test_a_report_about_a_task_names_it() -> None:
    """Whoever asks the vendor's support needs its id; and the command to type has the job's."""
    text = report_text(
        failed(
            CanceledError(advice="`rodin-watchd retry JOB` helps.").problem, task=TASK, charges=1, spent=Decimal("0.5")
        ),
        NOW,
        UTC,
    )
    assert f"The vendor's task is {TASK.uuid}.\n" in text
    assert "What it cost:   0.5 credits.\n" in text
    assert "What to do:     `rodin-watchd retry abc123def456` helps.\n" in text


def test_several_mistakes_are_several_lines() -> None:
    """Each mistake of a sidecar under the other."""
    text = report_text(failed(SidecarError("chair.toml line 1: no\nchair.toml line 9: no").problem), NOW, UTC)
    assert "What happened:  chair.toml line 1: no.\n                chair.toml line 9: no.\nWho can act:" in text


@pytest.mark.parametrize("problem", all_problems())
def test_every_error_makes_a_whole_report(problem: Problem) -> None:
    """Each line has its words; the machine's report says the same."""
    job = failed(problem)
    lines = report_text(job, NOW, UTC).splitlines()
    labels = ["What happened:", "Who can act:", "What it cost:", "What to do:"]
    assert [line[:16].rstrip() for line in lines[2:6]] == labels
    assert all(len(line) > 20 for line in lines[2:6])
    told = tomllib.loads(report_toml(job, "1", NOW))
    assert told["problem"] == {
        "code": problem.code,
        "fault": problem.fault.value,
        "message": problem.message,
        "advice": advice_in_full(job),
        "notes": [],
    }
    assert told["job"]["cost_is_certain"] == (problem.code != "unknown-outcome")


def test_what_the_vendor_may_not_read_is_in_receipt_and_report() -> None:
    """Of each file, with its name."""
    model, *others = some_files()
    files = (replace(model, warnings=("it needs A", "it needs B")), *others)
    told = ["“chair.glb”: it needs A.", "“chair.glb”: it needs B."]
    assert tomllib.loads(receipt(a_job(State.ARCHIVED, files=files), "1", NOW))["job"]["notes"] == told
    job = replace(failed(NetworkError().problem), files=files)
    assert tomllib.loads(report_toml(job, "1", NOW))["problem"]["notes"] == told
    assert all(f"Note:           {note}" in report_text(job, NOW, UTC) for note in told)


def test_everybody_who_can_be_at_fault_has_a_name() -> None:
    """In words for people."""
    assert set(WHO_CAN_ACT) == set(Fault)


@modest
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=3))
def test_no_text_from_outside_forges_a_report(name: str, message: str, word: str, notes: list[str]) -> None:
    """Names, messages and notes stay within their lines: four labels, once each, and nothing that cannot be printed."""
    problem = replace(NetworkError().problem, message=message, advice=word)
    text = report_text(failed(problem, name=name), NOW, UTC, tuple(notes))
    lines = text.splitlines()
    assert text.encode().decode() == text
    assert all(line.isprintable() for line in lines)
    assert [line.partition(":")[0] for line in lines if line.startswith(("What ", "Who "))] == [
        "What happened",
        "Who can act",
        "What it cost",
        "What to do",
    ]
    assert sum(line.startswith("Note:") for line in lines) == len(notes)


def test_a_hostile_name_does_not_speak_for_the_report() -> None:
    """A line end in a name is no new line, a bidirectional override turns nothing around."""
    job = failed(FileRefusedError(f"“{HOSTILE}” is bad.").problem, name=HOSTILE, task=replace(TASK, uuid=HOSTILE))
    text = report_text(job, NOW, UTC, (HOSTILE,))
    assert text.count("\nWhat it cost:") == 1
    assert not {"\r", "\x1b", "\x00", "\u202e", "\udcff"} & set(text)
    tomllib.loads(report_toml(job, "1", NOW, (HOSTILE,)))


def test_a_long_message_is_bounded() -> None:
    """A vendor's novel becomes an excerpt."""
    assert len(report_text(failed(FileRefusedError("x" * 100_000).problem), NOW, UTC)) < 1500


def test_a_job_without_a_problem_has_no_report() -> None:
    """That would be a fault of the program."""
    with pytest.raises(ValueError, match="problem"):
        report_text(delivered(), NOW, UTC)
    assert advice(delivered()) == ""


def test_no_secret_is_ever_written() -> None:
    """Neither the subscription key nor the vendor's raw answer, in any text."""
    job = failed(task=TASK, answer=Answer(201, SECRET.encode()), results=RESULTS)
    texts = (receipt(job, "1", NOW), report_toml(job, "1", NOW), report_text(job, NOW, UTC))
    assert not any(SECRET in text or "subscription" in text for text in texts)


# ---- instants -------------------------------------------------------------------------------------------------------


@modest
@given(st.floats(0, 4e9))
def test_an_instant_is_whole_milliseconds_of_utc(at: float) -> None:
    """As TOML writes it, to the next millisecond."""
    told = instant(at)
    assert told.tzinfo is UTC
    assert told.microsecond % 1000 == 0
    assert abs(told.timestamp() - at) <= 0.0006


def test_people_read_local_time_with_its_zone() -> None:
    """Not everybody lives in Greenwich."""
    assert local(NOW, BERLIN) == "2023-11-14 23:13:20 CET"


def test_the_same_job_makes_the_same_texts() -> None:
    """A redo after a crash writes what was written."""
    job = failed(task=TASK)
    assert receipt(job, "1", NOW) == receipt(replace(job), "1", NOW)
    assert report_toml(job, "1", NOW) == report_toml(replace(job), "1", NOW)


def test_an_edited_receipt_is_known() -> None:
    """Whatever is changed, wherever; and anything else is none."""
    for text in (receipt(delivered(), "1", NOW), report_toml(failed(), "1", NOW, text="It failed.")):
        data = text.encode()
        assert is_as_written(data)
        assert tomllib.loads(text)["unchanged"]["sha256"]
        for place in range(0, len(data) + 1, 7):
            assert not is_as_written(data[:place] + b" " + data[place:])
    assert not any(map(is_as_written, (b"", b"\xff", b'\n[unchanged]\nsha256 = "')))


# ---- which job of a set is chosen -----------------------------------------------------------------------------------


def test_a_choice_changes_one_value_of_a_receipt() -> None:
    """All else stays, the digest is that of the new text, and what has it already is the same bytes."""
    job = replace(a_job(), batch=Batch("b", "seed-1", 2, "chair"))
    before = receipt(job, "1", 5.0).encode()
    after = with_choice(before, replace(job, chosen=True))
    assert is_as_written(after)
    old, new = (tomllib.loads(data.decode()) for data in (before, after))
    assert (old["job"].pop("chosen"), new["job"].pop("chosen")) == (False, True)
    assert {**old, "unchanged": {}} == {**new, "unchanged": {}}
    assert with_choice(after, replace(job, chosen=True)) == after
    assert with_choice(after, job) == before


def test_a_receipt_of_a_version_before_has_no_choice() -> None:
    """It is not changed for a job that is not chosen, and gets the value for one that is."""
    job = replace(a_job(), batch=Batch("b", "seed-1", 2, "chair"))
    alone = receipt(replace(job, batch=None), "1", 5.0).encode()
    assert b"chosen" not in alone
    assert with_choice(alone, job) == alone
    assert tomllib.loads(with_choice(alone, replace(job, chosen=True)).decode())["job"]["chosen"] is True


@pytest.mark.parametrize("other", [b"", b"x", b"[job]\n", b"\xff", b"[unchanged]\nsha256 = 1"])
def test_what_is_no_receipt_of_the_job_is_not_changed(other: bytes) -> None:
    """Nor is an edited one, one of another job, and text that carries a digest of its own."""
    job = a_job()
    mine = receipt(job, "1", 5.0).encode()
    foreign = (other, mine + b"\n", mine.replace(b"chair", b"stool"), sealed("[[job]]\n").encode())
    assert [with_choice(data, job) for data in foreign] == [b""] * 4
    assert with_choice(mine, replace(job, id="another")) == with_choice(mine, replace(job, retries=9)) == b""


@pytest.mark.parametrize("value", ["[" * 250 + "]" * 250, "{a=" * 150 + "1" + "}" * 150], ids=["lists", "tables"])
def test_a_receipt_that_is_nested_too_deep_is_not_changed(value: str) -> None:
    """It carries the right digest, and could be read, and not be written again."""
    job = a_job()
    crafted = sealed(f'x = {value}\n[job]\nid = "{job.id}"\nretries = {job.retries}\n').encode()
    assert is_as_written(crafted)
    assert with_choice(crafted, replace(job, chosen=True)) == b""
