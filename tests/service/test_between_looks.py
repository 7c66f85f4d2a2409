"""Tests for submits that begin and end between two looks of the main loop: the balance proves nothing that leaves them out."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from scripted_server import Conversation, ScriptedServer, response
from workshop import Hands, Workshop, glb, image, model, working, workshop

from rodin_watchd.model import State

PADDING = b"# pad\n" * 1_000_000
"""What makes a model larger than all buffers between here and the vendor: its answer comes before its last bytes."""

EARLY_429 = response(429, b"<html>Too many requests</html>")
REFUSED = response(400, b'{"error": "INVALID_REQUEST", "message": "no"}')


class LateBooks:
    """A vendor that answers each submit at once, charges those of large models, and books that later by its own clock."""

    def __init__(self, late_seconds: float, early: bytes) -> None:
        """Take how late the balance falls, and what is answered to a large model at its first bytes."""
        self.hands = Hands()
        self.charged: list[float] = []
        self._late_seconds = late_seconds
        self.early = early

    def __call__(self, conversation: Conversation) -> None:
        """Serve one connection."""
        line, headers = conversation.head()
        if "rodin_texture_only" in line and int(headers["content-length"]) > len(PADDING):
            self.charged.append(self.hands.seconds)
            conversation.send(self.early)
            conversation.take_until_end()
            return
        conversation.request()
        if "rodin_texture_only" in line:
            self.take_small(conversation)
        elif "status" in line:
            conversation.send(response(201, b'{"jobs": [{"uuid": "j", "status": "Done"}]}'))
        else:
            conversation.send(self.free(line))

    def take_small(self, conversation: Conversation) -> None:
        """Answer a small model, free of charge."""
        conversation.send(REFUSED)

    def free(self, line: str) -> bytes:
        """Return the answer to a free call."""
        balance = Decimal("100.5") - Decimal("0.5") * self.booked
        return response(200, json.dumps({"balance": float(balance)}).encode()) if "balance" in line else response(404)

    @property
    def booked(self) -> int:
        """How many charges are in the balance by now."""
        return sum(at + self._late_seconds <= self.hands.seconds for at in self.charged)


def drop(shop: Workshop, name: str, padding: bytes = b"") -> None:
    """Drop a set."""
    shop.drop(f"{name}.obj", model(name) + padding)
    shop.drop(f"{name}.png", image(name))


def tick_in_step(shop: Workshop, count: int, step_seconds: float) -> None:
    """Tick so often, each time when all steps have had their say."""
    for _ in range(count):
        shop.ticks(1, step_seconds=step_seconds)
        shop.rest()


def hours_later(shop: Workshop) -> None:
    """Let the proofs end, and the retries."""
    tick_in_step(shop, 90, 2.0)
    tick_in_step(shop, 20, 60.0)


@contextlib.contextmanager
def beside_a_refusal(tmp_path: Path, vendor: LateBooks, after_seconds: int, *, sole: bool) -> Iterator[Workshop]:
    """Give a shop in which a large set was dropped so long after a small one was refused, which waits for its verdict."""
    with (
        ScriptedServer(vendor) as server,
        workshop(tmp_path, server.url, budget={"sole_spender": sole, "per_day_credits": 5.0}) as shop,
    ):
        vendor.hands = shop.hands
        shop.has_seen_the_balance_fall()
        drop(shop, "small")
        shop.until(lambda: "refused" in shop.purchases("outcome"), step_seconds=0.5)
        tick_in_step(shop, after_seconds, 1.0)
        drop(shop, "large", PADDING)
        yield shop


def is_bounded(shop: Workshop, vendor: LateBooks, *, sole: bool) -> bool:
    """Tell, hours later, whether the large set was charged no more often than allowed, and whether the books know each charge."""
    hours_later(shop)
    spent = [outcome for outcome in shop.purchases("outcome") if outcome != "free"]
    return 1 <= len(vendor.charged) <= (1 if sole else 2) and len(spent) >= len(vendor.charged)


@pytest.mark.parametrize("sole", [False, True])
@pytest.mark.parametrize("after_seconds", [20, 50])
@pytest.mark.parametrize("early", [EARLY_429, REFUSED], ids=["429", "documented"])
def test_a_short_submit_is_in_no_verdict_of_before(
    tmp_path: Path, early: bytes, after_seconds: int, sole: bool
) -> None:
    """While one refusal waits for its verdict another is answered at its first bytes, charged, and booked 10 seconds later."""
    vendor = LateBooks(10.0, early)
    with beside_a_refusal(tmp_path, vendor, after_seconds, sole=sole) as shop:
        assert is_bounded(shop, vendor, sole=sole)


class LateTask(LateBooks):
    """The same; it accepts large models, and loses the answers to small ones without charging them."""

    def take_small(self, conversation: Conversation) -> None:
        """Lose the answer."""
        conversation.sock.close()

    def free(self, line: str) -> bytes:
        """Return the answer to a free call."""
        if "/download" in line:
            files = [{"name": name, "url": f"{self.url}/f/{name}"} for name in ("model.glb", "preview.webp")]
            return response(201, json.dumps({"list": files}).encode())
        return response(200, glb("x")) if "/f/" in line else super().free(line)

    url = ""


def test_a_task_that_was_accepted_at_once_is_no_settled_charge(tmp_path: Path) -> None:
    """Its charge is booked after 75 seconds of 80 allowed: a later submit that was lost is not taken for that charge."""
    body = {"error": None, "uuid": "t1", "jobs": {"uuids": ["j"], "subscription_key": "sub-t1xxxxxx"}}
    vendor = LateTask(75.0, response(201, json.dumps(body).encode()))
    with (
        ScriptedServer(vendor) as server,
        workshop(tmp_path, server.url, budget={"sole_spender": True, "settle_seconds": 80}) as shop,
    ):
        vendor.hands, vendor.url = shop.hands, server.url
        shop.has_seen_the_balance_fall()
        drop(shop, "large", PADDING)
        shop.until(lambda: bool(vendor.charged), step_seconds=1.0)
        tick_in_step(shop, 25, 0.2)
        shop.hands.seconds = vendor.charged[0] + 62
        drop(shop, "small")
        tick_in_step(shop, 300, 1.0)
        assert len(vendor.charged) == 1
        outcomes = [outcome for job, outcome in shop.purchases("job_id", "outcome") if job == shop.job("small").id]
        assert outcomes
        assert "charged" not in outcomes


class WholeBooks(LateBooks):
    """The same; it answers when it has the whole set."""

    def __call__(self, conversation: Conversation) -> None:
        """Serve one connection."""
        line, headers = conversation.head()
        if "rodin_texture_only" not in line or int(headers["content-length"]) <= len(PADDING):
            super().__call__(conversation)
            return
        conversation.request()
        self.charged.append(self.hands.seconds)
        conversation.send(self.early)


@pytest.mark.parametrize("sole", [False, True])
def test_a_submit_in_ticks_that_end_early_is_in_no_verdict_of_before(tmp_path: Path, sole: bool) -> None:
    """A full disk ends ticks after the workers were heard: the submit begins and ends, and no look finds it under way."""
    vendor = WholeBooks(10.0, EARLY_429)
    with beside_a_refusal(tmp_path, vendor, 50, sole=sole) as shop:
        shop.until(shop.is_in("large", State.UPLOADING), step_seconds=0.5)
        parts = shop.daemon.parts
        while shop.states()["large"] in (State.UPLOADING, State.SUBMITTING):
            parts.dispatcher.take_messages(shop.daemon.why_drop, parts.notifier.take)
        assert is_bounded(shop, vendor, sole=sole)


def test_what_is_refused_after_an_accepted_set_counts_whenever_it_began(tmp_path: Path) -> None:
    """Five sets begin, then one that is accepted first; the five are refused and charged: one more makes six, not six more."""
    booked, charged = threading.Event(), list[str]()

    def serve(conversation: Conversation) -> None:
        line = conversation.head()[0]
        body = conversation.request().body
        if "balance" in line:
            conversation.send(response(200, json.dumps({"balance": 100.5 - 0.5 * len(charged)}).encode()))
        elif "rodin_texture_only" not in line:
            conversation.send(response(201, b'{"jobs": [{"uuid": "j", "status": "Failed"}]}'))
        elif b"# 'good" in body:
            charged.append("good")
            task = {"error": None, "uuid": "t1", "jobs": {"uuids": ["j"], "subscription_key": "sub-t1xxxxxx"}}
            conversation.send(response(201, json.dumps(task).encode()))
        else:
            booked.wait(10.0)
            charged.append("bad")
            conversation.send(response(400, b"<html>Bad Request</html>"))

    with (
        ScriptedServer(serve) as server,
        workshop(tmp_path, server.url, api={"max_in_flight": 6}) as shop,
    ):
        shop.has_seen_the_balance_fall()
        for number in range(5):
            shop.drop_set(f"bad-{number}")
        shop.drop_set("good")
        shop.until(lambda: "charged" in shop.purchases("outcome"), step_seconds=0.5, busy_seconds=0.1)
        assert charged == ["good"]
        booked.set()
        tick_in_step(shop, 60, 2.0)
        for number in range(5, 10):
            shop.drop_set(f"bad-{number}")
        tick_in_step(shop, 80, 10.0)
        assert charged.count("bad") == 6


def test_one_set_goes_at_a_time_while_any_refusal_waits_for_its_verdict(tmp_path: Path) -> None:
    """Also after a set was accepted: the older refusal is not clear by that."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1", api={"max_in_flight": 8}) as (shop, _):
        shop.drop_set("bad")
        shop.until(lambda: "refused" in shop.purchases("outcome"), step_seconds=0.5)
        for number in range(6):
            shop.drop_set(f"good-{number}")
        most = 0
        while "refused" in shop.purchases("outcome"):
            shop.ticks(1, step_seconds=0.25)
            sending = sum(state in (State.UPLOADING, State.SUBMITTING) for state in shop.states().values())
            most = max(most, sending)
            shop.rest()
        assert most == 1
        assert shop.purchases("outcome").count("charged") > 1
