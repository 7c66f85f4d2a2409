"""What a model allows, in words."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from rodin_watchd.core.options import allowed_words, node_at, plain_schema, shown


class Inner(BaseModel):
    """A table."""

    size: Annotated[int, Field(ge=1, le=9)] | None = None


class Outer(BaseModel):
    """Everything a model of this project may hold."""

    inner: Inner = Field(default_factory=Inner, description="What it is for.")
    wait: Annotated[float, Field(gt=0, le=60)] | Literal["auto"] = "auto"
    scale: Annotated[float, Field(gt=0)] | None = None
    any_number: float | None = None
    kind: Literal["a", "b"] | None = None
    name: Annotated[str, Field(min_length=1, max_length=5)] | None = None
    flag: bool = False
    tables: dict[str, dict[str, object]] = Field(default_factory=dict)


SCHEMA = plain_schema(Outer)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("inner",), "a table"),
        (("inner", "size"), "a whole number from 1 to 9"),
        (("wait",), 'a number above 0, at most 60 or "auto"'),
        (("scale",), "a number above 0"),
        (("any_number",), "a number"),
        (("kind",), 'one of "a", "b"'),
        (("name",), "text of 1 to 5 characters"),
        (("flag",), "true or false"),
        (("tables",), "a table"),
        (("tables", "some name"), "a table"),
    ],
)
def test_every_kind_of_field_has_words(path: tuple[str, ...], words: str) -> None:
    """What is allowed is said in plain English, from the model alone."""
    followed, node = node_at(SCHEMA, path)
    assert (followed, allowed_words(node)) == (path, words)


@pytest.mark.parametrize(
    ("path", "followed"),
    [
        ((), ()),
        (("nothing",), ()),
        (("inner", "sise"), ("inner",)),
        (("wait", "literal['auto']"), ("wait",)),
        (("tables", "x", "y", "z"), ("tables", "x")),
    ],
)
def test_a_path_is_followed_as_far_as_it_is_known(path: tuple[str, ...], followed: tuple[str, ...]) -> None:
    """What pydantic adds to a path, and unknown keys, are left off."""
    assert node_at(SCHEMA, path)[0] == followed


def test_the_plain_schema_has_neither_references_nor_null() -> None:
    """Editors see each description beside its field, and nobody is offered null, which TOML does not have."""
    text = str(SCHEMA)
    assert "$ref" not in text
    assert "$defs" not in text
    assert "null" not in text
    assert "None" not in text
    assert SCHEMA["properties"]["inner"]["description"] == "What it is for."


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "true"),
        (7, "7"),
        (-0.5, "-0.5"),
        (float("inf"), "inf"),
        ("7", '"7" (text)'),
        ("a\nb", '"a\\nb" (text)'),
        ({"secret": 1}, "a table"),
        (["secret"], "a list"),
        (None, "a date or a time"),
    ],
)
def test_values_are_shown_in_a_few_words(value: object, words: str) -> None:
    """Whatever stands in a file is shown on one line, bounded, and never with what is inside tables."""
    assert shown(value) == words


def test_huge_values_are_cut() -> None:
    """A value of any size takes a few words, also a number that Python refuses to write."""
    assert len(shown("x" * 60_000)) <= 70
    assert shown(16**60_000) == "a far larger number"
