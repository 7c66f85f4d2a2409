"""Sets that make several jobs: which jobs, what they are called and made of, what they buy, what they wait for. Pure.

Lists in the TOML files of a set multiply: each of its images (where a job is made of one), each of its models, each prompt, each seed.
One job goes ahead with the files of the whole set. When the vendor has taken it, the others are begun, with copies of their files
(`core.machine.begin_others`). So a set that changes, is refused, is canceled, or lacks budget or approval is one set, of which
nothing else was paid. What is ready waits until all others are (`awaited`), and all are delivered into one folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from decimal import Decimal
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

import tomli_w

from rodin_watchd.core.kinds import Article, JobKind, article, article_of, kind_of
from rodin_watchd.core.layout import RECEIPT, REPORT, REPORT_DATA, SHEET
from rodin_watchd.core.names import match_key, printable, safe_folder_name, split_name
from rodin_watchd.core.options import declared
from rodin_watchd.core.references import MOST_JOBS, is_reference
from rodin_watchd.errors import AlreadyDoneError, OutcomeUnknownError, OverBudgetError, Problem
from rodin_watchd.model import OTHERS, InputFile, Job, OptionValue, Role, State, Variant

if TYPE_CHECKING:
    from rodin_watchd.core.sidecar import Preset

# ---- Which jobs a set makes -----------------------------------------------------------------------------------------


class Choice(NamedTuple):
    """One of the jobs that a set makes."""

    label: str  # "" where it is the only one
    options: Mapping[str, OptionValue]
    takes: tuple[str, ...]  # the names of the files that it is made of


class _Value(NamedTuple):
    """One of the values that the jobs of a set differ by."""

    label: str
    options: Mapping[str, OptionValue] = {}
    file: str = ""


def count(kind: JobKind, files: Sequence[tuple[Role, str]], layers: Sequence[Preset]) -> int:
    """Return how many jobs a set makes; `files`: roles and names, `layers`: its TOML files, the nearest last."""
    return prod(len(axis) for axis in _axes(kind, files, layers, {}))


def choices(
    kind: JobKind, files: Sequence[tuple[Role, str]], layers: Sequence[Preset], options: Mapping[str, OptionValue]
) -> tuple[Choice, ...]:
    """Return the jobs that a set makes, the one that goes ahead first; for a `count` within MOST_JOBS.

    `options` are those that all have in common. The same set makes the same jobs each time.
    """
    axes = _axes(kind, files, layers, options)
    either = {value.file for axis in axes for value in axis} - {""}
    common = tuple(name for role, name in files if role is not Role.SIDECAR and name not in either)
    made = []
    for values in product(*axes):
        named = "-".join(value.label for value, axis in zip(values, axes, strict=True) if len(axis) > 1)
        changed = {key: said for value in values for key, said in value.options.items()}
        own = tuple(value.file for value in values if value.file)
        made.append(Choice(named, {**options, **changed}, (*own, *common)))
    labels = _unlike([choice.label for choice in made])
    return tuple(choice._replace(label=label) for choice, label in zip(made, labels, strict=True))


def _axes(
    kind: JobKind, files: Sequence[tuple[Role, str]], layers: Sequence[Preset], options: Mapping[str, OptionValue]
) -> list[list[_Value]]:
    """Return the values of each thing that the jobs differ by, in the order in which their labels name them."""
    axes = []
    for role in kind.roles:
        names = [name for found, name in files if found is role]
        if kind.most(role) == 1 and len(names) > 1:
            axes.append([_Value(split_name(name)[0][:_LONGEST_STEM], file=name) for name in names])
    own = declared(kind.options)
    if "prompt" in own and (prompts := _prompts(layers)):
        axes.append([_Value(f"prompt-{number}", {"prompt": text}) for number, text in enumerate(prompts, start=1)])
    if "seed" in own and (seeds := _seeds(layers, options)):
        axes.append([_Value(f"seed-{seed}", {"seed": seed}) for seed in seeds])
    return axes


def _prompts(layers: Sequence[Preset]) -> Sequence[str]:
    """Return the prompts that the nearest TOML file with any asks for; () where that has a single one."""
    said = next((one for one in reversed(layers) if one.prompts or one.prompt is not None), None)
    return said.prompts or () if said else ()


def _seeds(layers: Sequence[Preset], options: Mapping[str, OptionValue]) -> Sequence[int]:
    """Return the seeds that the TOML files ask for: those of the nearest one that says any, or so many from the set's own one on."""
    seeds: Sequence[int] = ()
    variants = 1
    for said in layers:
        if said.seed is not None or said.variants:
            seeds = ()
        if said.seeds or said.variants:
            seeds, variants = said.seeds or (), said.variants or 1
    first = int(options.get("seed", 1))
    return seeds or [(first + number) % _SEEDS for number in range(variants) if variants > 1]


_SEEDS: Final = 65_536
_LONGEST_STEM: Final = 40


def _unlike(labels: Sequence[str]) -> list[str]:
    """Make labels names of folders that every client of a share can show, all different to an artist's eye."""
    found: list[str] = []
    taken = Counter[str]()
    for label in labels:
        safe = safe_folder_name(label.lstrip(" .~-")) if label else ""
        name = f"_{safe}" if match_key(safe) in _KEPT else safe
        while taken[match_key(name)]:
            taken[match_key(safe)] += 1
            name = f"{safe}-{taken[match_key(safe)]}"
        taken[match_key(name)] += 1
        found.append(name)
    return found


_KEPT: Final = frozenset(map(match_key, (RECEIPT, REPORT, REPORT_DATA, SHEET)))
"""The keys of the names that files of our own get next to the folders of a set's jobs, or where a single job has them."""


def too_many(number: int) -> str:
    """Say that a set makes more jobs than one set may; "" if it does not."""
    if number <= MOST_JOBS:
        return ""
    return f"this set asks for {number:,} jobs: at most {MOST_JOBS} are made of one set. Make the lists shorter, or several sets"


class Difference(NamedTuple):
    """A value that the jobs of a set differ by."""

    name: str  # of an option, or what a file is
    value: OptionValue  # of a file: its name


def differences(jobs: Sequence[Job]) -> Mapping[str, tuple[Difference, ...]]:
    """Return by job what it differs by from the others of its set: its options, and the files that it is made of.

    Nothing of those whose details are in the archive file.
    """
    values = {job.id: dict(_values(job)) for job in jobs if not job.condensed_at}
    names = list(dict.fromkeys(name for found in values.values() for name in found))
    unlike = [name for name in names if len({found.get(name) for found in values.values()}) > 1]
    return {
        job_id: tuple(Difference(name, found[name]) for name in unlike if name in found)
        for job_id, found in values.items()
    }


def _values(job: Job) -> Iterator[tuple[str, OptionValue]]:
    for role in kind_of(job).roles:
        if names := [file.name for file in job.files if file.role is role]:
            yield role.value, ", ".join(map(printable, names))
    yield from job.options.items()


# ---- Files: which job is made of which ------------------------------------------------------------------------------


def plain_role(role: Role) -> Role:
    """Return what a file is for the jobs that are made of it."""
    return next((plain for plain, other in OTHERS.items() if other is role), role)


def with_own(files: Iterable[InputFile], takes: Iterable[str]) -> tuple[InputFile, ...]:
    """Return a set's files as they are for the job that is made of those with these names."""
    own = frozenset(takes)
    plain = (replace(file, role=plain_role(file.role)) for file in files)
    return tuple(
        file if file.name in own or file.role not in OTHERS else replace(file, role=OTHERS[file.role]) for file in plain
    )


def taken_by(job: Job) -> tuple[str, ...]:
    """Return the names of the files that a job is made of."""
    return tuple(file.name for file in job.files if file.role not in (Role.SIDECAR, *OTHERS.values()))


def is_of_copies(job: Job) -> bool:
    """Return whether a job was begun with copies of the files of another one: it follows that one, or is one of its set."""
    return bool(job.follows) or (job.batch is not None and job.batch.id != job.id)


def sidecar_text(lead: Job, variant: Variant) -> str:
    """Return the TOML file of one of the jobs of a set: with it, its files are that one job when they are dropped again."""
    kind = kind_of(lead)
    said: dict[str, object] = {"kind": lead.kind, **variant.options}
    if "seed" in declared(kind.options):
        said["variants"] = 1  # over what the folder's preset may say
    said |= _named_files(kind, lead, variant)
    if lead.again:
        said["again"] = lead.again
    if variant.then:
        said |= {"then": variant.then.kind, variant.then.kind: dict(variant.then.options)}
    return tomli_w.dumps({**said, **({"plugins": dict(lead.plugins)} if lead.plugins else {})})


def _named_files(kind: JobKind, lead: Job, variant: Variant) -> dict[str, object]:
    """Return how a TOML file names the files; nothing where it cannot name one of them, so that they are found by their names."""
    by_role: dict[Role, list[str]] = {role: [] for role in (*kind.roles, Role.THEN_IMAGE)}
    for file in lead.files:
        if file.name in variant.takes:
            by_role[plain_role(file.role)].append(file.name)
    if not all(is_reference(name) for names in by_role.values() for name in names):
        return {}
    several = {f"{role}s": by_role[role] for role in kind.roles if kind.most(role) > 1}
    single = {str(role): by_role[role][0] for role in kind.roles if kind.most(role) == 1}
    after = variant.then.image if variant.then else ""
    return {**single, **several, **({"then_image": after} if after and several else {})}


# ---- Money: what a set comes to, and what is promised to the rest of one whose first job is bought ------------------


def others_of(job: Job) -> tuple[Article, ...]:
    """Return what the jobs buy that are begun after this one; to be afforded with it."""
    return tuple(article(job.kind, variant.options) for variant in job.variants if variant.problem is None)


def price_in_all(job: Job, price: Callable[[Article], Decimal]) -> Decimal:
    """Return what is paid where a job is sent once more: for it, and for the jobs that are begun after it.

    `price` says what an article may cost, in credits.
    """
    variants = once_more(job.variants) if job.state is State.FAILED else job.variants
    return sum(map(price, others_of(replace(job, variants=variants))), price(article_of(job)))


def once_more(variants: Iterable[Variant]) -> tuple[Variant, ...]:
    """Return jobs that are not begun yet without what kept them from being sent; not those that may have been sent elsewhere."""
    return tuple(
        one if one.problem and one.problem.code == OutcomeUnknownError.code else replace(one, problem=None)
        for one in variants
    )


def is_promised(job: Job) -> bool:
    """Return whether what a job buys was afforded with the job of its set that went ahead; a retry is afforded by itself."""
    return job.batch is not None and job.batch.id != job.id and not job.follows and not job.retries


def promised_by(job: Job) -> tuple[Article, ...]:
    """Return what will be bought for a live job's set, beyond what its own purchases say: it was afforded as a whole."""
    if job.state in _BEFORE_SENT and not job.task:
        return (article_of(job),) if is_promised(job) else ()
    return others_of(job) if job.state not in (State.FAILING, State.RETURNING) else ()


# ---- Together: what is ready waits for the rest ---------------------------------------------------------------------


_BEFORE_SENT: Final = frozenset({State.CLAIMED, State.STAGED})
_UNDER_WAY: Final = _BEFORE_SENT | {
    *(State.UPLOADING, State.SUBMITTING, State.SUBMITTED),
    *(State.GENERATED, State.DOWNLOADED),
}


def awaited(jobs: Iterable[Job], *, sends: bool = True) -> Mapping[str, int]:
    """Return by job that is ready how many others of its set it waits for.

    What failed, is held or waits for another day is not waited for; nor, where nothing is sent for now (not `sends`), what is not sent yet. It comes into
    the same folder later.
    """
    members = [job for job in jobs if job.batch]
    made = _UNDER_WAY if sends else _UNDER_WAY - _BEFORE_SENT
    left = Counter(_together(job) for job in members if job.state in made and not _is_put_off(job))
    ready = (job for job in members if job.state is State.PROCESSED)
    return {job.id: left[_together(job)] for job in ready if left[_together(job)]}


def _is_put_off(job: Job) -> bool:
    return job.problem is not None and job.problem.code == OverBudgetError.code


def _together(job: Job) -> tuple[str, bool]:
    return job.batch.id if job.batch else "", bool(job.follows)


def folders_in_use(jobs: Iterable[Job], besides: Job) -> AbstractSet[str]:
    """Return the keys of the folders that other live sets of this set's folder are delivered into."""
    others = (job for job in jobs if job.batch and besides.batch and job.batch.id != besides.batch.id)
    return {match_key(job.batch.folder) for job in others if job.batch and job.folder == besides.folder} - {""}


# ---- Bought before: another job goes ahead, and where none is left, the set is refused as a whole -------------------


def all_bought(job: Job, problem: Problem) -> Problem:
    """Return why a set is refused of which each job was bought before; `problem` is that of the job that went ahead."""
    label = job.batch.label if job.batch else ""
    found = [*((one.label, one.problem) for one in job.variants if one.problem), (label, problem)]
    lines = [f"{printable(label)}: {said.message}" for label, said in found[:_MOST_TOLD]]
    more = [f"And so for {len(found) - _MOST_TOLD} more."] if len(found) > _MOST_TOLD else []
    undone = (said for _, said in found if said.code != AlreadyDoneError.code)
    return replace(next(undone, problem), message="\n".join((*lines, *more)))


_MOST_TOLD: Final = 12
