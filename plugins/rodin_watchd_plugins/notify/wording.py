"""What is said: one message for one event, and one message for many. Pure.

Names come from whoever may drop a file. They must not call everybody in a channel or look like a link: what the services
read as markup is replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from rodin_watchd.v1 import Event, Job, Waiting
from rodin_watchd_plugins.moments import Moment

_GRAVEST_FIRST: Final[tuple[Moment, ...]] = ("held", "failed", "service", "waiting", "delivered", "chosen")
_COUNTED: Final = {
    "delivered": "done",
    "failed": "failed",
    "held": "to decide",
    "chosen": "chosen",
    "waiting": "incomplete",
    "service": "of the service",
}
_MOST_LINES: Final = 100
_LONGEST_TITLE: Final = 120
_LONGEST_TEXT: Final = 1500
_DEFUSED: Final = str.maketrans({"<": "(", ">": ")", "@": "@\u200b", "`": "'", "[": "(", "]": ")"})


@dataclass(frozen=True, slots=True)
class Message:
    """What is said of one event."""

    moment: Moment
    at: float  # UTC epoch seconds
    title: str
    text: str


def of_job(moment: Moment, job: Job, event: Event, root: str) -> Message:
    """Say what became of a job; `root` is what people call the folder that its place is in."""
    words = {"delivered": "is done", "failed": "failed", "held": "waits for your decision"}
    words["chosen"] = "is chosen" if job.chosen else "is not chosen any more"
    name = f"{job.name} ({job.variant})" if moment == "chosen" else job.name
    return _message(moment, event, f"{name} {words[moment]}", _job_lines(job, event, root))


def _job_lines(job: Job, event: Event, root: str) -> list[str]:
    place = f"{root}{job.place}" if job.place else ""
    if job.problem:
        return [job.problem.message, job.problem.advice, place, f"job {job.id}"]
    if not job.results:
        return [event.message, f"job {job.id}"]
    files = ", ".join(f"{file.name} ({_size(file.size)})" for file in job.results[:10])
    return [place, files, f"{job.credits} credits, job {job.id}"]


def of_waiting(waiting: Waiting, event: Event) -> Message:
    """Say what an incomplete set lacks."""
    place = f"inbox/{waiting.folder}".rstrip("/")
    return _message("waiting", event, f"{waiting.name} is incomplete", [waiting.reason, f"in {place}"])


def of_service(event: Event) -> Message:
    """Say what happened to the service."""
    return _message("service", event, f"rodin_watchd: {event.kind.replace('-', ' ')}", [event.message])


def _message(moment: Moment, event: Event, title: str, lines: Sequence[str]) -> Message:
    text = "\n".join(harmless(line) for line in lines if line)
    return Message(moment, event.at, harmless(title)[:_LONGEST_TITLE], text[:_LONGEST_TEXT])


def harmless(text: str) -> str:
    """Return a text on one line that no service reads as markup, a mention or a link."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split())).translate(_DEFUSED)


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


# ---- many in one ----------------------------------------------------------------------------------------------------


def in_order(messages: Sequence[Message]) -> list[Message]:
    """Return the messages as they are listed: what asks for somebody first, then by time."""
    return sorted(messages, key=lambda message: (_GRAVEST_FIRST.index(message.moment), message.at))


def together(messages: Sequence[Message], zone: tzinfo | None) -> tuple[str, str]:
    """Return the title and the text of one message for all of these; more than a hundred are counted, not listed."""
    if len(messages) == 1:
        return messages[0].title, messages[0].text
    counts = Counter(message.moment for message in messages)
    title = ", ".join(f"{counts[moment]} {_COUNTED[moment]}" for moment in _GRAVEST_FIRST if counts[moment])
    listed = in_order(messages)
    lines = [_line(message, zone) for message in listed[:_MOST_LINES]]
    rest = len(listed) - _MOST_LINES
    return title, "\n".join([*lines, *([f"… and {rest} more"] if rest > 0 else [])])


def _line(message: Message, zone: tzinfo | None) -> str:
    clock = datetime.fromtimestamp(message.at, zone).strftime("%H:%M")
    first = message.text.partition("\n")[0]
    return f"{clock} {message.title}: {first[:300]}"
