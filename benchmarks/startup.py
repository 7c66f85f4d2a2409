"""How long the command line takes to start, against Python itself."""

from __future__ import annotations

import tempfile
import time
from itertools import product
from pathlib import Path

from benchmarks.figures import Effort, Figure, main, median
from benchmarks.processes import daemon, output_of
from benchmarks.vendor import vendor


def measure(effort: Effort) -> list[Figure]:
    """Start each command many times, in turns, next to a daemon that runs."""
    with tempfile.TemporaryDirectory() as home, vendor() as (base_url, _), daemon(Path(home), base_url, {}):
        commands = {
            "bare": ("-c", "pass"),
            "--help": ("-m", "rodin_watchd", "--help"),
            "status": ("-m", "rodin_watchd", "status", "--config", f"{home}/config.toml"),
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _, name in product(range(effort.of(25, 3)), commands):
            took[name].append(_milliseconds(commands[name]))
    bare = median(took["bare"])
    return [
        Figure("rodin-watchd --help", median(took["--help"]), "ms", bare, "python -c pass", at_most=300),
        Figure("rodin-watchd status", median(took["status"]), "ms", bare, "python -c pass"),
    ]


def _milliseconds(arguments: tuple[str, ...]) -> float:
    started = time.monotonic()
    output_of(*arguments)
    return (time.monotonic() - started) * 1000


if __name__ == "__main__":
    main([("startup", measure)])
