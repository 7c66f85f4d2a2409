"""What people ask for: each verb of the command line as a decision about one job, or about the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rodin_watchd.core import machine
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import Job, Task, Transition

Decide: TypeAlias = Callable[[Job, Mapping[str, Any], float], Transition]


def _retry(job: Job, arguments: Mapping[str, Any], now: float) -> Transition:
    return machine.retry(job, now, pay_again=bool(arguments.get("pay_again")))


def _cancel(job: Job, _arguments: Mapping[str, Any], now: float) -> Transition:
    return machine.cancel(job, now)


def _resolve(job: Job, arguments: Mapping[str, Any], now: float) -> Transition:
    match arguments.get("how"):
        case "not-charged":
            return machine.resolve_not_charged(job, now)
        case "give-up":
            return machine.resolve_give_up(job, now)
        case "task":
            task = Task(str(arguments["task"]), str(arguments.get("subscription_key", "")), now)
            return machine.resolve_adopt(job, task, now)
        case other:
            raise CommandRefusedError(f"A job cannot be resolved by “{other}”.")


JOB_VERBS: Mapping[str, Decide] = {"retry": _retry, "cancel": _cancel, "resolve": _resolve}
"""Commands that concern one job: each returns the move it decides, or raises CommandRefusedError."""

PAUSE, RESUME = "pause", "resume"
"""Commands that concern the service: whether sets are taken and submitted."""
