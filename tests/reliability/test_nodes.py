"""Several daemons on one store: a short soak, and proof that its audit finds what it looks for."""

from __future__ import annotations

import random
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import requests
from clusters import programs
from crash_scene import KEY, DroppedSet, base_name_set, failing_set, folder_set
from crash_start import NO_COMPILER
from crash_truth import Kind
from lines import Cut, CutLine
from node_audit import Dropped, Sort, audit
from node_chaos import Deed, Failover, Ownership, failovers, is_at_rest, taken_early
from nodes import Site
from soak_nodes import soak

SEED, SECONDS = 15, 60.0


@pytest.mark.nodes
@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")
def test_three_daemons_on_two_roots_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    """Killed, stopped, cut off and started again for a minute, with a failover of the server."""
    result = soak(tmp_path, SEED, SECONDS, 0, synchronous=True, workers=2)
    assert not result["wrong"]
    assert result["sets"]["delivered"]
    assert result["failovers"]


@pytest.mark.nodes
@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")
def test_the_audit_finds_what_is_lost_or_there_twice(tmp_path: Path) -> None:
    """Each damage is made once, after a run in which nothing was struck."""
    with Site(tmp_path, random.Random(SEED), synchronous=False, workers=0) as site:  # noqa: S311 - no secret
        site.begin()
        one, other = site.shares
        sets = [Dropped(one, base_name_set(1)), Dropped(other, failing_set(2))]
        sets += [Dropped(share, base_name_set(3), Sort.TWIN) for share in site.shares]
        for dropped in sets:
            dropped.share.drop([dropped.dropped])
        while not is_at_rest(site):
            site.look()
        assert not any(site.stop().values())
        assert not audit(site, sets).violations

        shutil.copytree(one.root / "outbox" / "base1", other.root / "outbox" / "base1")
        assert _kinds(site, sets) >= {Kind.DUPLICATE}
        shutil.rmtree(other.root / "outbox" / "base1")

        model = one.root / "archive" / "base1" / "base1.stl"
        data = model.read_bytes()
        model.unlink()
        assert _kinds(site, sets) >= {Kind.LOST}
        model.write_bytes(data)

        forgotten = Dropped(one, folder_set(4))
        one.drop([forgotten.dropped])
        assert _kinds(site, [*sets, forgotten]) == {Kind.LOST}
        shutil.rmtree(one.inbox / forgotten.dropped.name)
        one.inventory.taken(forgotten.dropped.files[forgotten.dropped.model])
        one.inventory.taken(forgotten.dropped.files[forgotten.dropped.image])
        assert not audit(site, sets).violations

        _buy(site, sets[0].dropped)
        assert _kinds(site, sets) >= {Kind.DUPLICATE}


def _kinds(site: Site, sets: Sequence[Dropped]) -> set[Kind]:
    return {violation.kind for violation in audit(site, sets).violations}


def _buy(site: Site, dropped: DroppedSet) -> None:
    """Have the vendor charge a set that it has charged."""
    files = {role: (name, dropped.files[name]) for role, name in (("model", dropped.model), ("image", dropped.image))}
    url = f"{site.vendor.base_url}/api/v2/rodin_texture_only"
    answer = requests.post(url, files=files, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
    assert answer.status_code == 201, answer.text


def test_a_failover_lasts_until_the_next_daemon_has_the_root() -> None:
    """One that was struck again meanwhile, or whose daemon went on, is none."""
    deeds = [
        Deed("SIGSTOP", "a", 10.0, 12.0, root=1, fence=1),  # it went on
        Deed("kill -9", "a", 20.0, 20.0, root=1, fence=1),
        Deed("line slow", "b", 21.0, 22.0),
        Deed("orderly stop", "c", 60.0, 60.0, root=1, fence=2),
        Deed("server stopped", "store", 59.0, 61.0),
        Deed("kill -9", "b", 70.0, 70.0, root=2, fence=1),  # nobody came
    ]
    seen = {
        1: [
            Ownership(1.0, 1, "a", 0.0, 0),
            Ownership(11.0, 1, "a", 0.0, 5),
            Ownership(50.0, 2, "c", 0.0, 5),
            Ownership(52.0, 2, "c", 0.0, 6),
            Ownership(61.0, 3, "a", 0.0, 6),
        ],
        2: [Ownership(1.0, 1, "b", 0.0, 0)],
    }
    assert failovers(deeds, seen) == [
        Failover("kill -9", True, 30.0, 32.0, disturbed=False),
        Failover("orderly stop", True, 1.0, None, disturbed=True),
    ]


def test_a_root_is_taken_of_who_was_silent_or_was_stopped() -> None:
    """Of nobody else, but by the same daemon."""
    seen = [
        Ownership(1.0, 1, "a", 0.0, 0),
        Ownership(40.0, 2, "c", 25.3, 0),
        Ownership(50.0, 3, "c", 4.0, 0),
        Ownership(60.0, 4, "a", 1.0, 0),
    ]
    assert taken_early([Deed("orderly stop", "c", 59.0, 59.0, root=1, fence=3)], {1: seen}) == []
    assert taken_early([], {1: seen}) == ["a took root 1 of c after 1.0 s of silence"]


# ---- a line that is cut ---------------------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[CutLine]:
    """Give a line to a server that sends back what it gets."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client:
            while block := client.recv(100):
                client.sendall(block)

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with closing(listening), CutLine(lambda: socket.create_connection(listening.getsockname(), 10)) as line:
        yield line
        line.mend()
        listening.shutdown(socket.SHUT_RDWR)


def _connected(line: CutLine) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", line.port), 20)
    found.sendall(b"a")
    assert found.recv(1) == b"a"
    return found


def test_a_dropped_line_ends_its_connections(echo: CutLine) -> None:
    """Those that are open, and new ones until it is mended."""
    with _connected(echo) as client:
        echo.cut(Cut.DROPPED)
        assert client.recv(1) == b""
    with socket.create_connection(("127.0.0.1", echo.port), 20) as client:
        assert client.recv(1) == b""
    echo.mend()
    _connected(echo).close()


def test_a_silent_line_passes_what_was_sent_when_it_is_mended(echo: CutLine) -> None:
    """Nothing is lost of it."""
    with _connected(echo) as client:
        echo.cut(Cut.SILENT)
        client.sendall(b"b")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        echo.mend()
        assert client.recv(1) == b"b"


def test_a_half_closed_line_is_open_for_the_next(echo: CutLine) -> None:
    """One side is told that no more comes."""
    with _connected(echo) as client:
        echo.cut(Cut.HALF_CLOSED)
        assert client.recv(1) == b""
        _connected(echo).close()
