"""Which files belong together."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.core import kinds
from rodin_watchd.core.formats import (
    IMAGE_EXTENSIONS,
    MODEL_EXTENSIONS,
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
    FileKind,
)
from rodin_watchd.core.names import match_key, split_name
from rodin_watchd.core.pairing import DELIVERED, KEPT, Candidate, Pairing, member_of, pair
from rodin_watchd.core.sidecar import Misread, Sidecar
from rodin_watchd.errors import Problem, SidecarError
from rodin_watchd.model import Entry, Kind, Role, Signature

modest = settings(max_examples=200, deadline=None)
BROKEN = Misread(SidecarError("chair.toml line 1: what is this?").problem)


def files(*paths: str, kind: Kind = Kind.FILE) -> list[Entry]:
    """Return a snapshot that holds these entries."""
    return [Entry(path, kind, Signature(1, 1, n), ctime_ns=1, links=1) for n, path in enumerate(paths)]


def paired(*paths: str, **sidecars: Sidecar | Misread) -> Pairing:
    """Pair these files; `sidecars` by base name in the inbox itself, plain ones for all other TOML files."""
    said = {path: sidecars.get(path.removesuffix(".toml"), Sidecar()) for path in paths if path.endswith(".toml")}
    return pair(files(*paths), said)


def told(pairing: Pairing) -> list[tuple[str, str, list[str]]]:
    """Return folder, name and files of each candidate."""
    return sorted((c.folder, c.name, sorted(m.path for m in c.members)) for c in pairing.candidates)


def only(pairing: Pairing) -> Candidate:
    """Return the one candidate."""
    (candidate,) = pairing.candidates
    return candidate


def problem_of(candidate: Candidate) -> Problem:
    """Return what is wrong with a candidate."""
    assert candidate.problem is not None
    return candidate.problem


# ---- by base name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", sorted(MODEL_EXTENSIONS))
@pytest.mark.parametrize("image", sorted(IMAGE_EXTENSIONS))
def test_a_model_and_an_image_of_one_name_are_a_set(model: str, image: str) -> None:
    """In every format that is taken, with or without a sidecar, each file in its role."""
    candidate = only(paired(f"chair{image}", f"chair{model.upper()}", "chair.toml"))
    assert candidate.is_whole
    assert {m.role: m.name for m in candidate.members} == {
        Role.MODEL: f"chair{model.upper()}",
        Role.IMAGE: f"chair{image}",
        Role.SIDECAR: "chair.toml",
    }


@pytest.mark.parametrize(
    ("model", "image"),
    [
        ("Chair.GLB", "chair.png"),
        ("b\u00e4r.glb", "ba\u0308r.png"),
        ("STRASSE.glb", "stra\u00dfe.png"),
        ("chair.v2.glb", "chair.v2.png"),
        ("-rf.glb", "-rf.png"),
        ("a\nb.glb", "a\nb.png"),
        ("\U0001fa91.glb", "\U0001fa91.png"),
        ("caf\udce9.glb", "caf\udce9.png"),
        ("x" * 251 + ".glb", "x" * 251 + ".png"),
    ],
)
def test_names_are_compared_as_artists_mean_them(model: str, image: str) -> None:
    """Case and the way an umlaut is stored do not matter; hostile names are names; the spelling is the model's."""
    candidate = only(paired(image, model))
    assert candidate.is_whole
    assert candidate.name in {split_name(model)[0], split_name(image)[0]}


def test_names_in_different_folders_are_different() -> None:
    """Two folders, two incomplete sets."""
    assert told(paired("a/chair.glb", "b/chair.png")) == [
        ("a", "chair", ["a/chair.glb"]),
        ("b", "chair", ["b/chair.png"]),
    ]


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("chair.glb", ["an image file of the name “chair”: a .png, .jpg or .webp"]),
        ("chair.png", ["a model file of the name “chair”: a .glb, .fbx, .obj, .stl or .usdz"]),
        ("a\nb.glb", [r"an image file of the name “a\nb”: a .png, .jpg or .webp"]),
        ("chair.psd", ["another format of “chair.psd” (export it as .png or .jpg)"]),
        (
            "chair.gltf",
            ["another format of “chair.gltf” (export it as .glb, because a .gltf keeps its data in other files)"],
        ),
    ],
)
def test_an_incomplete_set_says_what_it_waits_for(path: str, missing: list[str]) -> None:
    """With the name to give it and the formats that are taken; it is never a problem."""
    candidate = only(paired(path))
    assert list(candidate.missing) == missing
    assert candidate.problem is None


@pytest.mark.parametrize(
    "text", ['model = "Chair.GLB"\nx =', "image = 'chair.png' # f\xfcr", "again = 'true'\nmodel='chair.glb'"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_a_set_waits_for_a_sidecar_with_a_mistake_that_names_its_files(text: str, encoding: str) -> None:
    """Bought without it, it would not be what the artist asked for; other sets go on."""
    oak = Misread.of(BROKEN.problem, text.encode(encoding))
    pairing = paired("chair.glb", "chair.png", "oak.toml", "table.glb", "table.png", oak=oak)
    by_name = {candidate.name: candidate for candidate in pairing.candidates}
    assert by_name["table"].is_whole
    assert not by_name["chair"].is_whole
    assert "a correction of “oak.toml”" in by_name["chair"].missing[0]


def test_a_sidecar_with_a_mistake_speaks_of_its_folder_and_below_alone() -> None:
    """A file of the same name elsewhere is another one."""
    text = b"model = 'sub/chair.glb' image = 'sub/chair.png' ="
    said = {"a/oak.toml": Misread.of(BROKEN.problem, text)}
    found = pair(files("a/oak.toml", "a/sub/chair.glb", "a/sub/chair.png", "b/chair.glb", "b/chair.png"), said)
    assert {c.members[0].folder: c.is_whole for c in found.candidates if len(c.members) > 1} == {
        "a/sub": False,
        "b": True,
    }


_OAK = {
    "an escape": rb'model = "st\u00FChle.glb" promt = "oak"',
    "a long escape": rb'model = "st\U000000FChle.glb" promt = "oak"',
    "a line that goes on": 'model = """stü\\\n   hle.glb""" promt = "oak"'.encode(),
    "an accent of its own": rb'model = "stu\u0308hle.glb" promt = "oak"',
    "another code page": 'model = "stühle.glb" promt = "oak"'.encode("cp850"),
    "wide letters without a mark": 'model = "stühle.glb" promt = "oak"'.encode("utf-16-le"),
}


@pytest.mark.parametrize("spelled", _OAK)
def test_a_sidecar_with_a_mistake_names_files_however_it_is_written(spelled: str) -> None:
    """A name that is written with escapes, or in another encoding, is the same name."""
    said = {"eiche.toml": Misread.of(BROKEN.problem, _OAK[spelled])}
    found = pair(files("eiche.toml", "stühle.glb", "stühle.png", "b.glb", "b.png"), said)
    assert {c.name: c.is_whole for c in found.candidates if len(c.members) > 1} == {"stühle": False, "b": True}
    [awaited] = [c.awaits for c in found.candidates if c.awaits]
    assert awaited == "eiche.toml"


def test_a_character_outside_the_first_plane_may_be_written_in_two_ways() -> None:
    """As one number, or as JSON does it, in two halves."""
    for text in (rb'model = "\U0001F60A.glb" =', rb'model = "\ud83d\ude0a.glb" ='):
        assert Misread.of(BROKEN.problem, text).mentions("\U0001f60a.glb")
    assert Misread.of(BROKEN.problem, rb'model = "\UFFFFFFFF.glb" =').mentions("ffff.glb")


@pytest.mark.parametrize(
    ("toml", "reference", "model"),
    [
        ("sidecars/oak.toml", "../models/chair.glb", "models/chair.glb"),
        ("sidecars/oak.toml", r"..\\models\\chair.glb", "models/chair.glb"),
        ("sidecars/oak.toml", r"..\models\chair.glb", "models/chair.glb"),
        ("sidecars/oak.toml", ".././/models/old/../chair.glb", "models/chair.glb"),
        ("sidecars/oak.toml", "../Models/Chair.GLB", "models/chair.glb"),
        ("a/b/oak.toml", "../chair.glb", "a/chair.glb"),
        ("a/b/oak.toml", "../../chair.glb", "chair.glb"),
        ("a/b/oak.toml", "../../a/chair.glb", "a/chair.glb"),
    ],
)
def test_a_sidecar_with_a_mistake_names_files_elsewhere(toml: str, reference: str, model: str) -> None:
    """A file in another folder is named with that folder's name, or from below; others of its name are not meant."""
    stem = model.removesuffix(".glb")
    others = ("other/chair.glb", "other/chair.png", "mymodels/chair.glb", "mymodels/chair.png")
    said = {toml: Misread.of(BROKEN.problem, f"model = '{reference}' =".encode())}
    found = pair(files(toml, model, f"{stem}.png", *others), said)
    whole = {c.members[0].folder: c.is_whole for c in found.candidates if len(c.members) > 1}
    assert whole == {model.rpartition("/")[0]: False, "other": True, "mymodels": True}


def test_a_sidecar_that_cannot_be_read_may_name_what_lies_beside_it_and_below() -> None:
    """Nobody knows what it names: sets with a sidecar of their own, and those elsewhere, go on."""
    said: dict[str, Sidecar | Misread] = {
        "a/oak.toml": Misread(BROKEN.problem, unknown="cannot be read by the service"),
        "a/own.toml": Sidecar(),
    }
    paths = ("a/oak.toml", "a/c.glb", "a/c.png", "a/b/d.glb", "a/b/d.png", "e.glb", "e.png")
    found = pair(files(*paths, "a/own.glb", "a/own.png", "a/own.toml"), said)
    whole = {c.name: c.is_whole for c in found.candidates if len(c.members) > 1}
    assert whole == {"c": False, "d": False, "e": True, "own": True}
    told = next(c.missing for c in found.candidates if c.name == "c")
    assert told == ("a correction of “oak.toml”, which cannot be read by the service, and may name these files",)


@pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.OTHER])
def test_a_preset_that_is_no_plain_file_makes_a_drop_folder(kind: Kind) -> None:
    """So that no set by folder goes on without the options that are meant for it."""
    entries = [*files("f/table.obj", "f/wood.png"), *files("f/_folder.toml", kind=kind)]
    found = pair(entries, {})
    assert [c.is_whole for c in found.candidates] == [False, False]
    assert "only plain files are taken" in found.ignored["f/_folder.toml"]


def test_a_drop_folder_stays_one_while_its_preset_is_away() -> None:
    """As if the preset were there."""
    entries = files("f/table.obj", "f/wood.png")
    assert [c.is_whole for c in pair(entries, {}, drop_folders={"f"}).candidates] == [False, False]
    assert [c.is_whole for c in pair(entries, {}).candidates] == [True]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ("chair.glb", "chair.jpg", "chair.png"),
            "2 files fit the image of this set: “chair.jpg” and “chair.png”.",
        ),
        (
            ("chair.glb", "chair.obj", "chair.png"),
            "2 files fit the model of this set: “chair.glb” and “chair.obj”.",
        ),
        (("Chair.GLB", "chair.glb", "cHAIR.png"), "“Chair.GLB” and “chair.glb”"),
    ],
)
def test_an_ambiguous_set_names_the_choices(paths: tuple[str, ...], message: str) -> None:
    """It is refused with all its files, and nobody guesses."""
    candidate = only(paired(*paths))
    assert problem_of(candidate).code == "ambiguous"
    assert message in problem_of(candidate).message
    assert {m.path for m in candidate.members} == set(paths)


def test_two_sets_that_differ_in_case_only_are_two_sets() -> None:
    """Where several spellings compete, equal spelling pairs, sidecars too."""
    pairing = paired("Chair.glb", "Chair.png", "chair.glb", "chair.png", "chair.toml")
    assert told(pairing) == [
        ("", "Chair", ["Chair.glb", "Chair.png"]),
        ("", "chair", ["chair.glb", "chair.png", "chair.toml"]),
    ]
    assert all(candidate.is_whole for candidate in pairing.candidates)


def test_a_whole_spelling_does_not_wait_for_another_one() -> None:
    """One set is here and another one of nearly the same name is still coming: the first goes, the second waits."""
    first, second = paired("Chair.glb", "Chair.png", "chair.glb").candidates
    assert (first.name, first.is_whole) == ("Chair", True)
    assert (second.name, [m.path for m in second.members], second.problem) == ("chair", ["chair.glb"], None)


def test_a_sidecar_of_a_third_spelling_keeps_all_from_being_paid() -> None:
    """Nobody can tell which set it is for."""
    candidate = only(paired("Chair.glb", "Chair.png", "chair.glb", "chair.png", "CHAIR.toml"))
    assert problem_of(candidate).code == "ambiguous"


def test_a_broken_sidecar_of_another_spelling_is_not_left_behind() -> None:
    """Nothing competes here, so the set is one, and its sidecar's mistake refuses it."""
    candidate = only(paired("Chair.glb", "Chair.png", "chair.toml", chair=BROKEN))
    assert problem_of(candidate) == BROKEN.problem
    assert len(candidate.members) == 3


def test_a_broken_sidecar_refuses_its_whole_set() -> None:
    """The set is not paid without the options that somebody wrote; another set is not concerned."""
    pairing = paired("chair.glb", "chair.png", "chair.toml", "table.glb", "table.png", chair=BROKEN)
    chair, table = pairing.candidates
    assert (problem_of(chair), len(chair.members)) == (BROKEN.problem, 3)
    assert table.is_whole


# ---- formats that are not taken --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("partner", "extension", "kind"),
    [("chair.png", *of_model) for of_model in REFUSED_MODEL_EXTENSIONS.items()]
    + [("chair.glb", *of_image) for of_image in REFUSED_IMAGE_EXTENSIONS.items()],
)
def test_a_format_that_is_not_taken_is_refused_with_what_to_do(partner: str, extension: str, kind: FileKind) -> None:
    """Each name that is not taken: the report says at once what it is, and what to export instead."""
    problem = problem_of(only(paired(f"chair{extension}", partner)))
    assert problem.message == f"“chair{extension}” cannot be used: by its name it is {kind.phrase}."
    assert problem.advice == f"{kind.advice[0].upper()}{kind.advice[1:]}. Then drop the set into the inbox again."


def test_a_working_file_beside_its_export_is_ignored_with_the_reason() -> None:
    """The `.blend` from which the `.glb` was made is no second model; it stays, and somebody can read why."""
    pairing = paired("chair.blend", "chair.glb", "chair.png", "chair.psd")
    assert told(pairing) == [("", "chair", ["chair.glb", "chair.png"])]
    assert only(pairing).is_whole
    assert pairing.ignored == {
        "chair.blend": "next to a file in an accepted format (export it as .glb)",
        "chair.psd": "next to a file in an accepted format (export it as .png or .jpg)",
    }


# ---- by sidecar -----------------------------------------------------------------------------------------------------


def test_a_sidecar_names_its_model_and_image() -> None:
    """From its own folder, anywhere in the inbox; the set has the sidecar's name and place."""
    hero = Sidecar(model="../models/body.glb", image="skin.png")
    pairing = pair(files("anna/hero.toml", "models/body.glb", "anna/skin.png"), {"anna/hero.toml": hero})
    assert told(pairing) == [("anna", "hero", ["anna/hero.toml", "anna/skin.png", "models/body.glb"])]
    assert only(pairing).is_whole


@pytest.mark.parametrize(
    ("sidecar", "paths"),
    [
        (Sidecar(image="oak.png"), ("hero.glb", "oak.png")),  # the model by the sidecar's own base name
        (Sidecar(model="chair.glb"), ("chair.glb", "hero.png")),
        (Sidecar(model="chair.glb"), ("chair.glb", "chair.png")),  # the image by the model's base name
        (Sidecar(model="CHAIR.GLB", image="Oak.PNG"), ("chair.glb", "oak.png")),
        (Sidecar(model="chair.glb", image="oak.png"), ("chair.glb", "oak.png")),
    ],
)
def test_what_a_sidecar_does_not_name_is_looked_for_by_base_name(sidecar: Sidecar, paths: tuple[str, str]) -> None:
    """Beside the sidecar first, then beside the file that it names."""
    candidate = only(paired("hero.toml", *paths, hero=sidecar))
    assert candidate.is_whole
    assert {m.path for m in candidate.members} == {"hero.toml", *paths}


def test_equal_spelling_goes_first_beside_a_sidecar() -> None:
    """Of two images that differ in case the one that is spelled as the sidecar is meant."""
    pairing = paired("hero.toml", "chair.glb", "hero.png", "HERO.png", hero=Sidecar(model="chair.glb"))
    assert ("", "hero", ["chair.glb", "hero.png", "hero.toml"]) in told(pairing)


def test_the_exact_path_goes_first() -> None:
    """A sidecar that spells a path exactly is not asked which of two it means."""
    pairing = paired("hero.toml", "chair.glb", "oak.png", "Oak.png", hero=Sidecar(model="chair.glb", image="Oak.png"))
    assert ("", "hero", ["Oak.png", "chair.glb", "hero.toml"]) in told(pairing)


@pytest.mark.parametrize(
    ("sidecar", "others"),
    [
        (Sidecar(model="chair.glb", image="OAK.png"), ("oak.png", "Oak.png")),
        (Sidecar(model="chair.glb"), ("chair.png", "chair.jpg")),
        (Sidecar(model="chair.glb"), ("hero.png", "hero.jpg")),
    ],
)
def test_a_sidecar_that_leaves_a_choice_is_refused_with_the_names(sidecar: Sidecar, others: tuple[str, str]) -> None:
    """Named in a third spelling, or two partners by base name: nobody guesses."""
    pairing = paired("hero.toml", "chair.glb", *others, hero=sidecar)
    hero = next(c for c in pairing.candidates if c.name == "hero")
    assert problem_of(hero).code == "ambiguous"
    assert all(f"“{name}”" in problem_of(hero).message for name in others)


def test_a_file_that_several_sidecars_name_is_in_each_set() -> None:
    """Three sets share an oak; the count tells that it is to be copied."""
    names = ("a", "b", "c")
    paths = [f"{name}.{end}" for name in names for end in ("glb", "toml")]
    pairing = paired("oak.png", *paths, **dict.fromkeys(names, Sidecar(image="oak.png")))
    assert [c.name for c in pairing.candidates if c.is_whole] == list(names)
    assert pairing.uses() == {"oak.png": 3, **dict.fromkeys(paths, 1)}


def test_a_named_file_that_is_not_there_is_waited_for() -> None:
    """By its path, and by who names it; what is there already belongs to the set and is not offered to others."""
    pairing = paired("hero.toml", "chair.glb", "chair.png", hero=Sidecar(model="chair.glb", image="x/oak.png"))
    hero, chair = pairing.candidates
    assert hero.missing == ("“x/oak.png”, which “hero.toml” names",)
    assert {m.path for m in hero.members} == {"hero.toml", "chair.glb"}
    assert (chair.name, [m.path for m in chair.members], chair.is_whole) == ("chair", ["chair.png"], False)


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        (Sidecar(model="chair.png"), "model names “chair.png”, which is not a model file."),
        (Sidecar(image="chair.glb"), "image names “chair.glb”, which is not an image file."),
        (Sidecar(model="notes.txt"), "model names “notes.txt”, which is not a model file."),
        (Sidecar(kind="generate", image="a.png", then_image="chair.glb"), "then_image names “chair.glb”"),
        (Sidecar(image="gone.txt"), "image names “gone.txt”, which is not an image file."),
        (Sidecar(model="chair.toml"), "model names “chair.toml”, which is not a model file."),
        (Sidecar(model="../chair.glb"), "leads out of the inbox"),
        (Sidecar(model="/etc/passwd"), "absolute"),
        (Sidecar(image="x/../../y.png"), "leads out of the inbox"),
    ],
)
def test_a_sidecar_that_names_nonsense_refuses_all_of_its_name(sidecar: Sidecar, message: str) -> None:
    """At once, and with its model and image: without their sidecar they would be paid as they are."""
    pairing = paired("chair.toml", "chair.glb", "chair.png", "notes.txt", chair=sidecar)
    candidate = only(pairing)
    assert message in problem_of(candidate).message
    assert [m.path for m in candidate.members if m.role is Role.SIDECAR] == ["chair.toml"]
    assert sorted(m.path for m in candidate.members) == ["chair.glb", "chair.png", "chair.toml"]
    assert candidate.missing == ()


@pytest.mark.parametrize(
    ("model", "image"),
    [("a.png", "a.obj"), ("a.objj", "a.pngg"), ("a", "a"), ("a.png", None), (None, "A.obj"), ("./a.objj", None)],
)
def test_a_wrong_reference_refuses_the_files_that_it_means(model: str | None, image: str | None) -> None:
    """Roles in each other's place, or a wrong extension: the pair is refused with its sidecar, and not bought without it."""
    order = Sidecar(model=model, image=image, prompt="oak")
    pairing = paired("order.toml", "a.obj", "a.png", "b.obj", "b.png", order=order)
    assert told(pairing) == [("", "b", ["b.obj", "b.png"]), ("", "order", ["a.obj", "a.png", "order.toml"])]
    assert [c.name for c in pairing.candidates if c.problem] == ["order"]


def test_a_wrong_reference_takes_nothing_from_a_right_one() -> None:
    """A pair that another sidecar names rightly goes on with that one."""
    right, wrong = Sidecar(model="a.obj", image="a.png"), Sidecar(model="a.objj", image="a.png")
    pairing = paired("right.toml", "wrong.toml", "a.obj", "a.png", right=right, wrong=wrong)
    assert [(c.name, bool(c.problem)) for c in pairing.candidates] == [("right", False), ("wrong", True)]
    assert pairing.uses()["a.obj"] == 2


def test_a_named_file_in_a_refused_format_refuses_the_set() -> None:
    """With what to export instead."""
    candidate = only(paired("hero.toml", "chair.gltf", "oak.png", hero=Sidecar(model="chair.gltf", image="oak.png")))
    assert problem_of(candidate).advice.startswith("Export it as .glb, because a .gltf keeps its data in other files.")


def test_a_working_file_is_no_partner_of_a_sidecar() -> None:
    """A `.psd` of the sidecar's name is not the image that it means: the set waits for one that can be sent."""
    hero = next(c for c in paired("hero.toml", "chair.glb", "hero.psd", hero=Sidecar(model="chair.glb")).candidates)
    assert hero.missing == ("an image file of the name “hero”: a .png, .jpg or .webp",)
    assert [m.path for m in hero.members] == ["hero.toml", "chair.glb"]


def test_a_broken_sidecar_is_told_before_a_format() -> None:
    """The first thing to mend is what nobody could read."""
    assert problem_of(only(paired("chair.gltf", "chair.png", "chair.toml", chair=BROKEN))) == BROKEN.problem


# ---- by folder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("model.glb", "front.png"),
        ("model.glb", "front.png", "how.toml"),
        ("model.glb", "model.toml", "front.png"),
        ("chair.glb", "chair.png", "settings.toml"),
    ],
)
def test_a_folder_with_one_model_and_one_image_is_a_set(names: tuple[str, ...]) -> None:
    """Whatever they are called; any one TOML is its sidecar; the set has the folder's name and lies in its parent."""
    paths = [f"anna/chair set/{name}" for name in names]
    pairing = paired(*paths)
    assert told(pairing) == [("anna", "chair set", sorted(paths))]
    assert only(pairing).is_whole


def test_a_folder_of_one_base_name_is_a_set_by_base_name() -> None:
    """It keeps its name and its place below the folder."""
    assert told(paired("anna/chair.glb", "anna/chair.png", "anna/chair.toml")) == [
        ("anna", "chair", ["anna/chair.glb", "anna/chair.png", "anna/chair.toml"])
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("a.glb", "b.png", "_folder.toml"),
        ("a.glb", "b.png", "_Folder.TOML"),
        ("a.glb", "b.blend"),
        ("a.glb", "a.png", "b.png", "c.png"),
    ],
)
def test_a_folder_that_is_not_one_set_joins_nothing(names: tuple[str, ...]) -> None:
    """A drop folder, a format that is refused, a set by its name: each base name waits for its own partner."""
    pairing = paired(*(f"anna/{name}" for name in names))
    assert {c.folder for c in pairing.candidates} == {"anna"}
    assert sum(c.is_whole for c in pairing.candidates) == ("a.png" in names)


@pytest.mark.parametrize(
    ("names", "holds"),
    [
        (("a.glb", "b.png", "c.png"), "1 model and 2 images"),
        (("a.glb", "b.glb", "c.png"), "2 models and 1 image"),
        (("a.glb", "b.png", "c.toml", "d.toml"), "1 model, 1 image and 2 TOML files"),
        (("b.png", "c.png"), "2 images"),
    ],
)
def test_a_folder_that_is_not_one_set_says_so_once(names: tuple[str, ...], holds: str) -> None:
    """One line with what is in it, and nothing is taken."""
    (found,) = paired(*(f"anna/{name}" for name in names)).candidates
    assert (found.folder, found.name, found.is_whole) == ("", "anna", False)
    assert f"one model, one image and at most one TOML file: it holds {holds}." in found.missing[0]


def test_the_inbox_itself_is_no_folder_set() -> None:
    """Everybody's files lie there."""
    assert not any(c.is_whole for c in paired("a.glb", "b.png").candidates)


def test_a_working_file_does_not_keep_a_folder_from_being_a_set() -> None:
    """The model and the image are joined; the `.blend` stays by itself and says what it could be."""
    whole = next(c for c in paired("x/a.glb", "x/b.png", "x/c.blend").candidates if c.is_whole)
    assert sorted(m.path for m in whole.members) == ["x/a.glb", "x/b.png"]


def test_a_broken_sidecar_refuses_a_folder() -> None:
    """Under any name."""
    pairing = pair(files("x/a.glb", "x/b.png", "x/c.toml"), {"x/c.toml": BROKEN})
    assert (problem_of(only(pairing)), only(pairing).name) == (BROKEN.problem, "x")


# ---- what is ignored -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("notes.txt", Kind.FILE, "not a model, an image or a TOML file"),
        ("chair.glb", Kind.FOLDER, "“chair.glb” is a folder; only plain files are taken"),
        ("chair.png", Kind.SYMLINK, "“chair.png” is a symbolic link; only plain files are taken"),
        ("chair.toml", Kind.OTHER, "“chair.toml” is a special file; only plain files are taken"),
        ("_folder.toml", Kind.SYMLINK, "“_folder.toml” is a symbolic link; only plain files are taken"),
        ("pipe", Kind.OTHER, "a special file; only plain files are taken"),
        ("anna/REPORT.txt", Kind.FILE, "left over from an earlier job"),
        ("anna/Report.toml", Kind.FILE, "left over from an earlier job"),
        ("JOB.TOML", Kind.FILE, "left over from an earlier job"),
    ],
)
def test_what_cannot_be_of_a_set_is_ignored_with_the_reason(path: str, kind: Kind, reason: str) -> None:
    """Nothing is ignored in silence."""
    assert pair(files(path, kind=kind), {}) == Pairing((), {path: reason})


def test_plain_folders_and_presets_need_no_reason() -> None:
    """They are neither of a set nor left out."""
    entries = [*files("anna", kind=Kind.FOLDER), *files("anna/_folder.toml", "_FOLDER.toml")]
    assert pair(entries, {}) == Pairing((), {})


@pytest.mark.parametrize(
    "names", [("model.glb", "preview.webp"), ("chair.glb", "chair.png"), ("a.glb", "b.png", "c.toml")]
)
def test_a_delivered_folder_that_comes_back_is_no_set(names: tuple[str, ...]) -> None:
    """A program may copy the outbox into the inbox: nothing that came out of the service is bought again by itself."""
    paths = [f"oak/chair/{name}" for name in names]
    pairing = pair(files(*paths, "oak/chair/job.toml"), {"oak/chair/c.toml": Sidecar()})
    assert pairing.candidates == ()
    assert pairing.ignored == {**dict.fromkeys(paths, DELIVERED), "oak/chair/job.toml": "left over from an earlier job"}


def test_a_delivered_folder_is_a_set_if_a_person_wants_it_again() -> None:
    """By its sidecar; and without the receipt it is for the journal to say what it is."""
    entries = files("chair/model.glb", "chair/preview.webp", "chair/wish.toml")
    wanted = told(pair(entries, {}))
    assert wanted == [("", "chair", ["chair/model.glb", "chair/preview.webp", "chair/wish.toml"])]
    with_receipt = pair([*entries, *files("chair/job.toml")], {"chair/wish.toml": Sidecar(again=True)})
    assert told(with_receipt) == wanted
    assert with_receipt.ignored == {"chair/job.toml": "left over from an earlier job"}


def test_what_lies_below_a_receipt_is_no_set_either() -> None:
    """A plugin may have made folders in a result; a folder beside it is one of its own."""
    below = ("oak/chair/small/a.glb", "oak/chair/small/a.png", "oak/chair/lod/low/b.glb", "oak/chair/lod/low/b.png")
    pairing = pair(files(*below, "oak/chair/job.toml", "oak/chairs/c.glb", "oak/chairs/c.png"), {})
    assert [(candidate.folder, candidate.name) for candidate in pairing.candidates] == [("oak/chairs", "c")]
    assert pairing.ignored == {**dict.fromkeys(below, DELIVERED), "oak/chair/job.toml": "left over from an earlier job"}


@pytest.mark.parametrize("report", ["REPORT.txt", "report.toml"])
def test_results_below_a_report_are_no_set(report: str) -> None:
    """The folder of a failed set comes back whole, or what was set aside: its inputs are a set, what was paid for is none."""
    own = ("chair/results/model.glb", "chair/results/preview.webp", "aside/download/a.glb", "aside/download/a.png")
    kept = (*own, "chair/results/scene/b.glb", "chair/results/scene/b.png")
    inputs = ("chair/chair.glb", "chair/chair.png", "aside/inputs/a.glb", "aside/inputs/a.png")
    reports = (f"chair/{report}", f"aside/{report}")
    pairing = pair(files(*kept, *inputs, *reports), {})
    assert [c.name for c in pairing.candidates] == ["a", "chair"]
    assert pairing.ignored == {**dict.fromkeys(kept, KEPT), **dict.fromkeys(reports, "left over from an earlier job")}
    assert pair(files(*kept), {}).ignored == {}


def test_results_below_a_report_in_the_inbox_itself_are_no_set() -> None:
    """Somebody has dropped what lay in the folder of a failed set, not the folder; an artist's own folders are not concerned."""
    entries = files("REPORT.txt", "results/model.glb", "results/preview.webp", "result/b.glb", "result/b.png")
    assert [c.name for c in pair(entries, {}).candidates] == ["b"]


def test_results_below_a_report_are_a_set_if_a_person_wants_that() -> None:
    """By a sidecar that says `again`."""
    entries = files("chair/REPORT.txt", "chair/results/m.glb", "chair/results/m.png", "chair/results/m.toml")
    sidecars = {"chair/results/m.toml": Sidecar(again=True)}
    assert [c.name for c in pair(entries, sidecars).candidates] == ["m"]


@pytest.mark.parametrize("folder", ["", "anna/"])
def test_a_receipt_in_a_drop_folder_stops_no_other_sets(folder: str) -> None:
    """Where many sets are dropped it says nothing of any of them; and what a failure left stops nothing anywhere."""
    entries = files(f"{folder}chair.glb", f"{folder}chair.png", f"{folder}job.toml", "anna/_folder.toml")
    assert len(pair(entries, {}).candidates) == 1
    assert len(pair(files("oak/a.glb", "oak/b.png", "oak/report.toml", "oak/REPORT.txt"), {}).candidates) == 1


@pytest.mark.parametrize("name", ["job", "report", "Report"])
def test_a_sidecar_called_like_a_receipt_waits_for_another_name(name: str) -> None:
    """The receipt or report would be written over it; and without it the set would be paid without its options."""
    (candidate,) = paired(f"{name}.glb", f"{name}.png", f"{name}.toml").candidates
    assert len(candidate.members) == 3
    assert candidate.missing == (f"another name for “{name}.toml”, which is the name of receipts and reports",)
    (candidate,) = paired("chair/a.glb", "chair/b.png", "chair/job.toml").candidates
    assert "another name for “job.toml”" in candidate.missing[0]


@pytest.mark.parametrize("kind", [Kind.FOLDER, Kind.SYMLINK, Kind.OTHER])
def test_what_lies_in_the_way_of_a_missing_file_is_named(kind: Kind) -> None:
    """Whoever sees `chair.glb` in the folder is told why it does not count."""
    (candidate,) = pair([*files("chair.png"), *files("chair.glb", kind=kind)], {}).candidates
    assert candidate.missing[0].endswith(f"(“chair.glb” is a {kind}; only plain files are taken)")


@pytest.mark.parametrize("name", ["", ".", "..", ".glb", "glb", "chair.", "a.b/c", ".toml", "\udcff", "chair.glb."])
def test_names_without_a_meaning_are_no_members(name: str) -> None:
    """Whatever a file system may hold."""
    assert member_of(name) is None


# ---- any inbox -------------------------------------------------------------------------------------------------------

FOLDERS = st.sampled_from(["", "a/", "A/", "a/b/", "\udcff/"])
STEMS = st.sampled_from(
    ["chair", "Chair", "tisch\u00e4", "tischa\u0308", "-x", "a\nb", "caf\udce9", "\U0001fa91", "job"]
)
ENDS = st.sampled_from([".glb", ".GLB", ".obj", ".png", ".jpg", ".toml", ".blend", ".psd", ".txt", ""])
PATHS = st.one_of(
    st.builds(lambda *parts: "".join(parts), FOLDERS, STEMS, ENDS),
    st.builds(lambda folder, name: folder + name, FOLDERS, st.sampled_from(["_folder.toml", "REPORT.txt", "job.toml"])),
)
REFERENCES = st.one_of(
    st.none(), st.sampled_from(["chair.glb", "CHAIR.png", "../chair.glb", "b/chair.png", "x.txt", "a/chair.obj"])
)
STATED = st.one_of(
    st.just(Sidecar()), st.just(BROKEN), st.builds(lambda m, i: Sidecar(model=m, image=i), REFERENCES, REFERENCES)
)
KINDS = st.sampled_from([Kind.FILE] * 12 + [Kind.SYMLINK, Kind.FOLDER])


@st.composite
def inboxes(draw: st.DrawFn) -> tuple[list[Entry], dict[str, Sidecar | Misread]]:
    """Any snapshot, with what its TOML files say; some could not be read."""
    paths = draw(st.lists(PATHS, unique=True, max_size=14))
    entries = [Entry(p, draw(KINDS), Signature(1, 1, n), 1, 1) for n, p in enumerate(paths)]
    tomls = [e.path for e in entries if e.path.endswith(".toml") and e.kind is Kind.FILE]
    said = {path: draw(STATED) for path in tomls if draw(st.integers(0, 9))}
    return entries, said


def is_by_sidecar(candidate: Candidate, said: dict[str, Sidecar | Misread]) -> bool:
    """Tell whether a candidate was built from what its sidecar names."""
    stated = [said.get(m.path) for m in candidate.members if m.role is Role.SIDECAR]
    return any(isinstance(s, Sidecar) and bool(s.model or s.image) for s in stated)


@modest
@given(inboxes())
def test_every_file_has_its_place(inbox: tuple[list[Entry], dict[str, Sidecar | Misread]]) -> None:
    """It is in a candidate, or ignored with a reason, or a preset: nothing is both, and nothing is lost."""
    entries, said = inbox
    pairing = pair(entries, said)
    used = {m.path for c in pairing.candidates for m in c.members}
    for entry in entries:
        name = entry.path.rpartition("/")[2]
        is_preset = entry.kind is Kind.FILE and name.casefold() == "_folder.toml"
        is_plain_folder = entry.kind is Kind.FOLDER and member_of(entry.path) is None
        places = (entry.path in used, bool(pairing.ignored.get(entry.path)), is_preset or is_plain_folder)
        assert sum(places) == 1
    assert used | pairing.ignored.keys() <= {entry.path for entry in entries}


@modest
@given(inboxes())
def test_no_file_is_in_two_sets_but_where_sidecars_say_so(
    inbox: tuple[list[Entry], dict[str, Sidecar | Misread]],
) -> None:
    """A file of a set by name or by folder is in that set alone; and no set holds a file twice."""
    entries, said = inbox
    pairing = pair(entries, said)
    uses = pairing.uses()
    for candidate in pairing.candidates:
        paths = [m.path for m in candidate.members]
        assert len(paths) == len(set(paths))
        assert is_by_sidecar(candidate, said) or all(uses[path] == 1 for path in paths)


@modest
@given(inboxes())
def test_a_whole_candidate_is_a_set(inbox: tuple[list[Entry], dict[str, Sidecar | Misread]]) -> None:
    """One usable model, one usable image, at most one sidecar that can be used; all others say why not."""
    entries, said = inbox
    kinds = {entry.path: entry.kind for entry in entries}
    for candidate in pair(entries, said).candidates:
        assert all(kinds[m.path] is Kind.FILE for m in candidate.members)
        roles = [m.role for m in candidate.members]
        if candidate.is_whole:
            assert (roles.count(Role.MODEL), roles.count(Role.IMAGE)) == (1, 1)
            assert roles.count(Role.SIDECAR) <= 1
            assert not any(m.advice or isinstance(said.get(m.path), Misread) for m in candidate.members)
        assert candidate.members


@modest
@given(inboxes())
def test_no_set_is_paid_without_the_sidecar_of_its_name(
    inbox: tuple[list[Entry], dict[str, Sidecar | Misread]],
) -> None:
    """A TOML with exactly the base name of a whole set's model is in that set, unless it names other files."""
    entries, said = inbox
    tomls = {e.path for e in entries if e.kind is Kind.FILE and member_of(e.path) and e.path in said}
    for candidate in pair(entries, said).candidates:
        model = candidate.member(Role.MODEL)
        if not candidate.is_whole or model is None or is_by_sidecar(candidate, said):
            continue
        own = f"{model.folder}/{model.stem}.toml".lstrip("/")
        stated = said.get(own)
        elsewhere = isinstance(stated, Sidecar) and bool(stated.model or stated.image)
        leftover = isinstance(stated, Misread) and own.rpartition("/")[2] in ("job.toml", "report.toml")
        assert own not in tomls or elsewhere or leftover or own in {m.path for m in candidate.members}


@modest
@given(inboxes(), st.randoms(use_true_random=False))
def test_the_order_of_the_listing_does_not_matter(
    inbox: tuple[list[Entry], dict[str, Sidecar | Misread]], chance: random.Random
) -> None:
    """Two looks at the same inbox come to the same, however the file system lists it; and so does looking again."""
    entries, said = inbox
    shuffled = entries.copy()
    chance.shuffle(shuffled)
    assert pair(shuffled, said) == pair(entries, said) == pair(iter(entries), said)


def test_a_large_inbox_is_paired_in_one_go() -> None:
    """Ten thousand sets, each found; the work grows with the files, not with their square."""
    paths = [f"{n % 50}/set{n}.{end}" for n in range(10_000) for end in ("glb", "png")]
    candidates = pair(files(*paths), {}).candidates
    assert len(candidates) == 10_000
    assert all(c.is_whole for c in candidates)


def test_names_are_shown_safely() -> None:
    """What people read holds no line end and no lone surrogate, whatever the names hold."""
    name = os.fsdecode(b"a\nb\xff")
    texts = [*only(paired(f"{name}.glb")).missing, problem_of(only(paired(f"{name}.glb", f"{name}.obj"))).message]
    assert all(text.isprintable() for text in texts)
    assert match_key(name) == name


# ---- kinds of jobs --------------------------------------------------------------------------------------------------

NEW = {"new": "generate"}


def generated(*paths: str, **sidecars: Sidecar | Misread) -> Pairing:
    """Pair these files, where the folder `new` asks for new models and is a drop folder; `sidecars` by base name there."""
    said = {
        path: sidecars.get(split_name(path.rpartition("/")[2])[0], Sidecar())
        for path in paths
        if path.endswith(".toml")
    }
    return pair(files("new/_folder.toml", *paths), said, NEW)


def wholes(pairing: Pairing) -> dict[tuple[str, str, str], list[str]]:
    """Return the files of what is whole, by folder, name and kind."""
    return {(c.folder, c.name, c.kind): [m.path for m in c.members] for c in pairing.candidates if c.is_whole}


def test_each_image_of_a_folder_for_new_models_is_a_set() -> None:
    """With or without a sidecar of its name; a text of its own as well; a model is none."""
    found = generated(
        "new/a.png", "new/b.jpg", "new/b.toml", "new/c.toml", "new/d.glb", "new/e.toml", c=Sidecar(prompt="x")
    )
    assert wholes(found) == {
        ("new", "a", "generate"): ["new/a.png"],
        ("new", "b", "generate"): ["new/b.jpg", "new/b.toml"],
        ("new", "c", "generate"): ["new/c.toml"],
    }
    waiting = {c.name: c.missing for c in found.candidates if not c.is_whole}
    assert waiting.keys() == {"d", "e"}
    assert "is not made of a model" in waiting["d"][0]
    assert "prompt" in waiting["e"][0]


def test_a_sub_folder_for_new_models_is_one_set() -> None:
    """One to five images and one sidecar at most, whatever their names; the set is called as the folder is."""
    five = [f"new/x/{n}.png" for n in range(5)]
    assert wholes(generated(*five)) == {("new", "x", "generate"): five}
    assert wholes(generated("new/x/y/1.png", "new/x/y/any.toml")) == {
        ("new/x", "y", "generate"): ["new/x/y/1.png", "new/x/y/any.toml"]
    }
    assert wholes(generated("new/x/1.png")) == {("new", "x", "generate"): ["new/x/1.png"]}


@pytest.mark.parametrize(
    "paths",
    [
        [f"new/x/{n}.png" for n in range(6)],
        ["new/x/1.png", "new/x/2.glb"],
        ["new/x/1.png", "new/x/2.png", "new/x/3.toml", "new/x/4.toml"],
        ["new/x/1.png", "new/x/1.jpg", "new/x/2.toml", "new/x/3.toml"],
    ],
)
def test_what_is_not_exactly_one_set_in_a_sub_folder_waits(paths: list[str]) -> None:
    """Nobody guesses which of the files belong together."""
    assert wholes(generated(*paths)) == {}


def test_images_beside_a_set_that_names_its_files_wait() -> None:
    """In a sub-folder they may have been forgotten there; in the folder itself each is a set."""
    said = Sidecar(images=["1.png", "2.png"])
    found = wholes(generated("new/x/1.png", "new/x/2.png", "new/x/3.png", "new/x/s.toml", s=said))
    assert found == {("new/x", "s", "generate"): ["new/x/s.toml", "new/x/1.png", "new/x/2.png"]}
    assert ("new", "3", "generate") in wholes(generated("new/1.png", "new/2.png", "new/3.png", "new/s.toml", s=said))


def test_a_sidecar_asks_for_a_new_model_anywhere() -> None:
    """By its own name, by the files that it names, or by its folder; what it does not name is never taken by guess."""
    kind = Sidecar(kind="generate")
    assert wholes(paired("a.png", "a.toml", a=kind)) == {("", "a", "generate"): ["a.png", "a.toml"]}
    named = Sidecar(kind="generate", images=["c.png", "b.png"])
    assert wholes(paired("a.toml", "b.png", "c.png", a=named)) == {("", "a", "generate"): ["a.toml", "c.png", "b.png"]}
    alone = Sidecar(kind="generate", images=[], prompt="x")
    assert wholes(paired("a.toml", "a.png", a=alone)) == {("", "a", "generate"): ["a.toml"]}
    assert wholes(pair(files("x/1.png", "x/2.png", "x/s.toml"), {"x/s.toml": kind})) == {
        ("", "x", "generate"): ["x/1.png", "x/2.png", "x/s.toml"]
    }
    assert wholes(paired("a.toml", a=kind)) == {}
    assert wholes(paired("a.toml", a=Sidecar(kind="generate", images=["b.png"]))) == {}


def test_the_nearest_word_says_the_kind() -> None:
    """A sidecar over its folder's preset, an inner preset over an outer one."""
    texture = Sidecar(kind="texture")
    found = generated("new/a.glb", "new/a.png", "new/a.toml", a=texture)
    assert wholes(found) == {("new", "a", "texture"): ["new/a.glb", "new/a.png", "new/a.toml"]}
    inner = pair(files("new/_folder.toml", "new/old/_folder.toml", "new/old/a.png"), {}, {**NEW, "new/old": "texture"})
    assert wholes(inner) == {}


@modest
@given(
    st.lists(
        st.sampled_from(["a.png", "b.png", "b.glb", "a.toml", "x/a.png", "x/b.png", "x/c.glb", "x/a.toml", "x/b.toml"]),
        unique=True,
    )
)
def test_a_file_is_in_one_set_at_most_whatever_the_kind(names: list[str]) -> None:
    """Each file is bought in one set, or waits in one; and no set holds more than its kind takes."""
    found = generated(*(f"new/{name}" for name in names))
    used = [m.path for c in found.candidates for m in c.members]
    assert len(used) == len(set(used))
    assert {*used, *found.ignored} >= {f"new/{name}" for name in names}
    for candidate in (c for c in found.candidates if c.is_whole):
        kind = kinds.KINDS[candidate.kind]
        assert all(sum(m.role is role for m in candidate.members) <= kind.most(role) for role in Role)
