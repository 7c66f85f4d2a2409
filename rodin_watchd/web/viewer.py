"""The 3D viewer of a set's page: the models that it shows, and what the browser lets its script do there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rodin_watchd.core.formats import MODEL_EXTENSIONS
from rodin_watchd.core.names import split_name
from rodin_watchd.model import Job, Role
from rodin_watchd.web.access import policy
from rodin_watchd.web.files import INPUTS, RESULTS, SetFile

MATERIALS: Final = ".mtl"
STYLE_DIGEST: Final = "sha256-PXtZZkJMMyc18o/DN1ZEFOJ2qEGq95IQbVaJFMOXOb0="
"""Of the one style element in model-viewer's template; tests/web/test_vendor.py compares it with the bundle."""

POLICY: Final = policy(
    {
        "script-src": "'wasm-unsafe-eval'",  # Draco, Meshopt and Basis Universal are WebAssembly; JavaScript is as strict as elsewhere
        "style-src": f"'{STYLE_DIGEST}'",
        "img-src": "blob: data:",  # the textures inside of a model
        "connect-src": "blob: data:",  # as above; and model-viewer unpacks WebAssembly of its own from a data: address
        "worker-src": "'self' blob:",  # what converts models, and the decoders' workers
    }
)
"""What a page with the viewer may do; all others have none of it."""


MOST_BYTES: Final = 200_000_000
"""A model that is larger is shown when somebody asks for it: a browser may take minutes, and several times its size of memory."""

MOST_BYTES_BY_TOUCH: Final = 50_000_000
"""The same for a phone or a tablet, which ends a page that takes much memory."""

HEAVIER: Final = 5
"""By so much the bounds are lower for a model that the browser has to convert."""


@dataclass(frozen=True, slots=True)
class Models:
    """What the viewer of a set shows."""

    job: Job
    results: Sequence[SetFile]  # the vendor's own first: the first one is shown at once, unless it is large
    dropped: SetFile | None  # to compare with
    beside: Sequence[str]  # the addresses of what a result in several files may name: materials and their maps
    sizes: Mapping[SetFile, int]  # bytes
    most_bytes: int = MOST_BYTES
    most_bytes_by_touch: int = MOST_BYTES_BY_TOUCH
    heavier: int = HEAVIER


def models_of(files: Sequence[SetFile], job: Job) -> Models | None:
    """Return the models of a set that a browser can show, None where no result is one."""
    models = [file for file in files if split_name(file.name)[1] in MODEL_EXTENSIONS]
    from_vendor = {file.name for file in job.results}
    made = {file.name: file.size for file in job.published}
    came = {file.name: file.signature.size for file in job.files}
    results = sorted((f for f in models if f.where == RESULTS), key=lambda file: file.name not in from_vendor)
    given = job.file(Role.MODEL)
    dropped = [file for file in models if file.where == INPUTS and given is not None and file.name == given.name]
    beside = [f.url(job) for f in files if f.where == RESULTS and (f.is_picture or split_name(f.name)[1] == MATERIALS)]
    sizes = {file: (made if file.where == RESULTS else came)[file.name] for file in (*results, *dropped)}
    return Models(job, results, dropped[0] if dropped else None, beside, sizes) if results else None
