"""What people ask for, through the journal's table of commands as the command line does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import Vendor, Workshop, image, model, working

from rodin_watchd.adapters.store.backup import make_backup
from rodin_watchd.model import State


def test_pause_takes_and_submits_nothing_until_resume(shop: Workshop, vendor: Vendor) -> None:
    """A paused service says so in STATUS.txt, leaves complete sets in the inbox, and counts as idle."""
    assert shop.command("pause")["ok"]
    shop.drop_set("chair")
    shop.idle()
    assert shop.jobs() == []
    assert "chair: complete, but the service is paused" in shop.status()
    assert "Paused by request" in shop.status()
    assert shop.daemon.needs_person()
    assert shop.command("resume") == {"ok": True, "message": "Resumed."}
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert "ATTENTION" not in shop.status()
    assert vendor.charges == 1


def test_a_paused_service_looks_at_the_inbox_no_more_often_than_else(shop: Workshop) -> None:
    """Sets that wait for `resume` do not make the loop spin."""
    shop.command("pause")
    shop.drop_set("chair")
    shop.idle()
    due = shop.daemon.parts.reception.next_due_seconds()
    assert min(due) > 0
    looks = shop.daemon.parts.reception.looks
    shop.ticks(50)
    assert shop.daemon.parts.reception.looks == looks


def test_a_pause_drops_an_upload_before_its_last_bytes(shop: Workshop, vendor: Vendor) -> None:
    """`pause` means that nothing is submitted, also what was being sent; it is sent after `resume`."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    shop.daemon.parts.commands.paused = True
    shop.until(shop.is_in("chair", State.STAGED))
    shop.ticks(20, step_seconds=10)
    assert vendor.charges == 0
    assert shop.command("resume")["ok"]
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (vendor.charges, vendor.uploads) == (1, 1)
    assert shop.job("chair").attempts == 0


@pytest.mark.parametrize("called", ["chair", "id", "prefix"])
def test_cancel_drops_an_upload_before_its_last_bytes(shop: Workshop, vendor: Vendor, called: str) -> None:
    """A job that is being sent is canceled for free, whatever it is called by: by its set, its id or the id's start."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    job_id = shop.job("chair").id
    name = {"chair": "chair", "id": job_id, "prefix": job_id[:5]}[called]
    assert shop.command("cancel", job=name)["ok"]
    shop.idle()
    assert shop.states() == {"chair": State.FAILED}
    assert "Canceled on request" in shop.report("chair")
    assert "no credits" in shop.report("chair")
    assert vendor.charges == 0
    shop.assert_nothing_lost()


def test_cancel_of_a_paid_job_says_what_it_cost(shop: Workshop, vendor: Vendor) -> None:
    """A job that is at the vendor can be canceled; the report says that it was paid, and `retry` fetches it for free."""
    shop.drop_set("chair")
    shop.until(lambda: shop.is_in("chair", State.SUBMITTED)() or shop.is_in("chair", State.GENERATED)())
    assert shop.command("cancel", job="chair")["ok"]
    shop.idle()
    assert "0.5 credits" in shop.report("chair")
    assert shop.command("retry", job="chair")["ok"]
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (vendor.charges, vendor.uploads) == (1, 1)
    assert shop.found("failed") == set()
    shop.assert_nothing_lost()


def test_notes_in_a_report_stay_at_a_retry(tmp_path: Path) -> None:
    """What a person wrote into either of the reports is still there when the set is delivered."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, _vendor):
        shop.drop_set("chair")
        shop.idle()
        for name in ("REPORT.txt", "report.toml"):
            report = shop.path("failed/chair") / name
            report.write_text(f"{report.read_text()}# asked support, ticket 4711\n")
        assert shop.command("retry", job="chair")["ok"]
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert shop.found("failed") == {"chair/REPORT.txt", "chair/report.toml"}
        assert all("ticket 4711" in shop.path(f"failed/{name}").read_text() for name in shop.found("failed"))


def test_retry_of_an_unpaid_job_takes_the_mended_files(tmp_path: Path) -> None:
    """A set that was refused by the vendor is taken from `failed/` and submitted again."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, vendor):
        shop.drop_set("chair", "seed = 3\n")
        shop.idle()
        assert shop.states() == {"chair": State.FAILED}
        assert shop.command("retry", job="chair")["ok"]
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert shop.found("failed") == set()
        assert (vendor.charges, vendor.uploads) == (1, 2)
        assert shop.job("chair").retries == 1
        shop.assert_nothing_lost()


def test_retry_fetches_a_paid_result_though_somebody_cleaned_up(tmp_path: Path, shop: Workshop, vendor: Vendor) -> None:
    """A paid result is delivered by `retry` for free, also when its inputs were removed from `failed/`."""
    shop.drop_set("chair")
    shop.until(lambda: shop.is_in("chair", State.SUBMITTED)() or shop.is_in("chair", State.GENERATED)())
    assert shop.command("cancel", job="chair")["ok"]
    shop.idle()
    (tmp_path / "failed" / "chair" / "chair.obj").unlink()
    assert shop.command("retry", job="chair")["ok"]
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert shop.path("outbox/chair/base_basic_pbr.glb").exists()
    assert shop.found("archive") == {"chair/chair.png", "chair/job.toml"}
    assert vendor.charges == 1


def test_retry_of_a_failed_task_has_to_pay_again(tmp_path: Path) -> None:
    """Asking again for a task that failed at the vendor is refused; `pay_again` submits it anew, and both are counted."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        answer = shop.command("retry", job="chair")
        assert not answer["ok"]
        assert f"`rodin-watchd retry --pay-again {shop.job('chair').id}`" in answer["message"]
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert vendor.charges_in_all == 2
        assert shop.job("chair").charges == 2
        shop.assert_nothing_lost()


def test_retry_beside_a_live_twin_fails_again(tmp_path: Path) -> None:
    """A failed job whose content is being worked on under another name is not paid beside it."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1", "empty-jobs") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.drop("twin.obj", model("chair"))
        shop.drop("twin.png", image("chair"))
        shop.until(shop.is_in("twin", State.SUBMITTED))
        assert shop.command("retry", job="chair")["ok"]
        shop.until(shop.is_in("chair", State.FAILED))
        assert "in progress already" in shop.report("chair")
        assert shop.states() == {"chair": State.FAILED, "twin": State.SUBMITTED}
        assert vendor.charges == 1


def test_resolve_of_a_held_job(tmp_path: Path) -> None:
    """A held job goes on as the person says: adopted with its task, submitted again, or given up."""
    with working(tmp_path, "lost-answer=3") as (shop, vendor):
        for name in ("adopted", "repeated", "dropped"):
            shop.drop_set(name)
            shop.idle()
        assert set(shop.states().values()) == {State.HELD}
        uuid = vendor.emulator.ledger()["charges"][0]["task_uuid"]
        assert shop.command("resolve", job="adopted", how="task", task=uuid)["ok"]
        assert shop.command("resolve", job="repeated", how="not-charged")["ok"]
        assert shop.command("resolve", job="dropped", how="give-up")["ok"]
        shop.idle()
        ends = {"adopted": State.ARCHIVED, "repeated": State.ARCHIVED, "dropped": State.FAILED}
        assert shop.states() == ends
        assert vendor.emulator.ledger()["uploads"]["begun"] == 4
        shop.assert_nothing_lost()


def test_a_wrong_task_holds_up_no_other_set(tmp_path: Path) -> None:
    """The vendor does not know it: it is asked for again, and its place is free for the next set."""
    with working(tmp_path, "lost-answer=1", api={"max_in_flight": 1}) as (shop, vendor):
        shop.drop_set("held")
        shop.idle()
        assert shop.command("resolve", job="held", how="task", task="a-task-of-nobody")["ok"]
        shop.drop_set("next")
        shop.until(shop.is_in("next", State.ARCHIVED))
        assert shop.states()["held"] is State.SUBMITTED
        assert vendor.charges == 2


REFUSED: list[tuple[str, dict[str, object], str]] = [
    ("retry", {"job": "chair"}, "Only a failed job can be retried"),
    ("retry", {"job": "nobody"}, "There is no job"),
    ("retry", {}, "There is no job"),
    ("cancel", {"job": "chair"}, "A job that is archived cannot be canceled"),
    ("cancel", {"job": "chair", "seen": None}, "does not say which state"),
    ("retry", {"job": "chair", "seen": {"state": "odd"}}, "does not say which state"),
    ("resolve", {"job": "chair", "seen": [1], "how": "not-charged"}, "does not say which state"),
    ("rerun", {"job": "chair", "seen": 7}, "does not say which state"),
    ("resume", {"seen": None}, "does not say which state"),
    ("approve", {"seen": "all"}, "does not say which state"),
    ("resolve", {"job": "chair", "how": "not-charged"}, "Only a held job needs resolving"),
    ("resolve", {"job": "chair", "how": "by magic"}, "cannot be resolved by"),
    ("resolve", {"job": "chair", "how": "task"}, "No task is given"),
    ("resolve", {"job": "chair", "how": "task", "task": None}, "No task is given"),
    ("dance", {"job": "chair"}, "does not know the command “dance”"),
]


def test_what_does_not_fit_is_refused_in_words(shop: Workshop) -> None:
    """A command that cannot be carried out is answered, changes nothing and stops nobody."""
    shop.drop_set("chair")
    shop.idle()
    for verb, arguments, reason in REFUSED:
        answer = shop.command(verb, **arguments)
        assert (answer["ok"], reason in answer["message"]) == (False, True), answer
        assert " JOB" not in answer["message"] or verb == "dance" or "chair" not in arguments.values()
    assert shop.states() == {"chair": State.ARCHIVED}


def test_a_task_of_another_job_cannot_be_adopted(tmp_path: Path) -> None:
    """Two jobs with one task would deliver one result twice and lose the other: refused."""
    with working(tmp_path, "lost-answer@2") as (shop, vendor):
        shop.drop_set("first")
        shop.idle()
        shop.drop_set("second")
        shop.idle()
        uuid = vendor.emulator.ledger()["charges"][0]["task_uuid"]
        answer = shop.command("resolve", job="second", how="task", task=uuid)
        assert not answer["ok"]
        assert "belongs to job" in answer["message"]
        assert shop.states() == {"first": State.ARCHIVED, "second": State.HELD}


def test_a_command_is_one_line_of_the_log(shop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    """What it changes is the line; what changes no job and what is refused is told by itself."""
    caplog.set_level("INFO")
    shop.command("pause")
    shop.command("resume")
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    shop.command("cancel", job="chair")
    shop.idle()
    shop.command("cancel", job="chair")
    job_id = shop.job("chair").id
    found = [(vars(record)["action"], record.getMessage(), vars(record).get("job")) for record in caplog.records]
    told = [line for line in found if line[0] in ("command", "cancel")]
    assert [action for action, _, _ in told] == ["command", "command", "cancel", "command"]
    assert [job for _, _, job in told] == [None, None, job_id, job_id]
    assert told[3][1].startswith("command cancel: refused: A job that is failed cannot be canceled.")


def test_a_repetition_is_not_called_like_a_persons_command(tmp_path: Path) -> None:
    """`repeated` is the service's own doing, `retry` a person's."""
    with working(tmp_path, "cut-download") as (shop, _):
        shop.drop_set("chair")
        shop.until(lambda: any(job.attempts > 1 for job in shop.jobs()))
        assert "repeated" in shop.actions(shop.job("chair"))
        assert "retry" not in shop.actions(shop.job("chair"))


# ---- what the person saw --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["at once", "uploading", "submitting", "held again", "stopped", "restarted"])
def test_one_resolve_is_leave_for_one_charge(tmp_path: Path, second: str) -> None:
    """Of two administrators who resolve the same hold one is heard, whenever the second one's word arrives."""
    with working(tmp_path, "lost-answer=5") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        resolve = {"job": "chair", "how": "not-charged", **shop.seen("resolve", {"job": "chair"})}
        numbers = []

        def leave() -> int:
            numbers.append(shop.leave("resolve", **resolve))
            return numbers[-1]

        if second == "stopped":
            shop.restart(lambda: (leave(), leave()))
        else:
            leave()
        if second == "at once":
            leave()
        elif second in ("uploading", "submitting"):
            shop.until(shop.is_in("chair", State(second)))
            leave()
        shop.until(lambda: shop.job("chair").holds == 2)
        if second == "held again":
            leave()
        elif second == "restarted":
            shop.restart(leave)
        assert shop.answer_to(numbers[0])["ok"]
        refused = shop.answer_to(numbers[1])
        shop.idle()
        shop.restart()
        shop.idle()
        assert not refused["ok"]
        assert "since you looked" in refused["message"] or "Only a held job needs resolving" in refused["message"]
        assert (shop.job("chair").state, shop.job("chair").holds) == (State.HELD, 2)
        assert vendor.charges_in_all == 2


def test_a_resolve_is_judged_when_it_arrives(tmp_path: Path) -> None:
    """One that arrives while the job is being sent is refused at once, with what the job is doing; it waits for nothing."""
    with working(tmp_path, "lost-answer=5") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        resolve = {"job": "chair", "how": "give-up", **shop.seen("resolve", {"job": "chair"})}
        assert shop.command("resolve", job="chair", how="not-charged")["ok"]
        shop.until(shop.is_in("chair", State.SUBMITTING))
        number = shop.leave("resolve", **resolve)
        shop.daemon.parts.commands.take(frozenset({shop.job("chair").id}))
        answer = shop.store.answer(number)
        assert answer is not None
        assert "this one is submitting: being sent" in answer["message"]
        shop.idle()
        later = shop.command("resolve", **resolve)
        assert "is held again since" in later["message"]
        assert "(hold 2)" in later["message"]
        assert f"rodin-watchd show {shop.job('chair').id}" in later["message"]
        assert f"resolve {shop.job('chair').id} --hold 2`" in shop.status()


def test_one_retry_is_leave_for_one_charge(tmp_path: Path) -> None:
    """Two administrators who both pay again for the same failure pay once more, not twice."""
    with working(tmp_path, "failed-job=5") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        retry = {"job": "chair", "pay_again": True, **shop.seen("retry", {"job": "chair"})}
        first = shop.leave("retry", **retry)
        second = shop.leave("retry", **retry)
        assert shop.answer_to(first)["ok"]
        assert "was taken up again since you looked" in shop.answer_to(second)["message"]
        shop.idle()
        assert shop.states() == {"chair": State.FAILED}
        assert not shop.command("retry", **retry)["ok"]
        shop.restart()
        assert not shop.command("retry", **retry)["ok"]
        assert vendor.charges_in_all == 2


def test_a_job_that_was_not_seen_failing_is_not_retried(shop: Workshop, vendor: Vendor) -> None:
    """Who saw it being sent has not read why it failed."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    seen = shop.seen("retry", {"job": "chair"})
    assert shop.command("cancel", job="chair")["ok"]
    shop.idle()
    assert (
        "This job continued since you looked: it is failed now" in shop.command("retry", job="chair", **seen)["message"]
    )
    assert shop.states() == {"chair": State.FAILED}
    assert vendor.charges == 0


def test_a_cancel_that_comes_too_late_to_save_money_is_refused(shop: Workshop, vendor: Vendor) -> None:
    """Left while the last bytes are under way, it waits for the answer; the job was paid, so it goes on, and that is said."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.SUBMITTING))
    refused = shop.command("cancel", job="chair")
    assert not refused["ok"]
    assert "This job was paid for since you looked. Cost: 0.5 credits." in refused["message"]
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert vendor.charges == 1


def test_a_second_cancel_does_not_stop_what_somebody_took_up_again(shop: Workshop) -> None:
    """It was about the run that the first one stopped."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    seen = shop.seen("cancel", {"job": "chair"})
    assert shop.command("cancel", job="chair", **seen)["ok"]
    shop.idle()
    assert shop.command("retry", job="chair")["ok"]
    assert "was taken up again since you looked" in shop.command("cancel", job="chair", **seen)["message"]
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}


def test_a_resume_ends_no_pause_that_came_later(shop: Workshop) -> None:
    """It ends the pause that was seen, and no other one, also when both were left while nobody served."""
    shop.command("pause")
    seen = shop.seen("resume", {})
    shop.command("pause")
    refused = shop.command("resume", **seen)
    assert "was paused again since you looked" in refused["message"]
    assert shop.daemon.parts.commands.paused
    shop.restart(lambda: (shop.leave("resume", **seen), shop.leave("pause")))
    shop.ticks(2)
    assert shop.daemon.parts.commands.paused
    assert shop.command("resume") == {"ok": True, "message": "Resumed."}
    assert shop.command("resume") == {"ok": True, "message": "The service is not paused."}
    assert not shop.daemon.parts.commands.paused


def test_a_command_is_answered_in_the_transaction_that_carries_it_out(tmp_path: Path) -> None:
    """What came of it is told truly after a crash at any moment: nothing is carried out and still open."""
    with working(tmp_path, "lost-answer=5") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        commits: list[bool] = []
        journal = shop.store
        number = shop.leave("resolve", job="chair", how="give-up", **shop.seen("resolve", {"job": "chair"}))
        journal._db.set_trace_callback(
            lambda text: commits.append(shop.job("chair").state is State.HELD) if text == "COMMIT" else None
        )
        shop.daemon.parts.commands.take(frozenset())
        journal._db.set_trace_callback(None)
        assert shop.answer_to(number)["ok"]
        assert len(commits) == 1


def test_a_backup_brings_no_command_back(shop: Workshop) -> None:
    """What nobody had answered when the copy was made may have been carried out, and paid for, before it is put back."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    place = shop.journal

    def put_back() -> None:
        shop.leave("cancel", job="chair", **shop.seen("cancel", {"job": "chair"}))
        copy = make_backup(place, shop.hands.seconds).read_bytes()
        for name in (f"{place}-wal", f"{place}-shm"):
            Path(name).unlink(missing_ok=True)
        place.write_bytes(copy)

    shop.restart(put_back)
    assert shop.store.open_commands() == []
