"""Tests for answers that come before the whole set was sent: they may have charged, so none is ever lost."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from scripted_server import TIMEOUT_SECONDS, Conversation, ScriptedServer, response
from workshop import Workshop, image, model, working, workshop

from rodin_watchd.model import State

PADDING = b"# pad\n" * 1_000_000
"""What makes a model larger than all buffers between here and the vendor."""


class ChargingVendor:
    """A vendor that charges at the first bytes of each submit, answers, and goes on in its own way."""

    def __init__(
        self, answer: Callable[[str], bytes], go_on: Callable[[Conversation], object], *, books: bool = True
    ) -> None:
        """Take what is answered to a submit, by its task, and what is done then; and whether its balance shows the charges."""
        self._books = books
        self.charged: list[str] = []
        self.answered = threading.Event()
        self.patient = False  # whether all but the closing line is read first
        self._answer = answer
        self._go_on = go_on

    def __call__(self, conversation: Conversation) -> None:
        """Serve one connection."""
        line, headers = conversation.head()
        if "rodin_texture_only" not in line:
            conversation.request()
            balance = json.dumps({"balance": 100.5 - self._books * len(self.charged) / 2}).encode()
            conversation.send(response(200, balance if "balance" in line else b'{"jobs": []}'))
            return
        start = conversation.received.index(b"\r\n\r\n") + 4
        while self.patient and len(conversation.received) < start + int(headers["content-length"]) - 60:
            assert conversation.take()
        self.charged.append(f"task-{len(self.charged)}")
        conversation.send(self._answer(self.charged[-1]))
        self.answered.set()
        self._go_on(conversation)


def accepted(task: str) -> bytes:
    """Return the answer that accepts a set."""
    body = {"error": None, "uuid": task, "jobs": {"uuids": ["j"], "subscription_key": f"sub-{task}"}}
    return response(201, json.dumps(body).encode())


def throttled(_: str) -> bytes:
    """Return a gateway's refusal."""
    return response(429, b"<html>Too many requests</html>")


def cut(_: str) -> bytes:
    """Return the beginning of an answer."""
    return b"HTTP/1.1 20"


def stay(conversation: Conversation) -> None:
    """Read no more, and keep the connection."""
    conversation.ended.wait(3.0)


ENDS: dict[str, Callable[[Conversation], object]] = {
    "close": lambda conversation: conversation.sock.close(),
    "stay": stay,
    "read on": Conversation.take_until_end,
}


def work(shop: Workshop, vendor: ChargingVendor, state: State) -> None:
    """Let the daemon work until the set is so far, or through hours."""
    rounds = itertools.count()
    shop.until(
        lambda: shop.states().get("chair") is state or len(vendor.charged) > 2 or next(rounds) > 200, step_seconds=30.0
    )


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize(
    ("answer", "state"),
    [(accepted, State.SUBMITTED), (throttled, State.FAILED), (cut, State.HELD)],
    ids=["201", "429", "cut"],
)
def test_an_early_answer_is_charged_within_the_budget(
    tmp_path: Path, answer: Callable[[str], bytes], state: State, end: Callable[[Conversation], object]
) -> None:
    """The vendor charges at once, whatever it answers and however it goes on: a budget for one texture pays for one."""
    vendor = ChargingVendor(answer, end)
    with (
        ScriptedServer(vendor) as server,
        workshop(tmp_path, server.url, api={"read_seconds": 1}, budget={"per_day_credits": 0.5}) as shop,
    ):
        shop.drop("chair.obj", model("chair") + PADDING)
        shop.drop("chair.png", image("chair"))
        work(shop, vendor, state)
        assert len(vendor.charged) == 1
        assert shop.states()["chair"] is (State.STAGED if state is State.FAILED else state)


def interim(_: str) -> bytes:
    """Return an interim answer, which says nothing."""
    return response(103, b"")


@pytest.mark.parametrize("answer", [interim, cut], ids=["103", "cut"])
def test_early_answers_that_cannot_be_read_are_bounded(tmp_path: Path, answer: Callable[[str], bytes]) -> None:
    """The vendor charges each and books that late: 4 tries of a set, however often it is dropped."""
    vendor = ChargingVendor(answer, ENDS["close"], books=False)
    budget = {"sole_spender": True, "settle_seconds": 20}
    with ScriptedServer(vendor) as server, workshop(tmp_path, server.url, budget=budget) as shop:
        shop.has_seen_the_balance_fall()
        for _ in range(2):
            shop.drop("chair.obj", model("chair") + PADDING)
            shop.drop("chair.png", image("chair"))
            shop.until(lambda: len(vendor.charged) > 4 or "4 times without success" in shop.status(), step_seconds=30.0)
            for _ in range(10):
                shop.ticks(1, step_seconds=60.0)
                shop.rest()
            assert len(vendor.charged) == 4
            shop.restart()


@pytest.mark.parametrize("why", ["pause", "stop", "cancel"])
def test_an_upload_that_is_taken_back_loses_no_answer(tmp_path: Path, why: str) -> None:
    """A person pauses, stops or cancels in the moment in which the vendor accepts: the task is known, and paid for once."""
    vendor = ChargingVendor(accepted, Conversation.take_until_end)
    vendor.patient = True
    with ScriptedServer(vendor) as server, workshop(tmp_path, server.url) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        assert vendor.answered.wait(TIMEOUT_SECONDS)
        if why == "stop":
            assert shop.daemon.drain(TIMEOUT_SECONDS)
        elif why == "pause":
            shop.leave("pause")
            shop.until(shop.is_in("chair", State.SUBMITTED))
        else:
            shop.leave("cancel", job="chair", **shop.seen("cancel", {"job": "chair"}))
            shop.until(lambda: shop.states()["chair"] not in (State.UPLOADING, State.STAGED))
        job = shop.job("chair")
        assert job.task is not None
        assert (job.task.uuid, job.charges, job.spent) == ("task-0", 1, Decimal("0.5"))


def test_a_task_that_was_let_go_is_not_taken_for_another_sets(tmp_path: Path) -> None:
    """A set is paid anew, which lets its task go; an answer to another set that repeats that task holds it."""
    with working(tmp_path, "failed-job@1", "repeated-uuid@2") as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.FAILED))
        shop.command("pause")
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        assert shop.command("cancel", job="chair")["ok"]
        shop.until(shop.is_in("chair", State.FAILED))
        shop.command("resume")
        shop.drop_set("other")
        shop.until(shop.is_in("other", State.HELD))
        assert shop.job("other").task is None
        assert vendor.charges == 2


@pytest.mark.parametrize("answer", [accepted, throttled, cut])
def test_an_older_journal_is_noticed_by_an_early_answer(tmp_path: Path, answer: Callable[[str], bytes]) -> None:
    """A submit that was answered before its last bytes is counted as well: where the journal forgets it, it is not sent again."""
    vendor = ChargingVendor(answer, ENDS["close"])
    root = tmp_path / "root"
    with ScriptedServer(vendor) as server, workshop(root, server.url, api={"read_seconds": 1}) as shop:
        shop.drop("chair.obj", model("chair") + PADDING)
        shop.drop("chair.png", image("chair"))
        shop.until(shop.is_in("chair", State.UPLOADING))
        older = shop.copy_of_journal(tmp_path / "older.sqlite3")
        shop.until(lambda: shop.states()["chair"] in (State.SUBMITTED, State.HELD) or shop.job("chair").refused > 0)
        assert len(vendor.charged) == 1
        shop.restart(shop.put_in_place(older))
        shop.ticks(5, step_seconds=1.0)
        shop.rest()
        assert (shop.states(), len(vendor.charged)) == ({"chair": State.HELD}, 1)
        assert "1 submit is missing in it" in shop.status()


def test_an_early_answer_that_cannot_be_counted_is_not_lost(tmp_path: Path) -> None:
    """The answer is in the journal and is followed; no other set is sent until the count can be kept."""
    vendor = ChargingVendor(accepted, ENDS["close"])
    with ScriptedServer(vendor) as server, workshop(tmp_path, server.url) as shop:
        shop.drop("chair.obj", model("chair") + PADDING)
        shop.drop("chair.png", image("chair"))
        shop.until(shop.is_in("chair", State.UPLOADING))
        count = shop.path(".rodin-watchd/submits")
        count.unlink()
        count.mkdir()
        shop.until(shop.is_in("chair", State.SUBMITTED))
        shop.ticks(2, step_seconds=1.0)
        assert "The count of submits" in shop.status()
        shop.drop_set("lamp")
        shop.ticks(5, step_seconds=1.0)
        assert len(vendor.charged) == 1
        count.rmdir()
        shop.until(lambda: len(vendor.charged) == 2, step_seconds=30.0)
