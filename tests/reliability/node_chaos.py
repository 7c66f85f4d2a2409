"""What is done to several daemons on one store, at random, while sets are dropped; and how long a root is without a daemon."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from crash_scene import DroppedSet, base_name_set, failing_set, folder_set, followed_set, refused_set, sidecar_sets
from kill_stories import faults
from ledgers import Told, check_history
from lines import Cut
from node_audit import Dropped, Sort
from nodes import Share, Site, Unit

from rodin_watchd.service.journal_guard import ROOT_LEASE_SECONDS

PAUSE_SECONDS = (0.5, 4.0)
"""Between two deeds."""

DROP_SECONDS = (0.5, 3.0)
"""Between two drops."""

MOOD_SECONDS = 15.0
"""How long the vendor has the same faults."""

WHERE_ONE_WAITS = 0.7
"""How often the root is struck that has a standby."""

BAD_MOODS = 0.4
"""How often it has any."""

LOOK_SECONDS = 10.0
"""How often the history is compared with what it was."""

IN_SUBMIT_SECONDS = 8.0
"""How long an upload is waited for that is to be struck."""

MEASURED_SECONDS = 90.0
"""How long a failover may take that is measured, and a standby until it is there."""

SETTLE_SECONDS = 300.0
"""How long everything may take to come to rest."""

SEVERAL = (1, 2, 3)
LOST, SUSPENDED, STOPPED, MOVED = "machine lost", "SIGSTOP", "orderly stop", "standby moved"
LOOK_LATE_SECONDS = 1.0
"""So much later than it came the watch may see a sign of life."""

STOPPED_SECONDS = 90.0
"""So long after it was told to stop a daemon may give its root away."""


# ---- what is seen of the roots --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ownership:
    """Who serves a root, at a moment."""

    at: float  # monotonic
    fence: int
    owner: str  # the daemon's name, "" where none of them has it
    silent_seconds: float  # how long nothing was heard of the one before, when this one took it
    events: int  # how many moves of its jobs were seen since the beginning


class Watch(threading.Thread):
    """Looks at the roots twenty times a second, past the lines."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._done = threading.Event()
        self.seen: dict[int, list[Ownership]] = {share.number: [] for share in site.shares}
        self._heard: dict[
            int, tuple[tuple[int, int], float]
        ] = {}  # the newest sign of life of each root's daemon, and when
        self.submitting: set[int] = set()  # the roots with a job in `uploading` or `submitting`

    def run(self) -> None:
        """Look, until the end."""
        newest, moves = 0, Counter[int]()
        while not self._done.wait(0.05):
            with contextlib.suppress(psycopg.Error):
                roots, events, jobs = self._site.asked(
                    "SELECT id, fence, renewed, daemon FROM roots",
                    f"SELECT e.id, j.root FROM events e JOIN all_jobs j ON j.id = e.job_id WHERE e.id > {newest} ORDER BY e.id",  # noqa: S608 - a number
                    "SELECT DISTINCT root FROM all_jobs WHERE state IN ('uploading', 'submitting')",
                )
                now = time.monotonic()
                for event in events:
                    newest = event["id"]
                    moves[self._site.number_of(event["root"])] += 1
                self.submitting = {self._site.number_of(row["root"]) for row in jobs}
                for root in roots:
                    self._see(root, moves[self._site.number_of(root["id"])], now)

    def _see(self, root: Mapping[str, Any], events: int, now: float) -> None:
        number, seen = self._site.number_of(root["id"]), self.seen.get(self._site.number_of(root["id"]), [])
        sign = root["fence"], root["renewed"]
        before, heard_at = self._heard.get(number, (sign, now))
        silent = now - heard_at
        if sign != before or number not in self._heard:
            self._heard[number] = sign, now
        one = Ownership(now, root["fence"], self._site.named(root["daemon"]), 0.0, events)
        if not seen or (one.fence, one.owner, one.events) != (seen[-1].fence, seen[-1].owner, seen[-1].events):
            took = seen and one.fence != seen[-1].fence
            seen.append(replace(one, silent_seconds=silent if took else 0.0))

    def fence(self, number: int) -> int:
        """Return the newest fence of a root."""
        return self.seen[number][-1].fence if self.seen[number] else 0

    def owner(self, share: Share) -> Unit | None:
        """Return the daemon that serves a root, None where that is not known."""
        name = self.seen[share.number][-1].owner if self.seen[share.number] else ""
        return next((unit for unit in self._site.daemons if unit.name == name), None)

    def close(self) -> None:
        """End."""
        self._done.set()
        self.join()


# ---- what is done ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deed:
    """Something that was done, to whom, and until when it lasted (monotonic)."""

    name: str
    subject: str
    at: float
    until: float
    root: int = 0  # that it took the daemon from
    fence: int = 0  # of the root just before


@dataclass
class Chaos:
    """Everything that is done to a site: `step` must be called often."""

    site: Site
    watch: Watch
    chance: random.Random
    deeds: list[Deed] = field(default_factory=list)
    sets: list[Dropped] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # what was wrong meanwhile
    _due: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _seeds: itertools.count[int] = field(default_factory=lambda: itertools.count(1000, 10))
    _before: Told = field(default_factory=lambda: Told({}, ()))
    _is_down: bool = False  # the server

    def begin(self) -> None:
        """Begin to drop sets."""
        self._often(DROP_SECONDS, self._drop)
        self._often((LOOK_SECONDS, LOOK_SECONDS), self.look_back)

    def measure(self, times: int) -> None:
        """Take a root from its daemon so often in each way, while nothing else is struck: a standby has to take it."""
        for _, (name, (strike, mend)) in itertools.product(range(times), MEASURED.items()):
            self._until(lambda: any(map(self._has_standby, self.site.shares)))
            share = next((share for share in self.site.shares if self._has_standby(share)), None)
            if share is None or (owner := self._owner(share)) is None:
                continue
            self._note(name, owner.name, root=share.number)
            fence = self.watch.fence(share.number)
            strike(owner)
            self._until(lambda share=share, fence=fence: self._is_moving(share, fence))  # type: ignore[misc]
            mend(owner)

    def _is_moving(self, share: Share, fence: int) -> bool:
        """Tell whether another daemon has a root, and has moved a job."""
        taken = next((one for one in self.watch.seen[share.number] if one.fence > fence), None)
        return taken is not None and self.watch.seen[share.number][-1].events > taken.events

    def _until(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + MEASURED_SECONDS
        while not is_so() and time.monotonic() < until:
            self.step()
            time.sleep(0.02)

    def disturb(self, seconds: float) -> None:
        """Do all that is done, for so many seconds."""
        until = time.monotonic() + seconds
        self._later(time.monotonic() + self.chance.uniform(0.4, 0.7) * seconds, self._fail_over)
        self._often(PAUSE_SECONDS, self._act)
        self._often((MOOD_SECONDS, MOOD_SECONDS), self._turn_the_vendor)
        while time.monotonic() < until:
            self.step()
            time.sleep(0.02)

    def step(self) -> None:
        """Do what is due, and start again what has ended."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()
        self.site.look()

    def calm(self) -> None:
        """Do nothing any more, and mend everything."""
        self._due = []
        self.site.vendor.set_faults()
        for line in self.site.lines.values():
            line.mend()
        for unit in self.site.units:
            unit.strike(signal.SIGCONT)
            unit.rest(0.0)
        self._continue_server()
        if self._is_down:
            self._start_server()

    def look_back(self) -> None:
        """Compare the history with what it was: it only grows. A replica that follows asynchronously may lose some of it."""
        try:
            now = self.site.told()
        except psycopg.Error:
            return
        try:
            check_history(self._before if self.site.is_synchronous else Told({}, ()), now)
        except AssertionError as error:
            self.broken.append(f"the history: {error}")
        self._before = now

    # ---- when -----------------------------------------------------------------------------------------------------

    def _later(self, at: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), what))

    def _often(self, gap: tuple[float, float], what: Callable[[], object]) -> None:
        def again() -> None:
            what()
            self._often(gap, what)

        self._later(time.monotonic() + self.chance.uniform(*gap), again)

    # ---- sets -----------------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        """Drop sets of one kind into one root, or the same one into both."""
        seed, share = next(self._seeds), self.chance.choice(self.site.shares)
        kinds: Sequence[Callable[[], Sequence[Dropped]]] = (
            lambda: [Dropped(share, base_name_set(seed))],
            lambda: [Dropped(share, one) for one in sidecar_sets(seed)],
            lambda: [Dropped(share, folder_set(seed))],
            lambda: [Dropped(share, refused_set(seed))],
            lambda: [Dropped(share, failing_set(seed))],
            lambda: [Dropped(share, followed_set(seed), Sort.FOLLOWED)],
            lambda: [Dropped(share, _several(seed), Sort.SEVERAL)],
            lambda: [Dropped(one, base_name_set(seed), Sort.TWIN) for one in self.site.shares],
        )
        sets = self.chance.choice(kinds)()
        self.sets += sets
        for one in sets:
            if one.sort is Sort.TWIN:
                one.share.drop([one.dropped])
        if sets[0].sort is not Sort.TWIN:
            share.drop([one.dropped for one in sets])
        for one in sets:
            copies = {Sort.SEVERAL: len(SEVERAL) - 1, Sort.FOLLOWED: 1}.get(one.sort, 0)
            for name in sorted({one.dropped.model, one.dropped.image} - {f"{one.dropped.name}.toml"}) * copies:
                self.site.inventory.named_again(one.dropped.files[name])

    def _turn_the_vendor(self) -> None:
        is_bad, found = self.chance.random() < BAD_MOODS, faults(self.chance)
        self.site.vendor.set_faults(*(found if is_bad else ()))

    # ---- deeds ----------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        """Do one thing of many."""
        chance = random.Random(self.chance.random())  # noqa: S311 - what is done is no secret
        share = chance.choice(self.site.shares)
        if chance.random() < WHERE_ONE_WAITS:
            share = next(filter(self._has_standby, self.site.shares), share)
        weights: dict[Callable[[random.Random, Share], None], int] = {
            self._kill_owner: 2,
            self._lose_machine: 3,
            self._stop_owner: 3,
            self._restart_owner: 3,
            self._strike_in_submit: 4,
            self._strike_any: 3,
            self._cut: 5,
            self._move_standby: 1,
            self._restart_server: 1,
            self._strike_server: 1,
        }
        chance.choices(list(weights), list(weights.values()))[0](chance, share)

    def _note(self, name: str, subject: str, seconds: float = 0.0, root: int = 0) -> None:
        now = time.monotonic()
        self.deeds.append(Deed(name, subject, now, now + seconds, root, self.watch.fence(root) if root else 0))

    def _kill_owner(self, _chance: random.Random, share: Share) -> None:
        if owner := self._owner(share):
            self._note("kill -9", owner.name, root=share.number)
            owner.strike(signal.SIGKILL)

    def _lose_machine(self, chance: random.Random, share: Share) -> None:
        """Kill a daemon that is not started again before its lease is over."""
        if owner := self._owner(share):
            seconds = ROOT_LEASE_SECONDS + chance.uniform(5, 15)
            self._note(LOST, owner.name, seconds, share.number)
            owner.strike(signal.SIGKILL)
            owner.rest(seconds)

    def _stop_owner(self, chance: random.Random, share: Share) -> None:
        seconds = chance.choice((chance.uniform(1, 8), chance.uniform(ROOT_LEASE_SECONDS + 2, ROOT_LEASE_SECONDS + 12)))
        if owner := self._owner(share):
            self._suspend(owner, seconds, share.number)

    def _restart_owner(self, _chance: random.Random, share: Share) -> None:
        if owner := self._owner(share):
            self._note(STOPPED, owner.name, root=share.number)
            owner.restart()

    def _strike_in_submit(self, chance: random.Random, share: Share) -> None:
        """Kill or stop a daemon while an upload is under way, over a slow line."""
        ends_at, kills = time.monotonic() + IN_SUBMIT_SECONDS, chance.random() < 0.5
        owner = self._owner(share)
        if owner is None:
            return
        line = self.site.lines[f"{owner.name} vendor"]
        line.cut(Cut.SLOW)
        self._later(ends_at, line.mend)

        def wait() -> None:
            if share.number in self.watch.submitting and self._owner(share) is owner:
                if kills:
                    self._kill_owner(chance, share)
                else:
                    self._suspend(owner, ROOT_LEASE_SECONDS + 5, share.number)
            elif time.monotonic() < ends_at:
                self._later(time.monotonic() + 0.03, wait)

        wait()

    def _strike_any(self, chance: random.Random, _share: Share) -> None:
        unit = chance.choice(self.site.units)
        if chance.random() < 0.5:
            self._note("kill -9", unit.name)
            unit.strike(signal.SIGKILL)
        else:
            self._suspend(unit, chance.uniform(1, 10), 0)

    def _suspend(self, unit: Unit, seconds: float, root: int) -> None:
        if (pid := unit.pid) is None:
            return
        self._note(SUSPENDED, unit.name, seconds, root)
        unit.strike(signal.SIGSTOP)

        def go_on() -> None:
            if unit.pid == pid:
                unit.strike(signal.SIGCONT)

        self._later(time.monotonic() + seconds, go_on)

    def _cut(self, chance: random.Random, _share: Share) -> None:
        name = chance.choice(sorted(self.site.lines))
        how = chance.choice([how for how in Cut if how is not Cut.NOTHING])
        longest = ROOT_LEASE_SECONDS + 10 if chance.random() < 0.2 else 10.0
        seconds = 0.0 if how is Cut.HALF_CLOSED else chance.uniform(0.5, longest)
        self._note(f"line {how}", name.split()[0], seconds)
        line = self.site.lines[name]
        line.cut(how)
        self._later(time.monotonic() + seconds, line.mend)

    def _move_standby(self, chance: random.Random, _share: Share) -> None:
        """Have a daemon that serves nothing wait for the other root."""
        owners = {owner.name for share in self.site.shares if (owner := self._owner(share))}
        idle = [unit for unit in self.site.daemons if unit.name not in owners]
        if len(owners) == len(self.site.shares) and idle:
            unit = chance.choice(idle)
            self.site.serve(unit.name, chance.choice(self.site.shares))
            self._note(MOVED, unit.name)
            unit.restart()

    # ---- the server -----------------------------------------------------------------------------------------------

    def _restart_server(self, chance: random.Random, _share: Share) -> None:
        if self._is_down:
            return
        how, seconds = chance.choice(("fast", "immediate")), chance.uniform(0.0, 8.0)
        self._note(f"server stopped, {how}", "store", seconds)
        self._continue_server()
        self.site.pair.primary.stop(how)
        self._is_down = True
        self._later(time.monotonic() + seconds, self._start_server)

    def _start_server(self) -> None:
        if self._is_down:
            self.site.pair.primary.start()
            self._is_down = False

    def _strike_server(self, chance: random.Random, _share: Share) -> None:
        """Kill one of the server's processes, which restarts them all, or stop one."""
        if self._is_down or not (found := self.site.pair.primary.processes()[1:]):
            return
        pid, seconds = chance.choice(found), chance.uniform(1, 8)
        kills = chance.random() < 0.5
        self._note(f"{'kill -9' if kills else 'SIGSTOP'} in the server", "store", 0.0 if kills else seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if kills else signal.SIGSTOP)
        if not kills:
            self._later(time.monotonic() + seconds, self._continue_server)

    def _continue_server(self) -> None:
        for pid in self.site.pair.primary.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _fail_over(self) -> None:
        self._note("failover to the replica", "store")
        self._continue_server()
        self._start_server()  # of a server that is down it is not known whether the replica has everything
        self.site.pair.fail_over()

    def _has_standby(self, share: Share) -> bool:
        owner = self._owner(share)
        return owner is not None and any(
            unit.pid for unit in self.site.daemons if self.site.serves[unit.name] is share and unit is not owner
        )

    def _owner(self, share: Share) -> Unit | None:
        found = self.watch.owner(share)
        return found if found and found.pid else None


def _several(seed: int) -> DroppedSet:
    one = base_name_set(seed)
    return replace(one, files={**one.files, f"{one.name}.toml": f"seeds = {list(SEVERAL)}\n".encode()})


# ---- the whole ------------------------------------------------------------------------------------------------------


def is_at_rest(site: Site) -> bool:
    """Tell whether no job goes on, and nothing waits in an inbox."""
    try:
        [(live,)] = [tuple(row.values()) for row in site.asked(LIVE)[0]]
    except psycopg.Error:
        return False
    waiting = (path for share in site.shares for path in share.inbox.rglob("*") if not path.name.startswith("."))
    return live == 0 and not any(waiting)


LIVE = "SELECT count(*) FROM all_jobs WHERE state NOT IN ('archived', 'failed', 'held', 'returned')"


def play(
    site: Site, watch: Watch, chance: random.Random, seconds: float, measured: int, say: Callable[[str], None]
) -> Chaos:
    """Measure so many failovers of each kind, disturb a site for so long, and let it come to rest; return what was done."""
    chaos = Chaos(site, watch, chance)
    chaos.begin()
    chaos.measure(measured)
    say(f"{len(chaos.deeds)} failovers measured; now it is disturbed")
    chaos.disturb(seconds)
    say(f"{len(chaos.deeds)} deeds, {len(chaos.sets)} sets; now it comes to rest")
    chaos.calm()
    until = time.monotonic() + SETTLE_SECONDS
    while not is_at_rest(site) and time.monotonic() < until:
        site.look()
        time.sleep(0.1)
    chaos.look_back()
    return chaos


def _lose(unit: Unit) -> None:
    unit.rest(MEASURED_SECONDS)
    unit.strike(signal.SIGKILL)


MEASURED: Mapping[str, tuple[Callable[[Unit], object], Callable[[Unit], object]]] = {
    LOST: (_lose, lambda unit: unit.rest(0.0)),
    SUSPENDED: (lambda unit: unit.strike(signal.SIGSTOP), lambda unit: unit.strike(signal.SIGCONT)),
    STOPPED: (lambda unit: unit.restart(), lambda _unit: None),
}
"""How a daemon ends whose root a standby takes, and how it comes back."""


def taken_early(deeds: Sequence[Deed], seen: Mapping[int, Sequence[Ownership]]) -> list[str]:
    """Return where a standby took a root whose daemon had neither ended in order nor been silent for the lease."""
    found = []
    for number, changes in seen.items():
        for before, after in itertools.pairwise(changes):
            if after.fence == before.fence or before.owner in ("", after.owner):
                continue
            stopped = [deed.at for deed in deeds if deed.subject == before.owner and deed.name in (STOPPED, MOVED)]
            was_stopped = any(0 <= after.at - at < STOPPED_SECONDS for at in stopped)
            if not was_stopped and after.silent_seconds < ROOT_LEASE_SECONDS - LOOK_LATE_SECONDS:
                found.append(
                    f"{after.owner} took root {number} of {before.owner} after {after.silent_seconds:.1f} s of silence"
                )
    return found


# ---- how long a root was without a daemon ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Failover:
    """From the end of one daemon of a root to the next: seconds until it has the root, and until it has moved a job."""

    how: str
    by_standby: bool  # not by the same daemon, which was started again
    taken_seconds: float
    moved_seconds: float | None
    disturbed: bool  # the server, or the next daemon, was struck meanwhile


def failovers(deeds: Sequence[Deed], seen: Mapping[int, Sequence[Ownership]]) -> list[Failover]:
    """Return how long each root was without a daemon, each time that one was taken from it and another came."""
    found = []
    for number, deed in enumerate(deeds):
        after = [one for one in seen.get(deed.root, ()) if one.at > deed.at]
        taken = next((one for one in after if one.fence > deed.fence), None)
        again = next((other for other in deeds[number + 1 :] if other.root and other.root == deed.root), None)
        if taken is None or (again and again.at < taken.at):
            continue  # the same daemon went on, or was struck again
        moved = next((one for one in after if one.at > taken.at and one.events > taken.events), None)
        others = (other for other in deeds if other is not deed and other.at < taken.at and other.until >= deed.at)
        seconds = moved.at - deed.at if moved else None
        is_disturbed = any(other.subject in ("store", deed.subject, taken.owner) for other in others)
        found.append(Failover(deed.name, taken.owner != deed.subject, taken.at - deed.at, seconds, is_disturbed))
    return found
