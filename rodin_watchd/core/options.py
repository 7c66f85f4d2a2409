"""The options of a texture task, by the names that the vendor gives them (API contract, Generate Texture)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from rodin_watchd.model import OptionValue


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for tab and line feed


def _without_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not hold control characters other than tabs and line breaks")
    return text


Prompt: TypeAlias = Annotated[str, Field(min_length=1, max_length=2500), AfterValidator(_without_control)]


class Options(BaseModel):
    """What to ask the vendor for.

    Only what somebody set is sent; for all else the vendor's own defaults hold, and nothing here repeats them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    prompt: Prompt | None = Field(
        default=None, description="Text that guides the texture.", examples=["worn oak, brass fittings"]
    )
    seed: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        default=None,
        description="Starting point of chance: the same seed makes like textures. Left out, the vendor draws one.",
        examples=[7],
    )
    reference_scale: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="How large the reference image is taken to be. Left out, the vendor takes 1.",
        examples=[1],
    )
    geometry_file_format: Literal["glb", "usdz", "fbx", "obj", "stl"] | None = Field(
        default=None, description="Format of the textured model. Left out, the vendor makes glb.", examples=["glb"]
    )
    material: Literal["PBR", "Shaded"] | None = Field(
        default=None,
        description="PBR: maps for a physically based renderer; Shaded: light baked into one picture. "
        "Left out, the vendor makes PBR.",
        examples=["PBR"],
    )
    resolution: Literal["Basic", "High"] | None = Field(
        default=None,
        description="Size of the texture: Basic is 2K, High is 4K. Left out, the vendor makes Basic.",
        examples=["Basic"],
    )
    escore: float | None = Field(
        default=None, description="The vendor does not explain this number; left out, it takes 3.5.", examples=[3.5]
    )


def frozen(options: Options) -> dict[str, OptionValue]:
    """Give the options that are set, ready to be stored with a job and sent."""
    return options.model_dump(include=set(Options.model_fields), exclude_none=True)
