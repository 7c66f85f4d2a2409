"""What a pydantic model allows, as a plain JSON schema and in words for people.

One source for the editor's schemas, for the comments of the example files and for the explanations of mistakes, so
that they cannot disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rodin_watchd.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

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

    TOML has no null, and some editors ignore whatever stands beside a `$ref`.
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
    return kind + _length(node) + _range(node)


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
