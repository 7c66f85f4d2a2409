"""Which files are taken, and by what the others are known: what a person calls them, and what to do instead.

One table for names and for contents: a HEIC image is the same to an artist under `.heic` and under `.jpg`.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_EXTENSIONS: Final = frozenset({".glb", ".obj", ".stl", ".fbx", ".usdz"})
"""Models that are taken (API contract, Generate Texture: one binary 3D model file)."""

IMAGE_EXTENSIONS: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""Reference images that are taken."""

FBX_MODEL: Final = "an FBX model"
STL_MODEL: Final = "an STL model"
JPEG_LS_IMAGE: Final = "a JPEG-LS image"


class FileKind(NamedTuple):
    """A kind of file: its name with the article, what to do with it, its extensions, and the beginnings of its content."""

    phrase: str
    advice: str
    extensions: tuple[str, ...] = ()
    magics: tuple[bytes, ...] = ()


_AS_GLB: Final = "export it as .glb"
_AS_IMAGE: Final = "export it as .png or .jpg"
_AS_JPG: Final = "rename it to .jpg"

_TAKEN: Final = (
    FileKind("a PNG image", "rename it to .png", (), (b"\x89PNG\r\n\x1a\n",)),
    FileKind(JPEG_LS_IMAGE, _AS_IMAGE, (".jls",), (b"\xff\xd8\xff\xf7",)),  # before JPEG, whose beginning it shares
    FileKind("a JPEG image", _AS_JPG, (), (b"\xff\xd8\xff",)),
    FileKind("a WebP image", "rename it to .webp"),
    FileKind("a GLB model", "rename it to .glb", (), (b"glTF",)),
    FileKind(FBX_MODEL, "rename it to .fbx", (), (b"Kaydara FBX Binary",)),
    FileKind(STL_MODEL, "rename it to .stl"),
    FileKind("a USDZ model", "rename it to .usdz"),
)

_IMAGES: Final = (
    FileKind(
        "a JPEG image",
        _AS_JPG,
        (".insp", ".jfi", ".jfif", ".jif", ".jpe", ".jpeg_large", ".jpg_large", ".jps", ".mpo", ".pjp", ".pjpeg"),
    ),
    FileKind("a PNG image", "rename it to .png", (".apng", ".png_large")),
    FileKind("an AVIF image", _AS_IMAGE, (".avif", ".avifs")),
    FileKind("a HEIC image", _AS_IMAGE, (".heic", ".heics", ".heif", ".heifs", ".hif")),
    FileKind(
        "a JPEG XL image",
        _AS_IMAGE,
        (".jxl",),
        (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
    ),
    FileKind(
        "a JPEG 2000 image",
        _AS_IMAGE,
        (".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jph", ".jpm", ".jpx"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    ),
    FileKind("a JPEG XR image", _AS_IMAGE, (".hdp", ".jxr", ".wdp"), (b"II\xbc\x01", b"II\xbc\0")),
    FileKind("a TIFF image", _AS_IMAGE, (".tif", ".tiff", ".tx"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    FileKind("a GIF image", _AS_IMAGE, (".gif",), (b"GIF87a", b"GIF89a")),
    FileKind("a BMP image", _AS_IMAGE, (".bmp", ".dib")),
    FileKind("an icon", _AS_IMAGE, (".cur", ".icns", ".ico"), (b"\0\0\1\0", b"icns")),
    FileKind(
        "a Targa image", _AS_IMAGE, (".icb", ".tga", ".vda", ".vst"), (b"\0\0\2" + bytes(5), b"\0\0\n" + bytes(5))
    ),
    FileKind("a DDS texture", _AS_IMAGE, (".dds",), (b"DDS \x7c\0\0\0",)),
    FileKind(
        "a KTX texture",
        _AS_IMAGE,
        (".basis", ".ktx", ".ktx2"),
        (b"\xabKTX 11\xbb\r\n\x1a\n", b"\xabKTX 20\xbb\r\n\x1a\n"),
    ),
    FileKind("an OpenEXR image", _AS_IMAGE, (".exr",), (b"v/1\x01",)),
    FileKind("a Radiance HDR image", _AS_IMAGE, (".hdr", ".rgbe"), (b"#?RADIANCE", b"#?RGBE")),
    FileKind("a film scan", _AS_IMAGE, (".cin", ".dpx"), (b"\x80\x2a\x5f\xd7", b"SDPX", b"XPDS")),
    FileKind("a PCX image", _AS_IMAGE, (".pcx",), (b"\n\x05\x01",)),
    FileKind("a Netpbm image", _AS_IMAGE, (".pam", ".pbm", ".pfm", ".pgm", ".pnm", ".ppm")),
    FileKind("an SGI image", _AS_IMAGE, (".bw", ".rgb", ".rgba", ".sgi"), (b"\x01\xda\0\1", b"\x01\xda\1\1")),
    FileKind("a QOI image", _AS_IMAGE, (".qoi",), (b"qoif",)),
    FileKind("a BPG image", _AS_IMAGE, (".bpg",), (b"BPG\xfb",)),
    FileKind("an SVG drawing", _AS_IMAGE, (".svg", ".svgz")),
    FileKind("a PostScript drawing", _AS_IMAGE, (".eps", ".ps"), (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    FileKind("an Illustrator document", _AS_IMAGE, (".ai",)),
    FileKind("a Photoshop document", _AS_IMAGE, (".psb", ".psd"), (b"8BPS",)),
    FileKind("a GIMP document", _AS_IMAGE, (".xcf",), (b"gimp xcf",)),
    FileKind("a Krita document", _AS_IMAGE, (".kra", ".ora")),
    FileKind("a Clip Studio document", _AS_IMAGE, (".clip",), (b"CSFCHUNK",)),
    FileKind("a Procreate document", _AS_IMAGE, (".procreate",)),
    FileKind("a PaintTool SAI document", _AS_IMAGE, (".sai", ".sai2")),
    FileKind("a Paint.NET document", _AS_IMAGE, (".pdn",), (b"PDN3",)),
    FileKind("an Affinity document", _AS_IMAGE, (".afdesign", ".afphoto"), (b"\0\xffKA",)),
    FileKind("a Pixelmator document", _AS_IMAGE, (".pxd", ".pxm")),
    FileKind("an IFF image", _AS_IMAGE, (".iff", ".lbm")),
    FileKind(
        "a camera's raw image",
        _AS_IMAGE,
        (
            *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mrw", ".nef"),
            *(".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
        ),
        (b"FUJIFILMCCD-RAW", b"FOVb", b"IIRO", b"IIRS", b"IIU\0", b"\0MRM"),
    ),
)

_MODELS: Final = (
    FileKind("a glTF text file", "export it as .glb, because a .gltf keeps its data in other files", (".gltf",)),
    FileKind("a USD file", "export it as .usdz or .glb", (".usd",)),
    FileKind("a text USD file", "export it as .usdz or .glb", (".usda",), (b"#usda",)),
    FileKind("a binary USD file", "export it as .usdz or .glb", (".usdc",), (b"PXR-USDC",)),
    FileKind("a Blender file", _AS_GLB, (".blend",), (b"BLENDER",)),
    FileKind("a Maya scene", _AS_GLB, (".ma", ".mb"), (b"//Maya ASCII",)),
    FileKind("a scene of 3ds Max", _AS_GLB, (".max",)),
    FileKind("a Cinema 4D scene", _AS_GLB, (".c4d",)),
    FileKind("a Houdini scene", _AS_GLB, (".bgeo", ".hip", ".hiplc", ".hipnc")),
    FileKind("a ZBrush document", _AS_GLB, (".zbr", ".zpr", ".ztl")),
    FileKind("a Substance document", _AS_GLB, (".sbs", ".sbsar", ".spp")),
    FileKind("a Rhino model", _AS_GLB, (".3dm",), (b"3D Geometry File Format",)),
    FileKind("a SketchUp model", _AS_GLB, (".skp",), (b"\xff\xfe\xff\x0eS\0k\0e\0t\0c\0h\0U\0p\0",)),
    FileKind("a Revit model", _AS_GLB, (".rfa", ".rvt")),
    FileKind("a LightWave model", _AS_GLB, (".lwo", ".lws", ".lxo")),
    FileKind("an Alembic file", _AS_GLB, (".abc",), (b"Ogawa",)),
    FileKind("a Collada model", _AS_GLB, (".dae",)),
    FileKind("a PLY model", _AS_GLB, (".ply",), (b"ply\n", b"ply\r")),
    FileKind("an OFF model", _AS_GLB, (".off",), (b"OFF\n", b"OFF\r", b"COFF\n")),
    FileKind("a 3MF model", _AS_GLB, (".3mf", ".amf")),
    FileKind("a model of 3D Studio", _AS_GLB, (".3ds",)),
    FileKind("a Draco model", _AS_GLB, (".drc",), (b"DRACO",)),
    FileKind("a VRML model", _AS_GLB, (".vrml", ".wrl", ".x3d", ".x3db", ".x3dv"), (b"#VRML", b"#X3D")),
    FileKind("a VRM avatar", _AS_GLB, (".vrm",)),
    FileKind("a model of MikuMikuDance", _AS_GLB, (".pmd", ".pmx"), (b"PMX ", b"Pmd")),
    FileKind(
        "a CAD model",
        _AS_GLB,
        (
            *(".3dxml", ".catpart", ".dgn", ".dwg", ".dxf", ".f3d", ".iam", ".ifc", ".iges", ".igs", ".ipt", ".jt"),
            *(".prt", ".sat", ".sldasm", ".sldprt", ".step", ".stp", ".u3d", ".x_b", ".x_t"),
        ),
        (b"ISO-10303-21", b"AC10"),
    ),
    FileKind("a volume", "export a mesh as .glb", (".vdb", ".vox"), (b"VOX ", b" BDV")),
    FileKind("a motion capture", "export a model as .glb", (".bvh",), (b"HIERARCHY",)),
    FileKind("an asset of a game engine", _AS_GLB, (".uasset", ".umap", ".unitypackage"), (b"\xc1\x83\x2a\x9e",)),
    FileKind("a 3D model", _AS_GLB, (".ac", ".ase", ".b3d", ".ctm", ".ms3d", ".reality", ".x")),
)

_OTHERS: Final = (
    FileKind(
        "a Git LFS pointer",
        "the file itself is still on the Git server; run `git lfs pull` in the repository, and drop the file that comes",
        (),
        (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/"),
    ),
    FileKind("a shortcut of Windows", "copy the file that it leads to", (), (b"L\0\0\0\x01\x14\x02\0",)),
    FileKind("an alias of macOS", "copy the file that it leads to", (), (b"book\0\0\0\0mark\0\0\0\0",)),
    FileKind("a companion file of macOS", "copy the file itself", (), (b"\0\5\x16\7\0\2\0\0",)),
    FileKind("a PDF document", "export a page as .png", (), (b"%PDF-",)),
    FileKind("an MP4 video", "save one of its pictures as .png"),
    FileKind("a QuickTime video", "save one of its pictures as .png"),
    FileKind("a video", "save one of its pictures as .png", (), (b"\x1a\x45\xdf\xa3",)),
    FileKind("a 7-Zip archive", "unpack it", (), (b"7z\xbc\xaf\x27\x1c",)),
    FileKind("a RAR archive", "unpack it", (), (b"Rar!\x1a\x07",)),
    FileKind("a gzip archive", "unpack it", (), (b"\x1f\x8b\x08",)),
    FileKind("a Zstandard archive", "unpack it, or save the file without compression", (), (b"\x28\xb5\x2f\xfd",)),
    FileKind("a ZIP archive", "unpack it"),
    FileKind("an empty ZIP archive", "", (), (b"PK\x05\x06",)),
    FileKind(
        "an Office document, or a scene of 3ds Max",
        "export it as .glb or .png",
        (),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",),
    ),
)

FILE_KINDS: Final = (*_TAKEN, *_IMAGES, *_MODELS, *_OTHERS)
"""All kinds; of several with one beginning the first one counts."""


def _refused(kinds: tuple[FileKind, ...]) -> Mapping[str, FileKind]:
    return MappingProxyType({extension: kind for kind in kinds for extension in kind.extensions})


REFUSED_MODEL_EXTENSIONS: Final = _refused(_MODELS)
"""3D files that are not taken, by extension."""

REFUSED_IMAGE_EXTENSIONS: Final = _refused((*_TAKEN, *_IMAGES))
"""Pictures that are not taken under these names, by extension."""

_ADVICE: Final = {kind.phrase: kind.advice for kind in reversed(FILE_KINDS)}


def advice_of(phrase: str) -> str:
    """Return what to do with a file of a kind, given by its phrase; "" where nothing is known."""
    return _ADVICE.get(phrase, "")


# ---- What a file really is, by its first bytes -----------------------------------------------------------------------


_MAGICS: Final = tuple((magic, kind.phrase) for kind in FILE_KINDS for magic in kind.magics)
_IFF_FORMS: Final = {
    **dict.fromkeys((b"ILBM", b"PBM "), "an IFF image"),
    **dict.fromkeys((b"LWO2", b"LWO3", b"LWOB", b"LXOB"), "a LightWave model"),
}
_MAYA_FORMS: Final = (b"FOR4", b"FOR8")
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\f\r"))
_USD_LAYERS: Final = (b".usd", b".usda", b".usdc")


def sniff(head: bytes) -> str | None:
    """Name, with its article, what the first bytes of a file (1 KiB or more, if there) prove it to be.

    None where they prove nothing, as with a binary STL, which has no magic. Repeatable, never raises. Facts: the formats' own specifications.
    """
    by_magic = (phrase for magic, phrase in _MAGICS if head.startswith(magic))
    return next(by_magic, None) or _container(head) or (_text(head) if is_text(head) else None)


def is_text(data: bytes) -> bool:
    """Return whether the bytes hold no control characters but white space: text in any encoding that extends ASCII."""
    return len(data.translate(None, _CONTROLS)) == len(data)


def is_usd_layer(name: bytes) -> bool:
    """Return whether a ZIP member's name is that of a USD layer (USDZ specification, Layout)."""
    return name.lower().endswith(_USD_LAYERS)


def _container(head: bytes) -> str | None:
    """Name what has its kind not in its first bytes alone."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP image"
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "a BMP image"
    if head[:1] == b"P" and head[1:2] in _NETPBM and head[2:3].isspace():
        return "a Netpbm image"
    if head[4:8] == b"ftyp":
        return _media(head[8:12], head[16 : int.from_bytes(head[:4], "big")])
    if head.startswith(b"PK\x03\x04"):
        name_bytes = int.from_bytes(head[26:28], "little")
        return "a USDZ model" if is_usd_layer(head[30 : 30 + name_bytes]) else "a ZIP archive"
    return _iff(head)


_NETPBM: Final = frozenset({b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"f", b"F"})


def _iff(head: bytes) -> str | None:
    if head.startswith(_MAYA_FORMS):
        return "a Maya scene"
    return _IFF_FORMS.get(head[8:12]) if head.startswith(b"FORM") else None


def _media(brand: bytes, others: bytes) -> str:
    """Name an ISO media file by its brands (ISO/IEC 14496-12, 4.3): the first one may be that of all still images."""
    if {b"avif", b"avis"} & {brand, others[:4], others[4:8], others[8:12], others[12:16]}:
        return "an AVIF image"
    if brand[:2] in {b"he", b"mi", b"ms"} or b"heic" in others:
        return "a HEIC image"
    if brand == b"crx ":
        return "a camera's raw image"
    return "a QuickTime video" if brand == b"qt  " else "an MP4 video"


def _text(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith((b"<?xml", b"<svg", b"<!doctype svg", b"<collada", b"<!--")):
        return _xml(text)
    if text.startswith(b"{"):
        return "a glTF text file" if b'"asset"' in text or b'"buffers"' in text else "a JSON file"
    if _FBX_TEXT.match(text):
        return FBX_MODEL
    return STL_MODEL if text.startswith(b"solid") and b"facet" in text else None


_FBX_TEXT: Final = re.compile(rb"; ?fbx|(?:;[^\n]*+\n\s*+)*+fbxheaderextension")


def _xml(text: bytes) -> str:
    if b"<svg" in text:
        return "an SVG drawing"
    if b"<html" in text:
        return "an HTML page"
    return "a Collada model" if b"<collada" in text else "an XML file"
