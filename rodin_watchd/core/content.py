"""The content of a set: what makes two sets the same purchase.

Journals keep fingerprints for ever, so each names its version, and what a version makes of a set is never changed:

- `v2:…`: model, image, and what the options *mean* (`core.options.canonical`). What the vendor takes for an option that is
  left out is frozen with the version; what it will take tomorrow does not enter.
- without a name (version 1): model, image, and the options as they were spelled, with three of the vendor's defaults.

Beside it goes the fingerprint of what was dropped (`fingerprint_of_drop`), before plugins changed an option: two sets are the
same purchase if either is equal.

A journal of version 1 is brought up to date at the first start: its purchases get the fingerprint of version 2, made from
what their jobs keep. A few keep the old one, because the journal does not say any more what they bought: files
were exchanged in `failed/` before a retry, or the job's row is damaged. For those alone a look-up asks for the spellings of
version 1, too (`fingerprints`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

from rodin_watchd.core.options import canonical
from rodin_watchd.model import InputFile, Job, OptionValue, Role

_IN_VERSION_1: Final[Mapping[str, OptionValue]] = {
    "geometry_file_format": "glb",
    "material": "PBR",
    "resolution": "Basic",
}
"""What version 1 took for granted."""

_SPELLED_IN_VERSION_1: Final[Mapping[str, OptionValue]] = {"reference_scale": 1.0, "escore": 3.5}
"""Defaults that made another purchase in version 1 where they were spelled out."""

_VERSION: Final = "v2:"


def fingerprint(files: Sequence[InputFile], options: Mapping[str, OptionValue]) -> str:
    """Return what is bought as a digest: sha256 of the model, sha256 of the image, what the options mean.

    Names, times and the sidecar's spelling do not count: a set dropped again under another name is the same purchase,
    and so is one that spells out what the vendor takes anyway.
    """
    return f"{_VERSION}{_sha256(files, canonical(options))}"


def fingerprint_of_drop(job: Job) -> str:
    """Return what was dropped as a digest: model, image, what the options mean as the set asked for them, plugins' settings.

    A plugin may choose other options each time (a seed by chance, by the clock): what was dropped is the same all the same.
    """
    asked = canonical(job.options if job.asked is None else job.asked)
    return f"{_VERSION}{_sha256(job.files, {**asked, 'plugins': job.plugins})}"


def is_same_purchase(one: Job, other: Job) -> bool:
    """Tell whether two jobs buy the same: by what is bought, or by what was dropped for it."""
    return content_of(one) == content_of(other) or one.dropped == other.dropped != ""


def content_of(job: Job) -> str:
    """Return the fingerprint of what a job buys, in today's version; "" while it is not known."""
    known = not job.fingerprint or job.fingerprint.startswith(_VERSION)
    return job.fingerprint if known else fingerprint(job.files, job.options)


def fingerprints(files: Sequence[InputFile], options: Mapping[str, OptionValue]) -> tuple[str, ...]:
    """Return every fingerprint that a purchase of this content may have been stored with, the newest version first."""
    meant = canonical(options)
    plain = {name: value for name, value in options.items() if name in meant}
    unsaid = [item for item in _SPELLED_IN_VERSION_1.items() if item[0] not in meant]
    spelled = [plain | dict(filter(None, said)) for said in product(*((None, item) for item in unsaid))]
    older = (first_fingerprint(files, one) for one in (options, *spelled))
    return tuple(dict.fromkeys((fingerprint(files, options), *older)))


def first_fingerprint(files: Sequence[InputFile], options: Mapping[str, OptionValue]) -> str:
    """Return the fingerprint of version 1: the options as they were spelled."""
    return _sha256(files, {**_IN_VERSION_1, **options})


def _sha256(files: Sequence[InputFile], options: Mapping[str, Any]) -> str:
    digests = {f.role.value: f.sha256 for f in files if f.role is not Role.SIDECAR}
    return hashlib.sha256(json.dumps([digests, options], sort_keys=True).encode()).hexdigest()
