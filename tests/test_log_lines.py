"""What lines of the log have in common."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping

import pytest

from rodin_watchd.errors import ConfigError, DiskError
from rodin_watchd.log_lines import LogValue, Trouble, about, fields, fields_of_now, log_error, why
from rodin_watchd.model import Job, State


def a_job() -> Job:
    """Return a job in a folder."""
    return Job("0123456789ab", "chair", "oak", State.CLAIMED, (), {}, 0.0)


def test_a_trouble_is_told_once_for_each_cause_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the same cause again nor an end without a beginning is a line."""
    caplog.set_level("INFO")
    trouble = Trouble("status")
    trouble.ends("written again.")
    for words in ("no room", "no room", "no rights"):
        trouble.begins(words)
    trouble.ends("written again.")
    trouble.ends("written again.")
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [
        ("WARNING", "status: no room"),
        ("WARNING", "status: no rights"),
        ("INFO", "status: written again."),
    ]
    assert {vars(record)["action"] for record in caplog.records} == {"status"}


def test_an_error_is_a_line_for_each_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """What to do stands in the last one."""
    log_error(40, "ended", ConfigError("line 3: no\nline 5: no", advice="Mend it."))
    log_error(40, "ended", ConfigError("line 7: no", advice=" "))
    told = [record.getMessage() for record in caplog.records]
    assert told == ["ended: line 3: no", "ended: line 5: no Mend it.", "ended: line 7: no"]


def test_lines_are_about_the_job_that_their_thread_works_for() -> None:
    """Not about another thread's, and about none afterwards."""
    elsewhere: list[Mapping[str, LogValue]] = []
    with about(a_job()):
        assert fields_of_now() == fields(a_job()) == {"job": "0123456789ab", "set": "oak/chair"}
        other = threading.Thread(target=lambda: elsewhere.append(fields_of_now()))
        other.start()
        other.join()
    assert elsewhere == [{}]
    assert fields_of_now() == {}


def test_a_cause_is_told_in_words() -> None:
    """People read no numbers of the kernel and no path twice."""
    assert why(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b")) == "No space left on device"
    assert why(OSError("odd")) == "odd"
    assert why(DiskError("The disk is full.")) == "The disk is full."
