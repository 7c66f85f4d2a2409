"""The pool: what the workers and the main thread say to each other."""

from __future__ import annotations

import threading
from pathlib import Path

from workshop import TIMEOUT_SECONDS, Vendor, Workshop

from rodin_watchd.model import Retry, State
from rodin_watchd.service.pool import Closing, Message, StepFinished


def messages(shop: Workshop, count: int) -> list[Message]:
    """Wait for so many messages of the workers."""
    pool, wake = shop.daemon.parts.pool, shop.daemon.parts.wake
    found: list[Message] = []
    while len(found) < count:
        wake.take()
        found += pool.take()
        assert len(found) >= count or wake.wait(TIMEOUT_SECONDS)
    return found


def test_an_upload_asks_before_its_last_bytes_and_waits(shop: Workshop, vendor: Vendor) -> None:
    """The question comes, nothing is submitted meanwhile, and a refusal becomes an outcome that may be repeated."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    [asked] = messages(shop, 1)
    assert isinstance(asked, Closing)
    assert shop.daemon.parts.pool.busy == {asked.job_id}
    assert vendor.charges == 0
    asked.reply.set_exception(TimeoutError())
    [finished] = messages(shop, 1)
    assert isinstance(finished, StepFinished)
    assert isinstance(finished.outcome, Retry)
    assert vendor.charges == 0
    shop.daemon.parts.pool.release(asked.job_id)
    assert shop.daemon.parts.pool.busy == frozenset()


def test_closing_the_pool_answers_those_who_wait(shop: Workshop, vendor: Vendor) -> None:
    """A question that was taken but never answered is answered by `close`, so that its thread can end."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    [asked] = messages(shop, 1)
    assert isinstance(asked, Closing)
    shop.daemon.parts.pool.close()
    assert asked.reply.exception(TIMEOUT_SECONDS) is not None
    shop.daemon.parts.pool.close()
    shop.join()
    assert vendor.charges == 0


def test_a_question_after_the_end_is_refused(shop: Workshop, vendor: Vendor) -> None:
    """An upload that reaches its last bytes after `close` drops them by itself."""
    gate = threading.Event()
    pool = shop.daemon.parts.pool
    refused: list[Exception] = []

    def ask() -> None:
        gate.wait(TIMEOUT_SECONDS)
        try:
            pool.ask_to_close("late")
        except Exception as error:  # noqa: BLE001 - the test tells which
            refused.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    pool.close()
    gate.set()
    thread.join(TIMEOUT_SECONDS)
    assert [type(error).__name__ for error in refused] == ["UploadDroppedError"]
    assert vendor.charges == 0


def test_the_workers_are_bounded(tmp_path: Path, shop: Workshop) -> None:
    """No more steps are handed out than there are threads."""
    shop.daemon.parts.pool.renew(shop.daemon.parts.tools, 2)()
    for name in ("one", "two", "three", "good"):
        shop.drop_set(name)
    shop.until(lambda: bool(shop.jobs()))
    assert shop.daemon.parts.pool.free == 0
    assert len(shop.daemon.parts.pool.busy) == 2
    shop.idle()
    assert set(shop.states().values()) == {State.ARCHIVED}
    assert tmp_path == shop.root
