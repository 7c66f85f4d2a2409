"""One snapshot a tick: whatever shows how the service stands says the same, in the same words."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from pathlib import Path

from workshop import working

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.core.health import STANDSTILLS, Reason, Standstill, away_word, reasons_of_pauses
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.pauses import Pause
from rodin_watchd.core.sets import View
from rodin_watchd.core.status import Line
from rodin_watchd.errors import EmptyAccountError, NetworkError
from rodin_watchd.model import Job, State
from rodin_watchd.problem import Lane
from rodin_watchd.service.snapshot import Snapshot

PAUSES = {
    Lane.API: Pause(NetworkError("No route.").problem, 1_700_000_000.0, 0.0),
    Lane.SUBMIT: Pause(EmptyAccountError("It is empty.").problem, 1_700_000_000.0, 0.0),
}
NETWORK, EMPTY = reasons_of_pauses(PAUSES, UTC)
AWAY = Reason("AWAY: outbox.", away_word(Mount.OUTBOX), "folder-gone")


def snapshot(*reasons: Reason, has_ended: bool = False) -> Snapshot:
    """Return a snapshot of a service with one job and these reasons."""
    job = Job("a1", "chair", "", State.STAGED, (), {}, 0.0)
    return Snapshot(1_700_000_000.0, 5.0, (job,), (), frozenset(), View(), (), reasons, has_ended=has_ended)


def test_each_reason_is_told_everywhere() -> None:
    """On the page in sentences, in the status line in a few words, in the heartbeat and the metrics as a word of a fixed list."""
    taken = snapshot(EMPTY, AWAY, Reason("A plugin rests."), NETWORK)
    assert taken.headline == "1 running, paused: no credits, a folder is away, the vendor cannot be reached"
    assert taken.paused == tuple(what for what in STANDSTILLS if what in {"outbox is away", "api", "submit"})
    assert (taken.lanes, taken.away) == ({Lane.API, Lane.SUBMIT}, {Mount.OUTBOX})
    page = taken.page((Line("sofa", "waits"),), UTC)
    assert [notice.partition(": ")[2] or notice for notice in page.notices][1:3] == ["outbox.", "A plugin rests."]
    assert [line.name for line in (*page.waiting, *page.running)] == ["sofa", "chair"]


def test_what_another_reason_says_is_no_notice_of_its_own() -> None:
    """The heartbeat has it all the same."""
    taken = snapshot(Reason("", Standstill.STOPPING, Standstill.STOPPING))
    assert (taken.paused, taken.page((), UTC).notices) == (("stopping",), ())


def test_what_passes_is_told_as_of_the_end() -> None:
    """A service that has ended cannot take such a notice away; what only a person can end stays true."""
    told = snapshot(EMPTY, NETWORK, has_ended=True).page((), UTC).notices
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
