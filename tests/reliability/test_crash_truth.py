"""The judge of the crash trials sees each kind of damage when there is one."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_scene import Scene, all_kinds
from crash_start import NO_COMPILER, Crash, build, cold
from crash_truth import Kind, after_kill, at_rest, published, wrongly_held
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


@pytest.mark.parametrize("name", ["model.glb", "job.toml"])
def test_half_a_result_is_partial(scene: Scene, name: str) -> None:
    """A published result without one of its files."""
    (scene.root / "outbox" / "base1" / name).unlink()
    assert [violation.kind for violation in after_kill(scene)] == [Kind.PARTIAL]


def test_a_changed_result_is_partial(scene: Scene) -> None:
    """A published file that is not what its receipt says."""
    with (scene.root / "outbox" / "base1" / "model.glb").open("ab") as result:
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
