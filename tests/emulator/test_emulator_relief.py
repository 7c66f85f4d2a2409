"""New models, made of an image or of a text."""

from __future__ import annotations

from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rodin_watchd.emulator.texture import BACK, DEPTH, relief, text_image


@pytest.mark.parametrize("size", [(40, 40), (200, 50), (3, 900), (1, 1)])
def test_the_plate_is_closed(size: tuple[int, int]) -> None:
    """Each edge is used once in each direction, whatever the image's proportions."""
    faces = relief(Image.new("RGB", size)).faces
    edges = Counter((int(face[side]), int(face[(side + 1) % 3])) for face in faces for side in range(3))
    assert set(edges.values()) == {1}
    assert all((end, start) in edges for start, end in edges)


def test_bright_places_rise() -> None:
    """The white half of an image is high, the black half low, left and right as in the image."""
    image = Image.new("L", (60, 60), 0)
    image.paste(255, (30, 0, 60, 60))
    positions = relief(image).positions
    left, right = positions[positions[:, 0] < -0.5], positions[positions[:, 0] > 0.5]
    assert left[:, 2].max() == 0
    assert right[:, 2].max() == pytest.approx(DEPTH)
    assert positions[:, 2].min() == BACK


def test_faces_look_outwards() -> None:
    """The volume inside is positive, so the front faces the viewer."""
    mesh = relief(Image.new("L", (30, 30), 255))
    a, b, c = (mesh.positions[mesh.faces[:, corner]] for corner in range(3))
    volume = float(np.sum(a * np.cross(b, c)) / 6)
    assert volume == pytest.approx(2 * 2 * (DEPTH - BACK), rel=0.01)


def test_texts_give_different_images() -> None:
    """An image of a text depends on it, long texts and odd characters included."""
    images = [text_image(text) for text in ("a red dragon", "a blue dragon", "x" * 5000, "\x00 \u202e 龍")]
    assert len(set(images)) == 4
    assert {Image.open(BytesIO(image)).size for image in images} == {(512, 512)}
