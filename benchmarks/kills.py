"""What is paid for the same sets under the same kills: by the daemon, and by the straightforward script that people write.

Each is killed (SIGKILL) again and again while it works, started again each time, and then left alone until all sets are archived.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from benchmarks.figures import Effort, Figure, main
from benchmarks.processes import KEY, python, wait_until, write_config
from benchmarks.sets import drop, folders
from benchmarks.straightforward import __name__ as script
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator

TASK_SECONDS = 2.0
SETTINGS = {"api.max_in_flight": "4", "intake.sidecar_wait_seconds": "0", "polling.max_seconds": "5"}
VENDOR = "VENDOR"
"""Stands in a command for the address of the vendor."""

FIRST_KILL_SECONDS, LAST_KILL_SECONDS = 3.0, 8.0


def measure(effort: Effort) -> list[Figure]:
    """Have both buy the same sets, killed at the same moments."""
    sets, kills = effort.of(30, 2), effort.of(8, 1)
    with tempfile.TemporaryDirectory() as home:
        ours, theirs = Path(home) / "ours", Path(home) / "script"
        paid = _paid(
            ours, ("-m", "rodin_watchd", "run", "--until-idle", "--config", str(ours / "config.toml")), sets, kills
        )
        paid_by_script = _paid(theirs, ("-m", script, str(theirs), VENDOR), sets, kills)
    name = f"{sets} sets, {kills} kills: textures paid"
    return [Figure(name, paid, "", paid_by_script, "straightforward script", at_most=sets)]


def _paid(root: Path, command: Sequence[str], sets: int, kills: int) -> int:
    """Return for how many textures the vendor was paid."""
    chance = random.Random(5)  # noqa: S311 - the same moments for both
    with _vendor() as vendor:
        write_config(root, vendor.base_url, SETTINGS)
        for number in range(sets):
            drop(root / "inbox", number, sidecar=False)
        words = [word.replace(VENDOR, vendor.base_url) for word in command]
        for _ in range(kills):
            with _running(root, words):
                time.sleep(chance.uniform(FIRST_KILL_SECONDS, LAST_KILL_SECONDS))
        with _running(root, words) as process:
            wait_until(lambda: folders(root / "archive") == sets or process.poll() is not None, seconds=300)
        return len(vendor.ledger()["charges"])


@contextlib.contextmanager
def _vendor() -> Iterator[Emulator]:
    settings = EmulatorSettings(
        api_keys=(KEY,), balance=Decimal(10**6), waiting_seconds=0, generating_seconds=TASK_SECONDS, instant=False
    )
    with Emulator(settings) as running:
        yield running


@contextlib.contextmanager
def _running(root: Path, words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    with (root / "log").open("a") as log, python(*words, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    main([("kills", measure)])
