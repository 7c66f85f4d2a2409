"""The work behind a task: from an order to the files of its result, off the event loop, equal orders once."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakValueDictionary

from PIL import Image

from rodin_watchd.emulator.exports import EmulatedFile, model_files
from rodin_watchd.emulator.mesh_io import read_model
from rodin_watchd.emulator.preview import SIZE, preview_webp
from rodin_watchd.emulator.texture import project, relief, texture_image

if TYPE_CHECKING:
    from rodin_watchd.emulator.mesh import TexturedMesh
    from rodin_watchd.emulator.orders import Order

MOST_PICTURES: Final = 256
"""So many previews, of some ten kilobytes each, are kept."""

_PICTURES: dict[tuple[str | None, ...], bytes] = {}

Work: TypeAlias = "Future[tuple[EmulatedFile, ...]]"


def make(order: Order, preview_pixels: int = SIZE) -> tuple[EmulatedFile, ...]:
    """Make the files of a result: the model first, `preview.webp` last.

    Raises UnusableModelError when the model cannot be read.
    """
    image = texture_image(order.image, order.resolution)
    mesh = relief(image) if order.model is None else read_model(order.model)
    textured = [project(mesh, image, material) for material in order.materials]
    shown = textured[0] if textured else project(mesh, Image.new("RGB", (1, 1), "white"), "PBR")
    files = model_files(shown, order.geometry_file_format)
    if len(textured) > 1 and len(files) == 1:  # where a file holds all of a model, there is one for each material
        named = zip(order.materials, textured, strict=True)
        files = tuple(
            EmulatedFile(f"base_basic_{material.lower()}.{order.geometry_file_format}", file.data)
            for material, mesh_of_it in named
            for file in model_files(mesh_of_it, order.geometry_file_format)
        )
    return (*files, EmulatedFile("preview.webp", _preview(order, shown, preview_pixels)))


def _preview(order: Order, textured: TexturedMesh, pixels: int) -> bytes:
    """Draw the picture, or give the one of an equal order: it is small, and drawing is most of the work."""
    key = (*order.recipe, str(pixels))
    picture = _PICTURES.get(key)
    if picture is None:
        picture = _PICTURES[key] = preview_webp(textured, pixels)
        if len(_PICTURES) > MOST_PICTURES:
            _PICTURES.pop(next(iter(_PICTURES)), None)  # the oldest; another thread may have taken it
    return picture


class Workshop:
    """Two worker threads and the results of equal orders for as long as a task holds them.

    `preview_pixels` is the edge of the previews.
    """

    def __init__(self, preview_pixels: int = SIZE) -> None:
        self._preview_pixels = preview_pixels
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="rodin-emulator-work")
        self._known: WeakValueDictionary[tuple[str | None, ...], Work] = WeakValueDictionary()

    def begin(self, order: Order) -> Work:
        """Start the work, or give what an equal order has already started."""
        work = self._known.get(order.recipe)
        if work is None:
            work = self._pool.submit(make, order, self._preview_pixels)
            self._known[order.recipe] = work
        return work

    def close(self) -> None:
        """End the threads; work that has not begun is dropped."""
        self._pool.shutdown(cancel_futures=True)
