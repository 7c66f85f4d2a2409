"""The options of all kinds of jobs together: what a TOML file may say before its kind is known."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, ValidationError, create_model

from rodin_watchd.core.kind_options import Options, TextureOptions
from rodin_watchd.core.kinds import KINDS, SEQUELS, THEN_KEYS, JobKind
from rodin_watchd.core.options import allowed_words, declared, plain_schema


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
