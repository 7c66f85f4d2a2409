"""Whether a folder is believed: by its identity, by its mark, never by its emptiness."""

from __future__ import annotations

from dataclasses import replace

import pytest
from job_samples import a_job, some_files

from rodin_watchd.core.machine import POLICIES
from rodin_watchd.core.mounts import (
    NEEDS,
    PATHS,
    Birth,
    Identity,
    Known,
    Mark,
    Mount,
    RootSeen,
    SeenMark,
    Traces,
    Whose,
    has_mount,
    is_a_copy,
    whose_root,
    why_away,
)
from rodin_watchd.model import State, Step

ROOT, HERE, THERE = Identity(1, 2), Identity(1, 50), Identity(9, 2)
ID = "our-id"
PLAIN, OWN = Known(HERE, own=False), Known(THERE, own=True)
MARKED = Known(THERE, own=True, marked=True)


def seen(identity: Identity = HERE, *, own: bool = False, empty: bool = False, mark: Mark | None = None) -> SeenMark:
    """Return what a look found."""
    return SeenMark(identity, own, empty, mark)


OURS = Mark(ID, "outbox")


@pytest.mark.parametrize(
    ("known", "found", "believed"),
    [
        (None, seen(), True),  # the first start
        (None, seen(mark=OURS), True),
        (None, seen(mark=Mark("other", "outbox")), False),
        (PLAIN, seen(), True),
        (PLAIN, seen(Identity(1, 77)), True),  # a plain folder that people made anew
        (replace(PLAIN, marked=True), seen(empty=True), True),  # or emptied of all that was in it
        (PLAIN, seen(mark=Mark("other", "outbox")), False),  # another service uses it
        (PLAIN, seen(mark=Mark(ID, "outbox", "here")), True),
        (PLAIN, seen(mark=Mark(ID, "outbox", "far:/journal")), False),  # a service on a copy of the root does
        (PLAIN, seen(THERE, own=True), False),  # something was mounted on it
        (PLAIN, seen(THERE, own=True, mark=OURS), True),
        (OWN, seen(THERE, own=True, empty=True), True),  # it could never be marked: it is read-only
        (MARKED, seen(THERE, own=True), True),  # somebody deleted the mark
        (MARKED, seen(THERE, own=True, empty=True), False),  # an empty disk that was given the other's number
        (MARKED, seen(THERE, own=True, mark=Mark("other", "outbox")), False),  # another service's, likewise
        (OWN, seen(HERE, empty=True), False),  # the bare mount point
        (OWN, seen(HERE), False),
        (OWN, seen(Identity(10, 2), own=True), False),  # another disk
        (OWN, seen(Identity(10, 2), own=True, mark=OURS), True),  # the same, by another number
        (OWN, seen(Identity(10, 2), own=True, mark=Mark(ID, "archive")), False),  # swapped
        (OWN, None, False),
        (PLAIN, None, False),
    ],
)
def test_what_is_believed(known: Known | None, found: SeenMark | None, *, believed: bool) -> None:
    """A table of all that can be there."""
    assert (why_away(Mount.OUTBOX, known, found, ROOT, ID, "here".__eq__) == "") is believed


def test_a_root_is_known_by_itself() -> None:
    """It has no folder around it that could vouch for it."""
    known = Known(ROOT, own=False)
    assert why_away(Mount.ROOT, known, seen(ROOT), ROOT, ID) == ""
    assert "empty folder is there now" in why_away(Mount.ROOT, known, seen(Identity(1, 3), empty=True), ROOT, ID)
    assert "without the service's mark" in why_away(Mount.ROOT, known, seen(Identity(1, 3)), ROOT, ID)
    assert why_away(Mount.ROOT, known, seen(Identity(1, 3), mark=Mark(ID, "root", "x")), ROOT, ID) == ""


def test_what_is_known_can_be_stored() -> None:
    """And comes back."""
    assert Known.of_data(OWN.as_data()) == OWN


def test_each_step_says_what_it_stands_on() -> None:
    """None is forgotten; polls stand on nothing."""
    assert set(NEEDS) == set(Step)
    assert NEEDS[Step.POLL] == frozenset()
    assert set(PATHS) == set(Mount)


@pytest.mark.parametrize("state", sorted(POLICIES))
def test_a_step_waits_for_what_it_needs_only(state: State) -> None:
    """And with nothing away, for nothing."""
    job = a_job(state)
    needs = NEEDS[POLICIES[state].step]
    assert has_mount(job, frozenset())
    for mount in Mount:
        source = mount is Mount.INBOX and POLICIES[state].step in {Step.BURY, Step.RETURN}
        assert has_mount(job, {mount}) == (mount not in needs and not source)


def test_a_set_is_taken_from_where_its_files_are() -> None:
    """A failed one that is taken up again comes from `failed/`, and does not touch the inbox."""
    job = replace(a_job(State.FAILING), files=some_files("failed/chair"))
    assert has_mount(job, {Mount.INBOX})
    assert not has_mount(job, {Mount.FAILED})


OLD, NEW, OTHER_DISK = Birth(7, 100), Birth(9, 200), Birth(9, 100)


@pytest.mark.parametrize(
    ("marked", "here", "copied"),
    [
        (Traces(), Traces("m", NEW, NEW), False),  # a mark of the version before
        (Traces("m", OLD, OLD), Traces("m", OLD, OLD), False),
        (Traces("m", OLD, OLD), Traces("n", OLD, OLD), True),  # a cloned machine
        (Traces("m", OLD, OLD), Traces("", OLD, OLD), False),  # in a container that has no id of its own
        (Traces("", OLD, OLD), Traces("", NEW, NEW), True),
        (Traces("", OLD, OLD), Traces("", NEW, OLD), False),  # the state folder was put back
        (Traces("", OLD, OLD), Traces("", OLD, NEW), False),  # the root is on a new disk
        (Traces("", OLD, OLD), Traces("", NEW, OTHER_DISK), False),  # a share that gives other inodes at each mount
        (Traces("", OLD, OLD), Traces("", Birth(7, 200), Birth(7, 200)), True),  # a new disk gave the same inodes
        (Traces("", OLD, Birth(7)), Traces("", NEW, Birth(9)), True),  # the root on a share without such times
        (Traces("", Birth(7), OLD), Traces("", Birth(9), NEW), False),  # the journal on a disk without them
        (Traces("", OLD, OLD), Traces("", None, NEW), False),
        (Traces("", OLD, None), Traces("", NEW, NEW), False),
        (Traces("", OLD, OLD, OLD, OLD), Traces("", OLD, OLD, NEW, NEW), True),  # a copy by hard links
        (
            Traces("", OLD, OLD, OLD, OLD),
            Traces("", OLD, OLD, NEW, OLD),
            False,
        ),  # its files were moved back into a new state folder
        (Traces("", OLD, OLD, OLD, OLD), Traces("", OLD, OLD, OLD, NEW), False),
        (Traces("", OLD, OLD), Traces("", OLD, OLD, NEW, NEW), False),  # a mark of the version before
    ],
)
def test_what_is_a_copy(marked: Traces, here: Traces, *, copied: bool) -> None:
    """Another machine, or a journal's folder and a mark that were both made anew; what is not known tells nothing."""
    assert is_a_copy(marked, here) is copied


# ---- whose root it is -----------------------------------------------------------------------------------------------

HOME = Traces("", OLD, OLD)
ELSEWHERE = Traces("", NEW, NEW)


def root_mark(root_id: str = ID, journal: str = "here", accepted_from: str = "") -> Mark:
    """Return a root's mark that was left at home."""
    return Mark(root_id, "root", journal, accepted_from, HOME)


@pytest.mark.parametrize(
    ("root_id", "mark", "here", "whose", "reason"),
    [
        ("", None, HOME, Whose.NEW, ""),
        ("", root_mark(journal=""), HOME, Whose.NEW, ""),  # marked by `accept` before the first start
        ("", root_mark(), HOME, Whose.EMPTIED, "knows nothing of it"),
        ("", root_mark(journal="far"), HOME, Whose.ANOTHERS, "another journal (far)"),
        (ID, None, HOME, Whose.OURS, ""),  # somebody removed the mark
        (ID, None, ELSEWHERE, Whose.COPIED, "has no mark"),
        (ID, root_mark(), HOME, Whose.OURS, ""),
        (ID, root_mark("other"), HOME, Whose.MARKED, "another service's root"),
        (ID, root_mark("other", "far"), HOME, Whose.MARKED, "another service's root"),
        (ID, root_mark(journal="far"), HOME, Whose.COPIED, "names the journal far"),
        (ID, root_mark(journal="far", accepted_from="older"), HOME, Whose.COPIED, "names the journal far"),
        (ID, root_mark(), ELSEWHERE, Whose.COPIED, "copied to another disk"),
        (ID, root_mark(accepted_from="far"), HOME, Whose.ACCEPTED, "names the journal far"),
        (ID, root_mark(accepted_from="here"), HOME, Whose.ACCEPTED, "has no mark"),
        (ID, root_mark(accepted_from="far"), ELSEWHERE, Whose.COPIED, "copied to another disk"),  # once more since
    ],
)
def test_whose_root_it_is(root_id: str, mark: Mark | None, here: Traces, whose: Whose, reason: str) -> None:
    """One verdict with one reason, whoever asks; nothing is taken or sent of a copy, accepted or not."""
    is_here = mark is not None and mark.journal == "here"
    verdict = whose_root(RootSeen(root_id, mark, is_here, "here", here, HOME))
    assert verdict.whose is whose
    assert (reason in verdict.reason) if reason else not verdict.reason
    assert bool(verdict.copied) is (whose in (Whose.COPIED, Whose.ACCEPTED))
