"""Tests for the wait until the other side's system has taken what was sent."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rodin_watchd.adapters.rodin_client.transfer import BodyConnection, HungUpError, Withheld

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what the other side has taken")

ROOT = Path(__file__).resolve().parents[2]
BLOCK_BYTES = 4096
SENT = bytes(300_000)
TIMEOUT_SECONDS = 20.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give both ends of a connection whose reader's system takes little that is not read."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as writer:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.connect(listening.getsockname())
        reader, _ = listening.accept()
        with reader:
            writer.sendall(SENT)
            yield writer, reader


def test_what_is_not_taken_is_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    """As long as the other side reads nothing, patience ends; when it has read all, so has the wait."""
    writer, reader = pair
    with pytest.raises(TimeoutError):
        BodyConnection(writer, bool).wait_until_taken(BLOCK_BYTES, 0.0)
    assert len(reader.recv(len(SENT), socket.MSG_WAITALL)) == len(SENT)
    BodyConnection(writer, bool).wait_until_taken(BLOCK_BYTES, TIMEOUT_SECONDS)


@pytest.mark.parametrize("reset", [False, True])
def test_nobody_waits_for_a_side_that_has_hung_up(pair: tuple[socket.socket, socket.socket], reset: bool) -> None:
    """The other side's end of its answer, and its reset, end the wait as a broken pipe does."""
    writer, reader = pair
    if reset:
        reader.close()  # with bytes unread
    else:
        reader.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError if reset else HungUpError):
        BodyConnection(writer, bool).wait_until_taken(BLOCK_BYTES, TIMEOUT_SECONDS)


def test_a_body_without_a_connection_does_not_wait() -> None:
    """What was handed to no connection has nothing on its way."""
    withheld = Withheld()
    withheld.wait_until_taken()
    assert not withheld.closing_left


@pytest.mark.parametrize("waits", [False, True])
def test_what_is_said_meanwhile_ends_the_sending(pair: tuple[socket.socket, socket.socket], waits: bool) -> None:
    """A side that answers, reads nothing and stays is heard at once, whether something is sent or waited for."""
    writer, reader = pair
    line = BodyConnection(writer, lambda come: come.endswith(b"!"))
    reader.sendall(b"answer!")
    with pytest.raises(HungUpError):
        line.wait_until_taken(BLOCK_BYTES, TIMEOUT_SECONDS) if waits else line.send(SENT * 9, TIMEOUT_SECONDS)
    assert line.come == b"answer!"


def test_what_is_no_answer_does_not_end_the_sending(pair: tuple[socket.socket, socket.socket]) -> None:
    """It is kept, and shows that the other side was not silent."""
    writer, reader = pair
    line = BodyConnection(writer, lambda come: come.endswith(b"!"))
    reader.sendall(b"answ")
    with pytest.raises(TimeoutError):
        line.send(SENT * 9, 0.1)
    assert line.is_answered(0.0)
    assert line.come == b"answ"


def test_silence_is_no_answer(pair: tuple[socket.socket, socket.socket]) -> None:
    """A side that says nothing in time, or ends the connection, has not answered."""
    writer, reader = pair
    line = BodyConnection(writer, bool)
    assert not line.is_answered(0.05)
    reader.close()
    assert not line.is_answered(TIMEOUT_SECONDS)


DEAD_LINE = """
import os, pathlib, signal, socket, subprocess, sys, time
from rodin_watchd.adapters.rodin_client.transfer import BodyConnection

limit_seconds, patience_seconds = map(float, sys.argv[1:])
FIN_WAIT_1 = "04"


def is_tried():
    rows = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[3] == FIN_WAIT_1 for row in rows)


subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
listening = socket.create_server(("127.0.0.1", 0))
(ready, tell), (go, let) = os.pipe(), os.pipe()
if not (victim := os.fork()):
    with socket.create_connection(listening.getsockname()) as writer:
        body = BodyConnection(writer, bool)
        body.send(b"all but the end", 20.0)
        body.wait_until_taken(4096, 20.0)
        if limit_seconds:
            body.limit_delay(limit_seconds)
        os.write(tell, b"!")
        os.read(go, 1)
        body.send(b"the end", 20.0)
        os.kill(os.getpid(), signal.SIGKILL)
os.read(ready, 1)
subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
os.write(let, b"!")
os.waitpid(victim, 0)
before, ends_at = is_tried(), time.monotonic() + patience_seconds
while is_tried() and time.monotonic() < ends_at:
    time.sleep(0.02)
print(before, is_tried())
"""


def _may_have_a_network() -> bool:
    found = shutil.which("unshare") and shutil.which("ip")
    return bool(found) and subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(("limit", "patience", "tried"), [("1", "20", "True False"), ("0", "3", "True True")])
def test_the_last_bytes_of_a_dead_process_are_not_tried_for_long(limit: str, patience: str, tried: str) -> None:
    """The system sends on for a process that was killed while the line was dead; with a limit, no longer than that."""
    if not _may_have_a_network():
        pytest.skip("a network of its own needs unshare, ip, and the right to use them")
    command = ["unshare", "-rn", sys.executable, "-c", DEAD_LINE, limit, patience]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert told.stdout.strip() == tried
