"""The content of a set: what makes two sets the same purchase."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from rodin_watchd.model import VENDOR_DEFAULTS, InputFile, OptionValue, Role


def fingerprint(files: Sequence[InputFile], options: Mapping[str, OptionValue]) -> str:
    """Return a hex digest of what is bought: sha256 of the model, sha256 of the image, the options as sent.

    Names, times and the sidecar's spelling do not count: a set dropped again under another name is the same purchase,
    and so is one that spells out what the vendor takes anyway.
    """
    digests = {f.role.value: f.sha256 for f in files if f.role is not Role.SIDECAR}
    text = json.dumps([digests, {**VENDOR_DEFAULTS, **options}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
