"""What trimesh does not read of OBJ, MTL and PLY files, found by their keywords."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from rodin_watchd_plugins.convert_mesh.images import opened

UNREADABLE: Final = "textures that cannot be read"

_SURFACES: Final = "curves and surfaces"
_HIGHLIGHTS: Final = "specular highlights"
_GROUPS: Final = "groups"
_SMOOTHING: Final = "smoothing groups"

_OBJ: Final[Mapping[str, str]] = {
    **dict.fromkeys(("p", "l"), "points and lines"),
    **dict.fromkeys(("cstype", "curv", "curv2", "surf", "vp", "bzp", "bsp", "cdp", "cdc", "res"), _SURFACES),
}
_MTL_READ: Final = frozenset({"newmtl", "kd", "ka", "d", "tr", "illum", "pr", "pm", "ke"})
_MTL_TEXTURES: Final = frozenset({"map_kd", "map_pr", "map_pm", "map_ke", "norm"})
_MTL: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ks", "ns", "map_ks", "map_ns"), _HIGHLIGHTS),
    **dict.fromkeys(("bump", "map_bump"), "bump map"),
    **dict.fromkeys(("disp", "map_disp"), "displacement map"),
    **dict.fromkeys(("refl", "map_refl"), "reflection map"),
    **dict.fromkeys(("pc", "pcr", "map_pc", "map_pcr"), "clear coat"),
    **dict.fromkeys(("ps", "map_ps"), "sheen"),
    **dict.fromkeys(("aniso", "anisor"), "anisotropy"),
    "tf": "transmission filter",
    "ni": "index of refraction",
    "map_ka": "ambient texture",
    "map_d": "opacity texture",
}
_USUAL: Final[Mapping[str, frozenset[float]]] = {
    "ks": frozenset({0.0}),
    "ns": frozenset({0.0}),
    "ni": frozenset({1.0, 1.5}),
}
"""Numbers that say nothing: no highlights, and the refraction that glTF takes where nothing is said."""


def of_obj(data: bytes, beside: Callable[[str], bytes]) -> Iterator[str]:
    """Give what is lost of an OBJ file and its MTL files; `beside` gives a file that they name, or raises OSError."""
    said: dict[str, set[str]] = {}
    for words in _lines(data):
        said.setdefault(words[0].lower(), set()).add(words[1] if len(words) > 1 else "")
    yield from (what for key, what in _OBJ.items() if key in said)
    if len(said.get("g", ())) > 1:
        yield _GROUPS
    if "vn" not in said and said.get("s", set()) - {"0", "off", ""}:
        yield _SMOOTHING
    names = set()
    for library in said.get("mtllib", ()):
        try:
            statements = list(_lines(beside(library)))
        except OSError:
            yield "materials in a file that is not there"
            return
        names |= {words[1] for words in statements if len(words) > 1 and words[0].lower() == "newmtl"}
        yield from _of_mtl(statements, beside)
    if said.get("usemtl", set()) - names:
        yield "materials that are not there"


def _of_mtl(statements: list[list[str]], beside: Callable[[str], bytes]) -> Iterator[str]:
    color = ""
    for words in statements:
        key, rest = words[0].lower(), words[1] if len(words) > 1 else ""
        if key in _MTL_TEXTURES:
            color = rest if key == "map_kd" else color
            if not _is_image(rest, beside):
                yield UNREADABLE
        elif key == "map_d" and rest == color:
            continue
        elif key not in _MTL_READ and not _numbers(rest) <= _USUAL.get(key, frozenset()):
            yield _MTL.get(key, f"MTL statement {key}")


def _is_image(name: str, beside: Callable[[str], bytes]) -> bool:
    try:
        opened(beside(name))
    except OSError:
        return False
    return True


def _numbers(text: str) -> set[float]:
    """Return the numbers of a statement; of one with other words as well, what equals no number."""
    try:
        return {float(word) for word in text.split()}
    except ValueError:
        return {float("nan")}


def _lines(data: bytes) -> Iterator[list[str]]:
    """Give the keyword of each line, and the rest of it."""
    for line in data.decode("utf-8", "replace").splitlines():
        words = line.strip().split(None, 1)
        if words and not words[0].startswith("#"):
            yield words


# ---- PLY ------------------------------------------------------------------------------------------------------------


_ELEMENTS: Final = frozenset({"vertex", "face"})
_VERTEX: Final = frozenset(
    ("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "alpha", "s", "t", "u", "v", "texture_u", "texture_v")
)
_FACE: Final = frozenset({"vertex_indices", "vertex_index", "texcoord", "red", "green", "blue", "alpha"})


def of_ply(data: bytes, beside: Callable[[str], bytes]) -> Iterator[str]:
    """Give what is lost of a PLY file, by its head; `beside` is as above."""
    element, textures = "", list[str]()
    for words in _lines(data.partition(b"end_header")[0]):
        key, rest = words[0], words[1].split() if len(words) > 1 else [""]
        if key == "element":
            element = rest[0]
            if element not in _ELEMENTS and rest[1:] != ["0"]:
                yield f"PLY element {element}"
        elif key == "property" and element in _ELEMENTS and rest[-1] not in (_VERTEX if element == "vertex" else _FACE):
            yield f"custom {element} attributes"
        elif key == "comment" and rest[0].lower() == "texturefile":
            textures.append(words[1].split(None, 1)[-1].strip())
    if len(textures) > 1:
        yield "second texture"
    if any(not _is_image(name, beside) for name in textures):
        yield UNREADABLE


def without_edges(data: bytes) -> bytes:
    """Return a PLY file whose edges have another name: trimesh would make curves of them, and needs scipy for that."""
    head, end, rest = data.partition(b"end_header")
    return head.replace(b"element edge ", b"element line ") + end + rest


def of_meshes(meshes: Iterable[Any]) -> Iterator[str]:
    """Give what is lost of meshes that trimesh has read."""
    for mesh in meshes:
        if mesh.visual.kind == "face" or mesh.face_attributes.get("stl", mesh.faces[:0]).any():
            yield "face colors"
