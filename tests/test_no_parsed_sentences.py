"""Sentences are for people: no part of the program reads its state out of one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SENTENCES = frozenset({"message", "advice", "advice_given", "reason", "note"})
"""How the project calls what it says to people."""

READERS = frozenset(
    {
        *("partition", "rpartition", "split", "rsplit", "startswith", "endswith", "removeprefix", "removesuffix"),
        *("find", "rfind", "index", "rindex", "count"),
    }
)
"""Methods of a text that take something out of it."""

WHERE = ("rodin_watchd", "plugins/rodin_watchd_plugins", "tools", "benchmarks", "tests/reliability")


def is_sentence(node: ast.expr) -> bool:
    """Tell whether an expression is, by its name, what is said to people."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in SENTENCES


def parsed(tree: ast.AST) -> Iterator[int]:
    """Yield the lines in which a sentence is taken apart, searched, or compared with a text."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=text, attr=name)) if name in READERS and is_sentence(text):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re")), args=[_, text, *_]) if is_sentence(text):
                yield node.lineno
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[text]) if is_sentence(text):
                yield node.lineno
            case ast.Compare(left=text, comparators=[ast.Constant(value=str(value))]) if value and is_sentence(text):
                yield node.lineno


@pytest.mark.parametrize("folder", WHERE)
def test_no_sentence_is_parsed(folder: str) -> None:
    """What a program has to know of an event or an error is in its `kind`, `subject`, `code` and `fault`."""
    found = [
        f"{path.relative_to(PROJECT)}:{line}"
        for path in sorted((PROJECT / folder).rglob("*.py"))
        if not path.name.startswith("test_")  # what people read is tested there
        for line in parsed(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "event.message.partition(':')",
        "message.startswith('x')",
        "'not set up' in error.message",
        "'x' not in reason",
        "re.match('x', job.problem.message)",
        "note.removeprefix(cause)",
        "error.advice_given.split()",
        "event.message == 'gone'",
    ],
)
def test_the_rule_sees_it(line: str) -> None:
    """Each way to read a sentence that was in the code once, and its like."""
    assert list(parsed(ast.parse(line))) == [1]


@pytest.mark.parametrize(
    "line", ["event.subject in ended", "error.message.splitlines()", "error.message != told", "if reason: x"]
)
def test_the_rule_lets_words_be_used(line: str) -> None:
    """To show a sentence, to ask whether there is one, to tell whether it is another one."""
    assert list(parsed(ast.parse(line if line[:2] != "if" else f"{line.partition(':')[0]}: pass"))) == []
