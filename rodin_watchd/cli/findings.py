"""What a check found, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rodin_watchd.errors import RodinWatchdError


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to do."""

    name: str
    text: str
    verdict: Verdict = Verdict.OK
    advice: str = ""


def problem(name: str, error: RodinWatchdError) -> Finding:
    """Return an error as what a check found."""
    return Finding(name, error.message, Verdict.PROBLEM, error.advice_given)


MARKS = {Verdict.OK: "ok", Verdict.WARNING: "warning", Verdict.PROBLEM: "PROBLEM"}


def line_of(finding: Finding) -> str:
    """Return a finding as a line for people."""
    return f"{MARKS[finding.verdict]:<8} {finding.name}: {finding.text} {finding.advice}".rstrip()
