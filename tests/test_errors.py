"""The tree of errors: whose fault it is, and what to do next."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter

import pytest

import rodin_watchd
from rodin_watchd import errors
from rodin_watchd.errors import CONTINUES, Fault, FilesError, Lane, OwnerError, RodinWatchdError, Scope, ServiceError

OPTIONAL = ("rodin_watchd.emulator", "rodin_watchd.cli", "rodin_watchd.__main__")
"""Parts that need extras or run at import; they hold no errors of the tree."""


def error_classes() -> list[type[RodinWatchdError]]:
    """Return every class of the tree, wherever it is defined."""
    for module in pkgutil.walk_packages(rodin_watchd.__path__, "rodin_watchd."):
        if not module.name.startswith(OPTIONAL):
            importlib.import_module(module.name)
    found: list[type[RodinWatchdError]] = []
    new = [RodinWatchdError]
    while new:
        found += new
        new = [below for kind in new for below in kind.__subclasses__()]
    return list(dict.fromkeys(found))


CLASSES = error_classes()
each = pytest.mark.parametrize("kind", CLASSES)


@each
def test_every_error_says_what_happened(kind: type[RodinWatchdError]) -> None:
    """Its docstring is its own and starts with a sentence for people, which is its default message."""
    assert "__doc__" in vars(kind)
    sentence = (kind.__doc__ or "").splitlines()[0]
    assert re.fullmatch(r"[A-Z].*[^.]\.", sentence)
    assert kind().message == str(kind()) == sentence


@each
def test_every_error_says_what_to_do(kind: type[RodinWatchdError]) -> None:
    """Advice is one or more sentences; what was given in place of it wins."""
    advice = kind().problem.advice
    assert re.search(r"[a-z`]\.$|\)\.$", advice)
    assert CONTINUES not in advice
    assert advice == kind.advice or CONTINUES in kind.advice
    assert kind(advice="Turn it off.").problem.advice == "Turn it off."


def test_every_error_has_a_code_of_its_own() -> None:
    """A stable machine word, for programs that read reports."""
    codes = Counter(vars(kind).get("code", "(inherited)") for kind in CLASSES)
    assert [code for code, count in codes.items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@each
def test_a_problem_is_the_same_fact_as_a_value(kind: type[RodinWatchdError]) -> None:
    """Everything that the class and the case know."""
    problem = kind("It rained.", advice="Wait.", retry_after_seconds=7.0).problem
    told = (problem.code, problem.fault, problem.scope, problem.lane)
    assert told == (kind.code, kind.fault, kind.scope, kind.lane)
    assert (problem.message, problem.advice, problem.retry_after_seconds) == ("It rained.", "Wait.", 7.0)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind.__module__.startswith(errors.__name__)])
def test_fault_scope_and_lane_agree(kind: type[RodinWatchdError]) -> None:
    """A lane belongs to the service's errors alone; what is wrong with dropped files is final and of one set."""
    assert isinstance(kind.fault, Fault)
    assert (kind.scope is Scope.SERVICE) == issubclass(kind, ServiceError | OwnerError)
    assert isinstance(kind.lane, Lane) == issubclass(kind, ServiceError)
    if issubclass(kind, FilesError):
        assert (kind.fault, kind.scope, kind.final) == (Fault.FILES, Scope.SET, True)


def test_service_errors_are_never_final() -> None:
    """They end by themselves when the cause ends: no set pays for them."""
    assert not any(kind.final for kind in CLASSES if kind.scope is Scope.SERVICE)


def test_all_errors_for_people_are_in_one_module() -> None:
    """Elsewhere are only signals between the pool's threads, which no report ever shows."""
    homes = {kind.__module__ for kind in CLASSES if kind.__module__ != "rodin_watchd.service.pool"}
    assert homes == {errors.__name__}


def test_no_advice_names_a_command_that_does_not_exist() -> None:
    """`rodin-watchd VERB` in any advice is a verb of the command line."""
    main = importlib.import_module("rodin_watchd.cli.main")
    said = {verb for kind in CLASSES for verb in re.findall(r"`rodin-watchd ([a-z]+)", kind.advice)}
    assert said
    assert said <= set(main.COMMANDS)
