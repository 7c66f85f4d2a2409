"""The words of the pages and messages: plain English, for people who read it as a second language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PAGES = sorted([PROJECT / "README.md", PROJECT / "CHANGELOG.md", *(PROJECT / "docs").rglob("*.md")])
GENERATED = PROJECT / "docs" / "performance.md"  # its measurements are written with the benchmarks
UNITS = sorted(path for path in (PROJECT / "systemd").rglob("*") if path.is_file())
MODULES = sorted(path for folder in ("rodin_watchd", "plugins") for path in (PROJECT / folder).rglob("*.py"))

WORST = re.compile(
    r"\b(blotted|mend(?:s|ed|ings?)?|heed(?:s|ed)?|in earnest|hears? of|whose fault|in vain|nobody can tell|of whom"
    r"|by whom|untold|whereupon|thereof|withal|amiss)\b",
    re.IGNORECASE,
)
"""Words that a reader of English as a second language does not know, or takes for something else."""


def sentences(module: Path) -> Iterator[str]:
    """Give the texts of a module that are not docstrings: messages, advice, help of options."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in bare)
    yield from (text.value for text in texts if isinstance(text.value, str) and " " in text.value)


@pytest.mark.parametrize("page", [*PAGES, *UNITS], ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_page_has_plain_words(page: Path) -> None:
    """Whatever people read before they know the program; what the log calls its actions is marked as code."""
    if page == GENERATED:
        return
    text = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    assert WORST.findall(text) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PROJECT)))
def test_a_message_has_plain_words(module: Path) -> None:
    """What the service, the command line and the plugins say."""
    found = {text: WORST.findall(text) for text in sentences(module)}
    assert {text: words for text, words in found.items() if words} == {}
