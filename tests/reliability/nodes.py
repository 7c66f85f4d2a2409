"""Several daemons on one store, as they run on several machines: real processes, a server with a replica, lines that can be cut."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from clusters import ROLE, Pair
from crash_scene import CONFIG, MARK, PLUGIN, SETTLE_SECONDS, Inventory, Scene
from crash_start import build, environment
from ledgers import Told
from lines import CutLine

from rodin_watchd.adapters.spool.mounts import read_mark
from rodin_watchd.adapters.store import codec
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.model import Event, Job

RESTART_SECONDS = 2.0
"""How long after its end a process is started again; the unit has 5 s."""

SILENT_SECONDS = 15
"""After so long without a sign of life a worker is taken for dead."""

CONNECT_SECONDS = 20.0
START_SECONDS = 60.0
"""How long a root may be without a daemon at the beginning."""

STOP_SECONDS = 45.0
"""How long a process may take to end in order, as `TimeoutStopSec` of the unit."""

SERVER, DATABASE = "db.example", "rodin"
"""How all machines name the server; each has a line of its own to it."""

STORE_PORT = 5432
MOST_APART_SECONDS = 120
"""So much a machine's clock differs from the server's, and two machines' clocks by twice as much; more than 300 s are refused."""

VENDOR = EmulatorSettings(preview_pixels=64, balance=Decimal(1_000_000), waiting_seconds=0.2, generating_seconds=0.5)


@dataclass(frozen=True)
class Ended:
    """The end of a process that nobody had asked for by a signal."""

    name: str
    code: int
    told: str  # the end of its log


class Unit:
    """A process that is started again whenever it ends, as systemd does; `look` must be called often."""

    _program = (sys.executable, "-m", "rodin_watchd")

    def __init__(self, name: str, command: Sequence[str], config: Path, more: Mapping[str, str]) -> None:
        self.name = name
        self.log = config.parent / f"{name}.log"
        self.ends: list[Ended] = []
        self._config = str(config)
        self._command = [*self._program, *command, "--config", self._config]
        self._environment = environment(**more)
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0  # monotonic
        self._rest_until = 0.0  # likewise
        self._kill_at = float("inf")
        self._struck = False  # by this program: its end says nothing about it

    @property
    def pid(self) -> int | None:
        """Its process, None where it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def look(self) -> None:
        """Start it where it is to be started; note how it has ended."""
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                if now >= self._kill_at:
                    self.strike(signal.SIGKILL)
                return
            if not self._struck or code not in (0, -signal.SIGKILL, -signal.SIGTERM):
                self.ends.append(Ended(self.name, code, self._last_words()))
            asked = self._kill_at != float("inf")
            self._process, self._kill_at, self._struck = None, float("inf"), False
            self._start_at = now if asked else now + RESTART_SECONDS
        if now >= max(self._start_at, self._rest_until):
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    cwd=self.log.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def run(self, *words: str) -> None:
        """Run another command on its machine, with its configuration. Raises CalledProcessError."""
        command = [*self._program, *words, "--config", self._config]
        subprocess.run(command, env=self._environment, cwd=self.log.parent, check=True, capture_output=True)

    def strike(self, number: int) -> None:
        """Send it a signal."""
        if (pid := self.pid) is not None:
            self._struck |= number in (signal.SIGKILL, signal.SIGTERM)
            os.kill(pid, number)

    def rest(self, seconds: float) -> None:
        """Do not start it for so long; 0: start it again."""
        self._rest_until = time.monotonic() + seconds

    def restart(self) -> None:
        """Have it end in order, and start again at once."""
        if self.pid is not None:
            self.strike(signal.SIGTERM)
            self._kill_at = time.monotonic() + STOP_SECONDS

    def end(self) -> None:
        """Kill it, for good."""
        self.strike(signal.SIGCONT)
        self.strike(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> int:
        """Have it end in order, for good; return its exit code, 0 where it does not run."""
        self.strike(signal.SIGTERM)
        if self._process is None:
            return 0
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.end()
            return -signal.SIGKILL

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]


class Share(Scene):
    """A root that several daemons may serve, and what was dropped there."""

    def __init__(self, number: int, folder: Path, site: Site) -> None:
        super().__init__(folder, site.vendor.base_url)
        self.number = number
        self.config.unlink()  # each daemon has its own
        self.inventory = site.inventory
        self.told = site.marks if site.has_plugin else None
        self._site = site

    def history(self) -> dict[str, tuple[Job, list[Event]]]:
        """Return every job of this root with its events."""
        return self._site.history(self.number)


class Site(contextlib.ExitStack):
    """Two roots, three daemons, workers, the server with its replica, the vendor, and the lines between them."""

    def __init__(self, folder: Path, chance: random.Random, *, synchronous: bool, workers: int) -> None:
        super().__init__()
        self.folder = folder
        self.is_synchronous = synchronous
        self._numbers: dict[str, int] = {}
        self._machine = str(build(folder, "machine_shim"))
        self.vendor = self.enter_context(Emulator(VENDOR))
        urls = {"vendor": self.vendor.base_url, "files": self.vendor.files_url}
        self._vendor_ports = {what: int(url.rpartition(":")[2]) for what, url in urls.items()}
        self.pair = self.enter_context(Pair(synchronous=synchronous))
        self.pair.primary.ask(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        self.has_plugin = workers > 0
        self.marks = folder / "told.log"  # where the plugin notes what it is told
        if self.has_plugin:
            (folder / "plugins").mkdir(mode=0o755)
            (folder / "plugins" / "marker.py").write_text(PLUGIN.format(mark=MARK, log=str(self.marks)))
        self.inventory = Inventory()
        self.shares = [Share(number, folder / f"root-{number}", self) for number in (1, 2)]
        self.serves: dict[str, Share] = {}  # which root each daemon is for, from its next start on
        self.lines: dict[str, CutLine] = {}
        self.clocks: dict[str, int] = {}
        self.daemons = [
            self._daemon(name, share, chance)
            for name, share in zip("abc", (*self.shares, chance.choice(self.shares)), strict=True)
        ]
        self.workers = [self._worker(f"w{number}", self.shares[number % 2], chance) for number in range(workers)]
        self.units = [*self.daemons, *self.workers]
        for unit in self.units:
            self.callback(unit.end)

    def _daemon(self, name: str, share: Share, chance: random.Random) -> Unit:
        found = self._unit(name, ["run"], chance, {"store": STORE_PORT, **self._vendor_ports})
        self.serve(name, share)
        return found

    def _worker(self, name: str, share: Share, chance: random.Random) -> Unit:
        """Give a worker of the farm that has the share of one root."""
        found = self._unit(name, ["worker"], chance, {"store": STORE_PORT})
        self._configure(name, share, f'[plugins]\nfolders = ["{self.folder}/plugins"]\n')
        return found

    def _unit(self, name: str, command: Sequence[str], chance: random.Random, ports: Mapping[str, int]) -> Unit:
        """Give a program on a machine of its own, with lines of its own to what listens at these ports."""
        place = self.folder / f"node-{name}"
        place.mkdir()
        for what, port in ports.items():
            connect = self._to_store if port == STORE_PORT else partial(_connected, port)
            self.lines[f"{name} {what}"] = self.enter_context(CutLine(connect))
        self.clocks[name] = chance.randint(-MOST_APART_SECONDS, MOST_APART_SECONDS)
        machine = {
            "LD_PRELOAD": self._machine,
            "MACHINE_NAME": f"node-{name}",
            "MACHINE_SECONDS": f"{self.clocks[name]}",
            "MACHINE_LINES": ",".join(f"{port}={self.lines[f'{name} {what}'].port}" for what, port in ports.items()),
        }
        return Unit(name, command, place / "config.toml", machine)

    def serve(self, name: str, share: Share) -> None:
        """Write a daemon's configuration: which root it serves from its next start on."""
        self.serves[name] = share
        plugin = f'[plugins]\nfolders = ["{self.folder}/plugins"]\n[plugins.marker]\nwhere = "farm"\n'
        self._configure(
            name,
            share,
            CONFIG.format(base_url=self.vendor.base_url, intake="", settle=SETTLE_SECONDS)
            + (plugin if self.has_plugin else ""),
        )

    def _configure(self, name: str, share: Share, more: str) -> None:
        place = self.folder / f"node-{name}"
        url = f"postgresql://{ROLE}@{SERVER}/{DATABASE}?hostaddr=127.0.0.1&sslmode=disable&gssencmode=disable"
        folders = f'[folders]\nroot = "{share.root}"\nstate = "{place}/state-{share.number}"\n[store]\nurl = "{url}"\n'
        farm = f"[farm]\nsilent_seconds = {SILENT_SECONDS}\n" if self.has_plugin else ""
        (place / "config.toml").write_text(folders + farm + more)

    def begin(self) -> None:
        """Start the daemons, each after the one before: the first one makes the store, the second root is added to it.

        Raises TimeoutError where a root gets no daemon.
        """
        self.daemons[0].look()
        self._until_served(1)
        self.daemons[1].run("store", "add-root")
        self.look()
        self._until_served(2)

    def _until_served(self, roots: int) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(psycopg.Error):  # there is no store yet
                if [{"served": roots}] == self.asked("SELECT count(*) AS served FROM roots WHERE daemon <> ''")[0]:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{roots} roots are not served: {[unit.log.read_text() for unit in self.daemons]}")

    def look(self) -> None:
        """Start again what has ended."""
        for unit in self.units:
            unit.look()

    def stop(self) -> dict[str, int]:
        """Have every process end in order, for good; return their exit codes."""
        return {unit.name: unit.stop() for unit in self.units}

    # ---- the lines ----------------------------------------------------------------------------------------------

    def _to_store(self) -> socket.socket:
        found = socket.socket(socket.AF_UNIX)
        try:
            found.connect(str(self.pair.primary.folder / ".s.PGSQL.5432"))
        except OSError:
            found.close()
            raise
        return found

    # ---- what the store has -------------------------------------------------------------------------------------

    def asked(self, *queries: str) -> list[list[dict[str, Any]]]:
        """Ask the server itself, past the lines, everything of one moment. Raises psycopg.Error."""
        url = self.pair.primary.url(DATABASE)
        with contextlib.closing(psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row)) as found:
            found.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found.execute("SET search_path = rodin_watchd")
            return [found.execute(query).fetchall() for query in queries]

    def told(self) -> Told:
        """Return what the store has of all roots. Raises psycopg.Error."""
        jobs, events, purchases, days = self.asked(
            "SELECT doc FROM all_jobs",
            "SELECT id, job_id, action, state, message, code FROM events ORDER BY id",
            "SELECT id, job_id, top, outcome, cost, told FROM purchases ORDER BY id",
            "SELECT value::json ->> 1 AS newest FROM all_meta WHERE key = 'budget-day'",
        )
        newest = max((int(row["newest"]) for row in days), default=0)
        return Told.of_rows((row["doc"] for row in jobs), map(_values, events), map(_values, purchases), newest)

    def history(self, number: int) -> dict[str, tuple[Job, list[Event]]]:
        """Return every job of a root with its events. Raises psycopg.Error."""
        jobs, events = self.asked("SELECT doc, root FROM all_jobs", "SELECT * FROM events ORDER BY id")
        mine = (codec.job(row["doc"]) for row in jobs if self.number_of(row["root"]) == number)
        found: dict[str, tuple[Job, list[Event]]] = {job.id: (job, []) for job in mine}
        for row in events:
            if row["job_id"] in found:
                found[row["job_id"]][1].append(codec.event(row))
        return found

    def number_of(self, root: str) -> int:
        """Return which root has this id, 0 where it is none of them."""
        for share in self.shares:
            if root and root not in self._numbers and (mark := read_mark(share.root)) is not None:
                self._numbers[mark.root_id] = share.number
        return self._numbers.get(root, 0)

    def named(self, daemon: str) -> str:
        """Return which daemon a root's row names, HOST:FOLDER; "" where it is none."""
        return next((unit.name for unit in self.daemons if daemon.startswith(f"node-{unit.name}:")), "")


def _connected(port: int) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
    found.settimeout(None)
    return found


def _values(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.values())
