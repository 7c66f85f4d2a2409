"""The hooks: each is documented, with its arguments and an example that runs, and each has a test of its own."""

from __future__ import annotations

import inspect
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from rodin_watchd.core.kinds import KINDS
from rodin_watchd.hooks import hookspecs
from rodin_watchd.hooks.worker import HOOKS
from rodin_watchd.testing import Arguments, Finish, OpenPlugin
from rodin_watchd.v1 import Event, File, FileSet, Job, Problem, Refusal, Waiting, of_data, to_data

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "hooks.md").read_text(encoding="utf-8")
TESTS = (PROJECT / "tests" / "service" / "test_plugins.py").read_text(encoding="utf-8")
SECTIONS: Mapping[str, str] = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
COOKBOOK = (PROJECT / "docs" / "cookbook.md").read_text(encoding="utf-8")
RECIPES: Mapping[str, str] = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", COOKBOOK, re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

PROBLEM = Problem("file-refused", "files", "It is no image.", "Drop another one.")
VALUES = [
    File("chair.glb", 12, "ab" * 32, "model"),
    FileSet("chair", "oak", (File("chair.glb", 12),), {"seed": 7}),
    Job("a" * 12, "chair", "", "failed", {}, (File("chair.glb", 12),), 5.5, problem=PROBLEM),
    Waiting("chair", "", ("chair.glb",), "waits for an image"),
    Event("x-1", "paused", 1.5, "no credits"),
]
BY_KIND = """\
from rodin_watchd.v1 import hookimpl

@hookimpl
def rodin_process(job, directory):
    return {"kind": job.kind, "roles": [file.role for file in job.files], "made": (directory / "base_basic_pbr.glb").exists()}
"""
each_hook = pytest.mark.parametrize("hook", HOOKS)


def test_the_page_has_one_heading_for_each_hook() -> None:
    """In the order of the specifications, and no other."""
    assert tuple(SECTIONS) == HOOKS


@pytest.mark.parametrize("value", [Job, FileSet, File, Waiting, Event, Problem, Refusal])
def test_the_page_lists_the_fields_of_each_value(value: type[Any]) -> None:
    """All of them, in their order."""
    [row] = re.findall(rf"^\| `{value.__name__}` \| (.*) \|$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [field.name for field in fields(value)]


@each_hook
def test_the_page_gives_the_signature(hook: str) -> None:
    """As the specification has it, word for word."""
    specified = inspect.signature(getattr(hookspecs, hook))
    told = BLOCK.findall(SECTIONS[hook])[0]
    assert " ".join(told.split()) == f"def {hook}{specified}".replace("'", "")


@each_hook
def test_the_specification_states_its_contract(hook: str) -> None:
    """Each docstring says more than a line; the page says what a failure costs and what is repeated."""
    assert len((getattr(hookspecs, hook).__doc__ or "").splitlines()) >= 3
    assert "failure" in SECTIONS[hook]
    assert "Repeated" in SECTIONS[hook] or "repetition" in SECTIONS[hook]


@each_hook
def test_the_example_of_the_page_runs(
    hook: str, tmp_path: Path, rodin_plugin: OpenPlugin, rodin_arguments: Arguments
) -> None:
    """It is a whole plugin: it loads, and its hook is called without a complaint."""
    path = tmp_path / "example.py"
    path.write_text(BLOCK.findall(SECTIONS[hook])[1], encoding="utf-8")
    plugin = rodin_plugin(path)
    assert plugin.hooks == (hook,)
    arguments = rodin_arguments(hook)
    assert arguments.keys() == set(inspect.signature(getattr(hookspecs, hook)).parameters) - {"settings"}
    plugin.call(hook, **arguments)


def test_there_are_ten_recipes() -> None:
    """Each with one plugin."""
    assert len(RECIPES) == 10
    assert [len(BLOCK.findall(text)) for text in RECIPES.values()] == [1] * 10


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs(recipe: str, tmp_path: Path, rodin_plugin: OpenPlugin, rodin_arguments: Arguments) -> None:
    """It is a whole plugin: it loads, and each of its hooks is called twice, as after a crash, with the same answer."""
    path = tmp_path / "recipe.py"
    path.write_text(BLOCK.findall(RECIPES[recipe])[0], encoding="utf-8")
    plugin = rodin_plugin(path)
    assert plugin.hooks
    for hook in plugin.hooks:
        given = rodin_arguments(hook)
        answers = []
        for name in ("first", "second"):
            own = (
                {"directory": shutil.copytree(given["directory"], tmp_path / hook / name)}
                if "directory" in given
                else {}
            )
            answers.append(plugin.call(hook, **{**given, **own}))
        assert answers[0] == answers[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_can_be_tested_with_a_job_of_each_kind(
    kind: str, tmp_path: Path, rodin_plugin: OpenPlugin, rodin_finish: Finish
) -> None:
    """It learns the kind, and gets the files and the result that such a job has; its receipt says the same."""
    path = tmp_path / "example.py"
    path.write_text(BY_KIND)
    made = rodin_finish(kind)
    facts = rodin_plugin(path).call("rodin_process", job=made.job, directory=made.directory)
    assert facts == {"kind": kind, "roles": [role.value for role in KINDS[kind].roles], "made": True}
    assert tomllib.loads((made.directory / "job.toml").read_text())["job"]["kind"] == kind


@each_hook
def test_each_hook_has_a_test_of_its_own(hook: str) -> None:
    """In the daemon, with a real plugin."""
    assert f"def {hook}(" in TESTS


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_go_through_json_and_back(value: Any) -> None:  # noqa: ANN401 - each of the kinds
    """Plain data out, the same value in; a field of a later version is left out."""
    data = to_data(value)
    assert of_data(type(value), {**data, "a_field_to_come": 1}) == value
