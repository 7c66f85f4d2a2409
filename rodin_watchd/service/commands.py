"""What people ask for: each verb of the command line as a decision about one job, or about the service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import tzinfo
from typing import Any, NamedTuple, TypeAlias

from rodin_watchd.core import commands as people
from rodin_watchd.core import machine, refusals
from rodin_watchd.core.condensing import refuse_condensed
from rodin_watchd.core.names import printable
from rodin_watchd.core.store import Beside, Command, CommandReply, Store
from rodin_watchd.core.wording import local
from rodin_watchd.errors import CommandRefusedError, DiskError
from rodin_watchd.log_lines import LogValue, fields, why
from rodin_watchd.model import Job, State, Task, Transition
from rodin_watchd.service.admission import Admission
from rodin_watchd.service.jobs import JobStore

log = logging.getLogger("rodin_watchd")

Repeat: TypeAlias = Callable[[Job, str], str]
"""Repeats the calls of plugins about what became of a job, of all plugins or one; returns words, or raises CommandRefusedError."""

Decide: TypeAlias = Callable[[Job, Mapping[str, Any], float], Transition]


def _retry(job: Job, arguments: Mapping[str, Any], now: float) -> Transition:
    return people.retry(job, now, pay_again=bool(arguments.get("pay_again")))


def _cancel(job: Job, _arguments: Mapping[str, Any], now: float) -> Transition:
    return people.cancel(job, now)


def _resolve(job: Job, arguments: Mapping[str, Any], now: float) -> Transition:
    match arguments.get("how"):
        case "not-charged":
            return people.resolve_not_charged(job, now)
        case "give-up":
            return people.resolve_give_up(job, now)
        case "task":
            return people.resolve_adopt(job, _task(arguments, now), now)
        case other:
            raise CommandRefusedError(f"A job cannot be resolved by “{other}”.")


def _task(arguments: Mapping[str, Any], now: float) -> Task:
    uuid = str(arguments.get("task") or "").strip()
    if not uuid:
        raise CommandRefusedError("No task is given.")
    return Task(uuid, str(arguments.get("subscription_key") or ""), now)


def _clear(job: Job, _arguments: Mapping[str, Any], _now: float) -> Transition:
    return people.clear(job, job.place)


def _choose(job: Job, arguments: Mapping[str, Any], _now: float) -> Transition:
    return people.choose(job, take_back=bool(arguments.get("take_back")))


CANCEL, CLEAR, CHOOSE = "cancel", "clear", "choose"

JOB_VERBS: Mapping[str, Decide] = {
    "retry": _retry,
    CLEAR: _clear,
    CANCEL: _cancel,
    "resolve": _resolve,
    CHOOSE: _choose,
}
"""Commands that concern one job: each returns the move it decides, or raises CommandRefusedError."""

PAUSE, RESUME = "pause", "resume"
"""Commands that concern the service: whether sets are taken and submitted."""

RERUN = "rerun"
"""Repeats the calls of plugins about what became of a job."""

ACCEPT = "accept"
"""Says that a person knows what is missing in the journal."""

APPROVE = "approve"
"""Lets sets go on that are held in the inbox: of a `folder`, or all of them."""

SEEN = "seen"
"""The argument that says what the person saw who gave a command.

Of a job it is `people.Seen` as data, for `resume` the number of the newest `pause`, for `approve` that of the newest set
that was held then, for `accept` that of the loss. A command without it was left by an older version, and is refused: nobody knows what it was about.
"""

_LOGGED_BY_MOVE = (*JOB_VERBS, APPROVE)
"""Commands that are logged by what they change, unless they are refused."""

_MOST_NAMED = 5
"""So many files are named in an answer."""

_GIVE_AGAIN = "Look at `rodin-watchd status`, then give the command again."


class Outside(NamedTuple):
    """What commands need of others: to repeat a plugin's calls, to look at the folder of a failed set, and to move it; to commit a choice."""

    repeat: Repeat
    is_corrected: Callable[[Job], bool]
    foreign_in: Callable[[Job], Sequence[str]]
    archive_failed: Callable[[Job], str]
    choose: Callable[[Transition, int], str]


class Commands:
    """Carries out what people left in the journal. The main thread's alone.

    A command is judged when it is seen first, by what the person saw who gave it; only `cancel` may then wait for the job's
    step to end, and is judged once more. `paused` says whether a person has paused the service, also in a run before;
    `awaited` holds the ids of the jobs that a `cancel` waits for; `approvals` counts what was approved in this run.
    """

    def __init__(
        self,
        job_store: JobStore,
        store: Store,
        admission: Admission,
        outside: Outside,
        now: Callable[[], float],
        zone: tzinfo,
    ) -> None:
        self._job_store = job_store
        self._store = store
        self._admission = admission
        self._outside = outside
        self._now = now
        self._zone = zone
        self._of_service: Mapping[str, Callable[[Command], str]] = {
            PAUSE: self._pause,
            RESUME: self._resume,
            APPROVE: self._approve,
            ACCEPT: self._accept,
        }
        self._seen: tuple[int, int] | None = None
        self._looked_at: tuple[int, int] | None = None
        self.paused = bool(store.meta(PAUSE))
        self.awaited: frozenset[str] = frozenset()
        self.approvals = 0

    def take(self, busy: AbstractSet[str]) -> None:
        """Carry out and answer the commands; a `cancel` of a job that is `busy` waits for a later call."""
        outside = self.look()
        if outside == self._seen and not self.awaited:
            return
        waits = (self._carry_out(command, busy) for command in self._store.open_commands())
        self.awaited = frozenset(filter(None, waits))
        self._seen = outside

    def look(self) -> tuple[int, int]:
        """Learn what others have written, also whether a person has paused the service at another root; return what it changes with."""
        outside = self._store.changed_outside()
        if outside != self._looked_at:
            self.paused = bool(self._store.meta(PAUSE))
            self._looked_at = outside
        return outside

    def _carry_out(self, command: Command, busy: AbstractSet[str]) -> str:
        """Carry out a command and answer it; or return the id of the job that has to end its step first."""
        try:
            if command.verb in self._of_service:
                message = self._of_service[command.verb](command)
            else:
                job = self._job(command)
                refuse_condensed(job)
                with people.named(job):
                    people.refuse_changed(job, people.Seen.of_data(command.arguments.get(SEEN)), self._zone)
                    if command.verb == CANCEL and job.id in busy and people.may_be_canceled(job):
                        return job.id
                    message = self._rerun(job, command) if command.verb == RERUN else self._move(job, command)
            if command.verb not in _LOGGED_BY_MOVE:
                self._log(command, message)
        except CommandRefusedError as error:
            message = f"{error.message} {error.advice_in_full}"
            self._reply(CommandReply(command.id, message, ok=False))
            self._log(command, f"refused: {message}")
        return ""

    def _log(self, command: Command, message: str) -> None:
        log.info("command %s: %s", command.verb, message, extra={"action": "command", **self._about(command)})

    def _about(self, command: Command) -> Mapping[str, LogValue]:
        """Return the job and the set that a command names, if there is one, as fields of a log line."""
        if "job" not in command.arguments:
            return {}
        try:
            job = self._job(command)
        except CommandRefusedError:  # no such job, or several
            return {}
        return fields(job)

    def _pause(self, command: Command) -> str:
        now, found = self._now(), "Paused: nothing is taken or submitted."
        self._job_store.commit([], now, {PAUSE: {"number": command.id, "at": now}}, CommandReply(command.id, found))
        self.paused = True  # at once; daemons of other roots learn of it with their next look
        return found

    def _resume(self, command: Command) -> str:
        seen = _number_seen(command)
        pause = self._store.meta(PAUSE)
        if isinstance(pause, dict) and pause["number"] > seen:  # a version that stored no number paused before this one
            message = f"The service was paused again since you looked, at {local(pause['at'], self._zone)}."
            raise CommandRefusedError(
                message, advice="It stays paused. A person who knows why can run `rodin-watchd resume`."
            )
        message = "Resumed." if self.paused else "The service is not paused."
        self._job_store.commit([], self._now(), {PAUSE: None}, CommandReply(command.id, message))
        self.paused = False
        return message

    def _approve(self, command: Command) -> str:
        folder = command.arguments.get("folder")
        found = self._admission.approve(None if folder is None else str(folder), _number_seen(command), command.id)
        self.approvals += 1
        return found

    def _accept(self, command: Command) -> str:
        seen, loss = _number_seen(command), self._job_store.loss
        if loss is None:
            raise CommandRefusedError("Nothing is missing in the journal, or the loss was accepted before.")
        if loss.number != seen:
            raise CommandRefusedError(f"{loss.reason}, and more is missing than you saw.", advice=_GIVE_AGAIN)
        message = f"Accepted: {loss.counted}."
        self._job_store.accept_loss(self._now(), CommandReply(command.id, message))
        return message

    def _job(self, command: Command) -> Job:
        if command.verb not in (*JOB_VERBS, RERUN):
            raise CommandRefusedError(f"This version does not know the command “{command.verb}”.")
        found = self._store.find(str(command.arguments.get("job", "")))
        return self._job_store.jobs.get(found.id, found)  # what is known here of a live job is newer

    def _rerun(self, job: Job, command: Command) -> str:
        found = self._outside.repeat(job, str(command.arguments.get("plugin") or ""))
        self._reply(CommandReply(command.id, found))
        return found

    def _reply(self, reply: CommandReply) -> None:
        self._store.commit((), self._now(), beside=Beside(reply))

    def _refuse_unread(self, job: Job, wanted: Job) -> None:
        """Raise CommandRefusedError for a retry of a set that was refused in the inbox: nobody knows what it asks for.

        Which of its files are meant, or its options, is not in the job. One that has a task asks for that alone.
        """
        begun_as = [event.state for event in self._store.events(job.id)[:1]]
        if wanted.state is State.CLAIMED and not wanted.task and begun_as == [State.FAILING]:
            message = "This set was refused while it was in the inbox, so the service knows neither its options nor its files."
            report = f"Correct the cause in {printable(job.place)}/REPORT.txt" if job.place else "Correct it"
            raise CommandRefusedError(message, advice=f"{report}, then drop the set into the inbox again.")

    def _refuse_costly(self, job: Job, wanted: Job) -> None:
        """Raise CommandRefusedError for a retry that submits again what may have been charged before, unless it may cost again.

        The job itself may have bought it, or the vendor has refused the content too often.
        """
        if wanted.state is State.CLAIMED and not (wanted.consent or wanted.task):
            if self._store.may_have_bought(job.id):
                message = "This job was paid for, or may have been, and there is no task to ask for its results."
                raise CommandRefusedError(message, advice=people.pay_again(job))
            refused = self._job_store.refused_before(job)
            if refused:
                raise CommandRefusedError(refused.message, advice=people.pay_again(job))

    def _put_corrected_back(self, job: Job, command: Command) -> str:
        """Let a set go back into the inbox whose files were corrected in `failed/`: what it asks for now, only a look can say."""
        reply = CommandReply(
            command.id, f"The files in {printable(job.place)} were corrected: they go back into the inbox as a set."
        )
        self._job_store.commit([machine.put_corrected_back(job, self._now())], self._now(), reply=reply)
        return reply.message

    def _clear(self, job: Job, command: Command) -> str:
        """Have the folder of a failed set moved to the archive, whole.

        The command is the intent: it is answered with what the journal says of the move, so after a crash it is carried out again.
        """
        place = printable(job.place)
        try:
            if foreign := self._outside.foreign_in(job):
                names = ", ".join(f"“{printable(name)}”" for name in foreign[:_MOST_NAMED])
                raise CommandRefusedError(
                    f"Files lie in {place} that the service did not put there: {names}.",
                    advice="Move them to another place, then give the command again.",
                )
            moved = people.clear(job, self._outside.archive_failed(job))
        except FileNotFoundError:
            message = f"There is nothing to clear: {place} is not there any more, or is not this job's."
            raise CommandRefusedError(message, advice=" ") from None
        except DiskError as error:
            raise CommandRefusedError(error.message, advice=f"{error.advice} Then give the command again.") from error
        except OSError as error:
            raise CommandRefusedError(f"{place} cannot be moved to the archive: {why(error)}.", advice=" ") from error
        self._job_store.commit([moved], self._now(), reply=CommandReply(command.id, moved.message))
        return moved.message

    def _move(self, job: Job, command: Command) -> str:
        if command.verb == "retry" and job.state is State.FAILED and not job.task and self._outside.is_corrected(job):
            return self._put_corrected_back(job, command)
        now = self._now()
        transition = JOB_VERBS[command.verb](job, command.arguments, now)
        if command.verb == CLEAR:
            return self._clear(job, command)
        if command.verb == CHOOSE:
            return self._outside.choose(transition, command.id)
        self._job_store.refuse_clash(transition.job)
        self._refuse_unread(job, transition.job)
        self._refuse_costly(job, transition.job)
        settled = refusals.settled(job, transition.job, self._store.refused_of(job.fingerprint))
        message = f"Job {job.id} is {transition.job.state} now."
        looked = {refusals.LOOKED: self._store.newest_purchase()} if job.state is State.HELD else {}
        self._job_store.commit(
            [replace(transition, action=command.verb)], now, looked, CommandReply(command.id, message), settled=settled
        )
        return message


def _number_seen(command: Command) -> int:
    """Return the number of the newest thing that was seen. Raises CommandRefusedError where a command does not say it."""
    seen = command.arguments.get(SEEN)
    if not isinstance(seen, int):
        raise CommandRefusedError(
            "This command does not say which state was seen: it comes from an older version.", advice=_GIVE_AGAIN
        )
    return seen
