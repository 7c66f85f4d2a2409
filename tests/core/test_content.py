"""What makes two sets the same purchase."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import some_files

from rodin_watchd.core.content import fingerprint, fingerprints, first_fingerprint
from rodin_watchd.core.options import DECLARED
from rodin_watchd.model import OptionValue, Signature

FILES = some_files()
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
    assert fingerprints(FILES, options) == (fingerprint(FILES, options), *older)
    assert SAME == "v2:881827a4978bc76d15c2728030dc43ebb4a14cf62ca1935ca6f9b2f11ad71e06"
    assert first_fingerprint(FILES, {}) == "94da1e738b787e2184b6cd2aca4a6c85c755e0930e88da9cf765edcd60ccfafb"


def test_what_version_2_takes_for_left_out_never_changes() -> None:
    """Whatever the vendor takes tomorrow: journals keep what this made of a set."""
    pinned = {
        key: sent.canonical for key, sent in DECLARED.items() if sent.canonical is not None and key in OF_VERSION_1
    }
    assert pinned == OF_VERSION_1


@given(st.sets(st.sampled_from(sorted(OF_VERSION_1))), st.sets(st.sampled_from(sorted(OF_VERSION_1))))
def test_a_purchase_of_version_1_is_found_however_its_defaults_were_spelled(bought: set[str], asked: set[str]) -> None:
    """A default that was spelled out then and is left out now, and the other way round."""
    stored = first_fingerprint(FILES, {**{name: OF_VERSION_1[name] for name in bought}, "seed": 7})
    assert stored in fingerprints(FILES, {**{name: OF_VERSION_1[name] for name in asked}, "seed": 7})
    assert stored not in fingerprints(FILES, {"seed": 8})


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
    [{"seed": 0}, {"seed": 1}, {"prompt": "oak"}, {"resolution": "High"}, {"reference_scale": 2.0}, {"escore": -3.5}],
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
    ],
)
def test_the_spelling_of_a_value_does_not_count(one: dict[str, OptionValue], other: dict[str, OptionValue]) -> None:
    """The same number, and the same text in another normal form or with space around it."""
    assert fingerprint(FILES, one) == fingerprint(FILES, other)


def test_model_and_image_count_each_in_its_place() -> None:
    """Another model, another image, and the two exchanged, are other purchases."""
    model, image, sidecar = FILES
    swapped = (replace(model, sha256=image.sha256), replace(image, sha256=model.sha256), sidecar)
    changed = [(replace(model, sha256="ee"), image), (model, replace(image, sha256="ee")), swapped]
    assert len({SAME, *(fingerprint(files, {}) for files in changed)}) == 4
