"""The options of the vendor's tasks: what is made of what each kind of job declares once.

A kind of job declares its options as the fields of a model (`core.kind_options`). Nothing here makes such a model, so whoever
only reads jobs loads none, nor the library that checks them. From a field come the sidecar's and the config's
key, what may stand there, its words in the schemas and the example files, the text part that is sent, the receipt's entry,
and what the fingerprint makes of it. `docs/intake.md` has the table of them for artists (`tools/write_docs.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rodin_watchd.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from rodin_watchd.model import OptionValue

_UNSEEN: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
"""What editors and web pages leave in text: soft hyphen, zero-width space, marks of direction, word joiner, byte order mark.

The two joiners (U+200C, U+200D) are not among them: they change what is read, in Persian and in emoji.
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """How an option is sent, and what the vendor takes where it is not.

    `default` is what the vendor documents today, None where leaving it out means no fixed value. `canonical` is what the
    fingerprint takes for "left out": it stays as it is when the vendor's default changes, because journals
    keep fingerprints (`core.dedup`); a test pins it.
    """

    part: str  # the name of the text part
    default: OptionValue | None = None
    canonical: OptionValue | None = None


@cache
def declared(model: type[BaseModel]) -> Mapping[str, Sent]:
    """Return how each option of a model is sent, by the key that sidecars and the journal use, in the order of the fields."""
    said = ((name, [m for m in f.metadata if isinstance(m, Sent)]) for name, f in model.model_fields.items())
    return MappingProxyType({name: sent[0] for name, sent in said if sent})


def frozen(options: BaseModel) -> dict[str, OptionValue]:
    """Give the options that are set, ready to be stored with a job and sent."""
    return options.model_dump(include=set(declared(type(options))), exclude_none=True)


def text_of(value: OptionValue) -> str:
    """Return an option's value as it is sent: numbers in plain digits. Raises ValueError for one that is not finite."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    number = Decimal(repr(value))
    if not number.is_finite():
        raise ValueError("an option's number must be finite")
    return format(number.normalize(), "f") if number else "0"


def canonical(model: type[BaseModel], options: Mapping[str, OptionValue]) -> dict[str, str]:
    """Return what options mean, whatever their spelling: what says what holds anyway is left out, 1.0 is 1.

    Text counts by its words: not by how much space is around and between them, in whichever way their accents are stored
    (NFC), and without the characters that nobody sees; text without any word is no text. This is part of the fingerprints
    (of textures: version 2) and is not changed any more.
    """
    spelled = {name: _spelled(value) for name, value in options.items()}
    left_out = _left_out(model)
    return {name: text for name, text in spelled.items() if text not in ("", left_out.get(name))}


def _spelled(value: OptionValue) -> str:
    return words_of(value) if isinstance(value, str) else text_of(value)


def words_of(text: str) -> str:
    """Return the words of a text in one spelling: NFC, one space between them, nothing that is never seen."""
    return " ".join(unicodedata.normalize("NFC", text.translate(_UNSEEN)).split())


@cache
def _left_out(model: type[BaseModel]) -> Mapping[str, str]:
    said = declared(model).items()
    return MappingProxyType({name: _spelled(s.canonical) for name, s in said if s.canonical is not None})


# ---- What a model says of its fields: the words of schemas, examples and messages -----------------------------------


Node: TypeAlias = dict[str, Any]
"""A JSON schema (draft 2020-12), or a piece of one."""

_KINDS: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a table",
    "path": "a path",
    "string": "text",
    "uri": "an address",
}
_SHOWN_CHARACTERS: Final = 60
_SHOWN_BITS: Final = 64


def plain_schema(model: type[BaseModel]) -> Node:
    """Give the model's JSON schema without references and without null.

    TOML has no null, and some editors ignore whatever stands next to a `$ref`.
    """
    schema = model.model_json_schema()
    plain: Node = _plain(schema, schema.get("$defs", {}))
    return plain


def _plain(node: Any, definitions: Node) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    merged = _dereferenced(_without_null(_dereferenced(node, definitions)), definitions)
    return {key: _plain(value, definitions) for key, value in merged.items() if key != "$defs"}


def _dereferenced(node: Node, definitions: Node) -> Node:
    if "$ref" not in node:
        return node
    name = node["$ref"].rpartition("/")[2]
    return {**definitions[name], **{key: value for key, value in node.items() if key != "$ref"}}


def _without_null(node: Node) -> Node:
    kept = {key: value for key, value in node.items() if (key, value) != ("default", None)}
    choices = [choice for choice in kept.get("anyOf", ()) if choice != {"type": "null"}]
    if not choices:
        return kept
    beside = {key: value for key, value in kept.items() if key != "anyOf"}
    return {**choices[0], **beside} if len(choices) == 1 else {"anyOf": choices, **beside}


def node_at(schema: Node, path: Sequence[str | int]) -> tuple[tuple[str | int, ...], Node]:
    """Follow a path of keys as far as a plain schema names them: the part of the path that was followed, its node."""
    for length, key in enumerate(path):
        child = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        if not isinstance(child, dict):
            return tuple(path[:length]), schema
        schema = child
    return tuple(path), schema


def allowed_words(node: Node) -> str:
    """Say what a piece of a plain schema allows, as the end of a sentence: "a whole number from 0 to 65535"."""
    return " or ".join(_words(choice) for choice in node.get("anyOf", [node]))


def _words(node: Node) -> str:
    if "const" in node:
        return quoted(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(map(quoted, node["enum"]))
    kind = _KINDS.get(node.get("format", "")) or _KINDS[node["type"]]
    return kind + _items(node) + _length(node) + _range(node)


def _items(node: Node) -> str:
    """Say what a list holds, and how much of it."""
    if "items" not in node:
        return ""
    least, most = node.get("minItems", 0), node.get("maxItems")
    size = "" if most is None else f" of {most}" if least == most else f" of {least} to {most}"
    return f"{size}, each {allowed_words(node['items'])}"


def _length(node: Node) -> str:
    return f" of {node['minLength']} to {node['maxLength']} characters" if "maxLength" in node else ""


def _range(node: Node) -> str:
    low, above, high = (node.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if above is not None and high is not None:
        return f" above {above}, at most {high}"
    return f" above {above}" if above is not None else ""


def quoted(text: str, limit: int = _SHOWN_CHARACTERS) -> str:
    """Show hostile text on one line, in double quotes, with at most `limit` characters of it."""
    return f'"{printable(text, limit)}"'


def shown(value: object) -> str:
    """Show a TOML value to people who are to find it in their file: bounded, and tables and lists not at all."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"{quoted(value)} (text)"
        case int() if value.bit_length() > _SHOWN_BITS:
            return "a far larger number"
        case int() | float():
            return str(value)
        case dict() | list():
            return _KINDS["object" if isinstance(value, dict) else "array"]
    return "a date or a time"
