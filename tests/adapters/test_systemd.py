"""The notification protocol, over real sockets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rodin_watchd.adapters.systemd import Manager


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Give a socket of either kind, and its name as $NOTIFY_SOCKET has it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@rodin-watchd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        listener.settimeout(10)
        yield name, listener


def test_each_message_is_a_datagram_of_the_protocol(ear: tuple[str, socket.socket]) -> None:
    """Both kinds of sockets get what sd_notify(3) describes, one message after the other."""
    name, listener = ear
    with closing(Manager.taken_from({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000"})) as manager:
        assert all((manager.ready(), manager.status("3 running,\n1 held"), manager.alive(), manager.stopping()))
        assert manager.extend(1.5)
        told = [listener.recv(4096) for _ in range(5)]
    assert told == [
        b"READY=1",
        b"STATUS=3 running, 1 held",
        b"WATCHDOG=1",
        b"STOPPING=1",
        b"EXTEND_TIMEOUT_USEC=1500000",
    ]


def test_a_reload_carries_the_monotonic_time(ear: tuple[str, socket.socket]) -> None:
    """RELOADING=1 has the time in microseconds in the same datagram, by the clock of the service manager."""
    name, listener = ear
    with closing(Manager(name)) as manager:
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert manager.reloading()
        first, second = listener.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    key, _, microseconds = second.partition("=")
    assert key == "MONOTONIC_USEC"
    assert before <= int(microseconds) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_without_a_manager_nothing_is_told() -> None:
    """No variable, or one of a kind that leads elsewhere: each method says that all is well, and nothing watches."""
    for environ in ({}, {"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "1000000"}, {"WATCHDOG_USEC": "1000000"}):
        manager = Manager.taken_from(environ)
        assert manager.ready()
        assert manager.alive()
        assert manager.watchdog_seconds == 0.0


def test_the_names_are_taken_out_of_the_environment(tmp_path: Path) -> None:
    """No child process inherits the socket's name or the watchdog's."""
    environ = {"NOTIFY_SOCKET": f"{tmp_path}/n", "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin"}
    with closing(Manager.taken_from(environ)) as manager:
        assert manager.watchdog_seconds == 0.000001
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"WATCHDOG_USEC": "90000000"}, 90.0),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}, 90.0),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-5"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_heeded_if_it_is_for_this_process(
    given: dict[str, str], seconds: float, tmp_path: Path
) -> None:
    """Its time is told in microseconds; one for another process, or nonsense, counts for nothing."""
    with closing(Manager.taken_from({"NOTIFY_SOCKET": f"{tmp_path}/n", **given})) as manager:
        assert manager.watchdog_seconds == seconds


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    """What could not be told is reported to the caller, which tells it again; the service goes on."""
    with closing(Manager(str(tmp_path / "nobody"), watchdog_seconds=1.0)) as manager:
        assert not manager.ready()
        assert not manager.alive()


def test_an_open_manager_takes_nothing_after_its_end(ear: tuple[str, socket.socket]) -> None:
    """After `close` nothing is sent."""
    name, listener = ear
    manager = Manager(name)
    manager.close()
    assert manager.ready()
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(1)
