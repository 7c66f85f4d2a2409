"""What people ask for, through the journal's table of commands as the command line does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import Vendor, Workshop, image, model, working

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
    due = shop.daemon._reception.next_due_seconds()
    assert min(due) > 0
    looked_at = shop.daemon._reception._looked_at
    shop.ticks(50)
    assert shop.daemon._reception._looked_at == looked_at


def test_a_pause_drops_an_upload_before_its_last_bytes(shop: Workshop, vendor: Vendor) -> None:
    """`pause` means that nothing is submitted, also what was being sent; it is sent after `resume`."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    shop.daemon._commands.paused = True
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
    assert shop.path("outbox/chair/model.glb").exists()
    assert shop.found("archive") == {"chair/chair.png", "chair/job.toml"}
    assert vendor.charges == 1


def test_retry_of_a_failed_task_has_to_pay_again(tmp_path: Path) -> None:
    """Asking again for a task that failed at the vendor is refused; `pay_again` submits it anew, and both are counted."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        answer = shop.command("retry", job="chair")
        assert not answer["ok"]
        assert "--pay-again" in answer["message"]
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert len(vendor.emulator.ledger()["charges"]) == 2
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
        assert "being worked on already" in shop.report("chair")
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


REFUSED: list[tuple[str, dict[str, object], str]] = [
    ("retry", {"job": "chair"}, "Only a failed job can be retried"),
    ("retry", {"job": "nobody"}, "There is no job"),
    ("retry", {}, "There is no job"),
    ("cancel", {"job": "chair"}, "cannot be canceled"),
    ("resolve", {"job": "chair", "how": "not-charged"}, "Only a held job needs resolving"),
    ("resolve", {"job": "chair", "how": "by magic"}, "cannot be resolved by"),
    ("resolve", {"job": "chair", "how": "task"}, "The task is not named"),
    ("resolve", {"job": "chair", "how": "task", "task": None}, "The task is not named"),
    ("dance", {"job": "chair"}, "does not know the command “dance”"),
]


def test_what_does_not_fit_is_refused_in_words(shop: Workshop) -> None:
    """A command that cannot be carried out is answered, changes nothing and stops nobody."""
    shop.drop_set("chair")
    shop.idle()
    for verb, arguments, reason in REFUSED:
        answer = shop.command(verb, **arguments)
        assert (answer["ok"], reason in answer["message"]) == (False, True), answer
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
