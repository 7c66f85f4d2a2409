"""The pulse, heard by a real socket, on a clock that the test turns."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rodin_watchd.adapters.systemd import BEATS, Manager, Pulse

WATCHDOG_SECONDS = 8.0


class Listener:
    """A manager that listens, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 100.0
        self.address = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.setblocking(False)
        self.manager = Manager(self.address, WATCHDOG_SECONDS)
        self.pulse = Pulse(self.manager, lambda: self.seconds)

    def heard(self) -> list[str]:
        """Return what came since the last call, without the numbers of microseconds."""
        told = []
        try:
            while True:
                told.append(self.socket.recv(4096).decode().partition("_USEC")[0])
        except BlockingIOError:
            return told


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Listener]:
    """Give a listener."""
    listener = Listener(tmp_path)
    with closing(listener.socket), closing(listener.manager):
        yield listener


def test_it_is_ready_when_the_inbox_was_looked_at(ear: Listener) -> None:
    """A tick without a look asks for more time; the first with one is READY, once."""
    ear.pulse.beat("nothing to do", looked=False)
    assert ear.heard() == ["WATCHDOG=1", "STATUS=nothing to do", "EXTEND_TIMEOUT"]
    ear.pulse.beat("1 running", looked=True)
    assert ear.heard() == ["STATUS=1 running", "READY=1"]
    ear.pulse.beat("1 running", looked=True)
    assert ear.heard() == []


def test_the_status_is_told_when_it_changes(ear: Listener) -> None:
    """Words that are the same are not repeated; the note belongs to them."""
    for status, note in (("1 running", ""), ("1 running", ""), ("2 running", ""), ("2 running", "see the log")):
        ear.pulse.reloaded(note)
        ear.pulse.beat(status, looked=True)
    told = [words for words in ear.heard() if words.startswith("STATUS")]
    assert told == ["STATUS=1 running", "STATUS=2 running", "STATUS=2 running; see the log"]


def test_the_sign_of_life_comes_with_the_ticks_alone(ear: Listener) -> None:
    """Four fit into the manager's patience, however fast the ticks come; without ticks there is none."""
    ear.pulse.beat("", looked=True)
    ear.heard()
    for _ in range(40):
        ear.seconds += WATCHDOG_SECONDS / 40
        ear.pulse.beat("", looked=True)
    assert ear.heard() == ["WATCHDOG=1"] * BEATS
    ear.seconds += 1000
    assert ear.heard() == []
    assert ear.pulse.longest_sleep_seconds == WATCHDOG_SECONDS / BEATS


def test_a_reload_is_over_with_the_next_look(ear: Listener) -> None:
    """RELOADING, then READY once more; what takes its time meanwhile is told, and time asked for."""
    ear.pulse.beat("1 running", looked=True)
    ear.heard()
    ear.pulse.reload("loads")
    ear.pulse.beat("1 running", looked=True)
    assert ear.heard() == ["RELOADING=1\nMONOTONIC", "STATUS=1 running; loads", "EXTEND_TIMEOUT"]
    ear.pulse.reloaded("")
    ear.pulse.beat("1 running", looked=False)
    ear.pulse.beat("1 running", looked=True)
    assert ear.heard() == ["STATUS=1 running", "READY=1"]


def test_an_end_that_takes_long_asks_for_time(ear: Listener) -> None:
    """At most once in a second, with the reason; signs of life come from ticks alone."""
    ear.pulse.beat("1 running", looked=True)
    ear.heard()
    ear.pulse.stop()
    for _ in range(9):
        ear.pulse.wait("stopping: waits for 1 steps under way")
        ear.seconds += 0.25
    told = ear.heard()
    assert told[:2] == ["STOPPING=1", "STATUS=stopping: waits for 1 steps under way"]
    assert told.count("EXTEND_TIMEOUT") == 3
    assert told.count("WATCHDOG=1") == 0


def test_what_the_manager_missed_is_told_again(tmp_path: Path) -> None:
    """A manager that is away for a moment hears READY and the status when it is back."""
    address = tmp_path / "notify"
    with closing(Manager(str(address))) as manager:
        pulse = Pulse(manager, lambda: 0.0)
        pulse.beat("1 running", looked=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(address))
            listener.settimeout(10)
            pulse.beat("1 running", looked=True)
            assert [listener.recv(4096) for _ in range(2)] == [b"STATUS=1 running", b"READY=1"]


def test_what_cannot_be_interrupted_gets_its_time_at_once(ear: Listener) -> None:
    """Also right after another request for time, which is too short for it."""
    ear.pulse.wait("loads a plugin")
    ear.pulse.wait_long("brings the journal up to date", 3000.0)
    assert ear.heard() == [
        "STATUS=loads a plugin",
        "EXTEND_TIMEOUT",
        "STATUS=brings the journal up to date",
        "EXTEND_TIMEOUT",
    ]
