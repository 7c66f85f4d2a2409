"""The table [plugins.contact_sheet]."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


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
    index: bool = Field(
        default=False, description="Whether index.html in the outbox is kept: a page of the results in all its folders."
    )
    newest_in_index: Annotated[int, Field(ge=1, le=2000)] = Field(
        default=500, description="How many results are on that page, the newest first."
    )

    @model_validator(mode="after")
    def _two_pages(self) -> Self:
        if self.index and self.name.casefold() == "index":
            raise ValueError('name: "index" is the name of the index; choose another one, or index = false')
        return self
