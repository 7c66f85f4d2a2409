"""File events by watchdog's `InotifyFD`, which is not in its documented API: `HAS_INOTIFY` says whether it is there."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from watchdog.utils import UnsupportedLibcError

from rodin_watchd.adapters.watcher._mailbox import PROBE_NAME, Mailbox, defect, join

try:
    from watchdog.observers.inotify_c import CallbackId, InotifyFD, Mask
    from watchdog.observers.inotify_c import InotifyConstants as Flag

    _SELF = Flag.IN_DELETE_SELF | Flag.IN_MOVE_SELF | Flag.IN_UNMOUNT
    _MASK = Mask(
        (Flag.IN_CLOSE_WRITE | Flag.IN_CREATE | Flag.IN_MOVED_FROM | Flag.IN_MOVED_TO)
        | (Flag.IN_DELETE_SELF | Flag.IN_MOVE_SELF | Flag.IN_ONLYDIR | Flag.IN_DONT_FOLLOW)
    )
    _NEEDED = (InotifyFD.add_callback, InotifyFD.remove_callbacks, InotifyFD.stop)
    HAS_INOTIFY = True
except (ImportError, AttributeError, TypeError, UnsupportedLibcError):  # TypeError: Windows has no CDLL(None)
    HAS_INOTIFY = False

if TYPE_CHECKING:
    from watchdog.observers.inotify_c import InotifyEvent, WatchDescriptor


class _Watched(NamedTuple):
    """A folder under watch: its path below the root, and by what id `InotifyFD` knows our callback."""

    path: bytes
    id: CallbackId


class _InotifySession:
    """One inotify instance over the tree as it was found. Its methods `on_…` run in the reading thread.

    Raises OSError, and leaves nothing open, if the root itself cannot be watched; what cannot be watched below it is
    noted in `defects`, which the reading thread may add to.
    """

    def __init__(self, root: bytes, mailbox: Mailbox, defects: dict[str, str]) -> None:
        self.sound = True
        self._root = root
        self._mailbox = mailbox
        self._defects = defects
        self._lock = threading.Lock()  # taken before the lock of InotifyFD, never while that is held
        self._watched: dict[WatchDescriptor, _Watched] = {}
        self._ids = itertools.count()
        self._closing = False
        self._fd = InotifyFD()
        self._fd.start()
        try:
            self._watch(b"")
        except OSError:
            self.close()
            raise
        self._descend(b"")

    @property
    def alive(self) -> bool:
        return self._fd.is_alive()

    def lose(self, text: str) -> None:
        """See nothing any more: what is watched is no longer the root."""
        with self._lock:
            self._watched.clear()
        self._fault(text)

    def close(self) -> None:
        with self._lock:
            self._closing = True
        self._fd.stop()
        self._fd.join()

    def on_event(self, event: InotifyEvent) -> None:
        with self._lock:
            watched = self._watched.get(event.wd)
        if watched is None:  # its folder has left
            return
        if event.mask & _SELF:
            self._on_self(watched.path, event.mask)
        elif event.mask & Flag.IN_ISDIR:
            self._on_folder(join(watched.path, event.name), event.mask)
        else:
            self._on_file(watched.path, event.name, event.mask)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        with self._lock:
            self._watched.pop(wd, None)

    def on_queue_overflow(self) -> None:
        self._fault("File events were lost in a burst; the rescan finds what they told.")

    def _on_self(self, folder: bytes, mask: int) -> None:
        if mask & Flag.IN_UNMOUNT:
            self.lose("The watched folder, or one in it, was unmounted.")
        elif not folder:
            self.lose(f"The watched folder was {'removed' if mask & Flag.IN_DELETE_SELF else 'moved away'}.")

    def _on_folder(self, folder: bytes, mask: int) -> None:
        if mask & Flag.IN_MOVED_FROM:
            self._forget(folder)
            return
        if self._watch_if_there(folder):
            self._descend(folder)
        self._mailbox.wake()  # files may have been in it before its watch was

    def _on_file(self, folder: bytes, name: bytes, mask: int) -> None:
        if name == PROBE_NAME.encode():
            if mask & Flag.IN_CLOSE_WRITE:
                self._mailbox.probed.set()
        elif mask & Flag.IN_CREATE:
            self._mailbox.void(folder, name)
            self._mailbox.wake()  # a hard link is never closed
        elif mask & (Flag.IN_CLOSE_WRITE | Flag.IN_MOVED_TO):
            self._mailbox.vouch(folder, name)

    def _fault(self, text: str) -> None:
        """Ask for a new session, and forget what may have been undone by an event that did not come."""
        self.sound = False
        self._mailbox.take_closed()
        self._mailbox.say(text)

    def _full(self, folder: bytes) -> bytes:
        """Return the path to open; the root gets a "/" at its end, so that a root that is a link is followed."""
        return self._root + b"/" + folder

    def _watch(self, folder: bytes) -> bool:
        """Watch one folder, its sub-folders apart; False if it was under this path already. Raises OSError."""
        with self._lock:
            if self._closing:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            added = _Watched(folder, CallbackId(next(self._ids)))
            wd = self._fd.add_callback(self._full(folder), _MASK, self, added.id)
            before = self._watched.get(wd)
            if before is not None or wd == -1:  # one callback for each folder is enough; -1: see below
                self._fd.remove_callbacks([(wd, added.id)])
            if wd == -1:  # InotifyFD passes over EACCES
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._watched[wd] = added if before is None else before._replace(path=folder)
        if before is not None and before.path == folder:
            return False
        self._mailbox.void_folder(folder)
        return True

    def _watch_if_there(self, folder: bytes) -> bool:
        try:
            return self._watch(folder)
        except OSError as error:
            self._note_defect(error, folder)
            return False

    def _descend(self, top: bytes) -> None:
        """Watch all sub-folders of a folder that is watched already, so that none can appear unseen meanwhile."""
        pending = [top]
        while pending:
            pending += [found for found in self._sub_folders(pending.pop()) if self._watch_if_there(found)]

    def _sub_folders(self, folder: bytes) -> list[bytes]:
        try:
            with os.scandir(self._full(folder)) as entries:
                return [join(folder, entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            self._note_defect(error, folder)
            return []

    def _note_defect(self, error: OSError, folder: bytes) -> None:
        """Note why a folder cannot be watched; one that is gone again needs no watch."""
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            kind, text = defect(error, Path(os.fsdecode(folder)))
            self._defects.setdefault(kind, text)

    def _forget(self, top: bytes) -> None:
        """Stop watching a folder that was moved away, and all below it: what they are called now is not known here."""
        with self._lock:
            gone = [wd for wd, at in self._watched.items() if at.path == top or at.path.startswith(top + b"/")]
            leaving = [(wd, self._watched.pop(wd).id) for wd in gone]
            if not self._closing:
                self._fd.remove_callbacks(leaving)
