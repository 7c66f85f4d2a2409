"""What whoever drops files reads: every sentence in one file, and the rules for them."""

from __future__ import annotations

import re

import pytest
import sentences

LINES = [line for line in sentences.text().splitlines() if line and not line.startswith("====")]

MOST_WORDS = 45
"""In one sentence; the longest is the list of what a folder holds."""

FOR_OTHERS = re.compile(r"\(For the person who runs the service: .*?\)(?= |$)|^Administrator: .*$")
"""What is marked as for the administrator."""

MATTERS_OF_OTHERS = re.compile(
    r"rodin-watchd|sysctl|systemctl|chmod|chown|usermod|sudo|/etc/|/proc/|\$ |--[a-z]"
    r"|\b(api|budget|intake|folders|output|polling|metrics|plugins)\.[a-z_]+"
    r"|\b(sidecar|preset|journal|daemon|inode|errno|mount point|submits?|UUID|root)\b"
)
"""Commands, keys of the configuration, and words of the program."""

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d")
SAME = re.compile(r"\bis an? ([^,.]+), not an? \1\b")
DOUBLE = re.compile(r"(?<![./])\.\.(?![./])|\. \.|[?!]\.|\.\)\.|:\.")


def test_the_file_has_every_sentence() -> None:
    """A person can read them all: whoever changes one writes the file with `python tests/sentences.py`, and reads it."""
    assert sentences.PATH.read_text(encoding="utf-8") == sentences.text()


@pytest.mark.parametrize("title", sentences.SECTIONS)
def test_each_section_says_something(title: str) -> None:
    """None of them is empty by mistake."""
    assert [one for one in sentences.SECTIONS[title]() if one]


@pytest.mark.parametrize(
    "rule", [MATTERS_OF_OTHERS, STAMP, SAME, DOUBLE, re.compile(r"\\n"), re.compile(r"\bNone\b(?!\")|\{|\}")]
)
def test_a_rule_is_kept(rule: re.Pattern[str]) -> None:
    """No matter of administrators outside their own line, no stamp of machines, no full stop twice, nothing that says nothing."""
    own = (FOR_OTHERS.sub("", line) for line in LINES)
    assert [line for line in own if rule.search(line)] == []


def test_no_sentence_is_long() -> None:
    """People read them as a second language."""
    found = [part for line in LINES for part in re.split(r"(?<=[.?!:;])\s", line)]
    assert [part for part in found if len(part.split()) > MOST_WORDS] == []


@pytest.mark.parametrize(
    "line",
    ["run `rodin-watchd show`", "set budget.low_balance", "it is an STL model, not an STL model", "no. .", "a sidecar"],
)
def test_the_rules_find_what_they_are_for(line: str) -> None:
    """So that a rule that finds nothing is known to look."""
    assert any(rule.search(line) for rule in (MATTERS_OF_OTHERS, SAME, DOUBLE))
