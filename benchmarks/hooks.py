"""What a call of a plugin's hook costs: a hook that does nothing, against the same function called in a process of its own by pipes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Effort, Figure, main, median, percentile
from rodin_watchd.adapters.plugin_host import PluginCall, PluginHost, PluginSource, ProcessLimits, Ready, clean_environ

PLUGIN = "from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_service(event):\n    pass\n"
ECHO = "import sys\nfor line in sys.stdin:\n    sys.stdout.write(line)\n    sys.stdout.flush()\n"
LIMITS = ProcessLimits(memory_bytes=2 << 30, file_bytes=1 << 30, start_seconds=60.0)
EVENT = {"event": {"id": "1", "kind": "paused", "at": 1.0, "message": "no credits"}}


def measure(effort: Effort) -> list[Figure]:
    """Call a hook many times, warm; and start its process a few times."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, "nothing.py")
        path.write_text(PLUGIN)
        ready = Ready(PluginSource("nothing", path=str(path)), LIMITS)
        starts = [_started(ready, Path(home)) for _ in range(effort.of(11, 1))]
        warm = _warm(ready, Path(home), effort.of(2000, 20))
    bare = _bare(effort.of(2000, 20))
    floor = "a line through pipes to a process and back"
    return [
        Figure("a hook that does nothing: median", median(warm), "ms", median(bare), floor, at_most=5),
        Figure("a hook that does nothing: p99", percentile(warm, 0.99), "ms", percentile(bare, 0.99), floor),
        Figure("first call, with the start of the process", median(starts), "ms"),
    ]


def _started(ready: Ready, home: Path) -> float:
    host = PluginHost([ready], 1, clean_environ(os.environ, ()), home / "scratch")
    took = _timed(host)
    host.close()
    return took


def _warm(ready: Ready, home: Path, count: int) -> list[float]:
    host = PluginHost([ready], 1, clean_environ(os.environ, ()), home / "scratch")
    host.load("nothing")
    took = [_timed(host) for _ in range(count)]
    host.close()
    return took


def _timed(host: PluginHost) -> float:
    started = time.perf_counter()
    host.call(PluginCall("nothing", "rodin_service", EVENT, {}, 30.0))
    return (time.perf_counter() - started) * 1000


def _bare(count: int) -> list[float]:
    """Return the milliseconds of a line to a process that sends it back."""
    took = []
    command = [sys.executable, "-c", ECHO]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - as above
        for _ in range(count):
            started = time.perf_counter()
            process.stdin.write('{"hook": "rodin_service"}\n')
            process.stdout.readline()
            took.append((time.perf_counter() - started) * 1000)
    return took


if __name__ == "__main__":
    main([("hooks", measure)])
