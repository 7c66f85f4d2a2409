"""What the emulator's tests share: small inputs, and the calls of the API as a client makes them."""

from __future__ import annotations

import json
import struct
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import requests
from PIL import Image

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.mesh_io import model_files
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.emulator.texture import Mesh, project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SAMPLES = Path(__file__).parents[2] / "rodin_watchd" / "emulator" / "samples"
MORE_SAMPLES = Path(__file__).parent / "samples"
TIMEOUT_SECONDS = 30.0


def png(color: tuple[int, int, int] = (200, 60, 30), size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    """Give a small image: one colour, with a white quarter at the top left."""
    image = Image.new(mode, size, color)
    image.paste((255, 255, 255), (0, 0, size[0] // 2, size[1] // 2))
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def cube() -> Mesh:
    """Give a cube from -1 to 1."""
    points = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    return Mesh(points, np.array(faces))


def obj(mesh: Mesh) -> bytes:
    """Give a mesh as a plain OBJ."""
    lines = [f"v {x} {y} {z}" for x, y, z in mesh.positions.tolist()]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in mesh.faces.tolist()]
    return ("\n".join(lines) + "\n").encode()


def glb(mesh: Mesh) -> bytes:
    """Give a mesh as GLB."""
    return model_files(project(mesh, Image.new("RGB", (2, 2)), "PBR"), "glb")[0].data


CUBE = obj(cube())


@dataclass(frozen=True, slots=True)
class Api:
    """The calls, on a running emulator."""

    emulator: Emulator
    session: requests.Session

    def url(self, path: str) -> str:
        """Give the URL of a call."""
        return f"{self.emulator.base_url}/api/v2/{path}"

    def submit(
        self,
        model: bytes = CUBE,
        image: bytes | None = None,
        timeout: float = TIMEOUT_SECONDS,
        texts: dict[str, str] | None = None,
    ) -> requests.Response:
        """Order a texture."""
        files = {"model": ("model.bin", model), "image": ("image.bin", image or png())}
        url = self.url("rodin_texture_only")
        return self.session.post(url, files=files, data=texts, timeout=timeout, allow_redirects=False)

    def status(self, submitted: dict[str, Any], timeout: float = TIMEOUT_SECONDS) -> requests.Response:
        """Ask for the status of a task."""
        body = {"subscription_key": submitted["jobs"]["subscription_key"]}
        return self.session.post(self.url("status"), json=body, timeout=timeout, allow_redirects=False)

    def download(self, submitted: dict[str, Any], timeout: float = TIMEOUT_SECONDS) -> requests.Response:
        """Ask for the links of a task."""
        body = {"task_uuid": submitted["uuid"]}
        return self.session.post(self.url("download"), json=body, timeout=timeout, allow_redirects=False)

    def balance(self, timeout: float = TIMEOUT_SECONDS) -> requests.Response:
        """Ask for the balance."""
        return self.session.get(self.url("check_balance"), timeout=timeout, allow_redirects=False)

    def ledger(self) -> dict[str, Any]:
        """Ask for the ledger, as other programs do."""
        answer: dict[str, Any] = self.session.get(f"{self.emulator.base_url}/emulator/ledger", timeout=30).json()
        return answer

    def words(self, submitted: dict[str, Any]) -> list[str]:
        """Give the status words of a task's jobs."""
        return [job["status"] for job in self.status(submitted).json()["jobs"]]

    def results(self, submitted: dict[str, Any]) -> dict[str, bytes]:
        """Fetch all result files of a task that is Done."""
        entries = self.download(submitted).json()["list"]
        return {entry["name"]: fetch(entry["url"]).content for entry in entries}


def fetch(url: str, timeout: float = TIMEOUT_SECONDS, **headers: str) -> requests.Response:
    """Fetch a result link, without the API key."""
    return requests.get(url, headers=headers, timeout=timeout)


@contextmanager
def running(*faults: str, settings: EmulatorSettings | None = None, **changes: Any) -> Iterator[Api]:  # noqa: ANN401 - any setting
    """Run an emulator whose tasks are Done at once."""
    wanted = replace(
        settings or EmulatorSettings(preview_pixels=64, instant=True),
        faults=tuple(parse_fault(fault) for fault in faults),
        **changes,
    )
    with Emulator(wanted) as emulator, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {wanted.api_keys[0]}"
        yield Api(emulator, session)


def until(true: Callable[[], bool]) -> None:
    """Look again until it is true; each look should be a call to the emulator, so that it gets on meanwhile."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never came true"


def glb_parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a GLB apart: its JSON and its binary chunk."""
    magic, version, length, text_length = struct.unpack_from("<4sIII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    return json.loads(data[20 : 20 + text_length]), data[28 + text_length :]


def glb_array(data: bytes, attribute: str) -> NDArray[np.float32]:
    """Read one attribute of the first primitive of a GLB."""
    document, body = glb_parts(data)
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"][attribute]]
    view = document["bufferViews"][accessor["bufferView"]]
    width = int(accessor["type"][-1])
    return np.frombuffer(body, "<f4", accessor["count"] * width, view["byteOffset"]).reshape(-1, width)


def glb_image(data: bytes, number: int = 0) -> Image.Image:
    """Decode a texture inside a GLB; the first one is the base colour."""
    document, body = glb_parts(data)
    view = document["bufferViews"][document["images"][number]["bufferView"]]
    return Image.open(BytesIO(body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]))


def assert_refused(answer: requests.Response, message: str, status: int = 400) -> None:
    """Check the shape of a refusal."""
    assert (answer.status_code, answer.json()["error"]) == (status, "INVALID_REQUEST"), answer.text
    assert message in answer.json()["message"]
