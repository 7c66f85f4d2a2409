"""The lease: a second daemon is kept off by what it observes, and one that lost its lease stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rodin_watchd.adapters.ownership import (
    CONFIRM_SECONDS,
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    Holder,
    Lease,
    holder_of,
    is_dead_here,
    myself,
    read_lease,
)
from rodin_watchd.errors import AlreadyRunningError, DiskError

FAR = Holder("far", 7, "boot-far", "space", "started", "nonce-far")


class Hands:
    """A clock that moves while somebody waits; `during` is done in each second of it."""

    def __init__(self, during: Callable[[float], object] = lambda _seconds: None) -> None:
        """Start at nought."""
        self.seconds = 0.0
        self._during = during

    def now(self) -> float:
        """Return the time."""
        return self.seconds

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self._during(self.seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a lease."""
    return tmp_path / "lease"


def lease(path: Path, hands: Hands, me: Holder | None = None) -> Lease:
    """Return a lease that is not held yet."""
    return Lease(path, hands.now, hands.wait, me)


def say(path: Path, holder: Holder) -> None:
    """Write a lease as another machine does."""
    path.write_text(json.dumps(asdict(holder)))


def test_a_free_lease_is_had_at_once_and_given_back(path: Path) -> None:
    """Without a second of waiting; at the end the file is gone, and nothing else lies there."""
    hands = Hands()
    with lease(path, hands):
        held = holder_of(read_lease(path))
        assert held is not None
        assert (held.pid, held.words) == (os.getpid(), f"process {os.getpid()} on {held.host}")
    assert hands.seconds == 0
    assert list(path.parent.iterdir()) == []


def test_a_living_holder_is_named(path: Path) -> None:
    """Its first sign of life is enough; its lease stays as it is."""
    say(path, FAR)
    hands = Hands(lambda seconds: say(path, replace(FAR, beat=int(seconds // HEARTBEAT_SECONDS))))
    with pytest.raises(AlreadyRunningError, match=r"process 7 on far\) serves"), lease(path, hands):
        pass
    assert hands.seconds == HEARTBEAT_SECONDS
    assert holder_of(read_lease(path)) == replace(FAR, beat=1)


def test_a_sign_of_life_is_read_when_it_is_whole(path: Path) -> None:
    """A share may show the holder's file while it is written: it is looked at once more, and the holder named."""
    say(path, FAR)
    beaten = json.dumps(asdict(replace(FAR, beat=1)))
    hands = Hands(lambda seconds: path.write_text(beaten[: 0 if seconds == 1 else None]))
    with pytest.raises(AlreadyRunningError, match=r"process 7 on far\) serves"), lease(path, hands):
        pass
    assert hands.seconds == 2


def test_a_silent_holder_is_outwaited(path: Path) -> None:
    """After the lease's time by the starter's own clock, whatever the file's times say."""
    say(path, FAR)
    os.utime(path, (4e9, 4e9))
    hands = Hands()
    with lease(path, hands):
        assert hands.seconds == LEASE_SECONDS + CONFIRM_SECONDS


def test_what_cannot_be_read_is_outwaited_too(path: Path) -> None:
    """Half a file may be one that is being written."""
    path.write_bytes(b'{"host": "fa')
    hands = Hands()
    with lease(path, hands):
        assert hands.seconds == LEASE_SECONDS + CONFIRM_SECONDS


def test_a_holder_that_ends_meanwhile_leaves_it_at_once(path: Path) -> None:
    """A file that vanishes was given back."""
    say(path, FAR)
    hands = Hands(lambda seconds: path.unlink(missing_ok=True) if seconds == 3 else None)
    with lease(path, hands):
        assert hands.seconds == 3 + CONFIRM_SECONDS


def test_a_dead_process_of_this_machine_is_not_waited_for(path: Path) -> None:
    """Its number is known to be free, or given to another process."""
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    say(path, replace(myself(), pid=int(gone.stdout), started="1"))
    hands = Hands()
    with lease(path, hands):
        assert hands.seconds == 0


def test_only_a_process_of_this_machine_is_known_to_be_dead() -> None:
    """Another host, another boot and another container may hold the same number."""
    me = myself()
    other = replace(me, pid=2**22 - 1, started="1")
    assert is_dead_here(other, me)
    assert is_dead_here(replace(me, nonce="of the run before"), me)
    assert not is_dead_here(replace(me, pid=os.getppid(), started=_started(os.getppid())), me)
    assert not is_dead_here(replace(other, host="far"), me)
    assert not is_dead_here(replace(other, boot="another"), me)
    assert not is_dead_here(replace(other, space="pid:[1]"), me)


def _started(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_of_two_that_outwaited_the_same_silence_one_starts(path: Path) -> None:
    """Whoever wrote last has it; the other sees that before it begins."""
    say(path, FAR)
    late = replace(FAR, host="late", nonce="late")
    hands = Hands(lambda seconds: say(path, late) if seconds > LEASE_SECONDS else None)
    with pytest.raises(AlreadyRunningError, match="on late\\) was faster"), lease(path, hands):
        pass
    assert holder_of(read_lease(path)) == late


def test_the_holder_gives_signs_of_life(path: Path) -> None:
    """Every few seconds, not more often."""
    hands = Hands()
    beats = []
    with lease(path, hands) as held:
        for _ in range(12):
            hands.wait(1)
            held.keep()
            beats.append((holder_of(read_lease(path)) or FAR).beat)
    assert beats == [0] * 4 + [1] * 5 + [2] * 3


def test_a_holder_that_slept_too_long_stops(path: Path) -> None:
    """Another one took over meanwhile: this one says so, and leaves the other's lease alone."""
    hands = Hands()
    held = lease(path, hands)
    with held:
        say(path, FAR)
        hands.wait(100)
        with pytest.raises(AlreadyRunningError, match="on far\\) took this folder over"):
            held.keep()
    assert holder_of(read_lease(path)) == FAR


def test_a_holder_whose_machine_was_suspended_finds_out(path: Path) -> None:
    """No clock went on meanwhile; before money is spent it looks all the same."""
    with lease(path, Hands()) as held:
        say(path, FAR)
        held.keep()
        with pytest.raises(AlreadyRunningError, match="on far\\) took this folder over"):
            held.confirm()


def test_a_lease_that_says_nothing_is_nobodys(path: Path) -> None:
    """A share may show a file half-written: the daemon waits with everything, and neither ends nor goes on."""
    with lease(path, Hands()) as held:
        whole = path.read_bytes()
        path.write_bytes(whole[:40])
        with pytest.raises(DiskError, match="names no holder"):
            held.confirm()
        path.write_bytes(whole)
        held.confirm()


def test_its_length_never_changes(path: Path) -> None:
    """A share may show new content cut to the length that it remembers."""
    hands = Hands()
    with lease(path, hands) as held:
        lengths = {path.stat().st_size}
        for _ in range(12):
            held.confirm()
            lengths.add(path.stat().st_size)
    assert len(lengths) == 1


def test_a_lease_that_somebody_deleted_is_made_again(path: Path) -> None:
    """It is still this daemon's, as long as nobody else is faster."""
    hands = Hands()
    with lease(path, hands) as held:
        path.unlink()
        hands.wait(HEARTBEAT_SECONDS)
        held.keep()
        assert (holder_of(read_lease(path)) or FAR).beat == 1


def test_a_folder_that_is_gone_is_the_disks_fault(tmp_path: Path) -> None:
    """The daemon pauses then; it does not end."""
    with pytest.raises(DiskError, match="cannot be written"), lease(tmp_path / "missing" / "lease", Hands()):
        pass


def test_a_lease_that_is_needed_later_is_made_then(path: Path) -> None:
    """A share was mounted on the root while the daemon ran: from the next sign of life on it is held, and given back."""
    hands, needed = Hands(), False
    with Lease(path, hands.now, hands.wait, is_needed=lambda: needed) as held:
        hands.wait(100)
        held.keep()
        held.confirm()
        assert read_lease(path) is None
        needed = True
        held.keep()
        assert read_lease(path) is None
        hands.wait(HEARTBEAT_SECONDS)
        held.keep()
        assert (holder_of(read_lease(path)) or FAR).pid == os.getpid()
        needed = False
        hands.wait(HEARTBEAT_SECONDS)
        held.keep()
        assert (holder_of(read_lease(path)) or FAR).beat == 2
    assert list(path.parent.iterdir()) == []


def test_a_lease_that_is_needed_later_may_be_another_ones(path: Path) -> None:
    """Whoever has it was there first: this one stops before it pays, and leaves the lease alone."""
    hands, needed = Hands(), False
    held = Lease(path, hands.now, hands.wait, is_needed=lambda: needed)
    with held:
        say(path, FAR)
        held.confirm()
        needed = True
        for _ in range(2):
            with pytest.raises(AlreadyRunningError, match="on far"):
                held.confirm()
    assert holder_of(read_lease(path)) == FAR
