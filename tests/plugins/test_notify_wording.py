"""`notify`: what is said."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rodin_watchd_plugins.notify.wording import Message, harmless, of_job, together

from rodin_watchd.v1 import Event, File, Job, Problem

PROBLEM = Problem("model-broken", "files", "The model is cut off.", "Save it again and drop it anew.")
FAILED = Job("0123", "<!channel> @everyone", "", "failed", {}, (), 0.0, place="failed/x", problem=PROBLEM)


def message(number: int, moment: str = "delivered") -> Message:
    """Make a message."""
    return Message(moment, 60.0 * number, f"set{number} is done", f"outbox/set{number}\nmore")  # type: ignore[arg-type]  # a word of the test's list


def test_a_failure_says_why_and_what_to_do() -> None:
    """In the words of the report; the name calls nobody."""
    said = of_job("failed", FAILED, Event("1", "failed", 1.0, ""), "//nas/")
    assert said.text == "The model is cut off.\nSave it again and drop it anew.\n//nas/failed/x\njob 0123"
    assert "@everyone" not in said.title
    assert "<!channel>" not in said.title


def test_many_are_counted_and_listed_with_the_gravest_first() -> None:
    """Each on a line with its time."""
    title, text = together([message(1), message(2), message(3, "failed")], UTC)
    assert title == "1 failed, 2 done"
    assert text.splitlines() == [
        "00:03 set3 is done: outbox/set3",
        "00:01 set1 is done: outbox/set1",
        "00:02 set2 is done: outbox/set2",
    ]


def test_one_is_told_in_full() -> None:
    """Without a list."""
    assert together([message(1)], UTC) == ("set1 is done", "outbox/set1\nmore")


def test_very_many_are_counted() -> None:
    """A hundred are listed, the rest is a number."""
    title, text = together([message(number) for number in range(250)], UTC)
    assert title == "250 done"
    assert len(text.splitlines()) == 101
    assert text.endswith("… and 150 more")


@given(st.text())
def test_no_name_is_markup(text: str) -> None:
    """Nothing is left that a service takes for a mention, a link, a line of its own or an invisible sign."""
    said = harmless(text)
    assert not any(char in said for char in "<>[]`\n\r\t\x1b")
    assert said.count("@") == said.count("@\u200b")


@pytest.mark.parametrize(("size", "told"), [(999, "1.0 kB"), (99_999, "100.0 kB"), (2_500_000, "2.5 MB")])
def test_sizes_are_told_for_people(size: int, told: str) -> None:
    """In kB and MB."""
    job = Job("1", "suzi", "", "delivered", {}, (), 0.0, (File("model.glb", size),), "0.5", place="outbox/suzi")
    assert f"model.glb ({told})" in of_job("delivered", job, Event("1", "delivered", 1.0, ""), "").text
