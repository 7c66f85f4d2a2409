"""A machine for the tests: a Debian root booted by systemd-nspawn, with a network of its own that has loopback alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Entry: TypeAlias = dict[str, Any]
"""A line of the machine's journal, with its fields."""

BOOT_SECONDS = 60.0
TIMEOUT_SECONDS = 60.0
END_SECONDS = 5.0
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Diary:
    """The machine's journal as it is written. `mark` is a place in it."""

    def __init__(self, lines: subprocess.Popen[str]) -> None:
        self._lines = lines
        self._entries: list[Entry] = []
        self._news = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def close(self) -> None:
        """Read to the end."""
        self._reading.join(TIMEOUT_SECONDS)
        assert self._lines.stdout is not None
        self._lines.stdout.close()

    def _read(self) -> None:
        assert self._lines.stdout is not None
        for line in self._lines.stdout:
            with self._news:
                self._entries.append(json.loads(line))
                self._news.notify_all()

    @property
    def mark(self) -> int:
        """Where it ends now."""
        return len(self._entries)

    def since(self, mark: int = 0, **fields: str) -> list[Entry]:
        """Return the lines from a mark on that have these fields."""
        return [entry for entry in self._entries[mark:] if fields.items() <= entry.items()]

    def until(self, wanted: Callable[[Entry], bool], mark: int = 0) -> Entry:
        """Wait for a line and return it; what was read instead is told when it does not come."""
        found: list[Entry] = []

        def there() -> bool:
            found.extend(entry for entry in self._entries[mark:] if wanted(entry))
            return bool(found)

        with self._news:
            assert self._news.wait_for(there, TIMEOUT_SECONDS), "\n".join(map(told, self._entries[mark:][-40:]))
        return found[0]


def told(entry: Entry) -> str:
    """Return a line's words."""
    return f"{entry.get('SYSLOG_IDENTIFIER', '')}: {entry.get('MESSAGE', '')}"


class Machine:
    """The booted machine. Commands run in all of its namespaces, as root."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._enter = ("nsenter", "--target", str(leader), "--all", "--", "env", "-i", _PATH, "LANG=C.UTF-8")
        follow = [*self._enter, "journalctl", "--boot", "--follow", "--lines=all", "--output=json"]
        self._journal = subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.diary = Diary(self._journal)

    def close(self) -> None:
        """Pull the plug: with its first process all others of the machine end (pid_namespaces(7))."""
        os.kill(self._leader, signal.SIGKILL)
        self._journal.wait(TIMEOUT_SECONDS)

    def run(self, line: str, *, code: int = 0) -> str:
        """Run a line in a shell, expect its exit code, return what it printed."""
        done = subprocess.run(
            [*self._enter, "sh", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Write a file, and the folder it lies in."""
        place = shlex.quote(path)
        self.run(f"mkdir -p $(dirname {place}) && printf %s {shlex.quote(text)} > {place} && chmod {mode} {place}")

    def property(self, unit: str, name: str) -> str:
        """Return what systemd knows of a unit."""
        return self.run(f"systemctl show --value -p {name} {unit}").strip()


@contextlib.contextmanager
def booted(root: Path, folder: Path, binds: Mapping[str, Path]) -> Iterator[Machine]:
    """Boot a root, whose changes are forgotten at the end; folders of this machine are shown read-only."""
    name = f"rodin{uuid.uuid4().hex[:8]}"
    notices = folder / f"{name}.sock"
    shown = [f"--bind-ro={source}:{place}" for place, source in binds.items()]
    command = ["systemd-nspawn", "--quiet", f"--machine={name}", f"--directory={root}", "--volatile=overlay"]
    apart = ["--private-network", "--register=no", "--keep-unit", "--notify-ready=yes", "--tmpfs=/srv:mode=755"]
    environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(notices), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        line.bind(str(notices))
        line.settimeout(BOOT_SECONDS)
        console = stack.enter_context((folder / f"{name}.log").open("wb"))
        nspawn = subprocess.Popen(
            [*command, *apart, *shown, "--console=read-only", "--boot"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        ending = stack.enter_context(contextlib.ExitStack())
        ending.callback(_end, nspawn)
        machine = Machine(_leader(line))
        threading.Thread(target=_hear_out, args=(line,), daemon=True).start()
        stack.callback(machine.diary.close)
        ending.pop_all()
        stack.callback(_end, nspawn)
        stack.callback(machine.close)
        machine.run("systemctl is-system-running --wait")
        yield machine


def _leader(line: socket.socket) -> int:
    """Return the process id of the machine's own systemd, when that says that it has booted: sd_notify(3), systemd-nspawn(1)."""
    leader = 0
    while True:
        words = dict(word.partition("=")[::2] for word in line.recv(4096).decode().splitlines())
        assert "ERRNO" not in words, words
        leader = int(words.get("X_NSPAWN_LEADER_PID", leader))
        if "READY" in words:
            return leader


def _hear_out(line: socket.socket) -> None:
    """Read what the machine's systemd tells of long jobs: it would stand still when nobody does."""
    with contextlib.suppress(OSError):  # closed
        line.settimeout(None)
        while line.recv(4096):
            pass


def _end(nspawn: subprocess.Popen[bytes]) -> None:
    try:
        nspawn.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait()


def _may_mount() -> bool:
    """Tell whether CAP_SYS_ADMIN, capabilities(7), is among the effective ones."""
    found = re.search(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> 21 & 1)


def why_not() -> str:
    """Return why no machine can be booted here, "" if one can."""
    if os.geteuid() != 0:
        return "only root boots a machine"
    if not _may_mount():
        return "this root may not make namespaces and mounts, which a machine needs"
    missing = [name for name in ("debootstrap", "systemd-nspawn", "dpkg-deb", "nsenter") if not shutil.which(name)]
    return f"{', '.join(missing)} is missing" if missing else ""
