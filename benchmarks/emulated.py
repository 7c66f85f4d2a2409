"""The project's emulator in a process of its own: `python -m benchmarks.emulated TASK_SECONDS` prints its base URL."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

from benchmarks.processes import KEY, running
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator


@contextlib.contextmanager
def emulator(task_seconds: float = 0.0) -> Iterator[str]:
    """Run the emulator, whose tasks take so long (0: all is done when the submit is answered); give its base URL."""
    with running("-m", "benchmarks.emulated", str(task_seconds), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        yield process.stdout.readline().strip()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    seconds = float(sys.argv[1])
    settings = EmulatorSettings(
        api_keys=(KEY,), balance=Decimal(10**6), waiting_seconds=0, generating_seconds=seconds, instant=not seconds
    )
    with Emulator(settings) as running_one:
        print(running_one.base_url, flush=True)
        signal.sigwait({signal.SIGTERM})
