"""A farm for tests: a daemon on a real PostgreSQL, and workers as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import tomli_w
from test_postgres_service import Shop, shop_on
from web_stage import Browser, free_address
from workshop import Vendor

SILENT_SECONDS = 2
WAIT_SECONDS = 40.0

PLUG = """
import os, time
from pathlib import Path
from rodin_watchd.v1 import hookimpl

LOG = Path({log!r})

def note(line):
    with LOG.open("a") as file:
        file.write(f"{{os.environ.get('WORKER', '')}} {{line}}" + chr(10))

def wait_for(name):
    while not LOG.with_name(name).exists():
        time.sleep(0.02)
"""
CONVERT = """
@hookimpl
def rodin_process(job, directory, settings):
    note("begins")
    (directory / "made.txt").write_text(f"{os.environ.get('WORKER', '')} {sorted(p.name for p in directory.iterdir())}")
    print("working")
    note("done")
    return {"worker": os.environ.get("WORKER", ""), "word": settings.get("word", "")}
"""
SLOW = """
@hookimpl
def rodin_process(job, directory):
    note("begins")
    (directory / "made.txt").write_text(os.environ.get("WORKER", ""))
    wait_for("go-" + os.environ.get("WORKER", ""))
    note("done")
    return {"worker": os.environ.get("WORKER", "")}
"""


class Worker:
    """A worker's process."""

    def __init__(self, name: str, config: Path, queues: str, log: Path) -> None:
        """Start it; what it logs goes to a file."""
        self.name = name
        self.log = log
        command = [sys.executable, "-m", "rodin_watchd", "worker", "--queues", queues, "--config", str(config)]
        environ = {**os.environ, "WORKER": name}
        environ.pop("RODIN_API_KEY", None)
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=environ)

    def told(self) -> str:
        """Return what it has logged."""
        return self.log.read_text()

    def send(self, number: int) -> None:
        """Send its process a signal."""
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> int:
        """End it, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            if number != signal.SIGCONT:
                self.process.send_signal(signal.SIGCONT)
        return self.process.wait(WAIT_SECONDS)


@dataclass
class Farm:
    """A daemon with a plugin on the farm, and its workers."""

    shop: Shop
    folder: Path
    url: str
    stack: ExitStack
    workers: list[Worker] = field(default_factory=list)

    def work(self, name: str, queues: str = "heavy", **sections: Mapping[str, Any]) -> Worker:
        """Start a worker."""
        return self.start(name, queues, self.config_of(name, **sections))

    def start(self, name: str, queues: str, config: Path) -> Worker:
        """Start a worker with a config."""
        worker = Worker(name, config, queues, self.folder / f"{name}.log")
        self.stack.callback(worker.end)
        self.workers.append(worker)
        return worker

    def config_of(self, name: str, **sections: Mapping[str, Any]) -> Path:
        """Write a worker's config, and return where it is."""
        told: dict[str, dict[str, Any]] = {
            "folders": {"root": str(self.shop.root), "state": str(self.folder / f"state-{name}")},
            "store": {"url": self.url},
            "farm": {"silent_seconds": SILENT_SECONDS},
            "service": {"stop_seconds": 1},
            "plugins": {"folders": [str(self.folder / "plugins")], "pass_environment": ["WORKER"]},
        }
        for section, keys in sections.items():
            told[section] = {**told.get(section, {}), **keys}
        config = self.folder / f"{name}.toml"
        config.write_text(tomli_w.dumps(told))
        return config

    def notes(self) -> list[str]:
        """Return what the plugin noted."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def has_notes(self, count: int) -> bool:
        """Return whether the plugin noted so many lines."""
        return len(self.notes()) == count

    def let(self, name: str) -> None:
        """Let a slow plugin go on at a worker."""
        (self.folder / f"go-{name}").touch()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with psycopg.connect(self.url, autocommit=True) as found:
            done = found.execute(query)
            return done.fetchall() if done.description else []

    def until(self, true: Callable[[], object]) -> None:
        """Let the daemon work until something is true; its clock runs."""
        pause = threading.Event()
        end = time.monotonic() + WAIT_SECONDS
        while True:
            self.shop.ticks(1, step_seconds=0.5)
            if true():
                return
            told = "\n".join(worker.told() for worker in self.workers)
            assert time.monotonic() < end, f"{self.shop.status()}\n{self.notes()}\n{told}"
            pause.wait(0.02)

    def until_idle(self) -> None:
        """Let the inbox be looked at, and the daemon work until nothing moves."""
        self.shop.hands.seconds += 1.0
        self.until(self.shop.daemon.is_idle)


@contextmanager
def farm(
    tmp_path: Path,
    vendor: Vendor,
    url: str,
    code: str,
    table: Mapping[str, Any] | None = None,
    **sections: Mapping[str, Any],
) -> Iterator[Farm]:
    """Give a daemon with the plugin `plug` on the farm; workers come when they are started."""
    plugins = tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    (plugins / "plug.py").write_text(PLUG.format(log=str(tmp_path / "log")) + code)
    told: dict[str, dict[str, Any]] = {
        "plugins": {"folders": [str(plugins)], "plug": {"where": "farm", "queue": "heavy", **(table or {})}},
        "farm": {"silent_seconds": SILENT_SECONDS},
    }
    for section, keys in sections.items():
        told[section] = {**told.get(section, {}), **keys}
    with ExitStack() as stack, shop_on(tmp_path / "root", vendor.emulator.base_url, url, **told) as shop:
        yield Farm(shop, tmp_path, url, stack)


@contextmanager
def page_of(there: Farm) -> Iterator[Browser]:
    """Serve the page in a process of its own."""
    address = free_address()
    config = there.shop.root / "page.toml"
    text = (there.shop.root / "config.toml").read_text()
    config.write_text(f'{text}\n[web]\nlisten = "{address}"\n')
    command = [sys.executable, "-m", "rodin_watchd", "web", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert address in process.stdout.readline()
            yield Browser(address)
        finally:
            process.terminate()
            process.wait(WAIT_SECONDS)


def receipt_of(farm: Farm, name: str = "chair") -> dict[str, Any]:
    """Return a delivered set's receipt."""
    return tomllib.loads(farm.shop.path(f"outbox/{name}/job.toml").read_text())


def data_of(farm: Farm) -> dict[str, Any]:
    """Return what `workers --json` prints."""
    found = farm.shop.at_terminal("workers", "--json")
    assert found.exit_code == 0, found.output
    data: dict[str, Any] = json.loads(found.output)
    return data
