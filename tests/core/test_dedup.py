"""What makes two sets the same purchase."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import a_job, some_files

from rodin_watchd.core import dedup
from rodin_watchd.core.dedup import first_fingerprint
from rodin_watchd.core.kinds import GENERATE, TEXTURE
from rodin_watchd.core.options import declared, text_of
from rodin_watchd.core.sidecar import layered, read_sidecar
from rodin_watchd.core.wire import submit_fields
from rodin_watchd.model import OptionValue, Signature

FILES = some_files()
fingerprint = partial(dedup.fingerprint, TEXTURE)
SAME = fingerprint(FILES, {})
OF_VERSION_1: dict[str, OptionValue] = {
    "reference_scale": 1.0,
    "escore": 3.5,
    "geometry_file_format": "glb",
    "material": "PBR",
    "resolution": "Basic",
}


def sha256(text: str) -> str:
    """Return a digest in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def known_as(options: dict[str, OptionValue]) -> tuple[str, ...]:
    """Return every fingerprint of a texture with these options."""
    return dedup.fingerprints(a_job(files=FILES, options=options))


def test_fingerprints_are_pinned() -> None:
    """The same today and after any upgrade, for journals keep them: of these texts, letter by letter, by version."""
    files = f'{{"image": "{"bb" * 32}", "model": "{"aa" * 32}"}}'
    options: dict[str, OptionValue] = {
        "prompt": "öl",
        "reference_scale": 1.0,
        "material": "PBR",
        "seed": 7,
        "escore": 2.5,
    }
    second = '{"escore": "2.5", "prompt": "\\u00f6l", "seed": "7"}'
    assert fingerprint(FILES, options) == f"v2:{sha256(f'[{files}, {second}]')}"
    first = '{"escore": 2.5, "geometry_file_format": "glb", "material": "PBR", "prompt": "\\u00f6l", '
    as_sent = f'{first}"reference_scale": 1.0, "resolution": "Basic", "seed": 7}}'
    left_out = f'{first}"resolution": "Basic", "seed": 7}}'
    older = [sha256(f"[{files}, {text}]") for text in (as_sent, left_out)]
    assert known_as(options) == (fingerprint(FILES, options), *older)
    assert SAME == "v2:881827a4978bc76d15c2728030dc43ebb4a14cf62ca1935ca6f9b2f11ad71e06"
    assert first_fingerprint(FILES, {}) == "94da1e738b787e2184b6cd2aca4a6c85c755e0930e88da9cf765edcd60ccfafb"


def test_what_version_2_takes_for_left_out_never_changes() -> None:
    """Whatever the vendor takes tomorrow: journals keep what this made of a set."""
    pinned = {
        key: sent.canonical
        for key, sent in declared(TEXTURE.options).items()
        if sent.canonical is not None and key in OF_VERSION_1
    }
    assert pinned == OF_VERSION_1


@given(st.sets(st.sampled_from(sorted(OF_VERSION_1))), st.sets(st.sampled_from(sorted(OF_VERSION_1))))
def test_a_purchase_of_version_1_is_found_however_its_defaults_were_spelled(bought: set[str], asked: set[str]) -> None:
    """A default that was spelled out then and is left out now, and the other way round."""
    stored = first_fingerprint(FILES, {**{name: OF_VERSION_1[name] for name in bought}, "seed": 7})
    assert stored in known_as({**{name: OF_VERSION_1[name] for name in asked}, "seed": 7})
    assert stored not in known_as({"seed": 8})


def test_names_times_and_the_sidecar_do_not_count() -> None:
    """The same model, image and options under another name are the same purchase, in any order."""
    renamed = [replace(f, source=f"inbox/x/other.{f.role}", signature=Signature(9, 9, 9), shared=True) for f in FILES]
    rewritten = [replace(f, sha256="dd" * 32) if f.role == "sidecar" else f for f in FILES]
    assert {fingerprint(files, {}) for files in (renamed[::-1], rewritten, FILES[:2])} == {SAME}


@pytest.mark.parametrize(
    "options",
    [
        {"geometry_file_format": "glb"},
        {"material": "PBR", "resolution": "Basic"},
        {"resolution": "Basic", "geometry_file_format": "glb", "material": "PBR"},
        {"reference_scale": 1.0},
        {"reference_scale": 1, "escore": 3.5},
    ],
)
def test_spelling_out_the_vendor_s_defaults_changes_nothing(options: dict[str, OptionValue]) -> None:
    """What the vendor takes anyway is the same purchase."""
    assert fingerprint(FILES, options) == SAME


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 0},
        {"seed": 1},
        {"prompt": "oak"},
        {"prompt": "Oak"},
        {"prompt": "oak."},
        {"resolution": "High"},
        {"reference_scale": 2.0},
        {"escore": -3.5},
    ],
)
def test_every_other_option_counts(options: dict[str, OptionValue]) -> None:
    """Another texture is another purchase."""
    others = [fingerprint(FILES, {}), fingerprint(FILES, {"seed": 2})]
    assert fingerprint(FILES, options) not in others


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"reference_scale": 2}, {"reference_scale": 2.0}),
        ({"escore": 0.0}, {"escore": -0.0}),
        ({"prompt": "B\u00e4r"}, {"prompt": "Ba\u0308r"}),
        ({"prompt": "oak"}, {"prompt": " oak\n"}),
        ({"prompt": "worn oak"}, {"prompt": "worn  \n\toak"}),
        ({"prompt": "worn oak"}, {"prompt": "worn\u00a0oak\u3000"}),
        ({"prompt": "worn oak"}, {"prompt": "\ufeffworn oa\u200bk\u00ad"}),
        ({}, {"prompt": " "}),
        ({}, {"prompt": ""}),
        ({}, {"prompt": "\u200b\n"}),
    ],
)
def test_the_spelling_of_a_value_does_not_count(one: dict[str, OptionValue], other: dict[str, OptionValue]) -> None:
    """The same number, and the same text in another normal form or with space around it."""
    assert fingerprint(FILES, one) == fingerprint(FILES, other)


WORDS = st.sampled_from(["oak", "Oak", "worn", "brass,", "B\u00e4r", "Ba\u0308r", "\U0001f469\u200d\U0001f680"])
SPACE = st.sampled_from([" ", "  ", "\n", "\t", "\u3000", " \u200b", "\u00a0\n"])
PROMPTS = st.lists(st.tuples(SPACE, WORDS), max_size=3).map(lambda pairs: "".join(map("".join, pairs)))
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.tuples(PROMPTS, SPACE).map("".join),
        "seed": st.integers(0, 2),
        "reference_scale": st.sampled_from(["1", "1.0", "1e0", "2", "2.00", "0.5"]),
        "escore": st.sampled_from(["3.5", "35e-1", "0.0", "-0.0", "3"]),
        "geometry_file_format": st.sampled_from(["glb", "fbx"]),
        "material": st.sampled_from(["PBR", "Shaded"]),
        "resolution": st.sampled_from(["Basic", "High"]),
    },
)


def asked(wishes: dict[str, object]) -> dict[str, OptionValue]:
    """Return the options of a sidecar that spells them so."""
    text = {name for name, value in wishes.items() if name not in ("seed", "reference_scale", "escore")}
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False) if name in text else value}" for name, value in wishes.items()
    ]
    return layered(read_sidecar("\r\n".join(lines).encode("utf-8-sig"), "x.toml"))


def on_the_wire(options: dict[str, OptionValue]) -> dict[str, str]:
    """Return what a submit sends, with what the vendor takes anyway, its prompt by its words."""
    fields = {name: text_of(value) for name, value in OF_VERSION_1.items()} | dict(submit_fields(TEXTURE, options))
    words = unicodedata.normalize("NFC", fields.pop("prompt", "").replace("\u200b", "")).split()
    return fields | ({"prompt": " ".join(words)} if words else {})


@given(WISHES, WISHES)
def test_what_is_sent_decides_what_is_the_same(one: dict[str, object], other: dict[str, object]) -> None:
    """Two sidecars that send the same are one purchase, and two that send what differs in meaning are two."""
    sent = [submit_fields(TEXTURE, asked(wishes)) for wishes in (one, other)]
    prints = [fingerprint(FILES, asked(wishes)) for wishes in (one, other)]
    assert prints[0] == prints[1] or sent[0] != sent[1]
    meant = [on_the_wire(asked(wishes)) for wishes in (one, other)]
    assert (prints[0] == prints[1]) is (meant[0] == meant[1])


@given(WISHES, st.data())
def test_a_respelled_sidecar_is_the_same_purchase(wishes: dict[str, object], data: st.DataObject) -> None:
    """Whatever defaults are spelled out beside it, and whatever space is put between the words of its prompt."""
    spelled: dict[str, object] = {name: value for name, value in OF_VERSION_1.items() if data.draw(st.booleans())}
    spelled |= wishes
    if "prompt" in wishes:
        spelled["prompt"] = data.draw(SPACE).join(["", *str(wishes["prompt"]).split()]) + data.draw(SPACE)
    assert fingerprint(FILES, asked(spelled)) == fingerprint(FILES, asked(wishes))


def test_model_and_image_count_each_in_its_place() -> None:
    """Another model, another image, and the two exchanged, are other purchases."""
    model, image, sidecar = FILES
    swapped = (replace(model, sha256=image.sha256), replace(image, sha256=model.sha256), sidecar)
    changed = [(replace(model, sha256="ee"), image), (model, replace(image, sha256="ee")), swapped]
    assert len({SAME, *(fingerprint(files, {}) for files in changed)}) == 4


def test_fingerprints_of_new_models_are_pinned() -> None:
    """As those of textures: the digests of the images, in no order, and what the options mean."""
    images = [replace(FILES[1], source=f"inbox/{n}.png", sha256=n * 32) for n in ("bb", "aa")]
    text = f'[{{"image": ["{"aa" * 32}", "{"bb" * 32}"]}}, {{"addons": "HighPack", "use_original_alpha": "true"}}]'
    options: dict[str, OptionValue] = {"addons": "HighPack", "use_original_alpha": True, "material": "PBR"}
    assert dedup.fingerprint(GENERATE, images, options) == f"generate-1:{sha256(text)}"
    assert dedup.fingerprint(GENERATE, images[::-1], options) == f"generate-1:{sha256(text)}"
    alone = dedup.fingerprint(GENERATE, (), {"prompt": " a  dragon"})
    text = '[{"image": []}, {"prompt": "a dragon"}]'
    assert alone == f"generate-1:{sha256(text)}"
    assert alone != dedup.fingerprint(TEXTURE, (), {"prompt": "a dragon"})
