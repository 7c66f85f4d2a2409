"""TOML with line numbers."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from textwrap import dedent
from typing import Literal

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rodin_watchd.core.toml_text import (
    LIMIT_BYTES,
    Document,
    KeyPath,
    TextProblem,
    dotted,
    explain_validation_error,
    loaded,
    parse,
)

SAMPLE = dedent('''\
    # a comment with [brackets] and "quotes
    top = 1
    "quo\\u0074ed key" = '[not] a key = 1'
    text = """
    inside = 1
    [not.a.table]
    \\""" still inside
    """"
    literal = \'\'\'
    also = 2
    \'\'\'\'\'

    [table]  # behind it
    a.b . 'c d' = 3
    list = [
      1,  # [[x]]
      { inline = "]" },
    ]
    after = "a # b"

    [other.deep]
    x = 1979-05-27 07:32:00Z

    [[tree]]
    name = 1
    [tree.leaf]
    green = true
    [[tree]]
    name = 2
    [tree.leaf]
    green = 1.5
    [[tree.twig]]
    long = -1e3
    [[tree.twig]]
    long = +inf''')


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("quoted key",), 3),
        (("text",), 4),
        (("inside",), None),
        (("not",), None),
        (("literal",), 9),
        (("also",), None),
        (("table",), 13),
        (("table", "a"), 14),
        (("table", "a", "b", "c d"), 14),
        (("table", "list"), 15),
        (("table", "list", 1, "inline"), 15),
        (("table", "after"), 19),
        (("table", "missing"), 13),
        (("other",), 21),
        (("other", "deep", "x"), 22),
        (("tree",), 24),
        (("tree", 0, "name"), 25),
        (("tree", 0, "leaf", "green"), 27),
        (("tree", 1), 28),
        (("tree", 1, "name"), 29),
        (("tree", 1, "leaf", "green"), 31),
        (("tree", 1, "twig", 0, "long"), 33),
        (("tree", 1, "twig", 1, "long"), 35),
        ((), None),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_line_of_every_key_is_known(path: KeyPath, line: int | None, newline: str) -> None:
    """Keys are found where they are written; strings, comments and values over several lines do not mislead."""
    document = parse(SAMPLE.replace("\n", newline).encode(), "sample.toml")
    assert document.problems == ()
    assert document.line_of(path) == line


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (b"material = PBR", 1, 'text needs "double quotes"'),
        (b'a = 1\nmodel = "in\\chair.glb"', 2, "write paths with / or in 'single quotes'"),
        (b'model = "C:\\Users\\me"', 1, "write paths with / or in 'single quotes'"),
        (b"a = 1\n\na = 2", 3, "this key is written twice"),
        (b"[a]\n[a]", 2, "this table is written twice"),
        (b'a = "no end\nb = 1', 1, "the closing quote of a text is missing"),
        (b'a = """no end\nb = 1', 2, "the closing quote of a text is missing"),
        (b"a = 'no end", 1, "the closing quote of a text is missing"),
        (b"a = 1\njust words", 2, "a line must read key = value"),
        (b"\n\nlonely", 3, "a line must read key = value"),
        (b"a = [1,\n\n", 1, "this is not a value"),
        (b"a = 1 b = 2", 1, "this is not TOML: Expected newline"),
        (b"a = 1\nb = '\xff'", 2, "not UTF-8"),
        ("seed = 7".encode("utf-16"), 1, "not UTF-8"),
        (b"a = 1\n\0", 2, "this is not TOML"),
        (b"a = " + b"9" * 5000, None, "far too many digits"),
        (b"a = 1\nb = " + b"[" * 30_000, 2, "inside each other"),
        (b"a = " + b"{a=" * 20_000, 1, "inside each other"),
        (b"\n" + b"a." * 30_000 + b"a = 1", 2, "inside each other"),
        (b"x = {" + b"a." * 30_000 + b"a = 1}", 1, "inside each other"),
        (b"[" + b"a." * 30_000 + b"a]", 1, "inside each other"),
        (b"#" * (LIMIT_BYTES + 1), None, "larger than 65,536 bytes"),
    ],
)
def test_what_is_not_toml_is_explained(text: bytes, line: int | None, words: str) -> None:
    """The first mistake is told with its line, in words for people who do not know TOML."""
    document = parse(text, "bad.toml")
    (problem,) = document.problems
    assert (document.values, problem.key, problem.line) == ({}, "", line)
    assert words in problem.message


@pytest.mark.parametrize(
    "text", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbfseed = 7", b"# only a comment", b"#" * LIMIT_BYTES]
)
def test_harmless_oddities_are_tolerated(text: bytes) -> None:
    """Nothing at all, a byte order mark and the largest allowed text are valid."""
    document = parse(text, "ok.toml")
    assert document.problems == ()
    assert dict(document.values) == ({"seed": 7} if b"seed" in text else {})


def test_hostile_quotes_cost_no_time() -> None:
    """A text made to send a parser back and forth is refused, not puzzled over until the test's time limit."""
    document = parse(b'"""' + b'\\"""' * 16_000, "bad.toml")
    assert len(document.problems) == 1


def test_deep_but_honest_nesting_is_read() -> None:
    """The limit on nesting is beyond what people write, and dots in text do not count."""
    document = parse(b'a.b.c.d.e.f = [[[[{x.y = "' + b"." * 100 + b'"}]]]]', "deep.toml")
    assert document.problems == ()
    assert document.line_of(("a", "b", "c", "d", "e", "f")) == 1


TOML_LIKE = st.lists(
    st.sampled_from(
        [
            *("a", "b", "a.b", "=", " = ", "1", '"x"', "'y'", '"""', "'''", '"', "'", "\\", "[", "]", "[[", "]]"),
            *("{", "}", ",", ".", "\n", "\r\n", "\r", "#", " ", "\t", "é", "\ufeff", "\0", "0x", "1979-05-27", "[a]\n"),
        ]
    ),
    max_size=40,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(TOML_LIKE)
def test_any_text_is_either_read_as_toml_or_refused(text: str) -> None:
    """`parse` agrees with the standard parser on what is TOML, and knows a line for each top-level key."""
    document = parse(text.encode(), "any.toml")
    try:
        expected = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError:
        assert len(document.problems) == 1
        return
    assert document.problems == ()
    assert document.values == expected
    assert all(document.line_of((key,)) is not None for key in expected)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_can_be_parsed(data: bytes) -> None:
    """No bytes make `parse` raise, and a problem's report names the file once a line."""
    document = parse(data, "any.toml")
    assert len(document.problems) <= 1
    assert document.report(document.problems).count("any.toml") == len(document.problems)


DECOYS = st.sampled_from(["", "plain", "two\nlines", "\na = 1\n[b]\n", '"""\n[[a]]\n', "'''\n# b = 1", "\\\n]\n"])
KEYS = st.sampled_from(["a", "b", "c-1", "with blank", 'quo"te', "it's", "a.b", "#", "[x]", "=", "é\u202e"])
LEAVES = st.integers() | st.booleans() | DECOYS | st.lists(DECOYS, max_size=3)
TREES = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3),
    lambda inner: st.dictionaries(KEYS, LEAVES | inner | st.lists(inner, min_size=1, max_size=3), max_size=4),
    max_leaves=8,
)


def paths_in(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every key in a tree."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        if isinstance(key, str):
            yield (*path, key)
        yield from paths_in(child, (*path, key))


def first_lines(text: str) -> dict[KeyPath, int]:
    """Find the line of each key by brute force: parse ever more lines; what is new began behind the last valid cut."""
    found: dict[KeyPath, int] = {}
    lines = text.split("\n")
    valid = 0
    for count in range(1, len(lines) + 1):
        try:
            tree = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        for path in paths_in(tree):
            found.setdefault(path, valid + 1)
        valid = count
    return found


@settings(max_examples=150, deadline=None)
@given(TREES, st.booleans())
def test_every_line_is_the_one_that_brute_force_finds(tree: dict[str, object], multiline: bool) -> None:
    """Whatever keys and texts a document holds, each key's line is where its statement begins."""
    text = tomli_w.dumps(tree, multiline_strings=multiline)
    document = parse(text.encode(), "any.toml")
    assert {path: document.line_of(path) for path in paths_in(tree)} == first_lines(text)


# ---- explaining -----------------------------------------------------------------------------------------------------


class Table(BaseModel):
    """A table of the model under test."""

    model_config = ConfigDict(extra="forbid", strict=True)
    size: int = Field(default=1, ge=1, le=9)
    wait: float | Literal["auto"] = "auto"
    colour: Literal["red", "blue"] = "red"


class Other(BaseModel):
    """Another table."""

    model_config = ConfigDict(extra="forbid", strict=True)
    rhythm: int = 1


class Root(BaseModel):
    """The model under test."""

    model_config = ConfigDict(extra="forbid", strict=True)
    table: Table = Field(default_factory=Table)
    other: Other = Field(default_factory=Other)


def explained(text: str, **refused: str) -> list[str]:
    """Give the lines of the report on a text that does not fit the model."""
    document = parse(text.encode(), "r.toml")
    with pytest.raises(ValidationError) as refusal:
        Root.model_validate(document.values)
    return document.report(explain_validation_error(refusal.value, document, Root, refused)).splitlines()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[table]\nsize = '7'", 'r.toml line 2: table.size must be a whole number from 1 to 9, but is "7" (text)'),
        ("table.size = 70", "r.toml line 1: table.size must be a whole number from 1 to 9, but is 70"),
        ("[table]\nwait = 'x'", 'r.toml line 2: table.wait must be a number or "auto", but is "x" (text)'),
        ("table = 3", "r.toml line 1: table must be a table, but is 3"),
        ("[table]\nsiez = 1", "r.toml line 2: table.siez: unknown key; did you mean size?"),
        ("[table]\nSize = 1", "r.toml line 2: table.Size: unknown key; did you mean size?"),
        ("[table]\nrhythm = 1", "r.toml line 2: table.rhythm: unknown key; rhythm belongs under [other]"),
        ("rhythm = 1", "r.toml line 1: rhythm: unknown key; rhythm belongs under [other]"),
        ("[table]\nrythm = 1", "r.toml line 2: table.rythm: unknown key; did you mean rhythm under [other]?"),
        ("rythm = 1", "r.toml line 1: rythm: unknown key; did you mean rhythm under [other]?"),
        ("[tabel]\nx = 1", "r.toml line 1: tabel: unknown key; did you mean table?"),
        ("[table]\nzzz = 1", "r.toml line 2: table.zzz: unknown key; known here: size, wait, colour"),
        ("[table]\n'z z\\n' = 1", 'r.toml line 2: table."z z\\\\n": unknown key; known here: size, wait, colour'),
    ],
)
def test_each_mistake_is_told_in_plain_words(text: str, line: str) -> None:
    """A report names the line, the key, what is allowed and what is there, or the key that was probably meant."""
    assert explained(text) == [line.replace("\\\\n", "\\n")]


def test_what_is_known_in_a_table_is_listed_once() -> None:
    """A file of nothing but unknown keys is still read to its end."""
    lines = explained("[table]\nzzz = 1\nyyy = 2\n[other]\nxxx = 3\n")
    assert ["known here" in line for line in lines] == [True, False, True]
    assert lines[1] == "r.toml line 3: table.yyy: unknown key"


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    """Nobody has to mend a file mistake by mistake."""
    lines = explained("[other]\nrhythm = true\nnonsense = 2\n[table]\ncolour = 'green'\nsize = 0\n")
    assert [line.partition(":")[0] for line in lines] == [f"r.toml line {number}" for number in (2, 3, 5, 6)]


def test_values_of_unknown_keys_are_not_repeated() -> None:
    """An unknown key may hold a secret that was written into the wrong place."""
    assert "s3cret" not in "".join(explained("[table]\npassword = 's3cret'\nsize = { key = 's3cret' }"))


def test_some_unknown_keys_have_a_reason_of_their_own() -> None:
    """A reason that is given for a key stands in place of a guess, whatever its spelling."""
    assert explained("[table]\nMy-Key = 1", my_key="not here") == ["r.toml line 2: table.My-Key: not here"]


def test_a_flood_of_mistakes_is_counted() -> None:
    """Thousands of unknown keys give a page, not a book."""
    lines = explained("".join(f"x{number} = 1\n" for number in range(5000)))
    assert (len(lines), lines[-1]) == (51, "r.toml: and 4950 more problems")


def test_a_report_is_safe_to_print() -> None:
    """The names of files and keys cannot forge a line of a report."""
    document = Document("a\nb.toml")
    assert document.report([TextProblem("k", None, "wrong")]) == "a\\nb.toml: wrong"
    assert dotted(("a-1", "b c", "d\ne", 0)) == 'a-1."b c"."d\\ne".0'
    assert len(dotted(("x" * 60_000,))) <= 200


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"x = ",
        b"n = " + b"9" * 5000,
        b"x = " + b"[" * 300 + b"]" * 300,
        b"x = " + b"{a=" * 300 + b"1" + b"}" * 300,
        b".".join([b"a"] * 400_000) + b" = 1",
        b"[" + b".".join([b"a"] * 400_000) + b"]",
    ],
    ids=["no UTF-8", "no TOML", "digits", "lists", "tables", "a dotted key", "a dotted table"],
)
def test_a_file_of_our_own_that_somebody_else_has_written(text: bytes) -> None:
    """It is refused at once, in one way: no key of half a million parts is parsed, and nothing is nested too deep to be written again."""
    with pytest.raises(ValueError):  # noqa: PT011 - of the parser, whichever
        loaded(text)
    assert loaded(b"[job]\nnumbers = [1.5, 2.5]\n") == {"job": {"numbers": [1.5, 2.5]}}
