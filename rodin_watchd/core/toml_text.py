"""TOML that people write, with the lines that their mistakes are on.

Sidecars come from anybody who can drop a file, so the text is hostile: its size and its nesting are bounded before
it is parsed (a dotted key of some thousand parts costs the standard parser seconds), and nothing but the kind of a
nested value is ever repeated in a message. TOML 1.0.0 is what `tomllib` reads.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rodin_watchd.core.names import printable
from rodin_watchd.core.options import Node, allowed_words, node_at, plain_schema, quoted, shown

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

KeyPath: TypeAlias = tuple[str | int, ...]
"""The keys that lead to a value; a number counts the tables of an array of tables, from 0."""

LIMIT_BYTES: Final = 65_536
"""The largest text that is read: 64 KiB."""

MOST_PROBLEMS: Final = 50
"""How many mistakes of one kind are named one by one."""

_DEEPEST: Final = 16
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_POSITION: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")
_NESTING: Final = MappingProxyType({"[": 1, "{": 1, "]": -1, "}": -1})
_TOKEN: Final = re.compile(
    r'''
      (?P<string> """(?:[^"\\]++|\\.|"(?!""))*+"{3,5} | \'\'\'(?:[^']++|'(?!\'\'))*+'{3,5}
                | "(?:[^"\\\n]++|\\.)*+" | '[^'\n]*+' )
    | (?P<bare> [^\s"'\#\[\]{}=,.]++ )
    | (?P<dot> \. )
    | (?P<mark> [\[\]{}=,] )
    | (?P<line> \n )
    | (?P<blank> [ \t\r]++ | \#[^\n]*+ )
    ''',
    re.VERBOSE | re.DOTALL,
)
_BACKSLASH: Final = "a backslash inside \"double quotes\" is special: write paths with / or in 'single quotes'"
_UNCLOSED: Final = "the closing quote of a text is missing"
_PLAIN_ENGLISH: Final = MappingProxyType(
    {
        "Invalid value": 'this is not a value; text needs "double quotes"',
        "Unescaped '\\' in a string": _BACKSLASH,
        "Invalid hex value": _BACKSLASH,
        "Cannot overwrite a value": "this key is written twice",
        "Unterminated string": _UNCLOSED,
        "Illegal character '\\n'": _UNCLOSED,
        'Expected "\'"': _UNCLOSED,
        "Cannot declare": "this table is written twice",
        "Expected '=' after a key in a key/value pair": "a line must read key = value",
    }
)


@dataclass(frozen=True, slots=True)
class TextProblem:
    """One mistake in a text."""

    key: str  # dotted, as it would be written; "" when it concerns the whole text
    line: int | None  # from 1; None when it is not known
    message: str  # a sentence for people that names the key


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text; when it has problems, it has no values."""

    where: str  # the file's name, for people
    values: Mapping[str, object] = field(default_factory=dict)
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    problems: tuple[TextProblem, ...] = ()

    def line_of(self, path: KeyPath) -> int | None:
        """Give the line, from 1, where a key or table begins, else that of the nearest table around it, else None."""
        prefixes = (path[:length] for length in range(len(path), 0, -1))
        return next((self.lines[prefix] for prefix in prefixes if prefix in self.lines), None)

    def report(self, problems: Sequence[TextProblem]) -> str:
        """Write problems for people in the order of their lines, one on a line, behind the file's name."""
        name = printable(self.where)
        return "\n".join(
            f"{name}: {problem.message}" if problem.line is None else f"{name} line {problem.line}: {problem.message}"
            for problem in sorted(problems, key=lambda problem: problem.line or math.inf)
        )


# ---- parsing --------------------------------------------------------------------------------------------------------


def parse(text: bytes, where: str) -> Document:
    """Parse UTF-8 TOML of at most `LIMIT_BYTES`, with or without a byte order mark; never raises on any bytes.

    `where` names the file in reports. TOML itself is read up to its first mistake, so at most one problem is named.
    """
    if len(text) > LIMIT_BYTES:
        return _failed(where, None, f"the file is larger than {LIMIT_BYTES:,} bytes")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        return _failed(where, line, "this is not UTF-8 text: save the file with the encoding UTF-8")
    return _parsed(decoded, where)


def loaded(data: bytes) -> dict[str, Any]:
    """Return what a TOML file of the service's own holds: a receipt, a report; anybody may have written it.

    Raises ValueError for what is not TOML, and for what is nested deeper than the service writes anything.
    """
    text = data.decode()
    if _too_deep(text) is not None:
        raise ValueError(f"more than {_DEEPEST} tables or lists inside each other")
    return tomllib.loads(text)


def _failed(where: str, line: int | None, message: str) -> Document:
    return Document(where, problems=(TextProblem("", line, message),))


def _parsed(text: str, where: str) -> Document:
    too_deep = _too_deep(text)
    if too_deep is not None:
        return _failed(where, _line_at(text, too_deep), f"more than {_DEEPEST} tables or lists inside each other")
    try:
        return Document(where, tomllib.loads(text), _key_lines(text))
    except tomllib.TOMLDecodeError as error:
        return _failed(where, *_syntax_problem(str(error), text))
    except ValueError:  # from int(): Python refuses to read thousands of digits
        return _failed(where, None, "a number has far too many digits")


def _syntax_problem(complaint: str, text: str) -> tuple[int, str]:
    found = _POSITION.search(complaint)
    line, column = (found[1], found[2]) if found else (None, None)
    cause = _POSITION.sub("", complaint)
    known = (words for start, words in _PLAIN_ENGLISH.items() if cause.startswith(start))
    plain = next(known, f"this is not TOML: {printable(cause)}")
    return (int(line), f"{plain} (column {column})") if line else (_line_at(text.rstrip(), len(text)), plain)


def _line_at(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


# ---- where keys are -------------------------------------------------------------------------------------------------


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """Yield TOML's tokens up to the first thing that cannot be one, in linear time whatever the text."""
    position = 0
    while found := _TOKEN.match(text, position):
        yield found
        position = found.end()


def _too_deep(text: str) -> int | None:
    depth = dots = 0
    for token in _tokens(text):
        depth += _NESTING.get(token[0], 0)
        if token.lastgroup in ("mark", "line"):
            dots = 0
        dots += token.lastgroup == "dot"
        if max(depth, dots) > _DEEPEST:
            return token.start()
    return None


def _key_lines(text: str) -> dict[KeyPath, int]:
    """Find the line of each key and table of a text that is known to be TOML; inline tables count as one value."""
    lines: dict[KeyPath, int] = {}
    arrays: Counter[KeyPath] = Counter()
    table: KeyPath = ()
    for statement in _statements(text):
        if statement[0][0] == "[":
            path = table = _opened(statement, arrays)
        else:
            path = table + _key_parts(statement)
        line = _line_at(text, statement[0].start())
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], line)
    return lines


def _statements(text: str) -> Iterator[list[re.Match[str]]]:
    """Yield the tokens of each header and of each key with its value, which may go over several lines."""
    depth = 0
    statement: list[re.Match[str]] = []
    for token in _tokens(text + "\n"):
        depth += _NESTING.get(token[0], 0)
        if token.lastgroup not in ("line", "blank"):
            statement.append(token)
        elif token.lastgroup == "line" and statement and not depth:
            yield statement
            statement = []


def _opened(header: list[re.Match[str]], arrays: Counter[KeyPath]) -> KeyPath:
    """Give the path of `[table]` or `[[array of tables]]`, and count the latter."""
    is_array = header[1][0] == "["
    *outer, name = _key_parts(header[1 + is_array :])
    path: KeyPath = ()
    for part in outer:
        path = _latest((*path, part), arrays)
    path = (*path, name)
    arrays.update([path] * is_array)
    return _latest(path, arrays)


def _latest(path: KeyPath, arrays: Counter[KeyPath]) -> KeyPath:
    return (*path, arrays[path] - 1) if path in arrays else path


def _key_parts(tokens: list[re.Match[str]]) -> tuple[str, ...]:
    key = takewhile(lambda token: token[0] not in ("=", "]"), tokens)
    return tuple(_unquoted(token) for token in key if token.lastgroup in ("bare", "string"))


def _unquoted(token: re.Match[str]) -> str:
    return str(tomllib.loads(f"key = {token[0]}")["key"]) if token.lastgroup == "string" else token[0]


# ---- what is wrong --------------------------------------------------------------------------------------------------


def dotted(path: KeyPath) -> str:
    """Write a path of keys as TOML does, safe to show."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else quoted(part) for part in map(str, path))[:200]


def explain_validation_error(
    error: ValidationError,
    document: Document,
    model: type[BaseModel],
    refused: Mapping[str, str] = MappingProxyType({}),
) -> list[TextProblem]:
    """Report every mistake that pydantic found in a document's values, each key once (of very many, the first ones).

    `model` is what the values were checked against. `refused` gives a reason of its own for some unknown keys, which
    are named in lower case with `_`. Values of unknown keys are not repeated: they may be secrets; nor is the list of what
    is known in one table.
    """
    schema = plain_schema(model)
    details = error.errors(include_url=False)
    problems: dict[KeyPath, TextProblem] = {}
    listed: set[KeyPath] = set()
    for detail in details[:MOST_PROBLEMS]:
        path, message = _explained(detail, schema, refused, listed)
        problems.setdefault(path, TextProblem(dotted(path), document.line_of(path), message))
    more = len(details) - MOST_PROBLEMS
    rest = [TextProblem("", None, f"and {more} more problems")] if more > 0 else []
    return [*problems.values(), *rest]


def _explained(
    detail: ErrorDetails, schema: Node, refused: Mapping[str, str], listed: set[KeyPath]
) -> tuple[KeyPath, str]:
    """Return where a mistake is, and say it; `listed` are the tables whose known keys were said already."""
    location = detail["loc"]
    path, node = node_at(schema, location)
    if detail["type"] == "extra_forbidden" or _is_no_table(detail, schema):
        name = str(location[-1])
        node = node_at(schema, location[:-1])[1]
        hint = _hint(schema, node, name) or _known_in(node, location[:-1], listed)
        reason = refused.get(_usual_spelling(name)) or f"unknown key{hint and f'; {hint}'}"
        return location, f"{dotted(location)}: {reason}"
    if detail["type"] == "value_error":
        return path, f"{dotted(path)} {detail['ctx']['error']}"
    return path, f"{dotted(path)} must be {allowed_words(node)}, but {_fact(detail)}"


def _is_no_table(detail: ErrorDetails, schema: Node) -> bool:
    """Return whether an unknown key stands where only tables may have names of their own."""
    known = node_at(schema, detail["loc"][:-1])[1].get("properties", {})
    return detail["type"] == "model_type" and detail["loc"][-1] not in known


def _fact(detail: ErrorDetails) -> str:
    value = detail["input"]
    if detail["type"] in ("string_too_long", "string_too_short"):
        return f"has {len(value)}"
    return f"is {shown(value)}"


def _usual_spelling(name: str) -> str:
    return name.lower().replace("-", "_")


def _hint(schema: Node, node: Node, name: str) -> str:
    """Say where an unknown key belongs, or which known key it is like; "" for neither."""
    here = node["properties"]
    usual = _usual_spelling(name)
    homes = {key: home for home, inside in schema["properties"].items() for key in inside.get("properties", ())}
    if usual in homes and usual not in here:
        return f"{usual} belongs under [{homes[usual]}]"
    near = get_close_matches(usual, here, n=1)
    if near:
        return f"did you mean {near[0]}?"
    elsewhere = get_close_matches(usual, homes, n=1)
    if elsewhere:
        return f"did you mean {elsewhere[0]} under [{homes[elsewhere[0]]}]?"
    return ""


def _known_in(node: Node, table: KeyPath, listed: set[KeyPath]) -> str:
    """Say what is allowed in a table, the first time."""
    if table in listed:
        return ""
    listed.add(table)
    return "known here: " + ", ".join(node["properties"])


# ---- What plugins' settings may hold: what JSON and TOML both know. Pure --------------------------------------------


_DEEPEST_VALUE: Final = 8


def unfit(value: object, depth: int = 0) -> str:
    """Say what in a value cannot be handed to a plugin, or return ""."""
    if depth > _DEEPEST_VALUE:
        return "has too many tables or lists inside each other"
    if isinstance(value, dict):
        return next(filter(None, (unfit(part, depth + 1) for part in value.values())), "")
    if isinstance(value, list):
        return next(filter(None, (unfit(part, depth + 1) for part in value)), "")
    if isinstance(value, float) and not math.isfinite(value):
        return "contains a number that is not finite"
    if isinstance(value, str | int | float):
        return ""
    return 'contains a date or a time: put it in "double quotes"'
