"""Tests for the wait until the other side's system has taken what was sent."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rodin_watchd.adapters.rodin_client.taken import HungUpError, Withheld, wait_until_taken

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what the other side has taken")

BLOCK_BYTES = 4096
SENT = bytes(300_000)
PATIENCE_SECONDS = 20.0


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
        wait_until_taken(writer, BLOCK_BYTES, 0.0)
    assert len(reader.recv(len(SENT), socket.MSG_WAITALL)) == len(SENT)
    wait_until_taken(writer, BLOCK_BYTES, PATIENCE_SECONDS)


@pytest.mark.parametrize("reset", [False, True])
def test_nobody_waits_for_a_side_that_has_hung_up(pair: tuple[socket.socket, socket.socket], reset: bool) -> None:
    """The other side's end of its answer, and its reset, end the wait as a broken pipe does."""
    writer, reader = pair
    if reset:
        reader.close()  # with bytes unread
    else:
        reader.shutdown(socket.SHUT_WR)
    with pytest.raises(HungUpError):
        wait_until_taken(writer, BLOCK_BYTES, PATIENCE_SECONDS)


def test_a_system_that_does_not_tell_is_not_waited_for() -> None:
    """Where the queue cannot be asked for, the upload goes on."""
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - stands for a connection
        silent: Any = nothing
        wait_until_taken(silent, BLOCK_BYTES, PATIENCE_SECONDS)


def test_a_body_without_a_connection_does_not_wait() -> None:
    """What was handed to no connection has nothing on its way."""
    Withheld().wait_until_taken()
