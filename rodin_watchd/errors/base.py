"""What all errors have in common."""

from __future__ import annotations

from typing import ClassVar, Final

from rodin_watchd.problem import Fault, Lane, Problem, Scope

GOES_ON: Final = "{goes on}"
"""Where advice says how the service goes on, which depends on whether it still runs."""

_RUNNING: Final = "the service goes on by itself"
_ENDED: Final = "then start the service anew"


class RodinWatchdError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    fault: ClassVar[Fault] = Fault.MACHINE
    scope: ClassVar[Scope] = Scope.SET
    lane: ClassVar[Lane | None] = None
    final: ClassVar[bool] = False
    advice: ClassVar[str] = "Run `rodin-watchd show JOB` to see what happened."

    def __init__(
        self,
        message: str = "",
        *,
        advice: str = "",
        retry_after_seconds: float | None = None,
        documented: bool = False,
    ) -> None:
        """Take a sentence for people (default: the docstring's first line) and, if they differ, advice and a wait.

        `documented`: the vendor refused by a code for which it says that nothing is charged.
        """
        self.documented = documented
        self.message = message or (self.__doc__ or "").splitlines()[0]
        self._advice = advice or self.advice
        self.advice_given = self._advice.replace(GOES_ON, _RUNNING)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.message)

    def has_ended_service(self) -> None:
        """Advise for a service that has ended: it goes on when somebody starts it. May be repeated."""
        self.advice_given = self._advice.replace(GOES_ON, _ENDED)

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
            documented=self.documented,
        )
