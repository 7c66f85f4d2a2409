"""The line that tells how the service is."""

from __future__ import annotations

import pytest
from job_samples import a_job

from rodin_watchd.core.stillness import headline
from rodin_watchd.model import State


@pytest.mark.parametrize(
    ("states", "waiting", "codes", "expected"),
    [
        ((), 0, (), "nothing to do"),
        (
            (State.SUBMITTED, State.CLAIMED, State.STAGED, State.HELD),
            0,
            ("no-credits",),
            "3 running, 1 held, paused: no credits",
        ),
        ((State.DELIVERED,), 1200, (), "1 running, 1,200 waiting"),
        ((State.ARCHIVED, State.FAILED), 0, (), "nothing to do"),
        (
            (),
            2,
            ("disk", "empty-account", "no-credits", "by request"),
            "2 waiting, paused: a folder cannot be written, no credits, by request",
        ),
    ],
)
def test_it_counts_and_names(states: tuple[State, ...], waiting: int, codes: tuple[str, ...], expected: str) -> None:
    """What is none is left out; each reason is named once, in words."""
    jobs = [a_job(state) for state in states]
    assert headline(jobs, waiting=waiting, codes=codes) == expected
