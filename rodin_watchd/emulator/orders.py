"""What is ordered: the two paid calls, read and checked (API contract, Generate Texture and Rodin Generation)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Final

from PIL import Image

from rodin_watchd.emulator.forms import EmulatedRefusal, invalid
from rodin_watchd.emulator.mesh_io import USDZ_MISSING, model_format
from rodin_watchd.emulator.texture import SHADES, TEXTURE_EDGE, text_image

if TYPE_CHECKING:
    from rodin_watchd.emulator.forms import Form
    from rodin_watchd.emulator.texture import Material

MODEL_LIMIT = 10_000_000
"""Bytes of a model at most: the contract's 10 MB."""

PIXEL_LIMIT = 64_000_000
TEXT_KEYS: Final = (
    "prompt",
    "seed",
    "reference_scale",
    "geometry_file_format",
    "material",
    "resolution",
    "escore",
)
"""The text parts that the contract knows (API contract, Generate Texture)."""
GENERATION_KEYS: Final = (
    *("prompt", "seed", "geometry_file_format", "material", "tier", "quality", "mesh_mode", "bbox_condition", "addons"),
    *("use_original_alpha", "preview_render", "condition_mode", "TAPose"),
)
"""The text parts of a Rodin Generation call that the contract, or the vendor's pages, know."""
MOST_IMAGES: Final = 5
PRICE: Final = Decimal("0.5")
"""Credits for one texture or one generated model (API contract, table of calls)."""
HIGH_PACK: Final = Decimal(1)
"""Credits that the addon HighPack costs more (API contract, Rodin Generation)."""
GEOMETRY_FILE_FORMATS = ("glb", "usdz", "fbx", "obj", "stl")


@dataclass(frozen=True, slots=True)
class Order:
    """A checked order. `model` is None when a new model is made from the image."""

    model: bytes | None
    image: bytes
    geometry_file_format: str
    materials: tuple[Material, ...]  # what is made has each of them
    resolution: str
    options: dict[str, str]
    """All text parts as they were sent, also those that the contract does not know."""

    model_sha256: str | None
    image_sha256: str  # of several images: of their digests
    known: tuple[str, ...] = TEXT_KEYS
    price: Decimal = PRICE  # credits

    @property
    def unknown_parts(self) -> list[str]:
        """Name the text parts that the contract does not know."""
        return sorted(self.options.keys() - set(self.known))

    @property
    def shade(self) -> int:
        """Give how the seed changes the colours, 0 for not at all: seeds are there to be compared, and few pictures are drawn for them."""
        return int(self.options.get("seed", "0")) % SHADES

    @property
    def recipe(self) -> tuple[str | None, ...]:
        """Give all that the results depend on: equal recipes give equal results."""
        fixed = (self.model_sha256, self.image_sha256, self.geometry_file_format, self.resolution, str(self.shade))
        return (*fixed, *self.materials)


def texture_order(form: Form) -> Order:
    """Check a Generate Texture call. Raises EmulatedRefusal (`INVALID_REQUEST`) with a sentence for people."""
    return _order(form, _model(form), (_image(_only(form, "image")),), ("PBR", "Shaded"))


def generation_order(form: Form) -> Order:
    """Check a Rodin Generation call: one to five `images`, else an image of the `prompt`. Raises EmulatedRefusal.

    The model is made of the first image.
    """
    images = form.files("images") + form.files("image")
    prompt = form.texts().get("prompt", "").strip()
    if len(images) > MOST_IMAGES:
        raise invalid(f"{len(images)} images were sent; at most {MOST_IMAGES} are allowed")
    if not images and not prompt:
        raise invalid("images or a prompt are required")
    addons = form.listed("addons")
    if not {*addons} <= {"HighPack"}:
        raise invalid("addons must be HighPack")
    _check_box(form.texts().get("bbox_condition"))
    made_of = tuple(map(_image, images)) or (text_image(prompt),)
    order = _order(form, None, made_of, ("PBR", "Shaded", "All", "None"))
    return replace(order, known=GENERATION_KEYS, price=PRICE + (HIGH_PACK if addons else 0))


def _order(form: Form, model: bytes | None, images: tuple[bytes, ...], materials: tuple[str, ...]) -> Order:
    texts = form.texts()
    _check_seed(texts.get("seed", "0"))
    for key in ("reference_scale", "escore"):
        _check_number(key, texts.get(key, "1"))
    return Order(
        model=model,
        image=images[0],
        geometry_file_format=_writable(_choice(texts, "geometry_file_format", GEOMETRY_FILE_FORMATS)),
        materials=_MATERIALS[_choice(texts, "material", materials)],
        resolution=_choice(texts, "resolution", tuple(TEXTURE_EDGE)),
        options=texts,
        model_sha256=None if model is None else sha256(model).hexdigest(),
        image_sha256=_digest(images),
    )


def _digest(images: tuple[bytes, ...]) -> str:
    digests = [sha256(image).hexdigest() for image in images]
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()


_MATERIALS: Final[dict[str, tuple[Material, ...]]] = {
    "PBR": ("PBR",),
    "Shaded": ("Shaded",),
    "All": ("PBR", "Shaded"),
    "None": ("None",),
}


def _only(form: Form, name: str) -> bytes:
    files = form.files(name)
    if len(files) != 1:
        raise invalid(f"exactly one file named {name!r} is required, not {len(files)}")
    return files[0]


def _model(form: Form) -> bytes:
    model = _only(form, "model")
    if not model:
        raise invalid("the model is empty")
    if len(model) > MODEL_LIMIT:
        raise invalid(f"the model has {len(model):,} bytes; at most {MODEL_LIMIT:,} are allowed")
    try:
        model_format(model)
    except ValueError as error:
        raise invalid(str(error)) from error
    return model


def _image(data: bytes) -> bytes:
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise invalid(f"the image has more than {PIXEL_LIMIT:,} pixels")
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise invalid("the image cannot be decoded: send a whole PNG, JPEG or WebP") from error
    return data


def _check_seed(text: str) -> None:
    if not (text.isascii() and text.isdecimal() and int(text[:9]) <= 65535 and len(text) < 9):
        raise invalid("seed must be a whole number from 0 to 65535")


def _check_number(key: str, text: str) -> None:
    try:
        good = math.isfinite(float(text)) and float(text) > 0
    except ValueError:
        good = False
    if not good:
        raise invalid(f"{key} must be a number above 0")


def _check_box(text: str | None) -> None:
    """Refuse a box that is not a JSON list of three numbers, with HTTP 500, as seen in the field (API contract, additions)."""
    try:
        numbers = [1, 1, 1] if text is None else json.loads(text)
    except ValueError:
        numbers = None
    if not isinstance(numbers, list) or len(numbers) != 3 or not all(type(n) is int and n > 0 for n in numbers):
        raise EmulatedRefusal(500, "UNKNOWN", "bbox_condition is no list of three whole numbers above 0")


def _choice(texts: dict[str, str], key: str, allowed: tuple[str, ...]) -> str:
    """Give the value of a key; the first of those allowed is the default."""
    value = texts.get(key, allowed[0])
    if value not in allowed:
        raise invalid(f"{key} must be one of {', '.join(allowed)}")
    return value


def _writable(geometry_file_format: str) -> str:
    if geometry_file_format == "fbx":
        raise invalid("the emulator cannot write FBX, the real API can: ask for glb, obj, stl or usdz")
    if geometry_file_format == "usdz" and USDZ_MISSING:
        raise invalid(USDZ_MISSING)
    return geometry_file_format
