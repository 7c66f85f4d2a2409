"""What can be asked about a job as it is, and what each choice does and costs: the same on the page and at the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from rodin_watchd.core.commands import may_be_canceled
from rodin_watchd.core.condensing import refuse_condensed
from rodin_watchd.core.failures import is_cleared
from rodin_watchd.errors import CommandRefusedError, Fault
from rodin_watchd.model import Event, Job, State
from rodin_watchd.service.commands import CHOOSE, JOB_VERBS

CANCEL_LABEL: Final = "Cancel"
CANCEL_WORDS: Final = "Stops it. Its files go to failed/. What was paid is not refunded."
RETRY_LABEL: Final = "Retry"
FETCH_WORDS: Final = "Asks the vendor for its results again, free of charge."
RETRY_WORDS: Final = "Takes it up again, from the files in failed/."
CORRECT_WORDS: Final = "Correct the files in its folder in failed/ first: then it goes back into the inbox as a set."
AGAIN_LABEL: Final = "Pay again"
AGAIN_WORDS: Final = "Submits it once more, and pays once more, in addition to what it cost."
TASK_LABEL: Final = "It is this task"
TASK_WORDS: Final = "The vendor accepted it: its results are fetched. It costs what that submit cost, and nothing more."
FREE_LABEL: Final = "It was not charged"
FREE_WORDS: Final = "It is submitted again. If it was charged after all, it is paid twice."
CLEAR_LABEL: Final = "Clear"
CLEAR_WORDS: Final = (
    "Moves its folder from failed/ to the archive: nobody has to do anything about it any more. Nothing is deleted."
)
CHOOSE_LABEL: Final = "Choose"
CHOOSE_WORDS: Final = "Marks it among the results of its set, also in its receipt. Another one is not chosen any more."
TAKE_BACK_LABEL: Final = "Take the choice back"
TAKE_BACK_WORDS: Final = "No result of its set is chosen then."
GIVE_UP_LABEL: Final = "Give up"
GIVE_UP_WORDS: Final = "Its files go to failed/, with what is known. It costs nothing more than it has cost."
LABELS: Final = (
    *(CANCEL_LABEL, CANCEL_WORDS, RETRY_LABEL, FETCH_WORDS, RETRY_WORDS, CORRECT_WORDS, AGAIN_LABEL, AGAIN_WORDS),
    *(CLEAR_LABEL, CLEAR_WORDS, CHOOSE_LABEL, CHOOSE_WORDS, TAKE_BACK_LABEL, TAKE_BACK_WORDS),
    *(TASK_LABEL, TASK_WORDS, FREE_LABEL, FREE_WORDS, GIVE_UP_LABEL, GIVE_UP_WORDS),
)
"""What buttons say, and what is said next to them; catalogues have them in other languages."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be asked about a set as it is now."""

    verb: str
    arguments: Mapping[str, Any]
    label: str  # of the button, in English
    words: str  # what it does and costs
    may_cost: Decimal | None = None  # credits that it may spend
    asks: str = ""  # the name of what has to be written besides

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "verb": self.verb,
            "label": self.label,
            "arguments": dict(self.arguments),
            "words": self.words,
            "may_cost": self.may_cost,
            "asks": self.asks or None,
        }


def was_taken(events: Sequence[Event]) -> bool:
    """Return whether a job was taken from the inbox, by its history: one that was refused there failed at once."""
    return not events or events[0].state is not State.FAILING


def actions(job: Job, price: Decimal, now: float, *, was_taken: bool) -> tuple[list[Action], list[str]]:
    """Return what can be asked about a job as it is, and why something usual cannot be.

    `was_taken`: it was not refused in the inbox, where nobody knows what it asks for.
    """
    if job.state is State.HELD:
        return _resolutions(job, price, now)
    if job.state is State.FAILED:
        return _retries(job, price, now, was_taken=was_taken)
    if may_be_canceled(job):
        return [Action("cancel", {}, CANCEL_LABEL, CANCEL_WORDS)], []
    return [*filter(None, (choice(job),))], []


def choice(job: Job) -> Action | None:
    """Return how a job is chosen among those of its set, or how that is taken back; None where there is nothing to choose."""
    if job.batch is None or job.state is not State.ARCHIVED or job.condensed_at:
        return None
    if job.chosen:
        return Action(CHOOSE, {"take_back": True}, TAKE_BACK_LABEL, TAKE_BACK_WORDS)
    return Action(CHOOSE, {"take_back": False}, CHOOSE_LABEL, CHOOSE_WORDS)


def _retries(job: Job, price: Decimal, now: float, *, was_taken: bool) -> tuple[list[Action], list[str]]:
    found, refused = [], []
    free = {"pay_again": False}
    try:
        refuse_condensed(job)
    except CommandRefusedError as error:
        return [], [error.message]
    try:
        JOB_VERBS["retry"](job, free, now)
        if job.task or not was_taken:
            found.append(Action("retry", free, RETRY_LABEL, FETCH_WORDS if job.task else CORRECT_WORDS))
        else:
            found.append(Action("retry", free, RETRY_LABEL, RETRY_WORDS, price))
    except CommandRefusedError as error:
        refused.append(error.message)
    unfit = (
        bool(refused) and job.problem is not None and job.problem.fault is Fault.FILES
    )  # the same files would fail again
    if (job.task or refused or job.charges) and not unfit:
        found.append(Action("retry", {"pay_again": True}, AGAIN_LABEL, AGAIN_WORDS, price))
    if not is_cleared(job):
        found.append(Action("clear", {}, CLEAR_LABEL, CLEAR_WORDS))
    return found, refused


def _resolutions(job: Job, price: Decimal, now: float) -> tuple[list[Action], list[str]]:
    found, refused = [Action("resolve", {"how": "task"}, TASK_LABEL, TASK_WORDS, asks="task")], []
    free = {"how": "not-charged"}
    try:
        JOB_VERBS["resolve"](job, free, now)
        found.append(Action("resolve", free, FREE_LABEL, FREE_WORDS, price))
    except CommandRefusedError as error:
        refused.append(error.message)
    return [*found, Action("resolve", {"how": "give-up"}, GIVE_UP_LABEL, GIVE_UP_WORDS)], refused
