"""File events as wake-ups: they end the daemon's wait early and say what writers did; they decide nothing.

A scan of the folder decides what there is, so a lost event costs a delay and a lost vouch costs the quiet period,
never a set. On Linux the events come from watchdog's `InotifyFD`: its public `Observer` loses events in bursts, does not
report a lost queue, and goes blind without a word when the root moves. `InotifyFD` is not in watchdog's documented API;
where it is missing (another platform, a changed watchdog) the `Observer` serves as a hint that vouches for nothing.
"""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from watchdog.events import FileClosedEvent, FileCreatedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver
from watchdog.utils import UnsupportedLibcError

from rodin_watchd.core.sets import NOTHING_SEEN, FileEvents, Writer

if TYPE_CHECKING:
    from watchdog.observers.inotify_c import InotifyEvent, WatchDescriptor

# ---- What a watching thread leaves for the main loop: wake-ups, vouches, and sentences for people -------------------


PROBE_NAME = ".rodin-watchd-probe"
"""The probe file: hidden, so that no scan takes it for a member of a set."""

_PROBE = PROBE_NAME.encode()

_LEAST_LIMITS = {"max_user_watches": 524_288, "max_user_instances": 1024}
# What the errors of inotify_add_watch(2) and inotify_init(2) mean.
_LIMITS = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}


BURST_FILES = 256
"""So many files that come between two looks are a burst: a look in its midst sees a part, and costs nearly as much as one at its end."""

BURST_GAP_SECONDS, LONGEST_BURST_SECONDS = 0.05, 2.0
"""A burst has ended when none came for so long; after so long it is looked at all the same."""

_MANY_EVENTS, _READ_PAUSE_SECONDS = 16, 0.005
"""After a read with so many events the next one waits, so that it gets hundreds at once, and wakes the loop once for them."""


class Mailbox:
    """Where a watching thread leaves what the main loop takes. Paths are bytes, as the kernel gives them."""

    def __init__(
        self, wake: Callable[[], None], most_files: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.wake = wake
        self._monotonic = monotonic
        self._most = most_files
        self._lock = threading.Lock()
        self._probe_came = threading.Condition(self._lock)
        self._probed: set[bytes] = set()  # folders in which the event of a probe file came
        self._words: dict[bytes, dict[bytes, Writer]] = {}  # folder -> name -> what its writer did last
        self._noted = 0
        self._came = 0  # files and folders, since the last look
        self._first_at = self._last_at = 0.0  # monotonic: when the first and the last of them came
        self._changed: set[bytes] | None = None  # folders; None: any may have
        self._said: dict[str, None] = {}  # an ordered set

    def note_file(self, folder: bytes, name: bytes, word: Writer) -> None:
        """Note what the writer of a file did; when there are too many, forget them all."""
        with self._lock:
            words = self._words.setdefault(folder, {})
            is_new = name not in words
            self._noted += is_new
            words[name] = word
            self._note(folder, is_new=is_new)
            if self._noted > self._most:
                self._words, self._noted = {}, 0

    def void(self, folder: bytes, name: bytes) -> None:
        """Forget a file: another one was made under its name."""
        self.leave(folder, name)
        self.note(folder)

    def leave(self, folder: bytes, name: bytes) -> Writer | None:
        """Forget a file that was moved away, and return what was known of its writer."""
        with self._lock:
            word = self._words.get(folder, {}).pop(name, None)
            self._noted -= word is not None
        return word

    def void_folder(self, folder: bytes) -> None:
        """Forget the files of a folder: another one came under its name."""
        with self._lock:
            self._noted -= len(self._words.pop(folder, ()))

    def note(self, folder: bytes) -> None:
        """Note that something in a folder has changed."""
        with self._lock:
            self._note(folder, is_new=True)

    def _note(self, folder: bytes, *, is_new: bool) -> None:
        if is_new:
            self._last_at = self._monotonic()
            self._first_at = self._first_at if self._came else self._last_at
            self._came += 1
        if self._changed is not None:
            self._changed.add(folder)
            if len(self._changed) > self._most:
                self._changed = None

    def lose_changes(self) -> None:
        """Note that anything may have changed."""
        with self._lock:
            self._changed = None

    def take_changed(self) -> frozenset[str] | None:
        """Return the folders in which something has changed since the last call; None: any may have."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return None if changed is None else frozenset(map(os.fsdecode, changed))

    def forget_probe(self, folder: bytes) -> None:
        """Forget that the event of a probe file came in a folder: another one is made."""
        with self._lock:
            self._probed.discard(folder)

    def note_probe(self, folder: bytes) -> None:
        """Note that the event of a probe file came."""
        with self._probe_came:
            self._probed.add(folder)
            self._probe_came.notify_all()

    def await_probe(self, folder: bytes, timeout_seconds: float) -> bool:
        """Wait for the event of a probe file in a folder, and return whether it came."""
        with self._probe_came:
            return self._probe_came.wait_for(lambda: folder in self._probed, timeout_seconds)

    def say(self, text: str) -> None:
        """Leave a sentence for people."""
        with self._lock:
            self._said[text] = None
        self.wake()

    def burst_seconds(self) -> float:
        """Return in how many seconds the burst that is under way counts as over; 0.0 where there is none."""
        with self._lock:
            ends_at = min(self._last_at + BURST_GAP_SECONDS, self._first_at + LONGEST_BURST_SECONDS)
            return max(ends_at - self._monotonic(), 0.0) if self._came >= BURST_FILES else 0.0

    def take_seen(self) -> FileEvents:
        """Return what was noted since the last call, and which files are being written now."""
        with self._lock:
            words = self._words
            self._came = 0
            self._words = {folder: open_ for folder, names in words.items() if (open_ := _still_open(names))}
            self._noted = sum(map(len, self._words.values()))
        by_word: dict[Writer, set[str]] = {word: set() for word in Writer}
        for folder, names in words.items():
            for name, word in names.items():
                by_word[word].add(os.fsdecode(join(folder, name)))
        return FileEvents(by_word[Writer.CLOSED], by_word[Writer.MOVED_IN], by_word[Writer.WRITING])

    def forget(self) -> None:
        """Forget what was noted of files: an event that did not come may have undone it."""
        with self._lock:
            self._words, self._noted = {}, 0

    def take_said(self) -> list[str]:
        """Return what was said since the last call."""
        with self._lock:
            said, self._said = self._said, {}
        return list(said)


def _still_open(names: dict[bytes, Writer]) -> dict[bytes, Writer]:
    return {name: word for name, word in names.items() if word is Writer.WRITING}


def join(folder: bytes, name: bytes) -> bytes:
    """Return a name in a folder, both relative."""
    return folder + b"/" + name if folder else name


# ---- texts -----------------------------------------------------------------------------------------------------------


def defect(error: OSError, folder: Path) -> tuple[str, str]:
    """Say in words for people why a folder is not watched, with a word for the kind of defect before it."""
    if isinstance(error, PermissionError):
        return (
            "unreadable",
            f"Nothing is found in {str(folder)!r} ({error.strerror}): give the service permission to read it.",
        )
    limit = _LIMITS.get(error.errno or 0)
    if limit is None:
        return "unwatched", f"Not watched for changes, only scanned: {str(folder)!r} ({error.strerror})."
    return limit, limit_text(limit, _present_limit(limit))


def limit_text(limit: str, present: int | None) -> str:
    """Name an inotify limit of the kernel (inotify(7)), its present value if known, and how to raise it."""
    setting = f"fs.inotify.{limit}={max(2 * (present or 0), _LEAST_LIMITS[limit])}"
    return (
        f"The kernel's limit fs.inotify.{limit} ({present or 'unknown'} now) is used up, so that changes in some folders "
        f"are noticed only by the rescan. Set a higher one: `sysctl -w {setting}`, and put the line `{setting}` into "
        "/etc/sysctl.d/60-rodin-watchd.conf to keep it."
    )


def _present_limit(limit: str) -> int | None:
    try:
        return int(Path("/proc/sys/fs/inotify", limit).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


# ---- File events by watchdog's public `Observer`, where there is nothing better -------------------------------------


HAS_HINTS = Observer is not PollingObserver
"""Whether this platform has file events at all."""


class HintSession(FileSystemEventHandler):
    """watchdog's public Observer as a hint: every event wakes, none vouches, since it may come seconds late.

    Raises OSError, and leaves nothing running, if the root cannot be watched.
    """

    def __init__(self, root: bytes, mailbox: Mailbox) -> None:
        self.sound = True
        self._root = root
        self._mailbox = mailbox
        self._observer = Observer()
        # Without "created", what is moved in from outside would go unseen.
        kinds: list[type[FileSystemEvent]] = [FileClosedEvent, FileMovedEvent, FileCreatedEvent]
        self._observer.schedule(self, os.fsdecode(root), recursive=True, event_filter=kinds)
        try:
            self._observer.start()
        except OSError:
            self._observer.stop()
            raise

    @property
    def alive(self) -> bool:
        """Whether the watch goes on."""
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def lose(self) -> None:
        """Note that what is watched is no longer the root."""
        self.sound = False

    def close(self) -> None:
        """Stop; the thread ends."""
        self._observer.stop()
        self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take one event of the kernel."""
        folder, name = os.path.split(os.fsencode(event.src_path))
        if name == _PROBE:
            self._mailbox.note_probe(folder.removeprefix(self._root).lstrip(b"/"))
        else:
            self._mailbox.wake()


# ---- File events by watchdog's `InotifyFD`, which is not in its documented API: `HAS_INOTIFY` says whether it is there ----


try:
    from watchdog.observers.inotify_c import CallbackId, InotifyFD, Mask
    from watchdog.observers.inotify_c import InotifyConstants as Flag

    _SELF = Flag.IN_DELETE_SELF | Flag.IN_MOVE_SELF | Flag.IN_UNMOUNT
    _MASK = Mask(
        (Flag.IN_MODIFY | Flag.IN_CLOSE_WRITE | Flag.IN_CREATE | Flag.IN_MOVED_FROM | Flag.IN_MOVED_TO)
        | (Flag.IN_DELETE_SELF | Flag.IN_MOVE_SELF | Flag.IN_ONLYDIR | Flag.IN_DONT_FOLLOW)
    )
    _NEEDED = (
        *(InotifyFD.add_callback, InotifyFD.remove_callbacks, InotifyFD.stop),
        *(InotifyFD.read_events, InotifyFD.handle_event, InotifyFD.should_keep_running),
    )

    class _Reader(InotifyFD):
        """Reads events, and calls `after` when all of a read were handled; in a burst it reads seldom, and many at once."""

        def __init__(self, after: Callable[[], None]) -> None:
            super().__init__()
            self._after = after

        def run(self) -> None:
            """Read until the end of the thread."""
            while self.should_keep_running():
                events = self.read_events()
                for event in events:
                    self.handle_event(event)
                self._after()
                if len(events) >= _MANY_EVENTS:
                    time.sleep(_READ_PAUSE_SECONDS)

    HAS_INOTIFY = True
except (ImportError, AttributeError, TypeError, UnsupportedLibcError):  # TypeError: Windows has no CDLL(None)
    HAS_INOTIFY = False


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
        self._moving = 0  # the cookie of a file that is open, and was moved: of the reading thread alone
        self._wakes = False  # whether the loop is to be woken: of the reading thread alone
        self._fd = _Reader(self._wake)
        self._fd.start()
        try:
            self._watch(b"")
        except OSError:
            self.close()
            raise
        self._descend(b"")

    @property
    def alive(self) -> bool:
        """Whether the watch goes on."""
        return self._fd.is_alive()

    def lose(self) -> None:
        """See nothing any more, and forget what was seen: what is watched is no longer the root."""
        with self._lock:
            self._watched.clear()
        self._fault()

    def close(self) -> None:
        """Stop; the thread ends."""
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
            self._on_file(watched.path, event)

    def _wake(self) -> None:
        if self._wakes:
            self._wakes = False
            self._mailbox.wake()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        with self._lock:
            self._watched.pop(wd, None)

    def on_queue_overflow(self) -> None:
        self._fault()
        self._mailbox.say("File events were lost in a burst; the rescan finds the changes.")

    def _on_self(self, folder: bytes, mask: int) -> None:
        if mask & Flag.IN_UNMOUNT:
            self.lose()
            self._mailbox.say("The watched folder, or one in it, was unmounted.")
        elif not folder:
            self.lose()
            self._mailbox.say(f"The watched folder was {'removed' if mask & Flag.IN_DELETE_SELF else 'moved away'}.")

    def _on_folder(self, folder: bytes, mask: int) -> None:
        self._mailbox.note(folder)
        if mask & Flag.IN_MOVED_FROM:
            self._forget(folder)
            return
        if self._watch_if_there(folder):
            self._descend(folder)
        self._wakes = True  # files may have been in it before its watch was

    def _on_file(self, folder: bytes, event: InotifyEvent) -> None:
        name, mask = event.name, event.mask
        if name == _PROBE:
            if mask & Flag.IN_CLOSE_WRITE:
                self._mailbox.note_probe(folder)
        elif mask & Flag.IN_CREATE:
            self._mailbox.void(folder, name)
            self._wakes = True  # a hard link is never closed
        elif mask & Flag.IN_MODIFY:
            self._mailbox.note_file(folder, name, Writer.WRITING)
        elif mask & Flag.IN_CLOSE_WRITE:
            self._mailbox.note_file(folder, name, Writer.CLOSED)
            self._wakes = True
        elif mask & Flag.IN_MOVED_FROM:
            self._moving = event.cookie if self._mailbox.leave(folder, name) is Writer.WRITING else 0
        elif mask & Flag.IN_MOVED_TO:
            is_open = self._moving and self._moving == event.cookie  # the kernel gives both events one after the other
            self._mailbox.note_file(folder, name, Writer.WRITING if is_open else Writer.MOVED_IN)
            self._wakes = True

    def _fault(self) -> None:
        """Ask for a new session, and forget what may have been undone by an event that did not come."""
        self.sound = False
        self._mailbox.lose_changes()
        self._mailbox.forget()

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


MOST_FILES = 100_000
"""Of how many files is remembered what their writers did, some 10 MB; beyond, all are forgotten."""

PROOF_SECONDS = 2.0
"""How long the event of a probe file is waited for."""


class Watcher(Protocol):
    """A source of wake-ups for the main loop. All methods are for the main loop's thread alone."""

    @property
    def description(self) -> str:
        """How changes are noticed, in a few words for people."""

    @property
    def native(self) -> bool:
        """Whether closed files are vouched for."""

    @property
    def defect(self) -> str:
        """What keeps changes from being noticed at once at present, for people; "" if nothing does."""

    def take_seen(self) -> FileEvents:
        """Return what writers did since the last call, and what is being written: paths relative to the root, with "/"."""

    def take_changed(self) -> frozenset[str] | None:
        """Return the folders in which files came or changed since the last call, relative to the root; None: any may be one.

        That nothing has changed elsewhere is as sure as file events are: what they do not report, the rescan finds. What
        leaves a folder is not reported.
        """

    def burst_seconds(self) -> float:
        """Return in how many seconds a look is worth its cost; 0.0 unless files come by the hundred at this moment."""

    def take_trouble(self) -> str | None:
        """Return what people must know that was not reported before; a lasting defect is reported once. Then call `rearm`."""

    def rearm(self) -> None:
        """Watch again if anything is wrong, and as what is mounted now asks for, else do nothing: may be called at each rescan.

        Scan *after* it. It may wait for the event of a probe file, once for each filesystem that has come.
        """

    def close(self) -> None:
        """Stop; no thread and no descriptor stays open. May be repeated."""


def _one_local() -> Mapping[str, str]:
    return {"": ""}


def open_watcher(
    root: Path,
    wake: Callable[[], None],
    mode: Literal["auto", "native", "polling"],
    *,
    mounted: Callable[[], Mapping[str, str]] = _one_local,
    proof_seconds: float = PROOF_SECONDS,
) -> Watcher:
    """Choose and start the watcher of the folder `root`, recursive.

    `wake` is called from any thread and must return at once. `mounted` returns which filesystems the root is on now: by the path
    below it, "" for the root itself, the kind of a network filesystem, "" for a local one; nothing of a root that is away: its place
    may be the empty folder below a share.
    "auto" polls a share, and a local root where the event of a probe file does not come back within `proof_seconds`; "native" insists.
    Each says so in `take_trouble`. What is mounted below is probed, too, if it is local. A root that is away gets no probe before it
    is back. Each `rearm` follows what is mounted by then. Nothing is raised for a root that is missing or cannot be watched.
    """
    if mode == "polling":
        return PollingWatcher("polling, as configured")
    if not (HAS_INOTIFY or HAS_HINTS):
        return PollingWatcher("polling: there are no file events on this platform")
    return EventWatcher(root, wake, insists=mode == "native", mounted=mounted, proof_seconds=proof_seconds)


class PollingWatcher:
    """No events and no thread: the loop's own rescan notices everything."""

    native = False
    defect = ""

    def __init__(self, description: str) -> None:
        self.description = description

    def take_seen(self) -> FileEvents:
        """Return nothing: nobody saw a writer."""
        return NOTHING_SEEN

    def take_changed(self) -> None:
        """Return that anything may have changed."""

    def burst_seconds(self) -> float:
        """Return 0.0: nobody sees a burst."""
        return 0.0

    def take_trouble(self) -> None:
        """Return that nothing is wrong."""

    def rearm(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Place(NamedTuple):
    """What is watched: by which folder it is, and which filesystems are mounted there."""

    identity: tuple[int, int] | None = None  # of a folder that is watched; None: there is none
    mounted: Mapping[str, str] = MappingProxyType({})

    @property
    def is_there(self) -> bool:
        """Whether the root is in its place."""
        return "" in self.mounted

    @property
    def share(self) -> str:
        """The kind of network filesystem that the root is on, "" for none, and for one that is away."""
        return self.mounted.get("", "")


class EventWatcher:
    """Wake-ups by file events: keeps one session of watching and replaces it when that has become unsound.

    The parameters are those of `open_watcher`; one that does not insist begins no session on a share, and believes in none whose
    probe was not seen. What keeps it from working is reported by `take_trouble`.
    """

    def __init__(  # noqa: PLR0913 - all but the first two have defaults
        self,
        root: Path,
        wake: Callable[[], None],
        *,
        insists: bool = True,
        mounted: Callable[[], Mapping[str, str]] = _one_local,
        proof_seconds: float = PROOF_SECONDS,
        most_files: int = MOST_FILES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._insists = insists
        self._look_at_mounts = mounted
        self._proof_seconds = proof_seconds
        self._mailbox = Mailbox(wake, most_files, monotonic)
        self._session: _InotifySession | HintSession | None = None
        self._place = _Place()
        self._is_lost = True  # whether what was armed last is gone, or was never armed
        self._owed: set[str] = set()  # folders in which file events are to be proven
        self._proven: set[str] = set()  # where the event of a probe file came
        self._defects: dict[str, str] = {}  # also by the reading thread; until the next session
        self._doubts: dict[str, str] = {}  # by folder: why file events are not proven there
        self._logged: frozenset[str] = frozenset()
        self.rearm()
        self._reported_polls = self.polls

    @property
    def polls(self) -> bool:
        """Whether the rescan alone is believed: of a share, and of a root where file events are not proven."""
        return not self._insists and bool(self._place.share or "" in self._doubts)

    @property
    def native(self) -> bool:
        """Whether closed files are vouched for."""
        return HAS_INOTIFY and not self.polls

    @property
    def description(self) -> str:
        """How changes are noticed, and in which filesystems a probe file has shown it."""
        if not self._insists and self._place.share:
            return f"polling: {str(self._root)!r} is a network share ({self._place.share})"
        if self._session is None or self.polls:
            return f"polling: file events do not work in {str(self._root)!r}"
        how = "native (inotify)" if HAS_INOTIFY else "hints (watchdog's Observer)"
        proven = ", ".join("the inbox" if not folder else repr(folder) for folder in sorted(self._proven))
        return "".join(
            [
                how,
                f", proven by a probe file in {proven}" if proven else "",
                *(
                    f"; {'on' if not folder else f'in {folder!r},'} a network share ({kind}), changes by other machines are "
                    "noticed only by the rescan"
                    for folder, kind in sorted(self._place.mounted.items())
                    if kind
                ),
            ]
        )

    @property
    def defect(self) -> str:
        """What is not watched at present, or not proven to be."""
        return " ".join([*self._defects.copy().values(), *self._doubts.values()])

    def take_seen(self) -> FileEvents:
        """Return what writers did; nothing after trouble, while it polls, and always for hints."""
        seen = self._mailbox.take_seen()
        return NOTHING_SEEN if self.polls else seen

    def take_changed(self) -> frozenset[str] | None:
        """Return the folders that events reported; None after trouble, where not all is watched, while it polls, and always for hints."""
        changed = self._mailbox.take_changed()
        is_whole = isinstance(self._session, _InotifySession) and not (self._defects or self.polls)
        return changed if is_whole else None

    def burst_seconds(self) -> float:
        """Return in how many seconds the burst that is under way counts as over; 0.0 where there is none, while it polls, and for hints."""
        return 0.0 if self.polls else self._mailbox.burst_seconds()

    def take_trouble(self) -> str | None:
        """Return what was not reported before: a lost root or queue each time, a lasting defect once until it is corrected."""
        self._check()
        defects = {**self._defects, **self._doubts}
        fresh = [text for kind, text in defects.items() if kind not in self._logged]
        self._logged = frozenset(defects)
        if self.polls != self._reported_polls:
            self._reported_polls = self.polls
            fresh.append(f"From now on: {self.description}.")
        return " ".join([*self._mailbox.take_said(), *fresh]) or None

    def rearm(self) -> None:
        """Watch the root that is there now, if what is watched is lost or incomplete; vouches are forgotten. Then prove what is owed."""
        self._check()
        if self._is_lost or self._defects:
            self._arm()
        for folder in sorted(self._owed):
            self._prove_in(folder)

    def _arm(self) -> None:
        self.close()
        self._mailbox.lose_changes()
        self._defects = {}
        if self._is_lost:
            self._place, self._is_lost = self._look(), False
            self._owe()
        if self._place.share and not self._insists:
            return
        try:
            self._session = _open_session(os.fsencode(self._root), self._mailbox, self._defects)
        except OSError as error:
            self._defects.update([defect(error, self._root)])

    def close(self) -> None:
        """End the session and its threads. `wake` is not called afterwards."""
        if self._session is not None:
            self._session.close()
            self._session = None

    # ---- proofs -----------------------------------------------------------------------------------------------------

    def _owe(self) -> None:
        """Owe a proof in all that is local, and in a share that is the root, on which it insists; none where the root is away."""
        self._proven, self._doubts = set(), {}
        local = {folder for folder, kind in self._place.mounted.items() if not kind}
        insisted = {""} if self._insists and self._place.is_there else set()
        self._owed = local | insisted

    def _prove_in(self, folder: str) -> None:
        """Prove by a probe file that file events work in a folder, or note why that is not so.

        What cannot be watched at present, or cannot be written to, is owed its proof. An event that comes late proves it, too.
        """
        if self._session is None:
            return
        why = "the event of a probe file did not come"
        try:
            came = self.prove(self._proof_seconds, folder)
        except OSError as error:
            if error.errno == errno.EROFS and folder:  # what is mounted read-only below the root: nobody writes there
                self._owed.discard(folder)
                return
            came, why = False, f"a probe file could not be written ({error.strerror})"
        else:
            self._owed.discard(folder)
        if came:
            self._proven.add(folder)
            self._doubts.pop(folder, None)
        else:
            place = str(self._root / folder)
            self._doubts[folder] = f"File events do not work in {place!r}: {why}. The rescan finds the changes there."

    def prove(self, timeout_seconds: float, folder: str = "") -> bool:
        """Return whether the event of a probe file, made and removed in a folder, comes back in time.

        Raises OSError if the probe cannot be written. May be repeated.
        """
        if self._session is None:
            return False
        self._mailbox.forget_probe(os.fsencode(folder))
        probe = self._root / folder / PROBE_NAME  # always the same: one that a crash left behind goes with the next
        os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        probe.unlink(missing_ok=True)
        return self._mailbox.await_probe(os.fsencode(folder), timeout_seconds)

    # ---- what sends no event ----------------------------------------------------------------------------------------

    def _look(self) -> _Place:
        """Look at what is there now. A share that is polled is not asked which folder it is: some give each look another inode."""
        place = _Place(mounted=self._look_at_mounts())
        return place if place.share and not self._insists else place._replace(identity=_identity(self._root))

    def _check(self) -> None:
        """Notice what sends no event: another folder in the root's place, a mount, a thread that died, a probe's event that came late."""
        for folder in [folder for folder in self._doubts if self._mailbox.await_probe(os.fsencode(folder), 0)]:
            del self._doubts[folder]
            self._proven.add(folder)
        if self._is_lost or (self._session is not None and not self._session.sound):
            self._is_lost = True
            return
        now = self._look()
        if now != self._place:
            self._lose(_what_changed(self._place, now))
        elif self._session is not None and not self._session.alive:
            self._lose("The thread that reads file events has ended.")

    def _lose(self, text: str) -> None:
        self._is_lost = True
        if self._session is not None:
            self._session.lose()
        if text:
            self._mailbox.say(text)


def _what_changed(before: _Place, now: _Place) -> str:
    """Say for people what is watched no more; "" for what others report, that a root is away, or back."""
    if before.identity is None:
        return ""
    if now.identity is None and now.mounted == before.mounted:
        return "The watched folder is gone."
    if now.identity != before.identity:
        return "The watched folder was replaced, or something was mounted on it."
    is_below = now.is_there and before.is_there and now.mounted != before.mounted
    return "Something was mounted in the watched folder, or unmounted." if is_below else ""


def _identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode: what stays equal as long as it is the same folder; None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_session(root: bytes, mailbox: Mailbox, defects: dict[str, str]) -> _InotifySession | HintSession:
    return _InotifySession(root, mailbox, defects) if HAS_INOTIFY else HintSession(root, mailbox)
