"""The kinds of jobs: what each takes, asks for, costs and makes. A new kind is one entry of `KINDS`.

A kind says which roles of files make a set and how many of each, which options there are, where at the vendor it is ordered
and by which parts, what it costs by the vendor's list, by which fingerprint its purchases are known, and what its result
holds. Everything else asks the kind, and knows none by name. What a kind's request and answers look like on the wire beyond
that is in `core.wire`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeAlias, get_args, get_origin

from pydantic import Field, ValidationError, create_model

from rodin_watchd.core.options import (
    Box,
    Options,
    Prompt,
    Seed,
    Sent,
    Word,
    allowed_words,
    choices,
    declared,
    option_words,
    plain_schema,
)
from rodin_watchd.model import MODEL_LIMIT_BYTES, Job, OptionValue, Role


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
    options: type[Options]
    path: str  # where at the vendor it is ordered
    list_price: Callable[[Mapping[str, OptionValue]], Decimal]  # credits, by the vendor's list, for these options
    fingerprint_prefix: str  # kept in journals for ever: what it stands for never changes
    has_preview: bool  # whether its result is waited for until it has the vendor's picture of it
    usual_seconds: float  # half of all tasks are done by then: a guess that counts as much as one finished task
    duration_prefix: str  # keeps its durations apart from those of other kinds
    alone: str = ""  # the option that can stand for all files of a set; "": none can
    sequels: tuple[str, ...] = ()  # the kinds that its result can go on to, each made of one model and one image

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
        words = (str(options.get(key, default)) for key, default in choices(self.options).items())
        return f"{self.duration_prefix}{'/'.join(words)}"


SeedOption: TypeAlias = Annotated[
    Seed | None,
    Sent("seed"),
    option_words("Start value for random numbers: the same seed makes similar results.", 7, "the vendor chooses one"),
]
FormatOption: TypeAlias = Annotated[
    Literal["glb", "usdz", "fbx", "obj", "stl"] | None,
    Sent("geometry_file_format", default="glb", canonical="glb"),
    option_words("Format of the model that is made.", "glb", "the vendor makes glb"),
]
"""Options that mean the same for each kind that has them."""


class TextureOptions(Options):
    """The options of a texture (API contract, Generate Texture)."""

    prompt: Annotated[
        Prompt | None,
        Sent("prompt"),
        Field(description="Text that guides the texture.", examples=["worn oak, brass fittings"]),
    ] = None
    seed: SeedOption = None
    reference_scale: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Sent("reference_scale", default=1, canonical=1),
        option_words("Scale of the reference image.", 1, "the vendor takes 1"),
    ] = None
    geometry_file_format: FormatOption = None
    material: Annotated[
        Literal["PBR", "Shaded"] | None,
        Sent("material", default="PBR", canonical="PBR"),
        option_words(
            "PBR: maps for a physically based renderer; Shaded: the light is part of one picture.",
            "PBR",
            "the vendor makes PBR",
        ),
    ] = None
    resolution: Annotated[
        Literal["Basic", "High"] | None,
        Sent("resolution", default="Basic", canonical="Basic"),
        option_words("Size of the texture: Basic is 2K, High is 4K.", "Basic", "the vendor makes Basic"),
    ] = None
    escore: Annotated[
        float | None,
        Sent("escore", default=3.5, canonical=3.5),
        option_words("A number that the vendor does not explain.", 3.5, "the vendor takes 3.5"),
    ] = None


TEXTURE: Final = JobKind(
    name="texture",
    noun="texture",
    done="textured",
    dropped="a model and an image of the same name",
    files=MappingProxyType(
        {Role.MODEL: FileRule("model", most_bytes=MODEL_LIMIT_BYTES), Role.IMAGE: FileRule("image")},
    ),
    options=TextureOptions,
    path="/api/v2/rodin_texture_only",
    list_price=lambda _options: Decimal("0.5"),
    fingerprint_prefix="v2:",
    has_preview=True,
    usual_seconds=60.0,
    duration_prefix="",
)


class GenerateOptions(Options):
    """What to ask the vendor for, for a new model (API contract, Rodin Generation)."""

    prompt: Annotated[
        Prompt | None,
        Sent("prompt"),
        Field(
            description="Of a new model: what it looks like. It can replace all images.",
            examples=["worn oak, brass fittings"],
        ),
    ] = None
    seed: SeedOption = None
    geometry_file_format: FormatOption = None
    material: Annotated[
        Literal["PBR", "Shaded", "All", "None"] | None,
        Sent("material", default="PBR", canonical="PBR"),
        option_words("Of a new model also All: both, and None: no texture.", "PBR", "the vendor makes PBR"),
    ] = None
    tier: Annotated[
        Word | None,
        Sent("tier"),
        option_words("Of a new model: the vendor's tier, passed on as it is.", "Regular", "the vendor chooses"),
    ] = None
    quality: Annotated[
        Word | None,
        Sent("quality"),
        option_words("Of a new model: how fine its mesh is, passed on as it is.", "medium", "the vendor chooses"),
    ] = None
    mesh_mode: Annotated[
        Word | None,
        Sent("mesh_mode"),
        option_words("Of a new model: how its mesh is made, passed on as it is.", "Quad", "the vendor chooses"),
    ] = None
    bbox_condition: Annotated[
        Box | None,
        Sent("bbox_condition"),
        option_words(
            "Of a new model: the box that it fills: width, height and length.", [100, 100, 100], "no box is given"
        ),
    ] = None
    use_original_alpha: Annotated[
        bool | None,
        Sent("use_original_alpha"),
        option_words(
            "Of a new model: whether transparent parts of the images are taken as they are.", True, "the vendor chooses"
        ),
    ] = None
    addons: Annotated[
        Literal["HighPack"] | None,
        Sent("addons"),
        option_words(
            "Of a new model: HighPack costs 1 credit more.",
            "HighPack",
            "there is no addon",
        ),
    ] = None


def _generation_price(options: Mapping[str, OptionValue]) -> Decimal:
    return Decimal("1.5") if options.get("addons") == "HighPack" else Decimal("0.5")


GENERATE: Final = JobKind(
    name="generate",
    noun="new model",
    done="made into a model",
    dropped="one to five images, or a prompt alone",
    files=MappingProxyType({Role.IMAGE: FileRule("images", least=0, most=5)}),
    options=GenerateOptions,
    path="/api/v2/rodin",
    list_price=_generation_price,
    fingerprint_prefix="generate-1:",
    has_preview=False,
    usual_seconds=90.0,
    duration_prefix="generate/",
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


# ---- The options of all kinds together: what a TOML file may say before its kind is known ---------------------------


def _fields(models: Iterable[type[Options]]) -> dict[str, Any]:
    """Return the fields of a model that takes what any of these takes. Raises TypeError where they cannot be joined."""
    joined: dict[str, Any] = {}
    for model in models:
        for name, sent in declared(model).items():
            field = model.model_fields[name]
            known = joined.get(name)
            annotation = field.annotation if known is None else _either(known[0], field.annotation)
            said = field.description or ""
            if known and said not in known[2]:
                said = f"{known[2]} {said}"
            joined[name] = (annotation, known[1] if known else sent, said, field.examples)
    return {
        name: (Annotated[annotation, sent, Field(description=said, examples=examples)], None)
        for name, (annotation, sent, said, examples) in joined.items()
    }


def _either(one: Any, other: Any) -> Any:  # noqa: ANN401 - types as values
    """Return the type of what one of two options of the same name takes: equal ones, or choices of words."""
    if one == other:
        return one
    words = [
        word for part in (*get_args(one), *get_args(other)) if get_origin(part) is Literal for word in get_args(part)
    ]
    if not words:
        raise TypeError(f"options of one name that are not alike: {one}, {other}")
    return Literal[tuple(dict.fromkeys(words))] | None


if TYPE_CHECKING:
    KindName = str
    SequelName = str
    AnyOptions = TextureOptions  # checkers see the fields of one kind alone
    AnyRequest = TextureOptions
else:
    KindName = Literal[tuple(KINDS)]
    SequelName = Literal[SEQUELS]
    AnyOptions = create_model(
        "Options",
        __base__=Options,
        __doc__="What to ask the vendor for, in a job of any kind.",
        **_fields(kind.options for kind in KINDS.values()),
    )
    AnyRequest = create_model(
        "Request",
        __base__=AnyOptions,
        __doc__="The options of a job of any kind, and in tables those of the job that follows.",
        **{
            name: (
                KINDS[name].options | None,
                Field(
                    default=None,
                    description=f'The options of the {KINDS[name].noun} that follows with then = "{name}".',
                ),
            )
            for name in SEQUELS
        },
    )


def kinds_with(key: str) -> tuple[JobKind, ...]:
    """Return the kinds that have this option, or whose results can go on, for what is said of that."""
    return tuple(
        kind for kind in KINDS.values() if key in declared(kind.options) or (key in THEN_KEYS and kind.sequels)
    )


@cache
def _narrower(model: type[Options]) -> frozenset[str]:
    """Return the options that allow less in this model than in that of all kinds."""
    joined = AnyOptions.model_fields
    return frozenset(name for name in declared(model) if model.model_fields[name].annotation != joined[name].annotation)


def unfit_values(kind: JobKind, said: Options) -> dict[str, str]:
    """Return the options that a kind has, with a value that it does not take, each with why."""
    narrow = {name: getattr(said, name) for name in _narrower(kind.options) & said.model_fields_set}
    if not narrow:
        return {}
    try:
        kind.options.model_validate(narrow)
    except ValidationError as error:
        wrong = {str(e["loc"][0]) for e in error.errors(include_url=False, include_input=False)}
        nodes = plain_schema(kind.options)["properties"]
        return {name: f"{name}: a {kind.noun} takes {allowed_words(nodes[name])}" for name in sorted(wrong)}
    return {}
