"""What the vendor does wrong: no set is blamed for it, none is paid twice, and the folder says what it waits for."""

from __future__ import annotations

import errno
import os
import socket
import tomllib
from pathlib import Path
from typing import IO, Any

import pytest
from workshop import emulated, working, workshop

from rodin_watchd.model import State

UNKNOWN = ("lost-answer@1", "charged-503@2", "submit-truncated@3", "no-uuid@4", "submit-html@5")


def test_an_unknown_outcome_is_held_and_never_sent_again(tmp_path: Path) -> None:
    """Whatever hides the answer to the last bytes, the job waits for a person, and the next set goes on."""
    with working(tmp_path, *UNKNOWN) as (shop, vendor):
        for fault in UNKNOWN:
            shop.drop_set(fault)
            shop.idle()
        assert shop.states() == dict.fromkeys(UNKNOWN, State.HELD)
        shop.drop_set("good")
        shop.idle()
        shop.ticks(3, step_seconds=100_000)
        assert shop.states() == {**dict.fromkeys(UNKNOWN, State.HELD), "good": State.ARCHIVED}
        assert (vendor.charges, vendor.uploads) == (6, 6)
        assert shop.status().count("perhaps 0.5 credits, if the vendor accepted the last try") == 5
        shop.command("resolve", job="lost-answer@1", how="give-up")
        shop.idle()
        assert shop.report_data("lost-answer@1")["job"]["cost_is_certain"] is False
        assert {"lost-answer@1/lost-answer@1.obj", "lost-answer@1/lost-answer@1.png"} <= shop.found("failed")


def test_a_429_pauses_all_calls_for_as_long_as_the_vendor_asks(tmp_path: Path) -> None:
    """After `Retry-After: 60` nobody calls for a minute, STATUS.txt says so once, and no attempt is used up."""
    with working(tmp_path, "submit-429=60@1") as (shop, vendor):
        for name in ("one", "two", "three"):
            shop.drop_set(name)
        shop.until(lambda: "ATTENTION" in shop.status() and not shop.daemon.parts.pool.busy)
        uploads = vendor.uploads
        assert shop.page().count("Paused since") == 1
        assert "Nobody has to do anything: the service goes on by itself." in shop.page()
        assert "\n".join(shop.notices()).count("Paused since") == 1
        began = shop.hands.seconds
        shop.until(lambda: vendor.uploads > uploads)
        assert shop.hands.seconds - began >= 55
        shop.idle()
        assert set(shop.states().values()) == {State.ARCHIVED}
        assert all(job.attempts == 0 for job in shop.jobs())
        assert "ATTENTION" not in shop.status()
        assert vendor.charges == 3


def test_a_status_429_pauses_submits_as_well(tmp_path: Path) -> None:
    """A throttled status call stops the uploads too: the account is throttled, not a job."""
    with working(tmp_path, "status-429=60@1") as (shop, vendor):
        shop.drop_set("one")
        shop.until(lambda: "asks for fewer calls" in shop.status())
        shop.drop_set("two")
        shop.until(shop.is_in("two", State.STAGED))
        shop.ticks(20, step_seconds=2)
        assert vendor.uploads == 1
        shop.idle()
        assert set(shop.states().values()) == {State.ARCHIVED}


def test_interim_answers_hide_nothing(tmp_path: Path) -> None:
    """102, 103 and 100 before every answer: submit, status, links, balance and downloads work as without them."""
    sites = ("submit", "status", "download", "balance", "file")
    with working(tmp_path, *(f"{site}-interim=3" for site in sites)) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert vendor.charges == 1


@pytest.mark.parametrize("code", ["INSUFFICIENT_FUND", "NO_ACTIVE_SUBSCRIPTION"])
def test_no_credits_pause_the_submits_and_end_by_themselves(tmp_path: Path, code: str) -> None:
    """Without credits nothing is submitted, the owner is told once, and the pause ends when credits are back."""
    with working(tmp_path, f"submit-error={code}@1", f"submit-error={code}@2") as (shop, vendor):
        shop.drop_set("chair")
        shop.until(lambda: "ATTENTION" in shop.status())
        assert shop.page().count("no credits") == 1
        assert "they can look into the vendor's account" in shop.page()
        told = "\n".join(shop.notices())
        assert told.count("no credits") == 1
        assert "Buy credits" in told
        shop.until(shop.daemon.is_idle)  # the balance is read first: what was refused may have been charged
        assert shop.daemon.needs_person()
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert (vendor.charges, vendor.uploads) == (1, 3)
        shop.idle()
        assert "ATTENTION" not in shop.status()


def test_a_refused_key_is_no_sets_fault(tmp_path: Path) -> None:
    """A refused key stops all calls, and everything goes on when the key works again."""
    faults = ("submit-key-refused@1", "submit-key-refused@2", "submit-key-refused@3")
    with working(tmp_path, *faults) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(lambda: "refuses the API key" in shop.status())
        assert shop.daemon.needs_person()
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert shop.actions(shop.job("chair")).count("uploading") == 4
        assert vendor.charges == 1


_KINDS = ("500", "502", "html", "truncated", "empty", "closed", "404", "429")


def _in_turn(*faults: str) -> tuple[str, ...]:
    """Let the first call meet the first fault, the second call the second, and so on."""
    return tuple(f"{fault}@{turn}" for turn, fault in enumerate(faults, 1))


REPEATED = {
    "status": _in_turn(
        *(f"status-{kind}" for kind in _KINDS), "empty-jobs", "missing-jobs", "unknown-status", "status-error"
    ),
    "download": _in_turn(
        *(f"download-{kind}" for kind in _KINDS), "empty-list", "missing-list", "partial-list", "same-names"
    ),
    "file": _in_turn("expired-link", "cut-download", "file-500", "file-html", "file-empty", "file-closed"),
    "no subscription key": ("no-subscription-key",),
}


@pytest.mark.parametrize("site", REPEATED)
def test_what_may_be_repeated_is_repeated_until_it_works(tmp_path: Path, site: str) -> None:
    """Free calls that fail, lists that are not ready, links that expired and cut files end in a whole delivery."""
    with working(tmp_path, *REPEATED[site]) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert shop.found("outbox") == {"chair/base_basic_pbr.glb", "chair/preview.webp", "chair/job.toml"}
        receipt = tomllib.loads(shop.path("outbox/chair/job.toml").read_text())
        for result in receipt["results"]:
            assert shop.path(f"outbox/chair/{result['name']}").stat().st_size == result["bytes"]
        assert vendor.charges == 1
        struck = vendor.emulator.ledger()["faults"]
        assert struck.keys() == {fault.partition("@")[0] for fault in REPEATED[site]}


@pytest.mark.parametrize("fault", ["failed-job@1", "canceled-job@1"])
def test_a_failed_task_is_buried_with_its_cost(tmp_path: Path, fault: str) -> None:
    """The inputs come back with the report: the vendor's fault, 0.5 credits, what to do."""
    with working(tmp_path, fault) as (shop, vendor):
        shop.drop_set("chair")
        shop.drop_set("good")
        shop.idle()
        [failed] = [name for name, state in shop.states().items() if state is State.FAILED]
        assert sorted(shop.states().values()) == [State.ARCHIVED, State.FAILED]
        report = shop.report(failed)
        assert "the vendor" in report
        assert "0.5 credits" in report
        assert shop.report_data(failed)["job"]["credits"] == 0.5
        assert shop.report_data(failed)["task"]["uuid"] in report
        assert vendor.charges == 2
        shop.assert_nothing_lost()


def test_evil_names_stay_in_the_delivery(tmp_path: Path) -> None:
    """Whatever the vendor calls its files, they land in the set's folder under harmless names, the receipt among them."""
    with working(tmp_path, "evil-names") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        names = shop.found("outbox")
        assert all(name.startswith("chair/") and name.count("/") == 1 and name.isprintable() for name in names)
        receipt = tomllib.loads(shop.path("outbox/chair/job.toml").read_text())
        assert {f"chair/{result['name']}" for result in receipt["results"]} | {"chair/job.toml"} == names
        assert not (tmp_path.parent / "x").exists()


def test_a_vendor_that_never_finishes_is_given_up_after_a_day(tmp_path: Path) -> None:
    """A task that never ends fails its job when the deadline is over, and says that it was paid."""
    with working(tmp_path, "empty-jobs", polling={"min_seconds": 3600, "max_seconds": 3600}) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.FAILED), step_seconds=600)
        assert "0.5 credits" in shop.report("chair")
        assert "free of charge" in shop.report("chair")
        assert vendor.charges == 1
        shop.assert_nothing_lost()


def test_a_refused_set_is_buried_with_the_vendors_words(tmp_path: Path) -> None:
    """What the vendor says against a set stands in the report; nothing was paid."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        assert "INVALID_REQUEST" in shop.report("chair")
        assert "no credits" in shop.report("chair")
        assert vendor.charges == 0
        shop.assert_nothing_lost()


def test_no_secret_is_told(tmp_path: Path) -> None:
    """Neither the key nor the subscription key nor a link's query is in any file for people."""
    with working(tmp_path, "failed-job@1", "cut-download=1", "status-500=1") as (shop, vendor):
        for name in ("one", "two"):
            shop.drop_set(name)
        shop.idle()
        keys = vendor.emulator.subscription_keys().values()
        assert len(keys) == 2
        texts = [
            path.read_text() for path in tmp_path.rglob("*") if path.suffix in (".txt", ".toml") and path.is_file()
        ]
        for secret in (*keys, "key-of-the-tests", "signature="):
            assert not any(secret in text for text in texts)
        assert vendor.charges == 2


def test_the_ledger_agrees(tmp_path: Path) -> None:
    """With half the calls failing, every set is delivered, and paid exactly once."""
    faults = ("status-500@2", "status-closed@4", "download-html@1", "cut-download@2", "submit-429@2", "expired-link@5")
    with working(tmp_path, *faults) as (shop, vendor):
        names = [f"set-{number}" for number in range(4)]
        for name in names:
            shop.drop_set(name)
        shop.idle()
        assert shop.states() == dict.fromkeys(names, State.ARCHIVED)
        assert vendor.charges == 4
        assert sum(job.charges for job in shop.jobs()) == 4
        shop.assert_nothing_lost()


def test_a_vendor_that_cannot_be_reached_is_waited_for(tmp_path: Path) -> None:
    """A refused connection uses up nothing, however long it lasts, and ends by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with workshop(tmp_path, f"http://127.0.0.1:{port}") as shop:
        shop.drop_set("chair")
        shop.until(lambda: shop.hands.seconds > 4000, step_seconds=30)
        assert "cannot be reached" in shop.status()
        assert shop.job("chair").attempts == 0
        with emulated(port=port) as vendor:
            shop.until(shop.is_in("chair", State.ARCHIVED))
            assert vendor.charges == 1


def test_an_unknown_status_word_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A word that the not in its documents is "not yet": told in the log when it comes up, not at every call."""
    faults = [f"unknown-status=Dreaming@{call}" for call in (1, 2, 3)]
    with emulated(*faults) as vendor, workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        told = [record.getMessage() for record in caplog.records if "not in its documents" in record.getMessage()]
        assert told == [
            f"unknown-word: job {shop.job('chair').id}: the vendor says “Dreaming”, which is not in its documents"
        ]
        shown = [event.message for event in shop.store.events(shop.job("chair").id)]
        assert any("the vendor says: Dreaming" in message for message in shown)


def test_an_input_that_cannot_be_opened_is_no_fault_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process has no more descriptors for a moment: people read that, and the set goes on by itself."""
    really_open = Path.open
    refused: list[Path] = []

    def opened(path: Path, mode: str = "r", **how: Any) -> IO[Any]:  # noqa: ANN401 - it is `Path.open`
        if path.suffix == ".png" and "inputs" in path.parts and not refused:
            refused.append(path)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        stream: IO[Any] = really_open(path, mode, **how)
        return stream

    with working(tmp_path) as (shop, vendor):
        monkeypatch.setattr(Path, "open", opened)
        shop.drop_set("chair")
        shop.idle()
        assert refused
        assert shop.states() == {"chair": State.ARCHIVED}
        assert vendor.charges == 1
        assert "A fault in rodin_watchd" not in caplog.text
        assert "Traceback" not in caplog.text
