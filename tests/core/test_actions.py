"""The table of the log's words, compared with what the code can log."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import rodin_watchd
from rodin_watchd.core.actions import ACTIONS, JOB_ACTIONS, SERVICE_ACTIONS
from rodin_watchd.core.notifications import END_KINDS
from rodin_watchd.model import State
from rodin_watchd.service.commands import JOB_VERBS

PACKAGE = Path(rodin_watchd.__file__).parent
PLACES = {
    "Transition": 1,
    "PluginNews": 0,
    "ServiceEvent": 1,
    "Trouble": 0,
    "report": 0,
    "report_of_job": 1,
    "log_error": 1,
}
"""Where a call says its action."""
SAID_ELSEWHERE = {
    "state.value": {state.value for state in State},
    "command.verb": set(JOB_VERBS),
    "transition.action": set[str](),
    "message.kind": set[str](),
    "event.kind": set(END_KINDS),
    "end.kind": set(END_KINDS),
    "action": set[str](),
    "kind": set[str](),
    "self._action": set[str](),
}
"""What such an expression can be; nothing, where it only hands on what another call said."""


def said(node: ast.AST) -> Iterator[ast.expr]:
    """Give the expressions that stand for an action."""
    if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
        pairs = zip(node.value.keys, node.value.values, strict=True)
        yield from (value for key, value in pairs if is_action(key))
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        named = [word.value for word in node.keywords if word.arg == "action" and name in ("Transition", "replace")]
        at = PLACES.get(name)
        if name == "report" and not ast.unparse(node.func).endswith(("job_store.report", "self.report")):
            at = None  # not the job store's
        yield from named or (node.args[at : at + 1] if at is not None else [])


def is_action(key: ast.expr | None) -> bool:
    """Tell whether a key of a dictionary is the field `action`."""
    return isinstance(key, ast.Constant) and key.value == "action"


def words(module: str, expression: ast.expr) -> set[str]:
    """Return the words that an expression can be: a literal, a constant of its module, or what stands above."""
    if isinstance(expression, ast.Constant):
        return {str(expression.value)}
    text = ast.unparse(expression)
    if text in SAID_ELSEWHERE:
        return SAID_ELSEWHERE[text]
    return {str(getattr(importlib.import_module(module), text))}


def all_words() -> set[str]:
    """Return every word that the service's code says."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if "emulator" not in path.parts:
            module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            tree = ast.parse(path.read_text())
            found |= {w for node in ast.walk(tree) for one in said(node) for w in words(module, one)}
    return found


def test_the_table_has_each_word_that_the_code_says_and_no_other() -> None:
    """A program that reads the log can rely on the page."""
    assert all_words() == set(ACTIONS)


def test_a_word_stands_for_one_thing() -> None:
    """No word is in both halves, and a repetition is not called as a person's command is."""
    assert not JOB_ACTIONS.keys() & SERVICE_ACTIONS.keys()
    assert {"retry", "repeated"} <= JOB_ACTIONS.keys()
