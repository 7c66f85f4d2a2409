"""The kinds of jobs: what each takes, asks for, costs and makes. A new kind is one entry of `KINDS`.

A kind says which roles of files make a set and how many of each, which options there are, where at the vendor it is ordered
and by which parts, what it costs by the vendor's list, by which fingerprint its purchases are known, and what its result
holds. Everything else asks the kind, and knows none by name. What a kind's request and answers look like on the wire beyond
that is in `core.wire`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from rodin_watchd.model import MODEL_LIMIT_BYTES, Job, OptionValue, Role

if TYPE_CHECKING:
    from rodin_watchd.core.kind_options import Options


@dataclass(frozen=True, slots=True)
class FileRule:
    """How many files of a role a set has, and how they are sent."""

    part: str  # the name of their parts in the request
    least: int = 1
    most: int = 1
    most_bytes: int | None = None  # of each file


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job."""

    name: str  # in sidecars, the journal, receipts and what plugins get
    noun: str  # what it makes, for people
    done: str  # what it does to a set, as a participle, for people
    dropped: str  # what a set of it is dropped as, for people
    files: Mapping[Role, FileRule]  # but for the sidecar; in the order in which they are sent
    load_options: Callable[[], type[Options]]  # gives the model that declares and checks its options
    path: str  # where at the vendor it is ordered
    list_price: Callable[[Mapping[str, OptionValue]], Decimal]  # credits, by the vendor's list, for these options
    fingerprint_prefix: str  # kept in journals for ever: what it stands for never changes
    has_preview: bool  # whether its result is waited for until it has the vendor's picture of it
    usual_seconds: float  # half of all tasks are done by then: a guess that counts as much as one finished task
    duration_prefix: str  # keeps its durations apart from those of other kinds
    durations_by: Mapping[
        str, str
    ]  # the options that say how long a task takes, and the vendor's defaults; kept in journals
    alone: str = ""  # the option that can stand for all files of a set; "": none can
    sequels: tuple[str, ...] = ()  # the kinds that its result can go on to, each made of one model and one image

    @property
    def options(self) -> type[Options]:
        """The model that declares and checks its options."""
        return self.load_options()

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of its files, in the order in which they are sent."""
        return tuple(self.files)

    @property
    def takes_several(self) -> bool:
        """Whether a set may have several files of one role: then a sub-folder is one set."""
        return any(rule.most > 1 for rule in self.files.values())

    def most(self, role: Role) -> int:
        """Return how many files of a role a set may have; one sidecar is always allowed."""
        if role is Role.SIDECAR:
            return 1
        if role is Role.THEN_IMAGE:
            return int(bool(self.sequels))
        return self.files[role].most if role in self.files else 0

    def least(self, role: Role) -> int:
        """Return how many files of a role a set has at least."""
        return self.files[role].least if role in self.files else 0

    def duration_class(self, options: Mapping[str, OptionValue]) -> str:
        """Name the kind of a task by how long it takes: tasks of one name take about as long."""
        words = (str(options.get(key, default)) for key, default in self.durations_by.items())
        return f"{self.duration_prefix}{'/'.join(words)}"


def _texture_options() -> type[Options]:
    from rodin_watchd.core.kind_options import TextureOptions  # noqa: PLC0415 - who only reads jobs loads no pydantic

    return TextureOptions


def _generate_options() -> type[Options]:
    from rodin_watchd.core.kind_options import GenerateOptions  # noqa: PLC0415 - the same

    return GenerateOptions


TEXTURE: Final = JobKind(
    name="texture",
    noun="texture",
    done="textured",
    dropped="a model and an image of the same name",
    files=MappingProxyType(
        {Role.MODEL: FileRule("model", most_bytes=MODEL_LIMIT_BYTES), Role.IMAGE: FileRule("image")},
    ),
    load_options=_texture_options,
    path="/api/v2/rodin_texture_only",
    list_price=lambda _options: Decimal("0.5"),
    fingerprint_prefix="v2:",
    has_preview=True,
    usual_seconds=60.0,
    duration_prefix="",
    durations_by=MappingProxyType({"geometry_file_format": "glb", "material": "PBR", "resolution": "Basic"}),
)


def _generation_price(options: Mapping[str, OptionValue]) -> Decimal:
    return Decimal("1.5") if options.get("addons") == "HighPack" else Decimal("0.5")


GENERATE: Final = JobKind(
    name="generate",
    noun="new model",
    done="made into a model",
    dropped="one to five images, or a prompt alone",
    files=MappingProxyType({Role.IMAGE: FileRule("images", least=0, most=5)}),
    load_options=_generate_options,
    path="/api/v2/rodin",
    list_price=_generation_price,
    fingerprint_prefix="generate-1:",
    has_preview=False,
    usual_seconds=90.0,
    duration_prefix="generate/",
    durations_by=MappingProxyType({"geometry_file_format": "glb", "material": "PBR"}),
    alone="prompt",
    sequels=("texture",),
)

KINDS: Final[Mapping[str, JobKind]] = {kind.name: kind for kind in (TEXTURE, GENERATE)}
"""All kinds, by their names; the first is that of a set that asks for none."""

DEFAULT: Final = next(iter(KINDS.values()))
"""The kind of a set that asks for none."""

SEQUELS: Final = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.sequels))
"""The kinds that a result can go on to; the options of each are in a table of its name."""

THEN_KEYS: Final = frozenset({"then", "then_image", *SEQUELS})
"""What TOML files say of the job that follows."""


WITH_SEQUELS: Final = " or ".join(kind.noun for kind in KINDS.values() if kind.sequels)
"""What can go on as another job, for people."""


def kind_of(job: Job) -> JobKind:
    """Return the kind of a job. Raises KeyError for one that this version does not know."""
    return KINDS[job.kind]


class Article(NamedTuple):
    """What can be bought: a kind of job at a price of the vendor's list. Purchases of one article are expected to cost alike."""

    kind: str
    listed: Decimal  # credits

    @property
    def noun(self) -> str:
        """What it is, for people."""
        return KINDS[self.kind].noun


def article(kind: str, options: Mapping[str, OptionValue]) -> Article:
    """Return what a job of this kind with these options buys."""
    return Article(kind, KINDS[kind].list_price(options))


def article_of(job: Job) -> Article:
    """Return what a job buys."""
    return article(job.kind, job.options)


def paid_by(balance: Decimal) -> Mapping[str, int]:
    """Return by kind of job how many of it a balance pays for, without options that cost more."""
    return {kind.name: max(int(balance // kind.list_price({})), 0) for kind in KINDS.values()}


def cheapest() -> Article:
    """Return the cheapest article of all kinds."""
    return min((article(kind.name, {}) for kind in KINDS.values()), key=lambda one: one.listed)
