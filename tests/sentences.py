"""Every sentence that whoever drops files can read, made by the code that makes it for STATUS.txt and REPORT.txt, with sample values.

`python tests/sentences.py` writes them into `tests/samples/sentences.txt`, so that a person can read them all.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "core"))

from job_samples import NOW, TASK, a_job, all_errors

from rodin_watchd.core.claims import Turn
from rodin_watchd.core.dedup import bought_before, made_before, paid_with, refused_before
from rodin_watchd.core.formats import (
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
    FileVerdict,
    Wholeness,
)
from rodin_watchd.core.names import junk_reason
from rodin_watchd.core.pairing import pair
from rodin_watchd.core.pauses import Pause
from rodin_watchd.core.receipt import report_text
from rodin_watchd.core.schedule import plain_alarm
from rodin_watchd.core.sets import Content, Rules, Sighting, Unread, Writer, judge
from rodin_watchd.core.sidecar import Misread, Sidecar, read_sidecar
from rodin_watchd.core.status import Page, ended_line, job_line, status_text
from rodin_watchd.core.stillness import PAUSED_BY_REQUEST, reasons_of_pauses
from rodin_watchd.errors import (
    DropError,
    Lane,
    OwnerError,
    RodinWatchdError,
    ServiceError,
    SidecarError,
    TaskFailedError,
)
from rodin_watchd.model import Entry, Kind, Signature, State
from rodin_watchd.service.balance import PROOF_IN_SHORT
from rodin_watchd.service.status import FARM_IN_SHORT, LATE_IN_SHORT, LOSS_IN_SHORT

PATH = Path(__file__).parent / "samples" / "sentences.txt"

TOMLS = (
    b"sed = 7\nmaterial = 3\n",
    b'resolution = "Huge"\n',
    b'image = "/home/me/oak.png"\n',
    b'image = "../../oak.png"\n',
    b'image = "oak.glb"\n',
    b'kind = "generate"\nmodel = "chair.glb"\n',
    b"prompt = worn oak\n",
    b"\xff\xfe\x00",
    b"again = 3\n",
)

FOLDERS = (
    ("chair.glb",),
    ("chair.png",),
    ("chair.toml",),
    ("chair.glb", "chair.obj", "chair.png"),
    ("chair.glb", "chair.png", "chair.jpg", "chair.webp"),
    ("anna/a.glb", "anna/b.png", "anna/c.png"),
    ("anna/a.png", "anna/b.png"),
    ("chair.blend", "chair.png"),
    ("anna/chair.glb", "anna/chair.png", "anna/job.toml"),
    ("anna/report.toml", "anna/results/chair.glb", "anna/results/chair.png"),
)

GENERATE = b'kind = "generate"\n'

JUNK = (
    *(".DS_Store", "._chair.glb", ".nfs0001", "chair.sync-conflict-20260101-120000.glb", ".syncthing.chair.glb.tmp"),
    *(".dropbox", ".~chair.glb.1a2b", "chair.glb.icloud", "~$chair.toml", ".goutputstream-X", "chair.glb.part"),
    *("chair.toml.sb-1234abcd-abcdef", "chair.toml~", "~chair.glb", ".chair.glb"),
)

HOLDS = frozenset({"unknown-outcome", "disputed-task", "refused-often", "charged-refusal", "charged-task-lost"})
"""The codes of problems for which a job is held."""


def an_entry(path: str, kind: Kind = Kind.FILE) -> Entry:
    """Return a file of the inbox."""
    return Entry(path, kind, Signature(5, 10**18, 5), 10**18, 1)


def errors() -> list[type[RodinWatchdError]]:
    """Return the errors that end or hold a set."""
    kinds = (kind for kind in all_errors() if not issubclass(kind, ServiceError | OwnerError | DropError))
    return sorted(dict.fromkeys(kinds), key=lambda kind: kind.code)


def service_errors() -> list[type[ServiceError]]:
    """Return the errors that stop the service, or a part of it."""
    found = (kind for kind in all_errors() if issubclass(kind, ServiceError) and kind is not ServiceError)
    return sorted(dict.fromkeys(found), key=lambda kind: kind.code)


def reports() -> Iterator[str]:
    """Yield what REPORT.txt says of each error, without the dates."""
    for kind in errors():
        job = a_job(State.FAILED, problem=kind().problem, task=TASK, charges=1, spent=Decimal("0.5"))
        yield "\n".join(report_text(job, NOW, UTC).splitlines()[2:-2])


def failures() -> Iterator[str]:
    """Yield the lines of sets that failed, are held, or wait for another try."""
    for kind in errors():
        held = kind.code in HOLDS
        job = a_job(State.HELD if held else State.FAILED, problem=kind().problem, holds=1, attempts=1)
        yield (job_line(job) if held else ended_line(job)).text


def states() -> Iterator[str]:
    """Yield the line of a set in each state."""
    for state in State:
        job = a_job(state)
        yield (ended_line(job) if state in (State.ARCHIVED, State.FAILED, State.RETURNED) else job_line(job)).text


def duplicates() -> Iterator[str]:
    """Yield why a set is not paid for twice."""
    place = a_job(State.FAILED, task=TASK, charges=1, problem=TaskFailedError().problem)
    found = (
        bought_before(a_job(State.ARCHIVED)),
        bought_before(a_job(State.HELD)),
        bought_before(a_job(State.SUBMITTED)),
        bought_before(place),
        bought_before(replace(place, problem=None)),
        bought_before(replace(place, charges=0)),
        made_before(a_job(State.ARCHIVED), a_job()),
        paid_with(a_job(State.ARCHIVED), again=True),
        paid_with(a_job(State.ARCHIVED), "second try"),
        refused_before(place, 3),
    )
    for error in found:
        yield ended_line(a_job(State.FAILED, problem=error.problem)).text
        yield error.advice_given


def waits() -> Iterator[str]:
    """Yield what sets in the inbox wait for, and why they are refused, by their names."""
    shelves = [(names, _shelf(names)) for names in FOLDERS]
    shelves += [((f"chair{ext}", "chair.png"), {}) for ext in _one_of_each(REFUSED_MODEL_EXTENSIONS)]
    shelves += [((f"chair{ext}",), {}) for ext in _one_of_each(REFUSED_IMAGE_EXTENSIONS)]
    shelves += [
        (("chair.glb", "chair.toml"), {"chair.toml": read_sidecar(GENERATE, "chair.toml")}),
        (("chair.toml",), {"chair.toml": read_sidecar(GENERATE, "chair.toml")}),
        (("chair.toml", "chair.png"), {"chair.toml": read_sidecar(b'model = "seat.glb"', "chair.toml")}),
        (("chair.toml", "chair.png"), {"chair.toml": read_sidecar(b'image = "seat.glb"', "chair.toml")}),
    ]
    for names, sidecars in shelves:
        pairing = pair([an_entry(name) for name in names], sidecars)
        for candidate in pairing.candidates:
            yield from (f"waits for {missing}" for missing in candidate.missing)
            if candidate.problem:
                yield f"{candidate.problem.message} {candidate.problem.advice}"
        yield from pairing.ignored.values()
    links = [an_entry("chair.glb", Kind.SYMLINK), an_entry("chair.png")]
    yield from pair(links, {}).ignored.values()
    yield from map(str, Turn)


def _shelf(names: Iterable[str]) -> dict[str, Sidecar | Misread]:
    tomls = (name for name in names if name.endswith("chair.toml"))
    return {name: read_sidecar(b"", name) for name in tomls}


def _one_of_each(advices: Mapping[str, object]) -> list[str]:
    firsts: dict[object, str] = {}
    for extension, advice in advices.items():
        firsts.setdefault(advice, extension)
    return list(firsts.values())


def judgements() -> Iterator[str]:
    """Yield what is said of single files."""
    entry, rules = an_entry("chair.glb"), Rules(2.0, 30.0, 60.0)
    contents: list[Content | Unread] = [
        *(Unread.CHANGED, Unread.CLOSED),
        Content(FileVerdict(Wholeness.UNFINISHED, "it ends in the middle of its data")),
        Content(FileVerdict(Wholeness.WRONG, "it is a PNG image, not a model")),
        Content(FileVerdict(Wholeness.WHOLE), has_hole=True),
        Content(FileVerdict(Wholeness.UNDECIDED)),
    ]
    for now in (1.0, 1e6):
        for content in contents:
            for writer in (Writer.UNSEEN, Writer.WRITING):
                for links in (1, 2):
                    found = judge(Sighting(entry._replace(links=links), 0.0, writer), content, now, rules)
                    yield found.reason
                    if found.problem:
                        yield f"{found.problem.message} {found.problem.advice}"


def mistakes() -> Iterator[str]:
    """Yield what is said of mistakes in TOML files."""
    for data in TOMLS:
        try:
            read_sidecar(data, "chair.toml")
        except SidecarError as error:
            yield ended_line(a_job(State.FAILED, problem=error.problem)).text


def notices() -> Iterator[str]:
    """Yield what STATUS.txt says of the whole service."""
    for kind in service_errors():
        (reason,) = reasons_of_pauses({kind.lane or Lane.API: Pause(kind().problem, NOW, math.inf)}, UTC)
        yield reason.plain or ""
    yield from (PAUSED_BY_REQUEST.plain or "", LOSS_IN_SHORT, LATE_IN_SHORT, FARM_IN_SHORT, PROOF_IN_SHORT)
    yield plain_alarm(a_job(State.GENERATED), UTC)


def page() -> Iterator[str]:
    """Yield the page itself."""
    yield status_text(Page(), NOW, UTC)
    yield status_text(Page(stopped_at=NOW), NOW, UTC)


SECTIONS: dict[str, Callable[[], Iterable[str]]] = {
    "The page": page,
    "ATTENTION": notices,
    "Waiting in the inbox": waits,
    "Single files": judgements,
    "Running": states,
    "FAILED and HELD": failures,
    "Not paid for twice": duplicates,
    "Mistakes in TOML files": mistakes,
    "REPORT.txt": reports,
    "Ignored files": lambda: (junk_reason(name) or "" for name in JUNK),
}


def text() -> str:
    """Return all of them."""
    parts = []
    for title, made in SECTIONS.items():
        found = dict.fromkeys(filter(None, (one.rstrip() for one in made())))
        parts.append("\n".join([f"==== {title} ====", "", *(f"{one}\n" for one in found)]))
    return "\n".join(parts)


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
