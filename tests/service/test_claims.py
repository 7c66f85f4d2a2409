"""From sets that are ready to jobs: who goes next, what is copied instead of moved."""

from __future__ import annotations

from dataclasses import replace

from rodin_watchd.core.claims import Claims, Turn, claims, copied_paths, taken_paths
from rodin_watchd.core.kind_options import TextureOptions
from rodin_watchd.core.pairing import Candidate, Member
from rodin_watchd.core.sets import ReadySet, View
from rodin_watchd.errors import SidecarError
from rodin_watchd.model import Entry, Job, Kind, Role, Signature, State


def ready(name: str, *paths: str, since: float = 0.0) -> ReadySet:
    """Return a set of these files."""
    members = tuple(Member(path, Role.IMAGE if path.endswith(".png") else Role.MODEL) for path in paths)
    entries = {path: Entry(path, Kind.FILE, Signature(1, 2, 3), 4, 1) for path in paths}
    return ReadySet(Candidate(name, "", members), entries, None, (), since)


def chosen(*sets: ReadySet, jobs: tuple[Job, ...] = (), room: int = 10) -> Claims:
    """Choose among sets that are all there is in the inbox."""
    uses: dict[str, int] = {}
    for one in sets:
        for path in one.entries:
            uses[path] = uses.get(path, 0) + 1
    view = View(ready=sets, uses=uses)
    return claims(view, jobs, room, TextureOptions(seed=5), lambda: f"id-{len(uses)}-{id(view)}", 100.0)


def test_room_bounds_what_is_taken_and_the_first_go_first() -> None:
    """As many sets as there is room for become jobs, in the order of the view; the others wait for their turn."""
    sets = [ready(name, f"{name}.obj", f"{name}.png") for name in ("a", "b", "c")]
    made = chosen(*sets, room=2)
    assert [transition.job.name for transition in made.begun] == ["a", "b"]
    assert [(one.candidate.name, turn) for one, turn in made.waiting] == [("c", Turn.ROOM)]
    assert made.crowded
    assert not made.is_copied(())
    assert [one.candidate.name for one in made.next_in_turn(dict.fromkeys(sets[2].entries, 1), 5)] == ["c"]


def test_the_next_in_turn_are_those_that_share_nothing() -> None:
    """In their order, as many as there is room for, and none that comes after a set which is to be decided by a look."""
    first, second, third = ready("a", "a.obj", "a.png"), ready("b", "b.obj", "oak.png"), ready("c", "c.obj", "c.png")
    made = chosen(first, second, third, room=0)
    uses = {"a.obj": 1, "a.png": 1, "b.obj": 1, "oak.png": 2, "c.obj": 1, "c.png": 1}
    assert made.next_in_turn(uses, 0) == ()
    assert made.next_in_turn(uses, 3) == (first,)
    begun = made.begin([first], TextureOptions(seed=5), lambda: "id", 100.0)
    assert [(t.job.name, t.job.options["seed"]) for t in begun.begun] == [("a", 5)]
    assert ([one.candidate.name for one, _ in begun.waiting], begun.crowded) == (["b", "c"], True)


def test_a_refused_set_needs_no_room() -> None:
    """What is only to be buried goes at once, with its problem and without options."""
    bad = replace(ready("bad", "bad.obj"), problem=SidecarError("line 1: no").problem)
    [begun] = chosen(bad, room=0).begun
    assert (begun.job.state, begun.job.options) == (State.FAILING, {})
    assert begun.message == "line 1: no"


def test_a_shared_file_is_copied_until_its_last_set_moves_it() -> None:
    """Of three sets with one image two copy it; the third waits for the copies, then moves it."""
    sets = [ready(name, f"{name}.obj", "oak.png") for name in ("a", "b", "c")]
    made = chosen(*sets)
    assert [[f.shared for f in t.job.files] for t in made.begun] == [[False, True], [False, True]]
    assert [turn for _, turn in made.waiting] == [Turn.COPY]
    copying = tuple(transition.job for transition in made.begun)
    assert copied_paths(copying) == {"oak.png"}
    assert taken_paths(copying) == {"a.obj", "b.obj"}
    assert not made.is_copied(copying)
    assert made.next_in_turn({"c.obj": 1, "oak.png": 3}, 5) == ()
    staged = tuple(replace(job, state=State.STAGED) for job in copying)
    assert made.is_copied(staged)
    [last] = chosen(sets[2], jobs=staged).begun
    assert [f.shared for f in last.job.files] == [False, False]
    assert chosen(sets[2], jobs=copying).begun == ()


def test_a_job_that_cannot_be_buried_holds_nobody_up() -> None:
    """A set that shares a file with a job whose burial fails again and again goes on without it."""
    first, second = ready("a", "a.obj", "oak.png"), ready("b", "b.obj", "oak.png")
    [begun] = chosen(first, second).begun
    stuck = replace(begun.job, state=State.FAILING)
    assert chosen(second, jobs=(stuck,)).begun == ()
    assert len(chosen(second, jobs=(replace(stuck, attempts=1),)).begun) == 1


def test_a_claim_names_what_was_seen() -> None:
    """A job holds each file's place and signature as the look found them, and the layered options."""
    [begun] = chosen(ready("chair", "deep/chair.obj", "deep/chair.png")).begun
    assert [(f.source, f.signature) for f in begun.job.files] == [
        ("inbox/deep/chair.obj", Signature(1, 2, 3)),
        ("inbox/deep/chair.png", Signature(1, 2, 3)),
    ]
    assert (begun.job.options, begun.job.created_at, begun.action) == ({"seed": 5}, 100.0, "claimed")
