"""GLB, USDZ and FBX: whether models in binary containers are whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rodin_watchd.core.formats.sniff import FBX_MODEL, is_text, is_usd_layer, sniff
from rodin_watchd.core.formats.source import STEP_LIMIT, begun, misfit, proved_by_length
from rodin_watchd.core.formats.verdict import FOLLOWED, WHOLE, BreaksOffError, undecided, unfinished, wrong
from rodin_watchd.core.names import printable

if TYPE_CHECKING:
    from rodin_watchd.core.formats.source import Source
    from rodin_watchd.core.formats.verdict import Verdict

_GLB_HEADER_BYTES: Final = 12
_GLB_CHUNK_HEADER_BYTES: Final = 8
_GLB_JSON_AT: Final = 16
_GLB_JSON: Final = b"JSON"

_ZIP_MEMBER: Final = b"PK\x03\x04"
_ZIP_NAME_AT: Final = 30
_ZIP_DIRECTORY: Final = b"PK\x01\x02"
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 22
_ZIP_COMMENT_LIMIT: Final = 0xFFFF
_ZIP64: Final = 0xFFFFFFFF

_FBX_MAGIC: Final = b"Kaydara FBX Binary  \0"
_FBX_NODES_AT: Final = 27
_FBX_LOOK_BYTES: Final = 64
_FBX_END: Final = bytes.fromhex("f85a8c6adef5d97eece90ce3758f290b")


def probe_glb(source: Source) -> Verdict:
    """Compare the length in the header with the file's and walk the chunks (glTF 2.0 specification, 4.4)."""
    bad = misfit(source, b"glTF", "a GLB model") or _other_glb_version(source.number(4))
    if bad:
        return bad
    length = source.number(8)
    if length < _GLB_HEADER_BYTES + _GLB_CHUNK_HEADER_BYTES:
        raise BreaksOffError(8)  # the length is written last
    verdict = proved_by_length(source, length)
    return verdict if source.size < length else _glb_chunks(source, length) or verdict


def _other_glb_version(version: int) -> Verdict | None:
    if version == 0:
        raise BreaksOffError(4)
    return None if version == 2 else wrong(f"this is a GLB model of version {version}, not 2: export it as glTF 2.0")


def _glb_chunks(source: Source, length: int) -> Verdict | None:
    first_kind = source.at(_GLB_JSON_AT, 4)
    if first_kind != _GLB_JSON:
        _ask_written(first_kind, _GLB_JSON_AT)
        return wrong("this is a damaged GLB model: it does not begin with its JSON part")
    offset = _GLB_HEADER_BYTES
    for _ in range(STEP_LIMIT):
        if offset == length:
            return None
        if offset > length or source.number(offset, _GLB_CHUNK_HEADER_BYTES) == 0:
            break
        offset += _GLB_CHUNK_HEADER_BYTES + source.number(offset)
    raise BreaksOffError(min(offset, source.size))


def _ask_written(data: bytes, offset: int) -> None:
    """Break off where a zero shows that a preallocated copy has not been filled so far."""
    if not data or b"\0" in data:
        raise BreaksOffError(offset)


def probe_usdz(source: Source) -> Verdict:
    """Ask for a stored USD layer first and a consistent directory last (USDZ specification; ZIP APPNOTE, 4.3)."""
    bad = misfit(source, _ZIP_MEMBER, "a USDZ model") or _other_archive(source)
    return bad or _zip_directory(source)


def _other_archive(source: Source) -> Verdict | None:
    name = source.at(_ZIP_NAME_AT, source.number(26, 2))
    if not is_usd_layer(name):
        _ask_written(name, _ZIP_NAME_AT)
        shown = printable(name.decode("utf-8", "surrogateescape"))
        return wrong(f'this is a ZIP archive, not a USDZ model: its first file is "{shown}"')
    if source.number(8, 2) != 0:
        return wrong(
            "this is a ZIP archive, not a USDZ model: its files are compressed; export it again as .usdz or .glb"
        )
    return None


def _zip_directory(source: Source) -> Verdict:
    tail = source.tail(_ZIP_END_BYTES + _ZIP_COMMENT_LIMIT)
    found = tail.rfind(_ZIP_END)
    if found < 0:
        return unfinished("its directory is missing, which comes last")
    end = source.size - len(tail) + found
    size, start = source.number(end + 12), source.number(end + 16)
    if start == _ZIP64:
        return undecided("it is a large ZIP archive (ZIP64), whose end is not checked")
    if start + size != end or source.at(start, 4) != _ZIP_DIRECTORY:
        raise BreaksOffError(min(start, source.size))
    after = end + _ZIP_END_BYTES + source.number(end + 20, 2)
    if after > source.size:
        raise BreaksOffError(source.size)
    return WHOLE if after == source.size else FOLLOWED


def probe_fbx(source: Source) -> Verdict:
    """Ask a binary FBX for its footer; an ASCII one has no end that could be asked for.

    Autodesk publishes no specification: these facts are what readers and writers agree on. Where a writer left the
    footer out, the chain of top-level nodes must at least reach its closing empty record.
    """
    bad = misfit(source, _FBX_MAGIC, FBX_MODEL)
    if bad:
        return _ascii_fbx(source) or bad
    return WHOLE if source.tail(len(_FBX_END)) == _FBX_END else _fbx_nodes(source)


def _ascii_fbx(source: Source) -> Verdict | None:
    written = source.head.rstrip(b"\0")
    if written and b"; FBX".startswith(written):
        return begun(len(written))
    if sniff(written) != FBX_MODEL or not is_text(written):
        return None
    if source.tail(1) == b"\0":
        return unfinished("its last bytes have not been written yet")
    return undecided("an ASCII FBX does not say where it ends")


def _closes_fbx(source: Source, offset: int) -> bool:
    """Tell the closing empty record (13 or 25 zeros, then a footer or nothing) from the zeros of a preallocated copy."""
    rest = source.at(offset, min(_FBX_LOOK_BYTES, source.size - offset))
    return len(rest) < _FBX_LOOK_BYTES or any(rest)


def _fbx_nodes(source: Source) -> Verdict:
    """Follow the end offsets; from version 7500 on they have 8 bytes, of which 4 do for any file below 4 GiB."""
    offset = _FBX_NODES_AT
    for _ in range(STEP_LIMIT):
        end = source.number(offset)
        if end == 0 and offset > _FBX_NODES_AT and _closes_fbx(source, offset):
            return undecided("its closing mark is missing, which some programs do not write")
        if end <= offset:
            break
        offset = end
    raise BreaksOffError(min(offset, source.size))
