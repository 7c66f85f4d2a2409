"""One snapshot a tick: whatever shows how the service stands says the same, in the same words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any

from workshop import Vendor, working, workshop

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.core.claims import Turn
from rodin_watchd.core.health import INCOMPLETE, READY, UNMOVABLE, Standstill
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.pairing import Candidate
from rodin_watchd.core.pauses import Pause
from rodin_watchd.core.sets import ReadySet, View, WaitingSet
from rodin_watchd.core.status import MOST_LISTED, Line
from rodin_watchd.core.stillness import STANDSTILLS, Reason, away_word, reasons_of_pauses
from rodin_watchd.errors import EmptyAccountError, Lane, NetworkError
from rodin_watchd.model import Job, State
from rodin_watchd.service.snapshot import Snapshot, Waiting, waiting_in

PAUSES = {
    Lane.API: Pause(NetworkError("No route.").problem, 1_700_000_000.0, 0.0),
    Lane.SUBMIT: Pause(EmptyAccountError("It is empty.").problem, 1_700_000_000.0, 0.0),
}
NETWORK, EMPTY = reasons_of_pauses(PAUSES, UTC)
AWAY = Reason("AWAY: outbox.", away_word(Mount.OUTBOX), "folder-gone")


def snapshot(*reasons: Reason, has_ended: bool = False) -> Snapshot:
    """Return a snapshot of a service with one job and these reasons."""
    job = Job("a1", "chair", "", State.STAGED, (), {}, 0.0)
    waiting = Waiting((Line("sofa", "waits"),))
    return Snapshot(1_700_000_000.0, 5.0, (job,), (), frozenset(), waiting, reasons, has_ended=has_ended)


def test_each_reason_is_told_everywhere() -> None:
    """On the page in sentences, in the status line in a few words, in the heartbeat and the metrics as a word of a fixed list."""
    taken = snapshot(EMPTY, AWAY, Reason("A plugin rests."), NETWORK)
    assert taken.headline == "1 running, 1 waiting, paused: no credits, a folder is away, the vendor cannot be reached"
    assert taken.paused == tuple(what for what in STANDSTILLS if what in {"outbox is away", "api", "submit"})
    assert (taken.lanes, taken.away) == ({Lane.API, Lane.SUBMIT}, {Mount.OUTBOX})
    page = taken.page(UTC)
    assert [notice.partition(": ")[2] or notice for notice in page.notices][1:3] == ["outbox.", "A plugin rests."]
    assert [line.name for line in (*page.waiting, *page.running)] == ["sofa", "chair"]


def test_what_another_reason_says_is_no_notice_of_its_own() -> None:
    """The heartbeat has it all the same."""
    taken = snapshot(Reason("", Standstill.STOPPING, Standstill.STOPPING))
    assert (taken.paused, taken.page(UTC).notices) == (("stopping",), ())


def test_what_passes_is_told_as_of_the_end() -> None:
    """A service that has ended cannot take such a notice away; what only a person can end stays true."""
    told = snapshot(EMPTY, NETWORK, has_ended=True).page(UTC).notices
    assert [notice.startswith("When the service stopped (") for notice in told] == [False, True]


def test_page_heartbeat_and_journal_agree(tmp_path: Path) -> None:
    """In a service that works: paused by a person, without credits, with a folder away."""
    with working(tmp_path, balance=Decimal(0)) as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        shop.command("pause")
        (shop.root / "outbox").rename(shop.root / "elsewhere")
        shop.ticks(2, step_seconds=1.0)
        heartbeat = read_heartbeat(sign_path(shop.journal))
        assert heartbeat
        assert set(heartbeat.health.paused) == {"by request", "outbox is away", "submit"}
        for words in ("AWAY: outbox", "Paused by request", "account is empty"):
            assert [words in notice for notice in shop.notices()].count(True) == 1
            assert words in shop.status()


def test_of_many_sets_the_first_are_listed_and_all_are_counted() -> None:
    """What the jobs of a set come to is worked out for those alone that are listed."""
    asked: list[ReadySet] = []

    def bill(ready: ReadySet) -> str:
        asked.append(ready)
        return "three jobs"

    candidates = [Candidate(f"set{number}", "", ()) for number in range(MOST_LISTED)]
    lacking = [WaitingSet(one, "waits for an image", 7.0, settling=False) for one in candidates[:-2]]
    done = [WaitingSet(one, "delivered", 5.0, settling=False, unmovable=True) for one in (*candidates, *candidates)]
    turns = tuple((ReadySet(one, {}, None, (), 9.0), Turn.ROOM) for one in candidates)
    found = waiting_in(View(waiting=(*lacking, *done)), turns, 100.0, bill)
    assert [line.text for line in found.lines[-3:]] == [
        "waits for an image",
        *["complete, waits until it is taken; three jobs"] * 2,
    ]
    assert asked == [ready for ready, _ in turns[:2]]
    assert (len(found.lines), found.more) == (MOST_LISTED, MOST_LISTED - 2)
    assert (len(found.done), found.more_done) == (MOST_LISTED, MOST_LISTED)
    assert (found.counts[INCOMPLETE], found.counts[READY], found.counts[UNMOVABLE]) == (
        len(lacking),
        MOST_LISTED,
        2 * MOST_LISTED,
    )
    assert (found.oldest[INCOMPLETE], found.oldest[READY], found.oldest[UNMOVABLE]) == (7.0, 9.0, 5.0)


def test_a_tick_at_rest_takes_no_more_steps_for_more_that_waits(tmp_path: Path, vendor: Vendor) -> None:
    """What waits in the inbox is gone through once for each look, not in each second."""
    taken = []
    with workshop(tmp_path, vendor.emulator.base_url, intake={"rescan_seconds": 3600}) as shop:
        for count in (1, 100):
            for number in range(count):
                shop.drop(f"model{number}.glb", b"")
            shop.daemon.parts.reception.wake()
            shop.ticks(5, step_seconds=3.0)
            assert f"Waiting in the inbox ({count})" in shop.status()
            looks = shop.daemon.parts.reception.looks
            taken.append(steps_of(lambda: shop.ticks(1, step_seconds=1.0)))
            assert shop.daemon.parts.reception.looks == looks
    assert taken[1] - taken[0] < 100


def steps_of(act: Callable[[], object]) -> int:
    """Return how many lines of Python this thread runs for it, one of a loop each time."""
    steps = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Callable[..., Any]:  # noqa: ANN401 - as sys.settrace passes it
        nonlocal steps
        steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return steps
