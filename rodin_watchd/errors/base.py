"""What all errors have in common."""

from __future__ import annotations

from typing import ClassVar, Final

from rodin_watchd.problem import Fault, Lane, Problem, Scope

GOES_ON: Final = "the service goes on by itself"
"""How advice ends for a service that runs; who tells of an error that ended it says otherwise."""


class RodinWatchdError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    fault: ClassVar[Fault] = Fault.MACHINE
    scope: ClassVar[Scope] = Scope.SET
    lane: ClassVar[Lane | None] = None
    final: ClassVar[bool] = False
    advice: ClassVar[str] = "Run `rodin-watchd show JOB` to see what happened."

    def __init__(self, message: str = "", *, advice: str = "", retry_after_seconds: float | None = None) -> None:
        """Take a sentence for people (default: the docstring's first line) and, if they differ, advice and a wait."""
        self.message = message or (self.__doc__ or "").splitlines()[0]
        self.advice_given = advice or self.advice
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.message)

    @property
    def problem(self) -> Problem:
        """The same fact as a value."""
        return Problem(
            code=self.code,
            fault=self.fault,
            scope=self.scope,
            message=self.message,
            advice=self.advice_given,
            lane=self.lane,
            retry_after_seconds=self.retry_after_seconds,
        )
