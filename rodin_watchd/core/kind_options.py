"""The options of each kind of job, as the fields of a model that checks them: what a TOML file may say, and how it is sent.

`core.kinds` loads this when options are checked, sent or compared.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from rodin_watchd.core.options import Sent
from rodin_watchd.model import OptionValue

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for tab and line feed


def _without_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters other than tabs and line breaks")
    return text


Seed: TypeAlias = Annotated[int, Field(ge=0, le=65535)]

Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_without_control)]
"""Text that is passed on as it is."""

Prompt: TypeAlias = Annotated[str, Field(min_length=1, max_length=2500), AfterValidator(_without_control)]

_LONGEST_EDGE: Final = 1_000_000


def _box(value: object) -> str:
    """Return three numbers, or the text of them, as they are sent: as JSON, as the vendor's own client does it.

    Checked here because the vendor answers a malformed list with HTTP 500 (API contract, additions): then nobody knows whether
    the set was charged, and it is held.
    """
    try:
        numbers = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        numbers = None
    if not isinstance(numbers, list) or [type(number) for number in numbers] != [int] * 3:
        raise ValueError("must be three whole numbers, for instance [100, 100, 100]")
    if not all(0 < number <= _LONGEST_EDGE for number in numbers):
        raise ValueError(f"must be three whole numbers from 1 to {_LONGEST_EDGE}")
    return json.dumps(numbers)


Box: TypeAlias = Annotated[
    str,
    BeforeValidator(_box),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": _LONGEST_EDGE},
            "minItems": 3,
            "maxItems": 3,
        }
    ),
]
"""Width, height and length of a box. A job keeps the text that is sent, and receipts show it; that text is taken as well."""


def option_words(description: str, example: OptionValue | list[int], left_out: str) -> Any:  # noqa: ANN401 - pydantic's own type for fields
    """Return what is said of an option in the schemas and examples, with what holds where it is left out."""
    return Field(description=f"{description} Without it, {left_out}.", examples=[example])


class Options(BaseModel):
    """What the vendor is asked for: the base of each kind's own model.

    Only options that are set are sent; for all others the vendor's own defaults apply.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


SeedOption: TypeAlias = Annotated[
    Seed | None,
    Sent("seed"),
    option_words("Start value for random numbers: the same seed makes similar results.", 7, "the vendor chooses one"),
]
FormatOption: TypeAlias = Annotated[
    Literal["glb", "usdz", "fbx", "obj", "stl"] | None,
    Sent("geometry_file_format", default="glb", canonical="glb"),
    option_words("Format of the model that is made.", "glb", "the vendor makes glb"),
]
"""Options that mean the same for each kind that has them."""


class TextureOptions(Options):
    """The options of a texture (API contract, Generate Texture)."""

    prompt: Annotated[
        Prompt | None,
        Sent("prompt"),
        Field(description="Text that guides the texture.", examples=["worn oak, brass fittings"]),
    ] = None
    seed: SeedOption = None
    reference_scale: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Sent("reference_scale", default=1, canonical=1),
        option_words("Scale of the reference image.", 1, "the vendor takes 1"),
    ] = None
    geometry_file_format: FormatOption = None
    material: Annotated[
        Literal["PBR", "Shaded"] | None,
        Sent("material", default="PBR", canonical="PBR"),
        option_words(
            "PBR: maps for a physically based renderer; Shaded: the light is part of one picture.",
            "PBR",
            "the vendor makes PBR",
        ),
    ] = None
    resolution: Annotated[
        Literal["Basic", "High"] | None,
        Sent("resolution", default="Basic", canonical="Basic"),
        option_words("Size of the texture: Basic is 2K, High is 4K.", "Basic", "the vendor makes Basic"),
    ] = None
    escore: Annotated[
        float | None,
        Sent("escore", default=3.5, canonical=3.5),
        option_words("A number that the vendor does not explain.", 3.5, "the vendor takes 3.5"),
    ] = None


class GenerateOptions(Options):
    """What to ask the vendor for, for a new model (API contract, Rodin Generation)."""

    prompt: Annotated[
        Prompt | None,
        Sent("prompt"),
        Field(
            description="Of a new model: what it looks like. It can replace all images.",
            examples=["worn oak, brass fittings"],
        ),
    ] = None
    seed: SeedOption = None
    geometry_file_format: FormatOption = None
    material: Annotated[
        Literal["PBR", "Shaded", "All", "None"] | None,
        Sent("material", default="PBR", canonical="PBR"),
        option_words("Of a new model also All: both, and None: no texture.", "PBR", "the vendor makes PBR"),
    ] = None
    tier: Annotated[
        Word | None,
        Sent("tier"),
        option_words("Of a new model: the vendor's tier, passed on as it is.", "Regular", "the vendor chooses"),
    ] = None
    quality: Annotated[
        Word | None,
        Sent("quality"),
        option_words("Of a new model: how fine its mesh is, passed on as it is.", "medium", "the vendor chooses"),
    ] = None
    mesh_mode: Annotated[
        Word | None,
        Sent("mesh_mode"),
        option_words("Of a new model: how its mesh is made, passed on as it is.", "Quad", "the vendor chooses"),
    ] = None
    bbox_condition: Annotated[
        Box | None,
        Sent("bbox_condition"),
        option_words(
            "Of a new model: the box that it fills: width, height and length.", [100, 100, 100], "no box is given"
        ),
    ] = None
    use_original_alpha: Annotated[
        bool | None,
        Sent("use_original_alpha"),
        option_words(
            "Of a new model: whether transparent parts of the images are taken as they are.", True, "the vendor chooses"
        ),
    ] = None
    addons: Annotated[
        Literal["HighPack"] | None,
        Sent("addons"),
        option_words(
            "Of a new model: HighPack costs 1 credit more.",
            "HighPack",
            "there is no addon",
        ),
    ] = None
