"""The words of the pages and messages: plain English, for people who read it as a second language."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
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

ODD = re.compile(r"\b(told|tells?|telling|anew|beside|lies|lie|heed(?:s|ed)?|hears? of|in vain|amiss)\b", re.IGNORECASE)
"""Words for which engineers have plainer ones: return, report, again, next to, is; in docstrings and comments."""


def sentences(module: Path) -> Iterator[str]:
    """Give the texts of a module that are not docstrings: messages, advice, help of options."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in bare)
    yield from (text.value for text in texts if isinstance(text.value, str) and " " in text.value)


def explanations(module: Path) -> Iterator[str]:
    """Give the docstrings and comments of a module, without what is marked as code."""
    source = module.read_text(encoding="utf-8")
    bare = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr))
    docstrings = (node.value for node in bare if isinstance(node, ast.Constant) and isinstance(node.value, str))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = (token.string for token in tokens if token.type == tokenize.COMMENT)
    yield from (re.sub(r"`[^`\n]*`", "", text) for text in (*docstrings, *comments))


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


ROOMS = ("adapters", "cli", "client", "config", "core", "emulator", "hooks", "service", "web")


@pytest.mark.parametrize("folder", [*(f"rodin_watchd/{room}" for room in ROOMS), "plugins", "tools", "benchmarks"])
def test_docstrings_and_comments_have_plain_words(folder: str) -> None:
    """What engineers and the authors of plugins read."""
    modules = sorted((PROJECT / folder).rglob("*.py"))
    found = [
        f"{module.relative_to(PROJECT)}: {text[:100]}"
        for module in modules
        for text in explanations(module)
        if ODD.search(text) or WORST.search(text)
    ]
    assert found == []


def test_words_are_spelled_right() -> None:
    """By codespell, which knows the common mistakes; pyproject.toml has the words that it takes for one."""
    places = ["README.md", "CHANGELOG.md", "docs", "rodin_watchd", "plugins", "tools", "benchmarks"]
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *places], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
