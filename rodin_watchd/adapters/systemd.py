"""The service manager, by systemd's notification protocol: datagrams to the socket that $NOTIFY_SOCKET names, and the pulse.

The protocol is that of sd_notify(3) and sd_watchdog_enabled(3). Without a service manager nothing is sent.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final, Self

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE: Final = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE: Final = "WATCHDOG_PID"
_MICROSECONDS: Final = 1_000_000
_SEND_SECONDS: Final = 0.1
_LONGEST_STATUS: Final = 500


class Manager:
    """The service manager, if there is one. All methods are for one thread; none raises.

    `watchdog_seconds` is how long it waits for a sign of life before it ends the service, 0.0 when it does not watch.
    Each method returns whether the message was taken; it may be repeated. A manager that is busy costs a tenth of a second at most.
    """

    def __init__(self, address: str = "", watchdog_seconds: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket:
            self._socket.settimeout(_SEND_SECONDS)
        self.watchdog_seconds = watchdog_seconds if address else 0.0

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Self:
        """Return who is named there, and take the names out: no child process is to speak for the service."""
        address = environ.pop(SOCKET_VARIABLE, "")
        microseconds = environ.pop(WATCHDOG_VARIABLE, "")
        for_us = environ.pop(WATCHDOG_PID_VARIABLE, "") in ("", str(os.getpid()))
        watches = for_us and microseconds.isascii() and microseconds.isdigit()
        known = address[:1] in ("/", "@")  # sd_notify(3): other kinds lead to other machines
        return cls(address if known else "", int(microseconds) / _MICROSECONDS if watches else 0.0)

    def close(self) -> None:
        """Send nothing more."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def ready(self) -> bool:
        """Report that the service does its work, or does it again after `reloading`."""
        return self._send("READY=1")

    def reloading(self) -> bool:
        """Report that the configuration is being read again; `ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000  # Type=notify-reload compares it
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> bool:
        """Report that the service is about to end."""
        return self._send("STOPPING=1")

    def alive(self) -> bool:
        """Give a sign of life to a manager that watches."""
        return not self.watchdog_seconds or self._send("WATCHDOG=1")

    def status(self, words: str) -> bool:
        """Send a line of words about the service's state."""
        return self._send(f"STATUS={' '.join(words.split())[:_LONGEST_STATUS]}")

    def extend(self, seconds: float) -> bool:
        """Ask for so many seconds from now for a start or an end; a longer one asks again before they are over."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICROSECONDS)}")

    def _send(self, message: str) -> bool:
        if self._socket is None:
            return True
        with contextlib.suppress(OSError):  # it is being restarted, or too busy: sent again with the next change
            self._socket.sendto(message.encode("utf-8", "replace"), self._address)
            return True
        return False


# ---- The pulse: signs of life, from the main loop alone, so that a loop that is stuck falls silent ------------------


BEATS = 4
"""How many signs of life fit into the time that the manager waits for one; sd_watchdog_enabled(3) asks for two."""

EXTENSION_SECONDS = 30.0
"""What is asked for at a time while a start, a reload or an end takes long."""

_ASK_SECONDS = 1.0


class Pulse:
    """Reports to the manager when the service is ready, how it is, and that it lives. The main thread's alone."""

    def __init__(self, manager: Manager, monotonic: Callable[[], float]) -> None:
        self._manager = manager
        self._monotonic = monotonic
        self._ready = False
        self._stands_by = False  # since then the manager watches
        self._reading = False
        self._status = ""
        self._beaten_at = -math.inf
        self._asked_at = -math.inf
        self._note = ""  # what is to be read after each status

    def beat(self, status: str, *, looked: bool) -> None:
        """End a tick: `looked` says whether the inbox was looked at since the start or reload."""
        self._stands_by = False
        self._live()
        self._notify(status)
        if not self._ready and looked and not self._reading:
            self._ready = self._manager.ready()
        elif not self._ready:
            self._ask_for_time()

    def wait(self, status: str) -> None:
        """Report that a start or an end takes its time, and why. A watchdog runs where the service had stood by before."""
        if self._stands_by:
            self._live()
        self._notify(status)
        self._ask_for_time()

    def stand_by(self, status: str) -> None:
        """Report that the service is in order, and waits for another one to end; to be called every second."""
        self._stands_by = True
        self._live()
        self._notify(status)
        self._ready = self._ready or self._manager.ready()

    def wait_long(self, status: str, seconds: float) -> None:
        """Do the same for what is not interrupted for so many seconds at most."""
        self._notify(status)
        if self._manager.extend(seconds):
            self._asked_at = self._monotonic()

    def reload(self, note: str) -> None:
        """Report that the configuration is read again, with a note."""
        self._manager.reloading()
        self._ready, self._reading, self._note = False, True, note

    def reloaded(self, note: str) -> None:
        """Say that it was read; the next beat after a look reports it."""
        self._reading, self._note = False, note

    def stop(self) -> None:
        """Report that the service ends."""
        self._manager.stopping()

    @property
    def longest_sleep_seconds(self) -> float:
        """How long the loop may sleep between two beats."""
        watched = self._manager.watchdog_seconds
        return watched / BEATS if watched else math.inf

    def _live(self) -> None:
        now = self._monotonic()
        if now - self._beaten_at >= self._manager.watchdog_seconds / BEATS and self._manager.alive():
            self._beaten_at = now

    def _notify(self, status: str) -> None:
        status = "; ".join(filter(None, (status, self._note)))
        if status != self._status and self._manager.status(status):
            self._status = status

    def _ask_for_time(self) -> None:
        now = self._monotonic()
        if now - self._asked_at >= _ASK_SECONDS and self._manager.extend(EXTENSION_SECONDS):
            self._asked_at = now
