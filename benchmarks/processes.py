"""Other processes: started from this environment, watched from outside, ended by their own handle."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
KEY = "benchmark-key"

_CPU_CLOCK = 2  # CPUCLOCK_SCHED, as clock_getcpuclockid(3) makes it from a process id


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, user and system, all its threads, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


def memory_megabytes(pid: int, field: str = "VmRSS") -> float:
    """Return the resident memory of a process now, or at its highest (`VmHWM`), in units of 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024 / 1e6
    raise ValueError(field)


def python(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start this Python with the arguments, from the project's folder."""
    environment = {**os.environ, "RODIN_API_KEY": KEY, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, cwd=HERE, env=environment, text=True, **options)  # type: ignore[call-overload, no-any-return] # options are handed on


@contextlib.contextmanager
def running(*arguments: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a Python process for as long as the context lasts; SIGTERM at its end, SIGKILL if that does not help."""
    process = python(*arguments, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()


def output_of(*arguments: str) -> str:
    """Run a Python process to its end and return what it printed. Raises CalledProcessError."""
    process = python(*arguments, stdout=subprocess.PIPE)
    told, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return told


_WATCHED = """
import atexit, runpy, sys, time
def tell():
    found = open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]
    sys.stderr.write(f"\\n{time.process_time()} {found}")
atexit.register(tell)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def cost_of(module: str, *arguments: str) -> tuple[float, float]:
    """Run a module as a program to its end; return its CPU seconds, and its memory at its highest, in units of 1,000,000 bytes.

    CPU, for on a busy machine the wall clock says more about the others. Raises CalledProcessError.
    """
    process = python("-c", _WATCHED, module, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, told = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments, stderr=told)
    cpu, memory = told.split()[-2:]
    return float(cpu), int(memory) * 1024 / 1e6


def cpu_of(*arguments: str) -> float:
    """Run a Python process to its end; return its CPU seconds, with the start of Python itself. Raises CalledProcessError."""
    process = python(*arguments, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return used.ru_utime + used.ru_stime


def wait_until(true: Callable[[], bool], *, seconds: float = 120.0, step_seconds: float = 0.01) -> None:
    """Wait for something to become true. Raises TimeoutError."""
    ends_at = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(step_seconds)


@contextlib.contextmanager
def daemon(root: Path, base_url: str, settings: Mapping[str, str]) -> Iterator[int]:
    """Run the real daemon on a folder and give its process id; `settings` are TOML values by `section.key`."""
    write_config(root, base_url, settings)
    config = str(root / "config.toml")
    with (
        (root / "daemon.log").open("w") as log,
        running("-m", "rodin_watchd", "run", "--config", config, stderr=log) as process,
    ):
        wait_until((root / "STATUS.txt").exists)
        yield process.pid


def write_config(root: Path, base_url: str, settings: Mapping[str, str]) -> None:
    """Make the folders and the config file: as fast as the daemon may go, but for what `settings` says."""
    (root / "inbox").mkdir(parents=True, exist_ok=True)
    keys = {
        "api.base_url": f'"{base_url}"',
        "api.requests_per_minute": "100000",
        "intake.unproven_quiet_seconds": "0",  # what is measured is work, not the wait for a text that may go on
        "polling.min_seconds": "0.01",
        "polling.max_seconds": "0.01",
        **settings,
    }
    lines = (f"{key} = {value}\n" for key, value in keys.items())
    (root / "config.toml").write_text("".join(lines))
