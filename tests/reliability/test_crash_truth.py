"""The judge of the crash trials sees each kind of damage when there is one."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_scene import Scene, all_kinds, base_name_set, folder_set, png, sha256, stl
from crash_start import NO_COMPILER, Crash, build, cold
from crash_truth import Kind, Looks, Violation, after_kill, at_rest, conserved, published, torn, wrongly_held
from stories import FAST

from rodin_watchd.emulator.ledger import ChargeRow
from rodin_watchd.emulator.server import Emulator

pytestmark = pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, list[ChargeRow]]]:
    """Give a scene that came to rest without a crash, and what the vendor charged."""
    folder = tmp_path_factory.mktemp("finished")
    with Emulator(FAST) as emulator:
        scene = Scene(folder / "root", emulator.base_url)
        scene.drop(all_kinds(1))
        ended = cold(build(folder))(scene, Crash())
        assert not ended.fault
        yield scene, emulator.ledger()["charges"]


@pytest.fixture
def charges(finished: tuple[Scene, list[ChargeRow]]) -> list[ChargeRow]:
    """Give what the vendor charged."""
    return list(finished[1])


@pytest.fixture
def scene(finished: tuple[Scene, list[ChargeRow]], tmp_path: Path) -> Scene:
    """Give a copy of the scene that may be damaged."""
    damaged = Scene(tmp_path / "root", "http://127.0.0.1:9")
    shutil.rmtree(damaged.root)
    shutil.copytree(finished[0].root, damaged.root)
    damaged.sets, damaged.inventory = list(finished[0].sets), copy.deepcopy(finished[0].inventory)
    return damaged


def test_a_good_end_is_good(scene: Scene, charges: list[ChargeRow]) -> None:
    """Nothing is wrong where nothing was damaged; there are four results, and five sets were paid for."""
    assert after_kill(scene) == at_rest(scene, charges) == wrongly_held(scene, set()) == []
    assert (len(published(scene.root, "outbox")), len(charges)) == (4, 5)


def test_vanished_bytes_are_lost(scene: Scene) -> None:
    """An input that is nowhere."""
    (scene.root / "archive" / "base1" / "base1.stl").unlink()
    assert Kind.LOST in {violation.kind for violation in after_kill(scene)}


def test_bytes_in_two_places_are_wrong(scene: Scene) -> None:
    """An input that was copied where it should have been moved."""
    shutil.copy(scene.root / "archive" / "base1" / "base1.stl", scene.inbox / "again.stl")
    assert [violation.kind for violation in after_kill(scene)] == [Kind.WRONG]


@pytest.mark.parametrize("name", ["scene/base_basic_pbr.glb", "job.toml"])
def test_half_a_result_is_partial(scene: Scene, name: str) -> None:
    """A published result without one of its files."""
    (scene.root / "outbox" / "base1" / name).unlink()
    assert [violation.kind for violation in after_kill(scene)] == [Kind.PARTIAL]


def test_a_changed_result_is_partial(scene: Scene) -> None:
    """A published file that is not what its receipt says."""
    with (scene.root / "outbox" / "base1" / "scene/base_basic_pbr.glb").open("ab") as result:
        result.write(b"x")
    assert [violation.kind for violation in after_kill(scene)] == [Kind.PARTIAL]


def test_a_second_delivery_is_a_duplicate(scene: Scene, charges: list[ChargeRow]) -> None:
    """One job with two entries in the outbox."""
    shutil.copytree(scene.root / "outbox" / "base1", scene.root / "outbox" / "base1-again")
    assert [violation.kind for violation in at_rest(scene, charges)] == [Kind.DUPLICATE]


def test_a_second_charge_is_a_duplicate(scene: Scene, charges: list[ChargeRow]) -> None:
    """One set that the vendor charged twice."""
    again: ChargeRow = {**charges[0], "task_uuid": "another"}
    assert Kind.DUPLICATE in {violation.kind for violation in at_rest(scene, [*charges, again])}


def test_a_receipt_of_another_task_is_wrong(scene: Scene, charges: list[ChargeRow]) -> None:
    """The ledger knows a task that no receipt names."""
    other: ChargeRow = {**charges[0], "task_uuid": "another"}
    assert [violation.kind for violation in at_rest(scene, [other, *charges[1:]])] == [Kind.WRONG]


def test_a_delivery_without_a_charge_is_wrong(scene: Scene, charges: list[ChargeRow]) -> None:
    """What was delivered must have been paid for."""
    assert [violation.kind for violation in at_rest(scene, charges[1:])] == [Kind.WRONG]


def test_a_charge_for_nothing_is_wrong(scene: Scene, charges: list[ChargeRow]) -> None:
    """The vendor charged for what nobody dropped."""
    strange: ChargeRow = {**charges[0], "model_sha256": "00" * 32}
    assert [violation.kind for violation in at_rest(scene, [*charges, strange])] == [Kind.WRONG]


def test_a_forgotten_set_is_lost(scene: Scene, charges: list[ChargeRow]) -> None:
    """A set that never became a job."""
    scene.drop(all_kinds(50)[:1])
    assert Kind.LOST in {violation.kind for violation in at_rest(scene, charges)}


def test_leftovers_are_litter(scene: Scene, charges: list[ChargeRow]) -> None:
    """A half-written file that nobody cleared up."""
    (scene.root / "outbox" / ".job.toml.part").write_text("")
    assert [violation.kind for violation in at_rest(scene, charges)] == [Kind.LITTER]


def test_doubt_must_end_as_held(scene: Scene) -> None:
    """A job that was found in `submitting` without an answer, and is not held."""
    assert [violation.kind for violation in wrongly_held(scene, set(scene.history()))] == [Kind.WRONG] * 6


# ---- the whole trial ------------------------------------------------------------------------------------------------


def kinds(found: list[Violation]) -> set[Kind]:
    """Return of what kinds the violations are."""
    return {violation.kind for violation in found}


def test_a_second_copy_that_vanished_is_lost(scene: Scene) -> None:
    """The same file was dropped twice; that it is in one place is not enough."""
    path = "base1.stl"
    scene.inventory.dropped(path, scene.sets[0].files[path])
    assert kinds(after_kill(scene)) == {Kind.LOST}


def test_what_its_owner_wrote_over_is_not_lost(scene: Scene) -> None:
    """An artist's own overwriting is his loss; the new version is owed."""
    old, new = scene.sets[0].files["base1.stl"], b"new"
    archived = scene.root / "archive" / "base1" / "base1.stl"
    archived.unlink()
    scene.inventory.taken(old)
    assert Kind.LOST not in kinds(after_kill(scene))
    scene.inventory.dropped("base1.stl", new)
    assert Kind.LOST in kinds(after_kill(scene))


def test_a_claim_is_a_place_while_it_is_taken(scene: Scene, charges: list[ChargeRow]) -> None:
    """Bytes under a hidden name in the inbox are somewhere after a kill, and left over at rest."""
    (scene.root / "archive" / "base1" / "base1.stl").rename(scene.inbox / ".rodin-claim-base1.stl")
    assert Kind.LOST not in kinds(after_kill(scene))
    assert Kind.LITTER in kinds(at_rest(scene, charges))


def test_a_copy_under_way_is_no_second_place(scene: Scene) -> None:
    """Nor is it a result, or a set that failed, that people can see."""
    for top in ("archive", "outbox", "failed"):
        folder = next(path for path in (scene.root / top).iterdir() if path.is_dir())
        hidden = shutil.copytree(folder, folder.with_name(".rodin-copy"))
        next(path for path in hidden.iterdir() if path.suffix == ".toml").unlink()
    assert after_kill(scene) == []


def test_a_hidden_result_is_not_delivered(scene: Scene, charges: list[ChargeRow]) -> None:
    """The journal says that it is archived, and nobody can see the result."""
    result = scene.root / "outbox" / "base1"
    result.rename(result.with_name(".rodin-base1"))
    assert kinds(at_rest(scene, charges)) == {Kind.WRONG, Kind.LITTER}


@pytest.mark.parametrize("top", ["outbox", "archive", "failed"])
def test_what_was_seen_must_stay(scene: Scene, top: str) -> None:
    """A published folder that is gone, or another one, at a later look; the journal of today says nothing of it."""
    looks = Looks()
    assert looks.look(scene) == []
    assert looks.look(scene) == []
    folder = next(path for path in (scene.root / top).iterdir() if path.is_dir())
    shutil.rmtree(folder)
    assert kinds(looks.look(scene)) == {Kind.LOST}
    assert looks.look(scene) == []


def test_what_the_journal_knew_it_knows(scene: Scene) -> None:
    """A job, and with it a paid task, that an earlier look has seen in the journal."""
    looks = Looks()
    looks.look(scene)
    scene.journal.unlink()
    assert kinds(looks.look(scene)) == {Kind.LOST}


# ---- where people acted ---------------------------------------------------------------------------------------------


def test_what_is_conserved_is_good(scene: Scene, charges: list[ChargeRow]) -> None:
    """A scene that came to rest by itself passes here, too."""
    assert conserved([scene], charges) == []


def test_a_content_bought_twice_is_a_duplicate(scene: Scene, charges: list[ChargeRow]) -> None:
    """Whatever jobs there are."""
    again: ChargeRow = {**charges[0], "task_uuid": "another"}
    assert Kind.DUPLICATE in kinds(conserved([scene], [*charges, again]))


def test_a_paid_task_that_nobody_knows_is_lost(scene: Scene, charges: list[ChargeRow]) -> None:
    """No job has it, and none is held that could be its."""
    other: ChargeRow = {**charges[0], "task_uuid": "another"}
    assert kinds(conserved([scene], [other, *charges[1:]])) == {Kind.LOST}


def test_a_content_that_was_not_bought_is_wrong(scene: Scene, charges: list[ChargeRow]) -> None:
    """The vendor was given other bytes than those that lie beside the result."""
    other: ChargeRow = {**charges[0], "image_sha256": "00" * 32}
    assert kinds(conserved([scene], [other, *charges[1:]])) == {Kind.WRONG}


def test_an_archive_of_another_version_is_wrong(scene: Scene, charges: list[ChargeRow]) -> None:
    """What was bought was exchanged in the archive for the version that came later, receipt and all."""
    archived, new = scene.root / "archive" / "base1", b"another version"
    text = (archived / "job.toml").read_text()
    old = scene.sets[0].files["base1.stl"]
    (archived / "job.toml").write_text(text.replace(sha256(old), sha256(new)))
    (archived / "base1.stl").write_bytes(new)
    scene.inventory.taken(old)
    scene.inventory.dropped("base1.stl", new)
    assert kinds(conserved([scene], charges)) == {Kind.WRONG}


def test_a_whole_set_that_waits_in_vain_is_lost(scene: Scene, charges: list[ChargeRow]) -> None:
    """The service rests, and a model and an image of one name lie there; half a set may."""
    scene.inventory.meddled = True
    scene.drop([base_name_set(60), folder_set(61)])
    assert kinds(conserved([scene], charges)) == {Kind.LOST}
    (scene.inbox / "base60.png").unlink()
    (scene.inbox / "crate61" / "model.stl").unlink()
    scene.inventory.taken(png(60))
    scene.inventory.taken(stl(61))
    assert conserved([scene], charges) == []


def test_what_one_of_two_roots_has_is_there(scene: Scene, charges: list[ChargeRow], tmp_path: Path) -> None:
    """A set may lie in either root; in halves it is torn."""
    other = Scene(tmp_path / "other" / "root", "http://127.0.0.1:9")
    other.inventory = scene.inventory
    (other.root / ".rodin-watchd" / "work").mkdir(parents=True)
    scene.inventory.meddled = True
    assert conserved([scene, other], charges) == torn([scene, other], scene.sets) == []
    half = other.root / "archive" / "base1"
    half.mkdir(parents=True)
    (scene.root / "archive" / "base1" / "base1.stl").rename(half / "base1.stl")
    found = torn([scene, other], scene.sets)
    assert (kinds(found), len(found)) == ({Kind.WRONG}, 1)
    assert Kind.LOST not in kinds(conserved([scene, other], []))
