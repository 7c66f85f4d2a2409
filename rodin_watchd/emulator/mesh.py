"""The two shapes of a model inside the emulator: as it came, and with its texture on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

Material = Literal["PBR", "Shaded"]


class UnusableModelError(Exception):
    """The model cannot be read or textured: its task ends `Failed`, as it does at the vendor's."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles: `positions` (n, 3), y up, and `faces` (m, 3), indices into them."""

    positions: NDArray[np.float64]
    faces: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TexturedMesh:
    """Unwelded triangles: three rows of `positions`, `normals` (unit length) and `uvs` for each face.

    `uvs` lie in 0..1 with v counted downwards from the top of the image (glTF 2.0, section 3.8.3). `image` is RGB.
    """

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32]
    image: Image.Image
    material: Material

    @property
    def uvs_upwards(self) -> NDArray[np.float32]:
        """The UVs as OBJ and USD want them: v counted upwards from the bottom of the image."""
        return np.stack([self.uvs[:, 0], 1 - self.uvs[:, 1]], axis=1)
