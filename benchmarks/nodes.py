"""Several daemons on one store: what each costs the database, how fast they are together, and where 1,000 roots would end.

A private PostgreSQL on the disk, real daemons, and the emulator. Costs of the database are the CPU of the server's process for
one connection. An *idle* daemon serves a root without work, in a store with so many roots, while another one writes ten times a
second: what it has read of the others is then read again in each tick. The simulation takes what was measured in the same run:
ticks, renewals and moves come to a server with so many cores, moves one after the other by the store's lock; the vendor's calls
bound how many sets there are.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import pwd
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.emulated import emulator
from benchmarks.figures import Effort, Figure, main, median, percentile
from benchmarks.processes import cpu_seconds, daemon, wait_until
from benchmarks.sets import drop, folders
from rodin_watchd.adapters.store.postgres import PostgresStore, add_root
from rodin_watchd.core.balance import BALANCE
from rodin_watchd.core.pauses import PAUSES
from rodin_watchd.core.proof import BASELINE
from rodin_watchd.core.roots import ServingProcess
from rodin_watchd.service.journal_guard import RENEW_SECONDS, ROOT_LEASE_SECONDS, STANDBY_LOOK_SECONDS
from rodin_watchd.settings import Address

CALLS_PER_MINUTE: Final = 240
"""What the vendor lets the largest plan make."""

DAEMONS_OF_MACHINE: Final = 10
CORES: Final = 4
SIMULATED: Final = (10, 100, 1000)
_SCHEMA: Final = "-c search_path=rodin_watchd"


def measure(effort: Effort) -> list[Figure]:
    """Measure the costs and the throughput, then simulate."""
    with _server() as server:
        moves, renewal, takeover = _writes(server, effort.of(300, 5))
        roots = (1, 10, 100, 1000) if not effort.quick else (1, 10)
        idle = {count: _idle(server, count, effort.of(10, 1)) for count in roots}
        counts = (1, 2, 4, 8) if not effort.quick else (1, 2)
        rounds = [
            {count: _throughput(server, count, effort.of(10, 1)) for count in counts} for _ in range(effort.of(3, 1))
        ]
        work = {count: Work.median_of([one[count] for one in rounds]) for count in counts}
    alone = work[1]
    costs = Costs(moves, renewal, _Line.through(idle), alone.commits, alone.calls)
    return [
        Figure("a move of a job: time of its transaction", moves.seconds * 1000, "ms"),
        Figure("a move of a job: CPU of the server", moves.cpu * 1000, "ms"),
        Figure("a renewal of a lease: CPU of the server", renewal.cpu * 1000, "ms"),
        Figure("a takeover: time of its transaction", takeover.seconds * 1000, "ms"),
        *(
            Figure(f"an idle daemon, {count} roots in the store: CPU of the server in a second", cpu * 1000, "ms")
            for count, cpu in idle.items()
        ),
        Figure("transactions that write, for each set", alone.commits, ""),
        Figure("calls of the vendor, for each set", alone.calls, ""),
        *(
            Figure(f"sets in a second, {count} daemons with a root each", one.rate, "1/s", alone.rate, "one daemon")
            for count, one in work.items()
        ),
        *(figure for count in SIMULATED for figure in _simulated(costs, count, effort.of(120, 10))),
        Figure(f"roots at which {CORES} cores of the server are busy", costs.most_roots(CORES), ""),
    ]


# ---- A private PostgreSQL -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Server:
    folder: Path

    def address(self, database: str) -> Address:
        return Address(f"postgresql://postgres@/{database}?host={self.folder}")

    def asked(self, database: str, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.address(database).url, autocommit=True, options=_SCHEMA) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []


@contextlib.contextmanager
def _server() -> Iterator[_Server]:
    """Run a server whose commits wait for the disk. Raises FileNotFoundError where PostgreSQL is not installed."""
    found = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[::-1]), "")
    if not found:
        raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
    programs = Path(found).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    if user:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)

    def run(program: str, *arguments: str) -> None:
        command = [programs / program, "-D", "data", *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)  # type: ignore[call-overload]

    try:
        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        with (folder / "data" / "postgresql.conf").open("a") as config:
            config.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\n")
        run("pg_ctl", "-l", "log", "-w", "start")
        try:
            yield _Server(folder)
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _database(server: _Server, name: str) -> Iterator[str]:
    server.asked("postgres", f"CREATE DATABASE {name}")
    try:
        yield name
    finally:
        server.asked("postgres", f"DROP DATABASE {name} WITH (FORCE)")


_BACKENDS: Final = "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE 'rodin_watchd %'"


def _backend_cpu(server: _Server, database: str) -> float:
    """Return the CPU seconds of all processes of the server that serve daemons."""
    found = server.asked("postgres", _BACKENDS.format(database))
    return sum(cpu_seconds(int(str(pid))) for (pid,) in found)


# ---- What is measured -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """What one transaction takes, in seconds: its time, and the server's CPU."""

    seconds: float
    cpu: float


def _writes(server: _Server, count: int) -> tuple[Cost, Cost, Cost]:
    """Return the costs of a move, of a renewal, and of a takeover."""
    with _database(server, "writes") as name:
        address = server.address(name)
        with contextlib.closing(PostgresStore(address, lambda _known: "r1")) as store:
            me = ServingProcess("bench:/state", "{}")
            store.begin_process(me, "bench:/root")
            store.take_root(me, "bench:/root", ROOT_LEASE_SECONDS, None, ended=True)

            def timed(act: object) -> Cost:
                assert callable(act)  # noqa: S101 - for the type
                before, seconds = _backend_cpu(server, name), []
                for _ in range(count):
                    began = time.perf_counter()
                    act()
                    seconds.append(time.perf_counter() - began)
                return Cost(median(seconds), (_backend_cpu(server, name) - before) / count)

            noted = iter(range(10**9))
            move = timed(lambda: store.set_meta("benchmark", next(noted)))
            renewal = timed(lambda: store.extend_root(ROOT_LEASE_SECONDS))
            takeover = timed(
                lambda: store.take_root(me, "bench:/root", ROOT_LEASE_SECONDS, store.served(), ended=False)
            )
    return move, renewal, takeover


def _settings(server: _Server, database: str, home: Path) -> dict[str, str]:
    return {"store.url": f'"{server.address(database).url}"', "folders.state": f'"{home}/state"'}


def _idle(server: _Server, roots: int, seconds: int) -> float:
    """Return the server's CPU for one idle daemon in a second, in a store with so many roots."""
    with (
        tempfile.TemporaryDirectory() as home,
        emulator() as base_url,
        _database(server, f"idle_{roots}") as name,
        daemon(Path(home) / "root", base_url, _settings(server, name, Path(home))),
        psycopg.connect(server.address(name).url, autocommit=True, options=_SCHEMA) as other,
    ):
        kept = ", ".join(f"'{key}'" for key in (PAUSES, BASELINE, BALANCE))
        wait_until(lambda: bool(other.execute("SELECT 1 FROM all_meta WHERE key = 'root_id'").fetchall()))
        other.execute(
            f"INSERT INTO roots (id, place) SELECT 'r' || n, 'm' || n / {DAEMONS_OF_MACHINE} || ':/r' || n FROM generate_series(2, {roots}) n".encode()  # noqa: S608 - numbers
        )
        other.execute(
            f"INSERT INTO all_meta (root, key, value) SELECT roots.id, key, value FROM all_meta, roots WHERE key IN ({kept}) ON CONFLICT DO NOTHING".encode()  # noqa: S608 - keys
        )
        other.execute("INSERT INTO writings VALUES ('benchmark', 0)")
        before, began = _backend_cpu(server, name), time.monotonic()
        while time.monotonic() - began < seconds:
            other.execute("UPDATE writings SET written = written + 1 WHERE writer = 'benchmark'")
            time.sleep(0.1)
        return (_backend_cpu(server, name) - before) / (time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Work:
    """What some daemons did together."""

    rate: float  # sets in a second
    commits: float  # transactions that write, for each set
    calls: float  # of the vendor, for each set

    @classmethod
    def median_of(cls, rounds: Sequence[Work]) -> Work:
        """Return the median of each figure."""
        return cls(*(median(getattr(one, name) for one in rounds) for name in ("rate", "commits", "calls")))


def _throughput(server: _Server, daemons: int, sets: int) -> Work:
    """Have each of so many daemons, with a root of its own, work off so many sets; the vendor answers at once."""
    with (
        emulator() as base_url,
        _database(server, f"work_{daemons}") as name,
        contextlib.ExitStack() as stack,  # last: a daemon whose database is gone waits before it ends
    ):
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(daemons)]
        for number, home in enumerate(homes):
            if number:
                add_root(server.address(name), f"{os.uname().nodename}:{home}/root", "")
            keys = {**_settings(server, name, home), "api.max_in_flight": "64"}
            stack.enter_context(daemon(home / "root", base_url, keys))
        [(before,)] = server.asked(name, "SELECT sum(written) FROM writings")
        began = time.monotonic()
        for number in range(sets):
            for home in homes:
                drop(home / "root" / "inbox", number + sets * homes.index(home))
        wait_until(lambda: all(folders(home / "root" / "archive") == sets for home in homes), seconds=900)
        took = time.monotonic() - began
        [(written,)] = server.asked(name, "SELECT sum(written) FROM writings")
        [(polls,)] = server.asked(name, "SELECT count(*) FROM events WHERE action = 'progress'")
    every = daemons * sets
    return Work(every / took, (int(str(written)) - int(str(before))) / every, 3 + int(str(polls)) / every)


# ---- The simulation -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """A cost that grows with the roots of a store: so much, and so much for each."""

    fixed: float
    each: float

    @classmethod
    def through(cls, points: dict[int, float]) -> _Line:
        first, last = min(points), max(points)
        each = max((points[last] - points[first]) / (last - first), 0.0)
        return cls(max(points[first] - each * first, 0.0), each)

    def at(self, roots: int) -> float:
        return self.fixed + self.each * roots


@dataclass(frozen=True, slots=True)
class Costs:
    """What the simulation is made of."""

    move: Cost
    renewal: Cost
    idle: _Line  # the server's CPU for one daemon in a second
    commits: float
    calls: float

    @property
    def sets_per_second(self) -> float:
        """As many as the vendor's calls allow, whoever makes them."""
        return CALLS_PER_MINUTE / 60 / self.calls

    def busy_cores(self, roots: int) -> float:
        """Return how many cores of the server are busy with so many roots."""
        return roots * self.idle.at(roots) + self.sets_per_second * self.commits * self.move.cpu

    def most_roots(self, cores: int) -> int:
        """Return the number of roots at which so many cores are busy."""
        low, high = 1, 1_000_000
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.busy_cores(middle) < cores else (low, middle)
        return low


def _simulated(costs: Costs, roots: int, seconds: int) -> list[Figure]:
    """Let ticks, renewals and moves of so many roots come to a server for so long."""
    chance = random.Random(roots)  # noqa: S311 - a simulation
    events = sorted(_arrivals(costs, roots, seconds, chance))
    cores = [0.0] * CORES
    lock, held, renewals, moves, busy = 0.0, 0.0, [], [], 0.0
    for at, kind in events:
        begins = max(at, heapq.heappop(cores))
        busy += (cpu := {"tick": costs.idle.at(roots), "renewal": costs.renewal.cpu, "move": costs.move.cpu}[kind])
        ends = begins + cpu
        heapq.heappush(cores, ends)
        if kind == "renewal":
            renewals.append(ends - at + costs.renewal.seconds - costs.renewal.cpu)
        elif kind == "move":
            lock = max(lock, begins) + costs.move.seconds
            held += costs.move.seconds
            moves.append(lock - at)
    takeovers = [ROOT_LEASE_SECONDS + chance.uniform(0, STANDBY_LOOK_SECONDS) + wait for wait in moves]
    named = f"{roots:,} roots on {-(-roots // DAEMONS_OF_MACHINE)} machines"
    return [
        Figure(f"{named}: cores of the server that are busy", busy / seconds, "", CORES, "it has"),
        Figure(f"{named}: the store's lock is held", held / seconds * 100, "%"),
        Figure(f"{named}: a renewal, p99", percentile(renewals, 0.99) * 1000, "ms"),
        Figure(f"{named}: a move, p99", percentile(moves, 0.99) * 1000, "ms"),
        Figure(f"{named}: a takeover after a silent end, p99", percentile(takeovers, 0.99), "s"),
        Figure(f"{named}: connections", roots, "", 97, "PostgreSQL's default"),
    ]


def _arrivals(costs: Costs, roots: int, seconds: int, chance: random.Random) -> Iterator[tuple[float, str]]:
    """Yield when what comes. The renewals are in the cost of an idle daemon already: here they only wait."""
    for _ in range(roots):
        first = chance.random()
        yield from ((first + second, "tick") for second in range(seconds))
        first = chance.uniform(0, RENEW_SECONDS)
        yield from ((first + turn * RENEW_SECONDS, "renewal") for turn in range(int(seconds / RENEW_SECONDS)))
    at = 0.0
    while (at := at + chance.expovariate(costs.sets_per_second * costs.commits)) < seconds:
        yield at, "move"


if __name__ == "__main__":
    main([("nodes", measure)])
