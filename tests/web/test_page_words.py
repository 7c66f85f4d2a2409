"""The page's words: every sentence has a translation, and languages are chosen as browsers ask for them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pytest

from rodin_watchd.web.words import CHINESE, ENGLISH, LANGUAGES, Words, language_of

PROJECT = Path(__file__).parents[2]


def test_every_sentence_is_translated() -> None:
    """Of templates, buttons, states and errors; and the compiled catalogue is that of the source."""
    command = [sys.executable, str(PROJECT / "tools" / "write_catalogues.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout == ""
    assert run.returncode == 0


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", ENGLISH),
        ("zh", CHINESE),
        ("zh-CN,zh;q=0.9,en;q=0.8", CHINESE),
        ("zh-TW", CHINESE),
        ("en-GB,zh;q=0.9", ENGLISH),
        ("fr,zh;q=0.5,en;q=0.9", ENGLISH),
        ("fr, zh;q=0.5", CHINESE),
        ("zh;q=0, en;q=0.1", ENGLISH),
        ("*", ENGLISH),
        ("zh;q=x,en", ENGLISH),
        ("zh;q=nan", ENGLISH),
        (",;q=,=;;", ENGLISH),
        ("zh" * 5000, ENGLISH),
    ],
)
def test_the_language_is_the_one_that_a_browser_likes_best(accepted: str, language: str) -> None:
    """Of those that there are; English for everybody else, whatever is asked for."""
    assert language_of(accepted) == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_amounts_and_times_are_said_in_each_language(language: str) -> None:
    """In few words."""
    words = Words(language, UTC)
    assert "0.5" in words.credits(Decimal("0.50"))
    assert [words.duration(seconds).count(" ") < 6 for seconds in (0, 59.4, 61, 7300, 1e6)] == [True] * 5
    assert words.duration(61).startswith("1 ")
