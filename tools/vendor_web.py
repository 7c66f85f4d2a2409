"""Renew what the page of the web brings along from npm: the 3D viewer with its decoders and readers, uploads in pieces, the licences.

The page asks no other host and needs no build step: these files are in the tree. A version is raised here, with the digest that
`npm view NAME@VERSION dist.integrity` prints; the tool fetches each package by npm, compares it with its digest, and writes the
files and their sums. `--check` needs no network: it compares the files with their sums.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "rodin_watchd" / "web" / "static" / "vendor"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Package:
    """A package of npm: which version, its digest, and what is taken of it."""

    name: str
    version: str
    integrity: str
    terms: str
    """Its licences, as SPDX names them."""

    what: str
    files: Mapping[str, str]
    """The path in the package: the path in vendor/."""


BASIS = "basis/basis_transcoder.js"
VIEWER = "model-viewer.min.js"
FBX = "three/loaders/FBXLoader.js"
ADDONS = (
    "curves/NURBSCurve.js",
    "curves/NURBSUtils.js",
    "exporters/GLTFExporter.js",
    "loaders/FBXLoader.js",
    "loaders/MTLLoader.js",
    "loaders/OBJLoader.js",
    "loaders/STLLoader.js",
    "loaders/USDLoader.js",
    "loaders/usd/USDAParser.js",
    "loaders/usd/USDCParser.js",
    "loaders/usd/USDComposer.js",
)
"""What reads models in other formats and writes them as GLB, in three's folder of addons."""

PACKAGES = (
    Package(
        "@google/model-viewer",
        "4.4.0",
        "sha512-8z1SB5sPlzKoak5mdx/D31brBakPYm3Qi31EfAucHAUrtrHHCbabypkKvSwReYhUpPaxyJ46oT47uWE/hrs1Zw==",
        "Apache-2.0",
        "the 3D viewer; it draws by three, and its bundle contains the six packages below three",
        {"dist/model-viewer-module.min.js": VIEWER, "LICENSE": "licences/model-viewer.txt"},
    ),
    Package(
        "three",
        "0.183.2",
        "sha512-di3BsL2FEQ1PA7Hcvn4fyJOlxRRgFYBpMTcyOgkwJIaDOdJMebEFPA+t98EvjuljDx4hNulAGwF6KIjtwI5jgQ==",
        "MIT, and Apache-2.0 for the decoders of Draco and Basis Universal that it has",
        "draws, and reads FBX, OBJ, STL and USDZ; three/, draco/ and basis/ are from this package",
        {
            "LICENSE": "licences/three.txt",
            "build/three.core.min.js": "three/three.core.min.js",
            "build/three.module.min.js": "three/three.module.min.js",
            **{f"examples/jsm/{name}": f"three/{name}" for name in ADDONS},
            "examples/jsm/libs/draco/gltf/draco_decoder.wasm": "draco/draco_decoder.wasm",
            "examples/jsm/libs/draco/gltf/draco_wasm_wrapper.js": "draco/draco_wasm_wrapper.js",
            "examples/jsm/libs/basis/basis_transcoder.js": BASIS,
            "examples/jsm/libs/basis/basis_transcoder.wasm": "basis/basis_transcoder.wasm",
        },
    ),
    Package(
        "lit",
        "3.3.3",
        "sha512-fycuvZg/hkpozL00lm1pEJH5nN/lr9ZXd6mJI2HSN4+Bzc+LDNdEApJ6HFbPkdFNHLvOplIIuJvxkS4XUxqirw==",
        "BSD-3-Clause",
        "renders the viewer's element",
        {"LICENSE": "licences/lit.txt"},
    ),
    Package(
        "@monogrid/gainmap-js",
        "3.7.3",
        "sha512-YjgdH65wZ9lQnzkVWerrR9FJR0JYhn3ahV7DJqDZVtIvR/kWv7XzFbMSIOFS/47+nWbZ5zFTRxsFhq0OX//SuA==",
        "MIT",
        "reads images for lighting",
        {"LICENSE": "licences/gainmap-js.txt"},
    ),
    Package(
        "meshoptimizer",
        "1.0.0",
        "sha512-xsmHsLUFiImOMBwFUqXLqYniaA5rJPZYhgJvyuBsk3cfMWJi8S3BPLkvU2KvYciAV3dwrON20GiiwQJ9eTO/uA==",
        "MIT",
        "decodes Meshopt",
        {"LICENSE.md": "licences/meshoptimizer.txt"},
    ),
    Package(
        "fflate",
        "0.8.3",
        "sha512-tbZNuJrLwGUp3zshBtdy4W+ORxZuIh8a5ilyIEQDC5rY1f3U20JMry0Ll3WBzU58EZKsEuJFXhb5gwv8CsPvgA==",
        "MIT",
        "packs and unpacks, also FBX and USDZ",
        {"esm/browser.js": "three/libs/fflate.module.js", "LICENSE": "licences/fflate.txt"},
    ),
    Package(
        "ktx-parse",
        "2.0.0",
        "sha512-PW38i6SBZagE7c4yCYru636ICCkhJ8FNjOzAdjGkC65BZ0gElQJvFenSGc62SHFj5Fg0ft+U38PPhMZsWYQLCg==",
        "MIT",
        "reads KTX2",
        {"LICENSE": "licences/ktx-parse.txt"},
    ),
    Package(
        "zstddec",
        "0.3.4",
        "sha512-3Y/NMP6MNdp9b0fWhjCUGiybog7RC3EbUSIJLWnfjylOvnbuGykeu4zYUuH4IRLy5xI7NytXTHN3CWQKIN3cSg==",
        "MIT AND BSD-3-Clause",
        "unpacks KTX2",
        {"LICENSE": "licences/zstddec.txt"},
    ),
    Package(
        "tus-js-client",
        "4.3.1",
        "sha512-ZLeYmjrkaU1fUsKbIi8JML52uAocjEZtBx4DKjRrqzrZa0O4MYwT6db+oqePlspV+FxXJAyFBc/L5gwUi2OFsg==",
        "MIT",
        "uploads in pieces; its bundle contains the four packages below",
        {"dist/tus.min.js": "tus.min.js", "LICENSE": "licences/tus-js-client.txt"},
    ),
    Package(
        "js-base64",
        "3.9.7",
        "sha512-UT2XYOCbXOXYoymbytretRDFnb6E6vYPqC1blehA/alnG6vRC0mNTQ6ijXYAPtiCG9o1FDNJXJvQtCwbChFDRQ==",
        "BSD-3-Clause",
        "encodes the names of files",
        {"LICENSE.md": "licences/js-base64.txt"},
    ),
    Package(
        "url-parse",
        "1.5.10",
        "sha512-WypcfiRhfeUP9vvF0j6rw0J3hrWrw6iZv3+22h6iRMJ/8z1Tj6XfLP4DsUix5MhMPnXpiHDoKyoZ/bdCkwBCiQ==",
        "MIT",
        "reads addresses",
        {"LICENSE": "licences/url-parse.txt"},
    ),
    Package(
        "requires-port",
        "1.0.0",
        "sha512-KigOCHcocU3XODJxsu8i/j8T9tzT4adHiecwORRQ0ZZFcp7ahwXuRU1m+yuO90C5ZUyGeGfocHDI14M3L3yDAQ==",
        "MIT",
        "reads addresses",
        {"LICENSE": "licences/requires-port.txt"},
    ),
    Package(
        "querystringify",
        "2.2.0",
        "sha512-FIqgj2EUvTa7R50u0rGsyTftzjYmv/a3hO345bZNrqabNqjtgiDMgmo4mkUjd+nzU5oF3dClKqFIPUKybUyqoQ==",
        "MIT",
        "reads addresses",
        {"LICENSE": "licences/querystringify.txt"},
    ),
)

# ---- what is changed in them ----------------------------------------------------------------------------------------

BARE = re.compile(rb"""(\bfrom ?)['"]three['"]""")
"""An import of three by its bare name, which no browser resolves in a worker: in vendor/, it has a path."""

CHANGES: Mapping[str, Sequence[tuple[str, str]]] = {
    FBX: (
        (
            "if ( 'UnitScaleFactor' in fbxTree.GlobalSettings ) {",
            "sceneGraph.userData.settings = fbxTree.GlobalSettings;\n\n\t\t\tif ( 'UnitScaleFactor' in sceneGraph.userData.settings ) {",
        ),
    ),
    BASIS: (
        (
            "newFunc(Function,args)(...closureArgs)",
            """function(...given){
if(given.length!==argCount-2)throwBindingError(`function ${humanName} called with ${given.length} arguments, expected ${argCount-2}`);
var destructors=needsDestructorStack?[]:null;
var wired=isClassMethodFunc?[argTypes[1]["toWireType"](destructors,this)]:[];
given.forEach((value,i)=>wired.push(argTypes[i+2]["toWireType"](destructors,value)));
var rv=cppInvokerFunc(cppTargetFunc,...wired);
if(needsDestructorStack)runDestructors(destructors);
else argTypes.slice(isClassMethodFunc?1:2).forEach((type,i)=>type.destructorFunction!==null&&type.destructorFunction(wired[i]));
if(returns)return argTypes[0]["fromWireType"](rv)}""",
        ),
        (
            "newFunc(Function,params)(...args)",
            """function(obj,func,destructorsRef,args){
var at=args;
var given=types.map(type=>{var value=type["readValueFromPointer"](at);at+=type["argPackAdvance"];return value});
var rv=kind===1?new func(...given):func.call(obj,...given);
if(!retType.isVoid)return emval_returnValue(retType,destructorsRef,rv)}""",
        ),
    ),
}
"""In a file of vendor/: a text that is there once, and what stands there instead.

FBXLoader reads the axes of a file, and does not return them. Emscripten's glue compiles JavaScript from strings, which the page's
Content-Security-Policy forbids (`unsafe-eval`); these closures do the same without that.
"""

NOTICE = """\
What the page has from others: the 3D viewer with its decoders and readers, and uploads in pieces. `python tools/vendor_web.py` wrote
these files from packages of npm. SHA256SUMS lists them, and licences/ has the text of each licence.

{packages}

Changed by the tool:

- {basis} compiles no JavaScript from strings any more.
- {fbx} also gives the settings of a file, which say what way is up.
- {viewer} and three/ import three by its path, not by its name.
"""


def run(*command: str | Path) -> str:
    """Run a command and return what it printed; it ends all when it fails."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def fetched(package: Package, folder: Path) -> Path:
    """Fetch a package by npm and return its archive. Raises ValueError when its digest is another one."""
    packed = run("npm", "pack", "--silent", "--pack-destination", folder, f"{package.name}@{package.version}")
    archive = folder / packed.split()[-1]
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        raise ValueError(
            f"{package.name}@{package.version}: its digest is sha512-{digest}, and not {package.integrity}"
        )
    return archive


def files_of(package: Package, archive: Path) -> Iterator[tuple[str, bytes]]:
    """Give the files that are taken of a package: the path in vendor/, the contents. Raises KeyError for one that is missing."""
    with tarfile.open(archive) as packed:
        for source, target in package.files.items():
            member = packed.extractfile(f"package/{source}")
            if member is None:
                raise KeyError(source)
            yield target, changed(target, member.read())


def changed(target: str, data: bytes) -> bytes:
    """Return a file with our changes. Raises ValueError when a place of them is not there exactly once."""
    three = "three/three.module.min.js" if target == VIEWER else "three/three.core.min.js"  # readers draw nothing
    data = BARE.sub(rf'\1"./{"../" * target.count("/")}{three}"'.encode(), data)
    for theirs, ours in CHANGES.get(target, ()):
        if data.count(theirs.encode()) != 1:
            raise ValueError(f"{target}: {theirs!r} is not there exactly once; look at what this version does instead")
        data = data.replace(theirs.encode(), ours.encode())
    return data


def notice() -> str:
    """Return what the files are and whose."""
    packages = "\n".join(f"- {one.name} {one.version} ({one.terms}): {one.what}." for one in PACKAGES)
    return NOTICE.format(packages=packages, basis=BASIS, fbx=FBX, viewer=VIEWER)


def renew(vendor: Path) -> None:
    """Write all files again, and their sums."""
    files = {"NOTICE": notice().encode()}
    with tempfile.TemporaryDirectory(prefix="rodin-watchd-vendor-") as folder:
        for package in PACKAGES:
            files.update(files_of(package, fetched(package, Path(folder))))
    shutil.rmtree(vendor, ignore_errors=True)
    for name, data in files.items():
        path = vendor / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    (vendor / SUMS).write_text(sums, encoding="utf-8")


def differences(vendor: Path) -> list[str]:
    """Return what is not as the tool wrote it."""
    lines = (line.split(maxsplit=1) for line in (vendor / SUMS).read_text(encoding="utf-8").splitlines())
    wanted = {name: digest for digest, name in lines}
    there = {str(path.relative_to(vendor)): path for path in vendor.rglob("*") if path.is_file() and path.name != SUMS}
    named = {target for package in PACKAGES for target in package.files.values()} | {"NOTICE"}
    both = wanted.keys() & there.keys()
    changed_since = (name for name in both if hashlib.sha256(there[name].read_bytes()).hexdigest() != wanted[name])
    found = [f"{name} is in one of vendor/ and {SUMS} only" for name in sorted(wanted.keys() ^ there.keys())]
    found += [f"{name} was changed" for name in sorted(changed_since)]
    found += [f"{name} is in one of {SUMS} and the tool only" for name in sorted(wanted.keys() ^ named)]
    if there.get("NOTICE") and there["NOTICE"].read_text(encoding="utf-8") != notice():
        found.append("NOTICE names other versions than the tool")
    return found


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail when a file is not as it was written"
    )
    if not parser.parse_args().check:
        renew(VENDOR)
        return 0
    found = differences(VENDOR)
    for line in found:
        print(f"vendor: {line}; `python tools/vendor_web.py` writes them again.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
