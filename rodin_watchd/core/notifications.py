"""What plugins and people are notified of: calls that are owed, notices that begin and end, the values that go both ways. Pure.

A call that is owed becomes a row of the journal in the same transaction as the move that it announces, so none is forgotten; it
is made afterwards, at least once, and always with the same event id. The events of the journal alone say which notices were
given and not taken back: so another daemon, after a reload or a start, ends those whose cause is gone, whatever ended it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeAlias

import tomli_w

from rodin_watchd.core.machine import CHOSEN, UNCHOSEN
from rodin_watchd.core.names import printable
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import advice_in_full, changed_inputs, sentences
from rodin_watchd.model import Entry, InputFile, Job, OwedCall, ServiceEvent, State, Transition
from rodin_watchd.v1 import File, FileSet, Problem, Refusal, Waiting
from rodin_watchd.v1 import Job as PublicJob

HOOK_OF: Mapping[State, str] = {
    State.DELIVERED: "rodin_delivered",
    State.FAILED: "rodin_failed",
    State.HELD: "rodin_held",
}
"""Which hook announces which state."""

CHOICE: Final = "rodin_chosen"
"""The hook that announces which job of a set was chosen, and which is not any more."""

_HOOK_OF_ACTION: Final[Mapping[str, str]] = {
    **{state.value: hook for state, hook in HOOK_OF.items()},
    **dict.fromkeys((CHOSEN, UNCHOSEN), CHOICE),
}

SERVICE, WAITING = "rodin_service", "rodin_waiting"

OWN: Final = "own"
"""Where an owed call of no job has what the set says to the plugin; a job's is in the job. It is no argument of a hook."""

Tables: TypeAlias = Mapping[str, Mapping[str, object]]
"""A set's own settings for plugins, by plugin."""

PLUGIN_NEWS: Final = frozenset({"plugin-aside", "plugin-back"})
"""Events whose subject is a plugin."""

MOST_TRIES = 12
"""How often a call is tried before it is given up: with the waits of `core.waits.PLUGIN_CALL`, over more than two hours."""


@dataclass(frozen=True, slots=True)
class PluginAnnouncer:
    """Knows which plugins are called for what: plugins by hook, in the order in which they are called."""

    plugins: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of_move(self, move: Transition, now: float) -> list[OwedCall]:
        """Return the calls that a move owes: those of the hook that announces the state that it enters, or a choice."""
        job, hook = move.job, _HOOK_OF_ACTION.get(move.action, "")
        if not self.plugins.get(hook):
            return []
        words = plain(sentences(move.message), 1000) or job_words(job)
        event = {"kind": move.action, "at": now, "message": words, "code": move.code}
        return self._owed(hook, {"job": asdict(public_job(job)), "event": event})

    def of_service(self, event: ServiceEvent) -> list[OwedCall]:
        """Return the calls that an event of the service owes; news of a plugin do not go to that plugin."""
        owed = self._owed(SERVICE, {"event": asdict(event)})
        return [call for call in owed if not (event.kind in PLUGIN_NEWS and event.subject == call.plugin)]

    def of_waiting(self, waiting: Waiting, tables: Tables, at: float) -> list[OwedCall]:
        """Return the calls that a set owes which has been incomplete for long; `tables` are its own settings for plugins."""
        event = {"kind": "waiting", "at": at, "message": f"{waiting.name}: {waiting.reason}"}
        owed = self._owed(WAITING, {"waiting": asdict(waiting), "event": event})
        return [replace(call, arguments={**call.arguments, OWN: tables.get(call.plugin, {})}) for call in owed]

    def _owed(self, hook: str, arguments: Mapping[str, Any]) -> list[OwedCall]:
        return [OwedCall(hook, plugin, arguments) for plugin in self.plugins.get(hook, ())]


def plugin_news(plugin: str, words: str) -> str:
    """Say something about a plugin."""
    return f"The plugin {plugin} {words}"


def job_words(job: Job) -> str:
    """Say in a line what became of a job."""
    name = printable(job.title)
    return " ".join([f"{name}: {printable(job.place, 1000)}" if job.place else name, *changed_inputs(job)])


def waiting_id(folder: str, name: str, entries: Sequence[Entry]) -> str:
    """Name the state that an incomplete set is in: the same files, untouched, have the same name."""
    text = repr((folder, name, sorted((entry.path, *entry.signature) for entry in entries)))
    return f"waiting-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


# ---- values for plugins ---------------------------------------------------------------------------------------------


def public_job(job: Job) -> PublicJob:
    """Return a job as plugins see it."""
    return PublicJob(
        id=job.id,
        name=job.name,
        folder=job.folder,
        state=job.state.value,
        options=dict(job.options),
        files=_public_files(job.files),
        created_at=job.created_at,
        results=tuple(File(r.name, r.size, r.sha256) for r in job.published),
        credits=str(job.spent),
        task=job.task.uuid if job.task else "",
        place=job.place,
        problem=_public_problem(job),
        kind=job.kind,
        batch=job.batch.id if job.batch else "",
        variant=job.batch.label if job.batch else "",
        chosen=job.chosen,
    )


def public_set(job: Job, files: Sequence[InputFile]) -> FileSet:
    """Return a set that was taken and checked as plugins see it."""
    return FileSet(job.name, job.folder, _public_files(files), dict(job.options), job.kind)


def _public_files(files: Sequence[InputFile]) -> tuple[File, ...]:
    return tuple(File(f.name, f.signature.size, f.sha256, f.role.value, changed=bool(f.changed)) for f in files)


def _public_problem(job: Job) -> Problem | None:
    found = job.problem
    return Problem(found.code, found.fault.value, found.message, advice_in_full(job)) if found else None


# ---- Notices that begin and end: which events of the service begin one, and which end it ----------------------------


class Notice(NamedTuple):
    """What people were given notice of."""

    kind: str  # of the event that begins it
    subject: str


class Begun(NamedTuple):
    """A notice that has not ended."""

    event: ServiceEvent  # the newest that began it
    times: int = 1  # so often it was begun: so often it ends


Notices: TypeAlias = Mapping[Notice, Begun]


class _End(NamedTuple):
    kind: str
    words: str  # where nothing more is known than that its cause is not there any more


_ENDS: Final[Mapping[str, _End]] = {
    "paused": _End("resumed", "This has ended."),
    "inquiry": _End("inquiry-ended", "That has ended: the account or the configuration is another one."),
    "low-balance": _End("balance-restored", "That is not watched any more: the account or the limit is another one."),
    "balance-doubted": _End("balance-believed", "It is believed again: budget.settle_seconds is longer now."),
    "crowd": _End("crowd-ended", "No set waits for approval any more."),
    "plugin-aside": _End("plugin-back", "This has ended: it is called again, or not in use any more."),
}

_BEGINS: Final[Mapping[str, str]] = {**{end.kind: kind for kind, end in _ENDS.items()}, "approved": "crowd"}

_REPEATED: Final = frozenset({"plugin-aside"})
"""Those that begin again for another cause while the first lasts; of the others the newest cause stands for all."""

END_KINDS: Final = frozenset(end.kind for end in _ENDS.values())
"""The kinds of events that `end_of` returns."""

NOTICE_KINDS: Final = frozenset({*_ENDS, *_BEGINS, "started"})
"""The kinds of events that begin or end notices."""


def noticed(notices: Notices, event: ServiceEvent) -> Notices:
    """Return what has not ended after an event. A start ends what is paused: it is looked at again."""
    if event.kind == "started":
        return {notice: begun for notice, begun in notices.items() if notice.kind != "paused"}
    notice = Notice(_BEGINS.get(event.kind, event.kind), event.subject)
    before = notices.get(notice)
    if event.kind in _ENDS:
        times = before.times + 1 if before and event.kind in _REPEATED else 1
        return {**notices, notice: Begun(event, times)}
    if before is None:
        return notices
    left = {other: begun for other, begun in notices.items() if other != notice}
    return {**left, notice: before._replace(times=before.times - 1)} if before.times > 1 else left


def all_noticed(events: Iterable[ServiceEvent]) -> Notices:
    """Return what has not ended after these events, oldest first."""
    notices: Notices = {}
    for event in events:
        notices = noticed(notices, event)
    return notices


def end_of(notice: Notice, begun: Begun, at: float) -> ServiceEvent:
    """Return the event that ends a notice whose cause is not there any more."""
    end = _ENDS[notice.kind]
    return ServiceEvent(at, end.kind, f"{begun.event.message} {end.words}", notice.subject, begun.event.code)


# ---- What plugins may say for the receipt: plain data that TOML can hold, and not too much of it --------------------


LIMIT_BYTES: Final = 65_536
_DEEPEST_FACT: Final = 6


def checked_facts(value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a plugin returned
    """Return a plugin's facts; what is None is left out. Raises ValueError for what a receipt cannot hold."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("not a table of names and values")  # noqa: TRY004 - one kind of error for all that is unfit
    facts = _plain(value, 0)
    if len(tomli_w.dumps(facts).encode("utf-8", "replace")) > LIMIT_BYTES:
        raise ValueError(f"larger than {LIMIT_BYTES:,} bytes")
    return dict(facts)


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - JSON in, TOML out
    if depth > _DEEPEST_FACT:
        raise ValueError("too many tables or lists inside each other")
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(part, depth + 1) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part, depth + 1) for part in value if part is not None]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return value
    raise ValueError(f"a {type(value).__name__} is in it")


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


# ---- Why a plugin refuses a set: words for people, on one line each -----------------------------------------------------


_MOST_CHARACTERS: Final = 1000
_MOST_READ: Final = 4 * _MOST_CHARACTERS


def checked_refusal(value: Any) -> Refusal | None:  # noqa: ANN401 - whatever a plugin returned, or what was recorded of it
    """Return why a plugin refuses a set, printable and bounded; None if it does not. Raises ValueError for what is neither."""
    if value is None or isinstance(value, str):
        text = _in_words(value or "")
        return Refusal(text) if text else None
    if not isinstance(value, Mapping):
        raise ValueError("neither a text, a Refusal nor None")  # noqa: TRY004 - one kind of error for all that is unfit
    reason, advice = value.get("reason"), value.get("advice")
    if not isinstance(reason, str) or not isinstance(advice, str):
        raise ValueError("a Refusal whose reason and advice are not both texts")  # noqa: TRY004 - as above
    if not reason.strip():
        raise ValueError("a Refusal without a reason")
    return Refusal(_in_words(reason), _in_words(advice))


def _in_words(text: str) -> str:
    """Return a plugin's text on one line: each of its lines is a sentence; nothing in it is invisible."""
    lines = (" ".join(line.split()) for line in text[:_MOST_READ].splitlines())
    return printable(sentences("\n".join(lines)), _MOST_CHARACTERS)
