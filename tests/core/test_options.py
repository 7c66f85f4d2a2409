"""The options of a texture task."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rodin_watchd.core.kind_options import TextureOptions
from rodin_watchd.core.options import frozen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", "x"),
        ("prompt", "é" * 2500),
        ("prompt", "astronaut \U0001f469\u200d\U0001f680\nand\ttabs"),
        ("seed", 0),
        ("seed", 65535),
        ("reference_scale", 1),
        ("reference_scale", 0.25),
        ("geometry_file_format", "usdz"),
        ("material", "Shaded"),
        ("resolution", "High"),
        ("escore", -3.5),
    ],
)
def test_what_the_contract_allows_is_taken(name: str, value: object) -> None:
    """Each option takes the values that the API contract names, and nothing else is set with it."""
    assert frozen(TextureOptions.model_validate({name: value})) == {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", ""),
        ("prompt", "x" * 2501),
        ("prompt", "a\0b"),
        ("prompt", "a\rb"),
        ("prompt", "a\x9bb"),
        ("prompt", 3),
        ("seed", -1),
        ("seed", 65536),
        ("seed", "7"),
        ("seed", True),
        ("seed", 7.0),
        ("seed", 10**400),
        ("reference_scale", 0),
        ("reference_scale", -1.0),
        ("reference_scale", True),
        ("reference_scale", "1"),
        ("reference_scale", float("inf")),
        ("reference_scale", float("nan")),
        ("reference_scale", 10**400),
        ("geometry_file_format", "GLB"),
        ("geometry_file_format", "gltf"),
        ("material", "pbr"),
        ("resolution", "4K"),
        ("escore", float("nan")),
        ("escore", False),
        ("quality", "high"),
    ],
)
def test_everything_else_is_refused(name: str, value: object) -> None:
    """Values are never bent into shape: text is not a number, true is not 1, a misspelt key is not ignored."""
    with pytest.raises(ValidationError) as refusal:
        TextureOptions.model_validate({name: value})
    assert [error["loc"] for error in refusal.value.errors()] == [(name,)]


def test_nothing_is_sent_that_nobody_set() -> None:
    """The vendor's defaults are the vendor's: no option is filled in."""
    assert frozen(TextureOptions()) == {}


def test_options_cannot_be_changed() -> None:
    """TextureOptions are values."""
    options = TextureOptions(seed=1)
    with pytest.raises(ValidationError):
        options.seed = 2
    assert options.seed == 1
