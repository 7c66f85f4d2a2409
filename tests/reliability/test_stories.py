"""A trial of each story of `make soak`, and what the stories stand on: the library that strikes, the artist, the mounts."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from all_stories import STORIES
from artist_stories import Artist
from crash_scene import Scene, base_name_set, png, sha256, stl
from crash_start import NO_COMPILER, Crash, Start, build, cold
from effort import EFFORT
from kill_stories import AFTER, BEFORE, KILL_STORIES, RANDOM
from people_stories import PEOPLE
from place_stories import TWO_AT_RANDOM
from stories import FAST, SEED, Attempt, Bench, Benches, Story, bare, scattered, shares
from world_stories import CHARGED

from rodin_watchd.emulator.server import Emulator

pytestmark = [pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER), pytest.mark.timeout(300)]

LONG = (PEOPLE, CHARGED, TWO_AT_RANDOM)
"""A trial of these takes half a minute."""

ALIKE = {
    *("written over inside a step", "appended to inside a step", "renamed inside a step"),
    *("killed, work mounted", "killed, work on its own disk", "killed, archive and failed on their own disks"),
    *("journal emptied after a kill", "older journal put back while it runs", "journal's log deleted while it runs"),
    *("a call fails with EDQUOT", "no inodes left", "no inodes left in outbox, archive or failed"),
}
"""Each of these takes the ways of another story, with one thing put in place of another."""

LEFT_OUT = {*ALIKE, *(story.name for story in LONG)} if EFFORT == 1 else set()
"""What `make test` leaves to `make soak` and `make thorough`."""

SAMPLED = [story for story in STORIES if story not in KILL_STORIES and story.name not in LEFT_OUT]
"""The kills have tests of their own."""


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    """Give places for trials, with a daemon that has imported everything."""
    with Benches() as given:
        yield given


@pytest.mark.parametrize("story", SAMPLED, ids=lambda story: story.name)
def test_a_trial_of_each_story(benches: Benches, story: Story) -> None:
    """Whoever acts inside a step, whatever refuses: nothing is lost, paid twice, shown half-done, or otherwise wrong."""
    made = benches.make(story, SEED, until=0.0)
    if made.missing:
        pytest.skip(made.missing)
    assert [failure for trial in made.trials for failure in trial.failures] == []
    assert len(made.trials) == 1
    assert made.planned > 10


def test_what_is_left_out_is_there() -> None:
    """A story that got another name is no longer left out by its old one."""
    assert {story.name for story in STORIES} >= LEFT_OUT


# ---- the library ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Give what starts the very command with the library."""
    return cold(build(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Give a vendor."""
    with Emulator(FAST) as running:
        yield running


@pytest.fixture
def scene(tmp_path: Path, emulator: Emulator) -> Scene:
    """Give a scene with one set in it, of another content each time."""
    scene = Scene(tmp_path / "root", emulator.base_url)
    scene.drop([base_name_set(len(emulator.ledger()["charges"]))])
    return scene


def test_a_thread_stops_at_an_effect_and_goes_on(start: Start, scene: Scene) -> None:
    """The harness is called between two system calls, sees what was done up to there, and the run ends as ever."""
    seen: list[bool] = []

    def act() -> bool:
        seen.append((scene.root / "STATUS.txt").exists())
        return True

    ended = start(scene, Crash(60, act=act))
    assert (ended.code, ended.fault) == (0, "")
    assert len(seen) == 1
    assert ended.at(Crash(60, act=act)).startswith("stopped before 60 ")


def test_a_thread_stops_at_an_effect_and_is_killed(start: Start, scene: Scene) -> None:
    """The harness may kill it there, after it has acted."""
    ended = start(scene, Crash(60, act=lambda: False))
    assert ended.killed
    assert len(ended.effects) < 100


def test_what_breaks_while_a_thread_stands_is_raised(start: Start, scene: Scene) -> None:
    """An act that fails is the trial's fault, not a silence."""

    def act() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(scene, Crash(60, act=act))


def test_a_call_fails_as_asked(start: Start, scene: Scene) -> None:
    """The call is not made, and the program gets the error: here it cannot make its journal's folder."""
    ended = start(scene, Crash(1, error=errno.ENOSPC))
    assert ended.at(Crash(1, error=errno.ENOSPC)).startswith("No space left on device at 1 mkdir")
    assert not scene.journal.exists()
    assert (ended.code, ended.fault) == (1, "")
    assert "No space left on device" in ended.log


def test_few_descriptors_are_few(start: Start, scene: Scene) -> None:
    """The process gets as many as was asked."""
    ended = start(scene, Crash(descriptors=8))
    assert ended.code != 0
    assert not scene.history()


# ---- the artist -----------------------------------------------------------------------------------------------------


@pytest.fixture
def artist(scene: Scene) -> Artist:
    """Give an artist, before the service was started."""
    return Artist(scene)


def owed(scene: Scene, data: bytes) -> int:
    """Return how often a content must be somewhere."""
    return scene.inventory.least(sha256(data))


@pytest.mark.parametrize("way", ["save_as", "write_over"])
def test_what_an_artist_writes_over_is_his_loss(scene: Scene, artist: Artist, way: str) -> None:
    """The old version is owed to nobody, the new one is."""
    dropped = scene.sets[0]
    old, new = dropped.files[dropped.model], stl(900)
    getattr(artist, way)(dropped.model, new)
    assert (scene.inbox / dropped.model).read_bytes() == new
    assert (owed(scene, old), owed(scene, new)) == (0, 1)
    assert len(list(scene.inbox.iterdir())) == 2


def test_what_was_taken_before_is_owed_still(scene: Scene, artist: Artist) -> None:
    """A new version under a name that is free again supersedes nothing."""
    dropped = scene.sets[0]
    (scene.inbox / dropped.image).unlink()
    artist.save_as(dropped.image, png(900))
    artist.delete("not there")
    artist.append("not there", b"")
    artist.rename("not there", "nowhere")
    assert (owed(scene, dropped.files[dropped.image]), owed(scene, png(900))) == (1, 1)


def test_more_and_less(scene: Scene, artist: Artist) -> None:
    """What is appended makes another content; what is deleted is owed no more; a second copy is owed only where it is a second one."""
    dropped = scene.sets[0]
    model, image = dropped.files[dropped.model], dropped.files[dropped.image]
    artist.copy_again(dropped)
    assert (owed(scene, model), owed(scene, image)) == (1, 1)
    artist.append(dropped.image, b"more")
    artist.delete(dropped.model)
    artist.copy_again(dropped)
    assert owed(scene, model) == 1
    assert (scene.inbox / dropped.image).read_bytes().endswith(b"more") is False


# ---- the driver -----------------------------------------------------------------------------------------------------


def test_every_beginning_is_spread() -> None:
    """A plan that is cut short has struck all over; the whole of it strikes everywhere once."""
    for total in (0, 1, 2, 7, 446):
        order = scattered(total, random.Random(1))  # noqa: S311 - where to strike is no secret
        assert sorted(order) == list(range(1, total + 1))
    first = sorted(order[:40])
    assert max(b - a for a, b in pairwise(first)) < 40


def test_time_is_shared_fairly() -> None:
    """Each story may begin trials until its share of what is left is over: what one overdraws, all later ones share."""
    stories = [replace(story, weight=weight) for story, weight in ((BEFORE, 2), (AFTER, 1), (RANDOM, 1))]
    clock = iter([0.0, 80.0, 85.0]).__next__
    assert [until for _, until in shares(stories, 100.0, clock)] == [50.0, 90.0, 100.0]


def test_a_trial_that_breaks_has_failed(benches: Benches) -> None:
    """It is told, and ends no soak."""
    story = Story("breaks", lambda _bench, _chance: [_break], scene=bare)
    made = benches.make(story, SEED, until=0.0)
    assert [
        "the trial broke: ZeroDivisionError()" in failure for trial in made.trials for failure in trial.failures
    ] == [True]
    cannot = benches.make(Story("cannot", _no_plan), SEED, until=0.0)
    assert "the story cannot be planned" in cannot.trials[0].failures[0]
    assert benches.make(Story("missing", _no_plan, missing=lambda: "no disk"), SEED, until=0.0).missing == "no disk"


def _break(_attempt: Attempt) -> None:
    raise ZeroDivisionError


def _no_plan(_bench: Bench, _chance: object) -> Iterator[partial[None]]:
    raise ZeroDivisionError
