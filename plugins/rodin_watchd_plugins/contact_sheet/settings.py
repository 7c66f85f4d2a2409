"""The table [plugins.contact_sheet]."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """What the sheets look like, and how much is on them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")] = Field(
        default="contact-sheet", description="The names of the files, without .html and .png."
    )
    newest: Annotated[int, Field(ge=1, le=2000)] = Field(
        default=300, description="How many results are on the page, the newest first."
    )
    picture: bool = Field(default=True, description="Whether a picture (PNG) is made besides the page.")
    newest_in_picture: Annotated[int, Field(ge=1, le=400)] = Field(
        default=60, description="How many results are in the picture."
    )
    columns: Annotated[int, Field(ge=1, le=20)] = Field(default=6, description="How many are in a row of the picture.")
    tile_pixels: Annotated[int, Field(ge=64, le=512)] = Field(
        default=256, description="How wide and high a preview is in the picture."
    )
    theme: Literal["dark", "light"] = Field(
        default="dark", description="The picture's ground. The page goes by its reader's own choice."
    )
    font: str | None = Field(
        default=None,
        description="The font file for names in the picture; without it, DejaVu Sans where the machine has it, else one that "
        "knows Latin letters only.",
    )
