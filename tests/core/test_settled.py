"""When a file is complete."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.core.formats import FileVerdict, Wholeness
from rodin_watchd.core.sets import (
    NOTHING_SEEN,
    READY,
    Content,
    FileEvents,
    Readiness,
    Rules,
    Sighting,
    Unread,
    Writer,
    is_settled,
    judge,
    observe,
)
from rodin_watchd.model import Entry, Kind, Signature

modest = settings(max_examples=150, deadline=None)
RULES = Rules(quiet_seconds=2.0, unproven_quiet_seconds=30.0, incomplete_seconds=600.0)
NOW_NS = 1_790_000_000 * 10**9
CHAIR = Entry("anna/chair.glb", Kind.FILE, Signature(1000, NOW_NS, 11), ctime_ns=NOW_NS, links=1)
CLOSED, MOVED_IN = FileEvents(closed={CHAIR.path}), FileEvents(moved_in={CHAIR.path})
WHOLE = Content(FileVerdict(Wholeness.WHOLE))
UNDECIDED = Content(FileVerdict(Wholeness.UNDECIDED, "text cannot tell"))
UNFINISHED = Content(FileVerdict(Wholeness.UNFINISHED, "it ends too early, at byte 20"))
WRONG = Content(FileVerdict(Wholeness.WRONG, "it is a PNG"))
CHANGED = [
    CHAIR._replace(signature=Signature(1001, NOW_NS, 11)),
    CHAIR._replace(signature=Signature(1000, NOW_NS + 1, 11)),
    CHAIR._replace(signature=Signature(1000, NOW_NS, 12)),
    CHAIR._replace(ctime_ns=6),
    CHAIR._replace(links=2),
    CHAIR._replace(kind=Kind.SYMLINK),
]


def seen(since: float = 100.0, writer: Writer = Writer.UNSEEN, *, entry: Entry = CHAIR) -> dict[str, Sighting]:
    """Return what is known of one file."""
    return {entry.path: Sighting(entry, since, writer)}


# ---- observing ------------------------------------------------------------------------------------------------------


def test_a_new_file_is_seen_from_now_on() -> None:
    """Whatever its own times say: they are another machine's."""
    assert observe({}, [CHAIR], NOTHING_SEEN, 7.0) == seen(7.0)
    assert observe({}, [CHAIR], CLOSED, 7.0) == seen(7.0, Writer.CLOSED)


@pytest.mark.parametrize("writer", [Writer.UNSEEN, Writer.CLOSED, Writer.MOVED_IN])
def test_an_untouched_file_keeps_what_is_known(writer: Writer) -> None:
    """Its rest counts from the first look, and what an event said once holds."""
    assert observe(seen(writer=writer), [CHAIR], NOTHING_SEEN, 200.0) == seen(writer=writer)


@pytest.mark.parametrize("changed", CHANGED)
def test_every_change_starts_anew_and_takes_what_was_known(changed: Entry) -> None:
    """Size, times, inode, links or kind: what was said was said of another content."""
    assert observe(seen(writer=Writer.CLOSED), [changed], NOTHING_SEEN, 200.0) == seen(200.0, entry=changed)


@pytest.mark.parametrize("changed", CHANGED)
def test_a_change_and_a_close_together_speak_of_the_new_content(changed: Entry) -> None:
    """The event came before the look, so what the look finds was closed."""
    assert observe(seen(), [changed], CLOSED, 200.0) == seen(200.0, Writer.CLOSED, entry=changed)


def test_a_close_without_a_change_keeps_the_time() -> None:
    """The writer closed what was seen before."""
    assert observe(seen(), [CHAIR], CLOSED, 200.0) == seen(writer=Writer.CLOSED)


def test_a_file_is_being_written_as_long_as_events_say_so() -> None:
    """Whatever was known before; and when they say it no more without a close, only quiet can settle it."""
    writing = FileEvents(closed={CHAIR.path}, writing={CHAIR.path})
    assert observe(seen(writer=Writer.CLOSED), [CHAIR], writing, 200.0) == seen(writer=Writer.WRITING)
    assert observe(seen(writer=Writer.WRITING), [CHAIR], NOTHING_SEEN, 200.0) == seen()
    assert observe(seen(writer=Writer.WRITING), [CHAIR], CLOSED, 200.0) == seen(writer=Writer.CLOSED)


def test_a_file_that_is_gone_is_forgotten() -> None:
    """When it comes back, it starts anew; a close for a file that is not there means nothing."""
    assert observe(seen(writer=Writer.CLOSED), [], CLOSED, 200.0) == {}


@modest
@given(
    st.lists(
        st.tuples(st.floats(0, 40), st.booleans(), st.sampled_from([NOTHING_SEEN, CLOSED, MOVED_IN])),
        min_size=1,
        max_size=30,
    ),
    st.booleans(),
)
def test_only_observed_rest_or_a_proof_settles_a_file(
    looks: list[tuple[float, bool, FileEvents]], proven: bool
) -> None:
    """Through any looks: moved in, closed and whole by its content, or unchanged over the quiet time of our clock."""
    now, mtime, changed_at, last = 0.0, NOW_NS, 0.0, NOTHING_SEEN
    sightings: dict[str, Sighting] = {}
    for elapsed, touched, events in looks:
        now += elapsed
        if touched or not sightings:
            mtime, changed_at, last = mtime + 1, now, NOTHING_SEEN
        last = events if events != NOTHING_SEEN else last
        entry = CHAIR._replace(signature=Signature(1000, mtime, 11))
        sightings = observe(sightings, [entry], events, now)
        quiet = RULES.quiet_seconds if proven else RULES.unproven_quiet_seconds
        finished = last == MOVED_IN or (last == CLOSED and proven)
        settled = is_settled(sightings[entry.path], now, RULES, proven=proven)
        assert settled == (finished or now >= changed_at + quiet)


# ---- judging --------------------------------------------------------------------------------------------------------


def is_ready(content: Content | Unread, writer: Writer, waited: float, entry: Entry = CHAIR) -> Readiness:
    """Judge a file that has been as it is for so many seconds."""
    return judge(Sighting(entry, 100.0, writer), content, 100.0 + waited, RULES).readiness


@pytest.mark.parametrize(
    ("content", "writer", "waited", "readiness"),
    [
        (WHOLE, Writer.UNSEEN, 1.9, Readiness.WAIT),
        (WHOLE, Writer.UNSEEN, 2.0, Readiness.READY),
        (WHOLE, Writer.CLOSED, 0.0, Readiness.READY),
        (WHOLE, Writer.MOVED_IN, 0.0, Readiness.READY),
        (WHOLE, Writer.WRITING, 1e9, Readiness.WAIT),
        (UNDECIDED, Writer.UNSEEN, 29.9, Readiness.WAIT),
        (UNDECIDED, Writer.UNSEEN, 30.0, Readiness.READY),
        (UNDECIDED, Writer.CLOSED, 29.9, Readiness.WAIT),
        (UNDECIDED, Writer.CLOSED, 30.0, Readiness.READY),
        (UNDECIDED, Writer.MOVED_IN, 0.0, Readiness.READY),
        (UNDECIDED, Writer.WRITING, 1e9, Readiness.WAIT),
        (UNFINISHED, Writer.CLOSED, 0.0, Readiness.WAIT),
        (UNFINISHED, Writer.UNSEEN, 599.9, Readiness.WAIT),
        (UNFINISHED, Writer.UNSEEN, 600.0, Readiness.REFUSE),
        (WRONG, Writer.UNSEEN, 1.9, Readiness.WAIT),
        (WRONG, Writer.UNSEEN, 2.0, Readiness.REFUSE),
        (WRONG, Writer.CLOSED, 0.0, Readiness.REFUSE),
        (WRONG, Writer.WRITING, 1e9, Readiness.WAIT),
        (Unread.CHANGED, Writer.CLOSED, 1e9, Readiness.WAIT),
    ],
)
def test_a_file_is_judged_by_its_writer_and_by_its_content(
    content: Content | Unread, writer: Writer, waited: float, readiness: Readiness
) -> None:
    """Not written any more, and whole; what proves itself unfinished waits long, what is wrong is refused once settled."""
    assert is_ready(content, writer, waited) is readiness


@pytest.mark.parametrize("writer", [Writer.UNSEEN, Writer.CLOSED, Writer.MOVED_IN])
def test_a_hole_is_a_part_that_is_still_to_come(writer: Writer) -> None:
    """For ten minutes; then only a content that proves its end is believed: some programs copy zeros as holes."""
    whole, text = Content(WHOLE.verdict, has_hole=True), Content(UNDECIDED.verdict, has_hole=True)
    assert [is_ready(whole, writer, waited) for waited in (0, 599, 600)] == ["wait", "wait", "ready"]
    assert [is_ready(text, writer, waited) for waited in (0, 599, 600)] == ["wait", "wait", "refuse"]


@pytest.mark.parametrize("writer", [Writer.UNSEEN, Writer.CLOSED, Writer.MOVED_IN])
def test_a_date_of_1970_is_a_copy_that_broke_off(writer: Writer) -> None:
    """`rsync --partial` gives it to what it could not finish. A content that proves its end is believed all the same."""
    partial = CHAIR._replace(signature=Signature(1000, 0, 11))
    assert [is_ready(UNDECIDED, writer, waited, partial) for waited in (0, 599, 600)] == ["wait", "wait", "refuse"]
    assert is_ready(WHOLE, writer, 2.0, partial) is Readiness.READY


@modest
@given(
    st.sampled_from([WHOLE, UNDECIDED, UNFINISHED, WRONG, *Unread]),
    st.sampled_from(Writer),
    st.floats(0, 2000),
    st.integers(1, 3),
)
def test_every_wait_has_a_reason_and_every_refusal_a_problem(
    content: Content | Unread, writer: Writer, waited: float, links: int
) -> None:
    """People read why; and a wait that time alone can end says when to look again."""
    sighting, now = Sighting(CHAIR._replace(links=links), 100.0, writer), 100.0 + waited
    judgement = judge(sighting, content, now, RULES)
    assert (judgement.problem is not None) == (judgement.readiness is Readiness.REFUSE)
    assert ("chair.glb" in judgement.reason) == (judgement.readiness is Readiness.WAIT)
    assert judgement.again_at > now or judgement.readiness is not Readiness.WAIT
    if judgement.readiness is Readiness.WAIT and links == 1 and content and writer is not Writer.WRITING:
        later = judge(sighting, content, judgement.again_at, RULES)
        assert later.readiness is not Readiness.WAIT or later.again_at > judgement.again_at


def test_a_hard_link_waits_for_ever() -> None:
    """Somebody else may write it under its other name: closed and whole do not help, and looking again changes nothing."""
    judgement = judge(Sighting(CHAIR._replace(links=2), 0.0, Writer.CLOSED), WHOLE, 1e9, RULES)
    assert (judgement.readiness, judgement.again_at) == (Readiness.WAIT, float("inf"))
    assert "hard link" in judgement.reason


def test_what_was_refused_is_told_with_its_name_and_cause() -> None:
    """The report's words: what is wrong with which file."""
    refused = judge(Sighting(CHAIR, 0.0, Writer.CLOSED), WRONG, 1.0, RULES).problem
    given_up = judge(Sighting(CHAIR, 0.0, Writer.CLOSED), UNFINISHED, 601.0, RULES).problem
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
    reason = judge(Sighting(entry, 0.0), WHOLE, 1.0, RULES).reason
    assert reason == r"“a\nb\u202e\udcff.glb” is still being copied"


def test_a_quiet_time_of_nothing_is_no_wait() -> None:
    """Whoever sets `intake.quiet_seconds = 0` takes files as they are found."""
    assert judge(Sighting(CHAIR, 5.0), UNDECIDED, 5.0, Rules(0.0, 0.0, 600.0)) == READY
