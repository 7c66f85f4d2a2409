"""Messages that wait on disk until their target has taken them. They outlive the process, the service and the machine.

One folder for each target, one file for each message in it: `KEY.json` waits, `KEY.sent` was taken a little while ago
(a call that is repeated because its end was not recorded finds it, and sends nothing twice).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rodin_watchd_plugins.notify.wording import Message

_REMEMBERED_SECONDS: Final = 600.0
_MOST_WITH_PICTURE: Final = 200
"""How many messages of one target keep their picture; later ones wait without it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that waits."""

    path: Path
    message: Message
    kept_at: float  # UTC epoch seconds
    urgent: bool
    picture: bytes  # JPEG, or nothing


class Tray:
    """The messages that wait for one target. Raises OSError where the disk does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, event_id: str, message: Message, picture: bytes, now: float, *, urgent: bool) -> None:
        """Keep a message, durably; one that is kept already, or was just sent, stays as it is."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{hashlib.sha256(event_id.encode()).hexdigest()[:32]}.json"
        if path.exists() or path.with_suffix(".sent").exists():
            return
        shown = picture if len(list(self._folder.glob("*.json"))) < _MOST_WITH_PICTURE else b""
        data = {
            "message": asdict(message),
            "kept_at": now,
            "urgent": urgent,
            "picture": base64.b64encode(shown).decode(),
        }
        _write(path, json.dumps(data).encode())

    def kept(self, now: float) -> list[Kept]:
        """Return what waits, the oldest first; a clock that was set back makes nothing wait for longer."""
        found = (_read(path) for path in self._folder.glob("*.json"))
        return sorted((kept for kept in found if kept), key=lambda kept: min(kept.kept_at, now))

    def sent(self, messages: Sequence[Kept], now: float) -> None:
        """Note that messages were taken, and forget those that were taken long ago."""
        for kept in messages:
            done = kept.path.with_suffix(".sent")
            kept.path.replace(done)
            os.utime(done, (now, now))
        _sync(self._folder)
        for old in (*self._folder.glob("*.sent"), *self._folder.glob("*.new")):
            with contextlib.suppress(FileNotFoundError):  # another process has finished with it
                if abs(now - old.stat().st_mtime) > _REMEMBERED_SECONDS:
                    old.unlink()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes and threads from sending to this target meanwhile."""
        with (self._folder / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def is_there(self) -> bool:
        """Whether anything was ever kept for the target."""
        return self._folder.is_dir()


def _read(path: Path) -> Kept | None:
    """Read a file; one that cannot be understood is put aside, under the name `KEY.bad`."""
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
        picture = base64.b64decode(data["picture"])
        return Kept(path, Message(**data["message"]), float(data["kept_at"]), bool(data["urgent"]), picture)
    except FileNotFoundError:
        return None  # sent by another process meanwhile
    except (ValueError, KeyError, TypeError):
        path.replace(path.with_suffix(".bad"))
        return None


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(f"{path.stem}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
