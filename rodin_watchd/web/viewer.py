"""The 3D viewer of a set's page: the models that it shows, and what the browser lets its script do there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rodin_watchd.core.names import split_name
from rodin_watchd.model import Job, Role
from rodin_watchd.web.access import policy
from rodin_watchd.web.files import INPUTS, RESULTS, SetFile

TURNED: Final = ".glb"
STYLE_DIGEST: Final = "sha256-PXtZZkJMMyc18o/DN1ZEFOJ2qEGq95IQbVaJFMOXOb0="
"""Of the one style element in model-viewer's template; tests/web/test_vendor.py compares it with the bundle."""

POLICY: Final = policy(
    {
        "script-src": "'wasm-unsafe-eval'",  # Draco, Meshopt and Basis Universal are WebAssembly; JavaScript is as strict as elsewhere
        "style-src": f"'{STYLE_DIGEST}'",
        "img-src": "blob: data:",  # the textures inside of a model
        "connect-src": "blob: data:",  # as above; and model-viewer unpacks WebAssembly of its own from a data: address
        "worker-src": "blob:",  # the decoders' workers
    }
)
"""What a page with the viewer may do; all others have none of it."""


@dataclass(frozen=True, slots=True)
class Models:
    """What the viewer of a set shows."""

    results: Sequence[SetFile]  # the vendor's own first: the first one is shown at once
    dropped: SetFile | None  # to compare with


def models_of(files: Sequence[SetFile], job: Job) -> Models | None:
    """Return the models of a set that a browser can show, None where no result is one.

    A dropped model in another format than GLB cannot be compared.
    """
    turned = [file for file in files if split_name(file.name)[1] == TURNED]
    from_vendor = {file.name for file in job.results}
    results = sorted((f for f in turned if f.where == RESULTS), key=lambda file: file.name not in from_vendor)
    given = job.file(Role.MODEL)
    dropped = [file for file in turned if file.where == INPUTS and given is not None and file.name == given.name]
    return Models(results, dropped[0] if dropped else None) if results else None
