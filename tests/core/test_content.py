"""What makes two sets the same purchase."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from job_samples import some_files

from rodin_watchd.core.content import fingerprint
from rodin_watchd.model import OptionValue, Signature

FILES = some_files()
SAME = fingerprint(FILES, {})


def test_a_fingerprint_is_the_digest_of_what_is_bought() -> None:
    """The same today and after any upgrade, for the journal keeps it: of this text, letter by letter."""
    options = '{"geometry_file_format": "glb", "material": "PBR", "prompt": "\\u00f6l", "resolution": "Basic"}'
    text = f'[{{"image": "{"bb" * 32}", "model": "{"aa" * 32}"}}, {options}]'
    assert fingerprint(FILES, {"prompt": "öl"}) == hashlib.sha256(text.encode()).hexdigest()


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
    ],
)
def test_spelling_out_the_vendor_s_defaults_changes_nothing(options: dict[str, OptionValue]) -> None:
    """What the vendor takes anyway is the same purchase."""
    assert fingerprint(FILES, options) == SAME


@pytest.mark.parametrize(
    "options",
    [{"seed": 0}, {"seed": 1}, {"prompt": "oak"}, {"prompt": "oak "}, {"resolution": "High"}, {"reference_scale": 2.0}],
)
def test_every_other_option_counts(options: dict[str, OptionValue]) -> None:
    """Another texture is another purchase."""
    others = [fingerprint(FILES, {}), fingerprint(FILES, {"seed": 2})]
    assert fingerprint(FILES, options) not in others


def test_model_and_image_count_each_in_its_place() -> None:
    """Another model, another image, and the two exchanged, are other purchases."""
    model, image, sidecar = FILES
    swapped = (replace(model, sha256=image.sha256), replace(image, sha256=model.sha256), sidecar)
    changed = [(replace(model, sha256="ee"), image), (model, replace(image, sha256="ee")), swapped]
    assert len({SAME, *(fingerprint(files, {}) for files in changed)}) == 4
