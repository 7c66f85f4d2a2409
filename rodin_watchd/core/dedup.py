"""The content of a set: what makes two sets the same purchase.

Journals keep fingerprints for ever, so each names its version, and what a version makes of a set is never changed:

- `v2:…`: model, image, and what the options *mean* (`core.options.canonical`). What the vendor takes for an option that is
  left out is frozen with the version; what it will take tomorrow does not enter.
- without a name (version 1): model, image, and the options as they were spelled, with three of the vendor's defaults.

Next to it goes the fingerprint of what was dropped (`fingerprint_of_drop`), before plugins changed an option: two sets are the
same purchase if either is equal.

A journal of version 1 is brought up to date at the first start: its purchases get the fingerprint of version 2, made from
what their jobs keep. A few keep the old one, because the journal does not say any more what they bought: files
were exchanged in `failed/` before a retry, or the job's row is damaged. For those alone a look-up asks for the spellings of
version 1, too (`fingerprints`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from rodin_watchd.core.kinds import KINDS, TEXTURE, JobKind, kind_of
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.options import canonical, words_of
from rodin_watchd.core.wording import in_credits
from rodin_watchd.errors import FAILED_TASKS, PAY_AGAIN, TOML, AlreadyDoneError, DuplicateSetError
from rodin_watchd.model import OTHERS, InputFile, Job, OptionValue, Role, State

_IN_VERSION_1: Final[Mapping[str, OptionValue]] = {
    "geometry_file_format": "glb",
    "material": "PBR",
    "resolution": "Basic",
}
"""What version 1 took for granted."""

_SPELLED_IN_VERSION_1: Final[Mapping[str, OptionValue]] = {"reference_scale": 1.0, "escore": 3.5}
"""Defaults that made another purchase in version 1 where they were spelled out."""


def fingerprint(kind: JobKind, files: Sequence[InputFile], options: Mapping[str, OptionValue]) -> str:
    """Return what is bought as a digest: the sha256 of each file by its role, what the options mean.

    Names, times and the sidecar's spelling do not count: a set dropped again under another name is the same purchase,
    and so is one that spells out what the vendor takes anyway.
    """
    return f"{kind.fingerprint_prefix}{_sha256(kind, files, canonical(kind.options, options))}"


def fingerprint_of_drop(job: Job) -> str:
    """Return what was dropped as a digest: model, image, what the options mean as the set asked for them, plugins' settings.

    A plugin may choose other options each time (a seed by chance, by the clock): what was dropped is the same all the same.
    """
    kind = kind_of(job)
    asked = canonical(kind.options, job.options if job.asked is None else job.asked)
    return f"{kind.fingerprint_prefix}{_sha256(kind, job.files, {**asked, 'plugins': job.plugins})}"


def twin_of(job: Job, others: Iterable[Job]) -> Job | None:
    """Return the first of other jobs that buys the same: by what is bought, or by what was dropped for it."""
    content, dropped = content_of(job), job.dropped
    same = (other for other in others if content_of(other) == content or dropped == other.dropped != "")
    return next((other for other in same if other.id != job.id), None)


def content_of(job: Job) -> str:
    """Return the fingerprint of what a job buys, in today's version; "" while it is not known."""
    kind = kind_of(job)
    known = not job.fingerprint or job.fingerprint.startswith(kind.fingerprint_prefix)
    return job.fingerprint if known else fingerprint(kind, job.files, job.options)


def fingerprints(job: Job) -> tuple[str, ...]:
    """Return every fingerprint that a purchase of this content may have been stored with, the newest version first."""
    kind = KINDS[job.kind]
    newest = fingerprint(kind, job.files, job.options)
    return (newest, *(_in_version_1(job.files, job.options) if kind is TEXTURE else ()))


def _in_version_1(files: Sequence[InputFile], options: Mapping[str, OptionValue]) -> tuple[str, ...]:
    """Return the fingerprints of version 1 that a texture of this content may have been stored with."""
    meant = canonical(TEXTURE.options, options)
    plain = {name: value for name, value in options.items() if name in meant}
    unsaid = [item for item in _SPELLED_IN_VERSION_1.items() if item[0] not in meant]
    spelled = [plain | dict(filter(None, said)) for said in product(*((None, item) for item in unsaid))]
    return tuple(dict.fromkeys(first_fingerprint(files, one) for one in (options, *spelled)))


def first_fingerprint(files: Sequence[InputFile], options: Mapping[str, OptionValue]) -> str:
    """Return the fingerprint of version 1: the options as they were spelled."""
    return _sha256(TEXTURE, files, {**_IN_VERSION_1, **options})


def sent(files: Iterable[InputFile]) -> list[InputFile]:
    """Return the files that are sent; the sidecar is not, nor is what is for another job alone."""
    return [file for file in files if file.role not in (Role.SIDECAR, Role.THEN_IMAGE, *OTHERS.values())]


def _sha256(kind: JobKind, files: Sequence[InputFile], options: Mapping[str, Any]) -> str:
    """Return the digest of files and options; where a set may have several files of a role, their order does not count."""
    digests: dict[str, str | list[str]] = {f.role.value: f.sha256 for f in sent(files)}
    for role in kind.roles:
        if kind.most(role) > 1:
            digests[role.value] = sorted(f.sha256 for f in files if f.role is role)
    return hashlib.sha256(json.dumps([digests, options], sort_keys=True).encode()).hexdigest()


# ---- Consent to pay once more for the same content: who gave it, and that it is spent by one purchase. Pure ---------


def by_person(job_id: str, retry: int) -> str:
    """Return the consent of a person who said `retry --pay-again`: for the retry of this number of this job."""
    return f"retry:{job_id}:{retry}"


def is_by_person(consent: str, again: bool | str) -> bool:
    """Return whether a job's consent is a person's, and not what its TOML file says for `again`."""
    return consent not in ("", of_set(again))


def of_set(again: bool | str) -> str:
    """Return the consent of a set whose TOML file says this for `again`, "" where it gives none.

    Words that differ in capitals or space alone are one consent.
    """
    if isinstance(again, str):
        return f"word:{words_of(again).casefold()}"
    return "again" if again else ""


# ---- The same content twice: what to say about the job that has, or may have, paid for it before. Pure --------------


_SAME = "The same model, image and options"


def bought_before(same: Job, wanted: Job | None = None, root: str = "") -> DuplicateSetError:
    """Return why a set is refused whose content another job has bought, may have bought, or is buying.

    `wanted`: the job of the set, if somebody wants to pay for it once more, which has to wait until the other job has ended.
    `root`: where the root of that one is, if it is another one.
    """
    then = ""
    if wanted and wanted.consent:
        option = "--pay-again " if is_by_person(wanted.consent, wanted.again) else ""
        then = f"Then `rodin-watchd retry {option}JOB` pays for this set as well."
    if same.state is State.ARCHIVED:
        advice = f"Nothing: the result is in that folder, which is another one than yours. {PAY_AGAIN}" if root else ""
        return AlreadyDoneError(
            f"{_SAME} were delivered before: look in {printable(same.place)} (job {same.id}).", advice=advice
        )
    which = f"job {same.id} of {printable(root)}" if root else f"job {same.id}"
    if same.state is State.HELD:
        return DuplicateSetError(
            f"{_SAME} are held for a person's decision ({which}).",
            advice="Wait until the person who runs the service has decided about that one.",
            command=then,
        )
    if same.state not in ENDED:
        return DuplicateSetError(
            f"{_SAME} are in progress already ({which}).",
            advice=f"Wait for that one's result: it comes into {printable(root)}/outbox."
            if root
            else "Wait for that one's result: it comes into the outbox.",
            command=then,
        )
    return _failed_after_paying(same)


def made_before(made: Job, job: Job) -> DuplicateSetError:
    """Return why a set is refused that is a result of this service, without its receipt: it would pay for a texture of a texture."""
    where = f"{printable(made.place)} (job {made.id})" if made.place else f"job {made.id}"
    what = "This model is a result" if job.file(Role.MODEL) else "All images of this set are results"
    return DuplicateSetError(
        f"{what} of this service: {where}.",
        advice=f"If you want to use it again: {PAY_AGAIN}",
    )


class Provenance(NamedTuple):
    """A job that would have made a set: what came out of it, of which kind it is, and whether that may have gone in as well."""

    contents: frozenset[str]  # SHA-256 in hex; all of them
    kinds: frozenset[str]
    given: bool = True  # a plugin may publish a job's inputs with its results


def origins(job: Job) -> tuple[Provenance, ...]:
    """Return the jobs any of which would show that a set is a result: what was made goes in, and nothing else that an artist chose.

    A model that went into that job as well, because a plugin publishes it next to the textured one, is a model of the
    artist's, but with a picture of the results. What a job of another kind has made is only what it was made for: a new model
    is textured after an image of the artist's, and is a result again with a picture of its own results. What follows another
    job is made of a result, because a person has said so.
    """
    files = sent(job.files)
    if job.follows or not files:
        return ()
    everything = frozenset(file.sha256 for file in files)
    models = frozenset(file.sha256 for file in files if file.role is Role.MODEL)
    images = [file.sha256 for file in files if file.role is Role.IMAGE]
    every_kind, same = frozenset(KINDS), frozenset({job.kind})
    if len(images) == len(files):
        return (Provenance(everything, every_kind),)
    pictured = (Provenance(frozenset({files[0].sha256, image}), same) for image in images)
    return (Provenance(models, same, given=False), *pictured, Provenance(everything, every_kind - same))


def paid_with(same: Job, again: bool | str) -> DuplicateSetError:
    """Return why a set is refused whose consent (what its TOML file says for `again`) was spent on another job."""
    place = f", {printable(same.place)}" if same.place else ""
    other = "fourth try" if again == "third try" else "third try"
    if isinstance(again, str):
        what = f"{_SAME} were paid for with the word “{printable(again)}” already"
    else:
        what = "`again = true` has paid once already for the same model, image and options"
    return DuplicateSetError(
        f"{what} (job {same.id}{place}).",
        advice=f'To pay once more, write another word into {TOML}: the line `again = "{other}"`. Then drop the set into the inbox again.',
    )


def refused_before(same: Job, times: int) -> DuplicateSetError:
    """Return why a set is not sent whose content the vendor has refused so often; `same` is the newest job with it."""
    where = f"{printable(same.place)} (job {same.id})" if same.place else f"job {same.id}"
    return DuplicateSetError(
        f"{_SAME} were refused by the vendor {times} times, and each try may have cost "
        f"{in_credits(same.price)}: see {where}.",
        advice=f"Change the picture, the model or the options. {PAY_AGAIN}",
        command="Look into the vendor's account.",
    )


def _failed_after_paying(same: Job) -> DuplicateSetError:
    where = f"{printable(same.place)} (job {same.id})" if same.place else f"job {same.id}"
    if not same.charges:
        return DuplicateSetError(
            f"{_SAME} may have been paid for before: the answer was lost, see {where}.",
            advice=f"Ask the person who runs the service whether it was paid for. {PAY_AGAIN}",
            command="Look into the vendor's account.",
        )
    if same.task is None or (same.problem and same.problem.code in FAILED_TASKS):
        return DuplicateSetError(
            f"{_SAME} were paid for before, without a result: see {where}.",
            advice=f"Change the picture, the model or the options. {PAY_AGAIN}",
        )
    return DuplicateSetError(
        f"{_SAME} were paid for before: see {where}.",
        advice=f"Ask the person who runs the service for that result: it is paid for, and free of charge. {PAY_AGAIN}",
        command=f"`rodin-watchd retry {same.id}` fetches that result, free of charge.",
    )
