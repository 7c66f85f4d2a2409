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
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

from pydantic import Field, create_model

from rodin_watchd.core.options import Options, Prompt, Sent, choices, declared, option_words
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
    files: Mapping[Role, FileRule]  # but for the sidecar; in the order in which they are sent
    options: type[Options]
    path: str  # where at the vendor it is ordered
    list_price: Callable[[Mapping[str, OptionValue]], Decimal]  # credits, by the vendor's list, for these options
    fingerprint_prefix: str  # kept in journals for ever: what it stands for never changes
    has_preview: bool  # whether its result is waited for until it has the vendor's picture of it
    usual_seconds: float  # half of all tasks are done by then: a guess that counts as much as one finished task
    duration_prefix: str  # keeps its durations apart from those of other kinds

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of its files, in the order in which they are sent."""
        return tuple(self.files)

    def most(self, role: Role) -> int:
        """Return how many files of a role a set may have; one sidecar is always allowed."""
        return 1 if role is Role.SIDECAR else self.files[role].most if role in self.files else 0

    def duration_class(self, options: Mapping[str, OptionValue]) -> str:
        """Name the kind of a task by how long it takes: tasks of one name take about as long."""
        words = (str(options.get(key, default)) for key, default in choices(self.options).items())
        return f"{self.duration_prefix}{'/'.join(words)}"


class TextureOptions(Options):
    """The options of a texture (API contract, Generate Texture)."""

    prompt: Annotated[
        Prompt | None,
        Sent("prompt"),
        Field(description="Text that guides the texture.", examples=["worn oak, brass fittings"]),
    ] = None
    seed: Annotated[
        Annotated[int, Field(ge=0, le=65535)] | None,
        Sent("seed"),
        option_words(
            "Start value for random numbers: the same seed makes similar textures.", 7, "the vendor chooses one"
        ),
    ] = None
    reference_scale: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Sent("reference_scale", default=1, canonical=1),
        option_words("Scale of the reference image.", 1, "the vendor takes 1"),
    ] = None
    geometry_file_format: Annotated[
        Literal["glb", "usdz", "fbx", "obj", "stl"] | None,
        Sent("geometry_file_format", default="glb", canonical="glb"),
        option_words("Format of the textured model.", "glb", "the vendor makes glb"),
    ] = None
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

KINDS: Final[Mapping[str, JobKind]] = {kind.name: kind for kind in (TEXTURE,)}
"""All kinds, by their names; the first is that of a set that asks for none."""


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
    AnyOptions = TextureOptions  # checkers see the fields of one kind alone
else:
    AnyOptions = create_model(
        "Options",
        __base__=Options,
        __doc__="What to ask the vendor for, in a job of any kind.",
        **_fields(kind.options for kind in KINDS.values()),
    )
