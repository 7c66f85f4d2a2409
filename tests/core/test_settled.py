"""When a file is complete."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.core.formats import FileVerdict, Wholeness
from rodin_watchd.core.sets import READY, Readiness, Rules, Sighting, is_settled, judge, observe
from rodin_watchd.model import Entry, Kind, Signature

modest = settings(max_examples=150, deadline=None)
RULES = Rules(quiet_seconds=2.0, incomplete_seconds=600.0)
CHAIR = Entry("anna/chair.glb", Kind.FILE, Signature(1000, 5, 11), ctime_ns=5, links=1)
WHOLE, UNDECIDED = FileVerdict(Wholeness.WHOLE), FileVerdict(Wholeness.UNDECIDED, "text cannot tell")
UNFINISHED, WRONG = (
    FileVerdict(Wholeness.UNFINISHED, "it ends too early, at byte 20"),
    FileVerdict(Wholeness.WRONG, "it is a PNG"),
)
CHANGED = [
    CHAIR._replace(signature=Signature(1001, 5, 11)),
    CHAIR._replace(signature=Signature(1000, 6, 11)),
    CHAIR._replace(signature=Signature(1000, 5, 12)),
    CHAIR._replace(ctime_ns=6),
    CHAIR._replace(links=2),
    CHAIR._replace(kind=Kind.SYMLINK),
]


def seen(since: float = 100.0, *, closed: bool = False, entry: Entry = CHAIR) -> dict[str, Sighting]:
    """Return what is known of one file."""
    return {entry.path: Sighting(entry, since, closed)}


# ---- observing ------------------------------------------------------------------------------------------------------


def test_a_new_file_is_seen_from_now_on() -> None:
    """Whatever its own times say: they are another machine's."""
    assert observe({}, [CHAIR], frozenset(), 7.0) == seen(7.0)
    assert observe({}, [CHAIR], {CHAIR.path}, 7.0) == seen(7.0, closed=True)


@pytest.mark.parametrize("closed", [False, True])
def test_an_untouched_file_keeps_what_is_known(closed: bool) -> None:
    """Its rest counts from the first look, and a vouch given once holds."""
    assert observe(seen(closed=closed), [CHAIR], frozenset(), 200.0) == seen(closed=closed)


@pytest.mark.parametrize("changed", CHANGED)
def test_every_change_starts_anew_and_takes_the_vouch(changed: Entry) -> None:
    """Size, times, inode, links or kind: what was vouched for was another content."""
    assert observe(seen(closed=True), [changed], frozenset(), 200.0) == seen(200.0, entry=changed)


@pytest.mark.parametrize("changed", CHANGED)
def test_a_change_and_a_close_together_vouch_for_the_new_content(changed: Entry) -> None:
    """The event came before the look, so what the look finds was closed."""
    assert observe(seen(), [changed], {CHAIR.path}, 200.0) == seen(200.0, closed=True, entry=changed)


def test_a_close_without_a_change_vouches_and_keeps_the_time() -> None:
    """The writer closed what was seen before."""
    assert observe(seen(), [CHAIR], {CHAIR.path}, 200.0) == seen(closed=True)


def test_a_file_that_is_gone_is_forgotten() -> None:
    """When it comes back, it starts anew; a close for a file that is not there means nothing."""
    assert observe(seen(closed=True), [], {CHAIR.path}, 200.0) == {}


@modest
@given(st.lists(st.tuples(st.floats(0, 5), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_only_observed_rest_or_a_close_settles_a_file(looks: list[tuple[float, bool, bool]]) -> None:
    """Through any looks: settled means closed after the last change, or unchanged over the quiet time of our clock."""
    now, mtime, changed_at, was_closed = 0.0, 0, 0.0, False
    sightings: dict[str, Sighting] = {}
    for elapsed, touched, closed in looks:
        now += elapsed
        if touched or not sightings:
            mtime, changed_at, was_closed = mtime + 1, now, False
        was_closed = was_closed or closed
        entry = CHAIR._replace(signature=Signature(1000, mtime, 11))
        sightings = observe(sightings, [entry], {entry.path} if closed else frozenset(), now)
        settled = is_settled(sightings[entry.path], now, RULES)
        assert settled == (was_closed or now - changed_at >= RULES.quiet_seconds)


# ---- judging --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "closed", "waited", "readiness"),
    [
        (WHOLE, False, 1.9, Readiness.WAIT),
        (WHOLE, False, 2.0, Readiness.READY),
        (WHOLE, True, 0.0, Readiness.READY),
        (UNDECIDED, False, 1.9, Readiness.WAIT),
        (UNDECIDED, False, 2.0, Readiness.READY),
        (UNDECIDED, True, 0.0, Readiness.READY),
        (UNFINISHED, True, 0.0, Readiness.WAIT),
        (UNFINISHED, False, 599.9, Readiness.WAIT),
        (UNFINISHED, True, 600.0, Readiness.REFUSE),
        (WRONG, False, 1.9, Readiness.WAIT),
        (WRONG, False, 2.0, Readiness.REFUSE),
        (WRONG, True, 0.0, Readiness.REFUSE),
        (None, True, 1e9, Readiness.WAIT),
    ],
)
def test_a_file_is_judged_by_rest_and_by_content(
    verdict: FileVerdict | None, closed: bool, waited: float, readiness: Readiness
) -> None:
    """Closed or quiet, and whole; what proves itself unfinished waits long, what is wrong is refused once settled."""
    assert judge(Sighting(CHAIR, 100.0, closed), verdict, 100.0 + waited, RULES).readiness is readiness


@modest
@given(
    st.sampled_from([WHOLE, UNDECIDED, UNFINISHED, WRONG, None]),
    st.booleans(),
    st.floats(0, 2000),
    st.integers(1, 3),
)
def test_every_wait_has_a_reason_and_every_refusal_a_problem(
    verdict: FileVerdict | None, closed: bool, waited: float, links: int
) -> None:
    """People read why; and a wait that time alone can end says when to look again."""
    sighting, now = Sighting(CHAIR._replace(links=links), 100.0, closed), 100.0 + waited
    judgement = judge(sighting, verdict, now, RULES)
    assert (judgement.problem is not None) == (judgement.readiness is Readiness.REFUSE)
    assert ("chair.glb" in judgement.reason) == (judgement.readiness is Readiness.WAIT)
    assert judgement.again_at > now or judgement.readiness is not Readiness.WAIT
    if judgement.readiness is Readiness.WAIT and links == 1 and verdict is not None:
        later = judge(sighting, verdict, judgement.again_at, RULES)
        assert later.readiness is not Readiness.WAIT


def test_a_hard_link_waits_for_ever() -> None:
    """Somebody else may write it under its other name: closed and whole do not help, and looking again changes nothing."""
    judgement = judge(Sighting(CHAIR._replace(links=2), 0.0, closed=True), WHOLE, 1e9, RULES)
    assert (judgement.readiness, judgement.again_at) == (Readiness.WAIT, float("inf"))
    assert "hard link" in judgement.reason


def test_what_was_refused_is_told_with_its_name_and_cause() -> None:
    """The report's words: what is wrong with which file."""
    refused = judge(Sighting(CHAIR, 0.0, closed=True), WRONG, 1.0, RULES).problem
    given_up = judge(Sighting(CHAIR, 0.0, closed=True), UNFINISHED, 601.0, RULES).problem
    assert refused is not None
    assert given_up is not None
    assert (refused.code, refused.message) == ("file-refused", "“chair.glb” cannot be used: it is a PNG.")
    assert (given_up.code, given_up.message) == (
        "file-unfinished",
        "“chair.glb” is not complete: it ends too early, at byte 20, and nothing more came.",
    )


def test_a_hostile_name_is_shown_on_one_line() -> None:
    """A line end in a name does not break the status page."""
    entry = CHAIR._replace(path="x/a\nb\u202e\udcff.glb")
    reason = judge(Sighting(entry, 0.0, closed=False), WHOLE, 1.0, RULES).reason
    assert reason == r"“a\nb\u202e\udcff.glb” is still being copied"


def test_a_quiet_time_of_nothing_is_no_wait() -> None:
    """Whoever sets `intake.quiet_seconds = 0` takes files as they are found."""
    assert judge(Sighting(CHAIR, 5.0, closed=False), WHOLE, 5.0, Rules(0.0, 600.0)) == READY
