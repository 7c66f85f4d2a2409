"""Tests for a vendor that gives one task to two sets: nobody gets the result of another one's set without a word."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_server import TIMEOUT_SECONDS, Conversation, ScriptedServer, response
from workshop import Workshop, glb, image, workshop

from rodin_watchd.model import State

PLUGIN = """from pathlib import Path
import time
from rodin_watchd.v1 import hookimpl

@hookimpl
def rodin_process(job, directory):
    Path("{started}").touch()
    while not Path("{go_on}").exists():
        time.sleep(0.02)
"""


def files_of(task: str) -> dict[str, bytes]:
    """Return the results of a task."""
    return {"model.glb": glb(task), "texture_diffuse.png": image("t"), "preview.webp": image("p")}


class ForgetfulVendor:
    """A vendor that gives the same task to every set; the first set's answer comes when the test lets it."""

    def __init__(self) -> None:
        """Know nothing."""
        self.url = ""
        self.task = "task-1"
        self.status = "Generating"
        self.submits: list[bytes] = []
        self.balance = 100.0
        self.all_charge = True  # else the first submit alone is taken, and the others get its answer from a gateway
        self.first_answer = threading.Event()
        self.first_come = threading.Event()
        self.file_asked = threading.Event()
        self.files = threading.Event()
        self.files.set()

    def __call__(self, conversation: Conversation) -> None:
        """Serve one connection."""
        while True:
            request = conversation.request()
            path = request.line.split()[1]
            if "rodin_texture_only" in path:
                self.submits.append(request.body)
                task = self.task
                self.balance -= 0.5 if self.all_charge or len(self.submits) == 1 else 0
                if len(self.submits) == 1:
                    self.first_come.set()
                    assert self.first_answer.wait(TIMEOUT_SECONDS)
                told = {"error": None, "uuid": task, "jobs": {"uuids": ["j"], "subscription_key": "sub"}}
                conversation.send(response(201, json.dumps(told).encode()))
            elif path.startswith("/files/"):
                self.file_asked.set()
                assert self.files.wait(TIMEOUT_SECONDS)
                _, _, task, name = path.split("/")
                conversation.send(response(200, files_of(task)[name]))
            else:
                conversation.send(response(200, json.dumps(self._told(path, request.body)).encode()))

    def _told(self, path: str, body: bytes) -> dict[str, object]:
        if path.endswith("status"):
            return {"jobs": [{"uuid": "j", "status": self.status}]}
        if path.endswith("download"):
            task = json.loads(body)["task_uuid"]
            return {"list": [{"name": name, "url": f"{self.url}/files/{task}/{name}"} for name in files_of(task)]}
        return {"balance": self.balance}


@pytest.fixture
def vendor() -> Iterator[ForgetfulVendor]:
    """Give a running vendor."""
    vendor = ForgetfulVendor()
    with ScriptedServer(vendor) as server:
        vendor.url = server.url
        yield vendor


@pytest.fixture
def shop(tmp_path: Path, vendor: ForgetfulVendor) -> Iterator[Workshop]:
    """Give a shop whose first set was sent and is not answered."""
    with workshop(tmp_path, vendor.url) as shop:
        shop.drop_set("slow")
        shop.until(shop.is_in("slow", State.SUBMITTING), busy_seconds=0.05)
        assert vendor.first_come.wait(TIMEOUT_SECONDS)
        try:
            yield shop
        finally:
            vendor.first_answer.set()
            vendor.files.set()


def answered(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """Let the first set's answer come, and the service decide about it."""
    vendor.first_answer.set()
    shop.until(shop.is_in("slow", State.HELD), busy_seconds=0.05)


def answered_in_a_download(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """Let the first set's answer come while the results of the other one are under way, and are not whole yet."""
    vendor.status = "Done"
    vendor.files.clear()
    shop.drop_set("quick")
    shop.until(vendor.file_asked.is_set, busy_seconds=0.05)
    vendor.first_answer.set()
    shop.until(lambda: shop.job("slow").answer is not None, busy_seconds=0.05)


def test_two_answers_at_the_same_time_hold_both(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """The answer that is read first is no more proof than the other; each says who else has the task."""
    shop.drop_set("quick")
    shop.until(shop.is_in("quick", State.SUBMITTED), busy_seconds=0.05)
    answered(shop, vendor)
    assert shop.states() == {"slow": State.HELD, "quick": State.HELD}
    quick, slow = shop.job("quick"), shop.job("slow")
    assert quick.problem
    assert slow.problem
    assert f"“slow” (job {slow.id})" in quick.problem.message
    assert f"“quick” (job {quick.id}" in slow.problem.message
    assert "task-1" in quick.problem.message
    assert (quick.charges, len(vendor.submits)) == (1, 2)


def test_a_person_says_whose_task_it_is(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """The task goes to the set that it belongs to, and the other one gets its own; each is counted once."""
    shop.drop_set("quick")
    shop.until(shop.is_in("quick", State.SUBMITTED), busy_seconds=0.05)
    answered(shop, vendor)
    assert not shop.command("resolve", job="quick", how="not-charged")["ok"]
    assert shop.command("resolve", job="slow", how="task", task="task-1")["ok"]
    assert not shop.command("resolve", job="quick", how="task", task="task-1")["ok"]
    assert shop.command("resolve", job="quick", how="task", task="task-2")["ok"]
    vendor.status = "Done"
    shop.idle()
    assert shop.states() == {"slow": State.ARCHIVED, "quick": State.ARCHIVED}
    assert (shop.job("quick").charges, shop.job("slow").charges, len(vendor.submits)) == (1, 1, 2)


def test_a_task_that_was_known_before_stays_with_its_set(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """A submit that began after the task was known cannot have made it: its set alone is held."""
    vendor.task = "task-2"
    shop.drop_set("first")
    shop.until(shop.is_in("first", State.SUBMITTED), busy_seconds=0.05)
    shop.ticks(2, step_seconds=1.0)
    shop.drop_set("second")
    shop.until(shop.is_in("second", State.HELD), busy_seconds=0.05)
    assert shop.states()["first"] is State.SUBMITTED


def test_a_download_under_way_ends_first_and_is_used_by_nobody(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """A step that works on the task is waited for; what it fetched is dropped when another task is the job's."""
    answered_in_a_download(shop, vendor)
    shop.ticks(3, step_seconds=1.0)
    assert shop.states() == {"slow": State.SUBMITTING, "quick": State.GENERATED}
    vendor.files.set()
    shop.until(shop.is_in("slow", State.HELD), busy_seconds=0.05)
    quick = shop.job("quick")
    assert (quick.state, quick.results) == (State.HELD, ())
    vendor.file_asked.clear()
    assert shop.command("resolve", job="quick", how="task", task="task-2")["ok"]
    shop.until(shop.is_in("quick", State.ARCHIVED), busy_seconds=0.05)
    assert vendor.file_asked.is_set()


def test_what_plugins_made_of_another_sets_result_is_used_by_nobody(tmp_path: Path, vendor: ForgetfulVendor) -> None:
    """A plugin may work for minutes on what turns out to be disputed: it is called anew, on the set's own result."""
    started, go_on = tmp_path / "started", tmp_path / "go-on"
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "slow_plugin.py").write_text(PLUGIN.format(started=started, go_on=go_on))
    vendor.status = "Done"
    with workshop(tmp_path, vendor.url, plugins={"folders": [str(tmp_path / "plugins")]}) as shop:
        try:
            shop.drop_set("slow")
            shop.until(shop.is_in("slow", State.SUBMITTING), busy_seconds=0.05)
            assert vendor.first_come.wait(TIMEOUT_SECONDS)
            shop.drop_set("quick")
            shop.until(started.exists, busy_seconds=0.05)
            vendor.first_answer.set()
            shop.until(lambda: shop.job("slow").answer is not None, busy_seconds=0.05)
            go_on.touch()
            shop.until(shop.is_in("slow", State.HELD), busy_seconds=0.05)
            assert shop.command("resolve", job="quick", how="task", task="task-2")["ok"]
            assert shop.command("resolve", job="slow", how="task", task="task-1")["ok"]
            shop.idle()
            for name, task in (("quick", "task-2"), ("slow", "task-1")):
                assert (shop.root / "outbox" / name / "model.glb").read_bytes() == glb(task)
        finally:
            vendor.first_answer.set()
            go_on.touch()


def test_a_disputed_task_is_left_out_of_a_failed_sets_folder(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """What was fetched may be another artist's work: who gives the set up does not get it."""
    answered_in_a_download(shop, vendor)
    vendor.files.set()
    shop.until(shop.is_in("slow", State.HELD), busy_seconds=0.05)
    assert shop.command("resolve", job="quick", how="give-up")["ok"]
    shop.until(shop.is_in("quick", State.FAILED), busy_seconds=0.05)
    assert not (shop.root / "failed" / "quick" / "results").exists()


def test_the_balance_proves_nothing_about_a_disputed_task(tmp_path: Path, vendor: ForgetfulVendor) -> None:
    """One charge was booked for the set that got a repeated answer, which the vendor never saw: the other one is not sent again."""
    vendor.all_charge = False
    with workshop(tmp_path, vendor.url, budget={"sole_spender": True}) as shop:
        try:
            shop.has_seen_the_balance_fall()
            shop.drop_set("slow")
            shop.until(shop.is_in("slow", State.SUBMITTING), busy_seconds=0.05)
            assert vendor.first_come.wait(TIMEOUT_SECONDS)
            shop.drop_set("quick")
            shop.until(shop.is_in("quick", State.SUBMITTED), busy_seconds=0.05)
            answered(shop, vendor)
            for _ in range(100):
                shop.ticks(1, step_seconds=10.0)
                shop.rest()
            assert (shop.states()["slow"], shop.states()["quick"]) == (State.HELD, State.HELD)
            assert len(vendor.submits) == 2
        finally:
            vendor.first_answer.set()


def test_a_clock_that_is_set_decides_no_dispute(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """Which came first is said by the journal's order: both submits were under way, whatever the clock showed."""
    shop.hands.jump_seconds -= 3600
    shop.drop_set("quick")
    shop.until(shop.is_in("quick", State.SUBMITTED), busy_seconds=0.05)
    answered(shop, vendor)
    assert shop.states() == {"slow": State.HELD, "quick": State.HELD}


def test_an_answer_that_waits_is_understood_after_a_crash(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """It is in the journal: both are held at the next start, and nothing is sent again."""
    answered_in_a_download(shop, vendor)
    vendor.files.set()  # what comes of it is never heard
    shop.crash()
    shop.start()
    shop.idle()
    assert shop.states() == {"slow": State.HELD, "quick": State.HELD}
    assert len(vendor.submits) == 2


def test_what_is_delivered_already_is_named(shop: Workshop, vendor: ForgetfulVendor) -> None:
    """Nobody can take it back; the set that is held says where its result may lie."""
    vendor.status = "Done"
    shop.drop_set("quick")
    shop.until(shop.is_in("quick", State.ARCHIVED), busy_seconds=0.05)
    answered(shop, vendor)
    shop.ticks(3, step_seconds=1.0)
    assert f"“quick” (job {shop.job('quick').id}, archived)" in shop.status()
    assert len(vendor.submits) == 2
