"""What the command line costs to start, against Python itself: the CPU of whole processes, as people and shells start them."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path
from typing import Final

from benchmarks.figures import Effort, Figure, main, median
from benchmarks.processes import cpu_of, daemon, wait_until
from benchmarks.sets import drop
from benchmarks.vendor import vendor

GOAL_MILLISECONDS: Final = 100.0
BARE: Final = "python -c pass"
SET: Final = "set00000"
LOOKING: Final = ("status", "list", "show", "health", "explain")


def measure(effort: Effort) -> list[Figure]:
    """Start each command many times, in turns, next to a daemon that runs and has delivered a set."""
    with tempfile.TemporaryDirectory() as home, vendor() as (base_url, _), daemon(Path(home), base_url, {}):
        config = ("--config", f"{home}/config.toml")
        drop(Path(home) / "inbox", 0)
        wait_until((Path(home) / "outbox" / SET).exists)
        more = {"show": (SET,), "explain": (f"outbox/{SET}",)}
        commands = {
            BARE: ("-c", "pass"),
            "rodin-watchd --version": ("-m", "rodin_watchd", "--version"),
            "rodin-watchd --help": ("-m", "rodin_watchd", "--help"),
            **{f"rodin-watchd {name}": ("-m", "rodin_watchd", name, *config, *more.get(name, ())) for name in LOOKING},
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _, name in product(range(effort.of(25, 3)), commands):
            took[name].append(cpu_of(*commands[name]) * 1000)
    bare = median(took.pop(BARE))
    return [
        Figure(f"{name}, CPU", median(each), "ms", bare, BARE, at_most=GOAL_MILLISECONDS) for name, each in took.items()
    ]


if __name__ == "__main__":
    main([("startup", measure)])
