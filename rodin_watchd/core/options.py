"""The options of a texture task: each is declared once, in `Options` (API contract, Generate Texture).

From a field come the sidecar's and the config's key, what may stand there, its words in the schemas and the example files,
the text part that is sent, the receipt's entry, and what the fingerprint makes of it. `docs/intake.md` has the table of them
for artists (`tools/write_docs.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from rodin_watchd.model import OptionValue


_UNSEEN: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
"""What editors and web pages leave in text: soft hyphen, zero-width space, marks of direction, word joiner, byte order mark.

The two joiners (U+200C, U+200D) are not among them: they change what is read, in Persian and in emoji.
"""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for tab and line feed


def _without_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not hold control characters other than tabs and line breaks")
    return text


Prompt: TypeAlias = Annotated[str, Field(min_length=1, max_length=2500), AfterValidator(_without_control)]


@dataclass(frozen=True, slots=True)
class Sent:
    """How an option is sent, and what the vendor takes where it is not.

    `default` is what the vendor documents today, None where leaving it out means no fixed value. `canonical` is what the
    fingerprint of version 2 takes for "left out": it stays as it is when the vendor's default changes, because journals
    keep fingerprints (`core.content`); a test pins it.
    """

    part: str  # the name of the text part
    default: OptionValue | None = None
    canonical: OptionValue | None = None


def _words(description: str, example: OptionValue, left_out: str) -> Any:  # noqa: ANN401 - pydantic's own type for fields
    return Field(description=f"{description} Left out, {left_out}.", examples=[example])


class Options(BaseModel):
    """What to ask the vendor for.

    Only what somebody set is sent; for all else the vendor's own defaults hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    prompt: Annotated[
        Prompt | None,
        Sent("prompt"),
        Field(description="Text that guides the texture.", examples=["worn oak, brass fittings"]),
    ] = None
    seed: Annotated[
        Annotated[int, Field(ge=0, le=65535)] | None,
        Sent("seed"),
        _words("Starting point of chance: the same seed makes like textures.", 7, "the vendor draws one"),
    ] = None
    reference_scale: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Sent("reference_scale", default=1, canonical=1),
        _words("How large the reference image is taken to be.", 1, "the vendor takes 1"),
    ] = None
    geometry_file_format: Annotated[
        Literal["glb", "usdz", "fbx", "obj", "stl"] | None,
        Sent("geometry_file_format", default="glb", canonical="glb"),
        _words("Format of the textured model.", "glb", "the vendor makes glb"),
    ] = None
    material: Annotated[
        Literal["PBR", "Shaded"] | None,
        Sent("material", default="PBR", canonical="PBR"),
        _words(
            "PBR: maps for a physically based renderer; Shaded: light baked into one picture.",
            "PBR",
            "the vendor makes PBR",
        ),
    ] = None
    resolution: Annotated[
        Literal["Basic", "High"] | None,
        Sent("resolution", default="Basic", canonical="Basic"),
        _words("Size of the texture: Basic is 2K, High is 4K.", "Basic", "the vendor makes Basic"),
    ] = None
    escore: Annotated[
        float | None,
        Sent("escore", default=3.5, canonical=3.5),
        _words("A number that the vendor does not explain.", 3.5, "the vendor takes 3.5"),
    ] = None


def _declared() -> Mapping[str, Sent]:
    """Return how each option is sent, in the order of the fields. Raises TypeError for a field that does not say so."""
    found = {
        name: next((m for m in f.metadata if isinstance(m, Sent)), None) for name, f in Options.model_fields.items()
    }
    if unsaid := [name for name, sent in found.items() if sent is None]:
        raise TypeError(f"options without Sent: {unsaid}")
    return MappingProxyType({name: sent for name, sent in found.items() if sent})


DECLARED: Final = _declared()
"""How each option is sent, by the key that sidecars and the journal use."""

CHOICES: Final[Mapping[str, str]] = MappingProxyType(
    {name: sent.default for name, sent in DECLARED.items() if isinstance(sent.default, str)}
)
"""The options that are a choice of words, each with the vendor's default: what is made, and so how long it takes."""


def frozen(options: Options) -> dict[str, OptionValue]:
    """Give the options that are set, ready to be stored with a job and sent."""
    return options.model_dump(include=set(DECLARED), exclude_none=True)


def text_of(value: OptionValue) -> str:
    """Return an option's value as it is sent: numbers in plain digits. Raises ValueError for one that is not finite."""
    if isinstance(value, str):
        return value
    number = Decimal(repr(value))
    if not number.is_finite():
        raise ValueError("an option's number must be finite")
    return format(number.normalize(), "f") if number else "0"


def canonical(options: Mapping[str, OptionValue]) -> dict[str, str]:
    """Return what options mean, whatever their spelling: what says what holds anyway is left out, 1.0 is 1.

    Text counts by its words: not by how much space is around and between them, in whichever way their accents are stored
    (NFC), and without the characters that nobody sees; text without any word is no text. This is part of the fingerprint
    of version 2 and is not changed any more.
    """
    spelled = {name: _spelled(value) for name, value in options.items()}
    return {name: text for name, text in spelled.items() if text not in ("", _LEFT_OUT.get(name))}


def _spelled(value: OptionValue) -> str:
    return words_of(value) if isinstance(value, str) else text_of(value)


def words_of(text: str) -> str:
    """Return the words of a text in one spelling: NFC, one space between them, nothing that is never seen."""
    return " ".join(unicodedata.normalize("NFC", text.translate(_UNSEEN)).split())


_LEFT_OUT: Final = {name: _spelled(s.canonical) for name, s in DECLARED.items() if s.canonical is not None}
