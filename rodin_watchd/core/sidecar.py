"""Reads the TOML files in the inbox: a set's sidecar, and the preset of a drop folder.

Everybody who can drop a file writes these. So an unknown key or value is refused, with its line and with what is
allowed: a misspelt key that is ignored would be a paid job with the wrong texture.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from rodin_watchd.core.any_options import AnyOptions, AnyRequest, KindName, SequelName, kinds_with, unfit_values
from rodin_watchd.core.kind_options import Options, Prompt, Seed
from rodin_watchd.core.kinds import DEFAULT, KINDS, SEQUELS, THEN_KEYS, WITH_SEQUELS, JobKind
from rodin_watchd.core.names import match_key
from rodin_watchd.core.options import declared, frozen, quoted, words_of
from rodin_watchd.core.references import MOST_JOBS, resolve_member
from rodin_watchd.core.toml_text import (
    LIMIT_BYTES,
    MOST_PROBLEMS,
    Document,
    TextProblem,
    dotted,
    explain_validation_error,
    parse,
    unfit,
)
from rodin_watchd.errors import SidecarError
from rodin_watchd.model import Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rodin_watchd.errors import Problem
    from rodin_watchd.model import OptionValue

PRESET_NAME: Final = "_folder.toml"
"""The name of the file that presets the options of every set in its folder and below."""

Reference: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000)]


def _one_word(again: bool | str) -> bool | str:
    """Return what `again` says, a word in one spelling."""
    if isinstance(again, bool):
        return again
    word = unicodedata.normalize("NFC", again).strip()
    if not word or not word.isprintable():
        raise ValueError("must be true, or a word of printable characters")
    if word.casefold() in ("true", "false"):
        raise ValueError(f"is {quoted(word)} in quotation marks: write {word.lower()} without them, or another word")
    return word


Again: TypeAlias = Annotated[bool | Annotated[str, Field(min_length=1, max_length=100)], AfterValidator(_one_word)]
"""Consent to pay once more; what it is worth says `core.dedup`."""


def _all_different(values: list[_Value]) -> list[_Value]:
    """Return a list whose values differ: two jobs of one set that are the same would be one purchase."""
    known = {words_of(value) if isinstance(value, str) else value for value in values}
    if len(known) < len(values):
        raise ValueError("names something twice: each stands for a job of its own")
    if "" in known:
        raise ValueError("holds a text without words")
    return values


_Value = TypeVar("_Value", str, int)

Seeds: TypeAlias = Annotated[list[Seed], Field(min_length=1, max_length=MOST_JOBS), AfterValidator(_all_different)]
Prompts: TypeAlias = Annotated[list[Prompt], Field(min_length=1, max_length=MOST_JOBS), AfterValidator(_all_different)]
References: TypeAlias = Annotated[list[Reference], Field(max_length=MOST_JOBS)]

_OPTION_OF: Final = MappingProxyType({"seeds": "seed", "variants": "seed", "prompts": "prompt"})
"""The keys that make several jobs of a set, each with the option by which the jobs differ."""

_EITHER: Final = (("seed", "seeds"), ("prompt", "prompts"), ("variants", "seeds"), ("model", "models"))
"""Keys that say the same in two ways: a TOML file has one of them."""

_Model = TypeVar("_Model", bound="Preset")

_ONE_SET_ONLY: Final = "this belongs into the TOML file of one set: _folder.toml is for every set of its folder"
_NOT_IN_PRESETS: Final = MappingProxyType(
    {
        "model": _ONE_SET_ONLY,
        "image": _ONE_SET_ONLY,
        "images": _ONE_SET_ONLY,
        "models": _ONE_SET_ONLY,
        "then_image": _ONE_SET_ONLY,
        "again": "this belongs into the TOML file of one set: in _folder.toml it would pay again and again for every set of the folder",
    }
)


class Preset(AnyRequest):
    """What every set of one folder has in common (`_folder.toml`)."""

    plugins: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="Settings for plugins: one table [plugins.NAME] for each."
    )
    kind: KindName | None = Field(
        default=None,
        description="What to make. "
        + "; ".join(f"{kind.name}: a {kind.noun}, of {kind.dropped}" for kind in KINDS.values())
        + f". Without it, the preset of the folder decides, else it is a {DEFAULT.noun}.",
        examples=["generate"],
    )
    then: SequelName | None = Field(
        default=None,
        description=f"Of a {WITH_SEQUELS}: what its result goes on to, as a purchase of its own, with an image of the set.",
        examples=["texture"],
    )
    seeds: Seeds | None = Field(
        default=None,
        description=f"One job for each of these seeds. All lists of a set multiply, to at most {MOST_JOBS} jobs; all are "
        "paid, and delivered into one folder.",
        examples=[[1, 2, 3]],
    )
    variants: Annotated[int, Field(ge=1, le=MOST_JOBS)] | None = Field(
        default=None,
        description="So many jobs, each with a seed of its own: from seed on, or from 1.",
        examples=[4],
    )
    prompts: Prompts | None = Field(
        default=None,
        description="One job for each of these prompts.",
        examples=[["worn oak, brass fittings", "black steel"]],
    )
    each: Literal["image", "model"] | None = Field(
        default=None,
        description="Of a sub-folder with several images, or several models, of a kind that takes one: each of them makes a job of "
        "its own. Without it, such a folder waits.",
        examples=["image"],
    )


class Sidecar(Preset):
    """What one set asks for."""

    model: Reference | None = Field(
        default=None,
        description="The model, if its name differs from this file's. A path from this file's folder, inside the inbox.",
        examples=["chair.glb"],
    )
    image: Reference | None = Field(
        default=None,
        description="The reference image, if its name differs from this file's; several sidecars may name the same. "
        "A path from this file's folder, inside the inbox.",
        examples=["oak.png"],
    )
    images: References | None = Field(
        default=None,
        description="Several images, as for image. A kind that takes several images takes all of them ([]: the prompt stands "
        "alone); of one that takes one image, each image makes a job of its own.",
        examples=[["front.png", "back.png"]],
    )
    models: Annotated[References, Field(min_length=1)] | None = Field(
        default=None,
        description="Several models, as for model: each makes a job of its own.",
        examples=[["chair.glb", "table.glb"]],
    )
    then_image: Reference | None = Field(
        default=None,
        description=f"Of a {WITH_SEQUELS}: the image for what follows, as for image, if it is not the first image of the set. "
        "The images of the set are named as well, with image or images.",
        examples=["oak.png"],
    )
    again: Again = Field(
        default=False,
        description="Pay once more for files and options that were paid for before: true, once; "
        'or a word, once for each word, for instance "second try".',
    )


@dataclass(frozen=True, slots=True)
class Misread:
    """A sidecar that cannot be used: what is wrong with it, and its text, which may name files that are meant for it alone."""

    problem: Problem
    text: str = ""
    unknown: str = ""  # for people: why nobody knows what it names, which may be any file then
    kind: str = ""  # of the job that it asks for, if that can be read
    plugins: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # as far as they can be read

    @classmethod
    def of(cls, problem: Problem, data: bytes) -> Self:
        """Take the text in whatever encoding it may be; names are looked for in it, and nothing else."""
        if len(data) > LIMIT_BYTES:
            return cls(problem, unknown="is too large to be read")
        marked = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
        encodings = (marked, *_OTHER_ENCODINGS, *(_WIDE_ENCODINGS if b"\0" in data else ()))
        texts = dict.fromkeys(data.decode(encoding, "replace") for encoding in encodings)
        spelled = (_with_plain_paths(spelling) for text in texts for spelling in (text, _without_escapes(text)))
        values = parse(data, "").values
        kind = values.get("kind")
        key = match_key("\n".join(dict.fromkeys(spelled)))
        return cls(problem, key, kind=str(kind) if kind in KINDS else "", plugins=_usable_tables(values))

    def mentions(self, name: str) -> bool:
        """Return whether a file of this name is named in it, by an artist's eye."""
        return match_key(name) in self.text

    def mentions_path(self, path: str) -> bool:
        """Return whether the last steps of a path in it are these, by an artist's eye."""
        key = match_key(path)
        return key in self.text and any(f"{before}{key}" in self.text for before in _BEFORE_STEPS)


_OTHER_ENCODINGS: Final = ("cp1252", "cp850", "mac_roman", "cp932")
_WIDE_ENCODINGS: Final = ("utf-16-le", "utf-16-be")
_ESCAPE: Final = re.compile(r"""\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(["\\])|[ \t]*\r?\n\s*)""")
_SEPARATORS: Final = re.compile(r"[\\/]+(?:\.[\\/]+)*")
_STEP_BACK: Final = re.compile(r"""(?<![^/"'])(?!\.\./)[^/"'\n]+/\.\./""")
_BEFORE_STEPS: Final = "/\"' =,\t\n"
_MOST_STEPS_BACK: Final = 32


def _without_escapes(text: str) -> str:
    """Return text as TOML's basic strings mean it, and JSON's, which write a character as two halves."""
    return _ESCAPE.sub(_meant, text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _meant(escape: re.Match[str]) -> str:
    code = next(filter(None, escape.groups()[:3]), "")
    try:
        return chr(int(code, 16)) if code else escape[4] or ""
    except (ValueError, OverflowError):  # no character has that number
        return escape[0]


def _with_plain_paths(text: str) -> str:
    """Return text in which each path is written with single "/", and without steps that lead nowhere."""
    text = _SEPARATORS.sub("/", text)
    for _ in range(_MOST_STEPS_BACK):
        text, count = _STEP_BACK.subn("", text)
        if not count:
            break
    return text


def read_sidecar(data: bytes, where: str, known_plugins: frozenset[str] = frozenset(), *, folder: str = "") -> Sidecar:
    """Understand the content of a sidecar that is in `folder` below the inbox.

    `where` names it for people, `known_plugins` are those installed. Raises SidecarError, which names every mistake on a
    line of its own, and nothing else, whatever the bytes are.
    """
    return _read(data, where, known_plugins, Sidecar, folder)


def read_preset(data: bytes, where: str, known_plugins: frozenset[str] = frozenset()) -> Preset:
    """Understand the content of a `_folder.toml`, as `read_sidecar` does; it cannot name files or pay again."""
    return _read(data, where, known_plugins, Preset)


def _read(data: bytes, where: str, known_plugins: frozenset[str], model: type[_Model], folder: str = "") -> _Model:
    document = parse(data, where)
    problems = [*document.problems, *_plugin_problems(document, known_plugins), *_reference_problems(document, folder)]
    problems += _unfit_values(document)
    try:
        read = model.model_validate(document.values)
    except ValidationError as error:
        problems += explain_validation_error(error, document, model, _NOT_IN_PRESETS)
    else:
        told = said_twice(read) | (misfits(KINDS[read.kind], read) if read.kind else {})
        problems += [TextProblem(key, document.line_of((key,)), words) for key, words in told.items()]
    if problems:
        raise SidecarError(document.report(problems))
    return read


def says(said: Preset, option: str) -> bool:
    """Return whether a TOML file has words for an option, once or in a list."""
    lists = (key for key, of in _OPTION_OF.items() if of == option)
    return bool(words_of(str(getattr(said, option) or ""))) or any(getattr(said, key) for key in lists)


def said_twice(said: Preset) -> dict[str, str]:
    """Return the keys of a TOML file that stand next to another one for the same thing: by key, why."""
    keys = said.model_fields_set
    return {
        one: f"{one}: it stands beside {other}; write one of them" for one, other in _EITHER if {one, other} <= keys
    }


def misfits(kind: JobKind, said: Preset) -> dict[str, str]:
    """Return what a TOML file says that a set of this kind cannot have: by key, why."""
    told: dict[str, str] = {}
    own, known = declared(kind.options), declared(AnyOptions)
    for key in sorted(said.model_fields_set):
        option = _OPTION_OF.get(key, key)
        if (option in known and option not in own) or (key in THEN_KEYS and not kind.sequels):
            others = " or ".join(f'kind = "{other.name}"' for other in kinds_with(option))
            told[key] = f'{key}: this is for {others}, not for kind = "{kind.name}"'
    if said.each and kind.most(Role(said.each)) != 1:
        told["each"] = f'each: a set of kind = "{kind.name}" does not take one {said.each} for each job'
    told |= unfit_values(kind, said)
    if isinstance(said, Sidecar):
        told |= _misnamed(kind, said)
    return told


def _misnamed(kind: JobKind, said: Sidecar) -> dict[str, str]:
    """Return what a sidecar says of files that a set of this kind has none, or not so many, of."""
    told = _miscounted(kind, said)
    for key in ("model", "models"):
        if getattr(said, key) and not kind.most(Role.MODEL):
            told[key] = f'{key}: a set of kind = "{kind.name}" has no model'
    if said.then_image and said.images is None and not said.image:
        told["then_image"] = (
            "then_image: name the images of the new model as well, with image or images (images = [] where the prompt "
            "stands alone)"
        )
    return told


def _miscounted(kind: JobKind, said: Sidecar) -> dict[str, str]:
    """Return what is wrong with how many images a sidecar names."""
    most, least = kind.most(Role.IMAGE), kind.least(Role.IMAGE)
    if said.images is None:
        few = f"image: a set of this kind has at least {least} images; name all of them with images"
        return {"image": few} if said.image and least > 1 else {}
    if not most:
        return {"images": f'images: a set of kind = "{kind.name}" has no image'}
    most = MOST_JOBS if most == 1 else most  # each makes a job of its own
    if not least <= len(said.images) <= most:
        limits = f"at least {least}" if len(said.images) < least else f"at most {most}"
        return {"images": f"images: {len(said.images)} are named; {limits} are taken"}
    return {"image": "image: it stands beside images; name all of them there"} if said.image else {}


def misled(kind: JobKind, presets: Sequence[Preset], sidecar: Sidecar | None, *, has_image: bool) -> list[str]:
    """Return what is wrong with what a set says of the job that follows, all its TOML files together.

    `has_image`: whether it has an image of its own.
    """
    if not kind.sequels:  # `misfits` says so
        return []
    then = sequel_of(kind, *presets, *([sidecar] if sidecar else []))
    other = sidecar.then_image if sidecar else None
    told = [
        f'[{name}]: this is for then = "{name}"' for name in SEQUELS if name != then and getattr(sidecar, name, None)
    ]
    if other and not then:
        told.append("then_image: this is for a set with then")
    if then and not (has_image or other):
        told.append(f'then_image: with then = "{then}" a set without an image names one')
    return told


def sequel_of(kind: JobKind, *layers: Preset) -> str:
    """Return the kind that the result of a set goes on to, by the nearest TOML file that says one; "" for none."""
    said = next((layer.then for layer in reversed(layers) if layer.then), "")
    return said if said in kind.sequels else ""


def layered_of_sequel(name: str, defaults: Options, *layers: Preset) -> dict[str, OptionValue]:
    """Put the options of the job that follows over each other: the config's `[defaults]`, then the tables of its name."""
    tables = (getattr(layer, name) for layer in layers)
    return layered(defaults, *filter(None, tables), kind=KINDS[name])


def _reference_problems(document: Document, folder: str) -> Iterator[TextProblem]:
    """Yield what is wrong with the paths that a sidecar names."""
    values = document.values
    named = [(key, values.get(key)) for key in ("model", "image", "then_image")]
    for key in ("models", "images"):
        several = values.get(key)
        named += [(key, one) for one in (several if isinstance(several, list) else ())]
    for key, reference in named:
        if not isinstance(reference, str) or not reference:
            continue  # reported by the model's own check
        try:
            resolve_member(reference, folder)
        except SidecarError as error:
            yield TextProblem(key, document.line_of((key,)), f"{key}: {error.message}")


def _plugin_problems(document: Document, known_plugins: frozenset[str]) -> list[TextProblem]:
    tables = document.values.get("plugins")
    names = tables.keys() - known_plugins if isinstance(tables, dict) else ()
    return [_not_installed(document, name, known_plugins) for name in sorted(names)[:MOST_PROBLEMS]]


def _unfit_values(document: Document) -> Iterator[TextProblem]:
    """Yield the settings for plugins that hold what only TOML knows."""
    tables = document.values.get("plugins")
    for name, table in tables.items() if isinstance(tables, dict) else ():
        for key, value in table.items() if isinstance(table, dict) else ():
            if why := unfit(value):
                path = ("plugins", name, key)
                yield TextProblem(dotted(path), document.line_of(path), f"{dotted(path)} {why}")


def _not_installed(document: Document, name: str, known_plugins: frozenset[str]) -> TextProblem:
    path = ("plugins", name)
    near = get_close_matches(name, known_plugins, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    message = f"{dotted(path)}: no plugin of this name is installed{hint}"
    return TextProblem(dotted(path), document.line_of(path), message)


def layered(*layers: Options, kind: JobKind = DEFAULT) -> dict[str, OptionValue]:
    """Put layers of options over each other: a later one wins, but only in what it sets, and in what the kind has.

    In order: the config's `[defaults]`, the presets from the outermost folder inwards, the sidecar.
    """
    own = declared(kind.options)
    return {key: value for layer in layers for key, value in frozen(layer).items() if key in own}


def _usable_tables(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return the settings for plugins that can be handed to them, whatever else is wrong in the text."""
    tables = values.get("plugins")
    found = tables.items() if isinstance(tables, dict) else ()
    return {name: table for name, table in found if isinstance(table, dict) and not unfit(table)}


def layered_plugins(*layers: Preset | Misread) -> dict[str, dict[str, object]]:
    """Put what layers say to plugins over each other, key by key, in the same order."""
    tables: dict[str, dict[str, object]] = {}
    for layer in layers:
        for name, table in layer.plugins.items():
            tables[name] = {**tables.get(name, {}), **table}
    return tables
