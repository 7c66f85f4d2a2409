"""Models in each format in a real browser, as results and as what was dropped. `make test-web` runs these tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trimesh
from chromium import STAGE, Window, coloured, needs_chromium, started, turned, until, window
from cli_stage import SAMPLES, Stage
from model_sets import delivered, fbx, painted, results_in
from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Browser as Chromium
from web_stage import page_of

pytestmark = [needs_chromium, pytest.mark.browser, pytest.mark.timeout(400)]
ENDINGS = (".obj", ".stl", ".fbx", ".usdz")
EXPORTED = Path(__file__).parent.parent / "samples" / "exporters"
LOOKS = {"viewport": {"width": 640, "height": 960}}
MESH = painted()
GLB = results_in(".glb", MESH)


@dataclass
class Shelf:
    """A page with delivered sets, and the browser that looks at it."""

    stage: Stage
    address: str
    chromium: Chromium

    @contextmanager
    def look(self, name: str, dropped: tuple[str, bytes], results: dict[str, bytes]) -> Iterator[Window]:
        """Give a window with the page of a new set."""
        path = delivered(self.stage, name, dropped, results)
        with window(self.chromium, self.address, **LOOKS) as seen:
            seen.open(path)
            yield seen


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """Give a page without a service, and a browser."""
    stage = Stage(tmp_path_factory.mktemp("models") / "root")
    with page_of(stage) as asks, started() as chromium:
        yield Shelf(stage, asks.address, chromium)


@dataclass
class Views:
    """What is seen of a set from the front."""

    result: Image.Image
    dropped: Image.Image


def views(seen: Window) -> Views:
    """Look at the result, and then at the dropped model."""
    assert seen.wait_for_model() == "shown"
    result = settled(seen)
    seen.page.get_by_role("button", name="Compare with the dropped model").click()
    seen.page.get_by_role("slider", name="Where the dropped model ends").press("End")
    return Views(result, settled(seen))


def settled(seen: Window) -> Image.Image:
    """Return what is seen when it does not change any more."""
    pictures = [Image.new("RGB", (1, 1)), seen.picture(STAGE)]

    def rests() -> bool:
        pictures[:] = [pictures[1], seen.picture(STAGE)]
        return pictures[0].tobytes() == pictures[1].tobytes()

    until(rests, "the view does not come to rest")
    return pictures[1]


def apart(one: Image.Image, other: Image.Image) -> float:
    """Return by how much two pictures differ, from 0 to 255."""
    small = [picture.resize((128, 96)) for picture in (one, other)]
    return float(np.mean(ImageStat.Stat(ImageChops.difference(*small)).mean))


@pytest.fixture(scope="module")
def reference(shelf: Shelf) -> Views:
    """Return what is seen of a GLB."""
    with shelf.look("reference", (".glb", GLB["base_basic_pbr.glb"]), GLB) as seen:
        found = views(seen)
    assert coloured(found.result) > 0.1
    assert coloured(found.dropped) < 0.02
    return found


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_model_is_seen_as_its_glb(ending: str, shelf: Shelf, reference: Views) -> None:
    """As a result and as the dropped model: it stands upright, shows its front, has its size and colours, and turns."""
    results = results_in(ending, MESH)
    model = next(data for name, data in results.items() if name.endswith(ending))
    with shelf.look(f"same{ending[1:]}", (ending, model), results) as seen:
        found = views(seen)
        assert apart(found.dropped, reference.dropped) < 3
        assert coloured(found.dropped) < 0.02
        if ending == ".stl":
            assert coloured(found.result) < 0.02
        else:
            assert apart(found.result, reference.result) < 8
        turned(seen)
        assert seen.serious() == []


def test_an_fbx_with_another_axis_up_stands(shelf: Shelf, reference: Views) -> None:
    """It says which one; its texture lies beside it, under a path of another machine."""
    model = fbx(MESH, r"C:\work\Paint.PNG", z_up=True, embedded=False)
    results = {"model.fbx": model, "paint.png": results_in(".obj", MESH)["texture_diffuse.png"]}
    with shelf.look("upright", (".fbx", model), results) as seen:
        found = views(seen)
        assert apart(found.result, reference.result) < 8
        assert apart(found.dropped, reference.dropped) < 3


def test_a_dropped_stl_stands_as_the_result_does(shelf: Shelf, reference: Views) -> None:
    """Its format does not say that its z axis is up."""
    mesh = trimesh.load(SAMPLES / "suzi.glb", force="mesh")
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
    with shelf.look("lying", (".stl", mesh.export(None, "stl")), GLB) as seen:
        assert apart(views(seen).dropped, reference.dropped) < 8


@pytest.mark.parametrize("name", ["blender.fbx", "blender.obj", "blender-ascii.stl", "blender.usdz", "three.usdz"])
def test_what_programs_export_is_shown(name: str, shelf: Shelf) -> None:
    """In the forms that these programs write by default."""
    data = (EXPORTED / name).read_bytes()
    with shelf.look(name.replace(".", "-"), (f".{name.rpartition('.')[2]}", data), {name: data}) as seen:
        assert seen.wait_for_model() == "shown"
        turned(seen)


def test_the_dropped_model_is_grey(shelf: Shelf) -> None:
    """Whatever it is painted with: here its points are red."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    ball.visual.vertex_colors = (255, 0, 0, 255)
    with shelf.look("red", (".glb", ball.export(None, "glb")), GLB) as seen:
        found = views(seen)
        assert coloured(found.dropped) < 0.02
        assert apart(found.dropped, found.result) > 3


BROKEN = {
    ".obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 7 8 9\n",
    ".stl": bytes(80) + b"\xff\xff\xff\xff" + bytes(50),
    ".fbx": b"Kaydara FBX Binary  \0\x1a\0" + b"\xe8\x1c\0\0" + b"\xff" * 4000,
    ".usdz": b"PK\x03\x04" + bytes(200),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("how", ["cut off", "hostile"])
def test_a_damaged_result_leaves_the_picture(ending: str, how: str, shelf: Shelf) -> None:
    """And says what to do; the other model of the set can be chosen."""
    whole = next(data for name, data in results_in(ending, MESH).items() if name.endswith(ending))
    model = BROKEN[ending] if how == "hostile" else whole[:3000]
    results = {f"broken{ending}": model, "whole.glb": GLB["base_basic_pbr.glb"]}
    with shelf.look(f"{how[:3]}{ending[1:]}", (ending, whole), results) as seen:
        assert seen.wait_for_model() == "failed"
        problem = seen.page.get_by_role("alert").filter(has_text="cannot be shown here")
        assert problem.is_visible()
        assert seen.page.get_by_role("img", name="Picture of").is_visible()
        assert seen.page.get_by_role("link", name="Download the model").is_visible()
        assert not seen.page.get_by_role("button", name="Turn to the front").is_visible()
        seen.page.get_by_label("Model", exact=True).select_option(label="whole.glb")
        assert seen.wait_for_model() == "shown"
        assert not problem.is_visible()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_dropped_model_leaves_the_result(ending: str, shelf: Shelf) -> None:
    """There is nothing to compare with."""
    with shelf.look(f"given{ending[1:]}", (ending, BROKEN[ending]), GLB) as seen:
        assert seen.wait_for_model() == "shown"
        seen.page.get_by_role("button", name="Compare with the dropped model").click()
        seen.page.get_by_role("alert").filter(has_text="there is nothing to compare with").wait_for()
        assert seen.page.locator("model-viewer").count() == 1


ELSEWHERE = (
    "http://127.0.0.2/a.png",
    "//127.0.0.2/b.png",
    "../../../../api/v1/sets",
    "/api/v1/sets",
    "blob:http://127.0.0.2/c",
    "data:text/html,d",
)


def test_only_the_files_of_the_set_are_read(shelf: Shelf) -> None:
    """Whatever names there are in an OBJ, its MTL and an FBX: no other host and no other page is asked."""
    lines = [
        f"newmtl m{i}\n{key} {name}\n" for i, name in enumerate(ELSEWHERE) for key in ("map_Kd", "map_Pr", "map_Ke")
    ]
    libraries = "".join(f"mtllib {name}\n" for name in (*ELSEWHERE, "http://127.0.0.2/Own.mtl"))
    faces = "".join(f"usemtl m{i}\nf 1 2 3\n" for i in range(len(ELSEWHERE)))
    results = {
        "hostile.obj": f"{libraries}v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\n{faces}".encode(),
        "own.mtl": "".join(lines).encode(),
        "other.mtl": b"newmtl m0\n",
    }
    results |= {f"hostile{i}.fbx": fbx(MESH, name, embedded=False) for i, name in enumerate(ELSEWHERE)}
    with shelf.look("hostile", (".obj", results["hostile.obj"]), results) as seen:
        asked: list[str] = []
        seen.page.context.on("request", lambda request: asked.append(request.url.partition("/files/")[2]))
        assert seen.wait_for_model() == "shown"
        for name in (*(name for name in results if name.endswith(".fbx")), "hostile.obj"):
            seen.page.get_by_label("Model", exact=True).select_option(label=name)
            assert seen.wait_for_model() == "shown"
        assert set(filter(None, asked)) == {f"results/{name}" for name in results if name != "other.mtl"}


def test_a_model_that_is_converted_is_large_sooner(shelf: Shelf) -> None:
    """It waits until somebody asks for it, with the picture in its place."""
    results = results_in(".obj", MESH)
    results["base.obj"] += b"#".ljust(1000, b"-").ljust(1001, b"\n") * 40_000
    with shelf.look("large", (".obj", BROKEN[".obj"]), results) as seen:
        load = seen.page.get_by_role("button", name="Load it (4")
        load.wait_for()
        assert seen.page.get_by_role("img", name="Picture of").is_visible()
        assert seen.serious() == []
        load.click()
        assert seen.wait_for_model() == "shown"
        until(lambda: coloured(seen.picture(STAGE)) > 0.1, "the texture is not seen")
